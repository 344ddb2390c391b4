"""Measures of the parts: known gains, the kurtosis of known noises, and what musical noise is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import istft, lfilter, stft

from edgeenhance.simulation import shadow_measures as sm
from edgeenhance.simulation.metrics import MetricWarning
from edgeenhance.simulation.synth import noise, speech

STFT = {"nperseg": 512, "noverlap": 384}
few = settings(max_examples=10, deadline=None)
gains_db = st.floats(-60, 60)


@pytest.fixture(scope="module")
def hiss():
    return np.random.default_rng(1).standard_normal(6 * 16000)


@pytest.fixture(scope="module")
def talker():
    return speech(3, 1, espeak=False).astype(float)


@pytest.fixture(scope="module")
def rain():
    return noise("speech-shaped", 3, 1).astype(float)


def with_gains(x, gains):
    """x through gains of a short-time spectrum; gains : function of the bins' powers, relative to their mean."""
    bins = stft(x, **STFT)[2]
    power = np.abs(bins) ** 2
    return istft(bins * gains(power / power.mean()), **STFT)[1][: len(x)]


def gate(share, seed=2):
    rng = np.random.default_rng(seed)
    return lambda power: rng.random(power.shape) < share


# ---- levels of the parts ----


@few
@given(gains_db)
def test_noise_reduction_is_the_gain_turned_around(gain):
    n = np.random.default_rng(3).standard_normal(100)
    assert sm.noise_reduction(n, 10 ** (gain / 20) * n) == pytest.approx(-gain, abs=1e-9)


@few
@given(gains_db)
def test_speech_distortion_is_the_level_of_the_error(level):
    s, error = np.random.default_rng(4).standard_normal((2, 100))
    error *= 10 ** (level / 20) * np.sqrt(s @ s / (error @ error))
    assert sm.speech_distortion(s, s + error) == pytest.approx(level, abs=1e-6)


@few
@given(gains_db, gains_db)
def test_snr_improvement_is_the_difference_of_the_gains(of_speech, of_noise):
    s, n = np.random.default_rng(5).standard_normal((2, 100))
    improvement = sm.snr_improvement(s, n, 10 ** (of_speech / 20) * s, 10 ** (of_noise / 20) * n)
    assert improvement == pytest.approx(of_speech - of_noise, abs=1e-9)


def test_the_ends_of_the_scales(hiss, talker):
    silence = np.zeros_like(talker)
    assert sm.noise_reduction(talker, silence) == np.inf
    assert sm.speech_distortion(talker, talker) == -np.inf
    assert sm.speech_distortion(talker, silence) == 0
    assert sm.snr_improvement(talker, hiss[: len(talker)], talker, silence) == np.inf


@pytest.mark.parametrize(
    "function, parts, reason",
    [
        (sm.noise_reduction, ([0.0], [1.0]), "no noise"),
        (sm.speech_distortion, ([0.0], [1.0]), "no speech"),
        (sm.snr_improvement, ([0.0], [1.0], [1.0], [1.0]), "no speech"),
        (sm.snr_improvement, ([1.0], [0.0], [1.0], [1.0]), "no noise"),
        (sm.snr_improvement, ([1.0], [1.0], [0.0], [1.0]), "no speech"),
        (sm.musical_noise, (np.ones(7000), np.ones(7000)), "0.5 s"),
        (sm.musical_noise, (np.ones(100), np.ones(100)), "0.5 s"),
        (sm.musical_noise, (np.zeros(16000), np.ones(16000)), "0.5 s"),
        (sm.musical_noise, (np.ones(16000), np.zeros(16000)), "none left"),
        (sm.artifact_score, (np.ones(16000), np.zeros(16000)), "none left"),
    ],
)
def test_what_is_not_defined_is_nan_with_a_reason(function, parts, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(function(*map(np.array, parts)))


@pytest.mark.parametrize("function", [sm.noise_reduction, sm.speech_distortion, sm.musical_noise, sm.artifact_score])
@pytest.mark.parametrize(
    "a, b, cure",
    [
        (np.ones(1000), np.ones(1001), "equally long"),
        (np.ones((1000, 2)), np.ones((1000, 2)), "one channel"),
        (np.ones(1000), np.full(1000, np.nan), "NaN or Inf"),
    ],
)
def test_parts_that_do_not_fit_raise(function, a, b, cure):
    with pytest.raises(ValueError, match=cure):
        function(a, b)
    with pytest.raises(ValueError, match=cure):
        sm.snr_improvement(np.ones(1000), np.ones(1000), a, b)


def test_a_talker_of_another_length_raises(hiss):
    with pytest.raises(ValueError, match="equally long"):
        sm.musical_noise(hiss, hiss, hiss[1:])


# ---- kurtosis ----


def test_power_kurtosis_of_gaussian_noise_is_6():
    bins = np.random.default_rng(6).standard_normal((2, 20000, 32))
    assert np.mean(sm.power_kurtosis(bins[0] ** 2 + bins[1] ** 2)) == pytest.approx(6, rel=0.02)


def test_power_kurtosis_of_a_constant_is_1():
    np.testing.assert_allclose(sm.power_kurtosis(np.full((10, 3), 7.0)), 1)


def test_power_kurtosis_of_one_open_frame_is_the_number_of_frames():
    np.testing.assert_allclose(sm.power_kurtosis(np.eye(8)[:, :1]), 8)


def test_power_kurtosis_counts_only_where_it_is_told():
    power = np.random.default_rng(7).exponential(size=(200, 4))
    where = np.random.default_rng(8).random((200, 4)) < 0.5
    column = sm.power_kurtosis(power[where[:, 2], 2][:, None])
    assert sm.power_kurtosis(power, where)[2] == pytest.approx(column[0])


@few
@given(st.floats(-100, 60))
def test_power_kurtosis_has_no_level(exponent):
    power = np.random.default_rng(9).exponential(size=(100, 3))
    np.testing.assert_allclose(sm.power_kurtosis(10**exponent * power), sm.power_kurtosis(power), rtol=1e-9)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_a_gate_multiplies_the_kurtosis_by_one_over_its_share(share):
    rng = np.random.default_rng(10)
    power = rng.exponential(size=(20000, 32)) * (rng.random((20000, 32)) < share)
    assert np.mean(np.log(sm.power_kurtosis(power) / 6)) == pytest.approx(-np.log(share), abs=0.06)


# ---- musical noise ----


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.3])
def test_a_random_gate_makes_about_minus_ln_of_its_share(share, hiss):
    assert sm.musical_noise(hiss, with_gains(hiss, gate(share))) == pytest.approx(-np.log(share), rel=0.25)


