"""Instructions per 10 ms of sound on 64-bit and 32-bit ARM Linux, four microphones. Run by `make check`.

usage: python tests/check/instructions.py FOLDER      exit code 1 where the wheels' build takes more than MOST

The C example enhance_wav runs under qemu-user with count.c. What four seconds take more than two, starting and the two
seconds in which the chain settles cancel: a mean of 200 pieces of 10 ms, the same number on every run.
"""

import re
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from edgeenhance import Enhancer, MicArray
from edgeenhance.export import write_setup
from edgeenhance.golden import sound
from edgeenhance.profiles import PROFILES

ROOT = Path(__file__).parents[2]
BOARDS = {"aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64"), "armv7": ("arm-linux-gnueabihf-gcc", "qemu-arm")}
MODELS = {"none": "assist", "assist-s": "assist", "assist-m": "assist", "comm-m": "comm"}
ARRAY = "respeaker-4"
MOST = {"aarch64": 1350, "armv7": 2500}  # thousands: a quarter more than was measured


def run(*command: object) -> str:
    """Standard output and error of a command that must succeed."""
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def write_clips(folder: Path) -> None:
    """Two and four seconds of golden.sound."""
    second = sound(MicArray.load(ARRAY), PROFILES["assist"])
    for seconds in (2, 4):
        with wave.open(str(folder / f"{seconds}.wav"), "wb") as file:
            file.setnchannels(second.shape[1]), file.setsampwidth(2), file.setframerate(len(second))
            file.writeframes(np.tile(second, (seconds, 1)).tobytes())


def library(folder: Path, board: str, exact: str) -> Path:
    """The static library, built for a board with the project's own flags."""
    cmake, build = Path(sys.executable).parent / "cmake", folder / f"{board}-{exact}"
    toolchain = ROOT / f"csrc/ports/linux-{board}.cmake"
    run(cmake, "-S", ROOT, "-B", build, "--toolchain", toolchain, f"-DEE_EXACT={exact}")
    run(cmake, "--build", build, "--target", "edgeenhance")
    return build / "libedgeenhance.a"


def count(folder: Path, board: str, setup: Path, archive: Path) -> float:
    """Instructions per 10 ms."""
    compiler, emulator = BOARDS[board]
    program, example = archive.with_name("enhance_wav"), ROOT / "examples/c/enhance_wav/enhance_wav.c"
    headers = (f"-I{setup}", f"-I{ROOT}/csrc/include")
    run(compiler, "-std=c99", "-O2", "-static", *headers, example, setup / "ee_setup.c", archive, "-lm", "-o", program)
    plugin, totals = folder / "count.so", []
    for seconds in (2, 4):
        text = run(emulator, "-plugin", plugin, "-d", "plugin", program, folder / f"{seconds}.wav", folder / "out.wav")
        totals.append(int(re.search(r"instructions (\d+)", text)[1]))
    return (totals[1] - totals[0]) / 200


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    strict = ("-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    run("gcc", *strict, Path(__file__).with_name("count.c"), "-o", folder / "count.so")
    write_clips(folder)
    for model, profile in MODELS.items():
        write_setup(Enhancer(ARRAY, profile=profile, model=model), folder / model, [0.0])
    print(f"{'thousands per 10 ms':26}" + "  ".join(f"{name:>8}" for name in MODELS))
    ok = True
    for board in BOARDS:
        for exact, name in (("ON", "exact (wheels)"), ("OFF", "fast")):
            archive = library(folder, board, exact)
            counts = [count(folder, board, folder / model, archive) / 1000 for model in MODELS]
            print(f"{board:10}{name:16}" + "  ".join(f"{value:8.0f}" for value in counts), flush=True)
            ok &= exact == "OFF" or max(counts) <= MOST[board]
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
