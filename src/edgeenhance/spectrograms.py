"""Spectrograms, for looking and for networks of the textbook kind: shapes and scalings, once.

    magnitudes · log_magnitudes    short-time Fourier magnitudes
    mel_spectrogram · mfcc         mel bands, and the cosine transform of their dB
    erb_spectrogram                bands as wide as the ear's filters
    cochleagram                    power behind a gammatone filter bank

A signal (n,) becomes (T, F) float64, T = 1 + (n - window) // hop whole frames; frame t begins at sample t * hop: no
padding, so no delay is hidden, and n < window gives T = 0. Windows are Hann, not scaled: a sine of amplitude a gives a
magnitude of a * window / 4. Edges and centres are in Hz. ValueError names what does not fit. Only NumPy is needed.
"""

from __future__ import annotations

import numpy as np

LEAST_POWER = 1e-10  # -100 dB: where decibels end


def frames(x: np.ndarray, window: int, hop: int) -> np.ndarray:
    """The signal's frames, unweighted : (n,) -> (T, window), a view."""
    x = np.asarray(x)
    if x.ndim != 1 or x.dtype.kind != "f":
        raise ValueError(f"got {x.dtype} samples of shape {x.shape}; pass floats (n,)")
    if not (window >= 2 and hop >= 1):
        raise ValueError(f"got a window of {window} and a hop of {hop}; pass at least 2 and 1 samples")
    if len(x) < window:
        return np.zeros((0, window), x.dtype)
    return np.lib.stride_tricks.sliding_window_view(x, window)[::hop]


def magnitudes(x: np.ndarray, window: int = 512, hop: int = 256) -> np.ndarray:
    """|X| : (T, window / 2 + 1)."""
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    return np.abs(np.fft.rfft(frames(x, window, hop) * taper, axis=1))


def decibels(power: np.ndarray) -> np.ndarray:
    """10 log10, never below -100 dB."""
    return 10 * np.log10(np.maximum(power, LEAST_POWER))


def log_magnitudes(x: np.ndarray, window: int = 512, hop: int = 256) -> np.ndarray:
    """|X| in dB : (T, window / 2 + 1)."""
    return decibels(magnitudes(x, window, hop) ** 2)


# ---- mel ----


def hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """2595 log10(1 + f / 700) (O'Shaughnessy 1987, as in HTK)."""
    return 2595 * np.log10(1 + np.asarray(hz, float) / 700)


def mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    return 700 * (10 ** (np.asarray(mel, float) / 2595) - 1)


def mel_filters(
    bands: int, sample_rate: int, window: int = 512, low: float = 0.0, high: float | None = None
) -> np.ndarray:
    """Triangles of height 1 on the mel scale : (bands, window / 2 + 1). high : default half the sample rate."""
    high = _edges(bands, sample_rate, low, high)
    corners = mel_to_hz(np.linspace(hz_to_mel(low), hz_to_mel(high), bands + 2))[:, None]
    hz = np.fft.rfftfreq(window, 1 / sample_rate)
    rise = (hz - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - hz) / (corners[2:] - corners[1:-1])
    return np.maximum(np.minimum(rise, fall), 0)


def _edges(bands: int, sample_rate: int, low: float, high: float | None) -> float:
    high = sample_rate / 2 if high is None else high
    if bands < 1 or not 0 <= low < high <= sample_rate / 2:
        raise ValueError(
            f"got {bands} bands from {low} to {high} Hz; at {sample_rate} Hz they lie in 0..{sample_rate / 2}"
        )
    return high


def mel_spectrogram(x: np.ndarray, sample_rate: int, bands: int = 64, window: int = 512, hop: int = 256) -> np.ndarray:
    """Power in mel bands, sums of |X|² : (T, bands)."""
    return magnitudes(x, window, hop) ** 2 @ mel_filters(bands, sample_rate, window).T


