"""A differentiable likeness of PESQ's disturbance: how far two signals are apart for the ear."""

from __future__ import annotations

import torch

from .waveform_losses import window

_FRAME_SECONDS = 0.032  # Hann windows, half overlapping
_LEVEL_DB = 65.0  # at which both signals are heard: dB SPL of what lies between the next two, Hz
_LEVEL_BAND = (350.0, 3250.0)
_STEP = 0.5  # Bark per band
_ZWICKER = 0.23  # loudness grows with this power of intensity
_LOUDNESS = 0.1866  # sone; the standard's factor
_MASKED = 0.25  # of the softer loudness: smaller differences are not heard
_PART = 20  # frames, 320 ms


def pesq_disturbance(estimate: torch.Tensor, target: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """4.5 minus PESQ's raw score, approximately, mean over items: 0 (equal) .. about 4.5.

    Both signals at 65 dB SPL, power per half Bark in frames of 32 ms; the target equalised to the estimate's mean
    spectrum, every frame of the estimate to the target's level; loudness after Zwicker. A frame's disturbance is the
    difference of loudness beyond masking, the asymmetric one weighs what was added. Parts of 320 ms by their sixth
    power mean, these by their second. Items without target cost nothing.
    Simpler than the standard: no time alignment, no bad intervals, Bark scale and hearing threshold by formulas.
    estimate, target : (batch, n) · sample_rate : Hz
    Sources: ITU-T P.862 (2001), P.862.2; Martin-Donas et al. 2018, "A deep learning loss function based on the
    perceptual evaluation of the speech quality"; hearing threshold: Terhardt 1979; Bark: Traunmueller 1990.
    """
    length = round(_FRAME_SECONDS * sample_rate / 2) * 2
    heard = target.square().sum(-1) > 0
    if not heard.any():
        return 0 * estimate.sum()
    bands, threshold = _bark(length, sample_rate)
    got, wanted = (_bark_powers(x[heard], length, sample_rate, bands.to(x)) for x in (estimate, target))
    threshold = threshold.to(got)
    wanted = _equalised(wanted, got)
    got = got * _frame_gains(got, wanted, threshold)
    one, other = _loudness(got, threshold), _loudness(wanted, threshold)
    apart = ((one - other).abs() - _MASKED * torch.minimum(one, other)).clamp_min(0)
    added = ((got + 50) / (wanted + 50)) ** 1.2
    added = torch.where(added < 3, torch.zeros_like(added), added.clamp_max(12))
    weight = ((wanted.sum(-1) + 1e5) / 1e7) ** -0.04  # loud frames of the target forgive more
    total = bands.shape[1] * _STEP
    symmetric = total * (apart.square().sum(-1) * _STEP**2 / total + 1e-9).sqrt()
    asymmetric = (apart * added).sum(-1) * _STEP
    return (0.1 * _pooled(symmetric * weight) + 0.0309 * _pooled(asymmetric * weight)).sum() / len(target)


def _bark_powers(x: torch.Tensor, length: int, sample_rate: int, bands: torch.Tensor) -> torch.Tensor:
    """Powers per Bark : (batch, frames, bands), in units of 0 dB SPL."""
    spectrum = torch.fft.rfft(x.unfold(-1, length, length // 2) * window(length, x))
    power = spectrum.real.square() + spectrum.imag.square()
    low, high = (round(edge * length / sample_rate) for edge in _LEVEL_BAND)
    level = power[..., low:high].sum(-1).mean(-1)[:, None, None]
    return power @ bands * (10 ** (_LEVEL_DB / 10) / (level + 1e-20))


def _bark(length: int, sample_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each bin's share per Bark of each band : (bins, bands), and the hearing threshold of each band : (bands,)."""
    hertz = torch.arange(length // 2 + 1, dtype=torch.float64) * sample_rate / length
    low, high = (_to_bark((hertz + side * sample_rate / length / 2).clamp_min(0)) for side in (-1, 1))
    edges = torch.arange(0, float(_to_bark(hertz[-1])) - _STEP, _STEP, dtype=torch.float64)
    inside = torch.minimum(high[:, None], edges + _STEP) - torch.maximum(low[:, None], edges)
    shares = inside.clamp_min(0) / (high - low)[:, None] / _STEP
    khz = _to_hertz(edges + _STEP / 2) / 1000
    decibels = 3.64 * khz**-0.8 - 6.5 * torch.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    return shares, 10 ** (decibels / 10)


def _to_bark(hertz: torch.Tensor) -> torch.Tensor:
    return 26.81 * hertz / (1960 + hertz)


def _to_hertz(bark: torch.Tensor) -> torch.Tensor:
    return 1960 * bark / (26.81 - bark)


def _equalised(wanted: torch.Tensor, got: torch.Tensor) -> torch.Tensor:
    """The target with the estimate's mean spectrum over frames of speech, within 20 dB: a filter disturbs little."""
    energy = wanted.sum(-1, keepdim=True)
    speech = (energy > 1e-3 * energy.amax(1, keepdim=True)).to(wanted)
    ratio = ((got * speech).mean(1) + 1e3) / ((wanted * speech).mean(1) + 1e3)
    return wanted * ratio.clamp(0.01, 100).unsqueeze(1)


def _frame_gains(got: torch.Tensor, wanted: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """What brings each frame of the estimate to the target's level, smoothed : (batch, frames, 1)."""
    audible = [torch.where(x > threshold, x, torch.zeros_like(x)).sum(-1) for x in (wanted, got)]
    ratio = (audible[0] + 5e3) / (audible[1] + 5e3)
    kernel = 0.8 * 0.2 ** torch.arange(7, -1, -1, dtype=ratio.dtype, device=ratio.device)
    padded = torch.nn.functional.pad(ratio[:, None], (7, 0), mode="replicate")
    smooth = torch.nn.functional.conv1d(padded, kernel[None, None])[:, 0]
    return smooth.clamp(3e-4, 5).unsqueeze(-1)


def _loudness(power: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Sone per Bark; zero below the threshold."""
    above = (0.5 + 0.5 * (power / threshold).clamp_min(1)) ** _ZWICKER - 1
    return _LOUDNESS * (threshold / 0.5) ** _ZWICKER * above


def _pooled(disturbance: torch.Tensor) -> torch.Tensor:
    """(batch, frames) -> (batch,): sixth-power mean within parts, second-power mean over them."""
    parts = disturbance.clamp_max(45).unfold(-1, min(_PART, disturbance.shape[-1]), _PART // 2)
    within = (parts**6).mean(-1) + 1e-9
    return (within ** (1 / 3)).mean(-1).sqrt()
