"""Microphone arrays: where the microphones are, and what sound from a direction looks like at them.

`MicArray.load("bte-2x2")` or `MicArray.load("mine.toml")`; `steering` and `diffuse_coherence` are what the
beamformers of `edgeenhance.beamform` are designed from. Axes: x front, y left, z up; metres. Directions: azimuth in
degrees, 0 = front, anticlockwise (left = +90), elevation in degrees, up = +90.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._toml import load_toml, parse_toml
from .errors import EdgeEnhanceError
from .sphere import SPEED_OF_SOUND, sphere_diffuse, sphere_response

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_MICS = 16  # of the kernel (EE_MAX_MICS)
_DUPLICATE_M = 1e-3  # microphones nearer than this are one microphone written twice
_EXTENT_M = 1.0  # arrays larger than this are millimetres written as metres
_HEAD_RADIUS_M = (0.03, 0.3)
_OFF_SPHERE_M = 1e-3
_EARS = ("left", "right")
_PRESETS = Path(__file__).parent / "presets"
_KEYS = {"name", "mount", "head_radius_m", "microphones", "reference"}


@dataclass(frozen=True, eq=False)
class MicArray:
    """A microphone array in the open air or on a head.

    name : printable text · positions : (M, 3) metres, M = 1..16, in channel order
    mount : "free" (open air) or "head" (on a rigid sphere of head_radius metres, centred on the origin)
    reference : microphone whose speech each ear hears, {"left": i, "right": j}, or one of the two
    Raises ValueError for microphones less than 1 mm apart, arrays over 1 m, microphones off the sphere, and
    references that are not microphones. Arrays are equal if their `to_toml()` is.
    """

    name: str
    positions: np.ndarray
    mount: str = "free"
    head_radius: float | None = None
    reference: Mapping[str, int] = field(default_factory=lambda: {"left": 0})

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=float)
        positions.flags.writeable = False
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "reference", _checked_reference(self.reference, len(np.atleast_1d(positions))))
        _check_name(self.name)
        _check_positions(positions)
        _check_mount(self.mount, self.head_radius)
        if self.mount == "head":
            _check_on_sphere(positions, self.head_radius)

    @classmethod
    def load(cls, name: str | os.PathLike[str] | MicArray) -> MicArray:
        """A preset by name (see `preset_names`), or the array in a TOML file (a path, or a name ending in .toml).

        A MicArray is returned as it is.
        Raises ValueError for an unknown preset, EdgeEnhanceError for a file that cannot be read or is wrong.
        """
        if isinstance(name, MicArray):
            return name
        if not isinstance(name, (str, os.PathLike)):
            raise TypeError(f"an array is a preset's name, a .toml file or a MicArray, got {type(name).__name__}")
        if isinstance(name, os.PathLike) or name.endswith(".toml") or Path(name).name != name:
            return _from_table(load_toml(name), os.fspath(name))
        if name not in preset_names():
            raise ValueError(
                f"unknown array {name!r}; choose one of {', '.join(preset_names())}, or pass the path of a .toml file"
            )
        return _from_table(load_toml(_PRESETS / f"{name}.toml"), name)

    @classmethod
    def from_toml_text(cls, text: str, name: str = "the array's text") -> MicArray:
        """The array written in TOML text; `name` stands in the EdgeEnhanceError if it is wrong."""
        return _from_table(parse_toml(text, name), name)

    def to_toml(self) -> str:
        """The array as a TOML file, positions to a nanometre; `from_toml_text` reads it back."""
        lines = [f"name = {json.dumps(self.name, ensure_ascii=False)}", f'mount = "{self.mount}"']
        if self.mount == "head":
            lines.append(f"head_radius_m = {_number(self.head_radius)}")
        lines += ["microphones = [", *(f"    {{ {entry} }}," for entry in self._entries()), "]"]
        ears = ", ".join(f"{ear} = {mic}" for ear, mic in self.reference.items())
        return "\n".join([*lines, f"reference = {{ {ears} }}", ""])

    @property
    def mics(self) -> int:
        """Number of microphones M."""
        return len(self.positions)

    @property
    def ears(self) -> tuple[str, ...]:
        """Ears that have a reference microphone: ("left",), ("right",) or ("left", "right")."""
        return tuple(self.reference)

    def ear(self, name: str) -> int:
        """Reference microphone of an ear; ValueError names the ears there are."""
        if name not in self.reference:
            raise ValueError(f"array {self.name!r} has no {name!r} ear; choose from {', '.join(self.ears)}")
        return self.reference[name]

    @property
    def aliasing_frequency(self) -> float:
        """c / (2 d) of the two nearest microphones in Hz, inf for one microphone.

        Above it not even the nearest pair tells all directions apart by phase, and beams grow grating lobes.
        Pairs further apart are ambiguous lower down; that is harmless as long as a nearer pair resolves them.
        """
        if self.mics == 1:
            return float("inf")
        return float(SPEED_OF_SOUND / (2 * _nearest(self.positions)[0]))

    def scaled(self, factor: float) -> MicArray:
        """The same array `factor` times as large, head included."""
        radius = None if self.head_radius is None else self.head_radius * factor
        return replace(self, positions=self.positions * factor, head_radius=radius)

    def steering(
        self, look_deg: float, freqs_hz: np.ndarray, elevation_deg: float = 0.0, distance: float = np.inf
    ) -> np.ndarray:
        """Steering vector of a direction : (F, M) complex128.

        Pressure at each microphone relative to the free field at the origin, e^{-iwt} delays as in numpy.fft:
        a microphone nearer to the source leads, e^{+iw p.u/c}. look_deg, elevation_deg : degrees
        freqs_hz : (F,) Hz · distance : metres from the origin, inf for a plane wave
        """
        return self.responses(direction(look_deg, elevation_deg), freqs_hz, distance)

    def responses(self, directions: np.ndarray, freqs_hz: np.ndarray, distance: float = np.inf) -> np.ndarray:
        """Steering vectors of unit vectors (..., 3) towards the sources : (..., F, M) complex128."""
        directions = np.asarray(directions, dtype=float)
        freqs = np.asarray(freqs_hz, dtype=float)
        if self.mount == "head":
            cosine = np.clip(directions @ self.positions.T / self.head_radius, -1, 1)
            pressure = sphere_response(np.arccos(cosine), freqs, self.head_radius, distance)
        else:
            pressure = _open_air(directions, self.positions, freqs, distance)
        return np.moveaxis(pressure, -1, -2)

    def diffuse_covariance(self, freqs_hz: np.ndarray) -> np.ndarray:
        """Mean of d d^H over plane waves from all directions : (F, M, M), real and symmetric.

        Relative to the power in the free field at the origin; in open air sin(kr)/(kr) with ones on the diagonal, on
        the head by the closed sum of `sphere.sphere_diffuse`.
        """
        freqs = np.asarray(freqs_hz, dtype=float)
        if self.mount == "head":
            cosine = np.clip(self.positions @ self.positions.T / self.head_radius**2, -1, 1)
            np.fill_diagonal(cosine, 1.0)
            return np.moveaxis(sphere_diffuse(np.arccos(cosine), freqs, self.head_radius), -1, 0)
        return np.sinc(2 * freqs[:, None, None] * _distances(self.positions) / SPEED_OF_SOUND)

    def diffuse_coherence(self, freqs_hz: np.ndarray) -> np.ndarray:
        """`diffuse_covariance` scaled to a mean diagonal of 1 at every frequency : (F, M, M) complex128."""
        covariance = self.diffuse_covariance(freqs_hz)
        level = np.trace(covariance, axis1=1, axis2=2) / self.mics
        return (covariance / level[:, None, None]).astype(complex)

    def plot(self, look_deg: float = 0.0) -> Figure:
        """Top view: numbered microphones, head, look direction. Returns a matplotlib Figure; needs the extra `eval`."""
        return _plot(self, look_deg)

    def _entries(self) -> list[str]:
        if self.mount == "free":
            return [
                ", ".join(f"{axis}_m = {_number(v)}" for axis, v in zip("xyz", p, strict=True)) for p in self.positions
            ]
        angles = zip(*_angles(self.positions), strict=True)
        return [f"azimuth_deg = {_number(a, 7)}, elevation_deg = {_number(e, 7)}" for a, e in angles]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MicArray) and self.to_toml() == other.to_toml()

    def __hash__(self) -> int:
        return hash(self.to_toml())


def preset_names() -> tuple[str, ...]:
    """Names of the arrays that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _PRESETS.glob("*.toml")))


