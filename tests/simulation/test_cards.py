"""Cards of the zoo: figures come from files and records, words stay, and what is not whole is refused."""

import json
import re
import shutil

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from edgeenhance import masknet
from edgeenhance.masknet import zoo_names, zoo_path
from edgeenhance.simulation import cards, metrics, quality

SCENES = 36  # of the benchmark
NAMES = ("assist-s", "comm-m")
PESQ = {"noisy": 1.1, "superdirective+gtcrn": 1.2, "mvdr+comm-m": 1.5, "none+comm-m": 1.3}


@pytest.fixture
def zoo(monkeypatch, tmp_path):
    """Copies of two models of the zoo, one for each profile."""
    for name in NAMES:
        shutil.copytree(zoo_path(name).parent, tmp_path / "zoo" / name)
    monkeypatch.setattr(masknet, "_zoo", lambda: tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def records():
    """Every system of both cards on every scene; PESQ as above, or 1, up to what scenes add alike to all of them."""
    systems = dict.fromkeys(system for name in NAMES for system in cards.systems(name).values())
    scenes = np.random.default_rng(0).normal(0, 0.1, SCENES)
    scenes -= scenes.mean()
    return [
        {"scene": n, "system": system, **dict.fromkeys(metrics.METRICS, PESQ.get(system, 1.0) + easy)}
        for n, easy in enumerate(scenes)
        for system in systems
    ]


@pytest.fixture
def folder(tmp_path):
    """Robustness of both models, as its command writes it."""
    (tmp_path / "robustness").mkdir()
    for name in NAMES:
        text = f"# Robustness of {name}\n\nmvdr + {name}, measured.\n\n| a | b |\n\n![curves]({name}.png)\n"
        (tmp_path / "robustness" / f"{name}.md").write_text(text)
        (tmp_path / "robustness" / f"{name}.png").write_bytes(name.encode())
    return tmp_path / "robustness"


@pytest.fixture
def update(zoo, records, folder, tmp_path):
    """Runs the command on records and folder: the exit status."""

    def run(*names):
        path = tmp_path / "quality.json"
        path.write_text(json.dumps(records))
        return cards.main(["--quality", str(path), "--robustness", str(folder), *names])

    return run


def contents(zoo):
    return {path: path.read_bytes() for path in zoo.glob("*/*")}


def words(card):
    """What is written by hand."""
    rows = "parameters|multiply-accumulates|files"
    return re.sub(rf"(?ms)^<!-- (\w+): .*?^<!-- end of \1 -->$|^\| ({rows}) \|.*?$", "", card)


@pytest.mark.parametrize("name", zoo_names())
def test_a_card_says_what_the_models_files_say(name):
    path = zoo_path(name).with_name("CARD.md")
    assert cards.card(name, None, None) == {path: path.read_bytes()}


def test_what_has_changed_in_the_files_is_written(zoo):
    path = zoo / "assist-s" / "CARD.md"
    card = path.read_text()
    path.write_text(card.replace("| 56 344 |", "| 1 |").replace("13.9 M/s", "0 M/s").replace("81 kB", "0 kB"))
    assert cards.main([]) == 0
    assert path.read_text() == card and "| 56 344 |" in card and "13.9 M/s" in card and "81 kB" in card


def test_quality_is_means_and_paired_differences(zoo, update):
    assert update() == 0
    card = " ".join((zoo / "comm-m" / "CARD.md").read_text().split())
    assert "| noisy microphone | 1.100 | 1.100 | 1.100 | 1.10 |" in card
    assert "| **adaptive beam + comm-m, 16x8** | 1.500 |" in card and "| one microphone, comm-m | 1.300 |" in card
    assert "PESQ +0.300 [+0.300, +0.300], ESTOI +0.300 [+0.300, +0.300], SI-SDR +0.30 [+0.30, +0.30] dB." in card


def test_only_models_for_calls_are_compared_on_one_microphone():
    assert not any("one microphone" in title for title in cards.systems("assist-s"))
    assert {"none+comm-m", "dtln", "gtcrn"} <= set(cards.systems("comm-m").values())


def test_the_benchmark_runs_every_system_of_every_card():
    available = quality.available("peers")
    for name in zoo_names():
        assert {system for system in cards.systems(name).values() if ":float" not in system} <= set(available)


def test_robustness_is_the_report_and_its_picture(zoo, update):
    assert update() == 0
    for name in NAMES:
        card = (zoo / name / "CARD.md").read_text()
        assert f"-->\n\nmvdr + {name}, measured.\n\n| a | b |\n\n![curves](robustness.png)\n\n<!--" in card
        assert (zoo / name / "robustness.png").read_bytes() == name.encode()


def test_words_stay(zoo, update):
    before = {name: words((zoo / name / "CARD.md").read_text()) for name in NAMES}
    assert update() == 0
    assert before == {name: words((zoo / name / "CARD.md").read_text()) for name in NAMES}
    assert "## Limits" in before["comm-m"] and "| noisy" not in before["comm-m"]


def test_a_second_run_changes_nothing(zoo, update):
    update()
    once = contents(zoo)
    update()
    assert contents(zoo) == once


def test_only_the_cards_named_are_written(zoo, update):
    other = (zoo / "comm-m" / "CARD.md").read_bytes()
    assert update("assist-s") == 0
    assert (zoo / "comm-m" / "CARD.md").read_bytes() == other


def test_an_empty_block_is_filled(zoo, update):
    path = zoo / "comm-m" / "CARD.md"
    update()
    full = path.read_text()
    path.write_text(re.sub(r"(?s)(<!-- (\w+): [^\n]*\n).*?(<!-- end of \2 -->)", r"\1\3", full))
    update()
    assert path.read_text() == full


@pytest.mark.parametrize("system", ["noisy", "mvdr+comm-m:float", "none+comm-m", "gtcrn"])
def test_a_system_that_is_missing_is_named_and_nothing_is_written(zoo, records, update, capsys, system):
    before = contents(zoo)
    records[:] = [record for record in records if record["system"] != system]
    assert update() == 2
    assert f"scored with {system}; run make bench-quality" in capsys.readouterr().err
    assert contents(zoo) == before


def test_fewer_scenes_than_the_card_speaks_of_are_refused(zoo, records, update, capsys):
    records[:] = [record for record in records if record["scene"] < 2]
    assert update("assist-s") == 2
    assert "the 36 scenes of suite bench" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["# Quality on suite bench\n", "{}", '["noisy"]', '[{"scene": 0}]', "[]"])
