"""How fast the chain could be: products and bytes of its stages per hop, over what one core does with either.

A roofline (Williams, Waterman and Patterson 2009). What a core does is measured with NumPy, in the same process: a
matrix product of 64 x 64 (one thread, in the cache) and a copy of 256 kB, in the cache where state and weights lie.
Products are counted as multiply-adds; roots, divisions and logarithms count as eight.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..profiles import Profile

FLOAT = 4  # bytes
TRACKED = 0.59  # share of the bins that tell the direction (csrc/track.c)
SIZE, COPY = 64, 1 << 18


class Work(NamedTuple):
    """Of one hop: multiply-adds, and bytes read and written."""

    products: float
    bytes: float


def chain_work(mics: int, profile: Profile, bands: int, program: int, solve_hops: int) -> dict[str, Work]:
    """Work by the stages of `bench.stages`, one ear. program : bytes of the network's program, one per weight."""
    M, F, N = mics, profile.bins, profile.analysis
    fft, spectrum, matrix = Work(1.25 * N * math.log2(N), 3 * N * FLOAT), 2 * F * FLOAT, M * M * F * FLOAT
    solve = F / solve_hops * (2 / 3 * M**3 + 12 * M**2 + 16 * M)
    track = TRACKED * F * (3.5 * M * M + 8)
    features = 4 * (2 * F + 16 * bands)
    return {
        "analysis, two fixed beams, synthesis": Work(
            (M + 1) * (fft.products + N) + 8 * M * F, (M + 1) * (fft.bytes + 2 * N * FLOAT) + 3 * M * spectrum
        ),
        "noise covariance, MVDR solve": Work(4 * M * M * F + solve + 2 * M * F, 4 * matrix + 3 * M * spectrum),
        "network": Work(program, program),
        "features, following the talker": Work(
            features + track + 16 * M * F, 4 * (F + 2 * bands) * FLOAT + TRACKED * 2 * matrix + 9 * M * spectrum
        ),
    }


def core() -> tuple[float, float]:
    """(multiply-adds, bytes) per second of this core."""
    a, b, out = (np.ones((SIZE, SIZE), np.float32) for _ in range(3))
    source, target = np.ones(COPY, np.uint8), np.ones(COPY, np.uint8)
    return (
        SIZE**3 / _least_seconds(lambda: np.matmul(a, b, out=out)),
        2 * COPY / _least_seconds(lambda: np.copyto(target, source)),
    )


def least_us(work: Work, peak: tuple[float, float], hops: float) -> float:
    """µs for so many hops of it, on a core of `peak`: whichever takes longer, products or bytes."""
    return 1e6 * hops * max(work.products / peak[0], work.bytes / peak[1])


def _least_seconds(call: Callable[[], object]) -> float:
    least = math.inf
    for _ in range(200):
        start = time.perf_counter()
        for _ in range(10):
            call()
        least = min(least, (time.perf_counter() - start) / 10)
    return least
