"""TOML files, with errors that name the file."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from .errors import EdgeEnhanceError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def load_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a TOML file; EdgeEnhanceError names the file and what is wrong with it."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgeEnhanceError(f"{path} is not a TOML file: {error}") from error


def parse_toml(text: str, name: str = "the text") -> dict[str, Any]:
    """Parse TOML text; `name` stands in the error."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EdgeEnhanceError(f"{name} is not TOML: {error}") from error
