"""Dense networks over a window of frames.

    dnn_0   4 x (dense 1024, batch norm, ReLU) -> dense to the bands: regression of the ratio mask
    dnn_1   4 x (dense 2 * inputs, biased sigmoid, batch norm, dropout 10 %) -> dense, biased sigmoid

Sources: Wang, Narayanan & Wang 2014, "On training targets for supervised speech separation"; Xu et al. 2015, "A
regression approach to speech enhancement based on deep neural networks"; the layers of
https://github.com/t6nand/source-separation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from edgeenhance.profiles import Profile

from ..network import SATURATED
from .base import LOUDER, MaskModel
from .layers import Memory, with_past

LEAST_VARIANCE = 0.01  # of a sigmoid: units that hardly move are not blown up, which int8 weights could not hold


class _Context(MaskModel):
    """Frames in windows. past, future : frames before and after the one that the gains are for"""

    def __init__(self, profile: str | Profile, front: str, bands: int, past: int, future: int) -> None:
        super().__init__(profile, front, bands, causal=future == 0)
        self.past, self.future = past, future
        self.inputs = (past + 1 + future) * self.bands

    def window(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        """(batch, hops, bands) -> (batch, hops, inputs), the oldest frame first; silence before and after."""
        begun = with_past(features, self.past, memory, axis=1)
        frames = nn.functional.pad(begun, (0, 0, 0, self.future))
        width, hops = self.past + 1 + self.future, features.shape[1]
        return torch.cat([frames[:, at : at + hops] for at in range(width)], 2)


class Dnn0(_Context):
    """dnn_0: 3,649,576 parameters. Input: 11 frames of 40 log-mel bands (5 before, 5 after), output: 40 gains.

    Causal only with future = 0, where it streams at the latency of its profile (comm: 32 ms); by default it hears five
    frames ahead. The gains are a regression: training sees them as they come, afterwards they are cut to 0..1.
    width : units per layer · layers : of them
    """

    def __init__(
        self, profile: str | Profile = "comm", front: str = "mel", bands: int = 40, past: int = 5, future: int = 5,
        width: int = 1024, layers: int = 4, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(profile, front, bands, past, future)
        sizes = [self.inputs] + [width] * layers
        blocks = [
            [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(dropout)]
            for inputs, outputs in zip(sizes, sizes[1:])
        ]
        self.dense = nn.Sequential(*sum(blocks, []), nn.Linear(width, self.bands))

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        gains = self.dense(self.window(features, memory).flatten(0, 1)).unflatten(0, features.shape[:2])
        return gains if self.training else gains.clamp(0, 1)


class Dnn1(_Context):
    """dnn_1: 545,344 parameters. Input: 3 frames of the device's 64 bands (the last one is now), output: 64 gains.

    Causal, latency that of its profile (comm: 32 ms); with the device's bands and no future frames it runs on the
    device, as a 16x8 file. There a row has at most 516 inputs, fewer where its bias is large: hence three frames.
    beta : added before every sigmoid
    """

    layers = 4
    signals = 1  # of the device's four

    def __init__(
        self, profile: str | Profile = "comm", front: str = "device", bands: int = 64, past: int = 2, future: int = 0,
        beta: float = 1.0, dropout: float = 0.1,
    ) -> None:  # fmt: skip
        super().__init__(profile, front, bands, past, future)
        width = 2 * self.inputs
        sizes = [self.inputs] + [width] * self.layers
        self.beta = beta
        self.dense = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in zip(sizes, sizes[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=LEAST_VARIANCE) for _ in range(self.layers))
        self.drop = nn.Dropout(dropout)
        self.decode = nn.Linear(width, self.bands)
        with torch.no_grad():
            self.dense[0].weight.mul_(LOUDER)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        x = self.window(features, memory).flatten(0, 1)
        for dense, norm in zip(self.dense, self.norms):
            x = self.drop(norm(torch.sigmoid(dense(x) + self.beta)))
        return torch.sigmoid(self.decode(x) + self.beta).unflatten(0, features.shape[:2])

    # ---- on the device, see models/network.py ----

    @property
    def state_sizes(self) -> list[int]:
        """The frames before, the oldest first."""
        return [self.bands] * self.past

    def emit(self, graph: Any, features: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Write one hop into the graph; returns its (gains, next states) tensors."""
        x, mean = graph.concat("window", [*states, features]), 0.0
        layers = self._folded()
        for layer, (weight, bias) in enumerate(layers[:-1]):
            x = graph.sigmoid(graph.dense(f"dense{layer}", x, weight, bias, limit=2 * SATURATED, mean=mean))
            mean = self.norms[layer].running_mean.cpu().numpy()
        gains = graph.sigmoid(graph.dense("decode", x, *layers[-1], limit=SATURATED, mean=mean))
        return gains, [graph.concat(f"past{age}", [frame]) for age, frame in enumerate([*states[1:], features])]

    def _folded(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(weight, bias) of every layer with the batch norm before it and the sigmoid's beta inside, float64."""
        scale, shift, out = 1.0, 0.0, []
        for layer, dense in enumerate([*self.dense, self.decode]):
            weight, bias = (value.detach().cpu().double().numpy() for value in (dense.weight, dense.bias))
            out.append((weight * scale, bias + weight @ np.broadcast_to(shift, weight.shape[1]) + self.beta))
            if layer < self.layers:
                scale, shift = _affine(self.norms[layer])
        return out


def _affine(norm: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray]:
    """A trained batch norm as scale * x + shift."""
    values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    gain, offset, mean, variance = (value.detach().cpu().double().numpy() for value in values)
    scale = gain / np.sqrt(variance + norm.eps)
    return scale, offset - mean * scale
