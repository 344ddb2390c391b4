"""Losses of signals: scale-invariant distortion, and a differentiable extended STOI.

Items without any target (noise alone) cost nothing here: what remains of the noise is the spectral losses' business.
"""

from __future__ import annotations

import torch

_TINY = 1e-8
_SOFT = 1e-3  # SI-SDR is bounded to +-30 dB: a perfect item cannot outweigh the others

_FRAME_SECONDS = 0.0256  # Hann windows, half overlapping
_SEGMENT = 30  # frames, 384 ms
_BANDS = 15  # third octaves
_LOWEST_HZ = 150.0  # centre of the first
_SILENCE = 1e-4  # frames 40 dB below the loudest of the target are left out


def si_sdr(estimate: torch.Tensor, target: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Negative SI-SDR, dB, mean over items: -30 .. 30.

    -10 log10((P + t E) / (E + t P)), P = |a s|^2, E = |y - a s|^2, a = <y, s> / |s|^2, t = 0.001.
    estimate y, target s : (batch, n), any level · sample_rate : not used
    Sources: Le Roux et al. 2019, "SDR - half-baked or well done?", eq. 4; the bound t: Wisdom et al. 2020,
    "Unsupervised sound separation using mixture invariant training", eq. 2.
    """
    energy = target.square().sum(-1)
    tiny = _TINY * (energy + estimate.detach().square().sum(-1)) + 1e-30
    scale = (estimate * target).sum(-1) / (energy + tiny)
    wanted = scale.unsqueeze(-1) * target
    kept, lost = wanted.square().sum(-1), (estimate - wanted).square().sum(-1)
    ratio = (kept + _SOFT * lost + tiny) / (lost + _SOFT * kept + tiny)
    return torch.where(energy > 0, -10 * torch.log10(ratio), torch.zeros_like(ratio)).mean()


def estoi(estimate: torch.Tensor, target: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """1 - d, d the extended short-time objective intelligibility, mean over items: 0 (equal) .. 2.

    Third-octave envelopes (15 bands from 150 Hz) of 25.6 ms frames in segments of 30 frames (384 ms), every band of a
    segment normalised to zero mean and unit norm over time, then every frame over the bands; d is the mean inner
    product of the frames. Frames 40 dB below the target's loudest are left out. Items with less than a segment of
    speech cost nothing.
    estimate, target : (batch, n) · sample_rate : Hz, at least 9600
    Source: Jensen & Taal 2016, "An algorithm for predicting the intelligibility of speech masked by modulated noise
    maskers", eqs. 1-8, here at the signals' own rate instead of 10 kHz.
    """
    length = round(_FRAME_SECONDS * sample_rate / 2) * 2
    level = target.square().mean(-1, keepdim=True).sqrt()
    level = torch.where(level > 0, level, torch.ones_like(level))
    frames = [(x / level).unfold(-1, length, length // 2) * window(length, x) for x in (estimate, target)]
    energy = frames[1].square().sum(-1)  # (batch, frames)
    active = energy > _SILENCE * energy.amax(-1, keepdim=True)
    envelopes = [_envelopes(x, sample_rate) for x in frames]
    values = [_item(*(x[row][active[row]] for x in envelopes)) for row in range(len(target))]
    return torch.stack(values).mean()


def _item(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """1 - d of one item's envelopes : (frames, bands); 0 where they are too short, still a function of them."""
    if len(target) < _SEGMENT:
        return 0 * estimate.sum()
    one, other = (_normalised(_normalised(x.unfold(0, _SEGMENT, 1), -1), -2) for x in (estimate, target))
    return 1 - (one * other).sum(-2).mean()


def _normalised(x: torch.Tensor, axis: int) -> torch.Tensor:
    """Zero mean and unit norm along the axis; constant stays zero."""
    centred = x - x.mean(axis, keepdim=True)
    return centred * torch.rsqrt(centred.square().sum(axis, keepdim=True) + _TINY)


def _envelopes(frames: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Third-octave magnitudes : (..., bands) of windowed frames (..., length)."""
    size = 2 << (frames.shape[-1] - 1).bit_length()  # twice the next power of two: narrow bands have a bin of their own
    spectrum = torch.fft.rfft(frames, size)
    power = spectrum.real.square() + spectrum.imag.square()
    return (power @ _third_octaves(size, sample_rate).to(power) + _TINY).sqrt()


def _third_octaves(size: int, sample_rate: int) -> torch.Tensor:
    """Which bins are in which band, 0 or 1 : (bins, bands). Edges lie on the nearest bin; the upper one is outside."""
    centers = _LOWEST_HZ * 2 ** (torch.arange(_BANDS) / 3)
    low, high = (torch.round(centers * 2 ** (side / 6) * size / sample_rate) for side in (-1, 1))
    bins = torch.arange(size // 2 + 1).unsqueeze(-1)
    return ((bins >= low) & (bins < high)).to(torch.float32)


def window(length: int, like: torch.Tensor) -> torch.Tensor:
    """Hann, of the type and on the device of `like` : (length,)."""
    return torch.hann_window(length, dtype=like.dtype, device=like.device)
