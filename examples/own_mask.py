"""A mask of one's own in place of the network: what the beam has more of than its null passes.

A mask needs `profile`, `centers`, `reset` and `step`. Features are log2 band powers in steps of `FEATURE_OCTAVES`, of
four signals: beam, noise reference (the null), delay-and-sum beam, mean microphone. Gains go from 0 to 32767.
"""

import numpy as np

from edgeenhance import PROFILES, enhance
from edgeenhance.bands import FEATURE_OCTAVES, band_centers
from edgeenhance.simulation.metrics import pesq
from edgeenhance.simulation.scene import draw


class NullMask:
    """Wiener gains, the noise reference's power taken for the noise's."""

    name, profile = "null", "assist"

    def __init__(self) -> None:
        self.centers = band_centers(32, PROFILES[self.profile])

    def reset(self) -> None:
        """Nothing is remembered from hop to hop."""

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop. features : (4 * bands,) int16 · gains : (bands,) int16, written"""
        beam, null = (features * FEATURE_OCTAVES).reshape(4, -1)[:2]
        gains[:] = 32767 / (1 + np.exp2(null - beam))


scene = draw(
    {
        "seed": 1,
        "duration_s": 4.0,
        "snr_db": 0.0,
        "array": {"name": "bte-2x2"},
        "talkers": [{"distance_m": 1.0}],
        "diffuse": {"kind": "babble"},
    }
)
sound = scene.render()
for name, mask in {
    "beam alone": "none",
    "own mask": NullMask(),
    "log-mmse": "log-mmse",
    "assist-m": "assist-m",
}.items():
    print(f"{name:10}  PESQ {pesq(sound.early, enhance(sound.mix, 16000, scene.array, model=mask)):.2f}")
