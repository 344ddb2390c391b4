"""U-Nets that predict a ratio mask; the mixture's phase is kept.

    unet_mel, unet_irm      2-D, halved four times in time and frequency: not causal
    unet_causal             halved in frequency alone, over the past: streams

Sources: Ronneberger et al. 2015, "U-Net"; Jansson et al. 2017, "Singing voice separation with deep U-Net convolutional
networks". The causal one is laid out as the encoder and decoder of Tan & Wang 2018, "A convolutional recurrent neural
network for real-time speech enhancement", with dilated convolutions in the place of its LSTM.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgeenhance.profiles import Profile

from .base import MaskModel
from .layers import CausalConv2d, Memory


class _Unet(MaskModel):
    """Two 3 x 3 convs per level, max-pools of 2 x 2 down, transposed convs of 2 x 2 up, skips joined."""

    def __init__(self, profile: str | Profile, front: str, bands: int, channels: Sequence[int], dropout: float) -> None:
        super().__init__(profile, front, bands, causal=False)
        self.down = nn.ModuleList(_double(inputs, outputs) for inputs, outputs in zip((1, *channels), channels))
        steps = list(zip(channels[:0:-1], channels[-2::-1]))
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for deep, shallow in steps)
        self.join = nn.ModuleList(_double(2 * shallow, shallow) for _, shallow in steps)
        self.drop, self.decode = nn.Dropout(dropout), nn.Conv2d(channels[0], 1, 1)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        hops, bands, whole = *features.shape[1:], 2 ** len(self.up)
        x = nn.functional.pad(features, (0, -bands % whole, 0, -hops % whole)).unsqueeze(1)
        skips = []
        for level, double in enumerate(self.down):
            x = double(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        x = self.drop(skips.pop())
        for up, join in zip(self.up, self.join):
            x = join(torch.cat([up(x), skips.pop()], 1))
        return torch.sigmoid(self.decode(x))[:, 0, :hops, :bands]


def _double(inputs: int, outputs: int) -> nn.Sequential:
    sizes = ((inputs, outputs), (outputs, outputs))
    return nn.Sequential(
        *(layer for i, o in sizes for layer in (nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()))
    )


class UnetMel(_Unet):
    """unet_mel: 1,943,761 parameters. 40 log-mel bands, channels 16 to 256, 40 sigmoids. Not causal."""

    def __init__(
        self, profile: str | Profile = "comm", bands: int = 40, channels: Sequence[int] = (16, 32, 64, 128, 256),
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(profile, "mel", bands, channels, dropout)


class UnetIrm(_Unet):
    """unet_irm: 1,943,761 parameters. Log magnitudes (257 bins), channels 16 to 256, 257 sigmoids. Not causal.

    Its recipe minimises the squared error against the ideal ratio mask.
    """

    def __init__(
        self, profile: str | Profile = "comm", channels: Sequence[int] = (16, 32, 64, 128, 256), dropout: float = 0.0
    ) -> None:
        super().__init__(profile, "bins", 0, channels, dropout)


class CausalCoder(nn.Module):
    """Frequency halved level by level and doubled again, with skips; the middle is the caller's.

    Down: conv of 2 hops (this one and the last) x 3 bins, stride 2 in frequency, batch norm, ReLU. Up: transposed conv
    of 1 hop x 4 bins, batch norm, ReLU; a sigmoid at the end. The highest bin takes the gain of the one below it.
    """

    def __init__(self, bins: int, channels: Sequence[int]) -> None:
        super().__init__()
        levels = list(zip((1, *channels), channels))
        if (bins - 1) % 2 ** len(levels):
            raise ValueError(
                f"got {len(levels)} levels for {bins} bins, which can be halved {_halvings(bins - 1)} times"
            )
        self.narrow = (bins - 1) >> len(levels)
        self.down = nn.ModuleList(CausalConv2d(i, o, (2, 3), stride=(1, 2), padding=(0, 1)) for i, o in levels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(o) for _, o in levels)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * o, i, (1, 4), stride=(1, 2), padding=(0, 1)) for i, o in reversed(levels)
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(i) for i, _ in levels[:0:-1])

    def encode(self, features: torch.Tensor, memory: Memory) -> list[torch.Tensor]:
        """(batch, hops, bins) -> maps of every level, (batch, channels, hops, bins / 2, 4, ...)."""
        x, maps = features[..., :-1].unsqueeze(1), []
        for conv, norm in zip(self.down, self.norms):
            x = torch.relu(norm(conv(x, memory)))
            maps.append(x)
        return maps

    def decode(self, x: torch.Tensor, maps: list[torch.Tensor]) -> torch.Tensor:
        """What the middle made of the last maps, and all maps -> gains (batch, hops, bins)."""
        for level, up in enumerate(self.up):
            x = up(torch.cat([x, maps[-1 - level]], 1))
            if level < len(self.up_norms):
                x = torch.relu(self.up_norms[level](x))
        gains = torch.sigmoid(x[:, 0])
        return torch.cat([gains, gains[..., -1:]], -1)


def _halvings(number: int) -> int:
    return (number & -number).bit_length() - 1


class UnetCausal(MaskModel):
    """unet_causal: 263,169 parameters. Log magnitudes (257) -> 5 levels -> 3 dilated convs -> 5 levels -> 257 gains.

    Causal, latency that of its profile (comm: 32 ms); hears 19 hops back. channels : of the levels
    """

    dilations = (1, 2, 4)

    def __init__(
        self, profile: str | Profile = "comm", channels: Sequence[int] = (16, 32, 64, 64, 64), dropout: float = 0.0
    ) -> None:
        super().__init__(profile, "bins", 0, causal=True)
        last = channels[-1]
        self.coder = CausalCoder(self.bands, channels)
        self.middle = nn.ModuleList(
            CausalConv2d(last, last, (3, 3), dilation=(step, 1), padding=(0, 1)) for step in self.dilations
        )
        self.norms, self.drop = nn.ModuleList(nn.BatchNorm2d(last) for _ in self.dilations), nn.Dropout(dropout)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        maps = self.coder.encode(features, memory)
        x = maps[-1]
        for conv, norm in zip(self.middle, self.norms):
            x = x + torch.relu(norm(conv(x, memory)))
        return self.coder.decode(self.drop(x), maps)
