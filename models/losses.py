"""Losses between what the gains make of the beam and the target, by name."""

from __future__ import annotations

import torch

COMPRESSION = 0.3  # exponent of the magnitudes: loudness rather than power
MAGNITUDE_SHARE = 0.7  # the rest of the loss also sees the phase
_TINY = 1e-10


def compressed_spectrum(gains: torch.Tensor, beam: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compressed magnitudes and phases of E = gains * beam against the target S.

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


def _power(spectrum: torch.Tensor) -> torch.Tensor:
    return spectrum.real.square() + spectrum.imag.square()


LOSSES = {"compressed-spectrum": compressed_spectrum}


def loss(name: str):
    """The loss of that name; ValueError lists the names there are."""
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    return LOSSES[name]