@pytest.mark.parametrize("times", [0.25, 0.5, 1])
def test_spectral_subtraction_makes_about_what_it_subtracts(times, hiss):
    subtracted = with_gains(hiss, lambda power: np.sqrt(np.maximum(0, 1 - times / power)))
    assert sm.musical_noise(hiss, subtracted) == pytest.approx(times, rel=0.12)


def test_a_floor_under_the_gains_hides_it(hiss):
    scores = [sm.artifact_score(hiss, with_gains(hiss, lambda p, f=f: np.maximum(p > 2, f))) for f in (0, 0.1, 0.3, 1)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.65 and scores[3] < 0.01


@pytest.mark.parametrize("taps", [[0.1], [1, -0.9], [0, 0, 1, 0.5]], ids=["gain", "high pass", "echo"])
def test_a_fixed_filter_makes_none(taps, hiss):
    assert sm.artifact_score(hiss, lfilter(taps, 1, hiss)) < 0.01


def test_slow_changes_make_little(hiss):
    swell = 1 + 0.8 * np.sin(2 * np.pi * 0.5 * np.arange(len(hiss)) / 16000)
    assert sm.artifact_score(hiss, swell * hiss) < 0.05
    assert sm.artifact_score(swell * hiss, hiss) < 0.05


def test_isolated_tones_are_musical(hiss):
    rng = np.random.default_rng(11)
    t, left = np.arange(800) / 16000, 0.01 * hiss
    for at in rng.integers(0, len(hiss) - 800, 400):  # 50 ms each
        left[at : at + 800] += np.hanning(800) * np.sin(2 * np.pi * rng.uniform(100, 7900) * t)
    assert sm.artifact_score(hiss, left) > 0.9
    assert sm.artifact_score(hiss, 0.01 * hiss) < 1e-6


@few
@given(st.floats(-5, 3), st.floats(-5, 3))
def test_artifact_score_does_not_depend_on_the_level_of_either_part(before, after):
    n = np.random.default_rng(12).standard_normal(16000)
    left = with_gains(n, gate(0.6))
    expected = sm.artifact_score(n, left)
    assert 0.1 < expected < 0.9
    assert sm.artifact_score(10**before * n, 10**after * left) == pytest.approx(expected, abs=1e-6)


@few
@given(st.floats(-5, 3), st.floats(-5, 3))
def test_with_a_talker_it_does_not_depend_on_gains_of_the_input_or_the_output(before, after):
    n = np.random.default_rng(13).standard_normal(16000)
    s = n[::-1] * np.repeat([0, 1], 8000)
    left = with_gains(n, gate(0.6))
    expected = sm.artifact_score(n, left, s)
    scaled = sm.artifact_score(10**before * n, 10**after * left, 10**before * s)
    assert scaled == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("log_ratio, score", [(-1.0, 0), (0.0, 0), (np.log(2), 0.5), (np.log(10), 0.9)])
def test_artifact_score_is_the_share_of_the_kurtosis_that_is_new(log_ratio, score, monkeypatch):
    monkeypatch.setattr(sm, "musical_noise", lambda *parts: log_ratio)
    assert sm.artifact_score(None, None) == pytest.approx(score)


def test_smoother_noise_than_before_is_no_artifact(hiss):
    left = with_gains(hiss, gate(0.3))
    assert sm.musical_noise(left, hiss) < -0.5
    assert sm.artifact_score(left, hiss) == 0


def test_noise_let_through_while_somebody_speaks_is_not_musical(hiss):
    rng = np.random.default_rng(14)
    open_ = np.repeat(rng.random(len(hiss) // 1600) < 0.15, 1600)  # bursts of 100 ms
    talker = (np.convolve(open_, np.ones(3200), "same") > 0.5) * hiss[::-1]  # begins before, ends after
    left = np.where(open_, 1, 0.01) * hiss
    assert sm.artifact_score(hiss, left) > 0.4
    assert sm.artifact_score(hiss, left, talker) < 0.2


def test_gates_between_words_are_musical(talker, rain):
    gated = with_gains(rain, gate(0.2))
    assert sm.artifact_score(rain, gated, talker) > 0.5
    assert sm.artifact_score(rain, 0.2 * rain, talker) < 1e-6


def test_mixtures_may_stand_in_for_the_noise(talker, rain):
    rng = np.random.default_rng(15)
    mask = rng.random(stft(rain, **STFT)[2].shape) < 0.3
    parts = sm.artifact_score(rain, with_gains(rain, lambda _: mask), talker)
    mixtures = sm.artifact_score(rain + talker, with_gains(rain + talker, lambda _: mask), talker)
    assert mixtures == pytest.approx(parts, abs=0.1)


def test_a_talker_who_never_pauses_leaves_nothing_to_judge(hiss):
    with pytest.warns(MetricWarning, match="without speech"):
        assert np.isnan(sm.musical_noise(hiss, hiss, hiss[::-1]))
