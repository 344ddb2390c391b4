"""Mask networks in the C engine: no runtime to install, and no Python between the kernel and the network."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .bands import SIGNALS
from .errors import EdgeEnhanceError
from .kernel import aligned_memory, check, ffi, lib, pointer
from .masknet import find_model
from .program import SUFFIX, compile_model, program_facts, read_program


class NativeNet:
    """A mask network with its states, as `MaskNet`; 16x8 and int8 files give the same integers there, bit for bit.

    model : the name of a zoo model ("NAME:int8": its int8 variant), or the path of a .tflite or .eebin file
    Raises EdgeEnhanceError where the file is missing, damaged, or cannot be run.

    name, profile : of the model · bands : gains per hop
    signals : that it reads, of the four in the features · centers : (bands,) int16 bins · metadata : dict
    program : bytes · memory : bytes of state that the C engine needs
    simd : instructions that the C engine runs it on here: "avx2", "sse2", "neon", ..., "scalar"
    kernel_mask : the kernel's mask function and its `user`, called without Python
    """

    def __init__(self, model: str | os.PathLike[str]) -> None:
        path = find_model(model)
        if path.suffix == SUFFIX:
            self.program, self.metadata = read_program(path)
        else:
            self.program = compile_model(path)
            self.metadata = program_facts(self.program)
        self.name: str = self.metadata["name"]
        self.profile: str = self.metadata["profile"]
        self.bands: int = self.metadata["bands"]
        self.signals: int = self.metadata["signals"]
        self.centers = np.array(self.metadata["centers"], np.int16)
        self._load(self.program, path)

    def _load(self, content: bytes, path: object) -> None:
        self._kept, start = aligned_memory(len(content))
        ffi.memmove(start, content, len(content))
        self.memory: int = lib.ee_net_size(start, len(content))
        if not self.memory:
            raise EdgeEnhanceError(f"the kernel cannot run the program of {path}; compile the model again")
        self._owner, memory = aligned_memory(self.memory)
        out = ffi.new("ee_net **")
        check(lib.ee_net_init(out, memory, self.memory, start, len(content)))
        self._net, facts = out[0], ffi.new("ee_net_facts *")
        lib.ee_net_describe(self._net, facts)
        self.simd: str = ffi.string(facts.simd).decode()

    @property
    def kernel_mask(self) -> tuple[Any, Any]:
        return ffi.addressof(lib, "ee_net_step"), self._net

    def reset(self) -> None:
        """Forget the signal: all states to zero."""
        lib.ee_net_reset(self._net)

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop. features : (4 * bands,) int16, Q15 · gains : (bands,) int16, written, Q15 0..32767"""
        if (features.dtype, features.size, gains.dtype, gains.size) != (
            np.int16, SIGNALS * self.bands, np.int16, self.bands,
        ):  # fmt: skip
            raise ValueError(
                f"got features of {features.size} {features.dtype} and gains of {gains.size} {gains.dtype}; "
                f"pass {SIGNALS * self.bands} and {self.bands} int16"
            )
        x = np.ascontiguousarray(features)
        check(lib.ee_net_step(self._net, pointer(x, "int16_t"), pointer(gains, "int16_t")))
