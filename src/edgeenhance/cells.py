"""Streams made of hops: what turns blocks of any size into hops, and networks that are called once per hop.

HopStream       n samples in, n samples out, whatever n; a subclass says what happens to a hop
CellStream      a network with explicit states: gains for a spectrum, or samples for samples
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .profiles import Profile
from .stft import Stft

ABSURD = 1e6  # +120 dBFS: such samples are muted like NaN (csrc/internal.h)

Run = Callable[[np.ndarray, Sequence[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]


def muted(x: np.ndarray) -> np.ndarray:
    """One channel as float32, with zeros for NaN, Inf and absurd samples; ValueError for anything else : (n,)."""
    x = np.asarray(x)
    if x.dtype.kind != "f" or x.ndim != 1:
        raise ValueError(f"got {x.dtype} samples of shape {x.shape}; pass floats (n,) of full scale ±1, one channel")
    with np.errstate(over="ignore", invalid="ignore"):
        x = x.astype(np.float32)
        return np.where(np.abs(x) <= ABSURD, x, np.float32(0))


class HopStream(ABC):
    """Blocks of any size of one channel. hop : samples · subclasses say what `_hop` does, and call `_clear`"""

    hop: int

    def _clear(self) -> None:
        """Forget the samples on the way."""
        self._waiting = np.zeros(0, np.float32)
        self._ready = np.zeros(self.hop, np.float32)

    def process(self, x: np.ndarray) -> np.ndarray:
        """x : (n,) floats, full scale ±1, n >= 0 -> (n,) float32."""
        self._waiting = np.concatenate([self._waiting, muted(x)])
        hop, hops = self.hop, len(self._waiting) // self.hop
        done = [self._hop(self._waiting[t * hop : (t + 1) * hop]) for t in range(hops)]
        self._waiting = self._waiting[hops * hop :]
        ready = np.concatenate([self._ready, *done])
        self._ready = ready[len(x) :]
        return ready[: len(x)]

    @abstractmethod
    def _hop(self, samples: np.ndarray) -> np.ndarray:
        """(hop,) float32 -> (hop,)."""


KINDS = ("gains", "samples")


@dataclass(frozen=True)
class Cell:
    """What a network does per call.

    kind : "gains", powers per bin (1, 1, bins) of a hop -> gains (1, 1, bins); "samples", (1, hop) -> (1, hop)
    profile : of the spectra and the sample rate · hop : samples per call
    delay : samples that what comes out is late by, without the wait for a whole hop
    """

    kind: str
    profile: Profile
    hop: int
    delay: int


class CellStream(HopStream):
    """One channel in, one out, in blocks of any size, `latency` samples later.

    cell : what `run` does · run : (frame, states) -> (frame, next states), float32 · states : at the beginning
    Frames with NaN, Inf or absurd samples are muted.
    """

    def __init__(self, cell: Cell, run: Run, states: Sequence[np.ndarray]) -> None:
        self.cell, self.hop, self._run, self._first = cell, cell.hop, run, list(states)
        self.reset()

    @property
    def latency(self) -> int:
        """Samples: output sample t + latency belongs to input sample t."""
        return self.cell.delay + self.hop

    def reset(self) -> None:
        """Forget the signal."""
        self._clear()
        self._states = self._first
        self._stft = Stft(self.cell.profile)

    def _hop(self, samples: np.ndarray) -> np.ndarray:
        return self._masked(samples) if self.cell.kind == "gains" else self._call(samples[None])[0]

    def _masked(self, samples: np.ndarray) -> np.ndarray:
        X = self._stft.analyze(samples)
        gains = self._call((X.real**2 + X.imag**2)[None, None])[0, 0]
        return self._stft.synthesize(X * gains)

    def _call(self, frame: np.ndarray) -> np.ndarray:
        out, self._states = self._run(frame.astype(np.float32, copy=False), self._states)
        return out

    def enhance(self, x: np.ndarray) -> np.ndarray:
        """A whole recording at the cell's sample rate, delay compensated: (n,) floats -> (n,) float32."""
        self.reset()
        return self.process(np.concatenate([muted(x), np.zeros(self.latency, np.float32)]))[self.latency :]
