"""Losses between what the gains make of the beam and the target, by name, and weighted sums of them.

    compressed-spectrum     compressed magnitudes and phases
    mask-irm, mask-ibm, mask-psm    the gains against ideal ones
    si-sdr, estoi           of the overlap-added signals, see models/waveform_losses.py
    pesq                    PESQ's disturbance of the same signals, see models/perceptual_loss.py

`loss` makes a recipe's choice one function of gains, beam and target.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgeenhance.profiles import Profile

from .features import signal
from .perceptual_loss import pesq_disturbance
from .waveform_losses import estoi, si_sdr

COMPRESSION = 0.3  # exponent of the magnitudes: loudness rather than power
MAGNITUDE_SHARE = 0.7  # the rest of the loss also sees the phase
_TINY = 1e-10

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def compressed_spectrum(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compressed magnitudes and phases of E = gains * beam against the target S: 0 .. about 1.

    Mean over bins of 0.7 (|E|^c - |S|^c)^2 + 0.3 | |E|^c e^{j arg E} - |S|^c e^{j arg S} |^2, c = 0.3.
    gains : (batch, hops, bins) >= 0 · beam, target : the same shape, complex64. Each item is scaled by the level of
    its beam, so that quiet recordings weigh as much as loud ones. Gains are real: E has the beam's phase, and with
    G = gains^c the two squares are G^2 P - 2 G Q + R of fixed spectra P, Q, R.
    Source: Braun & Tashev 2020, "Data augmentation and loss normalization for deep noise suppression".
    """
    own, cross, fixed = compressed_terms(beam, target)
    compressed = (gains + 1e-6) ** COMPRESSION
    return (compressed * (compressed * own - 2 * cross) + fixed).mean()


def compressed_terms(beam: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """P = |Y|^2c, Q = |Y|^c |S|^c (0.7 + 0.3 cos(arg Y - arg S)), R = |S|^2c of level-scaled spectra."""
    beam_power, target_power = _power(beam), _power(target)
    level = beam_power.mean((1, 2), keepdim=True) + _TINY
    own, fixed = (beam_power / level) ** COMPRESSION, (target_power / level) ** COMPRESSION
    aligned = beam.real * target.real + beam.imag * target.imag
    cosine = aligned * torch.rsqrt(beam_power * target_power + _TINY * level * level)
    cross = torch.sqrt(own * fixed) * (MAGNITUDE_SHARE + (1 - MAGNITUDE_SHARE) * cosine)
    return own, cross, fixed


def mask_irm(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over bins of (gain - IRM)^2, IRM = sqrt(|S|^2 / (|S|^2 + |Y - S|^2)): 0 .. 1.

    Whatever the beam Y holds beside the target S is noise, late reverberation too. Shapes as compressed_spectrum.
    Source: Wang, Narayanan & Wang 2014, "On training targets for supervised speech separation", eq. 3, beta = 0.5.
    """
    wanted = _power(target)
    mask = (wanted / (wanted + _power(beam - target)).clamp_min(_floor(beam))).sqrt()
    return (gains - mask).square().mean()


def mask_ibm(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over bins of (gain - IBM)^2, IBM = 1 where |S|^2 > |Y - S|^2, else 0: 0 .. 1.

    Shapes and noise as in mask_irm. Source: Wang 2005, "On ideal binary mask as the computational goal of auditory
    scene analysis", local criterion 0 dB.
    """
    mask = (_power(target) > _power(beam - target)).to(gains)
    return (gains - mask).square().mean()


def mask_psm(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over bins of (gain - PSM)^2, PSM = |S| / |Y| cos(arg S - arg Y) cut to 0 .. 1: 0 .. 1.

    Shapes as compressed_spectrum. Source: Erdogan et al. 2015, "Phase-sensitive and recognition-boosted speech
    separation using deep recurrent neural networks", the truncated phase-sensitive filter.
    """
    aligned = beam.real * target.real + beam.imag * target.imag
    mask = (aligned / _power(beam).clamp_min(_floor(beam))).clamp(0, 1)
    return (gains - mask).square().mean()


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _floor(beam: torch.Tensor) -> torch.Tensor:
    """Power per item below which a bin is empty : (batch, 1, 1)."""
    return _TINY * _power(beam).mean((1, 2), keepdim=True) + 1e-30


SPECTRAL = {
    "compressed-spectrum": compressed_spectrum,
    "mask-irm": mask_irm,
    "mask-ibm": mask_ibm,
    "mask-psm": mask_psm,
}
WAVEFORM = {"si-sdr": si_sdr, "estoi": estoi, "pesq": pesq_disturbance}


def terms(choice: str | dict[str, float]) -> dict[str, float]:
    """A recipe's `loss`, one name or {name: weight}, as {name: weight}; ValueError names the losses there are."""
    weights = {choice: 1.0} if isinstance(choice, str) else dict(choice)
    known = [*SPECTRAL, *WAVEFORM]
    if not weights:
        raise ValueError(f"loss is an empty table; give a weight to one of {', '.join(known)}")
    for name, weight in weights.items():
        if name not in known:
            raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(known)}")
        if not weight > 0:
            raise ValueError(f"got weight {weight} for loss {name!r}; give one above 0, or leave the loss out")
    return weights


def loss(choice: str | dict[str, float], profile: Profile) -> Loss:
    """Weighted sum of losses of (gains, beam, target); shapes as compressed_spectrum. choice : see `terms`"""
    weights = terms(choice)
    spectral = [(SPECTRAL[name], weight) for name, weight in weights.items() if name in SPECTRAL]
    waveform = [(WAVEFORM[name], weight) for name, weight in weights.items() if name in WAVEFORM]

    def total(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        parts = [weight * function(gains, beam, target) for function, weight in spectral]
        if waveform:
            estimate, wanted = signal(gains * beam, profile), signal(target, profile)
            parts += [weight * function(estimate, wanted, profile.sample_rate) for function, weight in waveform]
        return sum(parts)

    return total
