"""Mask networks: a `.tflite` streaming cell, one call per hop. The file's layout is in docs/model-format.md.

    MaskNet(name or path)     load, check, step hop by hop in a TFLite runtime (the extra `litert`)
    read_model                the checked bytes and metadata of a file, without a runtime
    zoo_names · zoo_path      the models that come with the package
    runtime_name              which TFLite runtime is in use

A file is believed only after its SHA-256 has been checked: TFLite itself may crash on a damaged file.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import reprlib
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .bands import SIGNALS
from .errors import EdgeEnhanceError
from .kernel import lib
from .profiles import PROFILES

FORMAT = 1
FEATURES = "log2-level-16"
SIGNATURE = "step"
QUANTIZATIONS = {"16x8": np.int16, "int8": np.int16, "float32": np.float32}  # type of features, gains and states
TRAILER = struct.Struct("<II32s8s")  # metadata offset, metadata length, SHA-256 of all before it, magic
MAGIC = b"EDGEENH1"
IDENTIFIER = b"TFL3"
Q15 = 32768
_LARGEST = 64 << 20  # bytes; a model for the edge is a thousand times smaller
RUNTIMES = ("ai_edge_litert", "tflite_runtime")


class MaskNet:
    """A mask network with its states.

    model : the name of a zoo model ("NAME:int8": its int8 variant), or the path of a .tflite file
    inspect : keep every tensor of a hop for `tensors`; slower
    Raises EdgeEnhanceError where the file is missing, damaged, not of this format, or no TFLite runtime is installed.

    name, profile : of the model · bands : gains per hop
    signals : that it reads, of the four in the features · centers : (bands,) int16 bins · metadata : dict
    """

    def __init__(self, model: str | os.PathLike[str], inspect: bool = False) -> None:
        path = find_model(model)
        self._content, self.metadata = read_model(path)  # the interpreter reads from these bytes as long as it lives
        self.name: str = self.metadata["name"]
        self.profile: str = self.metadata["profile"]
        self.bands: int = self.metadata["bands"]
        self.signals: int = self.metadata.get("signals", 2)
        self.centers = np.array(self.metadata["centers"], np.int16)
        self._interpreter = _interpreter(self._content, path, inspect)
        self._connect(path)
        self.reset()

    def _connect(self, path: Path) -> None:
        """Tensor indices by name, after shapes, types and scales have been checked."""
        kind = QUANTIZATIONS[self.metadata["quantization"]]
        inputs = _tensors(self._interpreter.get_input_details())
        outputs = _tensors(self._interpreter.get_output_details())
        sizes = self.metadata["states"]
        self._inputs = self.signals * self.bands
        expected_in = {"features": self._inputs} | {f"h{n}": size for n, size in enumerate(sizes)}
        expected_out = {"gains": self.bands} | {f"h{n}_next": size for n, size in enumerate(sizes)}
        _check_tensors(inputs, expected_in, kind, path)
        _check_tensors(outputs, expected_out, kind, path)
        if SIGNATURE not in self._interpreter.get_signature_list():
            raise EdgeEnhanceError(f"{path} has no signature {SIGNATURE!r}; write it with edgeenhance quantize")
        self._kind = kind
        self._to_input, self._to_q15 = (_to_unit, _to_q15) if kind is np.float32 else (_unchanged, _unchanged)
        self._features, self._gains = inputs["features"]["index"], outputs["gains"]["index"]
        self._states_in = [inputs[f"h{n}"]["index"] for n in range(len(sizes))]
        self._states_out = [outputs[f"h{n}_next"]["index"] for n in range(len(sizes))]

    def reset(self) -> None:
        """Forget the signal: all states to zero."""
        self._states = [np.zeros((1, size), self._kind) for size in self.metadata["states"]]

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop. features : (4 * bands,) int16, Q15 · gains : (bands,) int16, written, Q15 0..32767"""
        interpreter = self._interpreter
        interpreter.set_tensor(self._features, self._to_input(features[: self._inputs]).reshape(1, -1))
        for index, state in zip(self._states_in, self._states):
            interpreter.set_tensor(index, state)
        interpreter.invoke()
        self._states = [interpreter.get_tensor(index) for index in self._states_out]
        gains[:] = self._to_q15(interpreter.get_tensor(self._gains)[0])

    def tensors(self) -> dict[str, np.ndarray]:
        """Real values of all activations of the last hop, by name; needs inspect=True."""
        out = {}
        for detail in self._interpreter.get_tensor_details():
            scale, zero = detail["quantization"]
            values = self._interpreter.get_tensor(detail["index"]).astype(np.float64)
            out[detail["name"]] = (values - zero) * scale if scale else values
        return out


