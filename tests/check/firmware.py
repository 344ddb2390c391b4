"""Firmware from new to flash: python tests/check/firmware.py DIR. Run by `make check`.

For two emulated boards: the project builds by hand and by command, runs a recording as Python does, and is loaded and
verified through QEMU's gdb server: the whole image into an empty board, another model into its region alone, and a
model with one wrong bit, which leaves the beamformer alone. Two boards without an emulator are built; the RP2350's
image has what its boot ROM looks for. Without a probe flash gives exit code 3. Bounds: of the Cortex-M7 with two
microphones.
"""

import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgeenhance import Enhancer, cli
from edgeenhance.firmware.build import build, costs_text
from edgeenhance.firmware.emulator import Report, arguments, read_report
from edgeenhance.firmware.image import read_elf
from edgeenhance.firmware.project import Project
from edgeenhance.firmware.run import read_wav, snr_db, write_wav
from edgeenhance.firmware.tools import tool
from edgeenhance.golden import sound

EMULATED = {"mps2-an500": ("bte-1x2", "left"), "mps3-an547": ("bte-2x2", "both")}  # board: array, ears
BUILT = ("rp2350", "stm32h7")
MOST_FLASH, MOST_RAM, MOST_INSTRUCTIONS = 320_000, 160_000, 600_000
GDB = ["gdb-multiarch", "-nx", "-batch", "-ex", "set architecture armv7e-m"]


def command(*words: object, code: int = 0) -> None:
    print("$ edgeenhance firmware", *words, flush=True)
    assert cli.main(["firmware", *map(str, words)]) == code


def new(folder: Path, board: str, array: str = "bte-1x2", ears: str = "left") -> Project:
    command("new", folder, "--board", board, "--array", array, "--ears", ears, "--model", "assist-s")
    return Project.load(folder)


class Board:
    """QEMU, halted, with a gdb server, as a context manager; `kernel`: what it has in its memory."""

    def __init__(self, project: Project, x: np.ndarray, kernel: Path | None = None) -> None:
        self.folder = project.folder / "board-emulated"
        self.folder.mkdir(exist_ok=True)
        x.astype("<f4").tofile(self.folder / "in.f32")
        (self.folder / "out.f32").unlink(missing_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.server = f"127.0.0.1:{free.getsockname()[1]}"
        more = ["-kernel", str(kernel)] if kernel else []
        self.command = ["qemu-system-arm", *arguments(project), "-S", "-gdb", f"tcp:{self.server}", *more]

    def __enter__(self) -> "Board":
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def finish(self, ears: int) -> tuple[Report, np.ndarray]:
        """What it said, and the sound (n, ears) that came out."""
        output, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, output
        report = read_report(output)
        print(report.boot, flush=True)
        return report, np.fromfile(self.folder / "out.f32", "<f4").reshape(-1, ears)


def gdb(server: str, elf: Path, *steps: str) -> str:
    words = [word for step in (f"file {elf}", f"target remote {server}", *steps) for word in ("-ex", step)]
    return subprocess.run([*GDB, *words], capture_output=True, text=True, timeout=60, check=True).stdout


def check_by_hand(project: Project) -> None:
    """Compiler and CMake are enough."""
    hand = project.folder / "hand"
    options = ["--toolchain", f"board/{project.board.toolchain}", "-B", hand]
    subprocess.run([tool("cmake"), *options], cwd=project.folder, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tool("cmake"), "--build", hand], check=True, stdout=subprocess.DEVNULL)
    assert read_elf(hand / "firmware.elf") == read_elf(project.elf)
    shutil.rmtree(hand)


def check_run(project: Project, recording: Path) -> np.ndarray:
    """Both builds against Python; returns what the fast one makes of the recording, int16 (n, ears)."""
    command("build", "-C", project.folder, "--exact")
    command("run", recording, "-C", project.folder)
    _, costs = build(project)
    print(costs_text(project, costs))
    command("run", recording, "-C", project.folder, "-o", project.folder / "out.wav")
    if project.board.name == "mps2-an500":
        assert costs.flash + costs.model <= MOST_FLASH
        assert costs.ram + costs.report.stack <= MOST_RAM
        assert costs.report.worst <= MOST_INSTRUCTIONS
    return run_fast(project, recording)


