"""The sound of a scene: microphone mix, and what it is made of.

    speech, noise (recorded or synthesized)
      -> impulse responses -> target at all microphones, noise at the reference to `snr_db`, sensor noise, `level_dbfs`

SNR : power of the reverberant target over the power of all noise, both at the reference microphone and over the
samples where the target speaks (`speaking`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len

from ..errors import EdgeEnhanceError
from . import synth
from .responses import Responses
from .room import LEAD, SAMPLE_RATE
from .signal_measures import ACTIVE_DB

if TYPE_CHECKING:
    from .scene import Scene, Source

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_RUN_UP = SAMPLE_RATE // 2  # noises sound for so long before the scene begins, so that their reverberation is there
_GAP = SAMPLE_RATE // 4  # between two recordings of a talker, and two beginnings of one synthesized noise


@dataclass(frozen=True, eq=False)
class Rendered:
    """The signals of a scene at 16 kHz, float32.

    mix : (n, M) what the microphones hear = reverberant + noise
    clean : (n, M) direct sound and first 50 ms of the target at all microphones
    target : (n, ears) the same at each ear's reference microphone
    reverberant : (n, M) the target with all its reverberation · noise : (n, M) everything else, sensor noise included
    meta : all that was drawn, in the layout of a scene file, and look_deg, reference, ears, files, sample_rate
    """

    mix: np.ndarray
    clean: np.ndarray
    target: np.ndarray
    reverberant: np.ndarray
    noise: np.ndarray
    meta: dict[str, Any]

    @property
    def early(self) -> np.ndarray:
        """The target (n,) at the scene's reference microphone."""
        return self.target[:, self.meta["ears"].index(self.meta["array"]["ear"])]


def render(
    scene: Scene, speech: str | os.PathLike[str] | None = None, noise: str | os.PathLike[str] | None = None
) -> Rendered:
    """Render a scene; the same scene and folders give the same bits.

    speech, noise : folders of recordings (searched with their subfolders, files sorted by name, chosen by the scene's
    seed); None synthesizes talkers and noises. Raises EdgeEnhanceError for a folder without recordings or a file that
    cannot be read, ValueError if sensor noise alone is louder than snr_db allows.
    """
    responses = scene.responses()
    length = int(round(scene.duration * SAMPLE_RATE))
    studio = _Studio(scene.generator("signals"), speech, noise)
    voice = _delayed(studio.play(scene.sources[0], length), scene.sources[0].start_s)
    reverberant = _through(voice, responses.point[0])[:length]
    ears = list(scene.array.reference)
    clean = _clean(voice, responses, length)
    acoustic = _noises(scene, responses, studio, length)
    sensor = scene.generator("sensor noise").standard_normal(reverberant.shape) * 10 ** (scene.sensor_noise_dbfs / 20)

    active = speaking(reverberant[:, scene.reference])
    level = 10 ** (scene.level_dbfs / 20) / _rms(reverberant[active, scene.reference])
    wanted = 10 ** ((scene.level_dbfs - scene.snr_db) / 20)
    total = _to_level(acoustic, sensor, wanted, scene.reference, active)
    reverberant, clean = ((part * level).astype(np.float32) for part in (reverberant, clean))
    total, target = total.astype(np.float32), clean[:, [scene.array.ear(ear) for ear in ears]]
    return Rendered(reverberant + total, clean, target, reverberant, total, _meta(scene, studio, ears))


def _clean(voice: np.ndarray, responses: Responses, length: int) -> np.ndarray:
    """Direct and early sound of a voice at all microphones: (length, M)."""
    mics = range(responses.point.shape[1])
    return np.concatenate([_through(voice, responses.early(mic)[None])[:length] for mic in mics], axis=1)


def _meta(scene: Scene, studio: _Studio, ears: list[str]) -> dict[str, Any]:
    return {
        **scene.to_dict(),
        "sample_rate": SAMPLE_RATE,
        "look_deg": scene.look_deg,
        "reference": scene.reference,
        "ears": ears,
        "files": studio.played,
    }