def mfcc(
    x: np.ndarray, sample_rate: int, coefficients: int = 13, bands: int = 40, window: int = 512, hop: int = 256
) -> np.ndarray:
    """Mel-frequency cepstral coefficients, the first being the level : (T, coefficients).

    The orthonormal DCT-II of the mel bands in dB (Davis & Mermelstein 1980).
    """
    if not 1 <= coefficients <= bands:
        raise ValueError(f"got {coefficients} coefficients of {bands} bands; pass 1 to {bands}")
    return decibels(mel_spectrogram(x, sample_rate, bands, window, hop)) @ _dct(bands)[:coefficients].T


def _dct(n: int) -> np.ndarray:
    """The orthonormal DCT-II : (n, n), one row per coefficient."""
    k, t = np.arange(n)[:, None], np.arange(n)
    matrix = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * t + 1) / (2 * n))
    matrix[0] /= np.sqrt(2)
    return matrix


# ---- ears ----


def erb(hz: np.ndarray | float) -> np.ndarray:
    """Equivalent rectangular bandwidth, Hz : 24.7 + 0.108 f (Glasberg & Moore 1990)."""
    return 24.7 + 0.108 * np.asarray(hz, float)


def erb_centers(bands: int, sample_rate: int, low: float = 50.0, high: float | None = None) -> np.ndarray:
    """Centres from low to high, evenly spaced in ERB, Hz : (bands,). high : default 0.45 of the sample rate."""
    high = _edges(bands, sample_rate, low, 0.45 * sample_rate if high is None else high)
    steps = np.linspace(np.log(erb(low)), np.log(erb(high)), bands)
    return (np.exp(steps) - 24.7) / 0.108


def gammatone_gains(centers: np.ndarray, hz: np.ndarray, order: int = 4) -> np.ndarray:
    """|H| of gammatone filters, 1 at their centres : (bands, len(hz)).

    Impulse response t^(order - 1) exp(-2 pi 1.019 erb t) cos(2 pi f t); its image at negative frequencies is left out.
    Source: R. D. Patterson et al., "An efficient auditory filterbank based on the gammatone function", 1987.
    """
    away = (np.asarray(hz)[None, :] - np.asarray(centers)[:, None]) / (1.019 * erb(centers)[:, None])
    return (1 + away**2) ** (-order / 2)


def erb_spectrogram(x: np.ndarray, sample_rate: int, bands: int = 64, window: int = 512, hop: int = 256) -> np.ndarray:
    """Mean power of |X|² under the ear's filters : (T, bands). Cheap; its time resolution is the window's."""
    weights = gammatone_gains(erb_centers(bands, sample_rate), np.fft.rfftfreq(window, 1 / sample_rate)) ** 2
    return magnitudes(x, window, hop) ** 2 @ (weights / weights.sum(axis=1, keepdims=True)).T


def cochleagram(x: np.ndarray, sample_rate: int, bands: int = 64, window: int = 320, hop: int = 160) -> np.ndarray:
    """Mean power per frame behind each gammatone filter : (T, bands). The filters act on the whole signal, causally.

    A sine of amplitude a at a centre gives a² / 2 there.
    """
    frames(x, window, hop)  # the checks
    length = 1 << int(np.ceil(np.log2(len(x) + sample_rate // 8)))  # the longest response has died after 1/8 s
    spectrum = np.fft.rfft(x, length)
    out = np.empty((len(frames(x, window, hop)), bands))
    for band, center in enumerate(erb_centers(bands, sample_rate)):
        filtered = np.fft.irfft(spectrum * np.fft.rfft(gammatone(center, sample_rate), length))[: len(x)]
        out[:, band] = (frames(filtered, window, hop) ** 2).mean(axis=1)
    return out


def gammatone(center: float, sample_rate: int) -> np.ndarray:
    """Impulse response of 1/8 s, gain 1 at the centre : (sample_rate / 8,)."""
    t = np.arange(sample_rate // 8) / sample_rate
    response = t**3 * np.exp(-2 * np.pi * 1.019 * float(erb(center)) * t) * np.cos(2 * np.pi * center * t)
    return response / np.abs(response @ np.exp(-2j * np.pi * center * t))
