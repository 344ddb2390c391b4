"""Quantization-aware training: the loss sees the weights as a 16x8 file will hold them, int8 with a scale per row.

The gradient of the rounded weights moves the float ones (straight-through: Bengio et al. 2013; Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

LEVELS = 127  # int8, symmetric


@contextmanager
@torch.no_grad()
def rounded(network: torch.nn.Module) -> Iterator[None]:
    """Within it the network has rounded weights; afterwards its own again. network : has `weight_rows()`"""
    kept = [(block, block.clone()) for row in network.weight_rows() for block in row]
    for row in network.weight_rows():
        round_rows(row)
    try:
        with torch.enable_grad():
            yield
    finally:
        for block, own in kept:
            block.copy_(own)


def round_rows(blocks: list[torch.Tensor]) -> None:
    """Round (rows, columns) blocks in place; row n of all of them shares one scale, its largest magnitude / 127."""
    largest = torch.stack([block.abs().amax(1) for block in blocks]).amax(0)
    scale = (largest / LEVELS).clamp_min(1e-12).unsqueeze(1)
    for block in blocks:
        block.copy_(torch.round(block / scale) * scale)
