"""Streaming short-time Fourier analysis and overlap-add synthesis (csrc/stft.c), with its NumPy reference.

A long analysis window with a short synthesis window keeps frequency resolution at hearing-aid latency: D. Mauler and
R. Martin, "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis system for speech
enhancement", EUSIPCO 2007.
"""

from __future__ import annotations

import numpy as np

from .kernel import aligned_memory, check, ffi, from_planar, lib, pointer, to_planar
from .profiles import Profile


def windows(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Analysis window : (analysis,), synthesis window : (synthesis,), float64.

    Over the last `synthesis` samples their product is a periodic Hann window, which overlap-adds to 1 at hop
    synthesis / 2.
    """
    long, half = profile.analysis - profile.hop, profile.hop
    rise = np.sin(np.pi * np.arange(long) / (2 * long))  # square root of a Hann window of 2 * long samples
    fall = np.cos(np.pi * np.arange(half) / (2 * half))
    analysis = np.concatenate([rise, fall])
    hann = np.sin(np.pi * np.arange(half) / (2 * half)) ** 2
    synthesis = np.concatenate([hann / rise[-half:].clip(1e-9), fall])
    return analysis, synthesis


def stft_reference(x: np.ndarray, profile: Profile) -> np.ndarray:
    """Spectra of a whole signal : (hops, bins), float64. x : (n,); frame t ends with hop t; zeros before the start."""
    hops = len(x) // profile.hop
    padded = np.concatenate([np.zeros(profile.analysis - profile.hop), x[: hops * profile.hop]])
    frames = np.lib.stride_tricks.sliding_window_view(padded, profile.analysis)[:: profile.hop]
    return np.fft.rfft(frames * windows(profile)[0], axis=-1)


def istft_reference(spectra: np.ndarray, profile: Profile) -> np.ndarray:
    """Overlap-add of (hops, bins) : (hops * hop,), float64; `synthesis - hop` samples later than what was analysed."""
    frames = np.fft.irfft(spectra, profile.analysis, axis=-1)[:, -profile.synthesis :] * windows(profile)[1]
    out = np.zeros((len(frames) + 1) * profile.hop)
    for hop, frame in enumerate(frames):
        out[hop * profile.hop : hop * profile.hop + profile.synthesis] += frame
    return out[: len(frames) * profile.hop]


class Fft:
    """Real FFT of a power of two, 32 to 2048, by the kernel; ValueError for another length."""

    def __init__(self, n: int) -> None:
        size = lib.ee_fft_size(n)
        if not size:
            raise ValueError(f"got length {n}; the kernel's FFT takes powers of two from 32 to 2048")
        self.n = n
        self._memory, start = aligned_memory(size)
        out = ffi.new("ee_fft **")
        check(lib.ee_fft_init(out, start, size, n))
        self._fft = out[0]

    def forward(self, x: np.ndarray) -> np.ndarray:
        """(n,) floats -> (n/2 + 1,) complex64, not scaled; ValueError for another shape."""
        planar = np.empty((2, self.n // 2 + 1), np.float32)
        lib.ee_fft_forward(self._fft, _samples(x, self.n), pointer(planar))
        return from_planar(planar)

    def inverse(self, spectrum: np.ndarray) -> np.ndarray:
        """(n/2 + 1,) complex -> (n,) float32, what `forward` was given; ValueError for another shape."""
        x = np.empty(self.n, np.float32)
        lib.ee_fft_inverse(self._fft, _spectrum(spectrum, self.n // 2 + 1), pointer(x))
        return x


class Stft:
    """Streaming analysis and synthesis of one channel, one hop a call, by the kernel."""

    def __init__(self, profile: Profile) -> None:
        size = lib.ee_stft_size(profile.analysis, profile.synthesis)
        self.profile = profile
        self._memory, start = aligned_memory(size)
        out = ffi.new("ee_stft **")
        check(lib.ee_stft_init(out, start, size, profile.analysis, profile.synthesis))
        self._stft = out[0]
        self._history = np.zeros(profile.analysis, np.float32)
        self._overlap = np.zeros(profile.hop, np.float32)

    def analyze(self, hop: np.ndarray) -> np.ndarray:
        """The spectrum of the window that ends with this hop : (hop,) floats -> (bins,) complex64."""
        planar = np.empty((2, self.profile.bins), np.float32)
        samples = _samples(hop, self.profile.hop)
        lib.ee_stft_analyze(self._stft, pointer(self._history), samples, 1, pointer(planar))
        return from_planar(planar)

    def synthesize(self, spectrum: np.ndarray) -> np.ndarray:
        """The hop that is finished now : (bins,) complex -> (hop,) float32, `synthesis - hop` samples late."""
        hop = np.empty(self.profile.hop, np.float32)
        planar = _spectrum(spectrum, self.profile.bins)
        lib.ee_stft_synthesize(self._stft, pointer(self._overlap), planar, pointer(hop), 1)
        return hop


def _samples(x: np.ndarray, n: int):
    x = np.ascontiguousarray(x, np.float32)
    if x.shape != (n,):
        raise ValueError(f"got samples of shape {x.shape}; expected ({n},)")
    return pointer(x)


def _spectrum(spectrum: np.ndarray, bins: int):
    if np.shape(spectrum) != (bins,):
        raise ValueError(f"got a spectrum of shape {np.shape(spectrum)}; expected ({bins},)")
    return pointer(to_planar(spectrum))
