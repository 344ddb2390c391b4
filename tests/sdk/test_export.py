"""edgeenhance export: a C program with the files gives what Python gives, and what it cannot write it says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeenhance import Enhancer, MicArray, cli
from edgeenhance.beamform import Mvdr
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.export import write_setup

ROOT = Path(__file__).resolve().parents[2]
CC = os.environ.get("CC", "cc")
STRICT = ["-std=c99", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
needs_cc = pytest.mark.skipif(shutil.which(CC) is None, reason=f"no C compiler {CC}")

# Frames from standard input to standard output in blocks of 3 hops; after 40 blocks towards the last look direction.
# Before that: a byte of memory less than NAME_BYTES is refused, and so is none; the start may be unaligned.
PROGRAM = """
#include <stdio.h>
#include "NAME.h"
int main(void)
{
    enum { BLOCK = 3 * UPPER_HOP };
    static unsigned char memory[UPPER_BYTES + 16];
    static float x[BLOCK * UPPER_MICS], y[BLOCK * UPPER_EARS];
    unsigned char *odd = memory + (17 - (uintptr_t)memory % 16) % 16;
    ee_enhancer *enhancer;
    if (NAME_init(&enhancer, NULL, UPPER_BYTES) != EE_ERR_NULL) return 1;
    if (NAME_init(&enhancer, odd, UPPER_BYTES - 1) != EE_ERR_MEMORY) return 2;
    if (NAME_init(&enhancer, odd, 3) != EE_ERR_MEMORY) return 3;
    if (NAME_init(&enhancer, odd, UPPER_BYTES)) return 4;
    for (int n = 0; fread(x, sizeof x, 1, stdin); n++) {
        if (n == 40 && ee_enhancer_set_beam(enhancer, &NAME_looks[UPPER_LOOKS - 1])) return 5;
        if (ee_enhancer_process(enhancer, x, y, BLOCK)) return 6;
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The kernel's object files, compiled as in the wheel."""
    folder = tmp_path_factory.mktemp("library")
    options = [*STRICT, "-O3", "-fno-math-errno", "-fno-trapping-math", f"-I{ROOT}/csrc/include", "-c"]
    subprocess.run([CC, *options, *map(str, (ROOT / "csrc").glob("*.c"))], check=True, cwd=folder)
    return [str(path) for path in folder.glob("*.o")]


def run_in_c(folder: Path, name: str, library: list[str], x: np.ndarray, ears: int) -> np.ndarray:
    text = PROGRAM.replace("NAME", name).replace("UPPER", name.upper())
    (folder / "main.c").write_text(text)
    sources = [str(folder / "main.c"), str(folder / f"{name}.c")]
    program = str(folder / "main")
    subprocess.run([CC, *STRICT, f"-I{ROOT}/csrc/include", *sources, *library, "-lm", "-o", program], check=True)
    done = subprocess.run([program], input=x.astype(np.float32).tobytes(), stdout=subprocess.PIPE)
    assert done.returncode == 0
    return np.frombuffer(done.stdout, np.float32).reshape(-1, ears)


CASES = {
    "bte": ("bte-2x2", {"ears": "both", "cues": 0.25, "ceiling": -30.0}, [20.0, -45.0]),
    "mono": ("mono", {"strength": 0.75}, [0.0]),
    "comm": ("bte-2x2", {"profile": "comm", "model": "comm-m:int8", "block": 256}, [0.0, 90.0]),
    "fixed": ("bte-2x2", {"beamformer": "superdirective", "model": "none", "ears": "right"}, [0.0, 180.0]),
    "still": ("bte-2x2", {"beamformer": Mvdr(look_range=0, time_constant=0.2), "model": "none"}, [-10.0, 10.0]),
}


@needs_cc
@pytest.mark.parametrize("name", CASES)
def test_a_c_program_gives_what_python_gives(name, tmp_path, library, rng):
    preset, settings, looks = CASES[name]
    array = MicArray.load(preset)
    write_setup(Enhancer(array, look=looks[0], **settings), tmp_path, looks, name)
    enhancer = Enhancer(array, look=looks[0], **settings)
    block = 3 * enhancer.profile.hop
    envelope = 0.05 * (1 + np.sin(np.arange(100 * block) / 1500))[:, None]
    x = (envelope * rng.standard_normal((100 * block, array.mics))).astype(np.float32)
    x += 0.2 * np.sin(np.arange(len(x)) / 4)[:, None].astype(np.float32)
    expected = [enhancer.process(x[: 40 * block])]
    enhancer.look = looks[-1]
    expected = np.concatenate([*expected, enhancer.process(x[40 * block :])]).reshape(len(x), -1)
    got = run_in_c(tmp_path, name, library, x, expected.shape[1])
    assert np.abs(expected).max() > 1e-3 and np.array_equal(got, expected)


@needs_cc
def test_the_program_in_the_guide(tmp_path, library, rng):
    text = (ROOT / "docs/c-guide.md").read_text(encoding="utf-8")
    (tmp_path / "main.c").write_text(text.split("```c\n")[1].split("```")[0])
    write_setup(Enhancer("bte-2x2", ears="both"), tmp_path, [0, 30, -30])
    command = [CC, *STRICT, f"-I{ROOT}/csrc/include", "main.c", "ee_setup.c", *library, "-lm", "-o", "main"]
    subprocess.run(command, check=True, cwd=tmp_path)
    x = (0.1 * rng.standard_normal((256 * 30, 4))).astype(np.float32)
    done = subprocess.run([tmp_path / "main"], input=x.tobytes(), stdout=subprocess.PIPE, check=True)
    expected = Enhancer("bte-2x2", ears="both").process(x)
    got = np.frombuffer(done.stdout, np.float32).reshape(-1, 2)
    assert np.array_equal(got, expected)


@needs_cc
def test_changing_a_number_in_the_file_changes_the_sound(tmp_path, library, rng):
    """The comparison above can fail."""
    write_setup(Enhancer("bte-2x2", model="none", beamformer="superdirective"), tmp_path, name="a")
    x = 0.1 * rng.standard_normal((192 * 20, 4))
    before = run_in_c(tmp_path, "a", library, x, 1)
    path = tmp_path / "a.c"
    text = path.read_text()
    start = text.index("look_0_weights[")
    path.write_text(text[:start] + re.sub(r"(\d\.\d{8})e", r"1.5e", text[start:], count=400))
    assert np.abs(run_in_c(tmp_path, "a", library, x, 1) - before).max() > 1e-3


@needs_cc
def test_two_setups_go_into_one_program_and_into_cplusplus(tmp_path):
    for name in ("quiet", "loud"):
        write_setup(Enhancer("mono", model="none"), tmp_path, name=name)
        subprocess.run([CC, *STRICT, f"-I{ROOT}/csrc/include", "-c", f"{name}.c"], check=True, cwd=tmp_path)
    subprocess.run([CC, "-nostdlib", "-r", "quiet.o", "loud.o", "-o", "both.o"], check=True, cwd=tmp_path)
    (tmp_path / "a.cc").write_text('#include "quiet.h"\n#include "loud.h"\nint n = QUIET_LOOKS + LOUD_LOOKS;\n')
    subprocess.run([CC, "-Wall", "-Werror", f"-I{ROOT}/csrc/include", "-c", "a.cc"], check=True, cwd=tmp_path)


def test_the_header_says_what_it_is_for(tmp_path):
    write_setup(Enhancer("bte-2x2", ears="both"), tmp_path / "new" / "folder", [0, -30], "hearing")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["hearing.c", "hearing.h"]
    text = (tmp_path / "new" / "folder" / "hearing.h").read_text()
    for line in (
        "hearing.h: bte-2x2, profile assist, beamformer mvdr, model assist-m, left and right ear.",
        "#define HEARING_MICS 4 ", "#define HEARING_EARS 2 ", "#define HEARING_HOP 64 ",
        "#define HEARING_LOOKS 2 /* directions: 0, -30 degrees", "#define HEARING_SAMPLE_RATE 16000",
    ):  # fmt: skip
        assert line in text


def test_tables_that_are_not_needed_are_left_out(tmp_path):
    def tables(**settings):
        write_setup(Enhancer("bte-2x2", model="none", **settings), tmp_path)
        return set(re.findall(r"static const float look_0_(\w+)\[", (tmp_path / "ee_setup.c").read_text()))

    assert tables(beamformer="superdirective") == {"weights", "noise", "sum"}
    assert tables(beamformer=Mvdr(look_range=0), ears="both") == {"weights", "noise", "sum", "ear", "steering", "prior"}
    assert tables(beamformer="none") == {"weights"}
    assert "turn" in tables(beamformer="mvdr")


def test_the_command_writes_what_the_function_writes(tmp_path, capsys):
    command = ["export", "-o", str(tmp_path / "a"), "--array", "bte-2x2", "--model", "assist-s", "--ears", "both"]
    assert cli.main([*command, "--look", "15", "-30", "--strength", "0.5", "--ceiling", "-6", "--block", "64"]) == 0
    assert "ee_setup.c: " in capsys.readouterr().out
    enhancer = Enhancer("bte-2x2", model="assist-s", ears="both", look=15, strength=0.5, ceiling=-6, block=64)
    write_setup(enhancer, tmp_path / "b", [15, -30])
    for file in ("ee_setup.c", "ee_setup.h"):
        assert (tmp_path / "a" / file).read_text() == (tmp_path / "b" / file).read_text()
    text = (tmp_path / "a" / "ee_setup.c").read_text()
    assert ".aligned = 1," in text and ".strength = 5.00000000e-01f," in text and ".reference = {0, 2}," in text
    assert ".ceiling = 5.0118" in text and ".bypass = 0," in text


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--name", "my setup"], "pass a name for C"),
        (["--name", "ee_enhancer"], "that the library does not have"),
        (["--look", "nan"], "look direction"),
        (["--look", "0", "inf"], "look direction"),
        (["--block", "65"], "multiple of the hop"),
        (["--array", "bte-9"], "bte-9"),
        (["--model", "comm-m"], "trained for profile 'comm'"),
    ],
)
def test_what_the_command_refuses(options, sentence, tmp_path, capsys):
    assert cli.main(["export", "-o", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not os.listdir(tmp_path)


def test_a_file_in_the_folders_place(tmp_path, capsys):
    (tmp_path / "taken").write_text("mine")
    assert cli.main(["export", "-o", str(tmp_path / "taken"), "--model", "none"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "taken").read_text() == "mine"


def test_networks_in_python_are_refused(tmp_path):
    class Half:
        profile, centers = "assist", np.array([0, 100, 256], np.int16)

        def reset(self):
            pass

        def step(self, features, gains):
            gains[:] = 16384

    with pytest.raises(EdgeEnhanceError, match="runs in Python"):
        write_setup(Enhancer("mono", model=Half()), tmp_path)
    with pytest.raises(ValueError, match="one or more"):
        write_setup(Enhancer("mono", model="none"), tmp_path, [])
    assert not os.listdir(tmp_path)
