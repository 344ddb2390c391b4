"""Noise power spectral densities: what the classical suppressors (`classical`) subtract.

    NoiseSegment        known: the mean of a noise-only recording
    LearnedNoise        the same, of frames that it hears before the stream
    FirstSeconds        assumed: the mean of the first part, before anybody talks
    MinimumStatistics   tracked: the least smoothed power of the last 1.5 s, its bias taken off (Martin 2001)
    MmseSpp             tracked: by the probability that speech is absent (Gerkmann & Hendriks 2012)
    VadAverage          averaged: over the frames in which nobody talks (Sohn, Kim & Sung 1999)

An estimator is asked frame by frame: `update(power)` takes a noisy periodogram (F,) and returns the noise's (F,), both
|X|²; `reset()` forgets. Constants that the papers give per frame of 16 ms are kept in seconds, so any hop will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

PAPER_HOP = 0.016  # seconds between frames, for which the papers give their smoothing constants
TINY = 1e-20  # power below which nothing is divided by
LEAST_PRIOR = 10**-2.5  # a-priori SNR of -25 dB: below it musical noise begins (Cappé 1994)
_NOTHING = "got no frame of noise; pass a segment of at least one window (32 ms)"


class NoisePsd(Protocol):
    """What a suppressor needs of a noise estimator."""

    def reset(self) -> None: ...

    def update(self, power: np.ndarray) -> np.ndarray: ...


class NoiseSegment:
    """The mean power of frames (T, F) in which there is noise only; ValueError where there is none."""

    def __init__(self, powers: np.ndarray) -> None:
        if powers.ndim != 2 or not len(powers):
            raise ValueError(_NOTHING)
        self.psd = powers.mean(axis=0) + TINY

    def reset(self) -> None:
        pass

    def update(self, power: np.ndarray) -> np.ndarray:
        return self.psd


class LearnedNoise:
    """The mean of all that is heard until `end`, kept from then on; `end` raises ValueError where that is nothing."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._heard, self._psd, self._learning = 0, np.zeros(1), True

    def end(self) -> None:
        if not self._heard:
            raise ValueError(_NOTHING)
        self._learning = False

    def update(self, power: np.ndarray) -> np.ndarray:
        if self._learning:
            self._heard += 1
            self._psd = self._psd + (power - self._psd) / self._heard
        return self._psd + TINY


class FirstSeconds(LearnedNoise):
    """The mean of the first `seconds`, above 0, kept from then on."""

    def __init__(self, hop_seconds: float, seconds: float = 0.3) -> None:
        if not 0 < seconds < np.inf:
            raise ValueError(f"got {seconds!r} seconds of noise to begin with; pass a number above 0")
        self.frames = max(1, round(seconds / hop_seconds))
        super().__init__()

    def update(self, power: np.ndarray) -> np.ndarray:
        psd = super().update(power)
        if self._heard == self.frames:
            self.end()
        return psd


class MmseSpp:
    """Speech presence probability with fixed priors; no minimum is searched, so it follows within 0.1 to 1 s.

    Source: T. Gerkmann and R. C. Hendriks, "Unbiased MMSE-based noise power estimation with low complexity and low
    tracking delay", IEEE TASLP 20(4), 2012, algorithm 1; the first 80 ms count as noise.
    """

    presence_snr = 10**1.5  # of speech where it is present

    def __init__(self, hop_seconds: float) -> None:
        frames = hop_seconds / PAPER_HOP
        self._keep_noise, self._keep_presence = 0.8**frames, 0.9**frames
        self._start = max(1, round(5 / frames))
        self.reset()

    def reset(self) -> None:
        self._heard, self._noise, self._presence = 0, np.zeros(1), np.zeros(1)

    def update(self, power: np.ndarray) -> np.ndarray:
        power = power + TINY
        if self._heard < self._start:
            self._heard += 1
            self._noise = self._noise + (power - self._noise) / self._heard
            return self._noise
        snr = self.presence_snr
        present = 1 / (1 + (1 + snr) * np.exp(-np.minimum(power / self._noise, 200) * snr / (1 + snr)))
        self._presence = self._keep_presence * self._presence + (1 - self._keep_presence) * present
        present = np.where(self._presence > 0.99, np.minimum(present, 0.99), present)  # never stagnates
        expected = present * self._noise + (1 - present) * power
        self._noise = self._keep_noise * self._noise + (1 - self._keep_noise) * expected
        return self._noise


