"""Sound files, lists and settings of a data set on disk: whole or not there, and a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..._files import atomic_path
from ...errors import EdgeEnhanceError

_GO_ON = "what is finished stays: run the command again to go on"


def read_sound(
    path: str | os.PathLike[str], samples: int | None = None, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, int]:
    """Samples (n, channels) float32 and their rate.

    samples : at most so many, from a place that rng draws; None: all
    EdgeEnhanceError, in a few words and without the path, for what is no whole sound file.
    """
    import soundfile

    try:
        with soundfile.SoundFile(os.fspath(path)) as file:
            wanted = file.frames if samples is None else min(samples, file.frames)
            if wanted < file.frames:
                file.seek(int(rng.integers(file.frames - wanted + 1)))
            x = file.read(wanted, dtype="float32", always_2d=True)
            rate = file.samplerate
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless formats such as .raw
        raise EdgeEnhanceError(_reason(Path(path), error)) from error
    if len(x) < wanted:
        raise EdgeEnhanceError(f"corrupt: it ends after {len(x)} of {wanted} samples")
    return x, rate


def _reason(path: Path, error: Exception) -> str:
    """Why libsndfile could not read a file; of what the system refuses it says "system error" only."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                return "zero length"
    except OSError as refused:
        return f"not readable: {refused.strerror}"
    return f"corrupt: {str(getattr(error, 'error_string', error)).rstrip('.')}"


def write_sound(path: Path, x: np.ndarray, sample_rate: int) -> None:
    """Write (n,) int16 as FLAC, and the folders it needs; EdgeEnhanceError where the disk is full."""
    import soundfile

    memory = io.BytesIO()  # libsndfile does not tell of a full disk
    soundfile.write(memory, x, sample_rate, format="FLAC", subtype="PCM_16")
    write_bytes(path, memory.getvalue())


def write_bytes(path: Path, content: bytes) -> None:
    """As `write_sound`, of any content."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot write {path}: {error.strerror}; {_GO_ON}") from error
    except EdgeEnhanceError as error:
        raise EdgeEnhanceError(f"{error}; {_GO_ON}") from error


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """One JSON object per line."""
    write_bytes(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of `write_lines` or a `Journal`; EdgeEnhanceError for a file that is neither."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error}") from error


class Journal:
    """Results by key, one JSON line each as soon as it is there; a line that was cut off by a crash does not count."""

    def __init__(self, path: Path) -> None:
        self.path, self.records = path, {}
        whole = 0
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            for line in content[:whole].splitlines():
                record = json.loads(line)
                self.records[record.pop("key")] = record
            os.truncate(path, whole)

    def add(self, key: str | int, record: dict[str, Any]) -> None:
        """Keep a result."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, **record}, ensure_ascii=False) + "\n")
        except OSError as error:
            raise EdgeEnhanceError(f"cannot write {self.path}: {error.strerror}; {_GO_ON}") from error
        self.records[key] = record


def claim(path: Path, settings: dict[str, Any]) -> None:
    """Write down what a folder was made with; EdgeEnhanceError where that were other settings, which it names."""
    if not path.exists():
        write_bytes(path, json.dumps(settings, indent=1).encode())
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in settings if before.get(name) != json.loads(json.dumps(settings[name]))]
    if changed:
        raise EdgeEnhanceError(
            f"{path.parent} was made with other settings ({', '.join(changed)}); remove it, or choose another folder"
        )


def digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines, hexadecimal."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
