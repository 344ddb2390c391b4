"""Banks of impulse responses: what a network is trained on, mixed with speech and noise only when it is read.

A bank is a folder: `bank.toml` (format, seed, count, sample rate, the ranges) and `scene_00000.npz`, ... each with

    rir         float16 (S, M, L)     sources x microphones x taps, source 0 = target; the target's direct and early
                                      sound at the reference microphone has energy 1
    early       float16 (L_e,)        that direct and early (50 ms) sound, same scale and time origin
    diffuse     float16 (K, M, L_d)   responses for K independent noises, together a diffuse field (if asked for)
    kind        (S,) text             "target" or "point"
    array_toml  text                  the array, as the beamformer is told; microphones may be a little off it
    look_deg    float                 true direction of the target relative to the array's front
    reference   int                   microphone
    onset       int                   sample at which the target's direct sound reaches it
    rt60        float, seconds        distances (S,) metres        azimuths_deg (S,)        elevations_deg (S,)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_path
from .._toml import load_toml, parse_toml
from ..errors import EdgeEnhanceError
from .jobs import run_jobs
from .room import SAMPLE_RATE
from .scene import Scene, draw, scene_seed
from .toml_text import toml_text

FORMAT = 1
LONGEST_S = 0.5
_DECAY_DB = 60.0


def make_bank(
    ranges: Mapping[str, Any],
    out: str | os.PathLike[str],
    count: int,
    seed: int = 0,
    workers: int = 1,
    folder: str | os.PathLike[str] = ".",
) -> None:
    """Write (or go on with) a bank of `count` scenes drawn from `ranges`, a parsed scene file.

    seed : scene i of a seed is the same whatever the count and the workers · folder : what files named in the ranges
    are relative to. Raises EdgeEnhanceError if `out` holds a bank of another kind; ValueError as `draw` does.
    """
    out = Path(out)
    draw(ranges, scene_seed(seed, 0), folder)  # wrong ranges end here, not in a worker
    open_folder(out, "bank.toml", {"format": FORMAT, "sample_rate": SAMPLE_RATE, "seed": seed, "ranges": ranges}, count)
    missing = [index for index in range(count) if not _path(out, index).exists()]
    job = partial(_write_scene, ranges, out, seed, Path(folder))
    run_jobs(job, missing, workers, "bank")


def open_folder(out: Path, name: str, content: dict[str, Any], count: int) -> None:
    """Create the folder with its description, or check that it is the same one; the larger count stays in it."""
    path = out / name
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot create {out}: {error.strerror}") from error
    if path.exists() and any(out.glob("scene_*")):
        before = load_toml(path)
        count = max(count, before.pop("count", 0))
        if before != parse_toml(toml_text(content)):
            raise EdgeEnhanceError(f"{path} was written with another seed or other ranges; choose an empty folder")
    with atomic_path(path) as temporary:
        temporary.write_text(toml_text({"count": count, **content}), encoding="utf-8")


def scene_item(scene: Scene) -> dict[str, Any]:
    """The arrays of one scene of a bank."""
    responses = scene.responses(LONGEST_S)
    early = responses.early(scene.reference)
    scale = 1 / np.sqrt(np.sum(early.astype(float) ** 2))
    item = {
        "rir": (responses.point[..., : _decayed(responses.point)] * scale).astype(np.float16),
        "early": (early * scale).astype(np.float16),
        "kind": np.array(["target"] + ["point"] * (len(scene.sources) - 1)),
        "array_toml": scene.array.to_toml(),
        "look_deg": scene.look_deg,
        "reference": scene.reference,
        "onset": int(responses.onsets[scene.reference]),
        "rt60": scene.room.rt60,
        "distances": np.array([source.distance_m for source in scene.sources]),
        "azimuths_deg": np.array([source.azimuth_deg for source in scene.sources]),
        "elevations_deg": np.array([source.elevation_deg for source in scene.sources]),
    }
    if responses.diffuse is not None:
        item["diffuse"] = responses.diffuse.astype(np.float16)
    return item


def _decayed(responses: np.ndarray) -> int:
    """Samples after which no response (..., L) has more than -60 dB of its energy left."""
    remaining = np.cumsum(np.square(responses[..., ::-1], dtype=float), axis=-1)[..., ::-1]
    audible = remaining > remaining[..., :1] * 10 ** (-_DECAY_DB / 10)
    return int(audible.any(axis=tuple(range(audible.ndim - 1))).sum())


def _path(out: Path, index: int) -> Path:
    return out / f"scene_{index:05d}.npz"


def _write_scene(ranges: Mapping[str, Any], out: Path, seed: int, folder: Path, index: int) -> None:
    item = scene_item(draw(ranges, scene_seed(seed, index), folder))
    with atomic_path(_path(out, index)) as temporary:
        np.savez(temporary, **item)
