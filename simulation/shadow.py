"""Shadow filtering: what an enhancer does to speech and to noise, each alone.

The beam's weights and the gains are those that the enhancer chose for the mixture; with them the chain is linear, so
its output is the sum of what it makes of the parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..enhancer import Enhancer
from ..stft import istft_reference, stft_reference

ESTIMATE_SAMPLES = 512  # window of `estimated_shadow`
_MOST = 4.0  # gains that it believes


@dataclass(frozen=True, eq=False)
class Shadow:
    """y : (n,) the enhancer's output · parts : (n,) each, what it lets through of every part; delay compensated
    gains : (hops, F) of the network · weights : (F, M) the beam at the end"""

    y: np.ndarray
    parts: list[np.ndarray]
    gains: np.ndarray
    weights: np.ndarray


def shadow_filter(enhancer: Enhancer, mix: np.ndarray, parts: Sequence[np.ndarray]) -> Shadow:
    """Enhance the mixture, and do to each of its parts what was done to it.

    enhancer : one ear, cues = 0, no bypass, made with block = the hop; it processes the mixture, from the state that it
    is in
    mix : (n, M) float, as the enhancer takes it · parts : (n, M) each, for example speech and noise
    The outputs of parts that sum to the mixture sum to the enhancer's output, but for its limiter.
    """
    profile, reference = enhancer.profile, enhancer.array.ear(enhancer.ears[0])
    if enhancer.block is None or len(enhancer.ears) != 1 or enhancer.cues or enhancer.bypass:
        raise ValueError("shadow_filter needs an Enhancer with block set, one ear, cues = 0 and no bypass")
    n, hops = len(mix), -(-(len(mix) + enhancer.latency) // profile.hop)
    padding = ((0, hops * profile.hop - n), (0, 0))
    mix = np.pad(np.asarray(mix, np.float32), padding)
    y, weights, gains, strength = [], [], [], []
    for hop in mix.reshape(hops, profile.hop, -1):
        y.append(enhancer.process(hop))
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
    return Shadow(np.concatenate(y)[enhancer.latency :][:n], out, g, w[-1].T)


def estimated_shadow(noisy: np.ndarray, output: np.ndarray, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same for systems that cannot be looked into: gains are what made `output` of the noisy microphone.

    noisy, output : (n,), aligned · parts : (n,) each, of the noisy microphone
    Gains are |output| / |noisy| per bin of 32 ms at 16 kHz, at most 12 dB, with the difference of their phases.
    """
    from scipy.signal import istft, stft

    settings = {"nperseg": ESTIMATE_SAMPLES, "noverlap": ESTIMATE_SAMPLES * 3 // 4}
    X, Y = (stft(x, **settings)[2] for x in (noisy, output))
    gains = Y * X.conj() / (np.abs(X) ** 2 + 1e-20)
    gains /= np.maximum(1, np.abs(gains) / _MOST)
    return [istft(gains * stft(part, **settings)[2], **settings)[1][: len(noisy)] for part in parts]
