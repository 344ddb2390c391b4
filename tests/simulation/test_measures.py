"""The registry of measures: what each promises, what it needs, and one number or one reason from any clip."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import istft, stft

from edgeenhance.arrays import MicArray
from edgeenhance.beamform import DelayAndSum
from edgeenhance.profiles import PROFILES
from edgeenhance.simulation import measures, metrics, room_measures, shadow_measures, signal_measures
from edgeenhance.simulation.measures import MEASURES, SIGNALS, Clip, measure, without_reference
from edgeenhance.simulation.synth import noise, speech

DNSMOS = {"dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"}
HELD = {field.name for field in dataclasses.fields(Clip)} - {"sample_rate"}
WITHOUT_REFERENCE = {"clipping_ratio", "dynamic_range", "srmr", "srmr_gain"} | DNSMOS


@pytest.fixture(scope="module")
def scene():
    """A talker, a noise, and a room's tail of the talker; (n,) each."""
    s = speech(3, 1, espeak=False).astype(float)
    tail = 0.1 * np.random.default_rng(2).standard_normal(8000) * 10 ** (-3 * np.arange(8000) / 8000)
    return s, noise("speech-shaped", 3, 1).astype(float), np.convolve(s, tail)[: len(s)]


def clip_of(scene, speech_out, noise_out, ears, heard, weights, limit=1.0):
    s, n, _ = scene
    degraded = np.clip(speech_out + noise_out, -limit, limit)
    target = np.stack([s, 0.7 * np.roll(s, 3)], 1)
    array, freqs = MicArray.load("linear-4"), PROFILES["assist"].freqs
    beam = room_measures.Beam(weights(array, 0.0, freqs, 0), freqs, array, 0.0, 0)
    voices = np.array([1.0, 0.0]), np.array([1.0, float(heard != "hello world")])
    parts = (speech_out, noise_out, s, n, target @ ears, target)
    return Clip(16000, degraded, s + n, s, *parts, "hello world", heard, *voices, beam)


@pytest.fixture(scope="module")
def good(scene):
    s, n, _ = scene
    return clip_of(scene, s, 0.05 * n, np.eye(2), "hello world", DelayAndSum().weights)


@pytest.fixture(scope="module")
def bad(scene):
    """Reverberant, clipped, gated at random, both ears alike, misunderstood, through a beam at random."""
    s, n, tail = scene
    bins = stft(n, nperseg=512)[2]
    gated = istft(bins * (np.random.default_rng(3).random(bins.shape) < 0.3), nperseg=512)[1][: len(n)]
    rng = np.random.default_rng(6)
    return clip_of(
        scene, s + tail, gated, np.ones((2, 2)), "hollow word", lambda *args: rng.standard_normal((257, 4)), limit=0.1
    )


# ---- the registry ----


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_says_what_it_is(name):
    m = MEASURES[name]
    assert m.name == name and m.title and m.unit in ("", "dB", "µs")
    assert m.low < m.high and m.better in ("higher", "lower", "none") and 0 <= m.digits <= 6
    assert set(m.needs) <= HELD and len(set(m.needs)) == len(m.needs) > 0


def test_no_two_measures_share_a_title():
    assert len({m.title for m in MEASURES.values()}) == len(MEASURES)


def test_everything_in_a_clip_is_needed_by_some_measure_and_has_a_meaning():
    assert {name for m in MEASURES.values() for name in m.needs} == HELD
    assert set(measures._MEANINGS) == HELD - {"degraded", "noisy"}


def test_measures_without_a_reference():
    assert set(without_reference()) == WITHOUT_REFERENCE


NO_RANKING = ("vad_recall",)  # in noise everything is found


@pytest.mark.parametrize("name", [n for n in MEASURES if MEASURES[n].better != "none" and n not in NO_RANKING])
def test_the_better_clip_scores_better(name, good, bad):
    if name in DNSMOS:
        for package in ("onnxruntime", "speechmos"):
            pytest.importorskip(package)
    if name == "wer":
        pytest.importorskip("jiwer")
    (better, worse), reasons = zip(*((clip[0][name], clip[1]) for clip in (measure(c, [name]) for c in (good, bad))))
    assert reasons == ([], [])
    assert better > worse if MEASURES[name].better == "higher" else better < worse


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in DNSMOS | {"wer"}])
def test_ends_of_the_range_hold(name, good, bad):
    m = MEASURES[name]
    bounded = m.unit == "" and name not in ("mse", "srmr", "srmr_gain", "musical_noise")
    for clip in (good, bad):
        value = measure(clip, [name])[0][name]
        assert np.isfinite(value) or name == "speech_distortion"
        assert not bounded or m.low <= value <= m.high + 0.01


