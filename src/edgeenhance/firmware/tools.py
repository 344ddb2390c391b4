"""Other programs: found, or named with the package that brings them; stopped when they take too long."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ..errors import EdgeEnhanceError

CURES = {
    "arm-none-eabi-gcc": "sudo apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "cmake": "sudo apt-get install cmake make",
    "qemu-system-arm": "sudo apt-get install qemu-system-arm",
    "gdb-multiarch": "sudo apt-get install gdb-multiarch",
    "openocd": "sudo apt-get install openocd",
    "dfu-util": "sudo apt-get install dfu-util",
    "pyocd": "pip install 'edgeenhance[firmware]'",
}


def find_tool(name: str) -> str | None:
    """The path of a program on PATH or beside this Python, None where it is missing."""
    beside = Path(sys.executable).parent
    return shutil.which(name) or shutil.which(name, path=str(beside))


def tool(name: str) -> str:
    """As `find_tool`; EdgeEnhanceError says how to install what is missing."""
    path = find_tool(name)
    if path is None:
        raise EdgeEnhanceError(f"this needs {name}, which is not installed: {CURES[name]}")
    return path


def run_tool(name: str, *arguments: object, seconds: float, cwd: Path | None = None) -> tuple[int, str]:
    """Run a program : (exit code, standard output and error). After `seconds` it is ended, with all that it started.

    Raises EdgeEnhanceError where it is missing or took too long.
    """
    command = [tool(name), *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        raise EdgeEnhanceError(f"{name} was stopped: it did not finish within {seconds:g} s") from None
    except BaseException:  # Ctrl-C, which the program's session does not see
        _end(process)
        raise
    return process.returncode, output


def check_tool(name: str, *arguments: object, seconds: float, cwd: Path | None = None) -> str:
    """As `run_tool` : its output; where it failed, EdgeEnhanceError quotes what it said last."""
    code, output = run_tool(name, *arguments, seconds=seconds, cwd=cwd)
    if code:
        raise EdgeEnhanceError(f"{name} failed: {complaint(output)}")
    return output


def complaint(output: str) -> str:
    """What a failed program said: its first line with an error, or else its last one."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in said if "error" in line.lower() or "fatal" in line.lower()]
    return (wrong[:1] or said[-1:] or ["it said nothing"])[0]


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its session: also what outlives it
    process.communicate()
