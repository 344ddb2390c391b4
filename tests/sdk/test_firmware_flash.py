"""Flashing: how probes are found, named and refused, and what each tool is told.

No probe exists here, so small scripts stand in for the tools: they say what the tools say. (make check runs the real
ones without a probe, and gdb against the emulator.)
"""

import json
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeenhance import cli
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.firmware import flash as flashing
from edgeenhance.firmware import tools
from edgeenhance.firmware.boards import BOARDS
from edgeenhance.firmware.flash import NoProbeError, find_probes, flash
from edgeenhance.firmware.project import Project, new
from edgeenhance.nativenet import NativeNet
from tests.sdk.test_firmware_image import elf, read_hex, read_uf2

DFU = 'Found DFU: [0483:df11] ver=0200, devnum=7, cfg=1, intf=0, path="1-2", alt={}, name="@{}", serial="{}"'
PROGRAM = [(0x08000000, b"program!" * 40), (0x08100000, b"model")]
PYOCD = """
import json, sys, pathlib
if "json" in words: print("note", json.dumps({"boards": PROBES}))
elif "flash" in words: log["image"] = pathlib.Path(words[-1]).read_text()
else:
    command, address, count, path = words[-1].split()
    content = read_hex(log["image"])
    pathlib.Path(path).write_bytes(bytes(content[int(address) + n] for n in range(int(count))))
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """An empty PATH; `path(name, script)` puts a program there, which has `words` and what it did before in `log`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(
        tools, "find_tool", lambda name: str(place) if (place := tmp_path / "bin" / name).exists() else None
    )
    monkeypatch.setattr(flashing, "find_tool", tools.find_tool)

    def put(name: str, script: str) -> Path:
        state, place = tmp_path / f"{name}.json", tmp_path / "bin" / name
        state.write_text('{"calls": []}')
        place.write_text(
            f"#!{sys.executable}\nimport json, pathlib, sys\nstate = pathlib.Path({str(state)!r})\n"
            f"log = json.loads(state.read_text()); words = sys.argv[1:]; log['calls'].append(words)\n"
            f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            f"from tests.sdk.test_firmware_image import read_hex\n"
            f"{script}\nstate.write_text(json.dumps(log))\n"
        )
        place.chmod(0o755)
        return state

    return put


@pytest.fixture
def project(tmp_path):
    def make(board: str, parts=PROGRAM) -> Project:
        made = Project.load(new(tmp_path / board, board, "bte-1x2", "none"))
        made.elf.parent.mkdir()
        made.elf.write_bytes(elf(parts, [(".text", 6, 8)], entry=parts[0][0] + 0x41))
        return made

    return make


def test_without_a_probe_the_exit_code_is_3_and_says_where_was_looked(path, project, capsys):
    made = project("stm32h7")
    path("dfu-util", "print('dfu-util 0.11')")
    path("openocd", "print('Error: open failed'); sys.exit(1)")
    assert cli.main(["firmware", "flash", "-C", str(made.folder)]) == 3
    assert capsys.readouterr().err == (
        "edgeenhance: no probe found for stm32h7: pyocd is not installed (pip install 'edgeenhance[firmware]'), "
        "openocd sees none, dfu-util sees none, a gdb server is --probe gdb:HOST:PORT\n"
    )


def test_the_first_tool_that_sees_a_probe_is_taken(path):
    def found():
        return [str(probe) for probe in find_probes(BOARDS["stm32h7"])]

    lines = [DFU.format(0, "Internal", "X"), DFU.format(1, "Option", "X"), DFU.format(0, "Internal", "Y")]
    path("dfu-util", f"print({chr(10).join(lines)!r})")
    assert found() == ["dfu-util:X", "dfu-util:Y"]
    path("openocd", "print('Info : STM32H743')")
    assert found() == ["openocd"]
    path("pyocd", PYOCD.replace("PROBES", '[{"unique_id": "A1", "info": "ST-Link"}]'))
    assert found() == ["pyocd:A1"]


