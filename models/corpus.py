"""Folders of recordings as one decoded array: named sources, split by talker, drawn from at random.

A recipe names its sources (folder, licence, weight). Files are decoded once into a cache that is mapped into memory,
so any number of loader processes shares it. What a source's `group` finds in a file name, the talker or the original
recording, decides on which side of the hold-out the file falls: nobody is heard in training and in validation.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError

SAMPLE_RATE = 16000
SUFFIXES = (".opus", ".flac", ".wav", ".ogg")
SILENT = 1e-5  # RMS below which a piece holds nothing to mix


@dataclass(frozen=True)
class Source:
    """One folder of a recipe.

    folder : name below the data folder's speech/ or noise/ · weight : share of draws, relative
    group : regular expression whose first group, in the file's stem, names the talker or the original recording;
    without it every file trains and none validates · exclude : file patterns left out · licence, origin : for the card
    """

    folder: str
    licence: str
    origin: str
    weight: float = 1.0
    group: str = ""
    exclude: tuple[str, ...] = ()

    def group_of(self, stem: str) -> str | None:
        """The talker or original recording of a file, None where the source does not tell."""
        found = re.match(self.group, stem) if self.group else None
        return found.group(1) if found else None


@dataclass(frozen=True)
class Clip:
    """One file: `length` samples from `start` of its source's array; source: index into the list of sources."""

    source: int
    group: str
    start: int
    length: int


class Corpus:
    """All clips of some sources on one side of the hold-out.

    root : folder that holds the sources' folders · cache : folder for decoded audio
    split : "train" | "valid" · held_out : share of groups that validate
    EdgeEnhanceError where a folder is missing or the split is left empty.
    """

    def __init__(self, root: Path, sources: list[Source], cache: Path, split: str, held_out: float = 0.1) -> None:
        self.sources = sources
        self._paths = [decode(Path(root) / source.folder, source.exclude, Path(cache)) for source in sources]
        self._arrays: list[np.ndarray] | None = None  # mapped on first use, in the process that uses them
        self.clips = [clip for clip in self._all_clips() if (split == "valid") == self._is_held_out(clip, held_out)]
        if not self.clips:
            raise EdgeEnhanceError(f"no {split} clips below {root}; give more sources with a group, or more files")
        self._groups = self._by_group()
        weights = np.array([self.sources[source].weight for source in self._groups])
        self._source_ids, self._shares = list(self._groups), weights / weights.sum()

    def _all_clips(self) -> Iterable[Clip]:
        for number, (source, path) in enumerate(zip(self.sources, self._paths, strict=True)):
            for name, start, length in json.loads(path.with_suffix(".json").read_text(encoding="utf-8")):
                yield Clip(number, source.group_of(Path(name).stem) or f"?{name}", start, length)

    def _is_held_out(self, clip: Clip, share: float) -> bool:
        key = f"{self.sources[clip.source].folder}/{clip.group}".encode()
        return not clip.group.startswith("?") and zlib.crc32(key) / 2**32 < share

    def _by_group(self) -> dict[int, list[list[Clip]]]:
        """Source -> talkers -> clips; files of unknown talkers form one group."""
        out: dict[int, dict[str, list[Clip]]] = {}
        for clip in self.clips:
            group = "?" if clip.group.startswith("?") else clip.group
            out.setdefault(clip.source, {}).setdefault(group, []).append(clip)
        return {source: list(groups.values()) for source, groups in out.items()}

    def _samples(self, clip: Clip, first: int, count: int) -> np.ndarray:
        if self._arrays is None:
            self._arrays = [np.load(path, mmap_mode="r") for path in self._paths]
        piece = self._arrays[clip.source][clip.start + first : clip.start + first + count]
        return piece.astype(np.float32) / 32768

    def draw(self, rng: np.random.Generator, samples: int, pause: float = 0.0) -> np.ndarray:
        """`samples` of one talker or one noise : float32. Short clips follow each other after up to `pause` seconds."""
        for _ in range(8):
            groups = self._groups[self._source_ids[rng.choice(len(self._source_ids), p=self._shares)]]
            piece = self._fill(groups[rng.integers(len(groups))], rng, samples, pause)
            if np.sqrt(np.mean(np.square(piece))) > SILENT:
                return piece
        raise EdgeEnhanceError("eight draws in a row were silent; remove silent files from the data folders")

    def _fill(self, clips: list[Clip], rng: np.random.Generator, samples: int, pause: float) -> np.ndarray:
        out, at = np.zeros(samples, np.float32), 0
        while at < samples:
            clip = clips[rng.integers(len(clips))]
            first = int(rng.integers(max(1, clip.length - (samples - at) + 1))) if at == 0 else 0
            piece = self._samples(clip, first, samples - at)
            out[at : at + len(piece)] = piece
            at += len(piece) + int(rng.uniform(0, pause) * SAMPLE_RATE)
        return out


def default_cache() -> Path:
    """Where decoded audio and designed beams are kept: $XDG_CACHE_HOME/edgeenhance or ~/.cache/edgeenhance."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeenhance"


def decode(folder: Path, exclude: tuple[str, ...], cache: Path) -> Path:
    """Decode a folder's recordings to 16 kHz mono int16, once.

    Returns the cached .npy, which stands beside a .json of (name, start, length).
    """
    files = _recordings(folder, exclude)
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files)
    target = cache / f"{folder.name}-{hashlib.sha256(listing.encode()).hexdigest()[:16]}.npy"
    if not target.with_suffix(".json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        _write_cache(folder, files, target)
    return target


def _recordings(folder: Path, exclude: tuple[str, ...]) -> list[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = [path for path in files if not any(fnmatch.fnmatch(path.name, pattern) for pattern in exclude)]
    if not files:
        raise EdgeEnhanceError(f"no recordings ({', '.join(SUFFIXES)}) in {folder}; check the command's data folder")
    return files


def _write_cache(folder: Path, files: list[Path], target: Path) -> None:
    pieces = [_read(path) for path in files]
    starts = np.cumsum([0] + [len(piece) for piece in pieces]).tolist()
    names = [path.relative_to(folder).as_posix() for path in files]
    index = [(name, start, len(piece)) for name, start, piece in zip(names, starts, pieces, strict=False)]
    with atomic_path(target) as temporary:
        np.save(temporary, np.concatenate(pieces))
    with atomic_path(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(index), encoding="utf-8")


def _read(path: Path) -> np.ndarray:
    import soundfile
    import soxr

    try:
        samples, rate = soundfile.read(os.fspath(path), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error}") from error
    samples = samples.mean(1)
    if rate != SAMPLE_RATE:
        samples = soxr.resample(samples, rate, SAMPLE_RATE)
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
