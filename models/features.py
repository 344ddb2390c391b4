"""The device's spectra and features for whole recordings, in torch: training sees what the device computes.

    spectra · signal                STFT and overlap-add of edgeenhance.stft, all hops at once
    Bands                           band powers, gains per bin, Q15 features of edgeenhance.bands
    to_float                        Q15 integers to the network's [-1, 1)

Digital silence is the one difference: the device skips a hop of zeros, these functions do not.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from edgeenhance.bands import FEATURE_FLOOR, SIGNALS, band_matrix
from edgeenhance.profiles import Profile
from edgeenhance.stft import windows

Q15 = 32768
FEATURE_RANGE = 16.0  # doublings of power from the level to either end of the feature scale


def spectra(x: torch.Tensor, profile: Profile) -> torch.Tensor:
    """STFT : (..., n) -> (..., hops, bins) complex; frame t ends with hop t, zeros before the start."""
    hops = x.shape[-1] // profile.hop
    padded = torch.nn.functional.pad(x[..., : hops * profile.hop], (profile.analysis - profile.hop, 0))
    window = torch.as_tensor(windows(profile)[0], dtype=x.dtype, device=x.device)
    return torch.fft.rfft(padded.unfold(-1, profile.analysis, profile.hop) * window)


def signal(spectrum: torch.Tensor, profile: Profile) -> torch.Tensor:
    """Overlap-add : (..., hops, bins) -> (..., hops * hop), aligned with what was analysed; the last hop is partial."""
    window = torch.as_tensor(windows(profile)[1], dtype=spectrum.real.dtype, device=spectrum.device)
    frames = torch.fft.irfft(spectrum, profile.analysis)[..., -profile.synthesis :] * window
    begins, ends = frames.unflatten(-1, (2, profile.hop)).unbind(-2)
    following = torch.nn.functional.pad(begins[..., 1:, :], (0, 0, 0, 1))
    return (ends + following).flatten(-2)


def to_float(q15: torch.Tensor) -> torch.Tensor:
    """Q15 integers (...) -> float32 in [-1, 1)."""
    return q15.to(torch.float32) / Q15


class Bands:
    """Band powers and features of a set of bands.

    centers : (bands,) bins, see edgeenhance.bands.band_centers · mean : (bins, bands), powers per bin to per band
    """

    def __init__(self, centers: np.ndarray, profile: Profile) -> None:
        matrix = band_matrix(centers, profile.bins)
        self.profile, self.centers = profile, np.ascontiguousarray(centers, np.int16)
        self.mean = np.ascontiguousarray((matrix / matrix.sum(1, keepdims=True)).T, np.float32)  # (bins, bands)
        self.matrix = torch.as_tensor(matrix, dtype=torch.float32)  # (bands, bins)
        self._mean = torch.from_numpy(self.mean)

    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Mean power per band : (..., bins) complex64 -> (..., bands)."""
        return (spectrum.real.square() + spectrum.imag.square()) @ self._mean

    def expand(self, gains: torch.Tensor) -> torch.Tensor:
        """Gains per bin : (..., bands) -> (..., bins)."""
        return gains @ self.matrix.to(gains.device)

    def features(self, beam: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        """Q15 features : (hops, 4 * bands) int16, as edgeenhance.bands.Features yields them hop by hop.

        beam, others : (hops, bands) band powers; without others (one microphone) their features lie at the floor
        """
        log_beam = torch.log2(beam + FEATURE_FLOOR)
        level = self._level(log_beam.mean(1))
        groups = [_scaled(log_beam, level)]
        groups += [_scaled(torch.log2(power + FEATURE_FLOOR), level) for power in others]
        groups += [torch.full_like(log_beam, -Q15)] * (SIGNALS - len(groups))
        return torch.cat(groups, 1).to(torch.int16)

    def _level(self, mean: torch.Tensor) -> torch.Tensor:
        seconds = self.profile.hop / self.profile.sample_rate
        rise, fall = 1 - math.exp(-seconds / 0.5), 1 - math.exp(-seconds / 4.0)
        values = mean.tolist()
        current, levels = values[0] if values else 0.0, []
        for value in values:
            current += (rise if value > current else fall) * (value - current)
            levels.append(current)
        return torch.tensor(levels, dtype=mean.dtype).unsqueeze(1)


def _scaled(log_power: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    return torch.round((log_power - level) * (Q15 / FEATURE_RANGE)).clamp(-Q15, Q15 - 1)
