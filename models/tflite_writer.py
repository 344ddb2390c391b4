"""Writes a graph as a TFLite flatbuffer: 16x8 (int8 weights, int16 activations, int32 bias), int8 or float32.

In an int8 file the matrix products are int8 in, int8 out; what lies between them, the states too, is the int16 of 16x8.
A GRU's memory of a second needs more than eight bits: with int8 states it stands still between two steps.

The rules that TFLite does not check, and that cost speech when broken, are asserted here: CONCATENATION does not
rescale, an accumulator must hold 32767 * 127 * inputs plus the bias, and the terms of an int16 sum are powers of two
apart. Op versions are the lowest that LiteRT and tflite-runtime 2.14 both load. See docs/model-format.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Q15 = 32768
_ACCUMULATOR = 2**31  # int32
_ALIGNMENT = 16  # bytes, of constants in the file

QUANTIZATIONS = ("16x8", "int8", "float32")
# op: (version for float32, version for 16x8 and int8)
VERSIONS = {
    "FULLY_CONNECTED": (1, 4),
    "CONCATENATION": (1, 3),
    "TANH": (1, 3),
    "LOGISTIC": (1, 3),
    "ADD": (1, 4),
    "SUB": (1, 5),
    "MUL": (1, 4),
    "QUANTIZE": (None, 2),  # int16 to int8, before a product of an int8 file
    "CAST": (None, 1),  # int8 to int16, behind it
}


@dataclass
class Tensor:
    """A row of the graph. size : elements · limit : magnitude that the integers can hold, None in a float file
    scale : of the integers"""

    index: int
    size: int
    limit: float | None
    scale: float | None = None


class Writer:
    """A `models.graph.Graph` that becomes a file.

    quantization : one of QUANTIZATIONS · limits : name -> calibrated magnitude of tensors, not used for float32
    The limits that `emit` gives count, and calibrated ones where it gives none. The results of int8 products have no
    step to waste: theirs is the calibrated one where that is smaller, rounded up to a power of two.
    """

    def __init__(self, quantization: str, limits: dict[str, float]) -> None:
        self.quantized, self.narrow, self._limits = quantization != "float32", quantization == "int8", limits
        self._narrowed: dict[int, Tensor] = {}
        self._model = schema.ModelT()
        self._model.version, self._model.description = 3, "edgeenhance mask network"
        self._model.buffers = [_AlignedBuffer()]  # buffer 0 is empty, by convention
        self._model.operatorCodes = []
        self._graph = schema.SubGraphT()
        self._graph.name, self._graph.tensors, self._graph.operators = "step", [], []
        self._codes: dict[str, int] = {}
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}

    # ---- the graph's ends ----

    def input(self, name: str, size: int) -> Tensor:
        """An input row of the graph, full scale 1."""
        self._inputs[name] = self._row(name, size, 1.0)
        return self._inputs[name]

    def output(self, name: str, tensor: Tensor) -> None:
        """Make a tensor an output under this name; ValueError unless its full scale is 1."""
        if self.quantized and tensor.limit != 1.0:
            raise ValueError(f"output {name!r} has full scale {tensor.limit:g}; outputs and states have 1")
        self._graph.tensors[tensor.index].name = name
        self._outputs[name] = tensor

    def finish(self, signature: str, metadata: dict[str, bytes]) -> bytes:
        """The flatbuffer: with a signature of all inputs and outputs, and named metadata buffers."""
        self._graph.inputs = [tensor.index for tensor in self._inputs.values()]
        self._graph.outputs = [tensor.index for tensor in self._outputs.values()]
        self._model.subgraphs = [self._graph]
        self._model.signatureDefs = [_signature(signature, self._inputs, self._outputs)]
        self._model.metadata = [self._named_buffer(name, content) for name, content in metadata.items()]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # ---- ops ----

    def dense(
        self, name: str, x: Tensor, weight: np.ndarray, bias: np.ndarray, limit: float | None = None,
        mean: np.ndarray | float = 0.0,
    ) -> Tensor:  # fmt: skip
        if self.narrow:
            return self._narrow_dense(name, x, weight, bias, limit, mean)
        out = self._row(name, len(weight), self._limit(name, limit))
        constants = self._float_dense if not self.quantized else self._quantized_dense
        return self._op("FULLY_CONNECTED", [x, *constants(name, x, weight, bias, mean)], out)

    def _narrow_dense(
        self, name: str, x: Tensor, weight: np.ndarray, bias: np.ndarray, limit: float | None, mean: np.ndarray | float
    ) -> Tensor:
        """int16 -> QUANTIZE -> int8 -> FULLY_CONNECTED -> int8 -> CAST -> int16 of the same integers and scale."""
        if x.index not in self._narrowed:
            self._narrowed[x.index] = self._op(
                "QUANTIZE", [x], self._int8_row(f"{self._name(x)}/int8", x.size, x.limit)
            )
        x8 = self._narrowed[x.index]
        reach = 2.0 ** math.ceil(math.log2(self._limit(name, None)))
        product = self._int8_row(f"{name}/int8", len(weight), reach if limit is None else min(limit, reach))
        self._op("FULLY_CONNECTED", [x8, *self._quantized_dense(name, x8, weight, bias, mean)], product)
        index = self._tensor(name, [1, product.size], np.int16, np.array([product.scale]))
        return self._op("CAST", [product], Tensor(index, product.size, product.limit, product.scale))

    def _int8_row(self, name: str, size: int, limit: float) -> Tensor:
        return Tensor(self._tensor(name, [1, size], np.int8, np.array([limit / 128])), size, limit, limit / 128)

    def concat(self, name: str, parts: list[Tensor]) -> Tensor:
        if self.quantized and len({part.limit for part in parts}) > 1:
            scales = ", ".join(f"{part.limit:g}" for part in parts)
            raise ValueError(f"{name}: CONCATENATION does not rescale, and its inputs have full scales {scales}")
        out = self._row(name, sum(part.size for part in parts), parts[0].limit)
        return self._op("CONCATENATION", parts, out)

    def tanh(self, x: Tensor) -> Tensor:
        return self._op("TANH", [x], self._row(f"{self._name(x)}/tanh", x.size, 1.0))

    def sigmoid(self, x: Tensor) -> Tensor:
        return self._op("LOGISTIC", [x], self._row(f"{self._name(x)}/sigmoid", x.size, 1.0))

    def add(self, name: str, a: Tensor, b: Tensor, limit: float | None = None) -> Tensor:
        return self._sum("ADD", name, a, b, self._limit(name, limit))

    def sub(self, name: str, a: Tensor, b: Tensor, limit: float | None = None) -> Tensor:
        return self._sum("SUB", name, a, b, self._limit(name, limit))

    def _sum(self, kind: str, name: str, a: Tensor, b: Tensor, limit: float | None) -> Tensor:
        """ValueError unless all full scales are powers of two apart: then no runtime rounds before it has added."""
        if self.quantized and not all(math.log2(x.limit / limit).is_integer() for x in (a, b)):
            scales = f"{a.limit:g} and {b.limit:g} into {limit:g}"
            raise ValueError(f"{name}: {kind} of full scales {scales} is not exact; use powers of two")
        return self._op(kind, [a, b], self._row(name, a.size, limit))

    def mul(self, name: str, a: Tensor, b: Tensor, limit: float | None = None) -> Tensor:
        return self._op("MUL", [a, b], self._row(name, a.size, self._limit(name, limit)))

    # ---- tensors ----

    def _limit(self, name: str, limit: float | None) -> float | None:
        if limit is None and self.quantized and name not in self._limits:
            raise ValueError(f"tensor {name!r} has no limit; calibrate over a rollout that reaches it")
        return limit if limit is not None else self._limits.get(name)

    def _row(self, name: str, size: int, limit: float | None) -> Tensor:
        if not self.quantized:
            return Tensor(self._tensor(name, [1, size], np.float32), size, None)
        return Tensor(self._tensor(name, [1, size], np.int16, np.array([limit / Q15])), size, limit, limit / Q15)

    def _float_dense(self, name: str, x: Tensor, weight: np.ndarray, bias: np.ndarray, mean: Any) -> list[Tensor]:
        values = (weight.astype(np.float32), bias.astype(np.float32))
        return [self._constant(f"{name}/{part}", value) for part, value in zip(("weight", "bias"), values, strict=True)]

    def _quantized_dense(self, name: str, x: Tensor, weight: np.ndarray, bias: np.ndarray, mean: Any) -> list[Tensor]:
        integers, offsets, scales = quantize_dense(name, weight, bias, x.scale, mean)
        return [
            self._constant(f"{name}/weight", integers, scales),
            self._constant(f"{name}/bias", offsets, scales * x.scale),
        ]

    def _constant(self, name: str, value: np.ndarray, scales: np.ndarray | None = None) -> Tensor:
        return Tensor(self._tensor(name, list(value.shape), value.dtype.type, scales, value), value.size, None)

    def _tensor(self, name, shape, kind, scales=None, value=None) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, shape, _TYPES[kind]
        tensor.buffer = 0 if value is None else self._buffer(value.tobytes())
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = scales.astype(np.float32)
            tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
            tensor.quantization.quantizedDimension = 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _name(self, tensor: Tensor) -> str:
        return self._graph.tensors[tensor.index].name

    # ---- the file ----

    def _op(self, kind: str, inputs: list[Tensor], out: Tensor) -> Tensor:
        op = schema.OperatorT()
        op.opcodeIndex = self._code(kind)
        op.inputs, op.outputs = [tensor.index for tensor in inputs], [out.index]
        op.builtinOptionsType, op.builtinOptions = _options(kind)
        self._graph.operators.append(op)
        return out

    def _code(self, kind: str) -> int:
        if kind not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = VERSIONS[kind][self.quantized]
            self._codes[kind] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(code)
        return self._codes[kind]

    def _buffer(self, content: bytes) -> int:
        buffer = _AlignedBuffer()
        buffer.data = content
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _named_buffer(self, name: str, content: bytes) -> Any:
        metadata = schema.MetadataT()
        metadata.name, metadata.buffer = name, self._buffer(content)
        return metadata


def quantize_dense(
    name: str, weight: np.ndarray, bias: np.ndarray, input_scale: float, mean: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weight int8 (outputs, inputs), bias int32 (outputs,), scales (outputs,)): symmetric, one scale per row.

    A row's scale is large enough for its weights in +-127 and for its bias in what the accumulator has left.
    mean : (inputs,) of the input; what rounding makes of it is taken off the bias (Nagel et al. 2019, "Data-free
    quantization through weight equalization and bias correction", section 4.2)
    ValueError where the accumulator could overflow whatever the scale.
    """
    products = (Q15 - 1) * 127 * weight.shape[1]
    means = np.broadcast_to(mean, weight.shape[1])
    taken = 0.5 * np.abs(means).sum() / input_scale  # at most, by the correction
    room = (_ACCUMULATOR - products - taken) * (1 - 1e-6)  # scales are rounded to float32
    if room <= 0:
        raise ValueError(f"{name}: {weight.shape[1]} inputs overflow an int32 accumulator; 516 are the most")
    scales = np.maximum(np.abs(weight).max(1) / 127, np.abs(bias) / (input_scale * room))
    scales = np.maximum(scales, 1e-9).astype(np.float32).astype(np.float64)
    integers = np.clip(np.rint(weight / scales[:, None]), -127, 127).astype(np.int8)
    shift = (weight - integers * scales[:, None]) @ means
    offsets = np.rint((bias + shift) / (input_scale * scales))
    check_accumulator(name, weight.shape[1], offsets)
    return integers, offsets.astype(np.int32), scales