def test_a_file_without_records_is_a_sentence(zoo, tmp_path, capsys, content):
    path = tmp_path / "quality.md"
    path.write_text(content)
    assert cards.main(["--quality", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["comm-m.md", "comm-m.png"])
def test_robustness_that_is_missing_is_a_sentence(zoo, folder, update, capsys, name):
    before = contents(zoo)
    (folder / name).unlink()
    assert update() == 2
    assert "edgeenhance.simulation.robustness comm-m -o" in capsys.readouterr().err
    assert contents(zoo) == before


def test_robustness_of_another_model_is_refused(folder, update, capsys):
    shutil.copy(folder / "assist-s.md", folder / "comm-m.md")
    assert update() == 2
    assert "expected the robustness of comm-m" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["| files |", "<!-- quality:", "<!-- end of robustness"])
def test_a_card_without_a_row_or_a_block_is_a_sentence(zoo, update, capsys, line):
    path = zoo / "comm-m" / "CARD.md"
    path.write_text("".join(row for row in path.read_text().splitlines(True) if not row.startswith(line)))
    assert update() == 2
    assert line in capsys.readouterr().err


def test_an_unknown_model_is_a_sentence(zoo, capsys):
    assert cards.main(["no-such"]) == 2
    assert "unknown model" in capsys.readouterr().err
