"""Measures of one signal, or of a signal against its clean reference: levels, spectra, clipping, voice activity.

    snr · segmental_snr · mse · sdr              how far the waveform is from the reference
    log_spectral_distance · spectral_distortion  how far the spectrum is
    pesq_nb                                      perceived quality in the telephone band
    dnsmos                                       perceived quality without a reference
    clipping_ratio · dynamic_range               one signal alone
    voice_activity · voice_activity_scores       where somebody speaks, and how well that was found

Signals are (n,), equally long, aligned in time, full scale ±1, 16 kHz unless said otherwise. A value that is not
defined (silence, too short) is NaN, and a `MetricWarning` says why.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import resample_poly

from ..spectrograms import frames
from .metrics import SAMPLE_RATE, _pair, _text, _undefined

ACTIVE_DB = 35.0  # speech is what lies within so much of the loudest frame, as in a scene's SNR
FULL_SCALE = 32767 / 32768  # the largest sample of a 16-bit file
_FRAME_S = 0.032
_SEGMENT_RANGE_DB = (-10.0, 35.0)
_LSD_RANGE_DB = 50.0
_LPC_ORDER = 16
_CEPSTRAL_LIMIT_DB = 10.0
_FLAT_TOP = 3  # equal samples in a row
_LEVEL_S, _LEVEL_PERCENTILES, _QUIETEST_DBFS = 0.125, (5.0, 95.0), -96.0
_VOICE_FRAME_S = 0.010
_DNSMOS_SAMPLES = 144160  # 9.01 s


# ---- against a reference ----


def snr(reference: np.ndarray, degraded: np.ndarray) -> float:
    """Signal-to-noise ratio, everything that differs being noise: dB, unbounded, higher is better.

    10 log10(|s|^2 / |y - s|^2); +inf for a perfect copy. Unlike SI-SDR it counts a wrong gain as noise.
    reference s, degraded y : (n,)
    """
    reference, degraded = _pair(reference, degraded)
    return _snr_db(reference, degraded) if reference.any() else _undefined("SNR", "the reference is silent")


def segmental_snr(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Mean SNR of 32 ms frames, each clipped to -10 .. 35 dB, in dB: -10 .. 35, higher is better.

    reference, degraded : (n,) · sample_rate : Hz
    Frames more than 35 dB below the loudest one of the reference are silent and left out.
    Source: Hansen & Pellom 1998, "An effective quality evaluation protocol for speech enhancement algorithms".
    """
    reference, degraded = _pair(reference, degraded)
    size = round(_FRAME_S * sample_rate)
    s, y = frames(reference, size, size), frames(degraded, size, size)
    active = loud(np.mean(s**2, axis=1))
    if not active.any():
        return _undefined("segmental SNR", "the reference has no frame of 32 ms with sound")
    return float(np.mean([np.clip(_snr_db(a, b), *_SEGMENT_RANGE_DB) for a, b in zip(s[active], y[active])]))


def mse(reference: np.ndarray, degraded: np.ndarray) -> float:
    """Mean square error: full scale squared, 0 and up, lower is better. reference, degraded : (n,)"""
    reference, degraded = _pair(reference, degraded)
    if not len(reference):
        return _undefined("MSE", "the signals are empty")
    return float(np.mean((degraded - reference) ** 2))


def sdr(reference: np.ndarray, degraded: np.ndarray) -> float:
    """Signal-to-distortion ratio of BSS Eval: dB, unbounded, higher is better.

    What a filter of 512 taps can make of the reference counts as signal, the rest as distortion: unlike SI-SDR it
    forgives colouration, delays of up to 32 ms and early reflections; +inf where nothing is left.
    reference, degraded : (n,), more than 512 samples
    Source: Vincent, Gribonval & Févotte 2006, "Performance measurement in blind audio source separation", version 3,
    by the package `fast_bss_eval` (MIT).
    """
    reference, degraded = _pair(reference, degraded)
    if not (reference.any() and degraded.any()):
        return _undefined("SDR", "a signal is silent")
    if len(reference) <= 512:
        return _undefined("SDR", "the signals are no longer than its filter of 512 samples")
    import fast_bss_eval

    # Its `sdr` also searches for the order of the talkers, and fails where one value is infinite.
    try:
        with np.errstate(divide="ignore"):
            loss = fast_bss_eval.sdr_loss(degraded[None], reference[None], filter_length=512, pairwise=True)
        value = -float(loss[0, 0])
    except np.linalg.LinAlgError:  # a few pure tones
        value = np.nan
    return _undefined("SDR", "the best filter cannot be found") if np.isnan(value) else value


