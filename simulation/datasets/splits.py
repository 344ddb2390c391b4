"""Which talkers train, validate and test: seeded, nobody on two sides, the splits of the corpora kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .layouts import Item

SPLITS = ("train", "valid", "test")
SHARES = (80.0, 10.0, 10.0)


@dataclass(frozen=True)
class Source:
    """A corpus: its folder, which names it, its layout's name, its recordings."""

    folder: Path
    layout: str
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        return self.folder.name

    def key(self, item: Item) -> str:
        """The recording's path, from the corpus's name on."""
        return item.path.relative_to(self.folder.parent).as_posix()

    def talker(self, item: Item) -> str:
        """The same for the same talker in all corpora of a layout; where nobody is named, one for each file."""
        return f"{self.layout}/{item.kind}/{item.talker or self.key(item)}"


def assign(sources: Sequence[Source], shares: Sequence[float] = SHARES, seed: int = 1) -> dict[str, str]:
    """Talker -> split, for every talker of the sources.

    Splits of a corpus are kept (see `given`). What a corpus lacks is drawn from its talkers for training, and from
    those without a split. Every source gives each kind of recording its shares (train, valid, test, relative), and one
    talker or more to each split if it has enough. ValueError where a share is negative or none is left for training.
    """
    if len(shares) != 3 or min(shares) < 0 or shares[0] <= 0:
        raise ValueError(f"shares are those of train, valid and test, such as 80 10 10, got {shares}")
    fixed = given(sources)
    found = {talker: split for talker, split in fixed.items() if split != "train"}
    for source in sources:
        for kind in ("speech", "noise"):
            talkers = {source.talker(item) for item in source.items if item.kind == kind}
            there = {fixed.get(talker) for talker in talkers}
            lacking = {split: shares[SPLITS.index(split)] for split in SPLITS[1:] if split not in there}
            found |= _cut(talkers - found.keys(), lacking, shares[0], seed)
    return found


def given(sources: Iterable[Source]) -> dict[str, str]:
    """Talker -> the corpora's own split, where there is one: the latest of train, valid, test if there are several."""
    found: dict[str, str] = {}
    for source in sources:
        for item in source.items:
            if item.split:
                talker = source.talker(item)
                found[talker] = max(item.split, found.get(talker, "train"), key=SPLITS.index)
    return found


def _cut(talkers: Iterable[str], lacking: dict[str, float], train: float, seed: int) -> dict[str, str]:
    """Talkers in an order that only the seed decides: the first ones to the lacking splits, the rest trains."""
    order = sorted(talkers, key=lambda talker: hashlib.sha256(f"{seed}/{talker}".encode()).digest())
    found = dict.fromkeys(order, "train")
    lacking = {split: share for split, share in lacking.items() if share > 0}
    total, left = train + sum(lacking.values()), iter(order)
    if len(order) > len(lacking):
        for split, share in lacking.items():
            found |= dict.fromkeys(islice(left, max(1, round(len(order) * share / total))), split)
    return found
