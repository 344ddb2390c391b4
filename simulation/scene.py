"""A scene: a room, an array in it, talkers, noises. Read from a TOML file, drawn from its ranges, written back.

A scene file, with the defaults of what may be left out (any number may be a range or a choice: `draw`):

    seed = 0                       # what draws everything; the command line's --seed goes before it
    duration_s = 6.0
    level_dbfs = -26.0             # reverberant target at the reference microphone, while it speaks
    snr_db = 5.0                   # reverberant target over all noise there, while it speaks
    sensor_noise_dbfs = -90.0      # white, independent at every microphone; RMS
    [room]
    dimensions_m = [5.0, 4.0, 2.7] # or volume_m3 = 50, with usual proportions
    rt60_s = 0.4                   # 0 = anechoic
    [array]
    name = "bte-2x2"               # a preset; or file = "mine.toml" (beside the scene file); or toml = "...", an array
                                   # file's text; or random = true with the keys of `random_arrays`
    mount = "free"                 # take the head away, microphones stay where they are
    position_m = [2.0, 2.0, 1.2]   # drawn if absent
    azimuth_deg = 0.0              # where its front points in the room: 0 = +x, anticlockwise; drawn if absent
    ear = "left"                   # whose microphone is the reference; "any" draws one
    [[talkers]]                    # the first is the target, the others compete
    azimuth_deg = 0.0              # relative to the array's front
    elevation_deg = 0.0
    distance_m = 1.0
    level_db = 0.0                 # among the competing talkers and noises
    start_s = 0.0
    file = "clip.wav"              # beside the scene file; else from --speech, else synthesized
    count = 1                      # so many like this one, each drawn anew
    min_separation_deg = 0.0       # away from the target, drawn again until it is
    [[noises]]                     # the same keys, and
    kind = "recorded"              # from --noise; or "speech" from --speech; or a kind of `synth.noise`
    [diffuse]                      # decorrelated noise from everywhere
    directions = 16
    level_db = 0.0
    kind = "recorded"
    [calibration]                  # each microphone off by up to so much, drawn evenly
    gain_db = 0.0
    phase_deg = 0.0
    position_m = 0.0               # standard deviation of its place, unknown to the array file
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .._toml import load_toml
from ..arrays import MicArray, direction
from .draw import Table
from .random_arrays import random_array
from .render import Rendered, render
from .responses import Responses, respond
from .room import Room, turn
from .synth import NOISE_KINDS

_TRIES = 50  # placements of one source, and of the whole scene, before giving up
_PURPOSES = ("tail", "diffuse", "signals", "sensor noise")
_WALL_M = 0.05  # sources and microphones keep away from walls
_SOURCE_KINDS = ("recorded", "speech", *NOISE_KINDS)


@dataclass(frozen=True)
class Source:
    """A point source; the keys of a scene file's [[noises]]. Angles and distance are relative to the array."""

    kind: str
    azimuth_deg: float
    elevation_deg: float
    distance_m: float
    level_db: float = 0.0
    start_s: float = 0.0
    file: str | None = None

    @property
    def offset(self) -> np.ndarray:
        """Position (3,) metres in the array's coordinates."""
        return self.distance_m * direction(self.azimuth_deg, self.elevation_deg)


