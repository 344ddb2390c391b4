"""Bands: where they lie, what is in them, and how gains per band become gains per bin (csrc/bands.c).

A set of bands is a list of centre bins; a triangle rises from the centre before and falls to the centre after, so every
bin shares its weight between its two neighbouring centres and the weights sum to 1. A model file carries the centres.
"""

from __future__ import annotations

import numpy as np

from .kernel import ffi, lib, pointer
from .profiles import Profile
from .spectrograms import erb

SIGNALS = lib.EE_SIGNALS  # beam, noise reference, delay-and-sum beam, mean microphone
FEATURE_FLOOR = 2.0**-60  # power added before the logarithm: -180 dB
FEATURE_OCTAVES = 16 / 32768  # of power, per Q15 step
RISE_SECONDS, FALL_SECONDS = 0.5, 4.0  # time constants of the level (csrc/bands.c)


def band_centers(bands: int, profile: Profile) -> np.ndarray:
    """Centre bins : (bands,) int16, first 0, last profile.bins - 1.

    Steps grow with the equivalent rectangular bandwidth (`erb`) and are never below one bin: fine bands where speech
    has its harmonics. ValueError unless 2 <= bands <= profile.bins.
    """
    if not 2 <= bands <= min(profile.bins, lib.EE_MAX_BANDS):
        limit = min(profile.bins, lib.EE_MAX_BANDS)
        raise ValueError(f"got {bands} bands; profile {profile.name!r} takes 2 to {limit}")
    low, high = 0.0, float(profile.bins)
    for _ in range(60):  # bisection: the step per ERB that lands the last centre on the last bin
        step = (low + high) / 2
        low, high = (low, step) if _positions(bands, step, profile)[-1] > profile.bins - 1 else (step, high)
    positions = _positions(bands, low, profile)
    return np.floor(positions * ((profile.bins - 1) / positions[-1]) + 0.5).astype(np.int16)


def _positions(bands: int, step: float, profile: Profile) -> np.ndarray:
    positions = np.zeros(bands)
    hz = profile.sample_rate / profile.analysis
    for band in range(1, bands):
        width = erb(positions[band - 1] * hz) / hz
        positions[band] = positions[band - 1] + max(1.0, step * width)
    return positions


def band_matrix(centers: np.ndarray, bins: int) -> np.ndarray:
    """Weights T : (bands, bins), columns sum to 1. Band powers: (T @ |X|^2) / T.sum(1); gains per bin: T.T @ gains."""
    grid, eye = np.arange(bins), np.eye(len(centers))
    return np.stack([np.interp(grid, centers, row) for row in eye])


def band_power(spectrum: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Mean power per band : (bands,) float32, by the kernel. spectrum : (bins,) complex64."""
    power, squares = np.empty(len(centers), np.float32), (np.abs(spectrum) ** 2).astype(np.float32)
    centers = pointer(np.ascontiguousarray(centers, np.int16), "int16_t")
    lib.ee_bands_power(centers, len(power), pointer(squares), pointer(power))
    return power


def expand_gains(gains: np.ndarray, centers: np.ndarray, bins: int) -> np.ndarray:
    """Gains per bin : (bins,) float32, by the kernel. gains : (bands,)."""
    out = np.empty(bins, np.float32)
    gains = np.ascontiguousarray(gains, np.float32)
    centers = pointer(np.ascontiguousarray(centers, np.int16), "int16_t")
    lib.ee_bands_expand(centers, len(gains), pointer(gains), bins, pointer(out))
    return out


class Features:
    """The network's input, hop by hop: log band powers of four signals above a slow level, Q15.

    The level follows the beam's mean log2 band power (0.5 s up, 4 s down), so features do not depend on input gain.
    `update` takes band powers (bands,) of the beam, and of the noise reference, the delay-and-sum beam and the mean
    microphone (none of them with one microphone). It returns (4 * bands,) int16: (log2(power) - level) / 16 in [-1, 1).
    """

    def __init__(self, hop_seconds: float) -> None:
        self._state = ffi.new("ee_features *")
        lib.ee_features_init(self._state, hop_seconds)

    def update(self, beam: np.ndarray, *others: np.ndarray) -> np.ndarray:
        powers = [np.ascontiguousarray(power, np.float32) for power in (beam, *others)]
        out = np.empty(SIGNALS * len(beam), np.int16)
        pointers = [pointer(power) for power in powers] + [ffi.NULL] * (SIGNALS - len(powers))
        lib.ee_features_update(self._state, ffi.new("float *[]", pointers), len(beam), pointer(out, "int16_t"))
        return out


def features_reference(hop_seconds: float, beam: np.ndarray, *others: np.ndarray) -> np.ndarray:
    """What `Features` computes, for all hops at once in float64 : (hops, 4 * bands), Q15 units, rounded and clipped.

    beam, others : (hops, bands) band powers, as for `Features.update`
    """
    rise, fall = 1 - np.exp(-hop_seconds / RISE_SECONDS), 1 - np.exp(-hop_seconds / FALL_SECONDS)
    log_beam = np.log2(beam + FEATURE_FLOOR)
    mean = log_beam.mean(1)
    level = np.empty(len(mean))
    current = mean[0] if len(mean) else 0.0
    for hop, value in enumerate(mean):
        current += (rise if value > current else fall) * (value - current)
        level[hop] = current
    logs = [log_beam, *(np.log2(power + FEATURE_FLOOR) for power in others)]
    logs += [np.full_like(log_beam, -np.inf)] * (SIGNALS - len(logs))
    scaled = (np.concatenate(logs, 1) - level[:, None]) / FEATURE_OCTAVES
    return np.rint(np.clip(scaled, -32768, 32767))