def test_several_probes_are_listed_to_choose_from(path, project, capsys):
    made = project("stm32h7")
    path("pyocd", PYOCD.replace("PROBES", '[{"unique_id": "A1", "info": "ST-Link"}, {"unique_id": "B2"}]'))
    assert cli.main(["firmware", "flash", "-C", str(made.folder)]) == 2
    assert "choose one with --probe: pyocd:A1 (ST-Link); pyocd:B2 ()" in capsys.readouterr().err


@pytest.mark.parametrize("probe", ["jlink", "uf2:/media/x", "gdb", "gdb:localhost"])
def test_a_way_that_the_board_is_not_written_through(probe, project, capsys):
    assert cli.main(["firmware", "flash", "-C", str(project("stm32h7").folder), "--probe", probe]) == 2
    assert "gdb:HOST:PORT" in capsys.readouterr().err


def test_pyocd_writes_and_what_it_reads_back_is_compared(path, project):
    made = project("stm32h7")
    state = path("pyocd", PYOCD)
    assert flash(made, probe="pyocd:A1") == "firmware: 325 bytes written through pyocd:A1, read back and equal"
    calls = json.loads(state.read_text())["calls"]
    assert [call[0] for call in calls] == ["flash", "commander", "commander"]
    for call in calls:
        assert call[1:6] == ["--no-wait", "--target", "stm32h743xx", "--uid", "A1"]
    path("pyocd", PYOCD.replace("    pathlib", "    content[0x08000007] ^= 1\n    pathlib"))
    with pytest.raises(EdgeEnhanceError, match="reads back something else than was written at 0x08000000"):
        flash(made, probe="pyocd:A1")


def test_the_model_goes_into_its_region_alone(path, project):
    made = project("stm32h7")
    state = path("pyocd", PYOCD)
    assert flash(made, model="assist-s", probe="pyocd").startswith("model assist-s: 65012 bytes written through pyocd,")
    program = NativeNet("assist-s").program
    assert read_hex(json.loads(state.read_text())["image"]) == {0x08100000 + n: byte for n, byte in enumerate(program)}


@pytest.mark.parametrize("words", ["No connected debug probes", "E No target device available [load_cmd]"])
def test_pyocd_without_a_probe(words, path, project):
    path("pyocd", f"print({words!r}); sys.exit(1)")
    with pytest.raises(NoProbeError):
        flash(project("stm32h7"), probe="pyocd")


def test_openocd_must_say_that_it_verified(path, project):
    made = project("stm32h7")
    state = path("openocd", "log['image'] = open('image.hex').read(); print('** Verified OK **')")
    assert flash(made, probe="openocd:S7") == "firmware: 325 bytes written through openocd:S7, verified by openocd"
    log = json.loads(state.read_text())
    assert log["calls"] == [
        ["-f", "interface/stlink.cfg", "-f", "target/stm32h7x.cfg", "-c", "adapter serial S7"]
        + ["-c", "program image.hex verify reset exit"]
    ]
    assert len(read_hex(log["image"])) == 325
    path("openocd", "print('** Programming Finished **')")
    with pytest.raises(EdgeEnhanceError, match="openocd did not verify"):
        flash(made, probe="openocd")
    path("openocd", "print('Error: open failed'); sys.exit(1)")
    with pytest.raises(NoProbeError):
        flash(made, probe="openocd")


DFU_UTIL = """
address = words[words.index("-s") + 1]
if "-D" in words: log[address] = pathlib.Path(words[-1]).read_bytes().hex()
elif "leave" not in address: pathlib.Path(words[-1]).write_bytes(bytes.fromhex(log[address.split(":")[0]]))
"""


def test_dfu_util_writes_reads_back_and_starts(path, project):
    made = project("stm32h7")
    state = path("dfu-util", DFU_UTIL)
    assert flash(made, probe="dfu-util:X").endswith("read back and equal")
    calls = json.loads(state.read_text())["calls"]
    assert all(call[:6] == ["-d", "0483:df11", "-a", "0", "-S", "X"] for call in calls)
    where = ["0x8000000", "0x8000000:320", "0x8100000", "0x8100000:5", "0x8000000:4:leave"]
    assert [call[7] for call in calls] == where
    path("dfu-util", DFU_UTIL.replace("bytes.fromhex(", "b'x' + bytes.fromhex("))
    with pytest.raises(EdgeEnhanceError, match="dfu-util reads back something else"):
        flash(made, probe="dfu-util:X")


