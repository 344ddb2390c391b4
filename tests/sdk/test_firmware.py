"""edgeenhance firmware new: a complete folder, or one sentence and no folder. (make check builds, runs, flashes it.)"""

import os
import re
import struct

import numpy as np
import pytest

from edgeenhance import Enhancer, MicArray, cli
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.export import write_setup
from edgeenhance.firmware import project as projects
from edgeenhance.firmware import tools
from edgeenhance.firmware.boards import BOARDS, memory_map
from edgeenhance.firmware.project import Project, check_model, new
from edgeenhance.nativenet import NativeNet


@pytest.fixture
def make(tmp_path):
    def project(name="fw", board="mps2-an500", array="bte-1x2", model="assist-s", **settings):
        return Project.load(new(tmp_path / name, board, array, model, **settings))

    return project


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("board", BOARDS)
def test_a_project_has_all_that_its_cmake_file_names(board, make):
    made = make(board=board)
    have = files(made.folder)
    cmake = (made.folder / "CMakeLists.txt").read_text()
    assert set(re.findall(r"[\w/]+\.[ch]\b", cmake)) <= have
    assert {f"kernel/{path.name}" for path in projects._sources().glob("*.c")} <= have
    toolchain = (made.folder / "board" / BOARDS[board].toolchain).read_text()
    named = re.findall(r"set\(EE_(?:SCRIPT|CHIP) (\S+)\)", toolchain)
    assert named == [name for name in (BOARDS[board].script, BOARDS[board].chip) if name]
    assert {f"board/{name}" for name in named} <= have
    assert f"set(EE_MACHINE {board})" in toolchain if BOARDS[board].machine else "EE_MACHINE" not in toolchain
    assert "@" not in cmake + (made.folder / "README.md").read_text()


@pytest.mark.parametrize("board", BOARDS)
def test_the_model_region_begins_where_a_flash_sector_does_and_overlaps_nothing(board, make):
    sector = {"stm32h7": 128 << 10}.get(board, 4 << 10)
    regions = memory_map(make(board=board).folder / "board" / BOARDS[board].script)
    start, length = regions["MODEL"]
    assert start % sector == 0 and length % sector == 0
    for name in set(regions) - {"MODEL"}:
        assert regions[name][0] + regions[name][1] <= start or start + length <= regions[name][0]


def test_the_project_holds_what_an_enhancer_computes_with(make, tmp_path, rng):
    settings = {"ears": "both", "look": 20.0, "cues": 0.25, "strength": 0.75, "ceiling": -6.0}
    made = make(array="bte-2x2", **settings)
    enhancer = Enhancer("bte-2x2", model="assist-s", block=64, **settings)
    x = (0.1 * rng.standard_normal((640, 4))).astype(np.float32)
    np.testing.assert_allclose(made.enhancer().process(x), enhancer.process(x), atol=1e-6)
    write_setup(made.enhancer(), tmp_path / "setup", network=False)
    for name in ("ee_setup.c", "ee_setup.h"):
        assert (made.folder / "setup" / name).read_text() == (tmp_path / "setup" / name).read_text()


def test_the_output_is_limited_to_1_db_below_full_scale_unless_told_otherwise(make):
    assert make(ceiling=None).enhancer().ceiling == -1.0
    assert make("louder", ceiling=0.0).enhancer().ceiling == 0.0


def test_the_model_is_an_array_in_its_own_section_and_nowhere_else(make):
    made = make()
    text = (made.folder / "setup/model.c").read_text()
    assert '__attribute__((section(".model"), used)) const uint32_t model[' in text
    words = [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})u", text)]
    program = NativeNet("assist-s").program
    assert struct.pack(f"<{len(words)}I", *words) == program == (made.folder / "model.eebin").read_bytes()
    assert "ee_setup_model" not in (made.folder / "setup/ee_setup.c").read_text()


def test_without_a_model_the_region_stays_empty(make):
    made = make(model="none")
    assert "section" not in (made.folder / "setup/model.c").read_text()
    assert not (made.folder / "model.eebin").exists()
    assert made.enhancer()._mask is None


