"""MVDR along a whole item, as the device adapts it hop by hop: training sees the beam it will sit behind.

The device updates its noise covariance by its own mask. Here the mask is the ideal one, which costs nothing to know in
training; a block of hops hears the weights that the blocks before it lead to.
"""

from __future__ import annotations

import math

import torch

from edgeenhance.beamform import Mvdr

from .bank import SceneBeams
from .features import Bands

BLOCK_SECONDS = 0.064


def adaptive_beam(
    microphones: torch.Tensor, target: torch.Tensor, beam: torch.Tensor, beams: SceneBeams, bands: Bands, mvdr: Mvdr
) -> torch.Tensor:
    """Output of the adapting MVDR : (hops, bins). microphones : (mics, hops, bins) · target, beam : (hops, bins).

    A = R mics / tr R + prior_weight prior, w = A^-1 d / (d^H A^-1 d), R recursive at the rate (1 - mask)^2.
    """
    rate = _noise_share(target, beam, bands)
    prior = torch.from_numpy(beams.prior)
    block = round(BLOCK_SECONDS * bands.profile.sample_rate / bands.profile.hop)
    covariances = _covariances(microphones, rate, _forget(bands, mvdr), prior, block)
    weights = _mvdr(covariances, mvdr.prior_weight * prior, torch.from_numpy(beams.steering))
    hops = beam.shape[0]
    weights = weights.repeat_interleave(block, 0)[:hops]  # (hops, bins, mics)
    return (weights.conj() * microphones.permute(1, 2, 0)).sum(-1)


def _noise_share(target: torch.Tensor, beam: torch.Tensor, bands: Bands) -> torch.Tensor:
    """(1 - ideal mask)^2 of each hop : (hops, bins)."""
    wanted, rest = bands.power(target), bands.power(beam - target)
    mask = torch.sqrt(wanted / (wanted + rest + 1e-20))
    return (1 - bands.expand(mask)).square()


def _forget(bands: Bands, mvdr: Mvdr) -> float:
    """Share of a hop in the covariance, where all of it is noise."""
    return 1 - math.exp(-bands.profile.hop / bands.profile.sample_rate / mvdr.time_constant)


def _covariances(
    microphones: torch.Tensor, rate: torch.Tensor, forget: float, start: torch.Tensor, block: int
) -> torch.Tensor:
    """Noise covariance at the start of each block of so many hops, `start` at the first : (blocks, bins, mics, mics).

    Within a block the recursion R += a rate (x x^H - R) is replaced by its first order: hops count alike.
    """
    seen = forget * _block_sums(microphones, rate, block)
    decay = torch.exp(-forget * _blocks(rate, block).sum(1))[..., None, None]
    first = microphones[:, 0].real.square() + microphones[:, 0].imag.square()
    current, out = start * first.mean(0)[:, None, None], []
    for kept, added in zip(decay, seen, strict=True):
        out.append(current)
        current = kept * current + added
    return torch.stack(out)


def _block_sums(microphones: torch.Tensor, rate: torch.Tensor, block: int) -> torch.Tensor:
    """Sums of rate * x x^H over each block : (blocks, bins, mics, mics), one pair of microphones after the other."""
    mics = len(microphones)
    weighted, conjugate = microphones * rate, microphones.conj().resolve_conj()
    out = torch.empty(*_blocks(rate, block)[:, 0].shape, mics, mics, dtype=microphones.dtype)
    for row in range(mics):
        for column in range(row + 1):
            out[:, :, row, column] = _blocks(weighted[row] * conjugate[column], block).sum(1)
            out[:, :, column, row] = out[:, :, row, column].conj()
    return out


def _blocks(x: torch.Tensor, block: int) -> torch.Tensor:
    """(hops, bins) -> (blocks, block, bins); what does not fill the last block is filled with zeros."""
    padded = torch.nn.functional.pad(x, (0, 0, 0, -len(x) % block))
    return padded.reshape(-1, block, x.shape[1])


def _mvdr(covariances: torch.Tensor, loading: torch.Tensor, steering: torch.Tensor) -> torch.Tensor:
    """Weights : (blocks, bins, mics). steering : (mics, bins)."""
    mics = covariances.shape[-1]
    trace = covariances.diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
    loaded = covariances * (mics / (trace + 1e-20)) + loading
    d = steering.T.unsqueeze(-1)  # (bins, mics, 1)
    solved = torch.linalg.solve(loaded, d.expand(len(covariances), -1, -1, -1))
    return (solved / (d.mH @ solved)).squeeze(-1)