DIRECT = {
    "pesq": lambda c: metrics.pesq(c.reference, c.degraded),
    "pesq_nb": lambda c: signal_measures.pesq_nb(c.reference, c.degraded),
    "estoi": lambda c: metrics.estoi(c.reference, c.degraded),
    "snr": lambda c: signal_measures.snr(c.reference, c.degraded),
    "segmental_snr": lambda c: signal_measures.segmental_snr(c.reference, c.degraded),
    "sdr": lambda c: signal_measures.sdr(c.reference, c.degraded),
    "clipping_ratio": lambda c: signal_measures.clipping_ratio(c.degraded),
    "srmr": lambda c: room_measures.srmr(c.degraded),
    "srmr_gain": lambda c: room_measures.srmr(c.degraded) - room_measures.srmr(c.noisy),
    "noise_reduction": lambda c: shadow_measures.noise_reduction(c.noise_in, c.noise_out),
    "speech_distortion": lambda c: shadow_measures.speech_distortion(c.speech_in, c.speech_out),
    "snr_improvement": lambda c: shadow_measures.snr_improvement(c.speech_in, c.noise_in, c.speech_out, c.noise_out),
    "array_gain": lambda c: room_measures.array_gain(c.speech_in, c.noise_in, c.speech_out, c.noise_out),
    "musical_noise": lambda c: shadow_measures.musical_noise(c.noise_in, c.noise_out, c.speech_in),
    "artifact_score": lambda c: shadow_measures.artifact_score(c.noise_in, c.noise_out, c.speech_in),
    "interaural_level_error": lambda c: room_measures.interaural_level_error(c.reference_ears, c.degraded_ears),
    "interaural_time_error": lambda c: room_measures.interaural_time_error(c.reference_ears, c.degraded_ears),
}


@pytest.mark.parametrize("name", DIRECT)
def test_a_measure_is_its_function_of_the_right_signals(name, bad):
    assert measure(bad, [name]) == ({name: DIRECT[name](bad)}, [])


def test_several_measures_come_in_the_order_they_were_asked_for(bad):
    names = ["snr", "mse", "estoi"]
    values, _ = measure(bad, iter(names))
    assert list(values) == names
    assert measure(bad, []) == ({}, [])


def test_an_unknown_measure_raises_and_names_the_others(bad):
    with pytest.raises(ValueError, match=r"unknown measure loudness, warmth; choose from quality, pesq, "):
        measure(bad, ["snr", "loudness", "warmth"])


# ---- what a clip lacks ----


@pytest.mark.parametrize("name", [name for name in MEASURES if name not in WITHOUT_REFERENCE])
def test_the_reason_names_everything_that_is_missing(name, good):
    values, reasons = measure(Clip(16000, good.degraded, good.noisy), [name])
    assert np.isnan(values[name]) and len(reasons) == 1
    assert reasons[0].startswith(f"{MEASURES[name].title} is NaN: it needs ")
    for needed in set(MEASURES[name].needs) - {"degraded"}:
        assert f"{needed} ({measures._MEANINGS[needed]})" in reasons[0]


def test_the_reason_does_not_name_what_is_there(good):
    clip = dataclasses.replace(good, noise_out=None)
    assert measure(clip, ["noise_reduction"])[1] == [
        "noise reduction is NaN: it needs noise_out (the noise's part of the output)"
    ]


def test_one_reason_is_said_once(good):
    silent = dataclasses.replace(good, degraded=np.zeros_like(good.degraded))
    values, reasons = measure(silent, ["pesq", "quality", "dnsmos_sig", "dnsmos_bak"])
    assert np.isnan(list(values.values())).all()
    assert len(reasons) == len(set(reasons)) and "PESQ is NaN: a signal is silent" in reasons


