"""All measures under one roof: what each is called, its unit and range, which way is better, and what it needs.

    clip = Clip(16000, degraded=y, noisy=x, reference=s)
    values, reasons = measure(clip, ["pesq", "estoi", "snr_improvement"])

`MEASURES` names them. A measure whose needs the clip does not hold, or that is not defined for it, is NaN, with a
sentence that says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from . import listeners, metrics, room_measures, shadow_measures, signal_measures
from .metrics import SAMPLE_RATE, MetricWarning, _undefined
from .room_measures import Beam

PESQ_RANGE = (1.04, 4.64)
_EARS = ("degraded_ears", "reference_ears")
_MEANINGS = {
    "reference": "the talker's direct and early sound",
    "speech_out": "the talker's part of the output",
    "noise_out": "the noise's part of the output",
    "speech_in": "the talker at the reference microphone",
    "noise_in": "the noise at the reference microphone",
    "degraded_ears": "the output at both ears",
    "reference_ears": "the target at both ears",
    "words": "what was said",
    "heard": "what a recognizer understood",
    "voice": "an embedding of the talker",
    "voice_out": "an embedding of the output",
    "beam": "a beam of ours",
}


@dataclass(eq=False)
class Clip:
    """What measures are taken from. All (n,) at 16 kHz, full scale ±1, aligned in time; ears (n, 2), left first.

    degraded : what a system made · noisy : the reference microphone · reference : the talker's direct and early sound
    there · speech_in, noise_in : the talker and the noise there · speech_out, noise_out : what the system let through
    of them (`shadow`) · degraded_ears, reference_ears : output and target at both ears · words, heard : what was said,
    and understood of the output · voice, voice_out : embeddings (d,) of reference and output (`listeners`) · beam : the
    system's beam at the end. None: not known.
    Raises ValueError for another rate or for signals that do not fit each other.
    """

    sample_rate: int
    degraded: np.ndarray
    noisy: np.ndarray
    reference: np.ndarray | None = None
    speech_out: np.ndarray | None = None
    noise_out: np.ndarray | None = None
    speech_in: np.ndarray | None = None
    noise_in: np.ndarray | None = None
    degraded_ears: np.ndarray | None = None
    reference_ears: np.ndarray | None = None
    words: str | None = None
    heard: str | None = None
    voice: np.ndarray | None = None
    voice_out: np.ndarray | None = None
    beam: Beam | None = None

    def __post_init__(self) -> None:
        if self.sample_rate != SAMPLE_RATE:
            raise ValueError(f"a clip is at {SAMPLE_RATE} Hz, got {self.sample_rate} Hz; resample its signals first")
        for name in SIGNALS:
            x, ears = getattr(self, name), name in _EARS
            if x is None and name not in ("degraded", "noisy"):
                continue
            shape = (len(self.degraded), 2) if ears else (len(self.degraded),)
            if np.shape(x) != shape:
                raise ValueError(
                    f"{name} must be {shape}, as degraded is, got {np.shape(x)}; cut all to the same samples"
                )


_NO_SIGNALS = ("sample_rate", "words", "heard", "voice", "voice_out", "beam")
SIGNALS = tuple(field.name for field in fields(Clip) if field.name not in _NO_SIGNALS)


@dataclass(frozen=True)
class Measure:
    """One measure. title, unit : as in a table · low, high : ends of a scale in a chart; what is unbounded goes beyond
    better : which way, "none" for a description · digits : behind the point · needs : fields of `Clip`"""

    name: str
    title: str
    unit: str
    low: float
    high: float
    better: Literal["higher", "lower", "none"]
    digits: int
    needs: tuple[str, ...]
    function: Callable[[Clip], float]


def measure(clip: Clip, names: Iterable[str]) -> tuple[dict[str, float], list[str]]:
    """The named measures of a clip, NaN where one cannot be taken, and the reasons of those, each once.

    Raises ValueError for a name that is not in MEASURES.
    """
    names = list(names)
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        raise ValueError(f"unknown measure {', '.join(unknown)}; choose from {', '.join(MEASURES)}")
    values, reasons = {}, []
    for name in names:
        values[name], why = _take(MEASURES[name], clip)
        reasons += why
    return values, list(dict.fromkeys(reasons))


def without_reference() -> tuple[str, ...]:
    """Measures of a recording of which nothing but what was heard and what came out is known."""
    return tuple(m.name for m in MEASURES.values() if set(m.needs) <= {"degraded", "noisy"})


def quality(clip: Clip) -> float:
    """Overall score of a clip: 0 (useless) .. 1 (transparent), higher is better.

        quality = (P + E) / 2 x (1 - A / 4)

    P = (PESQ - 1.04) / 3.6, wide band, E = ESTOI, both clipped to 0 .. 1, A = artifact score: half sound, half
    intelligibility, and up to a quarter off for musical noise, of which PESQ and ESTOI hear little. The weights are
    ours, not fitted to listeners: rank systems with it on the same scenes, and look at the parts before believing it.
    Without a reference it is NaN: from what came out alone, removed noise cannot be told from removed speech.
    `dnsmos_ovrl` is a network's guess then.
    """
    low, high = PESQ_RANGE
    p = np.clip((metrics.pesq(clip.reference, clip.degraded) - low) / (high - low), 0, 1)
    e = np.clip(metrics.estoi(clip.reference, clip.degraded), 0, 1)
    return float((p + e) / 2 * (1 - _artifacts(clip) / 4))


def _take(m: Measure, clip: Clip) -> tuple[float, list[str]]:
    missing = [name for name in m.needs if getattr(clip, name) is None]
    if missing:
        wanted = " and ".join(f"{name} ({_MEANINGS[name]})" for name in missing)
        return float("nan"), [f"{m.title} is NaN: it needs {wanted}"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MetricWarning)
        value = m.function(clip)
    return value, [str(w.message) for w in caught if issubclass(w.category, MetricWarning)]


def _musical(clip: Clip) -> float:
    return shadow_measures.musical_noise(clip.noise_in, clip.noise_out, clip.speech_in)


def _artifacts(clip: Clip) -> float:
    return shadow_measures.artifact_score(clip.noise_in, clip.noise_out, clip.speech_in)


def _voice_activity(which: str) -> Callable[[Clip], float]:
    """Of speech found by energy in the output, against speech found so in the reference."""

    def score(clip: Clip) -> float:
        labels, wanted = (signal_measures.voice_activity(x) for x in (clip.degraded, clip.reference))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)  # one may be undefined where another is not
            value = signal_measures.voice_activity_scores(labels, wanted)[which]
        return _undefined(f"voice activity, {which}", "no speech, found or there") if np.isnan(value) else value

    return score


def _srmr_gain(clip: Clip) -> float:
    return room_measures.srmr(clip.degraded) - room_measures.srmr(clip.noisy)


def _against_reference(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Clip], float]:
    return lambda clip: function(clip.reference, clip.degraded)


def _alone(function: Callable[[np.ndarray], float]) -> Callable[[Clip], float]:
    return lambda clip: function(clip.degraded)


def _of_parts(function: Callable[..., float]) -> Callable[[Clip], float]:
    return lambda clip: function(clip.speech_in, clip.noise_in, clip.speech_out, clip.noise_out)


def _of_ears(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[Clip], float]:
    return lambda clip: function(clip.reference_ears, clip.degraded_ears)


def _dnsmos(which: str) -> Callable[[Clip], float]:
    return lambda clip: signal_measures.dnsmos(clip.degraded)[which]


_PAIR, _ALONE = ("degraded", "reference"), ("degraded",)
_NOISES, _VOICES = ("noise_in", "noise_out"), ("speech_in", "speech_out")
_PARTS = ("speech_in", "noise_in", "speech_out", "noise_out")
_MUSICAL = ("noise_in", "noise_out", "speech_in")
_signal, _shadow, _room = signal_measures, shadow_measures, room_measures

MEASURES: dict[str, Measure] = {
    m.name: m
    for m in (
        Measure("quality", "quality", "", 0, 1, "higher", 3, (*_PAIR, *_MUSICAL), quality),
        Measure("pesq", "PESQ (WB)", "", 1, 4.64, "higher", 3, _PAIR, _against_reference(metrics.pesq)),
        Measure("pesq_nb", "PESQ (NB)", "", 1, 4.55, "higher", 3, _PAIR, _against_reference(_signal.pesq_nb)),
        Measure("stoi", "STOI", "", 0, 1, "higher", 3, _PAIR, _against_reference(metrics.stoi)),
        Measure("estoi", "ESTOI", "", 0, 1, "higher", 3, _PAIR, _against_reference(metrics.estoi)),
        Measure("si_sdr", "SI-SDR", "dB", -10, 30, "higher", 2, _PAIR, _against_reference(metrics.si_sdr)),
        Measure("sdr", "SDR", "dB", -10, 30, "higher", 2, _PAIR, _against_reference(_signal.sdr)),
        Measure("snr", "SNR", "dB", -10, 30, "higher", 2, _PAIR, _against_reference(_signal.snr)),
        Measure(
            "segmental_snr", "segmental SNR", "dB", -10, 35, "higher", 2,
            _PAIR, _against_reference(_signal.segmental_snr),
        ),
        Measure("mse", "MSE", "", 0, 0.01, "lower", 6, _PAIR, _against_reference(_signal.mse)),
        Measure(
            "log_spectral_distance", "log-spectral distance", "dB", 0, 20, "lower", 2,
            _PAIR, _against_reference(_signal.log_spectral_distance),
        ),
        Measure(
            "spectral_distortion", "cepstral distance", "dB", 0, 10, "lower", 2,
            _PAIR, _against_reference(_signal.spectral_distortion),
        ),
        *(
            Measure(
                f"vad_{which}", f"voice activity by energy, {which}", "", 0, 1, "higher", 3,
                _PAIR, _voice_activity(which),
            )
            for which in ("accuracy", "precision", "recall", "f1")
        ),
        Measure("clipping_ratio", "clipped samples", "", 0, 1, "lower", 5, _ALONE, _alone(_signal.clipping_ratio)),
        Measure("dynamic_range", "dynamic range", "dB", 0, 80, "none", 1, _ALONE, _alone(_signal.dynamic_range)),
        Measure("srmr", "SRMR", "", 0, 12, "higher", 2, _ALONE, _alone(_room.srmr)),
        Measure("srmr_gain", "SRMR, gain", "", -5, 10, "higher", 2, ("degraded", "noisy"), _srmr_gain),
        Measure("dnsmos_ovrl", "DNSMOS, overall", "", 1, 5, "higher", 2, _ALONE, _dnsmos("ovrl")),
        Measure("dnsmos_sig", "DNSMOS, speech", "", 1, 5, "higher", 2, _ALONE, _dnsmos("sig")),
        Measure("dnsmos_bak", "DNSMOS, background", "", 1, 5, "higher", 2, _ALONE, _dnsmos("bak")),
        Measure(
            "noise_reduction", "noise reduction", "dB", 0, 40, "higher", 1,
            _NOISES, lambda clip: _shadow.noise_reduction(clip.noise_in, clip.noise_out),
        ),
        Measure(
            "speech_distortion", "speech distortion", "dB", -30, 0, "lower", 1,
            _VOICES, lambda clip: _shadow.speech_distortion(clip.speech_in, clip.speech_out),
        ),
        Measure(
            "snr_improvement", "SNR improvement", "dB", 0, 30, "higher", 1,
            _PARTS, _of_parts(_shadow.snr_improvement),
        ),
        Measure("array_gain", "array gain", "dB", 0, 30, "higher", 1, _PARTS, _of_parts(_room.array_gain)),
        Measure(
            "directivity_index", "directivity index", "dB", 0, 12, "higher", 1,
            ("beam",), lambda clip: _room.mean_directivity(clip.beam),
        ),
        Measure(
            "white_noise_gain", "white noise gain", "dB", -20, 6, "higher", 1,
            ("beam",), lambda clip: _room.least_white_noise_gain(clip.beam),
        ),
        Measure("musical_noise", "log kurtosis ratio", "", 0, 3, "lower", 2, _MUSICAL, _musical),
        Measure("artifact_score", "artifact score", "", 0, 1, "lower", 3, _MUSICAL, _artifacts),
        Measure(
            "wer", "word error rate", "", 0, 1, "lower", 3,
            ("words", "heard"), lambda clip: listeners.word_error_rate(clip.words, clip.heard),
        ),
        Measure(
            "talker_similarity", "talker similarity", "", 0, 1, "higher", 3,
            ("voice", "voice_out"), lambda clip: listeners.talker_similarity(clip.voice, clip.voice_out),
        ),
        Measure(
            "interaural_level_error", "ILD error", "dB", 0, 10, "lower", 1,
            _EARS, _of_ears(_room.interaural_level_error),
        ),
        Measure(
            "interaural_time_error", "ITD error", "µs", 0, 300, "lower", 0,
            _EARS, _of_ears(_room.interaural_time_error),
        ),
    )
}  # fmt: skip
