"""Writing firmware to a board: find a probe, write, verify, start. Nothing here waits without end.

A probe is METHOD:ID: pyocd:UNIQUE_ID, openocd:SERIAL, dfu-util:SERIAL, uf2:DRIVE, or gdb:HOST:PORT, a gdb server: of
OpenOCD, a J-Link or QEMU. `METHODS` has a finder and a writer of each.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import EdgeEnhanceError
from ..nativenet import NativeNet
from .boards import Board
from .image import Parts, hex_text, read_elf, uf2
from .project import Project, check_model
from .tools import CURES, check_tool, complaint, find_tool, run_tool

LOOK_SECONDS = 30.0  # to look for probes, each way
WRITE_SECONDS = 300.0  # to write, and to read back
UF2_SECONDS = 60.0  # until the boot ROM has taken an image
DFU_DEVICE = "0483:df11"  # ST's boot loader
DRIVES = ("/media/*/*", "/run/media/*/*", "/Volumes/*")


class NoProbeError(EdgeEnhanceError):
    """Nothing is connected that a board could be written through."""


@dataclass(frozen=True)
class Probe:
    """method : of `METHODS` · id : its own name of the probe, "" where there is only one · title : for people"""

    method: str
    id: str
    title: str = ""

    def __str__(self) -> str:
        return f"{self.method}:{self.id}" if self.id else self.method


@dataclass(frozen=True)
class Image:
    """What is to be written: parts, and the address where the program starts."""

    parts: Parts
    entry: int


def flash(project: Project, *, model: str | None = None, probe: str | None = None) -> str:
    """Write the built firmware, or with `model` (a name or a file) its region alone; returns what was done, a sentence.

    probe : METHOD or METHOD:ID; None: the only one that is found
    Raises NoProbeError where there is none, EdgeEnhanceError where writing or verifying fails, ValueError where several
    are found.
    """
    elf = read_elf(project.elf)
    net = None if model is None else NativeNet(model)
    if net:
        check_model(project, net)
    image = Image([(project.memory["MODEL"][0], net.program)] if net else elf.parts, elf.entry)
    chosen = _named(probe, project.board) if probe else _only(find_probes(project.board), project.board)
    proof = METHODS[chosen.method][1](project.board, chosen, image)
    what = f"model {net.name}" if net else "firmware"
    size = sum(len(content) for _, content in image.parts)
    return f"{what}: {size} bytes written through {chosen}, {proof}"


def find_probes(board: Board) -> list[Probe]:
    """What the first of the board's tools sees that sees any; tools that are not installed see none."""
    for method in board.flash:
        if found := METHODS[method][0](board):  # the next tool might see the same probe again
            return found
    return []


def _named(text: str, board: Board) -> Probe:
    method, _, name = text.partition(":")
    if method not in (*board.flash, "gdb"):
        choice = ", ".join((*board.flash, "gdb:HOST:PORT"))
        raise ValueError(f"got --probe {text}; {board.name} is written through one of {choice}")
    return Probe(method, name)


def _only(probes: list[Probe], board: Board) -> Probe:
    if len(probes) > 1:
        listed = "; ".join(f"{probe} ({probe.title})" for probe in probes)
        raise ValueError(f"several probes are connected; choose one with --probe: {listed}")
    if not probes:
        raise NoProbeError(f"no probe found for {board.name}: {_search(board)}a gdb server is --probe gdb:HOST:PORT")
    return probes[0]


def _search(board: Board) -> str:
    """Where probes were looked for."""
    words = []
    for method in board.flash:
        absent = method in CURES and find_tool(method) is None
        words.append(f"{method} is not installed ({CURES[method]})" if absent else f"{method} sees none")
    return "".join(f"{word}, " for word in words)


def _looked(method: str, *arguments: str) -> str:
    """The output of a tool that looks for probes, "" where it is missing, fails or takes too long."""
    try:
        code, output = run_tool(method, *arguments, seconds=LOOK_SECONDS)
    except EdgeEnhanceError:
        return ""
    return "" if code else output


