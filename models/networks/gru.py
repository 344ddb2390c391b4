"""The zoo's networks in the company of the textbooks': one microphone, the other three of their signals silent."""

from __future__ import annotations

import torch
from torch import nn

from edgeenhance.profiles import Profile

from ..network import GruMask
from .base import MaskModel, TextbookModel
from .layers import Memory, run_gru


class OneMicrophone(MaskModel):
    """A GruMask on one microphone, with the features that the device gives it there. Causal."""

    def __init__(self, network: GruMask, profile: str | Profile) -> None:
        super().__init__(profile, "device", network.bands, causal=True)
        self.network = network

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        others = (self.network.signals - 1) * self.bands
        heard = nn.functional.pad(features, (0, others), value=-1.0)
        encoded = torch.tanh(self.network.encode(heard))
        return torch.sigmoid(self.network.decode(run_gru(self.network.gru, encoded, memory)))


def one_microphone(network: nn.Module, profile: str | Profile) -> TextbookModel:
    """Any network as one that takes a microphone's signal."""
    return network if isinstance(network, TextbookModel) else OneMicrophone(network, profile).eval()
