"""Measures of signals: packages called directly, values by hand, what changes nothing, and what is not defined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter, resample_poly

from edgeenhance.simulation import signal_measures as sm
from edgeenhance.simulation.metrics import MetricWarning
from edgeenhance.simulation.synth import speech

AGAINST_REFERENCE = {  # value of a perfect copy, and whether more is better
    "snr": (np.inf, True),
    "segmental_snr": (35.0, True),
    "mse": (0.0, False),
    "sdr": (np.inf, True),
    "log_spectral_distance": (0.0, False),
    "spectral_distortion": (0.0, False),
    "pesq_nb": (4.5486, True),  # P.862.1: 0.999 + 4 / (1 + exp(-1.4945 x 4.5 + 4.6607))
}
few = settings(max_examples=15, deadline=None)


@pytest.fixture(scope="module")
def talker():
    return speech(3, 1, espeak=False).astype(float)


@pytest.fixture(scope="module")
def hiss():
    return 0.01 * np.random.default_rng(2).standard_normal(3 * 16000)


# ---- against a reference ----


@pytest.mark.parametrize("name", AGAINST_REFERENCE)
def test_a_perfect_copy_has_the_best_value(name, talker):
    assert getattr(sm, name)(talker, talker) == pytest.approx(AGAINST_REFERENCE[name][0], abs=1e-4)


@pytest.mark.parametrize("name", AGAINST_REFERENCE)
def test_more_noise_is_worse(name, talker, hiss):
    less, more = (getattr(sm, name)(talker, talker + g * hiss) for g in (0.1, 3.0))
    assert less > more if AGAINST_REFERENCE[name][1] else less < more


@pytest.mark.parametrize("name", [name for name in AGAINST_REFERENCE if name != "mse"])  # silence has an error too
def test_a_silent_reference_is_nan_with_a_reason(name, talker):
    with pytest.warns(MetricWarning, match="is NaN"):
        assert np.isnan(getattr(sm, name)(np.zeros_like(talker), talker))


@pytest.mark.parametrize("name", AGAINST_REFERENCE)
def test_nothing_at_all_is_nan_with_a_reason(name):
    with pytest.warns(MetricWarning, match="is NaN"):
        assert np.isnan(getattr(sm, name)(np.zeros(0), np.zeros(0)))


@pytest.mark.parametrize("name", AGAINST_REFERENCE)
@pytest.mark.parametrize(
    "reference, degraded, cure",
    [
        (np.ones(1000), np.ones(1001), "equally long"),
        (np.ones((1000, 2)), np.ones((1000, 2)), "one channel"),
        (np.ones(1000), np.full(1000, np.inf), "NaN or Inf"),
    ],
)
def test_signals_that_cannot_be_compared_raise(name, reference, degraded, cure):
    with pytest.raises(ValueError, match=cure):
        getattr(sm, name)(reference, degraded)


@few
@given(st.floats(-30, 60), st.integers(0, 99))
def test_snr_is_the_snr_of_the_noise(snr, seed):
    s, n = np.random.default_rng(seed).standard_normal((2, 800))
    n *= np.sqrt(s @ s / (n @ n)) * 10 ** (-snr / 20)
    assert sm.snr(s, s + n) == pytest.approx(snr, abs=1e-6)


def test_snr_counts_a_wrong_gain_as_noise(talker):
    assert sm.snr(talker, 0.9 * talker) == pytest.approx(20, abs=1e-9)


def test_segmental_snr_is_the_mean_over_frames_within_its_limits():
    rng = np.random.default_rng(3)
    s, n = rng.choice([-0.1, 0.1], (2, 4, 512))
    n *= 10 ** (-np.array([[20.0], [5.0], [60.0], [-40.0]]) / 20)
    assert sm.segmental_snr(s.ravel(), (s + n).ravel()) == pytest.approx((20 + 5 + 35 - 10) / 4)


def test_segmental_snr_leaves_out_frames_without_speech():
    rng = np.random.default_rng(4)
    s, n = rng.choice([-0.1, 0.1], (2, 6, 512))
    n *= 0.1
    s[[1, 4]] *= 10 ** (-36 / 20)  # quieter than 35 dB below the loudest
    assert sm.segmental_snr(s.ravel(), (s + n).ravel()) == pytest.approx(20)


def test_segmental_snr_knows_the_sample_rate():
    rng = np.random.default_rng(5)
    s, n = rng.choice([-0.1, 0.1], (2, 2, 256))
    n *= [[0.1], [1.0]]
    assert sm.segmental_snr(s.ravel(), (s + n).ravel(), 8000) == pytest.approx(10)
    assert sm.segmental_snr(s.ravel(), (s + n).ravel(), 16000) == pytest.approx(10 * np.log10(2 / 1.01))


def test_mse_of_an_offset_is_its_square(talker):
    assert sm.mse(talker, talker + 0.1) == pytest.approx(0.01)


@pytest.mark.parametrize("gain", [0.3, 3.0])
def test_sdr_is_fast_bss_evals(gain, talker, hiss):
    import fast_bss_eval

    degraded = talker + gain * hiss
    direct = fast_bss_eval.sdr(talker[None], degraded[None], filter_length=512)[0]
    assert sm.sdr(talker, degraded) == pytest.approx(direct, abs=1e-6)


def test_sdr_forgives_what_a_short_filter_does(talker, hiss):
    coloured = lfilter([0, 0, 0, 1, 0.5], 1, talker)
    assert sm.snr(talker, coloured) < 3
    assert sm.sdr(talker, coloured) > 60
    assert sm.sdr(hiss, np.roll(hiss, 600)) < -10  # longer than the filter


@few
@given(st.floats(-3, 1))
def test_sdr_is_blind_to_gain(exponent):
    s, n = np.random.default_rng(6).standard_normal((2, 4000))
    assert sm.sdr(s, 10**exponent * (s + n)) == pytest.approx(sm.sdr(s, s + n), abs=1e-6)


@pytest.mark.parametrize(
    "degraded, reason", [(np.zeros(4000), "silent"), (np.ones(512), "512"), (np.zeros(512), "silent")]
)
def test_sdr_that_is_not_defined_is_nan(degraded, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(sm.sdr(np.ones(len(degraded)), degraded))


def test_sdr_of_a_reference_without_a_best_filter_is_nan_not_a_crash():
    t = np.arange(16000) / 16000
    tone = np.round(30 * np.sin(2 * np.pi * 1000 * t)) / 32768  # repeats itself: its correlations are singular
    with pytest.warns(MetricWarning, match="best filter"):
        assert np.isnan(sm.sdr(1e-200 * tone, tone))


@few
@given(st.floats(-40, 40))
def test_log_spectral_distance_of_a_gain_is_the_gain_in_db(gain):
    x = np.random.default_rng(7).standard_normal(4000)
    assert sm.log_spectral_distance(x, 10 ** (gain / 20) * x) == pytest.approx(abs(gain), abs=1e-6)


def test_log_spectral_distance_goes_both_ways(talker, hiss):
    there, back = sm.log_spectral_distance(talker, hiss), sm.log_spectral_distance(hiss, talker)
    assert there == pytest.approx(back, abs=1e-9) and there > 10


def test_log_spectral_distance_sees_50_db():
    t = np.arange(16000) / 16000
    tone, noise = np.sin(2 * np.pi * 1000 * t), np.random.default_rng(8).standard_normal(16000)
    assert sm.log_spectral_distance(tone, tone + 1e-4 * noise) < 0.01
    assert sm.log_spectral_distance(tone, tone + 1e-1 * noise) > 5


@few
@given(st.floats(-4, 2))
def test_spectral_distortion_is_blind_to_gain(exponent):
    x = lfilter([1], [1, -0.9], np.random.default_rng(9).standard_normal(4000))
    assert sm.spectral_distortion(x, 10**exponent * x) < 1e-4


def test_spectral_distortion_of_two_known_resonances():
    noise, k = np.random.default_rng(10).standard_normal(4 * 16000), np.arange(1, 17)
    expected = 10 / np.log(10) * np.sqrt(2 * np.sum(((0.9**k - 0.5**k) / k) ** 2))
    distance = sm.spectral_distortion(lfilter([1], [1, -0.9], noise), lfilter([1], [1, -0.5], noise))
    assert distance == pytest.approx(expected, rel=0.03)


def test_spectral_distortion_ends_at_10_db(hiss):
    tone = np.sin(2 * np.pi * 3000 * np.arange(len(hiss)) / 16000)
    assert sm.spectral_distortion(hiss, tone) == 10


def test_narrow_band_pesq_is_the_packages(talker, hiss):
    import pesq

    s, y = talker, talker + hiss
    low, low_y = resample_poly(s, 1, 2), resample_poly(y, 1, 2)
    direct = pesq.pesq(8000, low, low_y, "nb")
    assert sm.pesq_nb(s, y) == pytest.approx(direct, abs=1e-6)
    assert sm.pesq_nb(low, low_y, 8000) == pytest.approx(direct, abs=1e-6)


def test_narrow_band_pesq_refuses_other_rates(talker):
    with pytest.raises(ValueError, match="8000 Hz, got 48000"):
        sm.pesq_nb(talker, talker, 48000)


def test_narrow_band_pesq_of_too_little_is_nan(talker):
    with pytest.warns(MetricWarning, match="narrow-band PESQ is NaN"):
        assert np.isnan(sm.pesq_nb(talker[:1000], talker[:1000]))


# ---- one signal ----


@pytest.mark.parametrize("function", [sm.clipping_ratio, sm.dynamic_range, sm.dnsmos, sm.voice_activity])
@pytest.mark.parametrize("x, cure", [(np.ones((9, 2)), "one channel"), (np.array([0, np.nan]), "NaN or Inf")])
def test_what_is_no_signal_raises(function, x, cure):
    with pytest.raises(ValueError, match=cure):
        function(x)


@few
@given(st.floats(0.05, 0.98), st.floats(0.01, 1))
def test_clipping_ratio_of_a_clipped_sine(limit, turned_down):
    sine = np.sin(2 * np.pi * 41.3 * np.arange(32000) / 16000)
    expected = 1 - 2 / np.pi * np.arcsin(limit)  # the time that a sine spends beyond the limit
    assert sm.clipping_ratio(turned_down * np.clip(sine, -limit, limit)) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize(
    "x, ratio",
    [
        ([0, 0.5, 0.5, 0.5, 0.1], 0.6),  # flat on top
        ([0, -0.5, -0.5, -0.5, 0.1], 0.6),
        ([0, 0.5, 0.5, 0.1, 0.5], 0),  # two in a row may be chance
        ([0, 0.2, 0.2, 0.2, 0.5], 0),  # flat, but not on top
        ([0, 32767 / 32768, 0.1, -1, 0.3], 0.4),  # full scale
        ([0, 0, 0, 0, 0], 0),
        ([0, 0, 0, 0, 0.5], 0),  # silence before a sound is no flat bottom
    ],
)
def test_clipped_samples_are_counted(x, ratio):
    assert sm.clipping_ratio(np.array(x)) == pytest.approx(ratio)


def test_clean_speech_is_not_clipped(talker):
    assert sm.clipping_ratio(talker) == 0


def test_clipping_ratio_of_nothing_is_nan():
    with pytest.warns(MetricWarning, match="empty"):
        assert np.isnan(sm.clipping_ratio(np.zeros(0)))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_dynamic_range_of_two_levels_is_their_difference(rate):
    size = rate // 8
    x = np.repeat([0.5, 0.05, 0.5, 0.05, 0.5, 0.05], size) * np.resize([1, -1], 6 * size)
    assert sm.dynamic_range(x, rate) == pytest.approx(20)
    assert sm.dynamic_range(0.1 * x, rate) == pytest.approx(20)


def test_dynamic_range_leaves_out_the_loudest_and_the_quietest_twentieth():
    levels_db = np.random.default_rng(12).permutation(np.linspace(-50, 0, 101))
    x = np.repeat(10 ** (levels_db / 20), 2000)
    assert sm.dynamic_range(x) == pytest.approx(0.9 * 50)


def test_dynamic_range_ends_where_16_bits_end():
    assert sm.dynamic_range(np.repeat([1.0, 0.0], 20000)) == pytest.approx(96)


@pytest.mark.parametrize("x", [np.zeros(0), np.ones(1999), np.zeros(16000)], ids=["empty", "short", "silent"])
def test_dynamic_range_that_is_not_defined_is_nan(x):
    with pytest.warns(MetricWarning, match="125 ms"):
        assert np.isnan(sm.dynamic_range(x))


def test_dnsmos_is_its_network_and_its_polynomials(talker):
    runtime, package = pytest.importorskip("onnxruntime"), pytest.importorskip("speechmos")
    file = Path(package.__path__[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    x = np.tile(talker, 4)[:144160].astype(np.float32)  # one window of 9.01 s
    sig, bak, overall = runtime.InferenceSession(str(file)).run(None, {"input_1": x[None]})[0][0].astype(float)
    values = sm.dnsmos(x)
    assert values["sig"] == pytest.approx(-0.08397278 * sig**2 + 1.22083953 * sig + 0.0052439, abs=1e-6)
    assert values["bak"] == pytest.approx(-0.13166888 * bak**2 + 1.60915514 * bak - 0.39604546, abs=1e-6)
    assert values["ovrl"] == pytest.approx(-0.06766283 * overall**2 + 1.11546468 * overall + 0.04602535, abs=1e-6)


def test_dnsmos_is_the_packages():
    package = pytest.importorskip("speechmos.dnsmos")
    x = speech(11.5, 3, espeak=False)  # two windows of 9.01 s
    direct = package.run(x, 16000)
    assert sm.dnsmos(x) == pytest.approx({key: direct[f"{key}_mos"] for key in ("sig", "bak", "ovrl")}, abs=1e-6)


def test_dnsmos_hears_noise(talker, hiss):
    for package in ("onnxruntime", "speechmos"):
        pytest.importorskip(package)
    clean, noisy = sm.dnsmos(talker), sm.dnsmos(talker + 3 * hiss)
    assert all(1 <= noisy[key] < clean[key] <= 5 for key in ("sig", "bak", "ovrl"))


@pytest.mark.parametrize(
    "x, reason", [(np.zeros(16000), "silent"), (np.zeros(0), "silent"), (np.full(16000, 1.01), "±1")]
)
def test_dnsmos_that_is_not_defined_is_nan(x, reason):
    with pytest.warns(MetricWarning, match=reason):
        assert np.isnan(list(sm.dnsmos(x).values())).all()


def test_dnsmos_without_its_packages_says_what_to_install(monkeypatch, talker):
    monkeypatch.setattr(sm.importlib.util, "find_spec", lambda name: None)
    sm._dnsmos_model.cache_clear()
    with pytest.warns(MetricWarning, match="pip install speechmos onnxruntime"):
        assert set(sm.dnsmos(talker)) == {"sig", "bak", "ovrl"}
    sm._dnsmos_model.cache_clear()


# ---- voice activity ----


@few
@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any), st.floats(-4, 0), st.sampled_from([8000, 16000]))
def test_voice_activity_finds_the_frames_that_sound(wanted, exponent, rate):
    x = np.random.default_rng(11).choice([-1.0, 1.0], (len(wanted), rate // 100)) * np.array(wanted)[:, None]
    labels = sm.voice_activity(10**exponent * np.append(x, 0.0), rate)  # the last sample makes no whole frame
    assert labels.tolist() == wanted


def test_speech_lies_within_35_db_of_the_loudest_frame():
    x = np.repeat([1.0, 10 ** (-34.9 / 20), 10 ** (-35.1 / 20)], 160)
    assert sm.voice_activity(x).tolist() == [True, True, False]


def test_silence_has_no_speech():
    assert not sm.voice_activity(np.zeros(1600)).any() and len(sm.voice_activity(np.zeros(1600))) == 10


def test_voice_activity_scores_by_hand():
    scores = sm.voice_activity_scores([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0, 0])
    assert scores == pytest.approx({"accuracy": 5 / 8, "precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7})


@few
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_f1_is_the_harmonic_mean_of_precision_and_recall(pairs):
    labels, wanted = np.array([(True, True), *pairs]).T
    scores = sm.voice_activity_scores(labels, wanted)
    assert scores["f1"] == pytest.approx(2 / (1 / scores["precision"] + 1 / scores["recall"]))
    swapped = sm.voice_activity_scores(wanted, labels)
    assert (swapped["precision"], swapped["f1"]) == (scores["recall"], scores["f1"])


@pytest.mark.parametrize(
    "labels, wanted, undefined",
    [([0, 0], [1, 0], {"precision"}), ([1, 0], [0, 0], {"recall"}), ([0, 0], [0, 0], {"precision", "recall", "f1"})],
)
def test_voice_activity_scores_that_are_not_defined_are_nan(labels, wanted, undefined):
    with pytest.warns(MetricWarning, match="is NaN"):
        scores = sm.voice_activity_scores(labels, wanted)
    assert {name for name, value in scores.items() if np.isnan(value)} == undefined


@pytest.mark.filterwarnings("ignore::edgeenhance.simulation.metrics.MetricWarning")
def test_no_frame_has_no_scores():
    with pytest.warns(MetricWarning, match="accuracy is NaN: there is no frame"):
        assert np.isnan(list(sm.voice_activity_scores([], []).values())).all()


@pytest.mark.parametrize("labels, wanted", [([1, 0], [1]), ([[1, 0]], [[1, 0]])])
def test_labels_that_do_not_fit_raise(labels, wanted):
    with pytest.raises(ValueError, match="equally long"):
        sm.voice_activity_scores(labels, wanted)


# ---- frames and spectra ----


@few
@given(st.floats(0, 0.9), st.floats(0.2, 2.9), st.floats(-3, 3))
def test_cepstra_of_an_all_pole_filter_are_the_power_sums_of_its_poles(radius, angle, exponent):
    poles = radius * np.exp([1j * angle, -1j * angle])
    response = 10**exponent * lfilter([1], np.poly(poles).real, np.eye(1, 2048)[0])
    expected = [np.sum(poles**k).real / k for k in range(1, 17)]
    np.testing.assert_allclose(sm.lpc_cepstra(response[None])[0], expected, atol=1e-5)
