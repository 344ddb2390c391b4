"""Latency profiles: how long the windows are, and so how late the speech is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Profile:
    """Window lengths of a latency profile.

    sample_rate : Hz · analysis, synthesis : samples, powers of two; hop = synthesis / 2
    """

    name: str
    sample_rate: int
    analysis: int
    synthesis: int

    @property
    def hop(self) -> int:
        """Samples from one spectrum to the next."""
        return self.synthesis // 2

    @property
    def bins(self) -> int:
        """Of a spectrum, from 0 Hz to half the sample rate."""
        return self.analysis // 2 + 1

    @property
    def freqs(self) -> np.ndarray:
        """Bin centres : (bins,) Hz."""
        return np.arange(self.bins) * (self.sample_rate / self.analysis)


PROFILES = {
    "assist": Profile("assist", 16000, 512, 128),  # 8 ms: hearing aids, hearables
    "comm": Profile("comm", 16000, 512, 512),  # 32 ms: calls, voice interfaces
}
"""The profiles there are, by name."""


def profile(name: str | Profile) -> Profile:
    """The profile of that name; ValueError lists the names there are."""
    if isinstance(name, Profile):
        return name
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]
