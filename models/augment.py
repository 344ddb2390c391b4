"""Augmentation: what makes an item sound like another talker, device or day, each operation by itself.

    Augmentation            shares and ranges, keys of a recipe's [mixing] table, all off unless set
    Draws                   an item's random numbers: one generator for the scene, another for each augmentation
    Variation, vary         speed, pitch and spectral colour of a talker or a noise, in its spectrum
    phase_mismatch          microphones that do not agree
    clip, tilt, rumble      overload, coloured sensor noise, wind and handling
    pause_gate, burst_gate  stretches without a sound, or with one
    near_field              a mouth about as far from all microphones: the wearer's own voice

Each augmentation draws from its own generator, so switching one on leaves the talkers, noises and levels as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch

from .corpus import SAMPLE_RATE

_GRID = 513  # points from 0 Hz to Nyquist on which smooth curves over frequency are drawn
_EQ_KNOTS = np.geomspace(100, 7000, 6)  # Hz
_PHASE_CORNER = 500.0  # Hz; the mismatch is proportional to frequency below
_LOWEST = 50.0  # Hz; coloured noise is flat below, and rumble has no infrasound
_RAMP = 0.02  # s, fade at the edges of a pause
_GUSTS = 5.0  # per second
_NEAR_DELAY = 50e-6  # s, +-: 2 cm more or less to the mouth
_NEAR_GAIN = 1.0  # dB, +-


@dataclass(frozen=True)
class Augmentation:
    """Shares are of all items, 0: off; pairs are (low, high), drawn evenly.

    speed, eq_db : of talkers, each at its own: speed and pitch together as a factor, largest gain of a smooth
    equaliser (drawn within +-eq_db, dB) · noise_speed, noise_eq_db : the same of noises
    phase_deg : largest phase error of a microphone against the reference, uniform +-, constant above 500 Hz and
    proportional to frequency below (errors of gain: gain_db)
    clipping : share of items clipped at all microphones, clipping_db below the mixture's peak
    rumble : share with wind or handling noise, independent per microphone, rumble_db above active speech
    sensor_tilt_db : slope of the sensor noise, dB per octave
    own_voice : share with the burst of a talker about equally loud at all microphones, own_voice_db above the target
    target_pause, noise_pause : shares in which the target, the noise falls silent once, for `pause` of the item

    Rumble and own voice stay out of clean items, and a noise pause silences all but sensor noise and own voice.
    ValueError where a share or a range makes no sense.
    """

    speed: tuple[float, float] = (1.0, 1.0)
    eq_db: float = 0.0
    noise_speed: tuple[float, float] = (1.0, 1.0)
    noise_eq_db: float = 0.0
    phase_deg: float = 0.0
    clipping: float = 0.0
    clipping_db: tuple[float, float] = (1.0, 12.0)
    rumble: float = 0.0
    rumble_db: tuple[float, float] = (-10.0, 10.0)
    sensor_tilt_db: tuple[float, float] = (0.0, 0.0)
    own_voice: float = 0.0
    own_voice_db: tuple[float, float] = (10.0, 25.0)
    target_pause: float = 0.0
    noise_pause: float = 0.0
    pause: tuple[float, float] = (0.2, 0.6)

    def __post_init__(self) -> None:
        for name in ("clipping", "rumble", "own_voice", "target_pause", "noise_pause"):
            _check_range(name, (0.0, getattr(self, name)), 0, 1)
        for name, highest in (("eq_db", 20), ("noise_eq_db", 20), ("phase_deg", 180)):
            _check_range(name, (0.0, getattr(self, name)), 0, highest)
        for name in ("speed", "noise_speed"):
            _check_range(name, getattr(self, name), 0.5, 2)
        _check_range("pause", self.pause, 0, 1)
        _check_range("clipping_db", self.clipping_db, 0, 60)
        _check_range("sensor_tilt_db", self.sensor_tilt_db, -12, 12)
        for name in ("rumble_db", "own_voice_db"):
            _check_range(name, getattr(self, name), -60, 60)


def _check_range(name: str, pair: tuple[float, float], lowest: float, highest: float) -> None:
    if np.ndim(pair) != 1 or len(pair) != 2:
        raise ValueError(f"{name} = {pair!r} is no range; give two numbers, [low, high]")
    low, high = pair
    if not lowest <= low <= high <= highest:
        shown = f"{high:g}" if lowest == low == 0 else f"[{low:g}, {high:g}]"
        raise ValueError(f"{name} = {shown} is out of range; give {lowest:g} to {highest:g}, the lower end first")


AUGMENTATIONS = tuple(field.name for field in fields(Augmentation))


class Draws:
    """Random generators of item `index`: `scene`, and `of(key)` for each of AUGMENTATIONS, independent of it."""

    def __init__(self, seed: int, index: int) -> None:
        self.scene = np.random.default_rng([seed, index])
        self._key, self._kept = (seed, index), {}

    def of(self, name: str) -> np.random.Generator:
        """The generator of one augmentation; it goes on where the last call stopped."""
        if name not in self._kept:
            self._kept[name] = np.random.default_rng([*self._key, 1 + AUGMENTATIONS.index(name)])
        return self._kept[name]

    def happens(self, name: str, share: float) -> bool:
        """True in `share` of the items."""
        return share > 0 and self.of(name).random() < share


@dataclass(frozen=True)
class Variation:
    """Of one source. length : samples of the transform of the source as recorded, `item` samples as it is heard
    curve : (_GRID,) gain of the equaliser, or None"""

    length: int
    item: int
    curve: np.ndarray | None

    @classmethod
    def draw(cls, rng: np.random.Generator, speed: tuple[float, float], eq_db: float, item: int) -> Variation | None:
        """A variation within the ranges, None where they leave nothing to vary. item : samples, even."""
        if speed == (1.0, 1.0) and eq_db == 0:
            return None
        return cls(_fast_length(item * rng.uniform(*speed)), item, equaliser(rng, eq_db) if eq_db else None)

    def recorded(self, samples: int) -> int:
        """Samples to record for `samples` to be heard."""
        return -(-samples * self.length // self.item)


def vary(x: torch.Tensor, variation: Variation) -> torch.Tensor:
    """Spectrum of sources played at another speed and colour : (..., item / 2 + 1). x : (..., recorded samples).

    A longer or shorter transform, cut or filled up at Nyquist, is resampling by its ratio at no cost; what is slowed
    down ends below Nyquist, by the same ratio.
    """
    bins = variation.item // 2 + 1
    spectrum = torch.fft.rfft(x, variation.length)
    spectrum = torch.nn.functional.pad(spectrum, (0, bins - spectrum.shape[-1]))
    gain = torch.tensor(variation.item / variation.length)
    return spectrum * (gain if variation.curve is None else gain * _over_bins(variation.curve, bins))


def equaliser(rng: np.random.Generator, largest_db: float) -> np.ndarray:
    """Gain over frequency, smooth on a logarithmic axis, 0 dB on average of its knots : (_GRID,)."""
    gains = rng.uniform(-largest_db / 2, largest_db / 2, len(_EQ_KNOTS))
    return 10 ** (np.interp(np.log(_grid()), np.log(_EQ_KNOTS), gains - gains.mean()) / 20)


def phase_mismatch(rng: np.random.Generator, largest_deg: float, mics: int, reference: int, bins: int) -> torch.Tensor:
    """Factors on the microphones' spectra, 1 at the reference : (mics, bins) complex64."""
    errors = np.deg2rad(rng.uniform(-largest_deg, largest_deg, mics))
    errors[reference] = 0.0
    corner = int(_PHASE_CORNER / (SAMPLE_RATE / 2) * (bins - 1)) + 1
    factors = np.empty((mics, bins), np.complex64)
    factors[:, corner:] = np.exp(1j * errors)[:, None]
    factors[:, :corner] = np.exp(1j * errors[:, None] * (np.arange(corner) / corner))
    return torch.from_numpy(factors)


