"""Models as programs of the C engine (csrc/net.c): all integers worked out, all places in memory given.

    compile_model       a .tflite file -> the bytes of a .eebin file
    read_program        a .eebin file's bytes and facts
    write_program       into a .eebin file; write_c : into a C source file

The layout is in docs/model-format.md. A program computes what TFLite's builtin kernels compute: multipliers are made
here as those make them, from float32 scales in double precision; the roundings are in csrc/net_ops.h.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ._files import atomic_path
from ._tflite import Graph, Operator, Tensor, read_graph
from .errors import EdgeEnhanceError
from .masknet import FEATURES, FORMAT, Q15, find_model, read_model
from .profiles import PROFILES

SUFFIX = ".eebin"
MAGIC = b"EENP"
VERSION = 1
QUANTIZATIONS = ("16x8", "int8", "float32")  # their numbers in the file
HEADER = struct.Struct("<4s3I14I")  # see ee_program in csrc/net.c
OP = struct.Struct("<8I8i")  # see ee_op
CHECKED_FROM = 16  # bytes before what the CRC covers
KINDS = (
    "COPY", "DENSE", "ADD", "SUB", "MUL", "NARROW", "SIGMOID", "TANH", "SIGMOID_TABLE", "TANH_TABLE",
    "FLOAT_DENSE", "FLOAT_ADD", "FLOAT_SUB", "FLOAT_MUL", "FLOAT_SIGMOID", "FLOAT_TANH",
)  # fmt: skip
_ALIGNMENT = 4  # bytes, of constants
_FOREVER = 1 << 30  # later than any op
_LARGEST = 16 << 20  # bytes of all constants, and of the arena: operators may share weights, programs hold them each
_INPUTS = {"FULLY_CONNECTED": 3, "ADD": 2, "SUB": 2, "MUL": 2, "TANH": 1, "LOGISTIC": 1, "QUANTIZE": 1, "CAST": 1}


# ---- integers as TFLite makes them ----


def quantize_multiplier(real: float, what: str) -> tuple[int, int]:
    """(multiplier, shift): real = multiplier / 2^(31 + shift), 2^30 <= multiplier < 2^31, shift 0 .. 31.

    EdgeEnhanceError where `real` is not below 1: results would have finer steps than their sums.
    """
    if not 0 <= real < 1:
        raise EdgeEnhanceError(f"{what} multiplies integers by {real:g}; expected less than 1")
    fraction, exponent = math.frexp(real)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    if exponent > 0:
        raise EdgeEnhanceError(f"{what} multiplies integers by {real:.9f}; expected less than 1")
    return (multiplier, -exponent) if exponent >= -31 else (0, 0)


def activation_scale(scale: float) -> tuple[int, int]:
    """(multiplier, shift) from integers of this scale to the table's: 1/24 in 512 steps, for tanh 1/48 in 256."""
    multiplier, shift = float(scale) * 4096.0 * 3.0, 0
    while multiplier <= 32767 / 2 and shift <= 29:
        multiplier, shift = 2 * multiplier, shift + 1
    if multiplier >= 32768:
        raise EdgeEnhanceError(f"an activation has an input of scale {scale:g}; expected at most 2")
    return int(multiplier), shift


def log2_of(scale: float) -> int | None:
    """The exponent of a power of two, None for other scales."""
    exponent = round(math.log2(scale))
    return exponent if abs(math.log2(scale) - exponent) < 1e-3 else None


def sigmoid_table() -> np.ndarray:
    """65536 sigmoid(i / 24), i = 0 .. 255, as uint16: moved by half of the largest error of straight lines between.

    The last one is what saturates.
    """
    sigmoid = 1 / (1 + np.exp(-np.arange(256) / 24))
    bend = sigmoid * (1 - sigmoid) * (2 * sigmoid - 1) / 24**2  # minus the second derivative, per step squared
    table = np.rint(65536 * (sigmoid + bend / 16)).astype("<u2")
    table[-1] = 65535
    return table


# ---- compilation ----