def _unchanged(values: np.ndarray) -> np.ndarray:
    return values


def _to_unit(q15: np.ndarray) -> np.ndarray:
    """Q15 to float32 in [-1, 1)."""
    return q15.astype(np.float32) / Q15


def _to_q15(values: np.ndarray) -> np.ndarray:
    """0..1 to Q15, 0..32767."""
    return np.minimum(np.rint(values * Q15), Q15 - 1)


def read_model(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, Any]]:
    """A model file's flatbuffer and metadata, checked; EdgeEnhanceError says what is wrong with it and what to do."""
    content = _read(Path(path))
    if len(content) < TRAILER.size + 8 or content[-len(MAGIC) :] != MAGIC:
        raise EdgeEnhanceError(
            f"{path} is cut short or not a model of edgeenhance; copy it again, or write it with edgeenhance quantize"
        )
    body, end = content[: -TRAILER.size], TRAILER.unpack(content[-TRAILER.size :])
    offset, length, digest, _ = end
    if hashlib.sha256(content[: -len(MAGIC) - len(digest)]).digest() != digest or body[4:8] != IDENTIFIER:
        raise EdgeEnhanceError(f"{path} has been damaged or changed since it was written; copy it again")
    return body, _metadata(body[offset : offset + length], path)


def seal(flatbuffer: bytes, metadata: bytes) -> bytes:
    """A model file: the flatbuffer, which holds the metadata's bytes, and the trailer that `read_model` checks."""
    located = flatbuffer + struct.pack("<II", flatbuffer.index(metadata), len(metadata))
    return located + hashlib.sha256(located).digest() + MAGIC


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise EdgeEnhanceError(f"{path} is larger than {_LARGEST >> 20} MiB; a model of edgeenhance is not")
        return path.read_bytes()
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read the model {path}: {error.strerror}") from error


def _metadata(text: bytes, path: str | os.PathLike[str]) -> dict[str, Any]:
    try:
        metadata = json.loads(text)
        _check_metadata(metadata)
        return metadata
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise EdgeEnhanceError(
            f"the metadata of {path} does not fit this version: {reason}; write it with edgeenhance quantize"
        ) from error


def _check_metadata(metadata: dict[str, Any]) -> None:
    """ValueError, KeyError or TypeError where a value is not what docs/model-format.md says."""
    _expect("format", metadata["format"], [FORMAT])
    _expect("profile", metadata["profile"], PROFILES)
    profile = PROFILES[metadata["profile"]]
    for name in ("sample_rate", "analysis", "synthesis"):
        _expect(name, metadata[name], [getattr(profile, name)])
    _expect("features", metadata["features"], [FEATURES])
    _expect("quantization", metadata["quantization"], QUANTIZATIONS)
    _expect("bands", metadata["bands"], range(2, lib.EE_MAX_BANDS + 1))
    centers = metadata["centers"]
    if len(centers) != metadata["bands"] or centers != sorted(set(centers)):
        raise ValueError("centers must rise strictly, one per band")
    if not all(type(center) is int for center in centers) or (centers[0], centers[-1]) != (0, profile.bins - 1):
        raise ValueError(f"centers must be whole bins from 0 to {profile.bins - 1}")
    states, name = metadata["states"], metadata["name"]
    if not isinstance(states, list) or not all(type(size) is int and size > 0 for size in states):
        raise ValueError("states must be a list of sizes")
    _expect("signals", metadata.get("signals", 2), range(1, SIGNALS + 1))
    if not isinstance(name, str) or not name.isprintable() or len(name) > 100:
        raise ValueError("name must be a line of text, up to 100 characters")


