"""The chain as the device runs it, along a whole item: training sees the beam and the features it will sit behind.

The kernel adapts its beam by the network's gains. Here they are the ideal ones, raised to a power: below 1 a network
that suppresses too little, above 1 one that suppresses too much.
"""

from __future__ import annotations

import numpy as np

from edgeenhance.bands import SIGNALS
from edgeenhance.beamform import Mvdr
from edgeenhance.chain import Chain
from edgeenhance.profiles import PROFILES

from .bank import SceneBeams
from .features import Bands

FULL = 32767  # Q15


class IdealMask:
    """A mask that knows the target, and keeps what the kernel showed it.

    target : (hops, bins) complex64 · power : of the ideal gains
    features, beam : (hops, 4 * bands) int16, (hops, bins) complex64
    shown : (hops,) bool, False where the kernel did not ask (silence, bursts)
    """

    def __init__(self, target: np.ndarray, bands: Bands, power: float) -> None:
        self.profile, self.centers = bands.profile.name, bands.centers
        self._target, self._mean, self._power = target, bands.mean, power
        self._wanted = np.square(np.abs(target)) @ self._mean
        self.features = np.zeros((len(target), SIGNALS * len(self.centers)), np.int16)
        self.beam = np.zeros(target.shape, np.complex64)
        self.shown = np.zeros(len(target), bool)
        self.chain: Chain | None = None  # the one that calls, while it runs

    def reset(self) -> None:
        """Nothing to forget: an item is heard once."""

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop: what `edgeenhance.chain.Mask` asks for."""
        hop = self.chain.status.hops
        self.features[hop], self.beam[hop], self.shown[hop] = features, self.chain.beam, True
        wanted = self._wanted[hop]
        rest = np.square(np.abs(self.beam[hop] - self._target[hop])) @ self._mean
        gains[:] = FULL * (wanted / (wanted + rest + 1e-20)) ** (0.5 * self._power)


def adapt(microphones: np.ndarray, mask: IdealMask, beams: SceneBeams, reference: int, mvdr: Mvdr) -> None:
    """Run the kernel's MVDR over an item; `mask` keeps the result. microphones : (n, mics) float32, whole hops"""
    profile = PROFILES[mask.profile]
    tables = beams.tables(reference)
    mask.chain = Chain(profile, microphones.shape[1], [reference], tables, mask.centers, mvdr, mask, aligned=True)
    mask.chain.process(microphones)
    mask.chain = None
