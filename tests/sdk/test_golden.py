"""Firmware's self-test with freshly written golden vectors passes on this machine, and notices a wrong sample."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not shutil.which("cc"):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("golden")
    subprocess.run([sys.executable, "-m", "edgeenhance.golden", "-o", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def self_test(folder: Path) -> subprocess.CompletedProcess:
    sources = [
        *sorted((ROOT / "csrc").glob("*.c")),
        *(ROOT / "csrc/ports" / f"{n}.c" for n in ("selftest", "board_linux")),
    ]
    flags = ["-std=c99", "-O1", "-ffp-contract=off", "-DEXACT", f"-I{ROOT / 'csrc/include'}", f"-I{folder}"]
    subprocess.run(["cc", *flags, *sources, "-o", folder / "selftest", "-lm"], check=True)
    return subprocess.run([folder / "selftest"], capture_output=True, text=True)


def test_the_self_test_passes(folder):
    run = self_test(folder)
    assert (run.returncode, run.stdout.splitlines()[-1]) == (0, "OK"), run.stdout


def test_the_self_test_notices_a_wrong_sample(folder):
    text, header = (folder / "golden.h").read_text(encoding="ascii"), folder / "wrong" / "golden.h"
    header.parent.mkdir()
    header.write_text(re.sub(r"(golden_four_out\[\d+\] = \{\s*)", r"\g<1>0.1f + ", text), encoding="ascii")
    run = self_test(header.parent)
    assert (run.returncode, run.stdout.splitlines()[-1]) == (1, "NOT OK"), run.stdout