@pytest.fixture
def drive(tmp_path):
    (tmp_path / "media" / "me" / "RP2350").mkdir(parents=True)
    (tmp_path / "media" / "me" / "RP2350" / "INFO_UF2.TXT").write_text("UF2 Bootloader v1.0\nBoard-ID: RP2350\n")
    (tmp_path / "media" / "me" / "other").mkdir()
    return tmp_path / "media" / "me" / "RP2350"


def test_uf2_drives_are_found_by_what_they_say_they_are(drive):
    pattern = str(drive.parents[1] / "*" / "*")
    assert [probe.id for probe in flashing._find_uf2(BOARDS["rp2350"], (pattern,))] == [str(drive)]


def test_a_uf2_drive_takes_the_image_and_goes(drive, project):
    made, written = project("rp2350", [(0x10000000, b"abc" * 100)]), []

    def rom():
        while not (drive / "firmware.uf2").exists() or (drive / "firmware.uf2").stat().st_size < 1024:
            time.sleep(0.01)
        written.append((drive / "firmware.uf2").read_bytes())
        (drive / "INFO_UF2.TXT").unlink()

    thread = threading.Thread(target=rom, daemon=True)
    thread.start()
    assert "taken by the boot ROM" in flash(made, probe=f"uf2:{drive}")
    thread.join()
    found = read_uf2(written[0], 0xE48BFF59)
    assert bytes(found[0x10000000 + n] for n in range(300)) == b"abc" * 100


def test_a_uf2_drive_that_stays_has_not_taken_the_image(drive, project, monkeypatch):
    monkeypatch.setattr(flashing, "UF2_SECONDS", 0.2)
    made = project("rp2350", [(0x10000000, b"abc")])
    with pytest.raises(EdgeEnhanceError, match="did not take the image within 0.2 s"):
        flash(made, probe=f"uf2:{drive}")
    with pytest.raises(NoProbeError, match="hold BOOTSEL"):
        flash(made, probe=f"uf2:{drive.parent / 'other'}")


GDB = "print('Loading section .sec1, size 0x140 lma 0x8000000')\nprint('Section .sec1, range 0x0 -- 0x140: {}')"


def test_gdb_must_find_every_section_equal(path, project):
    made = project("mps2-an500")
    state = path("gdb-multiarch", GDB.format("matched."))
    assert flash(made, probe="gdb:localhost:1234").endswith("through gdb:localhost:1234, 1 sections compared")
    steps = json.loads(state.read_text())["calls"][0]
    assert "target remote localhost:1234" in steps and "set $pc = 0x8000040" in steps
    path("gdb-multiarch", GDB.format("MIS-MATCHED!"))
    with pytest.raises(EdgeEnhanceError, match="0 of 1 sections"):
        flash(made, probe="gdb:localhost:1234")
    path("gdb-multiarch", "print('could not connect: Connection refused.')")
    with pytest.raises(NoProbeError, match="no gdb server answers at localhost:1234"):
        flash(made, probe="gdb:localhost:1234")


def test_firmware_that_was_not_built_cannot_be_written(project):
    made = project("rp2350")
    made.elf.unlink()
    with pytest.raises(EdgeEnhanceError, match="edgeenhance firmware build makes it"):
        flash(made)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
def test_a_tool_that_hangs_is_ended_with_what_it_started(path, tmp_path):
    note = tmp_path / "pid"
    script = f"child = subprocess.Popen(['sleep', '600'])\npathlib.Path({str(note)!r}).write_text(str(child.pid))"
    path("openocd", f"import subprocess, time\n{script}\ntime.sleep(600)")
    with pytest.raises(EdgeEnhanceError, match="openocd was stopped: it did not finish within 3 s"):
        tools.run_tool("openocd", seconds=3)
    for _ in range(500):  # killed, it may take the system a moment to die
        if _is_gone(note.read_text()):
            return
        time.sleep(0.02)
    pytest.fail("what openocd started lives on")


def _is_gone(pid):
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()  # dead, and not yet collected
    except (FileNotFoundError, ProcessLookupError):
        return True
