"""Writes what TOML can hold; the reader is `edgeenhance._toml`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def toml_text(content: Mapping[str, Any]) -> str:
    """A table as a TOML file: values, tables one level down as [sections], lists of tables as [[sections]]."""
    plain, sections = [], []
    for key, value in content.items():
        if isinstance(value, Mapping):
            sections += ["", f"[{_key(key)}]", *_lines(value)]
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for item in value:
                sections += ["", f"[[{_key(key)}]]", *_lines(item)]
        else:
            plain.append(f"{_key(key)} = {_value(value)}")
    return "\n".join([*plain, *sections, ""])


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(_lines(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"TOML cannot hold {value!r}")
