"""Pairs of noisy and clean speech, made as MS-SNSD's are: at given SNRs, seeded, on any number of cores.

Clips, drawn at random, follow each other with a silence between them until they are as long as wanted; a longer clip
begins at a random place. Every pair of speech and noise is mixed at every SNR in turn, and the mixture brought to a
random level. A clip that is corrupt, silent or at another rate is named and replaced by another one.

SNR : power of the speech over power of the noise, both over the samples where somebody speaks, as in a scene.

    noisy/000017.flac = clean/000017.flac + noise/000017.flac, to the bit     pairs.jsonl   snr_db, level_dbfs, files

Source: C. K. A. Reddy et al., "A scalable noisy speech dataset and online subjective test framework", Interspeech 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EdgeEnhanceError
from ..jobs import results
from ..render import speaking
from .conditions import PEAK, to_int16
from .layouts import recordings
from .store import Journal, claim, digest, read_sound, write_lines, write_sound

PAIRS, SETTINGS, JOURNAL = "pairs.jsonl", "mix.json", "mixed.jsonl"
_FOLDERS = ("clean", "noise", "noisy")
_TRIES = 8  # unfit clips in a row that are replaced
_SILENT = 1e-4  # RMS, -80 dBFS: a piece below it is no speech and no noise


@dataclass(frozen=True)
class Mix:
    """How to mix. seconds : of each pair · snr_db : levels, all used in turn · level_dbfs : range of the mixture's RMS
    silence : seconds between two clips · rate : Hz, of all clips · seed. ValueError for what cannot be mixed."""

    seconds: float = 10.0
    snr_db: tuple[float, ...] = (0.0, 10.0, 20.0, 30.0, 40.0)
    level_dbfs: tuple[float, float] = (-35.0, -15.0)
    silence: float = 0.2
    rate: int = 16000
    seed: int = 1

    def __post_init__(self) -> None:
        if not (0.1 <= self.seconds <= 3600 and 0 <= self.silence <= 60):
            raise ValueError(
                f"pairs last 0.1 to 3600 s and silences 0 to 60, got {self.seconds:g} and {self.silence:g}"
            )
        if not self.snr_db or not all(abs(snr) <= 100 for snr in self.snr_db):
            raise ValueError(f"snr_db takes one level or more within ±100 dB, got {self.snr_db}")
        if not -90 <= self.level_dbfs[0] <= self.level_dbfs[1] <= 0:
            raise ValueError(f"level_dbfs is a range, lower end first, within -90 .. 0, got {self.level_dbfs}")

    @property
    def samples(self) -> int:
        return round(self.seconds * self.rate)


@dataclass(frozen=True)
class Clips:
    """The recordings to mix: folder, and paths below it."""

    folder: Path
    speech: tuple[str, ...]
    noise: tuple[str, ...]

    @classmethod
    def below(cls, folder: Path) -> Clips:
        """What lies in folder/speech and folder/noise; EdgeEnhanceError where one of them has no recordings."""
        found = []
        for kind in ("speech", "noise"):
            paths = recordings(folder / kind)
            if not paths:
                raise EdgeEnhanceError(
                    f"no recordings in {folder / kind}; mixing takes a folder with speech/ and noise/"
                )
            found.append(tuple(path.relative_to(folder).as_posix() for path in paths))
        return cls(folder, *found)

    def digest(self) -> str:
        """Of names and sizes."""
        return digest(f"{name} {(self.folder / name).stat().st_size}" for name in (*self.speech, *self.noise))


def mix(
    data: Path, out: Path, settings: Mix, count: int, workers: int = 1
) -> tuple[list[dict[str, Any]], list[str], int]:
    """Write `count` pairs of the recordings in data/speech and data/noise; what is in `out` already is not mixed again.

    Returns what pairs.jsonl holds, a sentence for every clip that was of no use, and how many pairs are new. Raises
    EdgeEnhanceError where folders are missing, nothing fits, or `out` holds mixtures of other settings or recordings.
    """
    clips = Clips.below(data)
    claim(out / SETTINGS, {**asdict(settings), "recordings": clips.digest()})
    journal = Journal(out / JOURNAL)
    missing = [index for index in range(count) if index not in journal.records or not _is_whole(out, index)]
    for index, record in results(partial(_write, data, out, settings), missing, workers, "mix", unit="pair"):
        journal.add(index, record)
    records = [journal.records[index] for index in range(count)]
    unfit = sorted({sentence for record in records for sentence in record["unfit"]})
    pairs = [{key: record[key] for key in record if key != "unfit"} for record in records]
    write_lines(out / PAIRS, pairs)
    return pairs, unfit, len(missing)


_listed = lru_cache(maxsize=1)(Clips.below)  # once per process


def _is_whole(out: Path, index: int) -> bool:
    return all((out / folder / _name(index)).exists() for folder in _FOLDERS)


def _name(index: int) -> str:
    return f"{index:06d}.flac"


def _write(data: Path, out: Path, settings: Mix, index: int) -> dict[str, Any]:
    clean, noise, record = pair(_listed(data), settings, index)
    for folder, x in zip(_FOLDERS, (clean, noise, clean + noise)):
        write_sound(out / folder / _name(index), x, settings.rate)
    return {"name": _name(index), **record}


def pair(clips: Clips, settings: Mix, index: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Number `index`: clean and noise, (n,) int16 each, whose sum does not clip, and what was drawn."""
    number, level = divmod(index, len(settings.snr_db))
    draw = _Draw(clips.folder, settings, np.random.default_rng([settings.seed, number]), [])
    speech, speech_files = draw.row(clips.speech)
    active = speaking(speech, settings.rate)
    noise, noise_files = draw.row(clips.noise, active)
    snr, dbfs = settings.snr_db[level], draw.rng.uniform(*settings.level_dbfs)
    noise *= _rms(speech[active]) / _rms(noise[active]) * 10 ** (-snr / 20)
    gain = 10 ** (dbfs / 20) / _rms(speech + noise)
    gain = min(gain, PEAK / max(np.abs(part).max() for part in (speech, noise, speech + noise)))
    clean, noise = to_int16(gain * speech), to_int16(gain * noise)
    level_dbfs = round(20 * float(np.log10(_rms((clean + noise) / 32768))), 2)
    files = {"speech": speech_files, "noise": noise_files, "unfit": draw.unfit}
    return clean, noise, {"snr_db": snr, "level_dbfs": level_dbfs, **files}