def log_spectral_distance(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Root mean square difference of log spectra, averaged over frames, in dB: 0 and up, lower is better.

    reference, degraded : (n,) · sample_rate : Hz. Frames of 32 ms, Hann, half overlapping, all of them; each signal's
    log spectra are confined to the 50 dB below its own maximum. A gain of g dB alone makes a distance of g dB.
    Source: Cohen & Gannot 2008, "Spectral enhancement methods" (Springer Handbook of Speech Processing, ch. 44).
    """
    reference, degraded = _pair(reference, degraded)
    if not (reference.any() and degraded.any()):
        return _undefined("log-spectral distance", "a signal is silent")
    s, y = (spectra(x, sample_rate) for x in (reference, degraded))
    if not (s.any() and y.any()):
        return _undefined("log-spectral distance", "a signal has no frame of 32 ms with sound")
    difference = _confined_db(s) - _confined_db(y)
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def spectral_distortion(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Cepstral distance: difference of smooth spectra, by linear prediction of order 16: dB, 0 .. 10, lower is better.

    10 / ln 10 sqrt(2 sum_k (c_s(k) - c_y(k))^2), k = 1 .. 16, clipped to 10 dB, mean of the frames in which the
    reference is active (32 ms, Hann, half overlapping). Blind to gain.
    reference s, degraded y : (n,) · sample_rate : Hz
    Source: Kitawaki, Nagabuchi & Itoh 1988, "Objective quality evaluation for low-bit-rate speech coding systems";
    limits as in Hu & Loizou 2008, "Evaluation of objective quality measures for speech enhancement".
    """
    reference, degraded = _pair(reference, degraded)
    size = round(_FRAME_S * sample_rate)
    s, y = (frames(x, size, size // 2) * np.hanning(size) for x in (reference, degraded))
    active = loud(np.sum(s**2, axis=1)) & y.any(axis=1)
    if not active.any():
        return _undefined("spectral distortion", "no frame of 32 ms has sound in both signals")
    difference = lpc_cepstra(s[active]) - lpc_cepstra(y[active])
    distance = 10 / np.log(10) * np.sqrt(2 * np.sum(difference**2, axis=1))
    return float(np.mean(np.minimum(distance, _CEPSTRAL_LIMIT_DB)))


def pesq_nb(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Perceived quality, narrow-band PESQ: MOS-LQO 1.02 (bad) .. 4.55 (transparent), higher is better.

    reference, degraded : (n,) · sample_rate : 16000 Hz, resampled to 8 kHz here, or 8000 Hz
    Source: ITU-T P.862 (2001) with the map of P.862.1 (2003), by the package `pesq`. Not to be compared with wide-band
    PESQ: the same signals score higher.
    """
    reference, degraded = _pair(reference, degraded)
    if sample_rate not in (SAMPLE_RATE, 8000):
        raise ValueError(f"narrow-band PESQ takes 16000 or 8000 Hz, got {sample_rate} Hz; resample first")
    if not (reference.any() and degraded.any()):
        return _undefined("narrow-band PESQ", "a signal is silent")
    import pesq as package

    if sample_rate == SAMPLE_RATE:
        reference, degraded = resample_poly(reference, 1, 2), resample_poly(degraded, 1, 2)
    try:
        return float(package.pesq(8000, reference, degraded, "nb"))
    except package.PesqError as error:
        return _undefined("narrow-band PESQ", _text(error))


# ---- one signal ----


def clipping_ratio(x: np.ndarray) -> float:
    """Share of samples that are clipped: 0 (none) .. 1, lower is better.

    A sample is clipped at or above the largest one of a 16-bit file (32767 / 32768), or where 3 or more equal samples
    in a row stand at the signal's highest or lowest value, which finds clipping that was turned down later. x : (n,)
    """
    x = _signal(x)
    if not len(x):
        return _undefined("clipping ratio", "the signal is empty")
    return float(np.mean((np.abs(x) >= FULL_SCALE) | _flat(x, x.max()) | _flat(x, x.min())))


def dynamic_range(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """95th minus 5th percentile of the levels of 125 ms: dB, 0 and up, neither direction is better.

    x : (n,), at least 0.125 s of sound · sample_rate : Hz. Levels below -96 dBFS, where 16 bits end, count as that.
    Source: percentiles of 125 ms levels as in IEC 60118-15 (2012).
    """
    size = round(_LEVEL_S * sample_rate)
    power = np.mean(frames(_signal(x), size, size) ** 2, axis=1)
    if not power.any():
        return _undefined("dynamic range", "no 125 ms of sound")
    low, high = np.percentile(10 * np.log10(np.maximum(power, 10 ** (_QUIETEST_DBFS / 10))), _LEVEL_PERCENTILES)
    return float(high - low)


def dnsmos(x: np.ndarray) -> dict[str, float]:
    """Perceived quality without a reference, {"sig", "bak", "ovrl"}: speech, background, overall, MOS 1 .. 5, higher is
    better.

    x : (n,) at 16 kHz within ±1; a network judges every 9.01 s of it, in steps of 1 s, and what is shorter repeats.
    It hears the level: bring signals to the same one before comparing. NaN where `speechmos` is not installed.
    Source: Reddy, Gopal & Cutler 2022, "DNSMOS P.835", with the model file of the package `speechmos` (MIT, Microsoft),
    run offline by ONNX Runtime; the package's own code is not imported, because it needs librosa.
    """
    x = _signal(x)
    if not x.any():
        reason = "the signal is silent"
    elif np.abs(x).max() > 1:
        reason = "samples lie beyond ±1"
    elif _dnsmos_model() is None:
        reason = "its model is missing: pip install speechmos onnxruntime"
    else:
        return dict(zip(("sig", "bak", "ovrl"), _dnsmos(x.astype(np.float32).tobytes())))
    return dict.fromkeys(("sig", "bak", "ovrl"), _undefined("DNSMOS", reason))


@lru_cache(maxsize=4)  # three measures ask for the same signal
def _dnsmos(samples: bytes) -> tuple[float, ...]:
    x = np.frombuffer(samples, np.float32)
    while len(x) < _DNSMOS_SAMPLES:
        x = np.tile(x, 2)
    count = int(len(x) // SAMPLE_RATE - _DNSMOS_SAMPLES / SAMPLE_RATE) + 1
    pieces = (x[None, at : at + _DNSMOS_SAMPLES] for at in np.arange(count) * SAMPLE_RATE)
    raw = np.concatenate([_dnsmos_model().run(None, {"input_1": piece})[0] for piece in pieces]).astype(float)
    return tuple(float(np.mean(np.polyval(fit, column))) for fit, column in zip(_DNSMOS_FITS, raw.T))


# From the network's output, in the order speech, background, overall, to the listeners' scale: the paper's polynomials.
_DNSMOS_FITS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


@lru_cache(maxsize=1)
def _dnsmos_model() -> Any:
    """The network in ONNX Runtime, or None where a package is not installed."""
    package, runtime = (importlib.util.find_spec(name) for name in ("speechmos", "onnxruntime"))
    if package is None or runtime is None:
        return None
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    file = Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


# ---- voice activity ----


def voice_activity(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Where somebody speaks: (frames,) bool, one for each whole 10 ms.

    x : (n,) clean speech · sample_rate : Hz. Speech is every frame within 35 dB of the loudest one: a label for clean
    references, no detector for noisy signals. Silence has no speech.
    """
    size = round(_VOICE_FRAME_S * sample_rate)
    return loud(np.mean(frames(_signal(x), size, size) ** 2, axis=1))


def voice_activity_scores(labels: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """How well speech was found, {"accuracy", "precision", "recall", "f1"}: 0 .. 1 each, higher is better.

    labels : (frames,) bool, as found · wanted : (frames,) bool, as it is. Undefined ones are NaN: precision where
    nothing was found, recall where nobody speaks, F1 where neither, all of no frames.
    """
    labels, wanted = np.asarray(labels, bool), np.asarray(wanted, bool)
    if labels.ndim != 1 or labels.shape != wanted.shape:
        raise ValueError(
            f"labels and wanted must be one-dimensional and equally long, got {labels.shape} and {wanted.shape}; "
            "make both with voice_activity from equally long signals"
        )
    hits, found, present = (int(np.sum(x)) for x in (labels & wanted, labels, wanted))
    return {
        "accuracy": float(np.mean(labels == wanted)) if len(labels) else _undefined("accuracy", "there is no frame"),
        "precision": hits / found if found else _undefined("precision", "no frame was labelled speech"),
        "recall": hits / present if present else _undefined("recall", "no frame is speech"),
        "f1": 2 * hits / (found + present)
        if found + present
        else _undefined("F1", "no speech, neither found nor there"),
    }


# ---- frames and spectra ----


def spectra(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Power spectra of frames of 32 ms, Hann, half overlapping : (frames, F)."""
    size = round(_FRAME_S * sample_rate)
    return np.abs(np.fft.rfft(frames(x, size, size // 2) * np.hanning(size), axis=1)) ** 2


def loud(power: np.ndarray) -> np.ndarray:
    """Which frames lie within 35 dB of the loudest : bool, none of silence."""
    return (power > 0) & (power >= power.max(initial=0.0) * 10 ** (-ACTIVE_DB / 10))


def lpc_cepstra(signals: np.ndarray, order: int = _LPC_ORDER) -> np.ndarray:
    """Cepstra c(1) .. c(order) of the all-pole model of each frame (frames, size), by the autocorrelation method.

    c(k) = a(k) + sum_{i<k} i/k c(i) a(k-i) with x(n) ~ sum_k a(k) x(n-k).
    Source: Rabiner & Juang 1993, "Fundamentals of speech recognition", ch. 3.
    """
    size = signals.shape[1]
    r = np.fft.irfft(np.abs(np.fft.rfft(signals, 2 * size, axis=1)) ** 2, axis=1)[:, : order + 1]
    r[:, 0] *= 1 + 1e-9  # solvable for a pure tone too
    cepstra = np.zeros((len(r), order))
    for c, lags in zip(cepstra, r):
        a = solve_toeplitz(lags[:-1], lags[1:])
        for k in range(1, order + 1):
            c[k - 1] = a[k - 1] + np.arange(1, k) / k @ (c[: k - 1] * a[: k - 1][::-1])
    return cepstra


def _snr_db(s: np.ndarray, y: np.ndarray) -> float:
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(s @ s) - np.log10((y - s) @ (y - s))))


def _confined_db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, power.max() * 10 ** (-_LSD_RANGE_DB / 10)))


def _flat(x: np.ndarray, value: float) -> np.ndarray:
    """Samples in runs of _FLAT_TOP or more that equal `value`, unless that is 0."""
    if value == 0:
        return np.zeros(len(x), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], x == value, [False]])))
    flat = np.zeros(len(x), bool)
    for start, stop in edges.reshape(-1, 2):
        flat[start:stop] = stop - start >= _FLAT_TOP
    return flat


def _signal(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise ValueError(f"a signal must be one-dimensional, got {x.shape}; pass one channel at a time")
    if not np.isfinite(x).all():
        raise ValueError("a signal holds NaN or Inf samples; replace them before scoring")
    return x
