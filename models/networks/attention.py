"""attention_mask: a small causal transformer, every hop looks at the last second.

Sources: Vaswani et al. 2017, "Attention is all you need", with the norms before the sublayers (Xiong et al. 2020);
relative positions are learned biases (Raffel et al. 2020, T5). For speech: Kim et al. 2020, "T-GSA".
"""

from __future__ import annotations

import torch
from torch import nn

from edgeenhance.profiles import Profile

from .base import LOUDER, MaskModel
from .layers import Memory, with_past


class _Attention(nn.Module):
    """Attention of a hop to itself and the `past` hops before : (batch, hops, width). Silence before the beginning."""

    def __init__(self, width: int, heads: int, past: int) -> None:
        super().__init__()
        self.heads, self.past = heads, past
        self.ask, self.tell, self.join = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.position = nn.Parameter(torch.zeros(heads, past + 1))

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        hops = x.shape[1]
        asked = self.ask(x).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (batch, heads, hops, size)
        told = with_past(self.tell(x), self.past, memory, axis=1)  # (batch, past + hops, 2 * width)
        keys, values = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in told.chunk(2, 2))
        scores = asked @ keys.transpose(2, 3) / keys.shape[-1] ** 0.5  # (batch, heads, hops, past + hops)
        near = self._banded(hops, x.device)
        bias = self.position[:, near.clamp(0, self.past)].masked_fill((near < 0) | (near > self.past), -torch.inf)
        mixed = torch.softmax(scores + bias, -1) @ values
        return self.join(mixed.transpose(1, 2).flatten(2))

    def _banded(self, hops: int, device: torch.device) -> torch.Tensor:
        """How many hops ago, for every hop and all that is remembered : (hops, past + hops); negative: to come."""
        ago = torch.arange(hops, device=device).unsqueeze(1) - torch.arange(self.past + hops, device=device)
        return ago + self.past


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, past: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attend, self.drop = _Attention(width, heads, past), nn.Dropout(dropout)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        x = x + self.drop(self.attend(self.norms[0](x), memory))
        return x + self.drop(self.dense(self.norms[1](x)))


class AttentionMask(MaskModel):
    """attention_mask: 209,392 parameters. The device's 64 bands -> 4 layers of width 64, 4 heads -> 64 sigmoids.

    Causal, latency that of its profile (comm: 32 ms); hears 62 hops (comm: 1 s) back per layer.
    """

    def __init__(
        self, profile: str | Profile = "comm", bands: int = 64, width: int = 64, heads: int = 4, layers: int = 4,
        past: int = 62, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(profile, "device", bands, causal=True)
        if width % heads:
            raise ValueError(f"got a width of {width} for {heads} heads; pass a multiple of them")
        self.encode, self.norm = nn.Linear(self.bands, width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Layer(width, heads, past, dropout) for _ in range(layers))
        self.decode = nn.Linear(width, self.bands)
        with torch.no_grad():
            self.encode.weight.mul_(LOUDER)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        x = self.encode(features)
        for layer in self.layers:
            x = layer(x, memory)
        return torch.sigmoid(self.decode(self.norm(x)))
