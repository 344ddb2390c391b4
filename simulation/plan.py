"""What `edgeenhance evaluate` runs: a suite file, read and multiplied out into cases.

title = "Head and open air"
systems = ["noisy", "superdirective", "mvdr+assist-m"]     # see `systems`, or "clean", the target itself; and
                                                           # [[commands]] and [[folders]] below
baseline = "noisy"                                         # what differences are taken to
metrics = ["pesq", "estoi", "si_sdr"]                      # see `measures`
look = "front"                                             # or "talker": the target's true direction
transcribe = "pocketsphinx"                                # who hears words, for the metric wer (see `listeners`)
embed = "resemblyzer"                                      # and who knows voices, for talker_similarity
suite = "bench"                                            # scenes of another suite,
pick = [0, 7]                                              # all, or these; or scenes of its own:
[defaults]                                                 # layout of a scene file, ranges are drawn
[[scenes]]                                                 # keys that go before the defaults, each with a seed
[draw]                                                     # or: so many scenes drawn from the ranges of [defaults]
count = 100
seed = 1
[sweep]                                                    # every combination of these, on every scene
snr_db = [-5, 0, 5]                                        # rt60_s, distance_m, interferers, array, level_dbfs, and
look_error_deg = [0, 15]                                   # the axes of `conditions`
[[conditions]]                                             # or conditions one by one, each with a name
name = "dead microphone"
dead = 1
[[commands]]                                               # a program; {input} holds all microphones, {reference}
name = "mine"                                              # the reference microphone, {output} is mono
command = "mine {input} {output}"
delay = 0                                                  # samples
[[folders]]                                                # results that are there already: DIR/CASE.wav
name = "theirs"
path = "DIR"
[gate]                                                     # see `gate`
preset = "default"
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .._toml import load_toml
from .conditions import CONDITIONS, Condition
from .gate import Gate
from .measures import MEASURES, without_reference
from .render import SUFFIXES
from .scene import Scene, draw, scene_seed
from .suite import FOLDER, merged
from .systems import check_system

SCENE_AXES = ("snr_db", "level_dbfs", "rt60_s", "distance_m", "interferers", "array")
LOOKS = ("front", "talker")
CLEAN = "clean"  # the system whose output is the target: what the metrics reach at most
DEFAULT_METRICS = ("pesq", "stoi", "estoi", "si_sdr")
_KEYS = (
    "title", "systems", "baseline", "metrics", "look", "transcribe", "embed", "suite", "pick", "defaults", "scenes",
    "draw", "sweep", "conditions", "commands", "folders", "gate",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One recording to enhance. name : unique, fit for a file name · table : a scene file's, seed included
    axes : what sweeps and conditions set, by name · condition : what happens to the recording"""

    name: str
    table: dict[str, Any]
    axes: dict[str, Any]
    condition: Condition

    def scene(self, folder: Path) -> Scene:
        """folder : what files named in the scene are relative to."""
        return draw(self.table, folder=folder)


