"""Pass or fail: what a system must reach on a suite.

    [gate]
    preset = "default"            # or "strict", or "none"
    systems = ["mvdr+assist-m"]   # who is judged; default: all but the baseline
    [gate.improvement]            # mean over the scenes of (system - baseline), at least; for metrics of which less
    pesq = 0.1                    # is better, baseline - system
    [gate.at_least]               # mean of the system itself
    snr_improvement = 3.0
    [gate.at_most]
    artifact_score = 0.3
    latency_ms = 10.0

Own bounds go before the preset's. A metric that could not be computed on any scene is a miss, but for latency_ms,
real_time_factor and model_kb of systems of which nobody knows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .measures import MEASURES
from .metrics import paired_interval

# of every system that runs here, beside the metrics: (title, unit, digits)
COSTS = {
    "real_time_factor": ("real-time factor", "", 3),
    "latency_ms": ("latency", "ms", 1),
    "model_kb": ("model", "kB", 0),
}
_KINDS = {"improvement": "≥", "at_least": "≥", "at_most": "≤"}

# preset -> kind -> metric -> bound
PRESETS: dict[str, dict[str, dict[str, float]]] = {
    "default": {
        "improvement": {"pesq": 0.1, "estoi": 0.05},
        "at_least": {"snr_improvement": 3.0},
        "at_most": {"artifact_score": 0.3, "clipping_ratio": 0.01, "real_time_factor": 1.0, "latency_ms": 40.0},
    },
    "strict": {
        "improvement": {"pesq": 0.5, "stoi": 0.1},
        "at_least": {"snr_improvement": 3.0},
        "at_most": {"artifact_score": 0.3, "clipping_ratio": 0.01},
    },
    "none": {},
}


@dataclass(frozen=True)
class Verdict:
    """One line of the gate's table."""

    system: str
    what: str
    bound: str
    measured: str
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """As results.json holds it."""
        return {"what": f"{self.system}: {self.what}", **{k: getattr(self, k) for k in ("bound", "measured", "passed")}}


@dataclass(frozen=True)
class Gate:
    """Bounds {kind: {metric: value}} on `systems`, improvements over `baseline`; see the module's docstring."""

    bounds: dict[str, dict[str, float]]
    systems: tuple[str, ...]
    baseline: str

    @classmethod
    def parse(cls, table: Mapping[str, Any], systems: Sequence[str], baseline: str) -> Gate:
        """A suite's [gate]; without one nothing is judged. ValueError for unknown metrics and systems."""
        preset = table.get("preset", "none")
        if preset not in PRESETS:
            raise ValueError(f"[gate]: unknown preset {preset!r}; choose from {', '.join(PRESETS)}")
        unknown = sorted(set(table) - {"preset", "systems", *_KINDS})
        if unknown:
            raise ValueError(f"[gate]: unknown key {unknown[0]!r}; there are preset, systems, {', '.join(_KINDS)}")
        bounds = {kind: {**PRESETS[preset].get(kind, {}), **table.get(kind, {})} for kind in _KINDS}
        for metric in (metric for kind in bounds.values() for metric in kind):
            if metric not in MEASURES and metric not in COSTS:
                raise ValueError(f"[gate]: unknown metric {metric!r}; choose from {', '.join((*MEASURES, *COSTS))}")
        judged = tuple(table.get("systems", (name for name in systems if name != baseline)))
        if not set(judged) <= set(systems):
            raise ValueError(f"[gate]: systems are some of {', '.join(systems)}, got {', '.join(judged)}")
        return cls(bounds, judged, baseline)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What must be computed for it."""
        return tuple(dict.fromkeys(m for kind in self.bounds.values() for m in kind if m in MEASURES))

    def judge(self, scenes: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        """scenes : of results.json, "rows" {system: {metric: value or None}}; failed scenes have none."""
        out = []
        for system in self.systems:
            for kind, bounds in self.bounds.items():
                for metric, bound in bounds.items():
                    values = [self._value(kind, metric, system, scene) for scene in scenes]
                    known = [value for value in values if value is not None]
                    if known or metric not in COSTS:
                        out.append(self._verdict(system, kind, metric, bound, known))
        return out

    def _value(self, kind: str, metric: str, system: str, scene: Mapping[str, Any]) -> float | None:
        rows = scene.get("rows", {})
        own = rows.get(system, {}).get(metric)
        if kind != "improvement" or own is None:
            return own
        theirs = rows.get(self.baseline, {}).get(metric)
        better = -1 if metric in MEASURES and MEASURES[metric].better == "lower" else 1
        return None if theirs is None else better * (own - theirs)

    def _verdict(self, system: str, kind: str, metric: str, bound: float, values: Sequence[float]) -> Verdict:
        title, unit, digits = described(metric)
        title += f" / {unit}" if unit else ""
        what = f"{title}, over {self.baseline}" if kind == "improvement" else title
        text = f"{_KINDS[kind]} {bound:g}"
        if not values:
            return Verdict(system, what, text, "could not be computed", False)
        found = paired_interval(values)
        passed = found.mean <= bound if kind == "at_most" else found.mean >= bound
        measured = found.format(digits, sign="+" if kind == "improvement" else "")
        return Verdict(system, what, text, measured, bool(passed))


def described(metric: str) -> tuple[str, str, int]:
    """Title, unit and digits of a metric or cost."""
    if metric in COSTS:
        return COSTS[metric]
    return MEASURES[metric].title, MEASURES[metric].unit, MEASURES[metric].digits


def junit(suite: str, verdicts: Sequence[Mapping[str, Any]], errors: Mapping[str, str]) -> bytes:
    """JUnit XML for CI servers: a test case per verdict, and one per scene that failed.

    verdicts : of `Verdict.to_dict` · errors : {case: sentence}
    """
    root = ElementTree.Element("testsuites")
    failures = sum(not v["passed"] for v in verdicts)
    tests = str(len(verdicts) + len(errors))
    group = ElementTree.SubElement(
        root, "testsuite", name=suite, tests=tests, failures=str(failures), errors=str(len(errors))
    )
    for verdict in verdicts:
        case = ElementTree.SubElement(group, "testcase", classname="gate", name=verdict["what"])
        if not verdict["passed"]:
            ElementTree.SubElement(case, "failure", message=f"{verdict['measured']}, asked for {verdict['bound']}")
    for name, sentence in errors.items():
        case = ElementTree.SubElement(group, "testcase", classname="scenes", name=name)
        ElementTree.SubElement(case, "error", message=sentence)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def nan_to_none(value: float) -> float | None:
    """As JSON can say it."""
    return float(value) if np.isfinite(value) else None
