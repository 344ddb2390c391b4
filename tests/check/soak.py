"""Hours of audio through the chain, faster than real time: nothing grows, drifts or breaks. Run by `make soak`.

usage: python tests/check/soak.py [HOURS]

Ten minutes of talkers, noise, silence and faults are made once and repeated. After the first pass has settled the
chain, every pass must give the same level within 0.5 dB and the process must not grow.
"""

import resource
import sys
import warnings

import numpy as np

from edgeenhance import Enhancer
from edgeenhance.simulation import synth

RATE = 16000
PIECE = 30  # s


def ten_minutes() -> list[np.ndarray]:
    """Pieces of (n, 4) float32: noisy speech, noise alone, silence, a burst, NaNs, a dead microphone."""
    pieces, rng = [], np.random.default_rng(0)
    for number in range(20):
        talker = 0.05 * synth.speech(PIECE, seed=number)[: PIECE * RATE]
        x = talker[:, None] + 0.01 * rng.standard_normal((PIECE * RATE, 4))
        x = {3: x - talker[:, None], 6: 0 * x, 9: x * 15, 17: x * [1, 1, 0, 1]}.get(number, x)
        if number == 12:
            x[RATE : 2 * RATE] = np.nan
        pieces.append(np.clip(x, -1, 1).astype(np.float32))
    return pieces


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 24.0
    pieces, enhancer = ten_minutes(), Enhancer("bte-2x2", ears="both")
    levels, memory = [], []
    for turn in range(max(3, round(hours * 6))):
        outputs = [enhancer.process(x) for x in pieces]
        assert all(np.isfinite(y).all() for y in outputs)
        levels.append([10 * np.log10(np.mean(y**2) + 1e-20) for y in outputs])
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        drift = np.abs(np.array(levels[1:]) - levels[1]).max() if turn else 0.0
        print(f"{(turn + 1) / 6:6.2f} h   drift {drift:.3f} dB   memory {memory[-1]:.0f} MB", flush=True)
        assert drift < 0.5 and memory[-1] < memory[min(turn, 1)] + 20


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # the dead microphone is meant
    main()