@dataclass
class DecisionDirected:
    """A-priori SNR: mostly the last frame's clean estimate, a little of this frame's.

    smoothing : share of the last frame where frames are 8 ms apart, as in the paper
    Source: Y. Ephraim and D. Malah, IEEE TASSP 32(6), 1984, equation 51.
    """

    hop_seconds: float = 0.016
    smoothing: float = 0.98

    def __post_init__(self) -> None:
        self._keep = self.smoothing ** (self.hop_seconds / 0.008)
        self.reset()

    def reset(self) -> None:
        self._clean = np.zeros(1)

    def prior(self, power: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A-priori and a-posteriori SNR : (F,) each."""
        posterior = np.minimum(power / noise, 1e4)
        prior = self._keep * self._clean / noise + (1 - self._keep) * np.maximum(posterior - 1, 0)
        return np.maximum(prior, LEAST_PRIOR), posterior

    def remember(self, gains: np.ndarray, power: np.ndarray) -> np.ndarray:
        """Keep the clean estimate of this frame for the next : its gains (F,)."""
        self._clean = gains**2 * power
        return gains


class VadAverage:
    """The average of the frames without speech; whether there is any is decided for a frame as a whole.

    For steady noise: where it rises by several dB at once it is taken for speech from then on.
    threshold : mean over the bins of log p(X | speech) / p(X | noise), below which a frame is noise
    Source: J. Sohn, N. S. Kim and W. Sung, "A statistical model-based voice activity detection", IEEE SPL 6(1), 1999;
    the average as in P. C. Loizou, "Speech enhancement: theory and practice", CRC Press 2007; the first 120 ms count as
    noise.
    """

    def __init__(self, hop_seconds: float, threshold: float = 0.15) -> None:
        self.threshold = threshold
        self._keep = 0.98 ** (hop_seconds / 0.01)
        self._start = max(1, round(0.12 / hop_seconds))
        self._speech = DecisionDirected(hop_seconds)
        self.reset()

    def reset(self) -> None:
        self._heard, self._noise = 0, np.zeros(1)
        self._speech.reset()

    def update(self, power: np.ndarray) -> np.ndarray:
        power = power + TINY
        if self._heard < self._start:
            self._heard += 1
            self._noise = self._noise + (power - self._noise) / self._heard
        elif self._likelihood_ratio(power) < self.threshold:
            self._noise = self._keep * self._noise + (1 - self._keep) * power
        return self._noise

    def _likelihood_ratio(self, power: np.ndarray) -> float:
        """Of speech in noise to noise alone: its logarithm, the mean over the bins."""
        prior, posterior = self._speech.prior(power, self._noise)
        wiener = prior / (1 + prior)
        self._speech.remember(wiener, power)
        return np.mean(posterior * wiener - np.log1p(prior))


class MinimumStatistics:
    """The minimum of optimally smoothed power over 1.5 s in 8 stretches, times its bias.

    Source: R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum statistics", IEEE
    TSAP 9(5), 2001, figure 5; the mean of the minimum M(D) from its table III.
    """

    stretches = 8
    _LENGTHS = (1, 2, 5, 8, 10, 15, 20, 30, 40, 60, 80, 120, 140, 160)
    _MEANS = (0.0, 0.26, 0.48, 0.58, 0.61, 0.668, 0.705, 0.762, 0.8, 0.841, 0.865, 0.89, 0.9, 0.91)
    _SLOPES = ((0.03, 8.0), (0.05, 4.0), (0.06, 2.0))  # inverse degrees of freedom below which noise may rise so fast

    def __init__(self, hop_seconds: float, seconds: float = 1.5) -> None:
        self._frames = hop_seconds / PAPER_HOP
        self._length = max(2, round(seconds / hop_seconds / self.stretches))
        self._bias_of_all = self._bias(self.stretches * self._length)
        self._bias_of_one = self._bias(self._length)
        self.reset()

    def _bias(self, frames: int) -> tuple[int, float]:
        """Length in frames of the paper's hop, as its M(D) has it: neighbours that overlap more are no new samples."""
        independent = max(2, round(frames * self._frames))
        return independent, float(np.interp(independent, self._LENGTHS, self._MEANS))

    def reset(self) -> None:
        self._smooth: np.ndarray | None = None

    def _begin(self, power: np.ndarray) -> None:
        self._smooth, self._noise, self._least = power.copy(), power.copy(), power.copy()
        self._mean, self._square = power.copy(), power**2
        self._correction, self._at = 1.0, 0
        self._stored = np.full((self.stretches, len(power)), np.inf)
        self._clear_stretch(len(power))

    def _clear_stretch(self, bins: int) -> None:
        self._minimum, self._minimum_of_one = np.full(bins, np.inf), np.full(bins, np.inf)
        self._local = np.zeros(bins, bool)

    def update(self, power: np.ndarray) -> np.ndarray:
        power = power + TINY
        if self._smooth is None:
            self._begin(power)
        freedom = self._smoothed(power)
        inverse = freedom.mean()
        correct = 1 + 2.12 * np.sqrt(inverse)
        candidate = self._smooth * correct * self._minimum_bias(self._bias_of_all, freedom)
        lower = candidate < self._minimum
        self._minimum = np.where(lower, candidate, self._minimum)
        of_one = self._smooth * correct * self._minimum_bias(self._bias_of_one, freedom)
        self._minimum_of_one = np.where(lower, of_one, self._minimum_of_one)
        self._at += 1
        if self._at % self._length == 0:
            self._close_stretch(lower, inverse)
        else:
            if self._at % self._length > 1:
                self._local |= lower
            self._least = np.minimum(self._minimum_of_one, self._least)
            self._noise = self._least
        return self._noise

    def _smoothed(self, power: np.ndarray) -> np.ndarray:
        """Smooth; the inverse degrees of freedom of what comes out : (F,)."""
        ratio = self._smooth.sum() / power.sum() - 1
        self._correction = 0.7 * self._correction + 0.3 * max(1 / (1 + ratio**2), 0.7)
        keep = 0.96 * self._correction / (1 + (self._smooth / self._noise - 1) ** 2)
        keep = np.maximum(keep, 0.3) ** self._frames
        self._smooth = keep * self._smooth + (1 - keep) * power
        slow = np.minimum(keep**2, 0.8**self._frames)
        self._mean = slow * self._mean + (1 - slow) * self._smooth
        self._square = slow * self._square + (1 - slow) * self._smooth**2
        variance = np.maximum(self._square - self._mean**2, 0)
        return np.clip(variance / (2 * self._noise**2), 1e-3, 0.5)

    @staticmethod
    def _minimum_bias(bias: tuple[int, float], freedom: np.ndarray) -> np.ndarray:
        """B_min, equation 17: how far the minimum of that many values lies below their mean."""
        frames, mean = bias
        return 1 + (frames - 1) * 2 * (1 - mean) / (1 / freedom - 2 * mean)

    def _close_stretch(self, lower: np.ndarray, inverse: float) -> None:
        """A stretch is over: the oldest minimum goes; a local minimum may raise the estimate, by a limited slope."""
        self._local &= ~lower
        self._stored = np.roll(self._stored, 1, axis=0)
        self._stored[0] = self._minimum
        self._least = self._stored.min(axis=0)
        slope = next((slope for limit, slope in self._SLOPES if inverse < limit), 1.2)
        rising = self._local & (self._minimum_of_one < slope * self._least) & (self._minimum_of_one > self._least)
        self._least = np.where(rising, self._minimum_of_one, self._least)
        self._stored[:, rising] = self._minimum_of_one[rising]
        self._noise = self._least
        self._clear_stretch(len(lower))


ESTIMATORS = {
    "mmse-spp": MmseSpp,
    "minimum-statistics": MinimumStatistics,
    "vad": VadAverage,
    "first-seconds": FirstSeconds,
}


def estimator(name: str | float, hop_seconds: float) -> NoisePsd:
    """The estimator of that name, or `FirstSeconds` of so many seconds; ValueError lists the names there are."""
    if isinstance(name, (int, float)):
        return FirstSeconds(hop_seconds, name)
    if name not in ESTIMATORS:
        raise ValueError(
            f"unknown noise estimator {name!r}; choose one of {', '.join(ESTIMATORS)}, or pass seconds or a segment"
        )
    return ESTIMATORS[name](hop_seconds)
