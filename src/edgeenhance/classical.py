"""Classical suppressors, without a network: spectral subtraction, Wiener filter, log-MMSE.

    suppress              a whole recording of one channel
    Suppressor            the same as a stream, blocks of any size
    ClassicalMask         where `Enhancer` has a mask network: Enhancer(model="log-mmse")

All three give every frequency of a frame a gain of its noisy power |X|² and of the noise's (`noise_psd`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .bands import FALL_SECONDS, FEATURE_OCTAVES, RISE_SECONDS, band_centers
from .cells import HopStream, muted
from .noise_psd import DecisionDirected, NoisePsd, NoiseSegment, estimator
from .profiles import Profile
from .profiles import profile as profile_named
from .stft import Stft

BANDS = 64  # of a mask


class Rule(Protocol):
    """Gains (F,), 0..1, of a frame's power (F,) and its noise's; may remember the frame before."""

    def reset(self) -> None: ...

    def gains(self, power: np.ndarray, noise: np.ndarray) -> np.ndarray: ...


@dataclass
class SpectralSubtraction:
    """|S|² = |X|² - over |N|², never below floor |N|²; floor 0 is half-wave rectification.

    over : over-subtraction, >= 1 · floor : spectral floor, 0..1
    Source: M. Berouti, R. Schwartz and J. Makhoul, "Enhancement of speech corrupted by acoustic noise", ICASSP 1979.
    """

    over: float = 3.0
    floor: float = 0.02

    def reset(self) -> None:
        pass

    def gains(self, power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        clean = np.maximum(power - self.over * noise, self.floor * noise)
        return np.sqrt(np.minimum(clean / np.maximum(power, 1e-30), 1.0))


class Wiener(DecisionDirected):
    """xi / (1 + xi), xi the decision-directed a-priori SNR.

    Source: P. Scalart and J. V. Filho, "Speech enhancement based on a priori signal to noise estimation", ICASSP 1996.
    """

    def gains(self, power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        prior, _ = self.prior(power, noise)
        return self.remember(prior / (1 + prior), power)


@dataclass
class PsdWiener:
    """The plain form: (P - N) / P with the noisy power P smoothed, never below `floor`.

    smoothing : of P at 16 ms from frame to frame · floor : least gain, 0..1
    """

    hop_seconds: float = 0.016
    smoothing: float = 0.7
    floor: float = 0.056  # -25 dB

    def __post_init__(self) -> None:
        self._keep = self.smoothing ** (self.hop_seconds / 0.016)
        self.reset()

    def reset(self) -> None:
        self._smooth: np.ndarray | None = None

    def gains(self, power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        before = power if self._smooth is None else self._smooth
        self._smooth = self._keep * before + (1 - self._keep) * power
        return np.maximum(1 - noise / np.maximum(self._smooth, 1e-30), self.floor)


@dataclass
class LogMmse(DecisionDirected):
    """The estimator of least squared error between log amplitudes.

    most_gain : 1 never amplifies; np.inf is the equation as it stands, above 1 where there is less than expected
    Source: Y. Ephraim and D. Malah, IEEE TASSP 33(2), 1985, equation 20.
    """

    most_gain: float = field(default=1.0, kw_only=True)

    def gains(self, power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        prior, posterior = self.prior(power, noise)
        wiener = prior / (1 + prior)
        gains = wiener * np.exp(0.5 * exponential_integral(np.maximum(wiener * posterior, 1e-10)))
        return self.remember(np.minimum(gains, self.most_gain), power)


def exponential_integral(x: np.ndarray) -> np.ndarray:
    """E1(x), the integral of exp(-t) / t from x to infinity, x > 0; within 3e-7.

    Source: M. Abramowitz and I. A. Stegun, "Handbook of mathematical functions", 5.1.53 and 5.1.56.
    """
    small, large = np.minimum(x, 1.0), np.maximum(x, 1.0)
    series = np.polyval([0.00107857, -0.00976004, 0.05519968, -0.24991055, 0.99999193, -0.57721566], small)
    over = np.polyval([1, 8.5733287401, 18.0590169730, 8.6347608925, 0.2677737343], large)
    under = np.polyval([1, 9.5733223454, 25.6329561486, 21.0996530827, 3.9584969228], large)
    return np.where(x < 1.0, series - np.log(small), np.exp(-large) / large * over / under)


METHODS: dict[str, Callable[[float], Rule]] = {
    "spectral-subtraction": lambda hop_seconds: SpectralSubtraction(),
    "wiener": lambda hop_seconds: Wiener(hop_seconds),
    "wiener-psd": lambda hop_seconds: PsdWiener(hop_seconds),
    "log-mmse": lambda hop_seconds: LogMmse(hop_seconds),
}


def _rule(method: str | Rule, hop_seconds: float) -> Rule:
    if not isinstance(method, str):
        return method
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose one of {', '.join(METHODS)}, or pass a rule")
    return METHODS[method](hop_seconds)


def _hop_seconds(profile: Profile) -> float:
    return profile.hop / profile.sample_rate


def _estimator(noise: str | float | NoisePsd, hop_seconds: float) -> NoisePsd:
    return noise if hasattr(noise, "update") else estimator(noise, hop_seconds)


class Suppressor(HopStream):
    """One channel in, one out, in blocks of any size, `latency` samples later (one synthesis window: comm 32 ms).

    method : a name of METHODS, or a rule such as SpectralSubtraction(over=3)
    noise : "mmse-spp", "minimum-statistics", "vad", "first-seconds" (0.3), so many seconds at the beginning, an object
    of `noise_psd`, or noise alone (n,)
    profile : "comm" (32 ms) or "assist" (8 ms)
    ValueError for unknown names. Frames with NaN, Inf or absurd samples are muted; digital silence teaches nothing.
    """

    def __init__(
        self,
        method: str | Rule = "log-mmse",
        noise: str | float | NoisePsd | np.ndarray = "mmse-spp",
        profile: str | Profile = "comm",
    ) -> None:
        self.profile = profile_named(profile)
        self.hop, hop_seconds = self.profile.hop, _hop_seconds(self.profile)
        self.rule, self.noise = _rule(method, hop_seconds), self._noise(noise, hop_seconds)
        self.reset()

    def _noise(self, noise: str | float | NoisePsd | np.ndarray, hop_seconds: float) -> NoisePsd:
        if isinstance(noise, np.ndarray):
            return NoiseSegment(_segment_powers(muted(noise), self.profile))
        return _estimator(noise, hop_seconds)

    @property
    def latency(self) -> int:
        """Samples: output sample t + latency belongs to input sample t."""
        return self.profile.synthesis

    def reset(self) -> None:
        """Forget the signal."""
        self.rule.reset()
        self.noise.reset()
        self._stft = Stft(self.profile)
        self._clear()

    def _hop(self, samples: np.ndarray) -> np.ndarray:
        X = self._stft.analyze(samples)
        power = X.real.astype(np.float64) ** 2 + X.imag.astype(np.float64) ** 2
        if samples.any():
            X = X * self.rule.gains(power, self.noise.update(power)).astype(np.float32)
        return self._stft.synthesize(X)


def _segment_powers(samples: np.ndarray, profile: Profile) -> np.ndarray:
    """|X|² of the frames that lie wholly in the segment : (T, F)."""
    stft, hop = Stft(profile), profile.hop
    frames = [stft.analyze(samples[at : at + hop]) for at in range(0, len(samples) - hop + 1, hop)]
    whole = frames[profile.analysis // hop - 1 :]
    return np.abs(np.array(whole).reshape(len(whole), profile.bins).astype(np.complex128)) ** 2


def suppress(x: np.ndarray, sample_rate: int, method: str | Rule = "log-mmse", **settings) -> np.ndarray:
    """A whole recording of one channel: delay compensated, same length, same sample rate.

    x : (n,) floats · sample_rate : Hz; others than 16000 are resampled there and back (needs the extra `files`)
    settings : as for `Suppressor`; a segment of noise is given at the recording's rate -> (n,) float32
    """
    from .enhancer import fit, resample

    profile = profile_named(settings.get("profile", "comm"))
    if isinstance(settings.get("noise"), np.ndarray):
        settings["noise"] = resample(muted(settings["noise"]), sample_rate, profile.sample_rate)
    suppressor = Suppressor(method, **settings)
    samples = resample(muted(x), sample_rate, profile.sample_rate)
    out = suppressor.process(np.concatenate([samples, np.zeros(suppressor.latency, np.float32)]))
    return fit(resample(out[suppressor.latency :], profile.sample_rate, sample_rate), len(x))


class ClassicalMask:
    """A suppressor in the place of a mask network: gains per band from the powers of the beam's bands.

    method : a name of METHODS · profile : name or Profile; `centers` are 64 bands of it
    noise : as for `Suppressor`, but no samples: powers are known only beside each other (`Enhancer` takes samples)
    The kernel gives features above a level that follows the sound; `step` follows the level, too, and takes it off.
    """

    def __init__(
        self, method: str, profile: str | Profile = "assist", noise: str | float | NoisePsd = "mmse-spp"
    ) -> None:
        chosen = profile_named(profile)
        hop_seconds = _hop_seconds(chosen)
        self.name, self.profile = method, chosen.name
        self.centers = band_centers(BANDS, chosen)
        self._rule, self._noise = _rule(method, hop_seconds), _estimator(noise, hop_seconds)
        rates = [1 - np.exp(-hop_seconds / seconds) for seconds in (RISE_SECONDS, FALL_SECONDS)]
        self._rise, self._fall = (rate / (1 - rate) for rate in rates)
        self.reset()

    def reset(self) -> None:
        self._level = 0.0  # log2 power above that of the first hop
        self._rule.reset()
        self._noise.reset()

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop. features : (4 * bands,) int16, Q15 · gains : (bands,) int16, written, Q15 0..32767"""
        octaves = features[: len(gains)] * FEATURE_OCTAVES
        above = octaves.mean()
        self._level += (self._rise if above > 0 else self._fall) * above
        power = np.exp2(octaves + self._level)
        gains[:] = np.rint(32767 * self._rule.gains(power, self._noise.update(power)))
