"""What this machine is: its processor, how fast that is allowed to run, how much memory we take. Linux tells most."""

from __future__ import annotations

import os
import platform
from pathlib import Path

SIMD = "sse4_2 avx avx2 fma avx512f avx512_vnni neon asimd asimddp asimdhp sve i8mm".split()
_CPUS = Path("/sys/devices/system/cpu")


def cpu_name() -> str:
    """The board's name where it has one (Raspberry Pi 5 Model B Rev 1.0), else the processor's."""
    board = _text("/proc/device-tree/model").strip("\0\n ")
    names = [
        line.partition(":")[2].strip() for line in _text("/proc/cpuinfo").splitlines() if line[:10] == "model name"
    ]
    return board or (names[0] if names else platform.processor()) or platform.machine()


def cpu_features() -> list[str]:
    """The SIMD extensions of `SIMD` that the processor has; [] where the system does not say."""
    flags = set(_text("/proc/cpuinfo").replace(":", " ").split())
    return [name for name in SIMD if name in flags]


def governors() -> dict[str, list[int]]:
    """Frequency governors in use, and the numbers of the cores that each governs; {} where there are none to see."""
    found: dict[str, list[int]] = {}
    for path in _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor"):
        found.setdefault(_text(path).strip(), []).append(int(path.parts[-3][3:]))
    return {name: sorted(cores) for name, cores in sorted(found.items())}


def slow_governors() -> list[str]:
    """Governors in use under which the frequency follows the load, late."""
    return [name for name in governors() if name != "performance"]


GOVERN = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def resident_mb() -> float | None:
    """Memory of this process that is in RAM, MB; None where the system does not say."""
    pages = _text("/proc/self/statm").split()
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if pages else None


def _text(path: str | os.PathLike[str]) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
