"""Random microphone arrays, so that a network meets more of them in training than anybody will ever build.

`random_array({"kind": ["bte", "linear"]}, rng)` draws one; the kinds are the functions of `_KINDS`. On the head a
kind's microphones lie on a rigid sphere of random radius, in the open air the same layout floats freely.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import MicArray, direction
from .draw import Table

_SHORTEST_M = 0.004  # microphones nearer than this are drawn again
_TRIES = 100


def random_array(ranges: Mapping[str, Any], rng: np.random.Generator) -> MicArray:
    """Draw an array. Keys of `ranges` (each a number, a range or a choice, see `draw`):

    kind : one of `kind_names()` · head_radius_m · spacing_m : front to rear microphone of a hearing aid
    aperture_m : size of a free array · jitter_m : standard deviation of each microphone's place · mics : number of
    microphones (per side for hearing aids). ValueError for an unknown kind or key.
    """
    for _ in range(_TRIES):
        table = Table(ranges, "[array]", rng)
        kind = table.text("kind", "bte")
        if kind not in _KINDS:
            raise ValueError(f"[array]: unknown kind {kind!r}; choose from {', '.join(kind_names())}")
        size = {
            "radius": table.number("head_radius_m", [0.075, 0.1], 0.03, 0.3),
            "spacing": table.number("spacing_m", [0.006, 0.014], 0.002, 0.05),
            "aperture": table.number("aperture_m", [0.01, 0.2], 0.005, 0.9),
            "mics": max(1, table.count("mics", [1, 6], 16)),
        }
        jitter = table.number("jitter_m", 0.001, 0, 0.01)
        table.finish()
        array = _build(kind, size, jitter, rng)
        if array is not None:
            return array
    raise ValueError(f"[array]: no array of kind {kind!r} with microphones {_SHORTEST_M * 1000:g} mm apart; widen it")


def kind_names() -> tuple[str, ...]:
    """Kinds of random arrays."""
    return tuple(_KINDS)


def _build(kind: str, size: dict[str, float], jitter: float, rng: np.random.Generator) -> MicArray | None:
    """An array of the kind, or None if two microphones came too close."""
    layout, on_head = _KINDS[kind]
    positions, reference = layout(rng, **size)
    positions = positions + rng.normal(0, jitter, positions.shape)
    radius = round(size["radius"], 3) if on_head else None
    if on_head:
        positions *= radius / np.linalg.norm(positions, axis=1, keepdims=True)
    else:
        positions -= positions.mean(axis=0)
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1)[np.triu_indices(len(positions), 1)]
    if apart.size and apart.min() < _SHORTEST_M:
        return None
    return MicArray(f"random-{kind}", positions, "head" if on_head else "free", radius, reference)


def _aid(rng, radius: float, spacing: float, mics: int, side: int, azimuth: float, elevation: float) -> np.ndarray:
    """Microphones of one hearing aid, front to rear along the head: (mics, 3); side +1 = left."""
    along = (np.arange(mics) - (mics - 1) / 2) * spacing / radius
    tilt = np.radians(rng.uniform(-25, 25))  # worn more or less level
    azimuths = azimuth + np.degrees(along * np.cos(tilt))
    return radius * direction(side * azimuths, elevation + np.degrees(along * np.sin(tilt)))


def _both_ears(rng, radius, spacing, mics, **_):
    """A hearing aid behind each ear, worn nearly alike, with 1 to 3 microphones each."""
    mics = min(mics, 3)
    azimuth, elevation = rng.uniform(82, 100), rng.uniform(-5, 20)
    sides = [
        _aid(rng, radius, spacing, mics, side, azimuth + rng.normal(0, 2), elevation + rng.normal(0, 2))
        for side in (1, -1)
    ]
    return np.concatenate(sides), {"left": 0, "right": mics}


def _one_ear(rng, radius, spacing, mics, **_):
    """A hearing aid behind one ear, with 1 to 3 microphones."""
    side = int(rng.choice([1, -1]))
    aid = _aid(rng, radius, spacing, min(mics, 3), side, rng.uniform(82, 100), rng.uniform(-5, 20))
    return aid, {"left" if side > 0 else "right": 0}


def _linear(rng, aperture, mics, **_):
    """A row of microphones, across the front or along it."""
    mics = max(mics, 2)
    places = np.linspace(-0.5, 0.5, mics) * max(aperture, 0.01 * (mics - 1))
    axis = direction(rng.choice([0.0, 90.0]) + rng.uniform(-10, 10))
    return places[:, None] * -axis, {"left": int(rng.integers(mics))}


def _circular(rng, aperture, mics, **_):
    """A circle, sometimes with a microphone in the middle."""
    mics = max(mics, 3)
    middle = int(mics > 3 and rng.random() < 0.3)
    angles = rng.uniform(0, 360) + 360 * np.arange(mics - middle) / (mics - middle)
    circle = max(aperture, 0.025) / 2 * direction(angles)
    return np.concatenate([circle, np.zeros((middle, 3))]), {"left": int(rng.integers(mics))}


def _glasses(rng, radius, mics, **_):
    """Smart glasses: pairs of microphones mirrored left and right of the nose, from the front to the temples."""
    pairs = int(np.clip(mics // 2, 1, 3))
    azimuths = np.sort(rng.uniform(5, 95, pairs))[::-1]
    elevation = rng.uniform(0, 20)
    sides = [radius * direction(side * azimuths, elevation) for side in (1, -1)]
    return np.concatenate(sides), {"left": 0, "right": pairs}


def _irregular(rng, aperture, mics, **_):
    """Microphones anywhere in a flat box."""
    mics = max(mics, 2)
    return rng.uniform(-0.5, 0.5, (mics, 3)) * np.array([1, 1, 0.3]) * max(aperture, 0.02), {"left": 0}


def _single(rng, **_):
    """One microphone."""
    return np.zeros((1, 3)), {"left": 0}


_KINDS = {  # name: (layout, on the head?)
    "bte": (_both_ears, True),
    "bte-one-ear": (_one_ear, True),
    "glasses": (_glasses, True),
    "free-bte": (_both_ears, False),
    "free-bte-one-ear": (_one_ear, False),
    "free-glasses": (_glasses, False),
    "linear": (_linear, False),
    "circular": (_circular, False),
    "irregular": (_irregular, False),
    "single": (_single, False),
}
