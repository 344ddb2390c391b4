"""Speech metrics with a clean reference, and the statistics that make a comparison honest.

    pesq · stoi · estoi · si_sdr          one number from (reference, degraded)
    scores                                all four at once, with the reasons where one could not be computed
    paired_interval                       mean difference between two systems on the same scenes, 95 % interval

Signals are one-dimensional, equally long and aligned in time: compensate a system's delay before scoring it.
A score that cannot be computed (silence, too short) is NaN, and a `MetricWarning` says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

SAMPLE_RATE = 16000


class MetricWarning(UserWarning):
    """A score is NaN, for the reason in the sentence."""


def pesq(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Perceived quality, wide-band PESQ: MOS-LQO 1.04 (bad) .. 4.64 (transparent), higher is better.

    reference, degraded : (n,) · sample_rate : 16000 Hz, the only rate of the wide-band mode
    Source: ITU-T P.862.2 (2007), by the package `pesq`. Its level alignment makes it blind to overall gain.
    """
    reference, degraded = _pair(reference, degraded)
    if sample_rate != SAMPLE_RATE:
        raise ValueError(f"wide-band PESQ is defined at {SAMPLE_RATE} Hz, got {sample_rate} Hz; resample first")
    if not (reference.any() and degraded.any()):
        return _undefined("PESQ", "a signal is silent")
    import pesq as package

    try:
        return float(package.pesq(sample_rate, reference, degraded, "wb"))
    except package.PesqError as error:
        return _undefined("PESQ", _text(error))


def stoi(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Short-time objective intelligibility: 0 .. 1 (about; -1 is possible), higher is better.

    reference, degraded : (n,), at least 0.4 s of speech · sample_rate : Hz
    Source: Taal et al. 2011, "An algorithm for intelligibility prediction of time-frequency weighted noisy speech",
    by the package `pystoi`.
    """
    return _stoi("STOI", reference, degraded, sample_rate, extended=False)


def estoi(reference: np.ndarray, degraded: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Extended STOI, which also ranks fluctuating maskers: 0 .. 1 (about; -1 is possible), higher is better.

    reference, degraded : (n,), at least 0.4 s of speech · sample_rate : Hz
    Source: Jensen & Taal 2016, "An algorithm for predicting the intelligibility of speech masked by modulated noise
    maskers", by the package `pystoi`.
    """
    return _stoi("ESTOI", reference, degraded, sample_rate, extended=True)


def si_sdr(reference: np.ndarray, degraded: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio: dB, unbounded, higher is better.

    10 log10(|a s|^2 / |y - a s|^2) with a = <y, s> / |s|^2; +inf for a perfect copy, -inf for an orthogonal signal.
    reference s, degraded y : (n,)
    Source: Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 4 (no mean removal).
    """
    reference, degraded = _pair(reference, degraded)
    energy = reference @ reference
    if energy == 0 or not degraded.any():
        return _undefined("SI-SDR", "a signal is silent")
    target = (degraded @ reference) / energy * reference
    error = degraded - target
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(target @ target) - np.log10(error @ error)))


METRICS = ("pesq", "stoi", "estoi", "si_sdr")
TITLES = {"pesq": "PESQ (WB)", "stoi": "STOI", "estoi": "ESTOI", "si_sdr": "SI-SDR / dB"}
DIGITS = {"pesq": 3, "stoi": 3, "estoi": 3, "si_sdr": 2}


def scores(reference: np.ndarray, degraded: np.ndarray) -> tuple[dict[str, float], list[str]]:
    """All of `METRICS` at 16 kHz, and the reasons of those that are NaN."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MetricWarning)
        values = {
            "pesq": pesq(reference, degraded),
            "stoi": stoi(reference, degraded),
            "estoi": estoi(reference, degraded),
            "si_sdr": si_sdr(reference, degraded),
        }
    return values, [str(w.message) for w in caught if issubclass(w.category, MetricWarning)]


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval. low = high = NaN where fewer than two values exist."""

    mean: float
    low: float
    high: float
    count: int

    def format(self, digits: int = 3, sign: str = "+") -> str:
        """`+0.102 [+0.081, +0.123]`; the mean alone where there is no interval. sign : "" leaves the plus out"""
        mean, low, high = (f"{value:{sign}.{digits}f}" for value in (self.mean, self.low, self.high))
        return mean if np.isnan(self.low) else f"{mean} [{low}, {high}]"


def paired_interval(differences: Iterable[float], confidence: float = 0.95) -> Interval:
    """Mean of per-scene differences and its Student-t confidence interval; NaN differences are left out.

    differences : system minus baseline, one per scene · confidence : 0 .. 1
    Source: Student 1908; mean ± t(confidence, n - 1) s / sqrt(n).
    """
    from scipy.stats import t

    values = np.asarray([d for d in differences if not np.isnan(d)], dtype=float)
    if not len(values):
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, np.nan, np.nan, len(values))
    half = float(t.ppf(0.5 + confidence / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half, len(values))


def _stoi(name: str, reference: np.ndarray, degraded: np.ndarray, sample_rate: int, extended: bool) -> float:
    reference, degraded = _pair(reference, degraded)
    if not (reference.any() and degraded.any()):
        return _undefined(name, "a signal is silent")
    import pystoi

    with warnings.catch_warnings(), _pinned_random():
        warnings.simplefilter("error", RuntimeWarning)  # pystoi warns and returns 1e-5 where it has too little speech
        try:
            return float(pystoi.stoi(reference, degraded, sample_rate, extended=extended))
        except (RuntimeWarning, ValueError):
            return _undefined(name, "less than 0.4 s of speech")


@contextmanager
def _pinned_random() -> Iterator[None]:
    """pystoi dithers with NumPy's global generator (at 1e-16): pin it, so that a score is one number."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def _pair(reference: np.ndarray, degraded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reference, degraded = (np.asarray(x, dtype=np.float64) for x in (reference, degraded))
    if reference.ndim != 1 or reference.shape != degraded.shape:
        raise ValueError(
            f"reference and degraded must be one-dimensional and equally long, got {reference.shape} and "
            f"{degraded.shape}; cut them to the same samples, one channel at a time"
        )
    if not (np.isfinite(reference).all() and np.isfinite(degraded).all()):
        raise ValueError("a signal holds NaN or Inf samples; replace them before scoring")
    return reference, degraded


def _undefined(metric: str, reason: str) -> float:
    warnings.warn(f"{metric} is NaN: {reason}", MetricWarning, stacklevel=3)
    return float("nan")


def _text(error: Exception) -> str:
    reason = error.args[0] if error.args else type(error).__name__
    return reason.decode() if isinstance(reason, bytes) else str(reason)