@dataclass(frozen=True)
class Diffuse:
    """Noise from everywhere: so many directions, level among the noises, kind as for sources."""

    directions: int
    level_db: float
    kind: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A scene with all numbers fixed; the module's docstring says what they mean.

    position : (3,) metres · sources : the target first · gain_db, phase_deg : (M,) calibration errors
    displacement : (M, 3) metres, errors of the microphones' places · reference : microphone
    """

    seed: int
    duration: float
    level_dbfs: float
    snr_db: float
    sensor_noise_dbfs: float
    room: Room
    array: MicArray
    position: np.ndarray
    azimuth_deg: float
    reference: int
    sources: tuple[Source, ...]
    diffuse: Diffuse | None
    gain_db: np.ndarray
    phase_deg: np.ndarray
    displacement: np.ndarray

    @classmethod
    def load(cls, path: str | os.PathLike[str], seed: int | None = None) -> Scene:
        """The scene in a file, its ranges drawn with `seed` (default: the file's). Raises as `draw` and `load_toml`."""
        return draw(load_toml(path), seed, Path(path).parent)

    @property
    def look_deg(self) -> float:
        """True direction of the target relative to the array's front, degrees."""
        return self.sources[0].azimuth_deg

    @cached_property
    def source_positions(self) -> np.ndarray:
        """(S, 3) metres in the room."""
        return self.position + turn(np.array([source.offset for source in self.sources]), self.azimuth_deg)

    def generator(self, purpose: str) -> np.random.Generator:
        """A random generator of its own for each of `_PURPOSES`: what one draws does not move the others."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(1, _PURPOSES.index(purpose))))

    def responses(self, longest_s: float = np.inf) -> Responses:
        """Impulse responses of all sources at all microphones, see `responses`."""
        return respond(self, longest_s)

    def render(
        self, speech: str | os.PathLike[str] | None = None, noise: str | os.PathLike[str] | None = None
    ) -> Rendered:
        """The sound of the scene, see `render`. speech, noise : folders of recordings; None synthesizes."""
        return render(self, speech, noise)

    def to_dict(self) -> dict[str, Any]:
        """The scene in the layout of a scene file; `draw` of it gives this scene again."""
        return {
            "seed": self.seed,
            "duration_s": self.duration,
            "level_dbfs": self.level_dbfs,
            "snr_db": self.snr_db,
            "sensor_noise_dbfs": self.sensor_noise_dbfs,
            "room": {"dimensions_m": list(self.room.dimensions), "rt60_s": self.room.rt60},
            "array": self._array_table(),
            "talkers": [_source_table(self.sources[0])],
            "noises": [_source_table(source) for source in self.sources[1:]],
            **({"diffuse": dict(vars(self.diffuse))} if self.diffuse else {}),
            "calibration": {
                "gains_db": self.gain_db.tolist(),
                "phases_deg": self.phase_deg.tolist(),
                "displacements_m": self.displacement.tolist(),
            },
        }

    def _array_table(self) -> dict[str, Any]:
        return {
            "toml": self.array.to_toml(),
            "position_m": self.position.tolist(),
            "azimuth_deg": self.azimuth_deg,
            "ear": next(ear for ear, mic in self.array.reference.items() if mic == self.reference),
        }


def _source_table(source: Source) -> dict[str, Any]:
    return {key: value for key, value in vars(source).items() if value is not None}


def draw(ranges: Mapping[str, Any], seed: int | None = None, folder: str | os.PathLike[str] = ".") -> Scene:
    """Draw a scene from a parsed scene file; the same ranges and seed give the same scene.

    seed : whole number >= 0, default the file's · folder : what files named in it are relative to
    Raises ValueError for unknown keys, wrong values, and sources or microphones outside the room (which, where, and
    how large the room is) if no place could be drawn for them.
    """
    seed = ranges.get("seed", 0) if seed is None else seed
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {seed!r}")
    for attempt in range(_TRIES):
        rng = np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=(0, attempt)))
        try:
            return _draw_once(ranges, int(seed), Path(folder), rng)
        except _Misplaced as error:
            problem = error
    raise ValueError(str(problem))


def scene_seed(seed: int, index: int) -> int:
    """Seed of scene number `index` of a set drawn with `seed`; the first one has the set's own seed."""
    return seed if index == 0 else int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


class _Misplaced(ValueError):
    """Something lies outside the room; another draw may place it inside."""


def _draw_once(ranges: Mapping[str, Any], seed: int, folder: Path, rng: np.random.Generator) -> Scene:
    top = Table(ranges, "the scene", rng)
    top.raw("seed")
    room = _draw_room(Table(top.raw("room", {}), "[room]", rng), rng)
    array, place = _draw_array(Table(top.raw("array", {}), "[array]", rng), room, folder, rng)
    sources = _draw_sources(top, room, place, folder, rng)
    scene = Scene(
        seed=seed,
        duration=top.number("duration_s", 6.0, 0.1, 3600),
        level_dbfs=top.number("level_dbfs", -26.0, -120, 0),
        snr_db=top.number("snr_db", 5.0, -60, 100),
        sensor_noise_dbfs=top.number("sensor_noise_dbfs", -90.0, -200, 0),
        room=room,
        array=array,
        **place,
        sources=tuple(sources),
        diffuse=_draw_diffuse(top.raw("diffuse"), rng),
        **_draw_calibration(Table(top.raw("calibration", {}), "[calibration]", rng), array.mics, rng),
    )
    top.finish()
    return scene


def _draw_room(table: Table, rng: np.random.Generator) -> Room:
    dimensions, volume = table.vector("dimensions_m"), table.number("volume_m3", 50.0, 4, 1e5)
    if dimensions is None:
        height = rng.uniform(2.4, 3.2) if volume > 20 else volume ** (1 / 3)
        ratio = rng.uniform(1.0, 1.7)
        dimensions = np.array([np.sqrt(volume / height * ratio), np.sqrt(volume / height / ratio), height])
    if not np.all((dimensions >= 1) & (dimensions <= 100)):
        raise ValueError(f"[room]: dimensions_m must lie in 1 to 100 m, got {_metres(dimensions)}")
    rt60 = table.number("rt60_s", 0.4, 0, 5)
    if 0 < rt60 < 0.05:
        raise ValueError(f"[room]: rt60_s = {rt60:g} is too short for a room; write 0 (anechoic) or 0.05 and more")
    table.finish()
    return Room(tuple(float(side) for side in dimensions), rt60)


def _draw_array(table: Table, room: Room, folder: Path, rng: np.random.Generator) -> tuple[MicArray, dict[str, Any]]:
    """The array, and where it stands: position, azimuth_deg, reference."""
    ear, mount = table.text("ear"), table.text("mount")
    position, azimuth = table.vector("position_m"), table.number("azimuth_deg", [0.0, 360.0])
    array = _load_array(table, folder, rng)
    if mount == "free":
        array = replace(array, mount="free", head_radius=None)
    elif mount is not None and mount != array.mount:
        raise ValueError(f'[array]: mount can be changed to "free" only, got {mount!r}')
    array = MicArray.from_toml_text(array.to_toml())  # as it will be read back, to the last bit
    if position is None:
        low = np.minimum([0.5, 0.5, 1.0], np.array(room.dimensions) / 3)
        position = rng.uniform(low, np.maximum(np.array(room.dimensions) - low, low + 0.01))
        position[2] = rng.uniform(low[2], min(1.8, room.dimensions[2] - low[2] / 2))
    for mic, place in enumerate(position + turn(array.positions, azimuth)):
        _check_inside(room, place, f"microphone {mic} of the array")
    ears = list(array.reference)
    ear = ears[int(rng.integers(len(ears)))] if ear == "any" else ear or ears[0]
    return array, {"position": position, "azimuth_deg": azimuth, "reference": array.ear(ear)}


def _load_array(table: Table, folder: Path, rng: np.random.Generator) -> MicArray:
    name, file, text = table.text("name"), table.text("file"), table.text("toml")
    wanted = table.raw("random", False)
    if sum(bool(choice) for choice in (name, file, text, wanted)) != 1:
        raise ValueError("[array] needs one of name (a preset), file, toml and random = true")
    if wanted:
        return random_array(table.rest(), rng)
    table.finish()
    if text:
        return MicArray.from_toml_text(text, "[array] toml")
    return MicArray.load(folder / file) if file else MicArray.load(name)


def _draw_sources(top: Table, room: Room, place: dict[str, Any], folder: Path, rng) -> list[Source]:
    """All sources, the target first."""
    talkers, noises = top.raw("talkers", []), top.raw("noises", [])
    if not isinstance(talkers, list) or not talkers or not isinstance(noises, list):
        raise ValueError("the scene needs one [[talkers]] at least, the target; noises go under [[noises]]")
    sources: list[Source] = []
    for group, tables in (("talkers", talkers), ("noises", noises)):
        for index, entry in enumerate(tables):
            table = Table(entry, f"[[{group}]] {index + 1}", rng)
            count = table.count("count", 1, 100)
            for _ in range(count if sources else max(count, 1)):
                sources.append(_place_source(entry, table.where, group, sources, room, place, folder, rng))
    return sources


def _place_source(entry, where, group, others, room, place, folder, rng) -> Source:
    """Draw a source until it lies inside the room and far enough from the target's direction."""
    for _ in range(_TRIES):
        source, separation = _draw_source(Table(entry, where, rng), group, folder)
        try:
            spot = place["position"] + turn(source.offset[None], place["azimuth_deg"])[0]
            _check_inside(room, spot, f"{where} ({'interferer' if others else 'the target'})")
            _check_apart(source, others, separation, where)
            return source
        except _Misplaced as error:
            problem = error
    raise problem


def _draw_source(table: Table, group: str, folder: Path) -> tuple[Source, float]:
    """A source, and how far it must be from the target, degrees."""
    kind = table.text("kind", "speech" if group == "talkers" else "recorded")
    if kind not in (_SOURCE_KINDS if group == "noises" else ("speech",)):
        raise ValueError(f"{table.where}: unknown kind {kind!r}; choose from {', '.join(_SOURCE_KINDS)}")
    file = table.text("file")
    source = Source(
        kind=kind,
        azimuth_deg=table.number("azimuth_deg", 0.0, -360, 360),
        elevation_deg=table.number("elevation_deg", 0.0, -90, 90),
        distance_m=table.number("distance_m", 1.0, 0.2, 100),
        level_db=table.number("level_db", 0.0, -60, 60),
        start_s=table.number("start_s", 0.0, 0, 3600),
        file=str(folder / file) if file else None,
    )
    separation = table.number("min_separation_deg", 0.0, 0, 180)
    table.raw("count")
    table.finish()
    return source, separation


def _draw_diffuse(entry: Any, rng: np.random.Generator) -> Diffuse | None:
    if entry is None:
        return None
    table = Table(entry, "[diffuse]", rng)
    kind = table.text("kind", "recorded")
    if kind not in _SOURCE_KINDS:
        raise ValueError(f"[diffuse]: unknown kind {kind!r}; choose from {', '.join(_SOURCE_KINDS)}")
    diffuse = Diffuse(table.count("directions", 16, 256), table.number("level_db", 0.0, -60, 60), kind)
    table.finish()
    return diffuse if diffuse.directions else None


def _draw_calibration(table: Table, mics: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Errors of each microphone: drawn within bounds, or as written by `Scene.to_dict`."""
    gain, phase = table.number("gain_db", 0.0, 0, 40), table.number("phase_deg", 0.0, 0, 180)
    place = table.number("position_m", 0.0, 0, 0.01)
    drawn = {
        "gain_db": table.raw("gains_db", rng.uniform(-gain, gain, mics)),
        "phase_deg": table.raw("phases_deg", rng.uniform(-phase, phase, mics)),
        "displacement": table.raw("displacements_m", rng.normal(0, place, (mics, 3))),
    }
    table.finish()
    shapes = {"gain_db": (mics,), "phase_deg": (mics,), "displacement": (mics, 3)}
    errors = {name: np.array(value, dtype=float) for name, value in drawn.items()}
    if any(errors[name].shape != shape for name, shape in shapes.items()):
        raise ValueError(f"[calibration] must give one value for each of the array's {mics} microphones")
    return errors


def _check_inside(room: Room, point: np.ndarray, what: str) -> None:
    if not room.contains(point, _WALL_M):
        raise _Misplaced(
            f"{what} at ({', '.join(f'{x:.2f}' for x in point)}) m lies outside the room of "
            f"{_metres(room.dimensions)}, or nearer than {_WALL_M:g} m to a wall; move it, the array, or the walls"
        )


def _check_apart(source: Source, others: list[Source], separation: float, where: str) -> None:
    if not others or separation == 0:
        return
    apart = abs((source.azimuth_deg - others[0].azimuth_deg + 180) % 360 - 180)
    if apart < separation:
        raise _Misplaced(f"{where} is {apart:.0f} degrees from the target; min_separation_deg asks for {separation:g}")


def _metres(sides: Any) -> str:
    return " x ".join(f"{side:.4g}" for side in sides) + " m"
