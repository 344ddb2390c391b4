"""What the textbook networks have in common: one microphone at 16 kHz in, one enhanced signal out.

TextbookModel       spectra in, gains and spectra out; whole recordings, streams
MaskModel           those that multiply the spectrum with gains: spectral front end -> network -> mask
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from edgeenhance.cells import Cell, CellStream, muted
from edgeenhance.profiles import Profile
from edgeenhance.profiles import profile as profile_named

from ..features import signal, spectra
from .front import FRONTS, LogPowers
from .layers import Memory

_CHUNK = 512  # hops of a recording at a time, where the network has a memory
LOUDER = 4.0  # features spread by about 0.25; weights times this start the first layer at 1, and learning is faster


class TextbookModel(nn.Module, ABC):
    """A network with the way into it and out of it.

    causal : nothing before a hop depends on what comes after it. Only then it streams: it has a `cell`, and a
    step(frame, memory) that takes frames as the cell describes them, any number of hops at once
    profile : of its spectra
    """

    causal = False
    cell: Cell

    def __init__(self, profile: str | Profile) -> None:
        super().__init__()
        self.profile = profile_named(profile)

    @abstractmethod
    def forward(self, spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gains >= 0 and the spectrum to apply them to, both (batch, hops, bins). spectrum : that shape, complex."""

    @abstractmethod
    def enhance(self, x: np.ndarray) -> np.ndarray:
        """A whole recording at the profile's sample rate, not delayed: (n,) floats -> (n,) float32. Calls `eval`."""

    def first_frame(self) -> torch.Tensor:
        """Silence, as `step` takes it in a stream."""
        return torch.zeros((1, 1, self.profile.bins) if self.cell.kind == "gains" else (1, self.cell.hop))

    @torch.no_grad()
    def first_states(self) -> list[torch.Tensor]:
        """States at the beginning of a stream, in the order of `step`."""
        memory = Memory()
        self.step(self.first_frame(), memory)
        return [state.clone() for state in memory.first]  # an exporter takes equal objects for one input

    def stepped(self, frame: torch.Tensor, states: Iterable[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """`step` with states as plain values: what comes out, and the next states."""
        memory = Memory(states)
        return self.step(frame, memory), *memory.next

    def stream(self) -> CellStream:
        """The network as a stream, blocks of any size; ValueError where it is not causal. Calls `eval`."""
        if not self.causal:
            raise ValueError(f"{type(self).__name__} is not causal: it hears whole recordings, with enhance")

        @torch.no_grad()
        def run(frame, states):
            out, *following = self.stepped(torch.from_numpy(frame), map(torch.from_numpy, states))
            return out.numpy(), [state.numpy() for state in following]

        self.eval()
        return CellStream(self.cell, run, [state.numpy() for state in self.first_states()])


class MaskModel(TextbookModel):
    """Gains per band from log powers; the mixture's phase is kept. front : a name of FRONTS, and its bands"""

    def __init__(self, profile: str | Profile, front: str, bands: int, causal: bool) -> None:
        super().__init__(profile)
        if front not in FRONTS:
            raise ValueError(f"unknown front end {front!r}; choose one of {', '.join(FRONTS)}")
        if causal and front == "cochleagram":
            raise ValueError("a cochleagram is taken of whole signals; a causal network takes another front end")
        self.front = FRONTS[front](bands, self.profile)
        self.bands, self.causal = self.front.bands, causal
        self.features = LogPowers(self.profile, causal)
        if causal:
            self.cell = Cell("gains", self.profile, self.profile.hop, self.profile.synthesis - self.profile.hop)

    @abstractmethod
    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Gains per band from features, both (batch, hops, bands)."""

    def step(self, power: torch.Tensor, memory: Memory) -> torch.Tensor:
        """Gains per bin from powers per bin, both (batch, hops, bins)."""
        return self.front.expand(self.mask(self.features(self.front(power), memory), memory))

    def forward(self, spectrum: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.step(self.front.power(spectrum), Memory()), spectrum

    @torch.no_grad()
    def enhance(self, x: np.ndarray) -> np.ndarray:
        self.eval()
        hop = self.profile.hop
        padded = nn.functional.pad(torch.from_numpy(muted(x)), (0, hop + -len(x) % hop))  # the last hop is partial
        spectrum = spectra(padded, self.profile)[None]
        power = self.front.power(spectrum)
        parts, states = [], None
        for part in power.split(_CHUNK if self.causal else len(x) + 1, 1):
            memory = Memory(states)
            parts.append(self.step(part, memory))
            states = memory.next
        return signal(spectrum * torch.cat(parts, 1), self.profile)[0, : len(x)].numpy()
