"""Reads flatbuffers without their schema: tables, vectors and numbers by slot. Every offset is checked before it is
followed; what leads out of the file is an EdgeEnhanceError."""

from __future__ import annotations

import struct

import numpy as np

from .errors import EdgeEnhanceError

_MOST = 4096  # entries of a vector of tables; networks here have a hundred


class Table:
    """A table of a flatbuffer; `slot` counts its fields in the schema's order, from 0."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at
        vtable = at - self._number("<i", at)
        size = self._number("<H", vtable)
        if size < 4 or size % 2:
            raise _damaged(f"a table of {size} bytes of slots")
        self._slots = np.frombuffer(self._bytes(vtable + 4, size - 4), "<u2").tolist()

    @classmethod
    def root(cls, content: bytes) -> Table:
        """The file's main table."""
        if len(content) < 8:
            raise _damaged(f"{len(content)} bytes")
        return cls(content, struct.unpack_from("<I", content)[0])

    @property
    def slots(self) -> set[int]:
        """Fields that are present."""
        return {slot for slot, offset in enumerate(self._slots) if offset}

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """A number of a `struct` kind such as "<i"; `default` where it is absent."""
        return self._number(kind, self._at + self._slots[slot]) if slot in self.slots else default

    def table(self, slot: int) -> Table | None:
        at = self._follow(slot)
        return None if at is None else Table(self._content, at)

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables; empty where it is absent."""
        offsets, start = self._vector(slot, "<u4")
        if len(offsets) > _MOST:
            raise _damaged(f"a list of {len(offsets)} entries")
        return [Table(self._content, start + 4 * n + int(offset)) for n, offset in enumerate(offsets)]

    def numbers(self, slot: int, kind: str) -> np.ndarray:
        """A vector of numbers of a NumPy kind such as "<i4"; empty where it is absent."""
        return self._vector(slot, kind)[0]

    def text(self, slot: int) -> str:
        return self._vector(slot, "u1")[0].tobytes().decode("utf-8", "replace")

    def _vector(self, slot: int, kind: str) -> tuple[np.ndarray, int]:
        at = self._follow(slot)
        if at is None:
            return np.zeros(0, kind), 0
        content = self._bytes(at + 4, self._number("<I", at) * np.dtype(kind).itemsize)
        return np.frombuffer(content, kind), at + 4

    def _follow(self, slot: int) -> int | None:
        if slot not in self.slots:
            return None
        at = self._at + self._slots[slot]
        return at + self._number("<I", at)

    def _number(self, kind: str, at: int) -> int:
        return struct.unpack(kind, self._bytes(at, struct.calcsize(kind)))[0]

    def _bytes(self, at: int, count: int) -> bytes:
        if not 0 <= at <= len(self._content) - count:
            raise _damaged(f"an offset to byte {at} of {len(self._content)}")
        return self._content[at : at + count]


def _damaged(what: str) -> EdgeEnhanceError:
    return EdgeEnhanceError(f"the model's flatbuffer is damaged ({what}); write it with edgeenhance quantize")
