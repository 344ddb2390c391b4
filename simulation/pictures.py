"""Pictures of one scene, for reports: what was heard, what the network did, where everybody stands.

    spectrograms · waveforms     signals one above the other, on one scale
    masks · ideal_ratio_mask     gains of networks over time and frequency, and those that would be ideal
    room_plan                    the room from above: array, talkers, noises
    save_picture                 a small file of any figure

Beside these stand `spectrum.compare_spectra`, long-term spectra over each other, and `models.curves.plot_curves`, the
curves of a training run. All but `ideal_ratio_mask` and `save_picture` return a matplotlib Figure; they need the extra
`eval`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import atomic_path
from ..arrays import new_figure
from ..profiles import Profile
from ..stft import stft_reference
from .room import turn
from .scene import Scene

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE_DB = 70.0  # of a spectrogram's colours, from the loudest point of all down
MASK_RANGE_DB = 30.0
_WIDTH = 7.0  # inches
_DPI, _QUALITY = 110, 80
_COLUMNS = 1200  # a waveform's points over time
_TARGET, _TALKER, _NOISE, _ARRAY = "#1b7a3d", "#c2570c", "#7a838f", "#14599d"


def spectrograms(signals: Mapping[str, np.ndarray], sample_rate: int) -> Figure:
    """Spectrograms one above the other on one dB scale, kHz over s. signals : by title, (n,) each

    A full-scale sine has 0 dB; windows of 32 ms.
    """
    signals = _checked(signals, sample_rate)
    levels = {title: _levels_db(sound, sample_rate) for title, sound in signals.items()}
    top = max(level.max() for level in levels.values())
    figure, axes = _stack(levels, 1.35)
    for ax, (title, level) in zip(axes, levels.items(), strict=True):
        extent = (0, len(signals[title]) / sample_rate, 0, sample_rate / 2000)
        style = {"vmin": top - RANGE_DB, "vmax": top, "cmap": "magma"}
        image = ax.imshow(level, origin="lower", aspect="auto", extent=extent, **style)
        ax.set(ylabel="kHz", xlim=(0, _longest(signals, sample_rate)))
        ax.locator_params(axis="y", nbins=2, steps=[1, 2, 4, 5, 10])
    figure.colorbar(image, ax=list(axes), label="dB re full scale", pad=0.01, aspect=50)
    return figure


def waveforms(signals: Mapping[str, np.ndarray], sample_rate: int) -> Figure:
    """Waveforms one above the other on one scale, over s. signals : by title, (n,) each"""
    signals = _checked(signals, sample_rate)
    peak = max(max(float(np.abs(sound).max()) for sound in signals.values()), 1e-6)
    figure, axes = _stack(signals, 0.95)
    for ax, sound in zip(axes, signals.values(), strict=True):
        low, high, seconds = _outline(sound, sample_rate)
        ax.fill_between(seconds, low, high, color=_ARRAY, linewidth=0.4)
        ax.set(ylim=(-1.05 * peak, 1.05 * peak), xlim=(0, _longest(signals, sample_rate)))
        ax.grid(color="0.92", linewidth=0.6)
        ax.tick_params(axis="y", labelsize=7)
    return figure


def masks(gains: Mapping[str, np.ndarray], profile: Profile) -> Figure:
    """Gains in dB one above the other on one scale, kHz over s. gains : by title, (hops, bins), amplitudes 0 .. 1"""
    checked = {title: _checked_gains(values, profile) for title, values in gains.items()}
    if not checked:
        raise ValueError("a picture needs the gains of one network or more, as {'network': gains}; got nothing")
    figure, axes = _stack(checked, 1.35 if len(checked) > 1 else 2.0)
    for ax, values in zip(axes, checked.values(), strict=True):
        extent = (0, len(values) * profile.hop / profile.sample_rate, 0, profile.sample_rate / 2000)
        level = 20 * np.log10(np.maximum(values.T, 1e-6))
        style = {"vmin": -MASK_RANGE_DB, "vmax": 0, "cmap": "viridis"}
        image = ax.imshow(level, origin="lower", aspect="auto", extent=extent, **style)
        ax.set(ylabel="kHz", xlim=(0, max(map(len, checked.values())) * profile.hop / profile.sample_rate))
        ax.locator_params(axis="y", nbins=2, steps=[1, 2, 4, 5, 10])
    figure.colorbar(image, ax=list(axes), label="gain / dB", pad=0.01, aspect=25 * len(checked))
    return figure


def ideal_ratio_mask(speech: np.ndarray, noise: np.ndarray, profile: Profile) -> np.ndarray:
    """The gains sqrt(S² / (S² + N²)) that a network without errors would have : (hops, bins), 1 where nothing sounds.

    speech, noise : (n,) the parts of what it hears. Source: Wang, Narayanan and Wang, "On training targets for
    supervised speech separation", IEEE/ACM TASLP 22 (2014).
    """
    s, n = (np.abs(stft_reference(np.asarray(part, float), profile)) ** 2 for part in (speech, noise))
    return np.sqrt((s + 1e-20) / (s + n + 1e-20))


def _checked_gains(gains: np.ndarray, profile: Profile) -> np.ndarray:
    gains = np.asarray(gains, dtype=float)
    if gains.ndim != 2 or not len(gains) or gains.shape[1] != profile.bins:
        raise ValueError(
            f"gains must be (hops, {profile.bins}) for profile {profile.name!r}, got {gains.shape}; "
            "expand bands to bins"
        )
    return gains


def room_plan(scene: Scene) -> Figure:
    """The room from above, in metres: array with its front, target, competing talkers, noises."""
    width, depth, height = scene.room.dimensions
    figure = new_figure(_WIDTH, 0.9 + min(6.0, max(2.0, 4.3 * depth / width)))
    ax = figure.add_subplot()
    _draw_walls(ax, scene)
    _draw_array(ax, scene)
    _draw_sources(ax, scene)
    reverberation = f"RT60 {scene.room.rt60:g} s" if scene.room.rt60 else "anechoic"
    snr = f"SNR {scene.snr_db:g} dB".replace("-", "−")
    ax.set_title(f"{width:.1f} × {depth:.1f} × {height:.1f} m, {reverberation}, {snr}", fontsize=10)
    ax.set(xlim=(-0.15, width + 0.15), ylim=(-0.15, depth + 0.15), aspect="equal", xlabel="m", ylabel="m")
    ax.grid(color="0.93", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[:].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9, labelspacing=0.9)
    return figure


def save_picture(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as WebP, as PNG where Pillow has no WebP; returns the path, its suffix set accordingly."""
    from PIL import features

    webp = features.check("webp")
    path = Path(path).with_suffix(".webp" if webp else ".png")
    options = {"quality": _QUALITY, "method": 6} if webp else {"optimize": True}
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=_DPI, pil_kwargs=options)
    return path


