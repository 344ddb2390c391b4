"""What the machine says about itself, read from the files in which Linux says it."""

from pathlib import Path

import pytest

from edgeenhance import machine

PI = {
    "/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp\n",
}
PC = {
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\nflags\t\t: sse4_2 avx2 fma\nmodel name\t: other\n"
}


@pytest.fixture
def files(monkeypatch):
    """Let the machine's files have this content, and all others be absent."""

    def put(content):
        monkeypatch.setattr(machine, "_text", lambda path: content.get(str(path), ""))

    return put


@pytest.fixture
def cores(tmp_path, monkeypatch):
    """Let the cores have these frequency governors."""

    def put(*names):
        for number, name in enumerate(names):
            folder = tmp_path / f"cpu{number}/cpufreq"
            folder.mkdir(parents=True)
            (folder / "scaling_governor").write_text(f"{name}\n")
        monkeypatch.setattr(machine, "_CPUS", tmp_path)

    return put


def test_a_board_is_known_by_its_name(files):
    files(PI)
    assert machine.cpu_name() == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu_features() == ["asimd", "asimddp", "asimdhp"]


def test_a_processor_is_known_by_its_name(files):
    files(PC)
    assert machine.cpu_name() == "Some CPU @ 3 GHz"
    assert machine.cpu_features() == ["sse4_2", "avx2", "fma"]


def test_a_system_that_says_nothing_has_a_name_still(files):
    files({})
    assert machine.cpu_name() and machine.cpu_features() == [] and machine.resident_mb() is None


def test_governors_name_their_cores(cores):
    cores("ondemand", "performance", "ondemand")
    assert machine.governors() == {"ondemand": [0, 2], "performance": [1]}
    assert machine.slow_governors() == ["ondemand"]


def test_a_machine_at_full_speed_raises_no_doubt(cores):
    cores("performance", "performance")
    assert machine.slow_governors() == []


def test_governors_may_be_unknown(cores):
    cores()
    assert machine.governors() == {} and machine.slow_governors() == []


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="not Linux")
def test_memory_in_use_grows_with_what_is_used():
    before = machine.resident_mb()
    kept = bytearray(b"x") * 50_000_000
    assert machine.resident_mb() - before == pytest.approx(len(kept) / 1e6, rel=0.1)
