"""The kernel's FFT beside NumPy's pocketfft and FFTW, called in C: 1000 transforms of 512 real samples a round.

    python -m edgeenhance.simulation.bench_fft

All read an array of 1000 rows and write another, in turns, round after round; figures are medians. NumPy transforms
all rows in one call (pocketfft computes in the precision it is given), FFTW in one measured plan (Debian's
libfftw3-single3); the kernel's function is called by a loop in C, compiled here. One thread.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._text import table
from ..kernel import ffi, lib
from ..stft import Fft

POINTS, ROWS, ROUNDS = 512, 1000, 50
BINS = POINTS // 2 + 1
FFTW_MEASURE = 0
# Real additions and multiplications of csrc/fft_ops.h, forward: two passes of N/8 butterflies of radix 8, one of N/4 of
# radix 4, and the split, N = 256. One transform reads 512 floats and writes 514.
FLOPS = 2 * 32 * 98 + 64 * 16 + 128 * 16
BYTES = 4 * (POINTS + 2 * BINS)
LOOP = """
#include <stddef.h>
void repeat(void (*transform)(void *, const float *, float *), void *fft, const float *from, size_t read, float *to,
            size_t written, size_t rows)
{
    for (size_t i = 0; i < rows; i++) transform(fft, from + i * read, to + i * written);
}
"""
Transform = Callable[[], np.ndarray]


def kernel_transforms(x: np.ndarray, folder: Path) -> tuple[Transform, Transform]:
    """Forward and inverse of all rows by the kernel. OSError without a C compiler (CC, or cc).

    x : (ROWS, POINTS) float32 -> (ROWS, 2 * BINS) planar spectra, (ROWS, POINTS)
    folder : for the compiled loop
    """
    compiler = os.environ.get("CC", "cc")
    (folder / "loop.c").write_text(LOOP)
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "loop.c", "-o", "loop.so"], cwd=folder, check=True)
    repeat = ctypes.CDLL(str(folder / "loop.so")).repeat
    repeat.restype = None
    fft, X, y = Fft(POINTS), np.empty((len(x), 2 * BINS), np.float32), np.empty_like(x)

    def transform(name: str, source: np.ndarray, target: np.ndarray) -> Transform:
        def run() -> np.ndarray:
            pointers = [int(ffi.cast("uintptr_t", what)) for what in (ffi.addressof(lib, name), fft._fft)]
            arrays = (source.ctypes.data, source.shape[1], target.ctypes.data, target.shape[1])
            repeat(*(ctypes.c_size_t(value) for value in (*pointers, *arrays, len(x))))
            return target

        return run

    return transform("ee_fft_forward", x, X), transform("ee_fft_inverse", X, y)


def numpy_transforms(x: np.ndarray) -> tuple[Transform, Transform] | None:
    """np.fft.rfft and irfft of all rows, in the precision of x; None where NumPy computes in another."""
    X, y = np.fft.rfft(x), np.empty_like(x)
    if X.real.dtype != x.dtype:  # NumPy 1: always double
        return None
    return lambda: np.fft.rfft(x, out=X), lambda: np.fft.irfft(X, out=y)


def fftw_transforms(x: np.ndarray) -> tuple[Transform, Transform] | None:
    """FFTW's plans for all rows, its inverse unscaled; None where libfftw3f.so.3 is not installed."""
    try:
        fftw = ctypes.CDLL("libfftw3f.so.3")
    except OSError:
        return None
    samples, X, y = np.empty_like(x), np.empty((len(x), BINS), np.complex64), np.empty_like(x)

    def transform(name: str, source: np.ndarray, target: np.ndarray) -> Transform:
        make = getattr(fftw, f"fftwf_plan_many_dft_{name}")
        make.restype = ctypes.c_void_p
        sides = [
            part
            for side in (source, target)
            for part in (ctypes.c_void_p(side.ctypes.data), None, 1, ctypes.c_int(side.shape[1]))
        ]
        plan = ctypes.c_void_p(make(1, (ctypes.c_int * 1)(POINTS), len(x), *sides, FFTW_MEASURE))

        def run() -> np.ndarray:
            fftw.fftwf_execute(plan)
            return (source, target)[1]  # FFTW reads and writes where they lie: both stay alive

        return run

    transforms = transform("r2c", samples, X), transform("c2r", X, y)
    samples[:] = x  # measuring a plan overwrites its arrays
    return transforms


def roof(x: np.ndarray, rounds: int) -> tuple[float, str]:
    """The least time a transform could take on this core, in µs, and why.

    Arithmetic at half the rate of NumPy's products of 64 x 64 matrices, which fuse multiplying and adding, as the
    kernel does not; memory at the rate at which the rows are copied.
    """
    a, copy = x.reshape(-1, 64, 64), np.empty_like(x)
    seconds = _medians({"products": lambda: a @ a, "copy": lambda: np.copyto(copy, x)}, rounds)
    flops = 2 * 64**3 * len(a) / seconds["products"] / 2
    rate = 2 * x.nbytes / seconds["copy"]
    arithmetic, memory = 1e6 * FLOPS / flops, 1e6 * BYTES / rate
    why = f"{FLOPS} operations at {flops / 1e9:.0f} G/s, {BYTES} bytes at {rate / 1e9:.0f} GB/s"
    return max(arithmetic, memory), why


def report(rounds: int = ROUNDS) -> str:
    """The table, and what it means."""
    x = np.random.default_rng(0).standard_normal((ROWS, POINTS)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        subjects = {
            "ours": kernel_transforms(x, Path(folder)),
            "NumPy, single precision": numpy_transforms(x),
            "NumPy, double precision": numpy_transforms(x.astype(np.float64)),
            "FFTW": fftw_transforms(x),
        }
        present = {(name, side): run for name, pair in subjects.items() if pair for side, run in enumerate(pair)}
        seconds = _medians(present, rounds)
    us = {which: 1e6 * value / ROWS for which, value in seconds.items()}
    rows = [
        (name, *((f"{us[name, side]:.2f}" for side in (0, 1)) if pair else ("not installed", "")))
        for name, pair in subjects.items()
    ]
    least, why = roof(x, rounds)
    rows.append(("roofline, forward", f"{least:.2f}", ""))
    theirs = [min(us[name, side] for name in subjects if "NumPy" in name and (name, side) in us) for side in (0, 1)]
    forward, inverse = (us["ours", side] / theirs[side] for side in (0, 1))
    parts = [
        table((f"FFT-{POINTS}, {ROWS} at a time", "forward, µs each", "inverse"), rows),
        f"Roofline: {why}.",
        f"The kernel takes {forward:.2f} (forward) and {inverse:.2f} times (inverse) what NumPy takes in the precision "
        "in which it is faster.",
    ]
    return "\n\n".join(parts)


def _medians(subjects: dict[Any, Callable[[], object]], rounds: int) -> dict[Any, float]:
    """Seconds a call, median over the rounds after the first."""
    times: dict[Any, list[float]] = {name: [] for name in subjects}
    for _ in range(rounds + 1):
        for name, subject in subjects.items():
            start = time.perf_counter()
            subject()
            times[name].append(time.perf_counter() - start)
    return {name: float(np.median(seconds[1:])) for name, seconds in times.items()}


if __name__ == "__main__":
    print(report())