def speaking(sound: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Where a talker (n,) speaks: (n,) bool, frames of 20 ms within 35 dB of the loudest one."""
    size = sample_rate // 50
    frames = -(-len(sound) // size)
    power = np.square(np.pad(sound, (0, frames * size - len(sound)))).reshape(frames, size).mean(axis=1)
    return np.repeat(power >= power.max() * 10 ** (-ACTIVE_DB / 10), size)[: len(sound)]


def _noises(scene: Scene, responses: Responses, studio: _Studio, length: int) -> np.ndarray | None:
    """All acoustic noise at the microphones (n, M); each has its level_db at the reference microphone."""
    total = None
    for source, response in zip(scene.sources[1:], responses.point[1:], strict=True):
        sound = _delayed(studio.play(source, length + _RUN_UP), source.start_s)
        total = _add(total, _through(sound, response)[_RUN_UP : _RUN_UP + length], source.level_db, scene.reference)
    if scene.diffuse:
        sounds = studio.play_many(scene.diffuse.kind, len(responses.diffuse), length + _RUN_UP)
        field = sum(_through(sound, response) for sound, response in zip(sounds, responses.diffuse, strict=True))
        total = _add(total, field[_RUN_UP : _RUN_UP + length], scene.diffuse.level_db, scene.reference)
    return total


def _add(total: np.ndarray | None, image: np.ndarray, level_db: float, reference: int) -> np.ndarray:
    scaled = image * (10 ** (level_db / 20) / max(_rms(image[:, reference]), 1e-12))
    return scaled if total is None else total + scaled


def _to_level(acoustic, sensor: np.ndarray, wanted: float, reference: int, active: np.ndarray) -> np.ndarray:
    """Acoustic noise scaled such that with the sensor noise it has `wanted` RMS where the target speaks."""
    if acoustic is None:
        return sensor
    a, s = acoustic[active, reference], sensor[active, reference]
    power, cross, rest = np.mean(a**2), np.mean(a * s), np.mean(s**2) - wanted**2
    if rest >= 0:
        raise ValueError(
            f"sensor noise of {20 * np.log10(_rms(s)):.0f} dBFS alone is louder than snr_db allows "
            f"({20 * np.log10(wanted):.0f} dBFS); lower sensor_noise_dbfs or raise level_dbfs"
        )
    if power == 0:
        raise ValueError("the noises are silent where the target speaks; choose other recordings, or another seed")
    return acoustic * ((-cross + np.sqrt(cross**2 - power * rest)) / power) + sensor


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=float))))


def _delayed(sound: np.ndarray, seconds: float) -> np.ndarray:
    return np.concatenate([np.zeros(int(round(seconds * SAMPLE_RATE))), sound])


def _through(sound: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Sound (n,) through responses (M, L): (n', M), the lead of the responses taken off."""
    size = next_fast_len(len(sound) + responses.shape[1], real=True)
    spectrum = np.fft.rfft(sound, size)
    return np.fft.irfft(np.fft.rfft(responses, size) * spectrum, size)[:, LEAD:].T


class _Studio:
    """Where sources get their sound from; no recording of a talker is played twice in a scene.

    played : for every source in turn, the files, or what was synthesized.
    """

    def __init__(self, rng: np.random.Generator, speech, noise):
        self._rng, self._speech, self._noise = rng, _Shelf(speech), _Shelf(noise)
        self.played: list[list[str]] = []

    def play(self, source: Source, length: int) -> np.ndarray:
        """Sound of a point source: (length,)."""
        if source.file:
            self.played.append([source.file])
            return np.resize(_read(source.file), length)
        return self._sound(source.kind, length)

    def play_many(self, kind: str, count: int, length: int) -> list[np.ndarray]:
        """Decorrelated sounds of one character: one sound, recorded or synthesized, begun at different places."""
        recorded = kind == "recorded" and self._noise
        sound = self._sound(kind, 0 if recorded else length + count * _GAP)
        start = self._rng.uniform(0, len(sound))
        return [np.resize(np.roll(sound, -int(start + i * len(sound) / count)), length) for i in range(count)]

    def _sound(self, kind: str, length: int) -> np.ndarray:
        if kind == "speech":
            return self._talker(length)
        if kind == "recorded" and self._noise:
            return self._recording(length)
        kind = str(self._rng.choice(synth.NOISE_KINDS)) if kind == "recorded" else kind
        self.played.append([f"synthesized {kind}"])
        return synth.noise(kind, length / SAMPLE_RATE, int(self._rng.integers(2**31)))

    def _talker(self, length: int) -> np.ndarray:
        """A talker from a random place of a recording, or several recordings in a row if one is too short."""
        if not self._speech:
            self.played.append(["synthesized speech"])
            return synth.speech(length / SAMPLE_RATE, int(self._rng.integers(2**31)))
        names: list[str] = []
        self.played.append(names)
        sound = self._next_talker(names)
        start = int(self._rng.integers(max(1, len(sound) - length)))
        sound = sound[start:]
        while len(sound) < length:
            sound = np.concatenate([sound, np.zeros(_GAP), self._next_talker(names)])
        return sound[:length]

    def _next_talker(self, names: list[str]) -> np.ndarray:
        used = {name for played in self.played for name in played}
        fresh = [name for name in self._speech.names if name not in used] or self._speech.names
        names.append(fresh[int(self._rng.integers(len(fresh)))])
        return self._speech.read(names[-1])

    def _recording(self, length: int) -> np.ndarray:
        """A noise recording from a random place, repeated if it is too short; length 0: all of it."""
        name = self._noise.names[int(self._rng.integers(len(self._noise.names)))]
        self.played.append([name])
        sound = self._noise.read(name)
        return np.resize(np.roll(sound, -int(self._rng.integers(len(sound)))), length) if length else sound


def recordings(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the sound files in a folder and its subfolders, sorted; EdgeEnhanceError if there are none."""
    files = (path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES)
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    if not names:
        raise EdgeEnhanceError(f"no recordings in {folder}; it needs {', '.join(SUFFIXES)} files")
    return names


class _Shelf:
    """A folder of recordings, or none (then it is false). names : as `recordings`."""

    def __init__(self, folder: str | os.PathLike[str] | None):
        self._folder = None if folder is None else Path(folder)

    def __bool__(self) -> bool:
        return self._folder is not None

    @cached_property
    def names(self) -> list[str]:
        return recordings(self._folder)

    def read(self, name: str) -> np.ndarray:
        return _read(self._folder / name)


def _read(path: str | os.PathLike[str]) -> np.ndarray:
    """A recording: (n,) float, channels averaged, at 16 kHz."""
    sound, rate = open_sound(path)
    sound = sound.mean(axis=1)
    if not np.any(sound):
        raise EdgeEnhanceError(f"{path} is silent; choose another recording")
    return at_16_khz(sound, rate)


def open_sound(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """A sound file (n, channels) float64 and its rate; EdgeEnhanceError where it cannot be read."""
    import soundfile

    try:
        return soundfile.read(path, always_2d=True)
    except (OSError, RuntimeError) as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error}") from error


def at_16_khz(sound: np.ndarray, rate: int) -> np.ndarray:
    """The sound (n, ...) at SAMPLE_RATE."""
    import soxr

    return soxr.resample(sound, rate, SAMPLE_RATE) if rate != SAMPLE_RATE else sound
