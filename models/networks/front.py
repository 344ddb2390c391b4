"""What the textbook networks look at: log powers in bands above a level, and the way back from bands to bins.

    Bins · MelBands · DeviceBands · Cochleagram     kinds of bands, by name in FRONTS
    LogPowers                                       the features: log2 of them above the level, in [-1, 1)

The level is the mean over the recording, or, where that must not be known, what the device follows
(edgeenhance.bands.Features): either way features do not depend on the input's gain.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from edgeenhance.bands import FALL_SECONDS, FEATURE_FLOOR, RISE_SECONDS, band_centers, band_matrix
from edgeenhance.profiles import Profile
from edgeenhance.spectrograms import erb_centers, gammatone, hz_to_mel, mel_filters, mel_to_hz

from ..features import signal
from .layers import Memory

OCTAVES = 16.0  # of power, from the level to either end of the features


class Bins(nn.Module):
    """The bins of the spectrum themselves : bands = bins."""

    def __init__(self, bands: int, profile: Profile) -> None:
        super().__init__()
        self.profile, self.bands = profile, profile.bins

    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """|X|² : (batch, hops, bins) complex -> (batch, hops, bins), what all but a cochleagram begin with."""
        return spectrum.real.square() + spectrum.imag.square()

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        """Power per band : (batch, hops, bins) -> (batch, hops, bands)."""
        return power

    def expand(self, gains: torch.Tensor) -> torch.Tensor:
        """Gains per bin : (batch, hops, bands) -> (batch, hops, bins)."""
        return gains


class _Filtered(Bins):
    """Bands as weighted sums of bins. filters : (bins, bands) · back : (bands, bins), columns sum to 1"""

    def __init__(self, filters: np.ndarray, back: np.ndarray, profile: Profile) -> None:
        super().__init__(0, profile)
        self.bands = len(back)
        self.register_buffer("filters", torch.as_tensor(filters, dtype=torch.float32), persistent=False)
        self.register_buffer("back", torch.as_tensor(back, dtype=torch.float32), persistent=False)

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        return power @ self.filters

    def expand(self, gains: torch.Tensor) -> torch.Tensor:
        return gains @ self.back


class DeviceBands(_Filtered):
    """The bands of the device (edgeenhance.bands), so that a network can run there."""

    def __init__(self, bands: int, profile: Profile) -> None:
        matrix = band_matrix(band_centers(bands, profile), profile.bins)
        super().__init__((matrix / matrix.sum(1, keepdims=True)).T, matrix, profile)


class MelBands(_Filtered):
    """Triangles on the mel scale (edgeenhance.spectrograms); gains are interpolated between their centres."""

    def __init__(self, bands: int, profile: Profile) -> None:
        corners = mel_to_hz(np.linspace(0, hz_to_mel(profile.sample_rate / 2), bands + 2))
        filters = mel_filters(bands, profile.sample_rate, profile.analysis).T
        if not filters.sum(0).all():
            raise ValueError(f"got {bands} mel bands; {profile.bins} bins are too few for so many, pass 40")
        super().__init__(filters, interpolation(corners[1:-1], profile), profile)


class Cochleagram(_Filtered):
    """Power behind gammatone filters (edgeenhance.spectrograms.cochleagram), in frames that end with the hops."""

    def __init__(self, bands: int, profile: Profile) -> None:
        centers, rate = erb_centers(bands, profile.sample_rate), profile.sample_rate
        super().__init__(np.zeros((0, 0)), interpolation(centers, profile), profile)
        responses = np.stack([gammatone(center, rate) for center in centers])
        self.register_buffer("responses", torch.as_tensor(responses, dtype=torch.float32), persistent=False)

    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(batch, hops, bins) -> (batch, hops, bands), through the signal."""
        x = signal(spectrum, self.profile)
        length = 1 << (x.shape[-1] + self.responses.shape[-1] - 1).bit_length()
        product = torch.fft.rfft(x, length).unsqueeze(1) * torch.fft.rfft(self.responses, length)
        filtered = torch.fft.irfft(product, length)[..., : x.shape[-1]].square()  # (batch, bands, n)
        padded = nn.functional.pad(filtered, (self.profile.analysis - self.profile.hop, 0))
        return padded.unfold(-1, self.profile.analysis, self.profile.hop).mean(-1).transpose(1, 2)

    def forward(self, power: torch.Tensor) -> torch.Tensor:
        return power


def interpolation(centers: np.ndarray, profile: Profile) -> np.ndarray:
    """Weights (bands, bins) of straight lines between centres in Hz; beyond the outer ones their values stay."""
    return np.stack([np.interp(profile.freqs, centers, row) for row in np.eye(len(centers))])


FRONTS = {"bins": Bins, "mel": MelBands, "device": DeviceBands, "cochleagram": Cochleagram}


class LogPowers(nn.Module):
    """Features : (batch, hops, bands) powers -> log2 above the level, / 16, clipped to [-1, 1).

    causal : the level follows the sound (0.5 s up, 4 s down) instead of being its mean over what is not digital silence
    """

    def __init__(self, profile: Profile, causal: bool) -> None:
        super().__init__()
        seconds = profile.hop / profile.sample_rate
        self.causal = causal
        self.rise, self.fall = (1 - math.exp(-seconds / time) for time in (RISE_SECONDS, FALL_SECONDS))

    @torch.no_grad()  # nothing here learns
    def forward(self, power: torch.Tensor, memory: Memory) -> torch.Tensor:
        logs = torch.log2(power + FEATURE_FLOOR)
        level = self._followed(logs.mean(2), memory) if self.causal else _mean(logs.mean(2))
        return ((logs - level.unsqueeze(2)) / OCTAVES).clamp(-1.0, 32767 / 32768)

    def _followed(self, means: torch.Tensor, memory: Memory) -> torch.Tensor:
        """The level of each hop : (batch, hops); it begins at the first hop's mean."""
        level, begun = memory.recall(means.new_zeros(len(means), 2)).unbind(1)
        levels = []
        for mean in means.unbind(1):
            rate = torch.where(mean > level, self.rise, self.fall)
            level = level + torch.where(begun > 0, rate, torch.ones_like(rate)) * (mean - level)
            begun = torch.ones_like(begun)
            levels.append(level)
        memory.keep(torch.stack([level, begun], 1))
        return torch.stack(levels, 1)


def _mean(means: torch.Tensor) -> torch.Tensor:
    """Mean over the hops that are not digital silence : (batch, hops) -> (batch, 1)."""
    heard = (means > math.log2(FEATURE_FLOOR)).to(means)
    return (means * heard).sum(1, keepdim=True) / heard.sum(1, keepdim=True).clamp_min(1)