def clip(x: torch.Tensor, over_db: float) -> torch.Tensor:
    """Limit to `over_db` below the largest sample of all microphones : (mics, n)."""
    limit = float(x.abs().max()) * 10 ** (-over_db / 20)
    return x.clamp(-limit, limit)


def tilt(x: torch.Tensor, db_per_octave: float) -> torch.Tensor:
    """White noise coloured by a slope over frequency, at the same power : (..., n)."""
    shape = _grid() ** (db_per_octave / (20 * np.log10(2)))
    shape /= np.sqrt(np.mean(shape**2))
    spectrum = torch.fft.rfft(x)
    return torch.fft.irfft(spectrum * _over_bins(shape, spectrum.shape[-1]), x.shape[-1])


def rumble(rng: np.random.Generator, mics: int, n: int) -> torch.Tensor:
    """Wind in gusts, independent per microphone, mean power 1 : (mics, n).

    Turbulence falls by 6 to 12 dB per octave above a corner of 40 to 150 Hz.
    """
    corner, slope = np.exp(rng.uniform(np.log(40), np.log(150))), rng.uniform(1, 2)
    freqs = np.arange(n // 2 + 1) * (SAMPLE_RATE / n)
    shape = (1 + (freqs / corner) ** 2) ** (-slope / 2) * (freqs >= _LOWEST / 2)
    white = torch.from_numpy(rng.standard_normal((mics, len(freqs), 2), dtype=np.float32))
    wind = torch.fft.irfft(torch.view_as_complex(white) * torch.from_numpy(shape.astype(np.float32)), n)
    wind *= torch.from_numpy(_gusts(rng, mics, n))
    return wind / wind.square().mean().sqrt()


def _gusts(rng: np.random.Generator, mics: int, n: int) -> np.ndarray:
    """Envelopes between -20 and 0 dB : (mics, n) float32."""
    knots = max(2, int(n / SAMPLE_RATE * _GUSTS))
    levels = 10 ** (rng.uniform(-20, 0, (mics, knots)) / 20)
    at, given = np.arange(n), np.linspace(0, n, knots)
    return np.stack([np.interp(at, given, level) for level in levels]).astype(np.float32)


def burst_gate(rng: np.random.Generator, n: int, share: tuple[float, float]) -> np.ndarray:
    """1 for a stretch of `share` of the item somewhere in it, else 0, with short fades : (n,) float32."""
    length = round(n * rng.uniform(*share))
    start = int(rng.integers(n - length + 1))
    ramp = min(int(_RAMP * SAMPLE_RATE), length // 2)
    gate = np.zeros(n, np.float32)
    gate[start : start + length] = 1
    rise = np.linspace(0, 1, ramp, endpoint=False, dtype=np.float32)
    gate[start : start + ramp] = rise
    gate[start + length - ramp : start + length] = rise[::-1]
    return gate


def pause_gate(rng: np.random.Generator, n: int, share: tuple[float, float]) -> np.ndarray:
    """The opposite of burst_gate: 0 for a stretch, else 1 : (n,) float32."""
    return 1 - burst_gate(rng, n, share)


def near_field(rng: np.random.Generator, mics: int, bins: int) -> torch.Tensor:
    """Transfer from a near mouth to the microphones, delays within +-50 us, gains within +-1 dB : (mics, bins)."""
    delays = rng.uniform(-_NEAR_DELAY, _NEAR_DELAY, (mics, 1))
    gains = 10 ** (rng.uniform(-_NEAR_GAIN, _NEAR_GAIN, (mics, 1)) / 20)
    transfer = gains * np.exp(-2j * np.pi * np.linspace(0, SAMPLE_RATE / 2, _GRID) * delays)
    return torch.complex(_over_bins(transfer.real, bins), _over_bins(transfer.imag, bins))


def _grid() -> np.ndarray:
    """Frequencies of curves : (_GRID,) Hz, none below _LOWEST."""
    return np.maximum(np.linspace(0, SAMPLE_RATE / 2, _GRID), _LOWEST)


def _over_bins(curve: np.ndarray, bins: int) -> torch.Tensor:
    """Curves on the grid, at `bins` even frequencies from 0 Hz to Nyquist : (..., _GRID) -> (..., bins) float32."""
    given = torch.from_numpy(curve.astype(np.float32)).reshape(1, -1, _GRID)
    drawn = torch.nn.functional.interpolate(given, size=bins, mode="linear", align_corners=True)
    return drawn.reshape(*curve.shape[:-1], bins)


def _fast_length(n: float) -> int:
    """The even length nearest to n with no prime factor above 7, quick to transform."""
    lengths = _smooth_lengths()
    return 2 * int(lengths[np.argmin(np.abs(lengths - n / 2))])


@lru_cache
def _smooth_lengths(limit: int = 1 << 24) -> np.ndarray:
    """All numbers up to `limit` with no prime factor above 7, sorted."""
    found = np.ones(1, np.int64)
    for prime in (2, 3, 5, 7):
        powers = prime ** np.arange(int(np.log(limit) / np.log(prime)) + 1)
        found = np.outer(found, powers).ravel()
        found = found[found <= limit]
    return np.sort(found)
