"""Loudness of a recording in LUFS, and the gain that brings it to another one: ITU-R BS.1770-4, one channel.

A sine of 997 Hz at full scale has −3.01 LUFS.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import sosfilt

from ...spectrograms import frames

_BLOCK_S, _STEP_S = 0.4, 0.1
_SILENCE_LUFS, _RELATIVE_LU = -70.0, -10.0  # the two gates


def loudness(x: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness, LUFS: blocks of 400 ms above −70 LUFS, and of those the ones above their mean less 10 LU.

    x : (n,) full scale ±1; a signal shorter than a block counts as one · −inf where no block is above −70 LUFS
    """
    x = np.asarray(x, float)
    if not len(x):
        return -np.inf
    size = min(round(_BLOCK_S * sample_rate), len(x))
    weighted = sosfilt(k_weighting(sample_rate), x)
    power = np.mean(frames(weighted, size, round(_STEP_S * sample_rate)) ** 2, axis=1)
    power = power[power > _power(_SILENCE_LUFS)]
    if not len(power):
        return -np.inf
    power = power[power > power.mean() * 10 ** (_RELATIVE_LU / 10)]
    return float(-0.691 + 10 * np.log10(power.mean()))


def _power(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def k_weighting(sample_rate: int) -> np.ndarray:
    """Second-order sections (2, 6): a shelf of +4 dB above 1.7 kHz, for the head, and a high-pass at 38 Hz.

    BS.1770 has coefficients for 48 kHz; these are their analogue prototypes by the bilinear transform at any rate, as
    in B. De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145 (2018).
    """
    return np.stack(
        [_shelf(1681.974, 3.99984385, 0.70717524, sample_rate), _high_pass(38.13547, 0.50032704, sample_rate)]
    )


def _shelf(hertz: float, gain_db: float, q: float, sample_rate: int) -> np.ndarray:
    k, high = np.tan(np.pi * hertz / sample_rate), 10 ** (gain_db / 20)
    band, scale = high**0.4996667741545416, 1 + k / q + k * k
    b = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k])
    return np.concatenate([b, [scale, 2 * (k * k - 1), 1 - k / q + k * k]]) / scale


def _high_pass(hertz: float, q: float, sample_rate: int) -> np.ndarray:
    k = np.tan(np.pi * hertz / sample_rate)
    scale = 1 + k / q + k * k
    return np.array([1, -2, 1, 1, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale])
