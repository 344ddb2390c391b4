"""One recording of a corpus: is it fit for use (`examine`), and what is made of it (`conditioned`)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ...errors import EdgeEnhanceError
from ...spectrograms import frames
from ..render import speaking
from ..signal_measures import clipping_ratio
from .loudness import loudness
from .store import read_sound

SILENT_DBFS = -60.0  # no 20 ms of a silent recording are louder
PEAK = 0.99  # no prepared sample is larger
_ORDER = 4  # of each Butterworth filter; forwards and backwards doubles it
_MARGIN_S = 0.1  # kept around what is not silence


@dataclass(frozen=True)
class Conditions:
    """What `edgeenhance data prepare` makes of a recording, and what it refuses.

    rate : Hz · channel : from 1; 0 takes the mean of all · trim : cut silence off both ends
    highpass, lowpass : Hz, 0 for none · loudness_lufs, peak_dbfs : level to bring it to, one of them or None
    clipped : largest share of clipped samples · min_seconds : of what is left
    ValueError for settings that contradict each other.
    """

    rate: int = 16000
    channel: int = 0
    trim: bool = False
    highpass: float = 0.0
    lowpass: float = 0.0
    loudness_lufs: float | None = None
    peak_dbfs: float | None = None
    clipped: float = 0.001
    min_seconds: float = 0.3

    def __post_init__(self) -> None:
        half = self.rate / 2
        for name, hertz in (("highpass", self.highpass), ("lowpass", self.lowpass)):
            if not 0 <= hertz < half:
                raise ValueError(f"{name} must lie below half the sample rate, {half:g} Hz, got {hertz:g} Hz")
        if self.highpass and self.lowpass and self.highpass >= self.lowpass:
            raise ValueError(f"nothing passes between highpass {self.highpass:g} and lowpass {self.lowpass:g} Hz")
        if self.loudness_lufs is not None and self.peak_dbfs is not None:
            raise ValueError("give a loudness or a peak to normalise to, not both")
        if not all(-90 <= level <= 0 for level in (self.loudness_lufs or 0, self.peak_dbfs or 0)):
            raise ValueError("levels are in LUFS or dBFS, -90 to 0")
        if not (0 <= self.clipped <= 1 and 0 <= self.min_seconds < np.inf):
            raise ValueError(
                f"clipped is a share of samples, 0 to 1, and min_seconds 0 or more, got {self.clipped:g} and "
                f"{self.min_seconds:g}"
            )


def examine(path: Path, conditions: Conditions) -> dict[str, Any]:
    """Facts of a file: rate, channels, seconds, sha256 of its samples; or only the reason why it is refused."""
    try:
        x, rate = read_sound(path)
        if not len(x):
            raise EdgeEnhanceError("zero length")
        _check_fitness(x, rate, conditions)
    except EdgeEnhanceError as error:
        return {"reason": str(error)}
    sha256 = hashlib.sha256(np.ascontiguousarray(x)).hexdigest()
    return {"rate": rate, "channels": x.shape[1], "seconds": round(len(x) / rate, 3), "sha256": f"{sha256}-{rate}"}


def _check_fitness(x: np.ndarray, rate: int, conditions: Conditions) -> None:
    if not np.isfinite(x).all():
        raise EdgeEnhanceError("NaN or Inf samples")
    if rate < conditions.rate:
        raise EdgeEnhanceError(f"sample rate {rate} Hz, less than {conditions.rate} Hz")
    x = pick(x, conditions.channel)
    if (level := _loudest_dbfs(x, rate)) < SILENT_DBFS:
        raise EdgeEnhanceError(f"silent: at most {level:.0f} dBFS")
    if (share := clipping_ratio(x)) > conditions.clipped:
        raise EdgeEnhanceError(f"clipped: {100 * share:.2g} % of its samples")


def pick(x: np.ndarray, channel: int) -> np.ndarray:
    """One channel (n,), from 1, or the mean of all for 0; EdgeEnhanceError where there is no such channel."""
    if channel > x.shape[1]:
        raise EdgeEnhanceError(f"no channel {channel}: it has {x.shape[1]}")
    return x[:, channel - 1] if channel else x.mean(axis=1)


def _loudest_dbfs(x: np.ndarray, rate: int) -> float:
    """RMS of the loudest 20 ms, its mean left out."""
    size = min(rate // 50, len(x))
    power = frames(x, size, size).var(axis=1).max()
    return float(10 * np.log10(power + 1e-12))


def conditioned(x: np.ndarray, rate: int, conditions: Conditions) -> np.ndarray:
    """A recording (n, channels) as `conditions` want it : (m,) int16. EdgeEnhanceError where too little is left.

    Channel, rate, filter, silence, level, in this order; a level that would clip becomes the highest that does not.
    """
    x = pick(x, conditions.channel)
    x = filtered(resampled(x, rate, conditions.rate), conditions)
    x = trimmed(x, conditions.rate) if conditions.trim else x
    if len(x) < conditions.min_seconds * conditions.rate:
        raise EdgeEnhanceError(
            f"short: {len(x) / conditions.rate:.2f} s of sound, less than {conditions.min_seconds:g} s"
        )
    return to_int16(x * _gain(x, conditions))


def resampled(x: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """(n,) at another rate."""
    import soxr

    return x if rate_in == rate_out else soxr.resample(x, rate_in, rate_out)


def filtered(x: np.ndarray, conditions: Conditions) -> np.ndarray:
    """Through Butterworth filters of order 4, forwards and backwards: no delay, −6 dB at the edges. x : (n,)"""
    for kind, hertz in (("highpass", conditions.highpass), ("lowpass", conditions.lowpass)):
        if hertz:
            sos = butter(_ORDER, hertz, kind, fs=conditions.rate, output="sos")
            x = sosfiltfilt(sos, x, padlen=min(len(x) - 1, conditions.rate // 4))
    return x


def trimmed(x: np.ndarray, rate: int) -> np.ndarray:
    """Without the ends that are more than 35 dB below the loudest 20 ms; 0.1 s of them stay. x : (n,)"""
    loud = np.flatnonzero(speaking(x, rate))
    margin = round(_MARGIN_S * rate)
    return x[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def _gain(x: np.ndarray, conditions: Conditions) -> float:
    peak = float(np.abs(x).max())
    if peak == 0:
        raise EdgeEnhanceError("silent: nothing is left behind the filter")
    gain = 1.0
    if conditions.loudness_lufs is not None and np.isfinite(before := loudness(x, conditions.rate)):
        gain = 10 ** ((conditions.loudness_lufs - before) / 20)
    if conditions.peak_dbfs is not None:
        gain = 10 ** (conditions.peak_dbfs / 20) / peak
    return min(gain, PEAK / peak)


def to_int16(x: np.ndarray) -> np.ndarray:
    """Rounded : (n,) int16."""
    return np.clip(np.rint(x * 32768), -32768, 32767).astype(np.int16)