def test_measuring_warns_of_nothing(good):
    silent = Clip(16000, np.zeros(16000), np.zeros(16000), np.zeros(16000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure(silent, list(MEASURES))


def test_reasons_are_of_measures_that_are_nan(good):
    silent = dataclasses.replace(good, degraded=np.zeros_like(good.degraded))
    assert measure(silent, ["vad_f1"]) == ({"vad_f1": 0.0}, [])  # nothing was found; precision alone is not defined


SOUNDS = {
    "silence": lambda n, rng: np.zeros(n),
    "noise": lambda n, rng: 0.1 * rng.standard_normal(n),
    "click": lambda n, rng: 0.5 * (np.arange(n) == n // 2),
    "tone": lambda n, rng: 0.1 * np.sin(0.4 * np.arange(n)),
    "constant": lambda n, rng: np.full(n, 0.5),
}
sounds = st.sampled_from(sorted(SOUNDS))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([0, 1, 2, 100, 161, 513, 1024, 8000, 17000]),
    st.lists(sounds, min_size=len(SIGNALS), max_size=len(SIGNALS)),
)
def test_any_clip_gives_a_number_or_a_reason(length, kinds):
    rng = np.random.default_rng(4)
    signals = {
        name: np.stack([SOUNDS[kind](length, rng)] * 2, 1) if name.endswith("_ears") else SOUNDS[kind](length, rng)
        for name, kind in zip(SIGNALS, kinds)
    }
    clip = Clip(16000, **signals)
    for name in set(MEASURES) - DNSMOS - {"wer"}:
        values, reasons = measure(clip, [name])
        assert isinstance(values[name], float)
        assert np.isnan(values[name]) == bool(reasons), (name, values, reasons)


@pytest.mark.parametrize("name", SIGNALS)
def test_signals_that_do_not_fit_each_other_raise(name, good):
    x = getattr(good, name)
    other = "noisy" if name == "degraded" else name  # the others are held against degraded
    with pytest.raises(ValueError, match=f"{other} must be .* cut all to the same samples"):
        dataclasses.replace(good, **{name: x[:-1]})
    with pytest.raises(ValueError, match="must be"):
        dataclasses.replace(good, **{name: x[:, None]})


def test_a_clip_at_another_rate_raises(good):
    with pytest.raises(ValueError, match="16000 Hz, got 48000 Hz; resample"):
        dataclasses.replace(good, sample_rate=48000)


def test_only_output_and_noisy_input_must_be_known(good):
    clip = Clip(16000, good.degraded, good.noisy)
    assert all(getattr(clip, name) is None for name in HELD - {"degraded", "noisy"})


@pytest.mark.parametrize("name", ["snr", "clipping_ratio", "srmr"])
def test_nan_samples_raise(name, good):
    degraded = good.degraded.copy()
    degraded[7] = np.nan
    with pytest.raises(ValueError, match="NaN or Inf"):
        measure(dataclasses.replace(good, degraded=degraded), [name])


# ---- quality ----


def test_quality_of_a_perfect_copy_is_1(scene):
    s, n, _ = scene
    clip = Clip(16000, s, s + n, s, noise_out=n, speech_in=s, noise_in=n)
    assert measures.quality(clip) == pytest.approx(1, abs=1e-6)


def test_quality_is_half_sound_half_intelligibility_less_a_quarter_of_the_artifacts(bad):
    values, _ = measure(bad, ["quality", "pesq", "estoi", "artifact_score"])
    sound = (values["pesq"] - 1.04) / 3.6
    assert 0 < sound < 1 and 0 < values["estoi"] < 1 and values["artifact_score"] > 0.1
    expected = (sound + values["estoi"]) / 2 * (1 - values["artifact_score"] / 4)
    assert values["quality"] == pytest.approx(expected, abs=1e-9)


def test_quality_of_something_else_altogether_is_0(good):
    upset = dataclasses.replace(good, degraded=np.random.default_rng(5).standard_normal(len(good.degraded)))
    assert 0 <= measures.quality(upset) < 0.05


def test_quality_does_not_depend_on_the_level_of_the_output(bad):
    louder = dataclasses.replace(bad, degraded=0.1 * bad.degraded, noise_out=0.1 * bad.noise_out)
    assert measures.quality(louder) == pytest.approx(measures.quality(bad), abs=1e-3)


def test_quality_is_nan_where_a_part_of_it_is(good):
    values, reasons = measure(dataclasses.replace(good, noise_out=np.zeros_like(good.noise_out)), ["quality"])
    assert np.isnan(values["quality"]) and "musical noise is NaN" in reasons[0]
