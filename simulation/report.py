"""The report of an evaluation: one HTML file with tables, curves, sounds and pictures in it.

    results.json, sounds and pictures in a folder      what the evaluation leaves behind
      -> write_report(folder)                          folder/index.html

The page opens from disk, loads nothing from anywhere, and shows its figures without JavaScript too. What is heavy
stands at its end, one piece of JSON per scene that is unpacked when the scene is opened.
"""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .._files import atomic_path
from ..errors import EdgeEnhanceError

_TEMPLATES = Path(__file__).parent / "templates"
_REQUIRED = {"title": str, "systems": list, "metrics": dict, "scenes": list}
_MEDIA = {
    ".ogg": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".flac": "audio/flac",
    ".webp": "image/webp", ".png": "image/png", ".jpg": "image/jpeg",
}  # fmt: skip
_PICTURES = {  # in the order in which they are shown; others come last, under their own names
    "waveforms": "Waveforms",
    "spectrograms": "Spectrograms",
    "mask": "Gains of the networks",
    "beampattern": "Beam pattern",
    "room": "Room",
}
_FACT_COLUMNS = 4
_UNITS = {"db": "dB", "dbfs": "dBFS", "s": "s", "ms": "ms", "m": "m", "deg": "°", "hz": "Hz", "percent": "%"}
_ACRONYMS = {"snr": "SNR", "rt60": "RT60", "drr": "DRR", "sdr": "SDR"}
_COLOURS = 8  # of series, in the style sheet; 0 is the baseline's

Results = Mapping[str, Any]


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write folder/index.html from folder/results.json and the files that it names; returns its path.

    Files that are not there are named in their scene's row. Raises EdgeEnhanceError if results.json cannot be read or
    index.html not be written, ValueError if results.json is not what an evaluation writes.
    """
    folder = Path(folder)
    page = _page(_read(folder / "results.json"), folder)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {}  # metrics keep their order
    with atomic_path(folder / "index.html") as temporary:
        environment.get_template("report.html.j2").stream(page).dump(str(temporary), encoding="utf-8")
    return folder / "index.html"


def _read(path: Path) -> Results:
    """results.json, checked as far as the page needs it; NaN and infinities become None."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error.strerror}; run the evaluation into that folder") from error
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); run the evaluation again") from error
    for key, kind in _REQUIRED.items():
        if not isinstance(results, dict) or not isinstance(results.get(key), kind):
            raise ValueError(f"{path} needs {key!r}, a {kind.__name__}; run the evaluation again")
    for number, scene in enumerate(results["scenes"]):
        if not isinstance(scene, dict) or not isinstance(scene.get("name"), str):
            raise ValueError(f"{path}: scene {number} has no name; run the evaluation again")
    for part in ("summary", "differences"):
        for entry in results.get(part) or []:
            _check_known(path, part, entry, results)
    for sweep in results.get("sweeps") or []:
        for point in sweep["points"]:
            _check_known(path, "sweeps", {**point, "metric": sweep["metric"]}, results)
    return results


def _check_known(path: Path, part: str, entry: Mapping[str, Any], results: Results) -> None:
    for key, known in (("system", results["systems"]), ("metric", results["metrics"])):
        if entry.get(key) not in known:
            raise ValueError(f"{path}: {part} has the {key} {entry.get(key)!r}; the {key}s are {', '.join(known)}")


def _page(results: Results, folder: Path) -> dict[str, Any]:
    """What the template shows."""
    metrics = {key: metric | {"title": _capital(metric["title"])} for key, metric in results["metrics"].items()}
    results = {**results, "metrics": metrics}
    scenes = [_scene(scene, results, folder) for scene in results["scenes"]]
    gate = results.get("gate") or []
    kept = all(row["passed"] for row in gate) and not any(scene["error"] for scene in scenes)
    return {
        "title": results["title"],
        "passed": kept if gate else None,
        "about": _about(results),
        "failed": [(scene["name"], scene["error"]) for scene in scenes if scene["error"]],
        "command": results.get("command"),
        "metrics": metrics,
        "systems": results["systems"],
        "baseline": results.get("baseline"),
        "gate": gate,
        "summary": _table(results, "summary"),
        "differences": _table(results, "differences"),
        "series": _series(results),
        "sweeps": [_chart(sweep, results) for sweep in results.get("sweeps") or [] if _varies(sweep)],
        "latency": _latency(results.get("latency") or []),
        "facts": [(key, _label(key)) for key in _fact_columns(results)],
        "scenes": scenes,
        "index": _index(results),
    }


