"""Scene files to sound files: one folder for every scene.

`run_simulate` is the command `edgeenhance simulate`. Folders are made whole or not at all; what is there is not made
again, so an interrupted command is simply repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scipy.io import wavfile  # libsndfile stamps the time into float files; these are the same bytes every time

from .._toml import load_toml
from ..errors import EdgeEnhanceError
from .bank import make_bank, open_folder
from .jobs import run_jobs
from .render import Rendered, recordings
from .room import SAMPLE_RATE
from .scene import draw, scene_seed


def run_simulate(
    scene_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    seed: int | None = None,
    count: int = 1,
    bank: int = 0,
    workers: int = 1,
    speech: str | os.PathLike[str] | None = None,
    noise: str | os.PathLike[str] | None = None,
) -> None:
    """Simulate a scene file: `count` scenes as sound, or a bank of `bank` scenes as impulse responses.

    seed : default the scene file's, else 0 · speech, noise : folders of recordings, None synthesizes
    Raises ValueError and EdgeEnhanceError as `simulate` and `make_bank` do.
    """
    ranges, folder = load_toml(scene_path), Path(scene_path).parent
    seed = ranges.get("seed", 0) if seed is None else seed
    if bank:
        make_bank(ranges, out, bank, seed, workers, folder)
    else:
        simulate(ranges, out, seed, count, workers, speech, noise, folder)


def simulate(
    ranges: Mapping[str, Any],
    out: str | os.PathLike[str],
    seed: int = 0,
    count: int = 1,
    workers: int = 1,
    speech: str | os.PathLike[str] | None = None,
    noise: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] = ".",
) -> None:
    """Write `count` scenes drawn from `ranges` (a parsed scene file) to out/scene_00000, out/scene_00001, ...

    Each holds mix.wav, target.wav, reverberant.wav, noise.wav (float32, 16 kHz, see `render.Rendered`) and scene.json.
    Raises ValueError as `draw` and `render` do, EdgeEnhanceError for files, and if `out` holds other scenes.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    out = Path(out)
    draw(ranges, scene_seed(seed, 0), folder)  # wrong ranges end here, not in a worker
    folders = {key: os.fspath(value) for key, value in (("speech", speech), ("noise", noise)) if value is not None}
    for recorded in folders.values():
        recordings(recorded)
    open_folder(out, "scenes.toml", {"seed": seed, **folders, "ranges": ranges}, count)
    missing = [index for index in range(count) if not _path(out, index).exists()]
    job = partial(_simulate_one, ranges, out, seed, Path(folder), speech, noise)
    run_jobs(job, missing, workers, "simulate")


def write_rendered(rendered: Rendered, folder: str | os.PathLike[str]) -> None:
    """Write a rendered scene to a new folder, whole or not at all."""
    folder = Path(folder)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        for name in ("mix", "target", "reverberant", "noise"):
            wavfile.write(temporary / f"{name}.wav", SAMPLE_RATE, getattr(rendered, name))
        (temporary / "scene.json").write_text(json.dumps(rendered.meta, indent=1) + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _path(out: Path, index: int) -> Path:
    return out / f"scene_{index:05d}"


def _simulate_one(ranges, out: Path, seed: int, folder: Path, speech, noise, index: int) -> None:
    scene = draw(ranges, scene_seed(seed, index), folder)
    write_rendered(scene.render(speech, noise), _path(out, index))
