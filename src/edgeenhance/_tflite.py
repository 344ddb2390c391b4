"""Reads the graph of a .tflite file without a runtime: its tensors and operators, checked.

    Table           a table of any flatbuffer, fields by slot; every offset is checked before it is followed
    read_graph      the model's graph

What leads out of the file, or is of no type or operator known here, is an EdgeEnhanceError.
"""

from __future__ import annotations

import math
import reprlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import EdgeEnhanceError
from .masknet import SIGNATURE

OPERATORS = {
    0: "ADD", 2: "CONCATENATION", 9: "FULLY_CONNECTED", 14: "LOGISTIC", 18: "MUL", 28: "TANH", 41: "SUB", 53: "CAST",
    114: "QUANTIZE",
}  # fmt: skip
TYPES = {0: np.dtype("<f4"), 2: np.dtype("<i4"), 7: np.dtype("<i2"), 9: np.dtype("i1")}
# A few bytes of a file can claim, or point many times to, far more than the file holds. Networks here have 48 operators
# and 71 tensors.
_MOST_TABLES = 512
_MOST_SLOTS = 64
_MOST_INPUTS = 64  # of an operator
_LONGEST_TEXT = 256


class Table:
    """A table of a flatbuffer; `slot` counts its fields in the schema's order, from 0."""

    def __init__(self, content: bytes | memoryview, at: int) -> None:
        self._content, self._at = memoryview(content), at
        vtable = at - self._number("<i", at)
        size = self._number("<H", vtable)
        if size < 4 or size % 2 or size > 4 + 2 * _MOST_SLOTS:
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
        if len(offsets) > _MOST_TABLES:
            raise _damaged(f"a list of {len(offsets)} tables")
        return [Table(self._content, start + 4 * n + int(offset)) for n, offset in enumerate(offsets)]

    def numbers(self, slot: int, kind: str, most: int = 1 << 16) -> np.ndarray:
        """A vector of at most `most` numbers of a NumPy kind such as "<i4"; empty where it is absent."""
        out = self._vector(slot, kind)[0]
        if len(out) > most:
            raise _damaged(f"a list of {len(out)} numbers")
        return out

    def text(self, slot: int) -> str:
        return self.numbers(slot, "u1", _LONGEST_TEXT).tobytes().decode("utf-8", "replace")

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

    def _bytes(self, at: int, count: int) -> memoryview:
        if not 0 <= at <= len(self._content) - count:
            raise _damaged(f"an offset to byte {at} of {len(self._content)}")
        return self._content[at : at + count]


def _damaged(what: str) -> EdgeEnhanceError:
    return EdgeEnhanceError(f"the model's flatbuffer is damaged ({what}); write it with edgeenhance quantize")


# ---- the model ----


@dataclass
class Tensor:
    """A tensor of the model. scales : one, or one per row of weights; empty where there is none
    value : of a constant, None for rows of activations, which have `size` elements"""

    name: str
    kind: np.dtype
    shape: tuple[int, ...]
    scales: np.ndarray
    value: np.ndarray | None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def scale(self) -> float:
        if len(self.scales) != 1:
            raise EdgeEnhanceError(f"tensor {self.name!r} has {len(self.scales)} scales; expected one")
        return float(self.scales[0])


@dataclass
class Operator:
    name: str
    inputs: list[int]
    output: int
    options: Table | None

    def option(self, slot: int, kind: str, default: int = 0) -> int:
        return self.options.number(slot, kind, default) if self.options else default

    def allow(self, *slots: int) -> None:
        """EdgeEnhanceError where an option is set that is not read."""
        extra = (self.options.slots if self.options else set()) - set(slots)
        if extra:
            raise EdgeEnhanceError(f"{self.name} has option {min(extra)}, which this version cannot run")


@dataclass
class Graph:
    tensors: list[Tensor]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


def read_graph(flatbuffer: bytes) -> Graph:
    """The model's only graph; EdgeEnhanceError where it is not one that this version knows."""
    model = Table.root(flatbuffer)
    buffers = [buffer.numbers(0, "u1", 1 << 30) for buffer in model.tables(4)]
    graphs = model.tables(2)
    if len(graphs) != 1 or SIGNATURE not in [signature.text(2) for signature in model.tables(7)]:
        raise EdgeEnhanceError(f"the model has {len(graphs)} graphs; expected one, with the signature {SIGNATURE!r}")
    codes = [max(code.number(0, "<b"), code.number(3, "<i")) for code in model.tables(1)]
    tensors = [_tensor(table, buffers) for table in graphs[0].tables(0)]
    return Graph(
        tensors, [_operator(table, codes, len(tensors)) for table in graphs[0].tables(3)],
        _indices(graphs[0].numbers(1, "<i4"), len(tensors)), _indices(graphs[0].numbers(2, "<i4"), len(tensors)),
    )  # fmt: skip


def _tensor(table: Table, buffers: list[np.ndarray]) -> Tensor:
    name, code, index = table.text(3), table.number(1, "<b"), table.number(2, "<I")
    if code not in TYPES:
        raise EdgeEnhanceError(f"tensor {name!r} has type {code}; expected float32, int32, int16 or int8")
    kind, shape = TYPES[code], tuple(table.numbers(0, "<i4").tolist())
    if not 1 <= len(shape) <= 2 or not all(1 <= length <= 1 << 16 for length in shape):
        raise EdgeEnhanceError(f"tensor {name!r} has shape {reprlib.repr(list(shape))}; expected a row or a matrix")
    quantization = table.table(4)
    scales = quantization.numbers(2, "<f4") if quantization else np.zeros(0, "<f4")
    if not (np.isfinite(scales) & (scales > 0)).all() or (quantization and quantization.numbers(3, "<i8").any()):
        raise EdgeEnhanceError(f"tensor {name!r} has a scale that is not positive, or a zero point")
    if len(scales) not in (0, 1, shape[0]):
        raise EdgeEnhanceError(
            f"tensor {name!r} has {len(scales)} scales; expected one, or one for each of {shape[0]} rows"
        )
    if index >= len(buffers):
        raise EdgeEnhanceError(f"tensor {name!r} is in buffer {index} of {len(buffers)}")
    content = buffers[index]
    if not len(content):
        return Tensor(name, kind, shape, scales, None)
    if len(content) != math.prod(shape) * kind.itemsize:
        raise EdgeEnhanceError(f"tensor {name!r} has {len(content)} bytes, not those of {kind} {list(shape)}")
    return Tensor(name, kind, shape, scales, np.frombuffer(content, kind).reshape(shape))


def _operator(table: Table, codes: list[int], tensors: int) -> Operator:
    (code,) = _indices([table.number(0, "<I")], len(codes))
    number = codes[code]
    if number not in OPERATORS:
        known = ", ".join(OPERATORS.values())
        raise EdgeEnhanceError(f"the model has operator {number}, which this version cannot run; it runs {known}")
    outputs = _indices(table.numbers(2, "<i4", _MOST_INPUTS), tensors)
    if len(outputs) != 1:
        raise EdgeEnhanceError(f"{OPERATORS[number]} has {len(outputs)} outputs; expected one")
    inputs = _indices(table.numbers(1, "<i4", _MOST_INPUTS), tensors)
    return Operator(OPERATORS[number], inputs, outputs[0], table.table(4))


def _indices(numbers: Any, count: int) -> list[int]:
    """EdgeEnhanceError unless all lie in 0 .. count - 1."""
    out = [int(number) for number in numbers]
    if not all(0 <= number < count for number in out):
        raise EdgeEnhanceError(f"the model refers to entry {max(out, key=abs)} of {count}; write it again")
    return out
