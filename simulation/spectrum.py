"""Long-term spectra: one signal as a curve and as four numbers, several side by side.

    magnitude_spectrum                           level over frequency
    centroid · bandwidth · flatness · rolloff    its shape in numbers
    compare_spectra · spectrum_table             clean, noisy and enhanced in one figure, and in one table

Signals are (n,), full scale ±1, at 16 kHz unless said otherwise, 64 ms or longer. Numbers are of the power spectrum,
averaged over frames of 64 ms; they do not depend on the level. Of silence they are NaN, and a `MetricWarning` says so.
Source: Peeters 2004, "A large set of audio features for sound description", with power for amplitude.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import welch

from ..arrays import new_figure
from .metrics import SAMPLE_RATE, _undefined
from .signal_measures import _signal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE_HEADER = ("signal", "level / dBFS", "centroid / Hz", "bandwidth / Hz", "flatness", "rolloff / Hz")
ROLLOFF_SHARE = 0.85
_FRAME_S = 0.064
_QUIETEST_DB = -140.0


def magnitude_spectrum(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> tuple[np.ndarray, np.ndarray]:
    """Long-term average spectrum: frequencies (F,) in Hz, levels (F,) in dB, 0 for a sine of full scale, at least -140.

    x : (n,) · sample_rate : Hz. Frames of 64 ms, Hann, half overlapping; bins are 1 / 64 ms = 15.6 Hz apart.
    """
    freqs, power = _spectrum(x, sample_rate)
    return freqs, 10 * np.log10(np.maximum(2 * power, 10 ** (_QUIETEST_DB / 10)))


def centroid(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Mean frequency of the power spectrum: Hz, 0 .. sample_rate / 2; high is bright. x : (n,)"""
    freqs, power = _spectrum(x, sample_rate)
    return float(np.average(freqs, weights=power)) if power.any() else _silent("centroid")


def bandwidth(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Standard deviation of the power spectrum around its centroid: Hz, 0 .. sample_rate / 4. x : (n,)"""
    freqs, power = _spectrum(x, sample_rate)
    if not power.any():
        return _silent("bandwidth")
    mean = np.average(freqs, weights=power)
    return float(np.sqrt(np.average((freqs - mean) ** 2, weights=power)))


def flatness(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Geometric over arithmetic mean of the power spectrum: 0 (a tone) .. 1 (white noise). x : (n,)"""
    power = _spectrum(x, sample_rate)[1]
    if not power.any():
        return _silent("flatness")
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log(power))) / np.mean(power))


def rolloff(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Frequency below which 85 % of the power lies: Hz, 0 .. sample_rate / 2. x : (n,)"""
    freqs, power = _spectrum(x, sample_rate)
    if not power.any():
        return _silent("rolloff")
    below = np.cumsum(power)
    return float(freqs[np.searchsorted(below, ROLLOFF_SHARE * below[-1])])


def spectrum_table(signals: Mapping[str, np.ndarray], sample_rate: int = SAMPLE_RATE) -> list[tuple[str, ...]]:
    """One row of text for each named signal (n,), in the columns of TABLE_HEADER; a full-scale sine has 0 dBFS."""
    rows = []
    for name, x in signals.items():
        level = 10 * np.log10(max(2 * np.mean(_signal(x) ** 2), 10 ** (_QUIETEST_DB / 10)))
        hertz = (f"{function(x, sample_rate):.0f}" for function in (centroid, bandwidth))
        level = round(level, 1) + 0.0  # no -0.0
        rows.append((name, f"{level:.1f}", *hertz, f"{flatness(x, sample_rate):.3f}", f"{rolloff(x, sample_rate):.0f}"))
    return rows


def compare_spectra(signals: Mapping[str, np.ndarray], sample_rate: int = SAMPLE_RATE) -> Figure:
    """Long-term spectra of the named signals (n,) over each other, frequency on a logarithmic axis."""
    if not signals:
        raise ValueError("there is no signal to draw; pass at least one, as {'noisy': x}")
    figure = new_figure(7, 3.6)
    axes = figure.add_subplot()
    for name, x in signals.items():
        freqs, levels = magnitude_spectrum(x, sample_rate)
        axes.plot(freqs[1:], levels[1:], linewidth=1.2, label=name)
    ticks = [f for f in (62.5, 125, 250, 500, 1000, 2000, 4000, 8000, 16000) if f <= sample_rate / 2]
    axes.set(xscale="log", xlim=(50, sample_rate / 2), xlabel="frequency / Hz", ylabel="level / dBFS")
    axes.set_xticks(ticks, [f"{f:g}" for f in ticks])
    axes.minorticks_off()
    axes.grid(color="0.9")
    axes.legend(frameon=False)
    return figure


def _spectrum(x: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies (F,) and mean square (F,) of each bin, that of a full-scale sine being 1/2 at its peak."""
    x, size = _signal(x), round(_FRAME_S * sample_rate)
    if len(x) < size:
        raise ValueError(
            f"a spectrum needs 64 ms, {size} samples at {sample_rate} Hz, got {len(x)}; pass more of the signal"
        )
    return welch(x, sample_rate, "hann", size, detrend=False, scaling="spectrum")


def _silent(name: str) -> float:
    return _undefined(name, "the signal is silent")