def _check_read_back(parts: Parts, read: Iterable[bytes], method: str) -> str:
    for (address, content), found in zip(parts, read, strict=True):
        if found != content:
            raise EdgeEnhanceError(f"{method} reads back something else than was written at 0x{address:08x}")
    return "read back and equal"


# ---- pyocd ----


def _find_pyocd(board: Board) -> list[Probe]:
    output = _looked("pyocd", "json", "--probes")
    try:
        boards = json.loads(output[output.index("{") :])["boards"]
        return [Probe("pyocd", each["unique_id"], each.get("info", "")) for each in boards]
    except (ValueError, KeyError):
        return []


def _write_pyocd(board: Board, probe: Probe, image: Image) -> str:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "image.hex")
        path.write_text(hex_text(image.parts), encoding="ascii")
        where = ["--no-wait", "--target", board.pyocd, *(["--uid", probe.id] if probe.id else [])]
        code, output = run_tool("pyocd", "flash", *where, path, seconds=WRITE_SECONDS)
        _check_written("pyocd", code, output, "No connected debug probes", "No target device available")
        read = []
        for n, (address, content) in enumerate(image.parts):
            save = f"savemem {address} {len(content)} {place}/{n}.bin"
            check_tool("pyocd", "commander", *where, "-c", save, seconds=WRITE_SECONDS)
            read.append(Path(place, f"{n}.bin").read_bytes())
    return _check_read_back(image.parts, read, "pyocd")


def _check_written(method: str, code: int, output: str, *no_probe: str) -> None:
    if code and any(sentence in output for sentence in no_probe):
        raise NoProbeError(f"{method} finds no probe: {complaint(output)}")
    if code:
        raise EdgeEnhanceError(f"{method} failed: {complaint(output)}")


# ---- openocd ----


def _openocd(board: Board, probe: Probe) -> list[str]:
    scripts = [word for script in board.openocd for word in ("-f", script)]
    return [*scripts, *(["-c", f"adapter serial {probe.id}"] if probe.id else [])]


def _find_openocd(board: Board) -> list[Probe]:
    found = _looked("openocd", *_openocd(board, Probe("openocd", "")), "-c", "init; shutdown")
    return [Probe("openocd", "", " ".join(board.openocd))] if found else []


def _write_openocd(board: Board, probe: Probe, image: Image) -> str:
    with tempfile.TemporaryDirectory() as place:
        Path(place, "image.hex").write_text(hex_text(image.parts), encoding="ascii")
        do = ["-c", "program image.hex verify reset exit"]
        code, output = run_tool("openocd", *_openocd(board, probe), *do, seconds=WRITE_SECONDS, cwd=Path(place))
    _check_written("openocd", code, output, "open failed", "unable to find")
    if "** Verified OK **" not in output:
        raise EdgeEnhanceError(f"openocd did not verify: {complaint(output)}")
    return "verified by openocd"


# ---- dfu-util ----


def _find_dfu(board: Board) -> list[Probe]:
    found = re.findall(rf'Found DFU: \[{DFU_DEVICE}\].*alt=0.*serial="([^"]*)"', _looked("dfu-util", "-l"))
    return [Probe("dfu-util", serial, f"boot loader {DFU_DEVICE}") for serial in dict.fromkeys(found)]


def _write_dfu(board: Board, probe: Probe, image: Image) -> str:
    device = ["-d", DFU_DEVICE, "-a", "0", *(["-S", probe.id] if probe.id else [])]
    with tempfile.TemporaryDirectory() as place:
        read = []
        for n, (address, content) in enumerate(image.parts):
            part, back = Path(place, f"{n}.bin"), Path(place, f"{n}.back")
            part.write_bytes(content)
            code, output = run_tool("dfu-util", *device, "-s", f"{address:#x}", "-D", part, seconds=WRITE_SECONDS)
            _check_written("dfu-util", code, output, "No DFU capable USB device")
            check_tool("dfu-util", *device, "-s", f"{address:#x}:{len(content)}", "-U", back, seconds=WRITE_SECONDS)
            read.append(back.read_bytes())
        proof = _check_read_back(image.parts, read, "dfu-util")
        start = ["-s", f"{image.parts[0][0]:#x}:4:leave", "-U", Path(place, "leave")]
        run_tool("dfu-util", *device, *start, seconds=LOOK_SECONDS)  # the device goes: dfu-util may call that an error
    return proof


