"""crnn: convolutions over frequency, a recurrent layer over time, and back.

Source: Tan & Wang 2018, "A convolutional recurrent neural network for real-time speech enhancement"; here with a GRU,
and a mask instead of magnitudes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgeenhance.profiles import Profile

from .base import MaskModel
from .layers import Memory, run_gru
from .unet import CausalCoder


class Crnn(MaskModel):
    """crnn: 511,713 parameters. Log magnitudes (257 bins) -> 5 levels -> GRU of 256 -> 5 levels -> 257 gains.

    Causal, latency that of its profile (comm: 32 ms). channels : of the levels · hidden : units of the GRU
    """

    def __init__(
        self, profile: str | Profile = "comm", channels: Sequence[int] = (16, 32, 32, 32, 32), hidden: int = 256,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(profile, "bins", 0, causal=True)
        self.coder = CausalCoder(self.bands, channels)
        width = channels[-1] * self.coder.narrow
        self.gru, self.drop = nn.GRU(width, hidden, batch_first=True), nn.Dropout(dropout)
        self.widen = nn.Linear(hidden, width)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        maps = self.coder.encode(features, memory)
        flat = maps[-1].transpose(1, 2).flatten(2)  # (batch, hops, channels * bins)
        x = self.widen(self.drop(run_gru(self.gru, flat, memory)))
        return self.coder.decode(x.unflatten(2, (-1, self.coder.narrow)).transpose(1, 2), maps)