def test_an_array_file_travels_with_the_project(make, tmp_path):
    (tmp_path / "mine.toml").write_text(
        'name = "my \\"array\\""\nmount = "free"\nreference = 0\n'
        "microphones = [{x_m = 0.0, y_m = 0.0123456789012}, {x_m = 0.0, y_m = -0.01}]\n"
    )
    made = make(array=tmp_path / "mine.toml", model="none")
    (tmp_path / "mine.toml").unlink()
    assert made.enhancer().array == MicArray.load(made.folder / "array.toml")
    assert "const char firmware_about[] = \"my 'array', profile assist" in (made.folder / "setup/model.c").read_text()


REFUSED = [
    (["fw", "--board", "pico"], "unknown board 'pico'; choose one of: mps2-an386, mps2-an500"),
    (["fw", "--board", "rp2350", "--array", "bte-9"], "bte-9"),
    (["fw", "--board", "rp2350", "--model", "comm-m"], "trained for profile 'comm'"),
    (["fw", "--board", "rp2350", "--look", "nan"], "look direction"),
    (["gone/fw", "--board", "rp2350"], "choose a folder in one that exists"),
    (["full", "--board", "rp2350"], "full exists and is not an empty folder"),
    (["full/file", "--board", "rp2350"], "file exists and is not an empty folder"),
]


@pytest.mark.parametrize("words, sentence", REFUSED)
def test_what_new_refuses_leaves_nothing_behind(words, sentence, tmp_path, monkeypatch, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["firmware", "new", *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert files(tmp_path) == {"full/file"} and os.listdir(tmp_path) == ["full"]


def test_an_empty_folder_is_filled(tmp_path, monkeypatch, capsys):
    (tmp_path / "fw").mkdir()
    monkeypatch.chdir(tmp_path / "fw")
    assert cli.main(["firmware", "new", ".", "--board", "rp2350", "--model", "none"]) == 0
    assert (tmp_path / "fw" / "main.c").is_file() and os.listdir(tmp_path) == ["fw"]


def test_nothing_half_written_when_writing_fails(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(projects, "_write_model", full)
    with pytest.raises(OSError, match="No space left"):
        new(tmp_path / "fw", "rp2350", "mono", "none")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("action", [["build"], ["run", "in.wav"], ["flash"]])
def test_other_folders_are_not_projects(action, tmp_path, capsys):
    assert cli.main(["firmware", *action, "-C", str(tmp_path)]) == 2
    assert "is not a firmware project; make one with edgeenhance firmware new" in capsys.readouterr().err


def test_a_changed_settings_file_is_refused(make):
    made = make(model="none")
    (made.folder / "firmware.toml").write_text('board = "rp2350"\n')
    with pytest.raises(EdgeEnhanceError, match="does not have the keys board, profile"):
        Project.load(made.folder)


def test_models_that_the_firmware_would_refuse(make, monkeypatch):
    made = make()
    check_model(made, NativeNet("assist-m"))
    with pytest.raises(EdgeEnhanceError, match="comm-m is for profile 'comm', the firmware for 'assist'"):
        check_model(made, NativeNet("comm-m"))
    monkeypatch.setattr(projects, "MODEL_MEMORY", 100)
    with pytest.raises(EdgeEnhanceError, match="needs 65012 bytes of flash and .* of RAM"):
        check_model(made, NativeNet("assist-s"))


def test_the_memory_for_the_model_is_the_one_in_main(make):
    assert f"MODEL_MEMORY = {projects.MODEL_MEMORY}," in (make(model="none").folder / "main.c").read_text()


@pytest.mark.parametrize("name", tools.CURES)
def test_a_missing_tool_is_a_sentence_with_its_package(name, monkeypatch):
    monkeypatch.setattr(tools, "find_tool", lambda _: None)
    with pytest.raises(
        EdgeEnhanceError, match=f"^this needs {name}, which is not installed: (sudo apt-get|pip) install "
    ):
        tools.tool(name)
