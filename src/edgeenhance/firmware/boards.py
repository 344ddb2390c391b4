"""Boards that firmware is made for. Memory maps are in the linker scripts (csrc/ports), nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import EdgeEnhanceError


@dataclass(frozen=True)
class Board:
    """name, title : for people · toolchain, script, chip : files of csrc/ports; chip: clocks and boot block, or ""

    clock_mhz : that the firmware sets, or the emulated board's · machine : QEMU's name, "" where it has none
    flash : ways to write it, in the order they are tried · pyocd : its name of the target · openocd : its scripts
    uf2_family : UF2's number of the chip · uf2_drive : what the drive's INFO_UF2.TXT says
    """

    name: str
    title: str
    toolchain: str
    script: str
    clock_mhz: float
    machine: str = ""
    chip: str = ""
    flash: tuple[str, ...] = ()
    pyocd: str = ""
    openocd: tuple[str, ...] = ()
    uf2_family: int = 0
    uf2_drive: str = ""


BOARDS = {
    board.name: board
    for board in (
        Board("mps2-an386", "Arm MPS2, Cortex-M4F", "cortex-m4f.cmake", "mps2.ld", 25, "mps2-an386"),
        Board("mps2-an500", "Arm MPS2, Cortex-M7", "cortex-m7.cmake", "mps2.ld", 25, "mps2-an500"),
        Board("mps3-an547", "Arm MPS3, Cortex-M55", "cortex-m55.cmake", "mps3.ld", 32, "mps3-an547"),
        Board(
            "rp2350", "Raspberry Pi Pico 2, Cortex-M33", "rp2350.cmake", "rp2350.ld", 150, chip="rp2350.c",
            flash=("uf2", "pyocd"), pyocd="rp2350", uf2_family=0xE48BFF59, uf2_drive="RP2350",
        ),
        Board(
            "stm32h7", "STM32H743, Cortex-M7", "stm32h7.cmake", "stm32h7.ld", 400, chip="stm32h7.c",
            flash=("pyocd", "openocd", "dfu-util"), pyocd="stm32h743xx",
            openocd=("interface/stlink.cfg", "target/stm32h7x.cfg"),
        ),
    )
}  # fmt: skip


def board_named(name: str) -> Board:
    """A board by its name; ValueError lists the names."""
    if name not in BOARDS:
        raise ValueError(f"unknown board {name!r}; choose one of: {', '.join(BOARDS)}")
    return BOARDS[name]


def memory_map(script: Path) -> dict[str, tuple[int, int]]:
    """Region -> (origin, bytes) of a linker script, aliases too. Raises EdgeEnhanceError where it has none."""
    try:
        text = script.read_text(encoding="utf-8")
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {script}: {error.strerror}") from error
    found = re.findall(r"(\w+) \(\w+\) : ORIGIN = (\w+), LENGTH = (\d+)([KM])", text)
    regions = {name: (int(origin, 0), int(length) << {"K": 10, "M": 20}[unit]) for name, origin, length, unit in found}
    for alias, name in re.findall(r'REGION_ALIAS\("(\w+)", (\w+)\)', text):
        regions[alias] = regions[name]
    if not {"FLASH", "MODEL", "RAM", "STACK"} <= regions.keys():
        raise EdgeEnhanceError(f"{script} does not define FLASH, MODEL, RAM and STACK")
    return regions