# ---- UF2 drives ----


def _find_uf2(board: Board, drives: tuple[str, ...] = DRIVES) -> list[Probe]:
    found = [path for pattern in drives for path in Path("/").glob(pattern.lstrip("/")) if _is_drive(path, board)]
    return [Probe("uf2", str(path), f"drive of the {board.name}") for path in sorted(found)]


def _is_drive(path: Path, board: Board) -> bool:
    try:
        return board.uf2_drive in (path / "INFO_UF2.TXT").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _write_uf2(board: Board, probe: Probe, image: Image) -> str:
    drive = Path(probe.id)
    if not _is_drive(drive, board):
        raise NoProbeError(f"{drive} is not the drive of a {board.name}; hold BOOTSEL while plugging it in")
    with suppress(OSError), open(drive / "firmware.uf2", "wb") as file:  # the drive may go before the file is closed
        file.write(uf2(image.parts, board.uf2_family))
        file.flush()
        os.fsync(file.fileno())
    _wait(lambda: not _is_drive(drive, board), f"{drive} is still there: the board did not take the image")
    return "taken by the boot ROM, which checks every block and cannot be read back"


def _wait(done: Callable[[], bool], sentence: str) -> None:
    end = time.monotonic() + UF2_SECONDS
    while not done():
        if time.monotonic() > end:
            raise EdgeEnhanceError(f"{sentence} within {UF2_SECONDS:g} s")
        time.sleep(0.1)


# ---- gdb servers ----


def _find_gdb(board: Board) -> list[Probe]:
    return []  # any address might be one


def _write_gdb(board: Board, probe: Probe, image: Image) -> str:
    """Load, compare all sections, and go on from the reset handler, which needs nothing but its address."""
    if not re.fullmatch(r"[\w.-]+:\d+", probe.id):
        raise ValueError(f"got --probe {probe}; expected gdb:HOST:PORT, as in gdb:localhost:1234")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "image.hex")
        path.write_text(hex_text(image.parts), encoding="ascii")
        steps = (
            "set confirm off", "set tcp connect-timeout 5", "set remotetimeout 20", "set architecture armv7e-m",
            f"file {path.name}", f"target remote {probe.id}", "load", "compare-sections",
            "set $xpsr = 0x1000000", f"set $pc = {image.entry & ~1:#x}", "detach",
        )  # fmt: skip
        commands = [word for step in steps for word in ("-ex", step)]
        _, output = run_tool("gdb-multiarch", "-nx", "-batch", *commands, seconds=WRITE_SECONDS, cwd=Path(place))
    if not re.search(r"^Loading section", output, re.MULTILINE):
        raise NoProbeError(f"no gdb server answers at {probe.id}")
    loaded, matched = (len(re.findall(word, output)) for word in (r"Loading section", r": matched\."))
    if loaded != matched:
        raise EdgeEnhanceError(f"{matched} of {loaded} sections are what was written: {complaint(output)}")
    return f"{matched} sections compared"


Finder = Callable[[Board], list[Probe]]
Writer = Callable[[Board, Probe, Image], str]
METHODS: dict[str, tuple[Finder, Writer]] = {
    "pyocd": (_find_pyocd, _write_pyocd),
    "openocd": (_find_openocd, _write_openocd),
    "dfu-util": (_find_dfu, _write_dfu),
    "uf2": (_find_uf2, _write_uf2),
    "gdb": (_find_gdb, _write_gdb),
}