def _about(results: Results) -> list[str]:
    """The counts in the header."""
    scenes = results["scenes"]
    failed, clips = sum(bool(scene.get("error")) for scene in scenes), sum(len(s.get("audio") or {}) for s in scenes)
    gate = results.get("gate") or []
    return [
        _count(len(scenes), "scene") + (f", {failed} failed" if failed else ""),
        _count(len(results["systems"]), "system"),
        *([_count(clips, "sound")] if clips else []),
        *([f"{sum(row['passed'] for row in gate)} of {_count(len(gate), 'bound')} kept"] if gate else []),
        *([f"version {results['version']}"] if results.get("version") else []),
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# ---- numbers ----


def _number(value: float | None, digits: int, sign: bool = False) -> str:
    """With a true minus; a dash for None."""
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def _plain(value: Any) -> str:
    """A fact as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:.6g}".replace("-", "−")
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return "–" if value is None else str(value)


def _words(key: str) -> tuple[str, str | None]:
    """ "snr_db" -> ("SNR", "dB")."""
    words = key.split("_")
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    return " ".join(_ACRONYMS.get(word, word) for word in (words[:-1] if unit else words)), unit


def _label(key: str) -> str:
    """ "snr_db" -> "SNR / dB"."""
    name, unit = _words(key)
    return _capital(name) + (f" / {unit}" if unit else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ---- tables ----


def _table(results: Results, part: str) -> dict[str, Any] | None:
    """Systems over metrics: {"metrics": [key], "rows": [(system, [cell or None])], "count": text if all have one}."""
    entries = {(entry["system"], entry["metric"]): entry for entry in results.get(part) or []}
    if not entries:
        return None
    metrics = [metric for metric in results["metrics"] if any(metric == m for _, m in entries)]
    systems = [system for system in results["systems"] if any(system == s for s, _ in entries)]
    counts = {entry.get("count") for entry in entries.values()} - {None}
    best = {metric: _best(results, metric, entries) if part == "summary" else set() for metric in metrics}
    show = _summary_cell if part == "summary" else _difference_cell
    rows = [
        (
            system,
            [
                show(entries[system, metric], results["metrics"][metric], len(counts) > 1)
                | {"best": system in best[metric]}
                if (system, metric) in entries
                else None
                for metric in metrics
            ],
        )
        for system in systems
    ]
    return {"metrics": metrics, "rows": rows, "count": counts.pop() if len(counts) == 1 else None}


def _best(results: Results, metric: str, entries: Mapping[tuple[str, str], Mapping[str, Any]]) -> set[str]:
    """The systems with the best mean, as it is printed; none where all are alike."""
    better, digits = results["metrics"][metric].get("better", "none"), results["metrics"][metric].get("digits", 3)
    means = {s: round(e["mean"], digits) for (s, m), e in entries.items() if m == metric and e["mean"] is not None}
    if better == "none" or len(set(means.values())) < 2:
        return set()
    top = max(means.values()) if better == "higher" else min(means.values())
    return {system for system, mean in means.items() if mean == top}


def _summary_cell(entry: Mapping[str, Any], metric: Mapping[str, Any], counted: bool) -> dict[str, Any]:
    return {**_cell(entry, metric, counted, sign=False), "change": ""}


def _difference_cell(entry: Mapping[str, Any], metric: Mapping[str, Any], counted: bool) -> dict[str, Any]:
    """change : "gain" or "loss" where the interval leaves out zero."""
    low, high, better = entry.get("low"), entry.get("high"), metric.get("better", "none")
    change = ""
    if low is not None and high is not None and better != "none" and (low > 0 or high < 0):
        change = "gain" if (low > 0) == (better == "higher") else "loss"
    return {**_cell(entry, metric, counted, sign=True), "change": change}


def _cell(entry: Mapping[str, Any], metric: Mapping[str, Any], counted: bool, sign: bool) -> dict[str, Any]:
    digits, low, high = metric.get("digits", 3), entry.get("low"), entry.get("high")
    known = low is not None and high is not None
    return {
        "mean": _number(entry["mean"], digits, sign),
        "interval": f"[{_number(low, digits, sign)}, {_number(high, digits, sign)}]" if known else "",
        "count": entry.get("count") if counted else None,
    }


# ---- curves ----

_WIDTH, _HEIGHT = 440, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 14, 42
_SLANTED = 120  # more below the axis for words that stand aslant, because more than so many lie side by side
_SIDE_BY_SIDE = 4


def _series(results: Results) -> dict[str, int]:
    """Number of each system's colour; the baseline has number 0."""
    others = [system for system in results["systems"] if system != results.get("baseline")]
    return {system: others.index(system) + 1 if system in others else 0 for system in results["systems"]}


def _varies(sweep: Mapping[str, Any]) -> bool:
    """A score that is the same everywhere needs no curve."""
    return len({point["mean"] for point in sweep["points"]} - {None}) > 1


def _chart(sweep: Mapping[str, Any], results: Results) -> dict[str, Any]:
    """Geometry of a sweep's picture: numbers on the axis make curves with bands, anything else points with bars."""
    metric, points = results["metrics"][sweep["metric"]], [p for p in sweep["points"] if p["mean"] is not None]
    places = list(dict.fromkeys(point["at"] for point in points))
    curve = all(isinstance(at, (int, float)) and not isinstance(at, bool) for at in places)
    places = sorted(places) if curve else places
    bounds = [v for p in points for v in (p["mean"], p.get("low"), p.get("high")) if v is not None]
    slanted = not curve and len(places) > _SIDE_BY_SIDE
    y = _Scale(*_padded(bounds), _HEIGHT - _BOTTOM, _TOP)
    inner = (_LEFT + 10, _WIDTH - _RIGHT - 10)
    x = _Scale(*_ends(places), *inner) if curve else _Scale(-0.5, len(places) - 0.5, *inner)
    systems = [system for system in results["systems"] if any(p["system"] == system for p in points)]
    digits = metric.get("digits", 3)
    lines = []
    for n, system in enumerate(systems):
        own = sorted((p for p in points if p["system"] == system), key=lambda p: places.index(p["at"]))
        aside = 0 if curve else (n - (len(systems) - 1) / 2) * 0.6 / len(systems)
        dots = [_dot(p, x(p["at"] if curve else places.index(p["at"]) + aside), y, digits) for p in own]
        lines.append({"system": system, "number": _series(results)[system], "dots": dots, "band": _band(dots, curve)})
    ticks = places if curve and len(places) <= 8 else _ticks(*_ends(places)) if curve else range(len(places))
    return {
        "title": f"{metric['title']} over {_words(sweep['axis'])[0]}",
        "xlabel": _label(sweep["axis"]),
        "ylabel": metric["title"] + (f" ({metric['unit']})" if metric.get("unit") else ""),
        "width": _WIDTH, "height": _HEIGHT + slanted * _SLANTED, "slanted": slanted,
        "left": _LEFT, "right": _WIDTH - _RIGHT, "bottom": _HEIGHT - _BOTTOM,
        "xticks": [(x(at), _plain(at if curve else places[at])) for at in ticks],
        "yticks": [(y(at), _plain(round(at, 10))) for at in _ticks(y.low, y.high)],
        "curve": curve, "lines": lines,
    }  # fmt: skip


class _Scale:
    """Linear from data low..high to picture start..end."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        return round(self._start + (value - self.low) / (self.high - self.low) * (self._end - self._start), 1)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest, apart even if they are one."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = _ends(values)
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Some `count` round numbers within low..high."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= count)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _dot(point: Mapping[str, Any], x: float, y: _Scale, digits: int) -> dict[str, Any]:
    cell = _cell(point, {"digits": digits}, False, False)
    ends = (y(point["low"]), y(point["high"])) if cell["interval"] else None
    title = f"{point['system']} at {_plain(point['at'])}: {cell['mean']} {cell['interval']}".strip()
    return {"x": x, "y": y(point["mean"]), "ends": ends, "title": title}


def _band(dots: Sequence[Mapping[str, Any]], curve: bool) -> str:
    """The confidence band as the points of a polygon, "" without one."""
    known = [dot for dot in dots if dot["ends"]]
    if not curve or len(known) < 2:
        return ""
    edge = [(d["x"], d["ends"][0]) for d in known] + [(d["x"], d["ends"][1]) for d in reversed(known)]
    return " ".join(f"{x},{y}" for x, y in edge)


# ---- latency ----


def _latency(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Bars as shares of the longest sum, in percent."""
    names = list(dict.fromkeys(part["name"] for entry in entries for part in entry["parts"]))
    longest = max((sum(part["ms"] for part in entry["parts"]) for entry in entries), default=0) or 1
    bars = []
    for entry in entries:
        start, parts = 0.0, []
        for part in entry["parts"]:
            share = 100 * part["ms"] / longest
            parts.append({"x": start, "width": share, "number": names.index(part["name"]), **part})
            start += share
        cost = entry.get("us_per_10ms")
        bars.append({
            "system": entry["system"], "parts": parts, "total": f"{sum(p['ms'] for p in parts):.1f} ms",
            "cost": "" if cost is None else f"{cost:,.0f} µs for 10 ms of sound, {cost / 100:.1f} % of real time",
        })  # fmt: skip
    return {"names": names, "bars": bars}


# ---- scenes ----


def _fact_columns(results: Results) -> list[str]:
    """Facts that differ between scenes, the first few."""
    facts = [scene.get("facts") or {} for scene in results["scenes"]]
    keys = dict.fromkeys(key for fact in facts for key in fact)
    return [key for key in keys if len({_plain(fact.get(key)) for fact in facts}) > 1][:_FACT_COLUMNS]


def _index(results: Results) -> dict[str, Any]:
    """What the page sorts and filters by, and every score."""
    return {
        "metrics": results["metrics"],
        "systems": results["systems"],
        "baseline": results.get("baseline"),
        "scenes": [
            {
                "name": scene["name"],
                "facts": scene.get("facts") or {},
                "text": " ".join([scene["name"], *(f"{k}={v}" for k, v in (scene.get("facts") or {}).items())]).lower(),
                "scores": {
                    metric: [((scene.get("rows") or {}).get(system) or {}).get(metric) for system in results["systems"]]
                    for metric in results["metrics"]
                },
            }
            for scene in results["scenes"]
        ],
    }


def _scene(scene: Mapping[str, Any], results: Results, folder: Path) -> dict[str, Any]:
    """A row of the table, and `data`: a function that reads the files of its panel."""
    audio = _found(_in_order(scene.get("audio") or {}, ["clean", results.get("baseline"), *results["systems"]]), folder)
    pictures = _found(_in_order(scene.get("pictures") or {}, _PICTURES), folder)
    missing = [name for name, file in (*audio, *pictures) if file is None]
    facts = scene.get("facts") or {}
    notes = [*(scene.get("reasons") or []), *(f"missing file: {name}" for name in missing)]

    def data() -> dict[str, Any]:
        return {
            "audio": [(name, _data_uri(file)) for name, file in audio if file],
            "pictures": [(_PICTURES.get(name, _label(name)), _data_uri(file)) for name, file in pictures if file],
            "facts": [(_label(key), _plain(value)) for key, value in facts.items()],
            "error": scene.get("error"),
            "notes": notes,
        }

    return {
        "name": scene["name"],
        "facts": [_plain(facts.get(key)) for key in _fact_columns(results)],
        "error": scene.get("error"),
        "marks": [
            *(["failed"] if scene.get("error") else []),
            *([_count(len(missing), "file") + " missing"] if missing else []),
            *([_count(len(scene["reasons"]), "note")] if scene.get("reasons") else []),
        ],
        "data": data,
    }


def _in_order(files: Mapping[str, str], first: Iterable[str | None]) -> Iterator[tuple[str, str]]:
    order = dict.fromkeys([*(name for name in first if name in files), *files])
    return ((name, files[name]) for name in order)


def _found(files: Iterable[tuple[str, str]], folder: Path) -> list[tuple[str, Path | None]]:
    """(name, path), the path None where there is no file. ValueError for paths that lead out of the folder."""
    found = []
    for name, file in files:
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"results.json names the file {file!r} outside its folder; copy it into {folder}")
        if path.suffix.lower() not in _MEDIA:
            raise ValueError(f"results.json names the file {file!r}; a report takes {', '.join(_MEDIA)} files")
        found.append((name, path if path.is_file() else None))
    return found


def _data_uri(path: Path) -> str:
    return f"data:{_MEDIA[path.suffix.lower()]};base64,{base64.b64encode(path.read_bytes()).decode()}"
