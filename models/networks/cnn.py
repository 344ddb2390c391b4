"""Convolutional networks over spectrogram or cochleagram, and a dense layer to the gains: regression of the ratio mask.

    cnn_0   2 x ((11 x 11 conv, batch norm, leaky ReLU 0.01) x 2, 3 x 3 max-pool) -> dense, leaky ReLU, dropout
    cnn_1   3 x (3 x 3 conv, batch norm, ReLU, 3 x 3 max-pool, stride 2) -> 2 x 3 x 3 conv -> dropout -> dense

Source: the layers of https://github.com/t6nand/source-separation; the idea of Park & Lee 2017, "A fully convolutional
neural network for speech enhancement". Neither is causal: convolutions look as far ahead as back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edgeenhance.profiles import Profile

from .base import MaskModel
from .layers import Memory


def _block(inputs: int, outputs: int, size: int, activation: nn.Module) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, padding="same"), nn.BatchNorm2d(outputs), activation]


class Cnn0(MaskModel):
    """cnn_0: 3,482,160 parameters, on 64 gammatone bands (front = "mel": other bands). Not causal.

    The pools have stride 1, so the network slides over the recording; a hop's gains are dense in the 64 maps of it.
    The gains are a regression, as in dnn_0. filters : of the two blocks
    """

    def __init__(
        self, profile: str | Profile = "comm", front: str = "cochleagram", bands: int = 64,
        filters: Sequence[int] = (121, 64), dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__(profile, front, bands, causal=False)
        first, second = filters
        leaky = nn.LeakyReLU(0.01)
        pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.conv = nn.Sequential(
            *_block(1, first, 11, leaky), *_block(first, first, 11, leaky), pool,
            *_block(first, second, 11, leaky), *_block(second, second, 11, leaky), pool,
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Linear(second * self.bands, self.bands), leaky, nn.Dropout(dropout))

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        maps = self.conv(features.unsqueeze(1))  # (batch, filters, hops, bands)
        gains = self.dense(maps.transpose(1, 2).flatten(2))
        return gains if self.training else gains.clamp(0, 1)


class Cnn1(MaskModel):
    """cnn_1: 842,536 parameters, on 64 gammatone bands (front = "mel": other bands). Not causal.

    Each patch of 16 hops is pooled to 2 hops of 8 bands and yields the gains of its hops. The gains are a regression,
    as in dnn_0. patch : hops, a multiple of 8
    """

    filters = (12, 24, 48)

    def __init__(
        self, profile: str | Profile = "comm", front: str = "cochleagram", bands: int = 64, patch: int = 16,
        dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__(profile, front, bands, causal=False)
        if patch % 8 or bands % 8:
            raise ValueError(f"got patches of {patch} hops of {bands} bands; both are pooled by 8, pass multiples")
        self.patch, last = patch, self.filters[-1]
        layers: list[nn.Module] = []
        for inputs, outputs in zip((1, *self.filters), self.filters):
            layers += [*_block(inputs, outputs, 3, nn.ReLU()), nn.MaxPool2d(3, stride=2, padding=1)]
        self.conv = nn.Sequential(*layers, *_block(last, last, 3, nn.ReLU()), *_block(last, last, 3, nn.ReLU()))
        self.drop = nn.Dropout(dropout)
        self.dense = nn.Linear(last * (patch // 8) * (bands // 8), patch * bands)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        batch, hops, bands = features.shape
        padded = nn.functional.pad(features, (0, 0, 0, -hops % self.patch))
        patches = padded.reshape(-1, 1, self.patch, bands)
        gains = self.dense(self.drop(self.conv(patches).flatten(1))).reshape(batch, -1, bands)[:, :hops]
        return gains if self.training else gains.clamp(0, 1)