def run_fast(project: Project, recording: Path) -> np.ndarray:
    with Board(project, read_wav(recording, project.enhancer()), project.elf) as board:
        gdb(board.server, project.elf, "detach")
        return board.finish(len(project.enhancer().ears))[1]


def check_flash(project: Project, recording: Path, expected: np.ndarray) -> None:
    command("flash", "-C", project.folder, code=3)
    enhancer = project.enhancer()
    x, ears = read_wav(recording, enhancer), len(enhancer.ears)
    with Board(project, x) as board:
        command("flash", "-C", project.folder, "--probe", f"gdb:{board.server}")
        report, y = board.finish(ears)
    assert report.boot.endswith("\nmodel assist-s") and np.array_equal(y, expected)

    with Board(project, x, project.elf) as board:
        command("flash", "-C", project.folder, "--model", "assist-m", "--probe", f"gdb:{board.server}")
        report, y = board.finish(ears)
    other = Enhancer(enhancer.array, model="assist-m", block=64, ears=project.settings["ears"])
    difference = snr_db(y, other.process(x).reshape(y.shape))
    print(f"against assist-m in Python: SNR {difference:.1f} dB")
    assert report.boot.endswith("\nmodel assist-m") and difference >= 60

    with Board(project, x, project.elf) as board:
        said = gdb(board.server, project.elf, "set *((char *)&model_start + 1000) ^= 1", "compare-sections", "detach")
        report, y = board.finish(ears)
    wrong = [line for line in said.splitlines() if "MIS-MATCHED" in line]
    assert len(wrong) == 1 and wrong[0].startswith("Section .model")
    assert report.boot.endswith("\nbeam alone: the model region is empty or damaged")
    assert np.isfinite(y).all() and y.any() and not np.array_equal(y, expected)
    command("flash", "-C", project.folder, "--probe", f"gdb:{board.server}", code=3)  # the emulator has gone


def check_without_debugger(project: Project) -> None:
    """Nobody answers semihosting calls: the firmware goes on to its end and sleeps, in no exception."""
    board = Board(project, np.zeros((0, 1)), project.elf)
    board.command = [word for word in board.command if "semihosting" not in word and "target=native" not in word]
    with board:
        gdb(board.server, project.elf, "break wait_for_ever", "continue", "detach")
        said = gdb(board.server, project.elf, 'printf "in %d\\n", $xpsr & 0x1ff', "info symbol $pc", "kill")
    assert "\nin 0\n" in said and "wait_for_ever" in said, said


def check_boot_block(project: Project) -> None:
    """RP2350, data sheet 5.9.5: a block within 4 kB, an executable for ARM; before it stack pointer and reset."""
    start, image = read_elf(project.elf).parts[0]
    at = image.index(struct.pack("<I", 0xFFFFDED3))
    item, last, link, end = struct.unpack_from("<4I", image, at + 4)
    assert at + 20 <= 4096 and at % 4 == 0
    assert (item, last, link, end) == (0x10210142, 0x000001FF, 0, 0xAB123579)
    stack, reset = struct.unpack_from("<2I", image)
    assert stack == 0x20000000 + (520 << 10) and reset % 2 == 1 and start < reset < start + len(image)


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for board, (array, ears) in EMULATED.items():
        project = new(folder / board, board, array, ears)
        recording = folder / f"{array}.wav"
        enhancer = project.enhancer()
        write_wav(recording, sound(enhancer.array, enhancer.profile) / 32768, enhancer.profile.sample_rate)
        check_flash(project, recording, check_run(project, recording))
        check_by_hand(project)
        check_without_debugger(project)
    for board in BUILT:
        project = new(folder / board, board)
        command("build", "-C", project.folder)
        command("run", recording, "-C", project.folder, code=2)
        command("flash", "-C", project.folder, code=3)
        for method in set(project.board.flash) - {"uf2"}:
            tool(method)
            command("flash", "-C", project.folder, "--probe", method, code=3)
        if board == "rp2350":
            check_boot_block(project)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
