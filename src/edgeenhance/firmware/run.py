"""A recording through the firmware in the emulator, compared with the same chain in Python."""

from __future__ import annotations

import os
import platform
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._files import atomic_path
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from ..files import Reader
from .build import build, is_exact
from .emulator import Report, arguments, emulate
from .project import Project

LEAST_SNR_DB = 60.0


@dataclass(frozen=True)
class Comparison:
    """exact : how the firmware was built · different : samples of `count` that differ from Python's

    snr_db : of the firmware's output, inf where nothing differs · report : of the firmware
    """

    exact: bool
    different: int
    count: int
    snr_db: float
    report: Report

    @property
    def passed(self) -> bool:
        """Exact builds: equal to the bit where Python's kernel is exact, too (x86-64); fast ones within 60 dB."""
        exact = self.exact and platform.machine() in ("x86_64", "AMD64")
        return self.different == 0 if exact else self.snr_db >= LEAST_SNR_DB

    def __str__(self) -> str:
        kind = "exact" if self.exact else "fast"
        same = "equal to the bit" if not self.different else f"{self.different} differ, SNR {self.snr_db:.1f} dB"
        return f"{kind} build against Python: {self.count} samples, {same}: {'OK' if self.passed else 'NOT OK'}"


def run(
    project: Project, recording: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> Comparison:
    """Stream a recording through the firmware; built first if it was not. output : WAV file for what comes out.

    Raises EdgeEnhanceError where the board has no emulator, a tool is missing or the file does not fit.
    """
    arguments(project)
    enhancer = project.enhancer()
    x = read_wav(recording, enhancer)
    if not project.elf.is_file():
        build(project)
    y, report = emulate(project, x)
    expected = enhancer.process(x).reshape(y.shape)
    if output is not None:
        write_wav(output, y, enhancer.profile.sample_rate)
    different = int((y.view(np.uint32) != expected.view(np.uint32)).sum())
    return Comparison(is_exact(project), different, y.size, snr_db(y, expected), report)


def snr_db(y: np.ndarray, expected: np.ndarray) -> float:
    """10 lg of the energy of `expected` over that of the difference."""
    error = float(np.sum((y.astype(float) - expected) ** 2))
    return float(10 * np.log10(np.sum(expected.astype(float) ** 2) / error)) if error else float("inf")


def read_wav(path: str | os.PathLike[str], enhancer: Enhancer) -> np.ndarray:
    """A recording : (n, mics) float32, zeros up to a whole hop. EdgeEnhanceError where it does not fit the enhancer.

    PCM of 16, 24 and 32 bits is read with the standard library, anything else with the extra `files`.
    """
    try:
        x, rate = _read_pcm(path)
    except (wave.Error, EOFError):
        with Reader(path) as reader:
            x, rate = np.concatenate([np.zeros((0, reader.channels), np.float32), *reader]), reader.sample_rate
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error.strerror}") from error
    expected, mics = enhancer.profile.sample_rate, enhancer.array.mics
    if not len(x) or x.shape[1] != mics or rate != expected:
        raise EdgeEnhanceError(
            f"{path} has {len(x)} samples of {x.shape[1]} channels at {rate} Hz; "
            f"the firmware for {enhancer.array.name!r} takes {mics} channels at {expected} Hz"
        )
    return np.concatenate([x, np.zeros((-len(x) % enhancer.profile.hop, mics), np.float32)])


def _read_pcm(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """((n, channels) float32, Hz); wave.Error for what is not PCM of 16, 24 or 32 bits."""
    with wave.open(os.fspath(path), "rb") as file:
        channels, rate, width, raw = file.getnchannels(), file.getframerate(), file.getsampwidth(), file.readframes(-1)
    if width < 2:
        raise wave.Error("8 bits")
    count = len(raw) // (width * channels) * channels
    samples = np.zeros((count, 4), np.uint8)
    samples[:, 4 - width :] = np.frombuffer(raw, np.uint8, count * width).reshape(-1, width)
    return (samples.view("<i4")[:, 0] / 2.0**31).astype(np.float32).reshape(-1, channels), rate


def write_wav(path: str | os.PathLike[str], y: np.ndarray, sample_rate: int) -> None:
    """(n, ears) as 16-bit PCM, clipped."""
    with atomic_path(Path(path)) as temporary, wave.open(os.fspath(temporary), "wb") as file:
        file.setnchannels(y.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.rint(np.clip(y, -1, 32767 / 32768) * 32768).astype("<i2").tobytes())
