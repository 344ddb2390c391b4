"""What happens to a scene's recording before it is enhanced: the axes of a sweep that are no part of the room.

    look_error_deg    steered wrong by so much, to the left
    gain_db           level of the input, dB added at all microphones, sensor noise included
    mismatch          times ±2 dB and ±10° of random difference between microphones (see `robustness.mismatched`)
    dead              this microphone is silent, from 0
    swap              these two microphones' channels are exchanged: [0, 1]
    clip_db           flat-topped so many dB below the recording's peak
    move_deg          the target moves steadily by so much, to the left
    repeat_s          the recording is repeated until it is so long, the last repetition is scored

A condition changes what the microphones hear, never what the result is scored against, but for `move_deg` and
`gain_db`, whose targets move and change along. Speech and noise alone, for shadow filtering, change as the mixture
does, but are not clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .render import Rendered
from .robustness import mismatched
from .scene import Scene

_STEP_DEG = 5.0  # of a moving target: impulse responses are exchanged by cross-fades
_SIGNALS = ("mix", "clean", "target", "reverberant", "noise")


@dataclass(frozen=True)
class Condition:
    """The module's docstring says what the fields mean; the default is the recording as it is."""

    look_error_deg: float = 0.0
    gain_db: float = 0.0
    mismatch: float = 0.0
    dead: int | None = None
    swap: tuple[int, int] | None = None
    clip_db: float | None = None
    move_deg: float = 0.0
    repeat_s: float = 0.0

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Condition:
        """Of a suite's table; ValueError for wrong values."""
        values = dict(table)
        for name, value in values.items():
            if name == "swap":
                if not (isinstance(value, list) and len(value) == 2 and all(isinstance(m, int) for m in value)):
                    raise ValueError(f"swap takes two microphones such as [0, 1], got {value!r}")
                values[name] = tuple(value)
            elif not isinstance(value, (int, float)) or isinstance(value, bool) or not np.isfinite(value):
                raise ValueError(f"{name} takes a number, got {value!r}")
        if values.get("dead") is not None and (not isinstance(values["dead"], int) or values["dead"] < 0):
            raise ValueError(f"dead takes a microphone, counted from 0, got {values['dead']!r}")
        if values.get("clip_db", 0) < 0 or values.get("repeat_s", 0) < 0 or values.get("mismatch", 0) < 0:
            raise ValueError("clip_db, repeat_s and mismatch are 0 or more")
        return cls(**values)

    def render(self, scene: Scene, speech: str | None, noise: str | None) -> Rendered:
        """The scene's sound under this condition; ValueError for a microphone that the array does not have."""
        for mic in (self.dead, *(self.swap or ())):
            if mic is not None and not 0 <= mic < scene.array.mics:
                raise ValueError(f"microphone {mic} is not one of 0 to {scene.array.mics - 1} of {scene.array.name!r}")
        sound = _moving(scene, self.move_deg, speech, noise) if self.move_deg else scene.render(speech, noise)
        sound = _each(sound, lambda x: x * np.float32(10 ** (self.gain_db / 20))) if self.gain_db else sound
        parts = {name: self._recorded(getattr(sound, name), scene.seed) for name in ("mix", "reverberant", "noise")}
        if self.clip_db is not None:
            parts["mix"] = _clipped(parts["mix"], self.clip_db)
        return replace(sound, **parts)

    def _recorded(self, mix: np.ndarray, seed: int) -> np.ndarray:
        """What the device gets of a mixture (n, M), or of its parts."""
        mix = mix.copy()
        if self.mismatch:
            mix += np.float32(self.mismatch) * (mismatched(mix, np.random.default_rng([seed, 2])) - mix)
        if self.swap:
            mix[:, list(self.swap)] = mix[:, list(self.swap[::-1])]
        if self.dead is not None:
            mix[:, self.dead] = 0.0
        return mix


def _clipped(mix: np.ndarray, decibels: float) -> np.ndarray:
    ceiling = np.abs(mix).max() * 10 ** (-decibels / 20)
    return np.clip(mix, -ceiling, ceiling)


CONDITIONS = tuple(field.name for field in fields(Condition))


def _each(sound: Rendered, change: Any) -> Rendered:
    return replace(sound, **{name: change(getattr(sound, name)) for name in _SIGNALS})


def _moving(scene: Scene, degrees: float, speech: str | None, noise: str | None) -> Rendered:
    """The scene rendered at steps of the target's way, and cross-faded from one to the next.

    Noises sound the same in every one, so fading leaves them alone, but for their level: each step has the scene's SNR.
    """
    steps = max(2, int(np.ceil(abs(degrees) / _STEP_DEG)) + 1)
    target, others = scene.sources[0], scene.sources[1:]
    total: dict[str, np.ndarray] = {}
    for step, turned in enumerate(np.linspace(0, degrees, steps)):
        there = replace(target, azimuth_deg=target.azimuth_deg + float(turned))
        sound = replace(scene, sources=(there, *others)).render(speech, noise)
        at = np.linspace(0, steps - 1, len(sound.mix))
        share = np.clip(1 - np.abs(at - step), 0, 1).astype(np.float32)[:, None]
        for name in _SIGNALS:
            total[name] = total.get(name, 0) + share * getattr(sound, name)
    return replace(sound, meta={**sound.meta, "look_deg": scene.look_deg}, **total)
