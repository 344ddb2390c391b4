"""Suites: fixed sets of scenes that everybody measures on.

A suite is a TOML file: `[defaults]` in the layout of a scene file, and `[[scenes]]` whose keys go before them, each
with a seed of its own. `load_suite("bench")` is the benchmark. `train.toml` in the same folder is no suite but a scene
file of ranges, for banks.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .._toml import load_toml
from .scene import Scene, draw

FOLDER = Path(__file__).parent / "suites"


def load_suite(name: str | os.PathLike[str]) -> list[Scene]:
    """The scenes of a suite, by name (a file in `suites/`) or by path; ValueError if it has none, or for wrong ones."""
    path = FOLDER / f"{name}.toml" if (FOLDER / f"{name}.toml").exists() else Path(name)
    suite = load_toml(path)
    scenes = suite.get("scenes")
    if not scenes:
        raise ValueError(f"{path} is no suite; it needs [[scenes]]")
    return [draw(merged(suite.get("defaults", {}), scene), folder=path.parent) for scene in scenes]


def add_suite_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command that runs a suite takes: --suite, --speech, --noise, --scenes, --workers."""
    parser.add_argument("--suite", default="bench", metavar="NAME|FILE.toml", help="default: bench")
    parser.add_argument("--speech", metavar="DIR", help="recordings of talkers; synthesized without")
    parser.add_argument("--noise", metavar="DIR", help="recordings of noises; synthesized without")
    parser.add_argument("--scenes", type=int, metavar="N", help="the first N scenes only")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")


def merged(defaults: dict, scene: dict) -> dict:
    """Tables are merged key by key, everything else is replaced."""
    tables = [key for key in defaults.keys() & scene.keys() if isinstance(scene[key], dict)]
    both = {key: {**defaults[key], **scene[key]} for key in tables}
    return {**defaults, **scene, **both}
