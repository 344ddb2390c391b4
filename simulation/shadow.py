"""Shadow filtering: what an enhancer does to speech and to noise, each alone.

The beam's weights and the gains are those that the enhancer chose for the mixture; with them the chain is linear, so
its output is the sum of what it makes of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..enhancer import Enhancer
from ..stft import istft_reference, stft_reference


def shadow_filter(enhancer: Enhancer, mix: np.ndarray, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the enhancer lets through of each part of the mixture : (n,) float64 each, delay compensated.

    enhancer : new or reset, one ear, cues = 0, made with block = the hop; it processes the mixture
    mix : (n, M) float, as the enhancer takes it · parts : (n, M) each, for example speech and noise
    The outputs of parts that sum to the mixture sum to the enhancer's output, but for its limiter.
    """
    profile, reference = enhancer.profile, enhancer.array.ear(enhancer.ears[0])
    if enhancer.block is None or len(enhancer.ears) != 1 or enhancer.cues:
        raise ValueError("shadow_filter needs an Enhancer with block set, one ear and cues = 0")
    n, hops = len(mix), -(-(len(mix) + enhancer.latency) // profile.hop)
    padding = ((0, hops * profile.hop - n), (0, 0))
    mix = np.pad(np.asarray(mix, np.float32), padding)
    weights, gains, strength = [], [], []
    for hop in mix.reshape(hops, profile.hop, -1):
        enhancer.process(hop)
        chain = enhancer._chain
        weights.append(chain.weights)
        gains.append(chain.gains)
        strength.append(chain.status.strength)
    w, g, s = np.stack(weights), np.stack(gains), np.array(strength)[:, None]
    out = []
    for part in parts:
        X = np.stack([stft_reference(x, profile) for x in np.pad(np.asarray(part, float), padding).T], 1)
        Y = s * g * np.einsum("tmf,tmf->tf", w.conj(), X) + (1 - s) * X[:, reference]
        out.append(istft_reference(Y, profile)[enhancer.latency :][:n])
    return out
