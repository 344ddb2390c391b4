"""Numbers of a scene file: fixed, drawn from a range, or chosen from a list.

    5.0                                     fixed
    [0.2, 0.6]                              two numbers: uniform between them (whole numbers for a `count`)
    ["pink", "babble"], [1, 2, 4]           any other list: one of its items
    {choice = [-5, 5]}                      one of its items, where two numbers would read as a range
    {choice = [[-15, 15], [-180, 180]], weights = [3, 1]}    items may be ranges themselves

`Table` walks one table of the file: it draws what is asked for, checks it, and complains about keys nobody asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_MISSING = object()


def resolve(value: Any, rng: np.random.Generator, whole: bool = False) -> Any:
    """Draw a value written in one of the forms above; what is no form is returned as it is. whole : draw integers."""
    if isinstance(value, Mapping) and "choice" in value:
        return resolve(_choose(value["choice"], value.get("weights"), rng), rng, whole)
    if not isinstance(value, list):
        return value
    if not _is_range(value):
        return resolve(_choose(value, None, rng), rng, whole)
    low, high = value
    if low > high:
        raise ValueError(f"range {value} runs backwards; write [{high}, {low}]")
    return int(rng.integers(low, high + 1)) if whole else float(rng.uniform(low, high))


def _is_range(value: Sequence[Any]) -> bool:
    return len(value) == 2 and all(is_number(item) for item in value)


def is_number(value: Any) -> bool:
    """Is it a finite number (True and False are not)?"""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))


def _choose(items: Any, weights: Any, rng: np.random.Generator) -> Any:
    if not isinstance(items, list) or not items:
        raise ValueError(f"a choice needs a list with at least one item, got {items!r}")
    if weights is None:
        return items[int(rng.integers(len(items)))]
    if len(weights) != len(items) or not all(is_number(w) and w >= 0 for w in weights) or not sum(weights) > 0:
        raise ValueError(f"a choice of {len(items)} items needs as many weights, numbers of 0 or more, got {weights!r}")
    return items[int(rng.choice(len(items), p=np.array(weights) / sum(weights)))]


class Table:
    """One table of a scene file, read with a random generator.

    table : the parsed table · where : its name in errors · rng : what ranges are drawn with
    """

    def __init__(self, table: Any, where: str, rng: np.random.Generator):
        if not isinstance(table, Mapping):
            raise ValueError(f"{where} must be a table, got {table!r}")
        self._table, self.where, self._rng, self._asked = table, where, rng, set()

    def raw(self, key: str, default: Any = None) -> Any:
        """The value as written."""
        self._asked.add(key)
        return self._table.get(key, default)

    def number(self, key: str, default: Any = _MISSING, low: float = -np.inf, high: float = np.inf) -> float:
        """A number in [low, high], drawn if it is a range. ValueError names the key."""
        value = self._drawn(key, default)
        if not is_number(value):
            raise ValueError(f"{self.where}: {key} must be a number or a range [low, high], got {value!r}")
        if not low <= value <= high:
            raise ValueError(f"{self.where}: {key} = {value:g} lies outside {low:g} to {high:g}")
        return float(value)

    def count(self, key: str, default: int, high: int) -> int:
        """A whole number in 0..high, drawn if it is a range."""
        value = self._drawn(key, default, whole=True)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
            raise ValueError(f"{self.where}: {key} must be a whole number from 0 to {high}, got {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str | None:
        """A text, or one of a list of texts."""
        value = self._drawn(key, default)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{self.where}: {key} must be a text or a list of texts, got {value!r}")
        return value

    def vector(self, key: str, default: Any = None) -> np.ndarray | None:
        """Three numbers, each fixed or drawn: (3,); None where the key is absent and has no default."""
        value = self.raw(key, default)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError(f"{self.where}: {key} must be three numbers or ranges [x, y, z], got {value!r}")
        items = Table(dict(zip("xyz", value, strict=True)), f"{self.where}: {key}", self._rng)
        return np.array([items.number(axis) for axis in "xyz"])

    def rest(self) -> dict[str, Any]:
        """What nobody has asked for so far; it counts as asked for, whoever takes it must check it."""
        rest = {key: value for key, value in self._table.items() if key not in self._asked}
        self._asked.update(rest)
        return rest

    def finish(self) -> None:
        """Raise ValueError if the table holds a key that was never asked for."""
        unknown = sorted(set(self._table) - self._asked)
        if unknown:
            raise ValueError(f"{self.where} has no key {unknown[0]!r}; its keys are {', '.join(sorted(self._asked))}")

    def _drawn(self, key: str, default: Any, whole: bool = False) -> Any:
        value = self.raw(key, default)
        if value is _MISSING:
            raise ValueError(f"{self.where}: {key} is missing")
        try:
            return resolve(value, self._rng, whole)
        except ValueError as error:
            raise ValueError(f"{self.where}: {key}: {error}") from error
