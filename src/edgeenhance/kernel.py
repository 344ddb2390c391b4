"""Between NumPy and the C kernel: memory, pointers, layouts and errors. One funnel makes one exception of C's codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import EdgeEnhanceError

try:
    from ._kernel import ffi, lib
except ImportError as error:
    raise ImportError(
        f"the compiled kernel of edgeenhance cannot be loaded ({error}); install it anew: "
        "pip install --force-reinstall --no-deps edgeenhance"
    ) from error

__all__ = ["ffi", "lib", "aligned_memory", "check", "from_planar", "pointer", "to_planar"]


def check(code: int) -> None:
    """Raise EdgeEnhanceError where a kernel function returned a negative code."""
    if code < 0:
        raise EdgeEnhanceError(ffi.string(lib.ee_strerror(code)).decode())


def aligned_memory(size: int) -> tuple[Any, Any]:
    """(owner, pointer) of `size` bytes, 16-byte aligned; keep the owner as long as the pointer is in use."""
    owner = ffi.new("char[]", size + 16)
    address = int(ffi.cast("uintptr_t", owner))
    return owner, owner + (-address) % 16


_POINTERS = {kind: ffi.typeof(f"{kind} *") for kind in ("float", "int16_t")}


def pointer(array: np.ndarray, kind: str = "float") -> Any:
    """A C pointer to a contiguous array, which it keeps alive."""
    return ffi.from_buffer(_POINTERS[kind], array)


def to_planar(values: np.ndarray) -> np.ndarray:
    """Complex (..., bins) -> float32 (..., 2, bins): the kernel's layout."""
    values = np.asarray(values)
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=-2), np.float32)


def from_planar(planar: np.ndarray) -> np.ndarray:
    """Float32 (..., 2, bins) -> complex64 (..., bins)."""
    return planar[..., 0, :] + 1j * planar[..., 1, :]


def pack_hermitian(matrices: np.ndarray) -> np.ndarray:
    """Hermitian (bins, mics, mics) -> float32 (mics * mics, bins): the kernel's packed planes (see edgeenhance.h)."""
    mics = matrices.shape[-1]
    planes = []
    for row in range(mics):
        for column in range(row):
            planes += [matrices[:, row, column].real, matrices[:, row, column].imag]
        planes.append(matrices[:, row, row].real)
    return np.ascontiguousarray(planes, np.float32)


def unpack_hermitian(planes: np.ndarray) -> np.ndarray:
    """Packed planes (mics * mics, bins) -> Hermitian (bins, mics, mics) complex64."""
    mics = int(round(len(planes) ** 0.5))
    out = np.zeros((planes.shape[1], mics, mics), np.complex64)
    for row in range(mics):
        first = row * row
        for column in range(row):
            out[:, row, column] = planes[first + 2 * column] + 1j * planes[first + 2 * column + 1]
            out[:, column, row] = out[:, row, column].conj()
        out[:, row, row] = planes[first + 2 * row]
    return out
