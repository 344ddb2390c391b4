"""Conv-TasNet: a learned basis instead of a spectrum, masked by a temporal convolutional network.

    conv_tasnet             norms over the whole recording, convolutions to both sides
    conv_tasnet_causal      cumulative norms, convolutions over the past: streams

Source: Luo & Mesgarani 2019, "Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech separation",
with one source, ReLU after the encoder, skip connections and sigmoid masks. Recipes train it as the paper does: SI-SNR,
gradients clipped at 5, a plateau schedule.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgeenhance.cells import Cell, muted
from edgeenhance.profiles import Profile

from ..features import signal, spectra
from .base import TextbookModel
from .layers import CausalConv1d, CumulativeNorm, GlobalNorm, Memory, with_past


class _Block(nn.Module):
    """1 x 1 conv, PReLU, norm, dilated depthwise conv, PReLU, norm, 1 x 1 convs to the next block and to the skip."""

    def __init__(
        self, width: int, hidden: int, skip: int, kernel: int, dilation: int, causal: bool, last: bool
    ) -> None:
        super().__init__()
        norm, conv = (CumulativeNorm, CausalConv1d) if causal else (GlobalNorm, nn.Conv1d)
        padding = 0 if causal else (kernel - 1) * dilation // 2
        self.causal = causal
        self.widen = nn.Conv1d(width, hidden, 1)
        self.depthwise = conv(hidden, hidden, kernel, dilation=dilation, groups=hidden, padding=padding)
        self.norms = nn.ModuleList(norm(hidden) for _ in range(2))
        self.bends = nn.ModuleList(nn.PReLU() for _ in range(2))
        self.onward = None if last else nn.Conv1d(hidden, width, 1)
        self.skip = nn.Conv1d(hidden, skip, 1)

    def forward(self, x: torch.Tensor, memory: Memory) -> tuple[torch.Tensor, torch.Tensor]:
        """What the next block gets and what the mask gets."""
        y = self.norms[0](self.bends[0](self.widen(x)), memory)
        y = self.depthwise(y, memory) if self.causal else self.depthwise(y)
        y = self.norms[1](self.bends[1](y), memory)
        return x + self.onward(y) if self.onward else x, self.skip(y)


class ConvTasNet(TextbookModel):
    """conv_tasnet: 378,781 parameters. Windows of 2 ms (32 samples, hop 16), 128 filters, 2 x 7 blocks of 128 channels.

    Not causal. The paper's largest has filters = 512, window = 16, width = 128, hidden = 512, skip = 128, blocks = 8,
    repeats = 3. filters : of the encoder · window : samples, hop window / 2 · width : between blocks · hidden : in them
    skip : channels of the skips · kernel, blocks, repeats : dilations 1, 2, ... 2^(blocks - 1), repeated
    """

    def __init__(
        self, profile: str | Profile = "comm", filters: int = 128, window: int = 32, width: int = 64, hidden: int = 128,
        skip: int = 64, kernel: int = 3, blocks: int = 7, repeats: int = 2,
    ) -> None:  # fmt: skip
        super().__init__(profile)
        self.stride, norm = window // 2, CumulativeNorm if self.causal else GlobalNorm
        self.encoder = nn.Conv1d(1, filters, window, stride=self.stride, bias=False)
        self.decoder = nn.ConvTranspose1d(filters, 1, window, stride=self.stride, bias=False)
        self.norm, self.narrow = norm(filters), nn.Conv1d(filters, width, 1)
        levels = list(range(blocks)) * repeats
        self.blocks = nn.ModuleList(
            _Block(width, hidden, skip, kernel, 2**level, self.causal, last=number == len(levels) - 1)
            for number, level in enumerate(levels)
        )
        self.bend, self.masks = nn.PReLU(), nn.Conv1d(skip, filters, 1)

    def _frames(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Samples with those before them : (batch, n + stride) -> masked frames (batch, filters, n / stride)."""
        encoded = torch.relu(self.encoder(x.unsqueeze(1)))
        y, skips = self.narrow(self.norm(encoded, memory)), 0
        for block in self.blocks:
            y, skip = block(y, memory)
            skips = skips + skip
        return encoded * torch.sigmoid(self.masks(self.bend(skips)))

    def samples(self, x: torch.Tensor) -> torch.Tensor:
        """Enhanced samples : (batch, n), not delayed. Shorter than a window or not whole hops: filled with zeros."""
        n, hop = x.shape[-1], self.stride
        padded = nn.functional.pad(x, (hop, hop + -n % hop))
        return self.decoder(self._frames(padded, Memory()))[:, 0, hop : hop + n]

    def forward(self, spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        enhanced = spectra(self.samples(signal(spectrum, self.profile)), self.profile)
        return torch.ones_like(enhanced.real), enhanced

    @torch.no_grad()
    def enhance(self, x: np.ndarray) -> np.ndarray:
        return self.eval().samples(torch.from_numpy(muted(x))[None])[0].numpy()


class ConvTasNetCausal(ConvTasNet):
    """conv_tasnet_causal: 378,781 parameters, the same layers with cumulative norms and a past alone.

    Causal. Called with chunks of 128 samples; latency 9 ms, of the chunk (8 ms) and half a window (1 ms).
    chunk : samples, whole hops
    """

    causal = True

    def __init__(self, profile: str | Profile = "comm", chunk: int = 128, **sizes: int) -> None:
        super().__init__(profile, **sizes)
        if chunk < self.stride or chunk % self.stride:
            raise ValueError(f"got chunks of {chunk} samples; pass a multiple of half the window, {self.stride}")
        self.cell = Cell("samples", self.profile, chunk, self.stride)

    def step(self, x: torch.Tensor, memory: Memory) -> torch.Tensor:
        """(batch, n) -> (batch, n), whole hops, `stride` samples late."""
        frames = self._frames(with_past(x, self.stride, memory), memory)
        added = self.decoder(frames)[:, 0]  # (batch, n + stride), the last part is not whole
        before = memory.recall(x.new_zeros(x.shape[0], self.stride))
        memory.keep(added[:, -self.stride :])
        head = added[:, : self.stride] + before
        return torch.cat([head, added[:, self.stride : -self.stride]], 1)
