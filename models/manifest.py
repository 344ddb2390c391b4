"""Which files a model was trained on: one line per file, SHA-256, bytes and path, that anybody can check.

    write_manifest    the files of a recipe's sources in a data folder
    find_manifest     a list by name (those in models/manifests) or path
    digest            SHA-256 of the list itself, which weights carry
    check             what is missing or changed in a data folder

A list is gzip text, sorted by path; paths are below the data folder. How to get the data: docs/data.md.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError

from .corpus import SUFFIXES, Source

FOLDER = Path(__file__).parent / "manifests"
SUFFIX = ".txt.gz"


@dataclass(frozen=True)
class Entry:
    """One file. path : below the data folder, with / · size : bytes"""

    sha256: str
    size: int
    path: str


def write_manifest(data: Path, speech: Iterable[Source], noise: Iterable[Source], out: str | os.PathLike[str]) -> int:
    """List the recordings of the sources that lie in data/speech and data/noise; returns how many there are."""
    folders = [Path("speech") / source.folder for source in speech] + [
        Path("noise") / source.folder for source in noise
    ]
    paths = sorted({path.relative_to(data).as_posix() for folder in folders for path in _recordings(data / folder)})
    write_list(data, paths, out)
    return len(paths)


def write_list(data: Path, paths: Iterable[str], out: str | os.PathLike[str]) -> None:
    """List files by their paths below data."""
    from tqdm import tqdm

    lines = [
        f"{_sha256(data / path)} {(data / path).stat().st_size} {path}\n"
        for path in tqdm(sorted(paths), desc="hash", unit="file", disable=None)
    ]
    with atomic_path(out) as temporary:
        temporary.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def _recordings(folder: Path) -> Iterator[Path]:
    found = [path for path in folder.rglob("*") if path.suffix in SUFFIXES]
    if not found:
        raise EdgeEnhanceError(f"no recordings in {folder}; see docs/data.md")
    return iter(found)


def find_manifest(name: str | os.PathLike[str]) -> Path:
    """The file of a list; EdgeEnhanceError names the lists there are."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = FOLDER / f"{name}{SUFFIX}"
    if not shipped.is_file():
        known = ", ".join(sorted(entry.name.removesuffix(SUFFIX) for entry in FOLDER.glob(f"*{SUFFIX}")))
        known = known or "none here (wheels are without the zoo's lists, the repository has them)"
        raise EdgeEnhanceError(f"there is no list of files {str(name)!r}; give a path, or one of: {known}")
    return shipped


def read_manifest(name: str | os.PathLike[str]) -> list[Entry]:
    """The entries of a list; EdgeEnhanceError where the file is none."""
    path = find_manifest(name)
    try:
        lines = [line.split(" ", 2) for line in _text(path).decode().splitlines()]
        return [Entry(sha256, int(size), name) for sha256, size, name in lines]
    except ValueError as error:
        raise EdgeEnhanceError(f"{path} is not a list of files; make one with edgeenhance data manifest") from error


def digest(name: str | os.PathLike[str]) -> str:
    """SHA-256 of a list's text, hexadecimal."""
    return hashlib.sha256(_text(find_manifest(name))).hexdigest()


def check(data: Path, name: str | os.PathLike[str], contents: bool = True) -> list[str]:
    """A sentence for every file that is missing or differs. contents : compare the SHA-256, too, not the sizes alone"""
    from tqdm import tqdm

    entries = read_manifest(name)
    progress = tqdm(entries, unit="file", disable=None if contents else True)
    return [sentence for entry in progress if (sentence := _doubt(data / entry.path, entry, contents))]


def _doubt(path: Path, entry: Entry, contents: bool) -> str | None:
    if not path.is_file():
        return f"{entry.path} is missing"
    if path.stat().st_size != entry.size:
        return f"{entry.path} has {path.stat().st_size} bytes instead of {entry.size}"
    if contents and _sha256(path) != entry.sha256:
        return f"{entry.path} has other contents"
    return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise EdgeEnhanceError(f"{path} is not a list of files; make one with edgeenhance data manifest") from error
