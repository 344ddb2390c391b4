"""Measures of rooms and directions: known responses, gains and delays, and what changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter, resample_poly

from edgeenhance.arrays import MicArray
from edgeenhance.beamform import DelayAndSum, Superdirective
from edgeenhance.profiles import PROFILES
from edgeenhance.simulation import room_measures as rm
from edgeenhance.simulation import shadow_measures
from edgeenhance.simulation.metrics import MetricWarning
from edgeenhance.simulation.synth import noise, speech

FREQS = PROFILES["assist"].freqs
few = settings(max_examples=12, deadline=None)
THIRD_OCTAVES_HZ = 1000 * 2 ** (np.arange(-8, 10) / 3)


@pytest.fixture(scope="module")
def talker():
    return speech(3, 1, espeak=False).astype(float)


@pytest.fixture(scope="module")
def rain():
    return noise("speech-shaped", 3, 1).astype(float)


def room(rt60, direct=1.0, sample_rate=16000, seed=2):
    """A direct sound, and a tail of noise that falls by 60 dB in rt60 seconds."""
    t = np.arange(int(rt60 * sample_rate)) / sample_rate
    tail = 0.05 * np.random.default_rng(seed).standard_normal(len(t)) * 10 ** (-3 * t / rt60)
    tail[0] = direct
    return tail


def delayed(x, microseconds):
    """x, in a circle, by any time."""
    turns = np.fft.rfftfreq(len(x), 1 / 16000) * microseconds * 1e-6
    return np.fft.irfft(np.fft.rfft(x) * np.exp(-2j * np.pi * turns), len(x))


# ---- direct to reverberant ----


@few
@given(st.floats(0.1, 80), st.integers(0, 500), st.sampled_from([-1, 1]), st.floats(-6, 3))
def test_drr_of_one_echo_is_their_ratio(ratio, start, sign, exponent):
    response = np.zeros(1000)
    response[[start, start + 41]] = sign, 10 ** (-ratio / 20)  # later than 2.5 ms
    assert rm.drr(10**exponent * response) == pytest.approx(ratio, abs=1e-6)


@pytest.mark.parametrize("rate, reach", [(16000, 40), (8000, 20), (48000, 120)])
def test_what_comes_within_2_5_ms_is_direct(rate, reach):
    response = np.zeros(1000)
    response[[200, 200 - reach, 200 + reach, 200 + reach + 1]] = 1.0, 0.5, 0.5, 0.1
    assert rm.drr(response, rate) == pytest.approx(10 * np.log10(1.5 / 0.01))


def test_drr_of_an_exponential_tail():
    late = 0.999 ** (2 * 41)  # share of a geometric series that comes after 2.5 ms, 41 samples
    assert rm.drr(0.999 ** np.arange(30000)) == pytest.approx(10 * np.log10((1 - late) / late), abs=1e-6)


def test_drr_without_reverberation_is_infinite():
    assert rm.drr(np.eye(1, 500)[0]) == np.inf


@pytest.mark.parametrize("response", [np.zeros(100), np.zeros(0)], ids=["silent", "empty"])
def test_drr_of_silence_is_nan(response):
    with pytest.warns(MetricWarning, match="DRR is NaN"):
        assert np.isnan(rm.drr(response))


@pytest.mark.parametrize("function", [rm.drr, rm.srmr])
@pytest.mark.parametrize("x, cure", [(np.ones((9, 2)), "one channel"), (np.array([1, np.inf]), "NaN or Inf")])
def test_what_is_no_signal_raises(function, x, cure):
    with pytest.raises(ValueError, match=cure):
        function(x)


# ---- SRMR ----


def test_srmr_falls_with_reverberation(talker):
    values = [rm.srmr(np.convolve(talker, room(rt60))[: len(talker)]) for rt60 in (0.1, 0.3, 1.0)]
    assert rm.srmr(talker) > values[0] > values[1] > values[2] > 0


@pytest.mark.parametrize("rate", [8000, 32000, 44100, 48000])
def test_srmr_is_about_the_same_at_every_rate(rate, talker):
    wet = np.convolve(talker, room(0.5))[: len(talker)]
    dry, wet, dry_16k, wet_16k = (
        rm.srmr(x, r)
        for x, r in (
            (resample_poly(talker, rate // 100, 160), rate),
            (resample_poly(wet, rate // 100, 160), rate),
            (talker, 16000),
            (wet, 16000),
        )
    )
    assert dry == pytest.approx(dry_16k, rel=0.3) and wet == pytest.approx(wet_16k, rel=0.3)
    assert dry > 1.5 * wet


def test_srmr_hears_syllables_and_roughness():
    t, carrier = np.arange(2 * 16000) / 16000, np.random.default_rng(3).standard_normal(2 * 16000)
    slow, fast = ((1 + np.sin(2 * np.pi * f * t)) * carrier for f in (6, 100))
    assert rm.srmr(slow) > 1.5 * rm.srmr(carrier) > 1.5 * rm.srmr(fast)


@pytest.mark.parametrize("gain", [1e-6, 1e3])
def test_srmr_has_no_level(gain, talker):
    assert rm.srmr(gain * talker) == pytest.approx(rm.srmr(talker), rel=1e-9)


@pytest.mark.parametrize(
    "x, reason", [(np.zeros(16000), "silent"), (np.zeros(0), "silent"), (np.ones(15999), "second")]
)
def test_srmr_that_is_not_defined_is_nan(x, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(rm.srmr(x))


# ---- both ears ----


@pytest.fixture(scope="module")
def ears(talker):
    return np.stack([talker, 0.7 * delayed(talker, 200)], 1)


@few
@given(st.floats(-30, 30), st.sampled_from([0, 1]))
def test_ild_error_of_a_gain_at_one_ear_is_the_gain(gain, ear):
    target = np.random.default_rng(4).standard_normal((4000, 2))
    output = target * np.where(np.arange(2) == ear, 10 ** (gain / 20), 1)
    assert rm.interaural_level_error(target, output) == pytest.approx(abs(gain), abs=1e-6)
    assert rm.interaural_time_error(target, output) == pytest.approx(0, abs=1e-6)


def test_ild_error_weighs_bands_by_the_target(talker):
    t = np.arange(16000) / 16000
    low, high = np.sin(2 * np.pi * 500 * t), np.sin(2 * np.pi * 4000 * t)
    both = low + 0.5 * high
    output = np.stack([both, low + 0.05 * high], 1)  # 20 dB off in the high band, which has a fifth of the energy
    assert rm.interaural_level_error(np.stack([both, both], 1), output) == pytest.approx(20 * 0.25 / 1.25, abs=1e-3)


@few
@given(st.floats(-340, 340))
def test_itd_error_of_a_delay_at_one_ear_is_the_delay(microseconds):
    x = np.random.default_rng(5).standard_normal(16000)
    target, output = np.stack([x, x], 1), np.stack([x, delayed(x, microseconds)], 1)
    assert rm.interaural_time_error(target, output) == pytest.approx(abs(microseconds), rel=0.02, abs=0.1)
    assert rm.interaural_level_error(target, output) == pytest.approx(0, abs=1e-3)


@few
@given(st.floats(-900, 900))
def test_itd_error_of_a_low_tone_is_exact(microseconds):
    tone = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    target, output = np.stack([tone, tone], 1), np.stack([tone, delayed(tone, microseconds)], 1)
    assert rm.interaural_time_error(target, output) == pytest.approx(abs(microseconds), abs=1e-3)


def test_phases_turn_around_after_half_a_period():
    tone = np.sin(2 * np.pi * 1260 * np.arange(16000) / 16000)  # half a period: 397 µs
    target, output = np.stack([tone, tone], 1), np.stack([tone, delayed(tone, 450)], 1)
    assert rm.interaural_time_error(target, output) == pytest.approx(1e6 / 1260 - 450, abs=0.5)


@pytest.mark.parametrize("function", [rm.interaural_level_error, rm.interaural_time_error])
def test_what_changes_both_ears_alike_is_no_error(function, ears):
    assert function(ears, ears) == 0
    assert function(ears, 0.01 * ears) == pytest.approx(0, abs=1e-9)
    filtered = np.fft.irfft(np.fft.rfft(ears, axis=0) * 1j, len(ears), axis=0)
    assert function(ears, filtered) == pytest.approx(0, abs=1e-3)
    assert function(1e-4 * ears, 1e-4 * ears[:, ::-1]) == pytest.approx(function(ears, ears[:, ::-1]), rel=1e-9)


@pytest.mark.parametrize("function", [rm.interaural_level_error, rm.interaural_time_error])
def test_cues_that_are_gone_are_an_error(function, ears):
    assert function(ears, np.repeat(ears.mean(axis=1, keepdims=True), 2, axis=1)) > 2


@pytest.mark.parametrize("function", [rm.interaural_level_error, rm.interaural_time_error])
@pytest.mark.parametrize(
    "target, output, reason",
    [
        (np.ones((900, 2)), np.ones((900, 2)) * [1, 0], "an ear is silent"),
        (np.ones((900, 2)) * [0, 1], np.ones((900, 2)), "an ear is silent"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "an ear is silent"),
        (np.ones((1, 2)), np.ones((1, 2)), "third-octave band"),  # too short for one
    ],
)
def test_ears_without_cues_are_nan_with_a_reason(function, target, output, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(function(target, output))


@pytest.mark.parametrize("function", [rm.interaural_level_error, rm.interaural_time_error])
@pytest.mark.parametrize(
    "target, output, cure",
    [
        (np.ones((100, 2)), np.ones((101, 2)), "equally long"),
        (np.ones(100), np.ones(100), "left ear first"),
        (np.ones((100, 3)), np.ones((100, 3)), "left ear first"),
        (np.ones((100, 2)), np.full((100, 2), np.nan), "NaN or Inf"),
    ],
)
def test_what_are_no_ears_raise(function, target, output, cure):
    with pytest.raises(ValueError, match=cure):
        function(target, output)


# ---- array gain ----


@few
@given(st.floats(-40, 40), st.floats(-40, 40))
def test_array_gain_is_the_difference_of_the_gains(of_speech, of_noise):
    s, n = np.random.default_rng(6).standard_normal((2, 4000))
    gain = rm.array_gain(s, n, 10 ** (of_speech / 20) * s, 10 ** (of_noise / 20) * n)
    assert gain == pytest.approx(of_speech - of_noise, abs=1e-6)


def test_a_filter_that_speech_and_noise_share_gains_nothing(talker, rain):
    s, n = (lfilter([1, -0.9], 1, x) for x in (talker, rain))
    assert rm.array_gain(talker, rain, s, n) == pytest.approx(0, abs=0.05)
    assert shadow_measures.snr_improvement(talker, rain, s, n) > 1  # what an equalizer could do


# ANSI S3.5-1997, table 3: the band importance at these frequencies
@pytest.mark.parametrize("center, importance", [(160, 0.0083), (1000, 0.0818), (2000, 0.0898), (4000, 0.0771)])
def test_a_band_counts_as_much_as_it_matters_for_understanding(center, importance, talker, rain):
    band = THIRD_OCTAVES_HZ[np.argmin(np.abs(THIRD_OCTAVES_HZ - center))]
    freqs = np.fft.rfftfreq(len(rain), 1 / 16000)
    inside = (freqs >= band * 2 ** (-1 / 6)) & (freqs < band * 2 ** (1 / 6))
    quieter = np.fft.irfft(np.fft.rfft(rain) * np.where(inside, 0.1, 1), len(rain))
    assert rm.array_gain(talker, rain, talker, quieter) == pytest.approx(20 * importance, abs=1e-6)


def test_all_bands_together_matter_once():
    assert sum(rm._BAND_IMPORTANCE) == pytest.approx(1)


@pytest.mark.parametrize("silent", range(4))
def test_array_gain_without_speech_or_noise_is_nan(silent, talker):
    parts = [talker * (index != silent) for index in range(4)]
    with pytest.warns(MetricWarning, match="no speech or no noise"):
        assert np.isnan(rm.array_gain(*parts))


@pytest.mark.parametrize("length, reason", [(0, "no speech"), (1, "third-octave band")])
def test_array_gain_of_too_little_is_nan(length, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(rm.array_gain(*[np.ones(length)] * 4))


@pytest.mark.parametrize(
    "bad, cure",
    [(np.ones(99), "equally long"), (np.ones((100, 2)), "one channel"), (np.full(100, np.nan), "NaN or Inf")],
)
@pytest.mark.parametrize("which", range(1, 4))
def test_parts_that_do_not_fit_raise(bad, cure, which):
    parts = [np.ones(100)] * 4
    parts[which] = bad
    with pytest.raises(ValueError, match=cure):
        rm.array_gain(*parts)


# ---- beams ----


def beam(name, weights=None, look=20.0):
    """A beam of a preset: by a design, or of the reference microphone alone."""
    array = MicArray.load(name)
    reference = min(array.reference.values())
    if weights is None:
        w = np.eye(array.mics)[[reference]].repeat(len(FREQS), 0)
    else:
        w = weights.weights(array, look, FREQS, reference)
    return rm.Beam(w, FREQS, array, look, reference)


@pytest.mark.parametrize("name", ["linear-4", "bte-2x2", "mono"])
def test_a_microphone_alone_adds_nothing(name):
    assert rm.mean_directivity(beam(name)) == pytest.approx(0, abs=1e-9)
    assert rm.least_white_noise_gain(beam(name)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name, mics", [("linear-4", 4), ("respeaker-6", 6)])
def test_delay_and_sum_in_open_air_averages_the_noise_of_all_microphones(name, mics):
    assert rm.least_white_noise_gain(beam(name, DelayAndSum())) == pytest.approx(10 * np.log10(mics), abs=1e-6)


@pytest.mark.parametrize("name", ["linear-4", "bte-2x2", "glasses-6"])
def test_superdirective_buys_directivity_with_white_noise(name):
    plain, sharp = beam(name, DelayAndSum()), beam(name, Superdirective(-10.0))
    assert rm.mean_directivity(sharp) > rm.mean_directivity(plain) + 0.5
    assert rm.least_white_noise_gain(plain) > rm.least_white_noise_gain(sharp) >= -10 - 1e-6


def test_a_beam_has_no_level():
    plain = beam("bte-2x2", Superdirective())
    loud = rm.Beam(30 * plain.weights, plain.freqs, plain.array, plain.look, plain.reference)
    assert rm.mean_directivity(loud) == pytest.approx(rm.mean_directivity(plain), abs=1e-9)
    assert rm.least_white_noise_gain(loud) == pytest.approx(rm.least_white_noise_gain(plain), abs=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("function", [rm.mean_directivity, rm.least_white_noise_gain])
def test_a_beam_that_lets_nothing_through_is_nan(function):
    one = beam("linear-4")
    with pytest.warns(MetricWarning, match="nothing through"):
        assert np.isnan(function(rm.Beam(0 * one.weights, one.freqs, one.array, one.look, one.reference)))
