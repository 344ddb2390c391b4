"""Streaming resampling between rates of a rational ratio (csrc/resample.c): 48 kHz to 16 and back, 44.1, 32, 8 ...

A sinc under a Kaiser window, linear phase: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window
function", ISCAS 1974.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .kernel import aligned_memory, check, ffi, lib, pointer


def resample_reference(x: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """What `Resampler` makes of a whole signal of one channel, float64 : (n,) -> (ceil(n * rate_out / rate_in),)."""
    up, down = ratio(rate_in, rate_out)
    end = 16 * max(up, down)  # half of the filter: samples at lcm(rate_in, rate_out) Hz, 16 at the lower rate
    cutoff = 31 / 32 / max(up, down)
    h = up * cutoff * np.sinc(cutoff * np.arange(-end, end)) * np.kaiser(2 * end + 1, 5.65)[:-1]
    h[0] = 0
    stuffed = np.zeros(len(x) * up)
    stuffed[::up] = x
    return np.convolve(stuffed, h)[: len(stuffed) : down]


class Resampler:
    """A stream at another rate: `process` blocks of any size.

    rate_in, rate_out : Hz, integers from 4000 to 768000, different, of a ratio in whole numbers up to 1024
    channels : 1 to 16, independent of each other
    late : a further delay in ticks of 1 / lcm(rate_in, rate_out) s, less than one output sample, which rounds the delay
    of a chain up to whole samples

    The delay is 16 samples of the lower rate: 1 ms between 16 kHz and any higher rate. With half the lower rate as 1:
    within 0.2 dB up to 0.875 (7 kHz), −60 dB or less from 1.0875 (8.7 kHz) on. So what lies below 0.9125 (7.3 kHz)
    receives no aliases and makes no images above −60 dB.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int = 1, *, late: int = 0) -> None:
        up, down = ratio(rate_in, rate_out)
        if not (isinstance(channels, (int, np.integer)) and 1 <= channels <= lib.EE_MAX_MICS):
            raise ValueError(f"got channels={channels!r}; pass a number from 1 to {lib.EE_MAX_MICS}")
        if not (isinstance(late, (int, np.integer)) and 0 <= late < down):
            raise ValueError(f"got late={late!r}; from {rate_in} Hz to {rate_out} Hz it takes 0 to {down - 1} ticks")
        self.rate_in, self.rate_out, self.channels = int(rate_in), int(rate_out), int(channels)
        size = lib.ee_resample_size(rate_in, rate_out, channels, late)
        self._memory, start = aligned_memory(size)
        out = ffi.new("ee_resample **")
        check(lib.ee_resample_init(out, start, size, rate_in, rate_out, channels, late))
        self._state = out[0]

    def process(self, x: np.ndarray) -> np.ndarray:
        """Resample one block.

        x : (n, channels), or (n,) with one channel; floats, full scale ±1; n >= 0. Returns (m, channels) or (m,)
        float32: after n samples in all, ceil(n * rate_out / rate_in) in all. NaN, Inf and samples beyond ±1e6 count
        as 0.
        """
        x = np.asarray(x)
        if x.dtype.kind != "f":
            raise TypeError(f"got {x.dtype} samples; pass floats of full scale ±1 (divide int16 by 32768)")
        flat = x.ndim == 1 and self.channels == 1
        if not flat and (x.ndim != 2 or x.shape[1] != self.channels):
            raise ValueError(f"got samples of shape {x.shape}; this resampler takes (n, {self.channels})")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes Inf
            x = np.ascontiguousarray(x, np.float32)
        out = np.empty((lib.ee_resample_frames(self._state, len(x)), self.channels), np.float32)
        check(lib.ee_resample_process(self._state, pointer(x), pointer(out), len(x)))
        return out[:, 0] if flat else out

    def reset(self) -> None:
        """Forget the signal: as new."""
        lib.ee_resample_reset(self._state)

    @property
    def latency_ms(self) -> float:
        """Delay of the stream, milliseconds: how much later the same sound comes out, exact."""
        return lib.ee_resample_latency(self._state)

    def __repr__(self) -> str:
        return f"Resampler({self.rate_in}, {self.rate_out}, channels={self.channels}, latency={self.latency_ms:g} ms)"


def ratio(rate_in: int, rate_out: int) -> tuple[int, int]:
    """rate_out : rate_in in lowest terms."""
    for rate in (rate_in, rate_out):
        if not (isinstance(rate, (int, np.integer)) and 4000 <= rate <= 768000):
            raise ValueError(f"got a sample rate of {rate!r}; pass an integer from 4000 to 768000 Hz")
    if rate_in == rate_out:
        raise ValueError(f"got {rate_in} Hz on both sides; there is nothing to resample")
    divisor = math.gcd(rate_in, rate_out)
    up, down = int(rate_out // divisor), int(rate_in // divisor)
    if max(up, down) > lib.EE_MAX_RATIO:
        raise ValueError(
            f"{rate_in} Hz to {rate_out} Hz is a ratio of {up}:{down}; the resampler takes whole numbers up to "
            f"{lib.EE_MAX_RATIO}"
        )
    return up, down


class Ends:
    """Both ends of a chain that runs at `inner` Hz, for a stream at `rate` Hz: exactly as many samples out as in.

    delay : of the chain, samples at `inner` Hz · latency : of all, samples at `rate` Hz, whole
    """

    def __init__(self, rate: int, inner: int, channels_in: int, channels_out: int, delay: int) -> None:
        up, down = ratio(inner, rate)  # a sample lasts `down` ticks outside and `up` inside
        self._in = Resampler(rate, inner, channels_in)
        ticks = 2 * round(self._in.latency_ms * inner * up / 1000) + delay * up
        self._out = Resampler(inner, rate, channels_out, late=-ticks % down)
        self.latency = -(-ticks // down)
        self.reset()

    def process(self, x: np.ndarray, chain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """x : (n, channels_in) -> (n, channels_out); `chain` maps (m, channels_in) to (m, channels_out).

        What `chain` raises, this raises; the stream goes on in time.
        """
        inside = self._in.process(x)
        try:
            y = chain(inside)
        except BaseException:
            self._give(np.zeros((len(inside), self._out.channels), np.float32), len(x))
            raise
        return self._give(y, len(x))

    def _give(self, y: np.ndarray, n: int) -> np.ndarray:
        # n samples in have given m = ceil(n * inner / rate), and those ceil(m * rate / inner) >= n: the rest waits.
        out = np.concatenate([self._over, self._out.process(y)])
        self._over = out[n:]
        return out[:n]

    def reset(self) -> None:
        self._in.reset()
        self._out.reset()
        self._over = np.empty((0, self._out.channels), np.float32)
