"""Quantization-aware training: the loss sees the weights, and for int8 the activations, as the file will hold them.

Gradients pass the rounding as if it were not there (straight-through: Bengio et al. 2013; Jacob et al. 2018,
"Quantization and training of neural networks for efficient integer-arithmetic-only inference").

    16x8    weights int8, one scale per row; int16 activations are as good as float
    int8    that, and the rows of numbers that go into and come out of the matrix products (docs/model-format.md).
            What a GRU does between its hops is one kernel of torch and stays float: states and gates are not rounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .graph import HEADROOM
from .network import SATURATED

LEVELS = 127  # int8, symmetric
ROUNDINGS = ("16x8", "int8")


@contextmanager
@torch.no_grad()
def rounded(network: torch.nn.Module, kind: str = "16x8") -> Iterator[None]:
    """Within it the network computes with rounded numbers; afterwards it has its own weights again.

    network : has `weight_rows()` · kind : one of ROUNDINGS
    """
    kept = [(block, block.clone()) for row in network.weight_rows() for block in row]
    for row in network.weight_rows():
        round_rows(row)
    hooks = _round_activations(network) if kind == "int8" else []
    try:
        with torch.enable_grad():
            yield
    finally:
        for hook in hooks:
            hook.remove()
        for block, own in kept:
            block.copy_(own)


def round_rows(blocks: list[torch.Tensor]) -> None:
    """Round (rows, columns) blocks in place; row n of all of them shares one scale, its largest magnitude / 127."""
    largest = torch.stack([block.abs().amax(1) for block in blocks]).amax(0)
    scale = (largest / LEVELS).clamp_min(1e-12).unsqueeze(1)
    for block in blocks:
        block.copy_(torch.round(block / scale) * scale)


def round_values(x: torch.Tensor, limit: float) -> torch.Tensor:
    """x as int8 holds it: multiples of limit / 128 from -limit to 127/128 limit. The gradient is that of x."""
    step = limit / 128
    return x + (torch.round(x / step).clamp(-128, 127) * step - x).detach()


def reach(x: torch.Tensor) -> float:
    """Full scale of a product's int8 result, as the writer calibrates it: a power of two, at most SATURATED."""
    largest = max(float(x.detach().abs().max()) * HEADROOM, 1e-3)
    return min(2.0 ** math.ceil(math.log2(largest)), SATURATED)


def _round_activations(network: torch.nn.Module) -> list[Any]:
    """Hooks that round what goes into the network's layers, and what comes out of its dense ones."""
    hooks = []
    for layer in network.modules():
        if isinstance(layer, (torch.nn.Linear, torch.nn.GRU)):
            hooks.append(layer.register_forward_pre_hook(lambda _, x: (round_values(x[0], 1.0), *x[1:])))
        if isinstance(layer, torch.nn.Linear):
            hooks.append(layer.register_forward_hook(lambda _, __, y: round_values(y, reach(y))))
    return hooks