# ---- signals ----


def _checked(signals: Mapping[str, np.ndarray], sample_rate: int) -> dict[str, np.ndarray]:
    checked = {title: np.asarray(sound, dtype=float) for title, sound in signals.items()}
    if not checked or any(sound.ndim != 1 or not len(sound) for sound in checked.values()):
        shapes = ", ".join(f"{title}: {sound.shape}" for title, sound in checked.items()) or "nothing"
        raise ValueError(f"a picture needs one signal or more, one-dimensional and not empty; got {shapes}")
    if not all(np.isfinite(sound).all() for sound in checked.values()):
        raise ValueError("a signal holds NaN or Inf samples; replace them before drawing")
    if sample_rate < 1000:
        raise ValueError(f"sample_rate is in Hz, 1000 or more, got {sample_rate}")
    return checked


def _longest(signals: Mapping[str, np.ndarray], sample_rate: int) -> float:
    return max(len(sound) for sound in signals.values()) / sample_rate


def _stack(panels: Mapping[str, Any], height: float) -> tuple[Figure, np.ndarray]:
    """A figure with one titled panel above the other."""
    figure = new_figure(_WIDTH, 0.4 + height * len(panels))
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, title in zip(axes, panels, strict=True):
        ax.set_title(title, loc="left", fontsize=9, pad=3)
    axes[-1].set_xlabel("s")
    return figure, axes


