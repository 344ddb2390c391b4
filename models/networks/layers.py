"""Layers with a past: what they remember is taken from a `Memory` and given back to it.

A network runs over a whole recording with an empty memory, or over one hop with the memory of the last: the same code,
so that streaming and offline cannot differ, and an exporter sees states as plain inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

MOST_FRAMES = 2.0**20  # that a cumulative mean counts; longer pasts fade


class Memory:
    """States of the layers in the order in which they run. states : as `next` of the last call; None: the beginning

    first : what the beginning was, for those that ask with zeros to know the shapes · next : states after this call
    """

    def __init__(self, states: Iterable[torch.Tensor] | None = None) -> None:
        self._states = None if states is None else iter(states)
        self.first: list[torch.Tensor] = []
        self.next: list[torch.Tensor] = []

    def recall(self, beginning: torch.Tensor) -> torch.Tensor:
        """The next layer's state, `beginning` at the start."""
        self.first.append(beginning)
        return beginning if self._states is None else next(self._states)

    def keep(self, state: torch.Tensor) -> None:
        """That layer's state after this call; once for every `recall`, in the same order."""
        self.next.append(state)


def with_past(x: torch.Tensor, frames: int, memory: Memory, axis: int = -1) -> torch.Tensor:
    """x behind the `frames` before it along the axis, zeros at the beginning: causal padding."""
    shape = list(x.shape)
    shape[axis] = frames
    joined = torch.cat([memory.recall(x.new_zeros(shape)), x], axis)
    memory.keep(joined.narrow(axis, joined.shape[axis] - frames, frames))
    return joined


class CausalConv1d(nn.Conv1d):
    """Convolution over the past : (batch, channels, frames) -> (batch, out, frames)."""

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        frames = (self.kernel_size[0] - 1) * self.dilation[0]
        return super().forward(with_past(x, frames, memory))


class CausalConv2d(nn.Conv2d):
    """Convolution over the past and over frequency : (batch, channels, frames, bands); stride in frequency only."""

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        frames = (self.kernel_size[0] - 1) * self.dilation[0]
        return super().forward(with_past(x, frames, memory, axis=2))


class CumulativeNorm(nn.Module):
    """Zero mean and unit variance over all channels and frames so far : (batch, channels, frames), gain and offset.

    Source: Luo & Mesgarani 2019, "Conv-TasNet", eqs. 18 and 19 (cLN). After 2^20 frames the past fades.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        spread, own = torch.var_mean(x, 1, correction=0)
        state = memory.recall(x.new_zeros(x.shape[0], 3))  # frames so far, their mean and variance
        before, mean, variance = state[:, 0:1], state[:, 1:2], state[:, 2:3]
        near = torch.where(before > 0, mean, own[:, :1])  # squares of differences from here, so that none cancel
        count = before + torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        means = near + torch.cumsum(own - near, -1) / count
        squares = spread + (own - near).square()
        variances = variance + torch.cumsum(squares - variance, -1) / count - (means - near).square()
        memory.keep(torch.cat([count[:, -1:].clamp(max=MOST_FRAMES), means[:, -1:], variances[:, -1:]], 1))
        scaled = (x - means.unsqueeze(1)) * torch.rsqrt(variances.clamp_min(0) + 1e-8).unsqueeze(1)
        return torch.addcmul(self.offset, self.gain, scaled)


class GlobalNorm(CumulativeNorm):
    """The same over the whole recording (gLN, eq. 16): not causal, remembers nothing."""

    def forward(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        return nn.functional.group_norm(x, 1, self.gain[:, 0], self.offset[:, 0], 1e-8)


def run_lstm(lstm: nn.LSTM, x: torch.Tensor, memory: Memory) -> torch.Tensor:
    """A one-directional LSTM : (batch, frames, inputs) -> (batch, frames, hidden)."""
    zeros = x.new_zeros(lstm.num_layers, x.shape[0], lstm.hidden_size)
    out, following = lstm(x, (memory.recall(zeros), memory.recall(zeros)))
    for state in following:
        memory.keep(state)
    return out


def run_gru(gru: nn.GRU, x: torch.Tensor, memory: Memory) -> torch.Tensor:
    """A one-directional GRU : (batch, frames, inputs) -> (batch, frames, hidden)."""
    out, following = gru(x, memory.recall(x.new_zeros(gru.num_layers, x.shape[0], gru.hidden_size)))
    memory.keep(following)
    return out
