"""Compile a project, write its images, and count what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .._files import atomic_path
from ..golden import sound
from .emulator import Report, emulate
from .image import Elf, Parts, hex_text, read_elf, uf2
from .project import Project
from .tools import CURES, check_tool, find_tool, tool

SECONDS = 600  # the longest build


@dataclass(frozen=True)
class Costs:
    """flash, model, ram : bytes: program and tables, network, static memory

    frame, function : bytes of the largest stack frame, and whose it is
    report : what the emulator counted over a second of sound, None where the board has no emulator
    """

    flash: int
    model: int
    ram: int
    frame: int
    function: str
    report: Report | None


def build(project: Project, *, exact: bool = False) -> tuple[list[Path], Costs]:
    """Make build/firmware.elf, .hex, .bin and .uf2 as the board can use them : (files, costs).

    exact : bit-equal to other machines; else with fused multiply-add
    Raises EdgeEnhanceError where a tool is missing or the compiler complains.
    """
    tool("arm-none-eabi-gcc")
    folder, board = project.elf.parent, project.folder / "board"
    options = [f"-DCMAKE_TOOLCHAIN_FILE={board / project.board.toolchain}", f"-DEE_EXACT={'ON' if exact else 'OFF'}"]
    check_tool("cmake", "-S", project.folder, "-B", folder, *options, seconds=SECONDS)
    check_tool("cmake", "--build", folder, "--parallel", "2", seconds=SECONDS)
    elf = read_elf(project.elf)
    return [project.elf, *_write_images(project, elf)], _costs(project, elf)


def is_exact(project: Project) -> bool:
    """Whether what lies in build/ was compiled with exact=True."""
    return "EE_EXACT:BOOL=ON" in (project.elf.parent / "CMakeCache.txt").read_text(encoding="utf-8")


def split(project: Project, parts: Parts) -> tuple[Parts, Parts]:
    """(program, model) of an image."""
    origin, length = project.memory["MODEL"]
    model = [part for part in parts if origin <= part[0] < origin + length]
    return [part for part in parts if part not in model], model


def _write_images(project: Project, elf: Elf) -> list[Path]:
    program, model = split(project, elf.parts)
    images = {"firmware.hex": hex_text(elf.parts).encode()}
    if len(program) == 1:  # else a .bin would be mostly hole
        images["firmware.bin"] = program[0][1]
    if model:
        images["model.bin"] = model[0][1]
    if project.board.uf2_family:
        images["firmware.uf2"] = uf2(elf.parts, project.board.uf2_family)
    paths = [project.elf.with_name(name) for name in images]
    for path, content in zip(paths, images.values()):
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return paths


def _costs(project: Project, elf: Elf) -> Costs:
    program, _ = split(project, elf.parts)
    frames = [_frame(line) for path in project.elf.parent.rglob("*.su") for line in path.read_text().splitlines()]
    frame, function = max(frames)
    report = None
    if project.board.machine and find_tool("qemu-system-arm"):
        enhancer = project.enhancer()
        _, report = emulate(project, sound(enhancer.array, enhancer.profile).astype("f4") / 32768)
    ram = elf.sections.get(".data", 0) + elf.sections[".bss"]
    model = elf.sections.get(".model", 0)
    return Costs(sum(len(content) for _, content in program), model, ram, frame, function, report)


def _frame(line: str) -> tuple[int, str]:
    """(bytes, function) of a line of gcc's -fstack-usage."""
    place, size, _ = line.split("\t")
    return int(size), place.rpartition(":")[2]


def costs_text(project: Project, costs: Costs, clock_mhz: float | None = None) -> str:
    """The costs as a table; clock_mhz : of the core, default the board's."""
    memory, report = project.memory, costs.report
    rows = [
        ("flash, bytes", _thousands(costs.flash), f"of {_thousands(memory['FLASH'][1])}: program and tables"),
        ("model region, bytes", _thousands(costs.model), f"of {_thousands(memory['MODEL'][1])}"),
        ("RAM, bytes", _thousands(costs.ram), f"of {_thousands(memory['RAM'][1])}, the stack not counted"),
        ("largest stack frame, bytes", _thousands(costs.frame), f"{costs.function} (-fstack-usage)"),
    ]
    if report is None:
        missing = f": {CURES['qemu-system-arm']}" if project.board.machine else ""
        return f"{_table(rows)}\n\ninstructions are not counted: no emulator for this board{missing}"
    clock, profile = clock_mhz or project.board.clock_mhz, project.enhancer().profile
    seconds = profile.hop / profile.sample_rate
    rows += [
        ("stack, bytes", _thousands(report.stack), "reached in emulation"),
        ("instructions per hop, mean", _thousands(report.mean), f"of {report.hops} hops of {1000 * seconds:g} ms"),
        ("instructions per hop, worst", _thousands(report.worst), ""),
        ("share of the core, mean", f"{report.mean / (clock * 1e6 * seconds):.0%}", f"at {clock:g} MHz, if an"),
        ("share of the core, worst hop", f"{report.worst / (clock * 1e6 * seconds):.0%}", "instruction takes a cycle"),
    ]
    return _table(rows)


def _table(rows: list[tuple[str, str, str]]) -> str:
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{what:{width}}  {value:>9}  {note}".rstrip() for what, value, note in rows)


def _thousands(number: int) -> str:
    return f"{number:,}".replace(",", " ")