def _levels_db(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """Level of a full-scale sine = 0 dB: (F, T)."""
    hop = max(sample_rate // 250, len(sound) // 2000 + 1)  # no more columns than pixels, about
    window = sample_rate * 32 // 1000
    taper = np.hanning(window)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, window // 2), window)[::hop]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * taper)).T * 2 / taper.sum() + 1e-9)


def _outline(sound: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and greatest sample of each piece, and where it begins in seconds."""
    step = max(1, len(sound) // _COLUMNS)
    starts = np.arange(0, len(sound), step)
    return np.minimum.reduceat(sound, starts), np.maximum.reduceat(sound, starts), starts / sample_rate


# ---- rooms ----


def _draw_walls(ax: Axes, scene: Scene) -> None:
    from matplotlib.patches import Rectangle

    width, depth, _ = scene.room.dimensions
    style = {"linestyle": "-" if scene.room.rt60 else ":", "linewidth": 2, "edgecolor": "0.35", "facecolor": "none"}
    ax.add_patch(Rectangle((0, 0), width, depth, **style))
    if scene.diffuse:
        x = y = np.linspace(0.06, 0.94, 7)
        edge = [(a, b) for a in x for b in y if min(a, b) < 0.1 or max(a, b) > 0.9]
        label = f"{scene.diffuse.kind} from everywhere"
        ax.scatter(*(np.array(edge) * (width, depth)).T, s=9, color="0.75", label=label)


def _draw_array(ax: Axes, scene: Scene) -> None:
    """The array as a disc, larger than it is, with an arrow to its front; a nose if it is on a head."""
    centre = scene.position[:2]
    front = turn(np.array([[1.0, 0.0, 0.0]]), scene.azimuth_deg)[0, :2]
    size = 0.07 * min(scene.room.dimensions[:2])
    style = {"arrowstyle": "-|>", "color": _ARRAY, "linewidth": 1.6, "mutation_scale": 13}
    ax.annotate("", xy=centre + 2.2 * size * front, xytext=centre, arrowprops=style, zorder=4)
    where = "on a head" if scene.array.mount == "head" else "in open air"
    ax.scatter(*centre, s=170, facecolor="white", edgecolor=_ARRAY, linewidth=1.8, zorder=5)
    ax.scatter(*centre, s=28, color=_ARRAY, zorder=6, label=f"{scene.array.name}, {where}")
    ax.scatter([], [], marker=r"$\rightarrow$", s=120, color=_ARRAY, label="its front")


def _draw_sources(ax: Axes, scene: Scene) -> None:
    """Talkers as discs, noises as squares, numbered; a line from the array to the target."""
    places = scene.source_positions[:, :2]
    ax.plot(*np.stack([scene.position[:2], places[0]]).T, color=_TARGET, linestyle=":", linewidth=1.2, zorder=2)
    for number, (source, place) in enumerate(zip(scene.sources, places, strict=True)):
        talker = source.kind == "speech"
        colour = _TARGET if number == 0 else _TALKER if talker else _NOISE
        what = "target" if number == 0 else "talker" if talker else f"{source.kind} noise"
        label = f"{number}  {what}, {source.azimuth_deg:.0f}°, {source.distance_m:.1f} m".replace("-", "−")
        ax.scatter(*place, s=190, marker="o" if talker else "s", color=colour, zorder=5, label=label)
        ax.text(*place, str(number), color="white", ha="center", va="center", fontsize=9, weight="bold", zorder=6)