@dataclass
class Op:
    """One record of the program; tensors by index, constants as arrays, in the order of ee_op."""

    kind: str
    count: int
    a: int
    out: int
    b: int | None = None
    cols: int = 0
    weights: np.ndarray | None = None
    table: np.ndarray | None = None
    scales: list[tuple[int, int]] = field(default_factory=list)  # (multiplier, shift)
    limits: tuple[int, int] = (0, 0)


class _Compiler:
    """Ops and places of a graph's tensors.

    Rows are int16 or float32 elements; the int8 rows of int8 files are kept as int16 too, so that CAST does nothing.
    A row may be a part of another one: CONCATENATION then does nothing either, its parts are written side by side.
    """

    def __init__(self, graph: Graph, metadata: dict[str, Any]) -> None:
        self.graph, self.float = graph, metadata["quantization"] == "float32"
        self.ops: list[Op] = []
        self._constants = 0  # bytes
        self._part_of: dict[int, tuple[int, int]] = {}  # tensor -> (tensor, first element in it)
        self._narrowed: list[tuple[Op, int]] = []
        self._written = set(graph.inputs)
        self._connect(metadata)
        for operator in graph.operators:
            self._compile(operator)
        self._feed_back()

    def _connect(self, metadata: dict[str, Any]) -> None:
        """Inputs and outputs by name, checked."""
        bands, sizes = metadata["bands"], metadata["states"]
        inputs = {"features": metadata.get("signals", 2) * bands} | {f"h{n}": size for n, size in enumerate(sizes)}
        outputs = {"gains": bands} | {f"h{n}_next": size for n, size in enumerate(sizes)}
        self._inputs = self._named(self.graph.inputs, inputs)
        self._outputs = self._named(self.graph.outputs, outputs)
        self.features, self.gains = self._inputs["features"], self._outputs["gains"]
        self.states = [(self._inputs[f"h{n}"], self._outputs[f"h{n}_next"]) for n in range(len(sizes))]

    def _named(self, indices: list[int], sizes: dict[str, int]) -> dict[str, int]:
        found = {self.graph.tensors[index].name: index for index in indices}
        if set(found) != set(sizes) or len(indices) != len(sizes):
            raise EdgeEnhanceError(
                f"the model has tensors {reprlib.repr(sorted(found))}, expected {reprlib.repr(sorted(sizes))}"
            )
        kind, scales = ("<f4", []) if self.float else ("<i2", [1 / Q15])
        for name, size in sizes.items():
            tensor = self.graph.tensors[found[name]]
            if (tensor.kind, tensor.shape, tensor.scales.tolist()) != (np.dtype(kind), (1, size), scales):
                raise EdgeEnhanceError(
                    f"tensor {name!r} is {tensor.kind} {list(tensor.shape)} at {reprlib.repr(tensor.scales.tolist())}; "
                    f"expected {np.dtype(kind)} [1, {size}] at {scales}"
                )
        return found

    # ---- operators ----

    def _compile(self, operator: Operator) -> None:
        if len(operator.inputs) != _INPUTS.get(operator.name, len(operator.inputs)):
            raise EdgeEnhanceError(f"{operator.name} has {len(operator.inputs)} inputs, not {_INPUTS[operator.name]}")
        rows = operator.inputs[:1] if operator.name == "FULLY_CONNECTED" else operator.inputs
        for index in (*rows, operator.output):
            tensor = self.graph.tensors[index]
            if tensor.value is not None or len(tensor.shape) != 2 or tensor.shape[0] != 1:
                raise EdgeEnhanceError(f"{operator.name} works on {tensor.name!r}, {list(tensor.shape)}; expected rows")
            if (tensor.kind == np.dtype("<f4")) != self.float or tensor.kind == np.dtype("<i4"):
                raise EdgeEnhanceError(f"{operator.name} works on {tensor.name!r}, {tensor.kind}, in this quantization")
        if not self._written.issuperset(rows) or operator.output in self._written:
            raise EdgeEnhanceError(f"{operator.name} reads a tensor before it is written, or writes one twice")
        self._written.add(operator.output)
        getattr(self, f"_{operator.name.lower()}")(operator, *(self.graph.tensors[index] for index in operator.inputs))

    def _emit(self, kind: str, operator: Operator, **fields: Any) -> None:
        a, b = (operator.inputs + [None])[:2]
        count = self.graph.tensors[operator.output].size
        prefix = "FLOAT_" if self.float else ""
        self.ops.append(Op(prefix + kind, count, a, operator.output, b, **fields))

    def _out(self, operator: Operator) -> Tensor:
        return self.graph.tensors[operator.output]

    def _fully_connected(self, operator: Operator, x: Tensor, weight: Tensor, bias: Tensor) -> None:
        operator.allow(0, 1, 2, 4)
        if operator.option(0, "<b") or operator.option(1, "<b"):
            raise EdgeEnhanceError("FULLY_CONNECTED has an activation or a weights format; expected neither")
        out, rows, cols = self._out(operator), self._out(operator).size, x.size
        if weight.value is None or bias.value is None or (weight.shape, bias.shape) != ((rows, cols), (rows,)):
            raise EdgeEnhanceError(f"FULLY_CONNECTED from {cols} to {rows} has weights {list(weight.shape)}")
        self._constants += weight.value.nbytes + 12 * rows
        if self._constants > _LARGEST:
            raise EdgeEnhanceError(f"the program would be larger than {_LARGEST >> 20} MiB; make the network smaller")
        operator = Operator(operator.name, operator.inputs[:1], operator.output, None)
        if self.float:
            self._check_kinds("FULLY_CONNECTED", "<f4", weight, bias)
            self._emit("DENSE", operator, cols=cols, weights=weight.value, table=bias.value)
            return
        self._check_kinds("FULLY_CONNECTED", "i1", weight)
        self._check_kinds("FULLY_CONNECTED", "<i4", bias)
        reach = np.abs(weight.value.astype(np.int16)).sum(1, dtype=np.int64) * (-np.iinfo(x.kind).min)
        if x.kind != out.kind or (reach + np.abs(bias.value.astype(np.int64)) >= 2**31).any():
            raise EdgeEnhanceError("FULLY_CONNECTED changes the type, or its sums could exceed 32 bits")
        if len(weight.scales) not in (1, rows):
            raise EdgeEnhanceError(f"FULLY_CONNECTED has {len(weight.scales)} scales of weights for {rows} rows")
        reals = [x.scale * float(scale) / out.scale for scale in weight.scales] * (rows // len(weight.scales))
        scales = np.array([quantize_multiplier(real, "FULLY_CONNECTED") for real in reals], np.int64)
        table = np.stack([bias.value, scales[:, 0], scales[:, 1]]).astype("<i4")
        limits = np.iinfo(out.kind).min, np.iinfo(out.kind).max
        self._emit("DENSE", operator, cols=cols, weights=weight.value, table=table, limits=limits)

    def _add(self, operator: Operator, a: Tensor, b: Tensor) -> None:
        operator.allow(0, 1)
        if operator.option(0, "<b") or (not self.float and operator.option(1, "<?", 1)):
            raise EdgeEnhanceError(f"{operator.name} has an activation or pot_scale_int16; expected neither")
        out = self._out(operator)
        self._check_same(operator, a.size == b.size == out.size, a, b, out)
        if self.float:
            self._emit(operator.name, operator)
            return
        twice = 2 * max(a.scale, b.scale)
        reals = (a.scale / twice, b.scale / twice, twice / (2**15 * out.scale))
        self._emit(operator.name, operator, scales=[quantize_multiplier(real, operator.name) for real in reals])

    _sub = _add

    def _mul(self, operator: Operator, a: Tensor, b: Tensor) -> None:
        operator.allow(0)
        if operator.option(0, "<b"):
            raise EdgeEnhanceError("MUL has an activation; expected none")
        out = self._out(operator)
        self._check_same(operator, a.size == b.size == out.size, a, b, out)
        if self.float:
            self._emit("MUL", operator)
            return
        with np.errstate(all="ignore"):  # in float32, as TFLite
            real = float(np.float32(a.scale) * np.float32(b.scale) / np.float32(out.scale))
        self._emit("MUL", operator, scales=[quantize_multiplier(real, "MUL")])

    def _quantize(self, operator: Operator, x: Tensor) -> None:
        operator.allow()
        out = self._out(operator)
        self._check_kinds("QUANTIZE", "<i2", x)
        self._check_kinds("QUANTIZE", "i1", out)
        self._check_same(operator, x.size == out.size)
        scale = quantize_multiplier(x.scale / out.scale, "QUANTIZE")
        part = self._narrowed_part(operator, scale)
        if part:
            self._part_of[operator.output] = part
            return
        self._emit("NARROW", operator, scales=[scale])
        self._narrowed.append((self.ops[-1], operator.inputs[0]))

    def _narrowed_part(self, operator: Operator, scale: tuple[int, int]) -> tuple[int, int] | None:
        """Where this row has been narrowed before, as a part of another one: (tensor, first element)."""
        row, first = self.place(operator.inputs[0])
        for op, whole in self._narrowed:
            other, start = self.place(whole)
            inside = start <= first and first + self._out(operator).size <= start + op.count
            if other == row and inside and op.scales == [scale]:
                return op.out, first - start
        return None

    def _cast(self, operator: Operator, x: Tensor) -> None:
        operator.allow(0, 1)
        out = self._out(operator)
        self._check_kinds("CAST", "i1", x)
        self._check_kinds("CAST", "<i2", out)
        self._check_same(operator, x.size == out.size and x.scale == out.scale)
        self._part_of[operator.output] = operator.inputs[0], 0

    def _concatenation(self, operator: Operator, *parts: Tensor) -> None:
        operator.allow(0, 1)
        out = self._out(operator)
        if operator.option(0, "<i") != 1 or operator.option(1, "<b"):
            raise EdgeEnhanceError("CONCATENATION has another axis than 1, or an activation")
        scales = {tuple(part.scales.tolist()) for part in (*parts, out)}
        self._check_same(operator, sum(part.size for part in parts) == out.size and len(scales) == 1, *parts, out)
        first = 0
        for index, part in zip(operator.inputs, parts):
            if index not in self._part_of and operator.inputs.count(index) == 1 and index != self.features:
                self._part_of[index] = operator.output, first
            else:
                self.ops.append(Op("COPY", part.size, index, self._piece(operator.output, first, part.size)))
            first += part.size

    def _piece(self, whole: int, first: int, size: int) -> int:
        """A nameless tensor for elements of another one."""
        tensor = self.graph.tensors[whole]
        self.graph.tensors.append(Tensor("", tensor.kind, (1, size), tensor.scales, None))
        index = len(self.graph.tensors) - 1
        self._part_of[index] = whole, first
        return index

    def _tanh(self, operator: Operator, x: Tensor) -> None:
        self._activation("TANH", operator, x, (0, 1))

    def _logistic(self, operator: Operator, x: Tensor) -> None:
        self._activation("SIGMOID", operator, x, (0,))

    def _activation(self, name: str, operator: Operator, x: Tensor, shifts: tuple[int, ...]) -> None:
        """In fixed point where the scale is a power of two that it takes, else from the table."""
        operator.allow()
        out = self._out(operator)
        self._check_same(operator, x.size == out.size, x, out)
        if self.float:
            self._emit(name, operator)
            return
        self._check_kinds(operator.name, "<i2", x)
        self._check_same(operator, out.scale == 1 / Q15)
        exponent = log2_of(x.scale)
        if exponent is not None and exponent + 12 in shifts:
            self._emit(name, operator, scales=[(0, exponent + 12)])
        else:
            self._emit(f"{name}_TABLE", operator, scales=[activation_scale(x.scale)])

    def _check_kinds(self, name: str, kind: str, *tensors: Tensor) -> None:
        for tensor in tensors:
            if tensor.kind != np.dtype(kind):
                raise EdgeEnhanceError(f"{name} works on {tensor.name!r}, {tensor.kind}; expected {np.dtype(kind)}")

    def _check_same(self, operator: Operator, truth: bool, *tensors: Tensor) -> None:
        if not truth or len({tensor.kind for tensor in tensors}) > 1:
            raise EdgeEnhanceError(f"{operator.name} to {self._out(operator).name!r} has sizes, types or scales amiss")

    # ---- states and places ----

    def _feed_back(self) -> None:
        """The last ops: next states to where the states are."""
        if not self._written.issuperset(self.graph.outputs):
            raise EdgeEnhanceError("the model has an output that no operator writes")
        held = {self.place(index)[0]: name for name, index in self._inputs.items()}
        for name, index in self._outputs.items():
            row, first = self.place(index)
            for state in self._inputs.values():
                other, start = self.place(state)
                if row == other and first < start + self._size(state) and start < first + self._size(index):
                    raise EdgeEnhanceError(f"output {name!r} contains the input {held[row]!r}; compute it anew")
        for state, following in self.states:
            self.ops.append(Op("COPY", self._size(state), following, state))

    def _size(self, index: int) -> int:
        return self.graph.tensors[index].size

    def place(self, index: int) -> tuple[int, int]:
        """(row that it is a part of, first element there); itself where it is no part."""
        first = 0
        while index in self._part_of:
            index, start = self._part_of[index]
            first += start
        return index, first

    def places(self) -> tuple[dict[int, int], int]:
        """First element of every row in the arena, and the arena's elements: rows that live at once lie apart."""
        lives: dict[int, tuple[int, int]] = {}
        held = {self.place(state)[0] for state, _ in self.states}
        uses = [(-1, self.features), (_FOREVER, self.gains)]
        uses += [(n, index) for n, op in enumerate(self.ops) for index in (op.a, op.b, op.out) if index is not None]
        for time, index in uses:
            row = self.place(index)[0]
            first, last = lives.get(row, (time, time))
            lives[row] = (-1, _FOREVER) if row in held else (min(first, time), max(last, time))
        at: dict[int, int] = {}
        for row in sorted(lives, key=lambda row: -self._size(row)):
            others = sorted((at[other], self._size(other)) for other in at if _meet(lives[row], lives[other]))
            start = 0
            for other, size in others:
                if start + self._size(row) <= other:
                    break
                start = max(start, other + size)
            at[row] = start
        return at, max(start + self._size(row) for row, start in at.items())


def _meet(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


# ---- the file ----


def compile_model(model: str | os.PathLike[str]) -> bytes:
    """The program of a model, a zoo name or the path of a .tflite file; EdgeEnhanceError says what cannot be run."""
    path = find_model(model)
    flatbuffer, metadata = read_model(path)
    try:
        return compile_flatbuffer(flatbuffer, metadata)
    except EdgeEnhanceError as error:
        raise EdgeEnhanceError(f"cannot compile {path}: {error}") from error


def compile_flatbuffer(flatbuffer: bytes, metadata: dict[str, Any]) -> bytes:
    """The program of a model's flatbuffer, with its metadata as `read_model` checks it."""
    return _assemble(_Compiler(read_graph(flatbuffer), metadata), metadata)


def _assemble(compiler: _Compiler, metadata: dict[str, Any]) -> bytes:
    places, arena = compiler.places()
    unit = 4 if compiler.float else 2
    if unit * arena > _LARGEST:
        raise EdgeEnhanceError(f"the network needs more than {_LARGEST >> 20} MiB to run; make it smaller")
    ops_at, constants = HEADER.size, bytearray()
    constants_at = ops_at + OP.size * len(compiler.ops)

    def keep(content: bytes) -> int:
        constants.extend(bytes(-len(constants) % _ALIGNMENT))
        constants.extend(content)
        return constants_at + len(constants) - len(content)

    def where(index: int | None) -> int:
        if index is None:
            return 0
        row, first = compiler.place(index)
        return unit * (places[row] + first)

    centers = keep(np.array(metadata["centers"], "<i2").tobytes())
    name = metadata["name"].encode()
    name_at = keep(struct.pack("<I", len(name)) + name)
    tabled = any(op.kind.endswith("_TABLE") for op in compiler.ops)
    table = keep(sigmoid_table().tobytes()) if tabled else 0
    records = bytearray()
    for op in compiler.ops:
        scales = op.scales + [(0, 0)] * (3 - len(op.scales))
        weights = 0 if op.weights is None else keep(op.weights.tobytes())
        rows = 0 if op.table is None else keep(op.table.tobytes())
        records += OP.pack(
            KINDS.index(op.kind), op.count, op.cols, where(op.a), where(op.b), where(op.out), weights, rows,
            *(multiplier for multiplier, _ in scales), *(shift for _, shift in scales), *op.limits,
        )  # fmt: skip
    constants.extend(bytes(-len(constants) % _ALIGNMENT))
    total = constants_at + len(constants)
    facts = [metadata[key] for key in ("sample_rate", "analysis", "synthesis", "bands")]
    content = HEADER.pack(
        MAGIC, VERSION, total, 0, QUANTIZATIONS.index(metadata["quantization"]), *facts, metadata.get("signals", 2),
        centers, name_at, unit * arena, where(compiler.features), where(compiler.gains), table, ops_at,
        len(compiler.ops),
    ) + bytes(records) + bytes(constants)  # fmt: skip
    return sign(content)


def sign(content: bytes) -> bytes:
    """The program with its CRC made right."""
    return content[:12] + struct.pack("<I", zlib.crc32(content[CHECKED_FROM:])) + content[CHECKED_FROM:]


def read_program(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, Any]]:
    """A .eebin file's bytes, and what a model's metadata says of them; EdgeEnhanceError where it is damaged.

    That every op can be run is checked by the kernel (`ee_net_size`).
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read the program {path}: {error.strerror}") from error
    return content, program_facts(content, path)


def program_facts(content: bytes, path: str | os.PathLike[str] = "the program") -> dict[str, Any]:
    """format, name, profile, sample_rate, analysis, synthesis, bands, centers, features, quantization, signals."""
    if len(content) < HEADER.size or content[:4] != MAGIC:
        raise EdgeEnhanceError(f"{path} is not a program of edgeenhance; write it with edgeenhance compile")
    fields = HEADER.unpack_from(content)
    version, total, crc, quantization, sample_rate, analysis, synthesis, bands, signals, centers, name = fields[1:12]
    if version != VERSION:
        raise EdgeEnhanceError(f"{path} has version {version}, expected {VERSION}; compile the model again")
    if total != len(content) or crc != zlib.crc32(content[CHECKED_FROM:]):
        raise EdgeEnhanceError(f"{path} is cut short or was changed since it was written; compile the model again")
    windows = (sample_rate, analysis, synthesis)
    profiles = [p.name for p in PROFILES.values() if (p.sample_rate, p.analysis, p.synthesis) == windows]
    if not profiles or quantization >= len(QUANTIZATIONS) or centers + 2 * bands > total or name + 4 > total:
        raise EdgeEnhanceError(f"{path} is for no profile of this version; compile the model again")
    bins = np.frombuffer(content, "<i2", bands, centers)
    (length,) = struct.unpack_from("<I", content, name)
    return {
        "format": FORMAT, "name": content[name + 4 : name + 4 + length].decode("utf-8", "replace"),
        "profile": profiles[0], "sample_rate": sample_rate, "analysis": analysis, "synthesis": synthesis,
        "bands": bands, "centers": bins.tolist(), "features": FEATURES, "quantization": QUANTIZATIONS[quantization],
        "signals": signals,
    }  # fmt: skip


def write_program(content: bytes, path: str | os.PathLike[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def c_array(content: bytes, declared: str) -> str:
    """C text that defines the program as an array of words, declared as "const uint32_t name"."""
    words = [f"0x{word:08x}u" for (word,) in struct.iter_unpack("<I", content)]
    lines = [", ".join(words[n : n + 8]) for n in range(0, len(words), 8)]
    text = f"/* {len(content)} bytes, for ee_net_init on a little-endian machine */\n"
    return text + f"{declared}[{len(words)}] = {{\n    " + ",\n    ".join(lines) + ",\n};\n"


def write_c(content: bytes, path: str | os.PathLike[str]) -> str:
    """The program as C source, an array of 4-byte aligned words named after the file; returns that name."""
    name = re.sub(r"\W", "_", Path(path).stem, flags=re.ASCII)
    name = f"_{name}"[name[:1].isalpha() :]
    text = "#include <stdint.h>\n\n" + c_array(content, f"const uint32_t {name}")
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="ascii")
    return name
