"""Does a recording fit the array it is said to come from?

`doubts` looks at the first seconds of all channels and says, in sentences, what no sound field could have done to
microphones that stand where the array's description puts them: channels in the wrong order, or copied ones. It knows
nothing about the sources, so it cannot confirm an array; silence and single microphones raise no doubt. Dead
microphones are the enhancer's to report: here they only end the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from .arrays import SPEED_OF_SOUND, MicArray

PROBE_SECONDS = 10  # of a recording are looked at
FRAME = 1024  # samples of a Welch frame, half overlapped
INTERPOLATION = 16  # of the cross-correlation
DEAD_DB = 40.0  # a channel so far below the loudest is dead
TOLERANCE = 0.06e-3  # s, of a delay: one sample at 16 kHz
MARGIN = 0.35  # of coherence below its physical least
TRUST = 0.4  # least height (0..1) of a cross-correlation peak that is believed,
STANDS_OUT = 1.5  # if it is so many times as high as the highest among the possible delays
MAX_SEARCHED = 6  # microphones up to which other channel orders are tried: 720 orders


def doubts(x: np.ndarray, sample_rate: int, array: MicArray, channels: Sequence[int] | None = None) -> list[str]:
    """What in the recording contradicts the array; [] where nothing does.

    x : (n, mics) full scale ±1, in the array's order; the first `PROBE_SECONDS` count, non-finite samples as zeros
    sample_rate : Hz
    channels : 1-based file channel of each microphone, for the sentences; default 1, 2, ...
    """
    names = list(channels) if channels is not None else list(range(1, array.mics + 1))
    x = np.array(x[: PROBE_SECONDS * sample_rate], dtype=np.float32)
    np.nan_to_num(x, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    if array.mics < 2 or len(x) < 4 * FRAME or not x.any() or _any_dead(x):
        return []
    copies = [pair for pair in combinations(range(array.mics), 2) if np.array_equal(x[:, pair[0]], x[:, pair[1]])]
    if copies:
        return [f"channels {names[i]} and {names[j]} are copies of one signal" for i, j in copies]
    return _misplaced(_Evidence.measure(x, sample_rate, array), array, names)


def _any_dead(x: np.ndarray) -> bool:
    power = np.einsum("nm,nm->m", x, x, dtype=np.float64)
    return bool(power.min() < power.max() * 10 ** (-DEAD_DB / 10))


@dataclass(frozen=True)
class _Evidence:
    """What was measured between all channels, and what the array's microphone pairs allow."""

    delay: np.ndarray  # [i, j, p]: s, |delay| of channels i, j; 0 unless it stands out against the p-th pair's range
    coherence: np.ndarray  # [i, j, p]: mean magnitude, 0..1, of channels i, j in the p-th microphone pair's band
    most_delay: np.ndarray  # (pairs,) s
    least_coherence: np.ndarray  # (pairs,)
    pairs: tuple[tuple[int, int], ...]

    @classmethod
    def measure(cls, x: np.ndarray, sample_rate: int, array: MicArray) -> _Evidence:
        coherence, power = _coherence(x)
        freqs = np.arange(FRAME // 2 + 1) * sample_rate / FRAME
        pairs = tuple(combinations(range(array.mics), 2))
        distance = np.array([np.linalg.norm(array.positions[i] - array.positions[j]) for i, j in pairs])
        most_delay = distance / SPEED_OF_SOUND * (np.pi / 2 if array.mount == "head" else 1.0)  # creeping wave
        bands = [_low_band(freqs, d) for d in distance]
        return cls(
            delay=_delays(coherence, power > power.max() * 1e-4, sample_rate, most_delay),
            coherence=np.stack([_mean(np.abs(coherence), band) for band in bands], axis=-1),
            most_delay=most_delay,
            least_coherence=np.array([_least_coherence(freqs[b], d) for b, d in zip(bands, distance)]),
            pairs=pairs,
        )

    def misfit(self, order: Sequence[int]) -> np.ndarray:
        """How far each pair lies outside what is possible, with channel order[m] at microphone m: (pairs,)."""
        measured = [(order[i], order[j], p) for p, (i, j) in enumerate(self.pairs)]
        late = np.array([self.delay[at] for at in measured]) - self.most_delay - TOLERANCE
        loose = self.least_coherence - MARGIN - np.array([self.coherence[at] for at in measured])
        return np.maximum(late, 0) / TOLERANCE + np.maximum(loose, 0)


def _misplaced(evidence: _Evidence, array: MicArray, names: list[int]) -> list[str]:
    misfit = evidence.misfit(range(len(names)))
    if not misfit.any():
        return []
    p = int(np.argmax(misfit))
    i, j = evidence.pairs[p]
    reasons = []
    if evidence.delay[i, j, p] > evidence.most_delay[p] + TOLERANCE:
        possible = 1e3 * evidence.most_delay[p]
        reasons.append(f"delay {1e3 * evidence.delay[i, j, p]:.2f} ms where at most {possible:.2f} ms is possible")
    if evidence.coherence[i, j, p] < evidence.least_coherence[p] - MARGIN:
        least = evidence.least_coherence[p]
        reasons.append(f"coherence {evidence.coherence[i, j, p]:.2f} where about {least:.2f} is the least")
    sentence = f"channels {names[i]} and {names[j]} differ more than their places on {array.name} allow"
    return [f"{sentence} ({', '.join(reasons)}); {_advice(evidence, names, misfit.sum())}"]


def _advice(evidence: _Evidence, names: list[int], misfit: float) -> str:
    advice = "check the order of the channels and the array's description"
    if len(names) > MAX_SEARCHED:
        return advice
    best = min(permutations(range(len(names))), key=lambda order: evidence.misfit(order).sum())
    if evidence.misfit(best).sum() > 0.1 * misfit:
        return advice
    return advice + f" (the order {','.join(str(names[m]) for m in best)} would fit)"


def _coherence(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Welch's estimate (1967): complex coherence (F, M, M) and mean power (F,)."""
    starts = np.arange(0, len(x) - FRAME + 1, FRAME // 2)
    window = np.hanning(FRAME)[:, None]
    cross = np.zeros((FRAME // 2 + 1, x.shape[1], x.shape[1]), dtype=complex)
    for start in starts:
        X = np.fft.rfft(x[start : start + FRAME] * window, axis=0)
        cross += X[:, :, None] * X[:, None, :].conj()
    power = np.real(np.einsum("fmm->fm", cross))
    scale = np.sqrt(power[:, :, None] * power[:, None, :]) + 1e-20
    return cross / scale, power.mean(axis=1)


def _delays(coherence: np.ndarray, audible: np.ndarray, sample_rate: int, most_delay: np.ndarray) -> np.ndarray:
    """|delay| of all channels against the range of every microphone pair, s : (M, M, pairs).

    Phase transform (Knapp & Carter 1976) over the audible bins; 0 where no peak outside the range stands out.
    """
    mics, length = coherence.shape[1], FRAME * INTERPOLATION
    lags = np.minimum(np.arange(length), length - np.arange(length)) / (INTERPOLATION * sample_rate)
    delay = np.zeros((mics, mics, len(most_delay)))
    for i, j in combinations(range(mics), 2):
        phase = coherence[:, i, j] / (np.abs(coherence[:, i, j]) + 1e-20) * audible
        correlation = np.fft.irfft(phase, length) * length / (2 * max(audible.sum(), 1))
        peak = int(np.argmax(correlation))
        inside = np.array([correlation[lags <= most + TOLERANCE].max() for most in most_delay])
        believed = correlation[peak] > np.maximum(TRUST, STANDS_OUT * inside)
        delay[i, j] = delay[j, i] = np.where(believed, lags[peak], 0.0)
    return delay


def _low_band(freqs: np.ndarray, distance: float) -> np.ndarray:
    """Bins in which two microphones so far apart hear nearly the same; empty for distant ones."""
    top = SPEED_OF_SOUND / (8 * max(distance, 1e-6))  # k d = pi / 4
    return (freqs >= 150) & (freqs <= min(top, 2000)) & (top >= 500)


def _least_coherence(freqs: np.ndarray, distance: float) -> float:
    """Opposite waves along the pair's axis are the worst field: cos(k d)."""
    return float(np.cos(2 * np.pi * freqs * distance / SPEED_OF_SOUND).mean()) if len(freqs) else 0.0


def _mean(coherence: np.ndarray, band: np.ndarray) -> np.ndarray:
    return coherence[band].mean(axis=0) if band.any() else np.ones(coherence.shape[1:])
