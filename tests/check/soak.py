"""Hours of audio through the chain, faster than real time: nothing grows, drifts or breaks. Run by `make soak`.

usage: python tests/check/soak.py [HOURS]

An hour of talkers, noise, silence and faults, at six levels and with look, strength and cues changed every 30 s, is
repeated in blocks of ever other sizes. Every hour must sound like the second one, which finds the chain settled: the
same level (0.1 dB) and much the same samples (-40 dB) in every piece, the same greatest weight of the beam (1 %). Where
strength is 0 the output is the reference microphone, `latency` samples late. From the third
hour on the process grows by less than 1 MB.
After `reset` at the end, the first hour comes out once more, bit for bit.
"""

from __future__ import annotations

import hashlib
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeenhance import Enhancer
from edgeenhance.kernel import ffi, lib
from edgeenhance.simulation import synth

RATE = 16000
PIECE = 30  # s
LEVELS = (0, -20, 10, -40, 0, 6)  # dB, ten minutes each
BLOCKS = (37, 64, 160, 1000, 4801, PIECE * RATE)
KEPT = 17  # every so manieth piece is kept, to compare samples
RAMP = RATE // 10  # samples, after which a new strength has arrived


@dataclass
class Hour:
    """What came out: per piece level in dB and SHA-256; samples of some, or how they differ from another hour's, dB;
    greatest part of a weight; error of the delayed input."""

    levels: list[float] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    kept: dict[int, np.ndarray] = field(default_factory=dict)
    changed: float = -np.inf
    weight: float = 0.0
    passed: float = 0.0


def ten_minutes() -> list[np.ndarray]:
    """Pieces of (n, 4) float32: noisy speech, noise alone, silence, a burst, DC, bad samples, a dead microphone."""
    pieces, rng = [], np.random.default_rng(0)
    for number in range(20):
        talker = 0.05 * synth.speech(PIECE, seed=number)[: PIECE * RATE]
        x = talker[:, None] + 0.01 * rng.standard_normal((PIECE * RATE, 4))
        x = {3: x - talker[:, None], 6: 0 * x, 9: x * 15, 11: x + 0.3, 17: x * [1, 1, 0, 1]}.get(number, x)
        if number == 12:
            x[RATE : 2 * RATE] = np.nan
        if number in (14, 15):
            x[rng.integers(0, len(x), 50), rng.integers(0, 4, 50)] = rng.choice([np.nan, np.inf, -np.inf, 1e30], 50)
        pieces.append(x.astype(np.float32))
    return pieces


def settings(number: int) -> dict[str, float]:
    """Look (degrees), strength and cues in the piece of this number in an hour."""
    rng = np.random.default_rng(number)
    strength, cues = rng.choice([1.0, 1.0, 0.5, 0.0]), rng.choice([0.0, 0.0, 0.5])
    return {"look": float(rng.uniform(-60, 60)), "strength": float(strength), "cues": float(cues)}


def largest_weight(enhancer: Enhancer) -> float:
    state, values = enhancer._chain.state, 2 * enhancer.array.mics * enhancer.profile.bins
    weights = np.frombuffer(ffi.buffer(lib.ee_enhancer_weights(state), 4 * values), np.float32)
    return float(np.abs(weights).max())


def delay_error(enhancer: Enhancer, x: np.ndarray, y: np.ndarray) -> float:
    """Largest difference of ear 0 from its microphone `latency` samples ago, in parts of the largest sample."""
    x = np.where(np.abs(x).max(1) <= 1e6, x[:, 0], 0)  # bad frames are muted; NaN is not <=
    wanted = x[RAMP - enhancer.latency : len(x) - enhancer.latency]
    return float(np.abs(y[RAMP:, 0] - wanted).max() / (np.abs(wanted).max() + 1e-9))


def process(enhancer: Enhancer, x: np.ndarray, block: int) -> np.ndarray:
    y = np.empty((len(x), 2), np.float32)
    for at in range(0, len(x), block):
        y[at : at + block] = enhancer.process(x[at : at + block])
    assert np.isfinite(y).all() and np.abs(y).max() <= 2.0  # +6 dB
    return y


def one_hour(
    enhancer: Enhancer, pieces: list[np.ndarray], blocks: np.random.Generator, before: Hour | None = None
) -> Hour:
    """before : the hour to compare samples with; without it they are kept"""
    out = Hour()
    for number in range(len(LEVELS) * len(pieces)):
        x = pieces[number % len(pieces)] * np.float32(10 ** (LEVELS[number // len(pieces)] / 20))
        x = np.where(np.abs(x) < 1e6, np.clip(x, -1, 1), x)
        now = settings(number)
        for name, value in now.items():
            setattr(enhancer, name, value)
        y = process(enhancer, x, int(blocks.choice(BLOCKS)))
        out.levels.append(10 * np.log10(np.mean(np.square(y, dtype=np.float64)) + 1e-12))
        out.digests.append(hashlib.sha256(y.tobytes()).digest())
        out.weight = max(out.weight, largest_weight(enhancer))
        if now["strength"] == 0.0:
            out.passed = max(out.passed, delay_error(enhancer, x, y))
        if number % KEPT == 0 and before:
            out.changed = max(out.changed, difference(y, before.kept[number]))
        elif number % KEPT == 0:
            out.kept[number] = y
    return out


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """dB"""
    return 10 * np.log10(float(np.square(a - b).sum()) / (float(np.square(b).sum()) + 1e-9) + 1e-20)


def resident() -> float:
    """MB"""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def main() -> None:
    hours = max(3, round(float(sys.argv[1]) if len(sys.argv) > 1 else 24.0))
    pieces, blocks = ten_minutes(), np.random.default_rng(1)
    enhancer = Enhancer("bte-2x2", ears="both")
    started, first = time.monotonic(), one_hour(enhancer, pieces, blocks)
    settled, memory = one_hour(enhancer, pieces, blocks), None
    for hour in range(3, hours + 1):
        now = one_hour(enhancer, pieces, blocks, settled)
        drift = np.abs(np.subtract(now.levels, settled.levels)).max()
        memory = memory or resident()
        grown, equal = resident() - memory, np.mean([a == b for a, b in zip(now.digests, settled.digests)])
        print(
            f"{hour} h: level within {drift:.3f} dB, samples within {now.changed:.1f} dB, "
            f"{100 * equal:.0f} % of pieces equal; weights up to {now.weight:.3f}; "
            f"delayed input within {now.passed:.1e}; memory {grown:+.2f} MB; "
            f"{(time.monotonic() - started) / 60:.1f} min",
            flush=True,
        )
        assert drift < 0.1 and now.changed < -40 and grown < 1
        assert abs(now.weight / settled.weight - 1) < 0.01 and now.passed < 1e-5
    enhancer.look, enhancer.strength, enhancer.cues = 0.0, 1.0, 0.0  # as they were at the very start
    enhancer.reset()
    assert one_hour(enhancer, pieces, blocks).digests == first.digests
    print("after reset: the first hour again, bit for bit")


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # the dead microphone is meant
    main()
