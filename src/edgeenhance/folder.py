"""A folder of recordings in, a folder of enhanced ones out: what fails is named at the end, the rest is done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._files import atomic_path
from .arrays import MicArray
from .cache import Cache, key, model_key
from .enhancer import DEFAULT_MODELS, FALLBACK
from .errors import EdgeEnhanceError
from .files import FORMATS, RecordingWarning, enhance_file

READABLE = (*FORMATS, ".opus", ".mp3", ".sph", ".aif")


def enhance_folder(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    cache: Cache | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    **settings: Any,
) -> tuple[list[Path], dict[str, str]]:
    """Enhance all sound files in a folder and its subfolders; results have the same names below `output`.

    A file in a format that cannot be written (.mp3, .opus) becomes .wav · settings : of `enhance_file`
    cache : files of the same contents are enhanced once · progress : called with (number, of how many, name)
    Returns what was written, and why the others were not, by name below `input`. EdgeEnhanceError where there is
    nothing to enhance, or `output` is `input`.
    """
    source, target = Path(input), Path(output)
    if source.resolve() == target.resolve():
        raise EdgeEnhanceError(f"results in {target} would replace the recordings; choose another folder")
    paths = _recordings(source, target)
    written: list[Path] = []
    failed: dict[str, str] = {}
    for number, path in enumerate(paths, 1):
        name = path.relative_to(source)
        out = target / (name if name.suffix.lower() in FORMATS else name.with_suffix(".wav"))
        if progress is not None:
            progress(number, len(paths), name.as_posix())
        try:
            if out in written:
                raise EdgeEnhanceError(f"{out} is another recording's already; rename one of them")
            out.parent.mkdir(parents=True, exist_ok=True)
            _enhance(path, out, cache, settings)
            written.append(out)
        except (EdgeEnhanceError, ValueError, OSError) as error:
            failed[name.as_posix()] = str(error)
    return written, failed


def _recordings(source: Path, target: Path) -> list[Path]:
    inside = target.resolve()
    paths = sorted(
        path
        for path in source.rglob("*")
        if path.suffix.lower() in READABLE and not path.name.startswith(".") and inside not in path.resolve().parents
    )
    if not paths:
        raise EdgeEnhanceError(f"no recordings in {source}; it needs {', '.join(READABLE)} files")
    return paths


def _enhance(path: Path, out: Path, cache: Cache | None, settings: dict[str, Any]) -> None:
    if cache is None:
        enhance_file(path, out, **settings)
        return
    content, doubts = cache.get(_key(path, out, **settings), lambda: _made(path, out, settings))
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
    for doubt in doubts:
        warnings.warn(doubt, RecordingWarning, stacklevel=2)


def _key(path: Path, out: Path, **settings: Any) -> str:
    """Of the recording's contents, the format of the result, and all that shapes it."""
    model = settings.pop("model", "default")
    if isinstance(model, str) and model == "default":
        model = DEFAULT_MODELS.get(settings.get("profile", "assist"), FALLBACK)
    if isinstance(array := settings.get("array"), (str, os.PathLike)):
        settings["array"] = MicArray.load(array)
    return key(path, out.suffix.lower(), model_key(model), **settings)


def _made(path: Path, out: Path, settings: dict[str, Any]) -> tuple[bytes, list[str]]:
    """The file's bytes, and what was doubtful about the recording."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecordingWarning)
        enhance_file(path, out, **settings)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, RecordingWarning)]
    return out.read_bytes(), said