def check_accumulator(name: str, inputs: int, bias: np.ndarray) -> None:
    """ValueError unless 32767 * 127 * inputs + |bias| < 2^31 in every row."""
    worst = (Q15 - 1) * 127 * inputs + float(np.abs(bias).max())
    if worst >= _ACCUMULATOR:
        raise ValueError(f"{name}: an accumulator could reach {worst:.3g}, beyond int32; shorten the row or its bias")


class _AlignedBuffer(schema.BufferT):
    """A buffer whose bytes start at a multiple of 16 in the file, as the schema demands and its Python code forgets."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        data = None
        if self.data:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head = builder.Head() - len(self.data)
            builder.Bytes[builder.Head() : builder.Head() + len(self.data)] = self.data
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


_TYPES = {
    np.float32: schema.TensorType.FLOAT32,
    np.int32: schema.TensorType.INT32,
    np.int16: schema.TensorType.INT16,
    np.int8: schema.TensorType.INT8,
}


def _options(kind: str) -> tuple[int, Any]:
    """Union tag and options of an op; tanh and logistic have none."""
    name = {
        "FULLY_CONNECTED": "FullyConnectedOptions",
        "CONCATENATION": "ConcatenationOptions",
        "ADD": "AddOptions",
        "SUB": "SubOptions",
        "MUL": "MulOptions",
        "QUANTIZE": "QuantizeOptions",
        "CAST": "CastOptions",
    }.get(kind)
    if name is None:
        return 0, None
    options = getattr(schema, f"{name}T")()
    if kind == "CONCATENATION":
        options.axis = 1
    if kind in ("ADD", "SUB"):
        options.potScaleInt16 = False
    if kind == "CAST":
        options.inDataType, options.outDataType = schema.TensorType.INT8, schema.TensorType.INT16
    return getattr(schema.BuiltinOptions, name), options


def _signature(key: str, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> Any:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = key, 0
    signature.inputs, signature.outputs = _tensor_maps(inputs), _tensor_maps(outputs)
    return signature


def _tensor_maps(tensors: dict[str, Tensor]) -> list[Any]:
    maps = []
    for name, tensor in tensors.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor.index
        maps.append(entry)
    return maps
