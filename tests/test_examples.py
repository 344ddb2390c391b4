"""The examples in Python run and show what they are there to show; the tutorial's commands are commands."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from edgeenhance.cli import parser

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs/tutorial").glob("*.md"))


@pytest.fixture
def printed(capsys):
    """printed(name) runs an example and returns its lines."""

    def run(name: str) -> list[str]:
        runpy.run_path(str(ROOT / f"examples/{name}.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def quality(lines: list[str]) -> dict[str, float]:
    """PESQ by the name before it."""
    return {match[1]: float(match[2]) for line in lines if (match := re.match(r"(\S.*?) +PESQ (\S+)", line))}


def test_first_enhancement_improves_speech(printed):
    pesq = quality(printed("first_enhancement"))
    assert pesq["enhanced"] > pesq["microphone"] + 0.1


def test_own_array_has_sharper_beams_by_superdirectivity(printed):
    lines = printed("own_array")
    simple, sharp = ([float(d) for d in re.findall(r"(\S+) dB at", line)] for line in lines[1:3])
    assert len(simple) == 4 and all(b > a for a, b in zip(simple, sharp))
    assert lines[0].startswith("bar-4: 4 microphones") and lines[-1] == "(160,)"


def test_own_scene_compares_three_systems_in_three_scenes(printed):
    gains = [float(line.split()[-1]) for line in printed("own_scene") if line.startswith("    ")]
    assert len(gains) == 9 and max(gains) > 0.02


def test_compare_methods_has_the_network_ahead(printed):
    pesq = quality(printed("compare_methods"))
    assert max(pesq, key=pesq.get) == "comm-m" and min(pesq, key=pesq.get) == "noisy" and len(pesq) == 6


def test_stream_turns_while_it_runs(printed):
    assert printed("stream")[-1].endswith("looking at 30°")


def test_own_mask_lies_between_the_beam_and_the_network(printed):
    pesq = quality(printed("own_mask"))
    assert pesq["beam alone"] < pesq["own mask"] < pesq["assist-m"]


def test_pictures_of_a_scene_and_of_a_training(printed, tmp_path, monkeypatch):
    pillow = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pictures.py", "run"])
    records = [{"event": "train", "step": step, "loss": 1 / step} for step in (10, 20)]
    Path("run").mkdir()
    Path("run/log.jsonl").write_text("\n".join(map(json.dumps, records)))
    names = printed("pictures")
    assert [Path(name).stem for name in names] == ["waveforms", "spectrograms", "spectra", "masks", "curves"]
    for name in names:
        assert len(pillow.open(name).convert("RGB").getcolors(1 << 24)) > 100


def test_every_example_is_tested_and_in_the_tutorial():
    pages = "".join(page.read_text() for page in PAGES)
    for path in (ROOT / "examples").glob("*.py"):
        assert f'printed("{path.stem}")' in Path(__file__).read_text() and f'"examples/{path.name}"' in pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tutorials_commands_have_the_options_they_use(page):
    commands = re.findall(r"^    edgeenhance (.*)$", page.read_text(), re.M)
    assert commands
    for command in commands:
        parser().parse_args(shlex.split(command))