@dataclass
class _Draw:
    """Clips drawn from a folder. unfit : sentences on those that were replaced"""

    folder: Path
    settings: Mix
    rng: np.random.Generator
    unfit: list[str]

    def row(self, names: Sequence[str], where: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, list[str]]:
        """Clips one after the other (n,) and their names; not silent `where`."""
        for _ in range(_TRIES):
            out, used, at = np.zeros(self.settings.samples), [], 0
            while at < len(out):
                name, x = self.clip(names, len(out) - at)
                out[at : at + len(x)] = x
                at += len(x) + round(self.settings.silence * self.settings.rate)
                used.append(name)
            if _rms(out[where]) > _SILENT:
                return out, used
        raise EdgeEnhanceError(f"{used[0]} and others are silent where somebody speaks; remove silent recordings")

    def clip(self, names: Sequence[str], samples: int) -> tuple[str, np.ndarray]:
        """Name and (m,) of a clip, m = samples or less."""
        for _ in range(_TRIES):
            name = names[self.rng.integers(len(names))]
            try:
                return name, self._read(name, samples)
            except EdgeEnhanceError as error:
                self.unfit.append(f"{name}: {error}")
        raise EdgeEnhanceError(f"{_TRIES} recordings in a row were of no use, the last one {self.unfit[-1]}")

    def _read(self, name: str, samples: int) -> np.ndarray:
        x, rate = read_sound(self.folder / name, samples=samples, rng=self.rng)
        if rate != self.settings.rate:
            raise EdgeEnhanceError(
                f"sample rate {rate} Hz, expected {self.settings.rate} Hz; see edgeenhance data prepare"
            )
        if not np.isfinite(x).all() or _rms(x) < _SILENT:
            raise EdgeEnhanceError("silent, or NaN or Inf samples")
        return x.mean(axis=1)


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=float)))) if x.size else 0.0