def _expect(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed or type(value) not in {type(item) for item in allowed}:  # 2.0 and True are no whole numbers
        values = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else " or ".join(map(str, allowed))
        raise ValueError(f"{name} is {reprlib.repr(value)}, expected {values}")


def _tensors(details: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {tensor["name"]: tensor for tensor in details}


def _check_tensors(tensors: dict[str, dict[str, Any]], sizes: dict[str, int], kind: type, path: Path) -> None:
    """EdgeEnhanceError unless the tensors are exactly these, of shape (1, size), of one type, at full scale 1."""
    if set(tensors) != set(sizes):
        raise EdgeEnhanceError(f"{path} has tensors {sorted(tensors)}, expected {sorted(sizes)}")
    for name, size in sizes.items():
        tensor = tensors[name]
        quantization = tensor["quantization"]
        wanted = (1 / Q15, 0) if kind is np.int16 else (0.0, 0)
        if (tuple(tensor["shape"]), tensor["dtype"], quantization) != ((1, size), kind, wanted):
            raise EdgeEnhanceError(
                f"tensor {name!r} of {path} is {tensor['dtype'].__name__} {list(tensor['shape'])} {quantization}; "
                f"expected {kind.__name__} [1, {size}] {wanted}"
            )


# ---- runtimes ----


def runtime_name() -> str | None:
    """The installed TFLite runtime that `MaskNet` uses, None where there is none."""
    return next((name for name in RUNTIMES if importlib.util.find_spec(name)), None)


def _runtime() -> ModuleType:
    for name in RUNTIMES:
        try:
            return importlib.import_module(f"{name}.interpreter")
        except ImportError:
            continue
    raise EdgeEnhanceError(
        "no TFLite runtime is installed: pip install 'edgeenhance[litert]', or run the model without one: "
        'backend="native"'
    )


def _interpreter(content: bytes, path: Path, inspect: bool) -> Any:
    """An interpreter with its tensors allocated, one thread, builtin kernels only: the same results everywhere."""
    runtime = _runtime()
    try:
        interpreter = runtime.Interpreter(
            model_content=content,
            num_threads=1,
            experimental_op_resolver_type=runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=inspect,
        )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, SystemError) as error:
        reason = str(error).strip().splitlines()
        raise EdgeEnhanceError(f"{runtime.__name__} cannot run {path}: {reason[0] if reason else error!r}") from error
    return interpreter


# ---- the zoo ----


def _zoo() -> Path | None:
    """Folder of the models in the package, found without importing edgeenhance.models."""
    spec = importlib.util.find_spec("edgeenhance.models")
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (Path(place) / "zoo").is_dir():
            return Path(place) / "zoo"
    return None


def zoo_names() -> list[str]:
    """Names of the models that come with the package."""
    zoo = _zoo()
    return sorted(path.parent.name for path in zoo.glob("*/model.tflite")) if zoo else []


def zoo_path(name: str) -> Path:
    """The file of a zoo model, or of its int8 variant, "NAME:int8"; EdgeEnhanceError lists the names there are."""
    name, _, variant = name.partition(":")
    if name not in zoo_names() or variant not in ("", "int8"):
        names = ", ".join(zoo_names()) or "none in this installation"
        raise EdgeEnhanceError(
            f"unknown model {name!r}; choose one of: {names}, with :int8 for the int8 variant; "
            "or give the path of a .tflite file"
        )
    return _zoo() / name / ("model.int8.tflite" if variant == "int8" else "model.tflite")


def find_model(model: str | os.PathLike[str]) -> Path:
    """A zoo name or a path, as a path: what ends in .tflite or .eebin, has a folder or exists is a path.

    EdgeEnhanceError for networks of one microphone (.onnx, .pt), which run elsewhere.
    """
    path = Path(model)
    if path.suffix in (".onnx", ".pt"):
        raise EdgeEnhanceError(
            f"{path} is no model of the chain: edgeenhance quantize makes one of a checkpoint; edgeenhance evaluate, "
            "OnnxEnhancer and models.networks.load take the file as it is (docs/networks-textbook.md)"
        )
    if path.suffix in (".tflite", ".eebin") or len(path.parts) > 1 or path.is_file():
        return path
    return zoo_path(str(model))