def direction(azimuth_deg: np.ndarray | float, elevation_deg: np.ndarray | float = 0.0) -> np.ndarray:
    """Unit vectors (..., 3) towards azimuth (degrees, 0 = front, anticlockwise) and elevation (degrees, up)."""
    azimuth, elevation = np.broadcast_arrays(np.radians(azimuth_deg), np.radians(elevation_deg))
    if not np.all(np.isfinite(azimuth) & np.isfinite(elevation)):
        raise ValueError("directions must be finite angles in degrees")
    return np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )


def _open_air(directions: np.ndarray, positions: np.ndarray, freqs: np.ndarray, distance: float) -> np.ndarray:
    """Free-field pressure at the positions relative to the origin : (..., M, F)."""
    wavenumber = 2 * np.pi * freqs / SPEED_OF_SOUND
    if np.isinf(distance):
        return np.exp(1j * wavenumber * (directions @ positions.T)[..., None])
    path = np.linalg.norm(distance * directions[..., None, :] - positions, axis=-1)
    if not (distance > 0 and np.all(path > 0)):
        raise ValueError(f"the source at {distance} m sits on a microphone; move it away")
    return (distance / path)[..., None] * np.exp(-1j * wavenumber * (path - distance)[..., None])


def _angles(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth and elevation of positions (M, 3) in degrees."""
    x, y, z = positions.T
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _distances(positions: np.ndarray) -> np.ndarray:
    return np.linalg.norm(positions[:, None] - positions, axis=-1)


def _nearest(positions: np.ndarray) -> tuple[float, int, int]:
    """Distance in metres and channels of the two nearest microphones (M >= 2)."""
    first, second = np.triu_indices(len(positions), 1)
    distances = _distances(positions)[first, second]
    nearest = int(np.argmin(distances))
    return float(distances[nearest]), int(first[nearest]), int(second[nearest])


def _number(value: float, digits: int = 9) -> str:
    return repr(round(float(value), digits) + 0.0)  # + 0.0 turns -0.0 into 0.0


# ---- checks ----


def _check_name(name: str) -> None:
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        raise ValueError(f"an array's name must be printable text, got {name!r}")


def _check_positions(positions: np.ndarray) -> None:
    if positions.ndim != 2 or positions.shape[1] != 3 or not 1 <= len(positions) <= MAX_MICS:
        raise ValueError(
            f"positions must have shape (microphones, 3) with 1 to {MAX_MICS} microphones, got {positions.shape}"
        )
    if not np.all(np.isfinite(positions)):
        raise ValueError("positions must be finite numbers in metres")
    if len(positions) == 1:
        return
    extent = _distances(positions).max()
    if extent > _EXTENT_M:
        raise ValueError(
            f"microphones are {extent:.4g} m apart, more than {_EXTENT_M:g} m; positions are in metres: "
            "divide millimetres by 1000"
        )
    spacing, first, second = _nearest(positions)
    if spacing < _DUPLICATE_M:
        raise ValueError(
            f"microphones {first} and {second} are {spacing * 1000:.2g} mm apart, less than 1 mm; "
            "remove the duplicate, or write positions in metres"
        )


def _check_mount(mount: str, head_radius: float | None) -> None:
    if mount not in ("free", "head"):
        raise ValueError(f'mount must be "free" or "head", got {mount!r}')
    if mount == "free":
        if head_radius is not None:
            raise ValueError('a head radius needs mount = "head"; leave it out for mount = "free"')
        return
    low, high = _HEAD_RADIUS_M
    if not (_is_number(head_radius) and low <= head_radius <= high):
        raise ValueError(
            f'mount = "head" needs a head radius of {low} to {high} m (an adult: 0.0875), got {head_radius}; '
            "it is in metres"
        )


def _check_on_sphere(positions: np.ndarray, head_radius: float) -> None:
    off = np.abs(np.linalg.norm(positions, axis=1) - head_radius)
    if off.max() > _OFF_SPHERE_M:
        raise ValueError(
            f"microphone {int(off.argmax())} is {off.max() * 1000:.3g} mm off the head's sphere of radius "
            f'{head_radius} m; move it onto the sphere or use mount = "free"'
        )


def _checked_reference(reference: Mapping[str, int], mics: int) -> dict[str, int]:
    """The references in the order left, right; ValueError if one is not a microphone."""
    if not isinstance(reference, Mapping) or not reference or set(reference) - set(_EARS):
        raise ValueError(f"reference must be {{left = i, right = j}} or one of the two, got {reference!r}")
    for ear, mic in reference.items():
        if isinstance(mic, bool) or not isinstance(mic, (int, np.integer)) or not 0 <= mic < mics:
            raise ValueError(f"the {ear} reference is microphone {mic!r}; this array has 0 to {mics - 1}")
    return {ear: int(reference[ear]) for ear in _EARS if ear in reference}


# ---- TOML ----


def _from_table(table: Mapping[str, Any], source: str) -> MicArray:
    """The array a TOML table describes; EdgeEnhanceError names the source and what is wrong."""
    try:
        return _parse(table)
    except ValueError as error:
        raise EdgeEnhanceError(f"array {source}: {error}") from error


def _parse(table: Mapping[str, Any]) -> MicArray:
    _check_keys(table, _KEYS, "an array")
    for key in ("name", "microphones"):
        if key not in table:
            raise ValueError(f"{key!r} is missing")
    mount, radius = table.get("mount", "free"), table.get("head_radius_m")
    _check_mount(mount, radius)
    entries = table["microphones"]
    if not (isinstance(entries, list) and entries and all(isinstance(entry, dict) for entry in entries)):
        raise ValueError("'microphones' must be a list of tables, such as [ {x_m = 0.0, y_m = 0.0} ]")
    if len(entries) > MAX_MICS:
        raise ValueError(f"{len(entries)} microphones; there can be {MAX_MICS} at most")
    if mount == "head":
        positions = radius * np.array([_on_head(entry, i) for i, entry in enumerate(entries)])
    else:
        positions = np.array([_in_air(entry, i) for i, entry in enumerate(entries)])
    reference = table.get("reference", 0)
    return MicArray(table["name"], positions, mount, radius, {"left": reference} if _is_int(reference) else reference)


def _on_head(entry: Mapping[str, Any], mic: int) -> np.ndarray:
    """Unit vector of a microphone given by azimuth_deg and elevation_deg."""
    what = f'microphone {mic} of mount = "head"'
    _check_keys(entry, {"azimuth_deg", "elevation_deg"}, what)
    azimuth, elevation = _value(entry, "azimuth_deg", what), _value(entry, "elevation_deg", what, 0.0)
    if not (-360 <= azimuth <= 360 and -90 <= elevation <= 90):
        raise ValueError(f"{what} needs azimuth_deg in -360..360 and elevation_deg in -90..90, got {dict(entry)}")
    return direction(azimuth, elevation)


def _in_air(entry: Mapping[str, Any], mic: int) -> list[float]:
    """Position of a microphone given by x_m, y_m, z_m."""
    what = f'microphone {mic} of mount = "free"'
    _check_keys(entry, {"x_m", "y_m", "z_m"}, what)
    return [_value(entry, "x_m", what), _value(entry, "y_m", what), _value(entry, "z_m", what, 0.0)]


def _check_keys(table: Mapping[str, Any], allowed: set[str], what: str) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise ValueError(f"{what} has no key {unknown[0]!r}; its keys are {', '.join(sorted(allowed))}")


def _value(entry: Mapping[str, Any], key: str, what: str, default: float | None = None) -> float:
    value = entry.get(key, default)
    if not _is_number(value):
        raise ValueError(f"{what} needs {key} as a number, got {value!r}")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool) and bool(np.isfinite(value))


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ---- plot ----

_EAR_COLOURS = {"left": "#2166ac", "right": "#b2182b"}  # audiology's convention: left blue, right red


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib Figure of that size in inches; EdgeEnhanceError names the extra to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EdgeEnhanceError("plots need matplotlib: pip install 'edgeenhance[eval]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _plot(array: MicArray, look_deg: float) -> Figure:
    """Top view in centimetres: front is up, left is left."""
    figure = new_figure(5.6, 5.6)
    axes = figure.add_subplot()
    reach = 100 * max(np.linalg.norm(array.positions, axis=1).max(), array.head_radius or 0.0, 0.01)
    if array.head_radius:
        _draw_head(axes, 100 * array.head_radius)
    _draw_look(axes, look_deg, reach)
    _draw_mics(axes, array, reach)
    limit = 1.75 * reach
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="right (cm)", ylabel="front (cm)")
    axes.set_title(array.name, fontweight="bold", pad=34)
    axes.text(0.5, 1.02, _summary(array), transform=axes.transAxes, ha="center", color="0.35", fontsize=9)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    return figure


def _summary(array: MicArray) -> str:
    where = f"on a head of radius {100 * array.head_radius:.2f} cm" if array.head_radius else "in open air"
    if array.mics == 1:
        return f"1 microphone {where}"
    spacing, aliasing = 100 * _nearest(array.positions)[0], array.aliasing_frequency / 1000
    return f"{array.mics} microphones {where}\nnearest pair {spacing:.1f} cm apart: aliases above {aliasing:.1f} kHz"


def _draw_head(axes: Any, radius_cm: float) -> None:
    from matplotlib.patches import Circle, Polygon

    nose = radius_cm * np.array([[-0.13, 0.985], [0.0, 1.15], [0.13, 0.985]])
    axes.add_patch(Polygon(nose, closed=False, facecolor="0.94", edgecolor="0.6", linewidth=1.2))
    axes.add_patch(Circle((0, 0), radius_cm, facecolor="0.94", edgecolor="0.6", linewidth=1.2))


def _draw_look(axes: Any, look_deg: float, reach_cm: float) -> None:
    ahead, left, _ = direction(look_deg)
    tip = 1.62 * reach_cm * np.array([-left, ahead])
    style = {"arrowstyle": "-|>", "color": "#1b7837", "linewidth": 1.8, "mutation_scale": 16}
    axes.annotate("", xy=tip, xytext=0.76 * tip, arrowprops=style, zorder=2)
    axes.plot([], [], color="#1b7837", linewidth=1.8, label=f"look {look_deg:g}°".replace("-", "−"))


def _draw_mics(axes: Any, array: MicArray, reach_cm: float) -> None:
    """Microphones with their channel numbers outside; reference microphones in the colour of their ear."""
    points = 100 * np.stack([-array.positions[:, 1], array.positions[:, 0]], axis=-1)
    axes.scatter(*points.T, s=46, color="0.25", zorder=3)
    for ear, mic in array.reference.items():
        label = f"{ear} reference" if len(array.reference) > 1 else "reference"
        axes.scatter(*points[mic], s=46, color=_EAR_COLOURS[ear], zorder=4, label=label)
    for mic, (point, beside) in enumerate(zip(points, _label_offsets(points, reach_cm), strict=True)):
        axes.text(*(point + beside), str(mic), ha="center", va="center", zorder=5)


def _label_offsets(points: np.ndarray, reach_cm: float) -> np.ndarray:
    """Where a number stands relative to its microphone: outwards, to the side for microphones near the middle."""
    length = np.linalg.norm(points, axis=1, keepdims=True)
    outwards = np.where(length > 0.1 * reach_cm, points / np.maximum(length, 1e-9), [[1.0, 0.0]])
    return 0.13 * reach_cm * outwards
