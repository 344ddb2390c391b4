"""Files are written to a temporary name and renamed: a reader never sees half a file."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EdgeEnhanceError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix); rename it on success, remove it on failure.

    Raises EdgeEnhanceError where the folder cannot be written to, or the disk is full.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        sentence = f"cannot write {target}: {error.strerror}; choose a folder that exists and is writable"
        raise EdgeEnhanceError(sentence) from error
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise EdgeEnhanceError(f"cannot write {target}: {error.strerror}; make room") from error
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files; results are ordinary ones
        try:
            os.replace(temporary, target)
        except OSError as error:
            raise EdgeEnhanceError(f"cannot write {target}: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