@dataclass(frozen=True)
class FileCase:
    """A recording from files. input : all microphones · reference : the clean target, or None
    array : preset or file · look_deg : of the talker · text : the words said, or None"""

    name: str
    input: str
    reference: str | None
    array: str
    look_deg: float
    text: str | None = None
    axes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """A suite file, read. folder : where it lies · commands : {name: table} · folders : {name: path}"""

    title: str
    systems: tuple[str, ...]
    baseline: str
    metrics: tuple[str, ...]
    look: str
    cases: tuple[Case, ...] | tuple[FileCase, ...]
    gate: Gate
    folder: Path
    commands: dict[str, dict[str, Any]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    transcribe: str = "pocketsphinx"
    embed: str = "resemblyzer"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """A suite by name (of `suites/`) or path; every scene is drawn once, so that wrong ones end here.

        Raises EdgeEnhanceError for files that cannot be read, ValueError for what is wrong in them.
        """
        path = FOLDER / f"{path}.toml" if (FOLDER / f"{path}.toml").exists() else Path(path)
        table = load_toml(path)
        unknown = sorted(set(table) - set(_KEYS))
        if unknown:
            raise ValueError(f"{path}: unknown key {unknown[0]!r}; there are {', '.join(_KEYS)}")
        commands = {entry["name"]: entry for entry in _named(table, "commands", ("name", "command"), ("delay",))}
        folders = {
            entry["name"]: str(path.parent / entry["path"]) for entry in _named(table, "folders", ("name", "path"))
        }
        systems = tuple(table.get("systems", ("noisy",))) + tuple(commands) + tuple(folders)
        baseline = table.get("baseline", systems[0])
        if len(set(systems)) < len(systems) or baseline not in systems:
            raise ValueError(f"{path}: systems have names of their own and the baseline is one of them, got {systems}")
        _check_systems(systems, (CLEAN, *commands, *folders))
        scenes, scene_folder = _scenes(table, path)
        cases = tuple(case for name, scene in scenes for case in _multiplied(name, scene, table))
        for case in cases:
            try:
                case.scene(scene_folder)
            except ValueError as error:
                raise ValueError(f"{path}, case {case.name}: {error}") from error
        return cls(
            title=str(table.get("title", path.stem)),
            systems=systems,
            baseline=baseline,
            metrics=_metrics(table.get("metrics", DEFAULT_METRICS)),
            look=_choice(table.get("look", "front"), LOOKS, "look"),
            cases=cases,
            gate=Gate.parse(table.get("gate", {}), systems, baseline),
            folder=scene_folder,
            commands=commands,
            folders=folders,
            **{key: str(table[key]) for key in ("transcribe", "embed") if key in table},
        )

    @classmethod
    def of_files(
        cls,
        input: str | os.PathLike[str],
        reference: str | os.PathLike[str] | None = None,
        *,
        array: str = "mono",
        look: float = 0.0,
        systems: Sequence[str] = (),
        measures: Sequence[str] = (),
    ) -> Plan:
        """Recordings instead of scenes: two files, or two folders whose files have the same names.

        reference : the clean target, aligned; None measures what needs none. A file NAME.txt beside the reference (or
        the recording) holds the words said, for the metric wer. ValueError where files do not match.
        """
        pairs = _pairs(Path(input), None if reference is None else Path(reference))
        cases = tuple(
            FileCase(inp.stem, str(inp), None if ref is None else str(ref), array, look, _text(ref or inp))
            for inp, ref in pairs
        )
        if len({case.name for case in cases}) < len(cases):
            raise ValueError(f"{input}: files have the same name but for their endings; rename them")
        _check_systems(systems, (CLEAN,))
        names = tuple(measures) or (without_reference() if reference is None else DEFAULT_METRICS)
        gate = Gate.parse({}, systems, systems[0])
        return cls(Path(input).stem, tuple(systems), systems[0], _metrics(names), "front", cases, gate, Path(input))

    @property
    def measured(self) -> tuple[str, ...]:
        """The metrics, and what the gate needs besides."""
        return tuple(dict.fromkeys((*self.metrics, *self.gate.metrics)))

    @property
    def axes(self) -> tuple[str, ...]:
        """What differs between cases by sweeps and conditions, in the file's order."""
        return tuple(dict.fromkeys(axis for case in self.cases for axis in case.axes))

    def key(self, *more: Any) -> str:
        """A hash of all that results depend on, `more` included: a folder with another one cannot be gone on with."""
        facts = [
            self.systems, self.metrics, self.look, self.commands, self.folders, self.transcribe, self.embed, more,
            [str(case) for case in self.cases],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _check_systems(systems: Sequence[str], own: Sequence[str]) -> None:
    for name in systems:
        if name not in own:
            check_system(name)


def _pairs(inputs: Path, references: Path | None) -> list[tuple[Path, Path | None]]:
    if missing := [str(path) for path in (inputs, references) if path is not None and not path.exists()]:
        raise ValueError(f"there is no {' and no '.join(missing)}; name a recording, or a folder of them")
    if not inputs.is_dir():
        return [(inputs, references)]
    found = [path for path in sorted(inputs.iterdir()) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise ValueError(f"{inputs} holds no recordings ({', '.join(SUFFIXES)})")
    if references is None:
        return [(path, None) for path in found]
    missing = [path.name for path in found if not (references / path.name).is_file()]
    if missing:
        raise ValueError(f"{references} has no {missing[0]}; every recording needs its clean one, by the same name")
    return [(path, references / path.name) for path in found]


def _text(recording: Path) -> str | None:
    path = recording.with_suffix(".txt")
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def _named(table: Mapping[str, Any], group: str, needed: tuple[str, ...], more: tuple[str, ...] = ()) -> list[dict]:
    entries = table.get(group, [])
    for entry in entries:
        if not set(needed) <= set(entry) <= set(needed + more):
            raise ValueError(f"[[{group}]] takes {', '.join(needed + more)}, got {', '.join(entry)}")
    return entries


def _metrics(names: Any) -> tuple[str, ...]:
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(MEASURES)}")
    return tuple(names)


def _choice(value: Any, choices: tuple[str, ...], key: str) -> str:
    if value not in choices:
        raise ValueError(f"{key} is one of {', '.join(choices)}, got {value!r}")
    return value


def _scenes(table: Mapping[str, Any], path: Path) -> tuple[list[tuple[str, dict]], Path]:
    """(name, scene table) of every scene before sweeps, and the folder that files in them are relative to."""
    ways = [key for key in ("suite", "scenes", "draw") if key in table]
    if len(ways) != 1:
        raise ValueError(f"{path} needs one of suite, [[scenes]] and [draw]; it has {' and '.join(ways) or 'none'}")
    defaults = table.get("defaults", {})
    if "suite" in table:
        other = FOLDER / f"{table['suite']}.toml"
        other = other if other.exists() else path.parent / table["suite"]
        content = load_toml(other)
        own = [merged(content.get("defaults", {}), scene) for scene in content.get("scenes", [])]
        picked = table.get("pick", range(len(own)))
        if not all(isinstance(i, int) and 0 <= i < len(own) for i in picked):
            raise ValueError(f"{path}: pick names scenes 0 to {len(own) - 1} of {table['suite']}, got {picked}")
        return [(f"{other.stem}-{i:03d}", merged(own[i], defaults)) for i in picked], other.parent
    if "draw" in table:
        count, seed = table["draw"].get("count", 1), table["draw"].get("seed", 0)
        return [(f"drawn-{i:05d}", {**defaults, "seed": scene_seed(seed, i)}) for i in range(count)], path.parent
    return [(f"scene-{i:03d}", merged(defaults, scene)) for i, scene in enumerate(table["scenes"])], path.parent


def _multiplied(name: str, scene: dict, table: Mapping[str, Any]) -> list[Case]:
    sweep = table.get("sweep", {})
    for axis, values in sweep.items():
        if axis not in SCENE_AXES + CONDITIONS or not isinstance(values, list) or not values:
            known = ", ".join(SCENE_AXES + CONDITIONS)
            raise ValueError(f"[sweep] takes lists for {known}, got {axis} = {values!r}")
    conditions = _named(table, "conditions", ("name",), CONDITIONS) or [{}]
    cases = []
    for values in product(*sweep.values()):
        for condition in conditions:
            axes = dict(zip(sweep, values))
            settings = {key: value for key, value in condition.items() if key != "name"}
            settings |= {axis: value for axis, value in axes.items() if axis in CONDITIONS}
            if condition:
                axes["condition"] = condition["name"]
            label = "".join(f"+{axis}={_short(value)}" for axis, value in axes.items())
            cases.append(Case(f"{name}{label}", _changed(scene, axes), axes, Condition.parse(settings)))
    return cases


def _short(value: Any) -> str:
    text = Path(value).stem if isinstance(value, str) else str(value)
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def _changed(scene: dict, axes: Mapping[str, Any]) -> dict:
    """The scene's table with what the sweep sets. A drawn distance or number of interferers is set before drawing."""
    out = dict(scene)
    for axis, value in axes.items():
        if axis in ("snr_db", "level_dbfs"):
            out[axis] = value
        elif axis == "rt60_s":
            out["room"] = {**out.get("room", {}), "rt60_s": value}
        elif axis == "distance_m":
            target, *others = out["talkers"]
            out["talkers"] = [{**target, "distance_m": value}, *others]
        elif axis == "interferers":
            out["noises"] = out.get("noises", [])[: int(value)]
        elif axis == "array":
            place = {key: out.get("array", {}).get(key) for key in ("position_m", "azimuth_deg")}
            kind = "file" if str(value).endswith(".toml") else "name"
            out["array"] = {kind: value, **{key: v for key, v in place.items() if v is not None}}
    return out


def at_number(value: Any) -> float | None:
    """A swept value as a place on an axis, None where it is a word."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and np.isfinite(value) else None
