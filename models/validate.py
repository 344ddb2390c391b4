"""Validation on fixed mixtures of unheard talkers: the loss, and ESTOI, PESQ and SI-SDR of the enhanced speech.

The reference is the target's direct + early part. Scores of the beam alone stand beside the network's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import torch

from .data import Mixtures
from .features import signal
from .network import hear

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class ValidationSet:
    """`items` first items of a data set, kept in memory, and the beam's own scores."""

    def __init__(self, data: Mixtures, items: int, loss: Loss) -> None:
        self._bands, self._loss = data.bands, loss
        self._items = [data[index] for index in range(items)]
        self._beam = self._scores(None)

    def scores(self, network: torch.nn.Module) -> dict[str, float | None]:
        """Means over the items: loss, estoi, pesq, si_sdr, and beam_estoi, ... of the beam alone; None: unknown."""
        return {**self._scores(network), **{f"beam_{name}": value for name, value in self._beam.items()}}

    def _scores(self, network: torch.nn.Module | None) -> dict[str, float | None]:
        rows = [self._score(network, item) for item in self._items]
        return {name: _mean([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def _score(self, network: torch.nn.Module | None, item: dict[str, torch.Tensor]) -> dict[str, float]:
        gains, spectrum = self._heard(network, item)
        reference = signal(item["target"], self._bands.profile).numpy()
        degraded = signal(gains * spectrum, self._bands.profile)[0].numpy()
        loss = self._loss(gains, spectrum, item["target"][None])
        return {"loss": float(loss), **speech_scores(reference, degraded, self._bands.profile.sample_rate)}

    def _heard(self, network: torch.nn.Module | None, item: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """Gains and spectrum, (1, hops, bins), on the CPU; gains of 1 without a network."""
        features, beam = item["features"][None], item["beam"][None]
        if network is None:
            return [torch.ones_like(beam.real), beam]
        device = next(network.parameters()).device
        return [x.cpu() for x in hear(network, self._bands, features.to(device), beam.to(device))]


def _mean(values: list[float]) -> float | None:
    """Mean of what could be computed, None where nothing could."""
    known = [value for value in values if not math.isnan(value)]
    return round(sum(known) / len(known), 5) if known else None


def speech_scores(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> dict[str, float]:
    """estoi, pesq (wide band), si_sdr (dB) of (n,) signals; NaN where a score cannot be computed."""
    return {
        "estoi": _estoi(reference, degraded, sample_rate),
        "pesq": _pesq(reference, degraded, sample_rate),
        "si_sdr": si_sdr(reference, degraded),
    }


def _estoi(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    from pystoi import stoi

    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        value = float(stoi(reference, degraded, sample_rate, extended=True))
    return math.nan if raised else value


def _pesq(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    import pesq

    try:
        return float(pesq.pesq(sample_rate, reference, degraded, "wb"))
    except pesq.PesqError:
        return math.nan


def si_sdr(reference: np.ndarray, degraded: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio, dB (Le Roux et al. 2019); NaN for silence."""
    energy = float(reference @ reference)
    if energy == 0.0:
        return math.nan
    projected = reference * (float(degraded @ reference) / energy)
    residual = float(np.sum(np.square(degraded - projected)))
    return 10 * math.log10(max(float(projected @ projected), 1e-20) / max(residual, 1e-20))
