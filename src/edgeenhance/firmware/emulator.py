"""The firmware in QEMU: sound in, sound out, and what it says of itself."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import EdgeEnhanceError
from .boards import BOARDS
from .project import Project
from .tools import complaint, run_tool

START_SECONDS = 60  # to wait for the emulator, and so much more for every second of sound
SECONDS_PER_SECOND = 30


@dataclass(frozen=True)
class Report:
    """boot : the two lines that the firmware starts with · hops · mean, worst : instructions per hop · stack : bytes"""

    boot: str
    hops: int
    mean: int
    worst: int
    stack: int


def arguments(project: Project) -> list[str]:
    """Of qemu-system-arm for the project's board, but for the program.

    An instruction takes 2^6 ns, so that SysTick counts them.

    Raises EdgeEnhanceError where QEMU does not have the board.
    """
    if not project.board.machine:
        emulated = ", ".join(board.name for board in BOARDS.values() if board.machine)
        raise EdgeEnhanceError(
            f"there is no emulator for {project.board.name}; a project for one of {emulated} runs the same chain"
        )
    return [
        "-machine", project.board.machine, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=6",
        "-semihosting-config", "enable=on,target=native",
    ]  # fmt: skip


def emulate(project: Project, x: np.ndarray) -> tuple[np.ndarray, Report]:
    """Run build/firmware.elf on x (n, mics) float32, n a multiple of the hop : (output (n, ears), report)."""
    command, seconds = arguments(project), START_SECONDS + SECONDS_PER_SECOND * len(x) / 16000
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        np.ascontiguousarray(x, "<f4").tofile(folder / "in.f32")
        code, output = run_tool("qemu-system-arm", *command, "-kernel", project.elf, seconds=seconds, cwd=folder)
        if code:
            raise EdgeEnhanceError(f"the firmware stopped in the emulator: {complaint(output)}")
        y = np.fromfile(folder / "out.f32", "<f4")
    return y.reshape(len(x), -1), read_report(output)


def read_report(output: str) -> Report:
    """What the firmware printed; EdgeEnhanceError where something is missing."""
    found = re.search(
        r"(edgeenhance: .*\n.*)\nhops: (\d+), counts per hop: mean (\d+), worst (\d+)\nbytes of stack: (\d+)", output
    )
    if not found:
        raise EdgeEnhanceError(f"the firmware did not report to the end: {complaint(output)}")
    boot, *numbers = found.groups()
    return Report(boot, *map(int, numbers))
