"""Evaluations: measured, judged, gone on with, and honest about what fails."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")
sf = pytest.importorskip("soundfile")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.cli import main  # noqa: E402
from edgeenhance.simulation import metrics  # noqa: E402
from edgeenhance.simulation.evaluate import RESULT, Settings, evaluate, summary_text  # noqa: E402
from edgeenhance.simulation.plan import Plan  # noqa: E402
from edgeenhance.simulation.synth import speech  # noqa: E402

SUITE = """
title = "Two rooms"
systems = ["noisy", "superdirective"]
metrics = ["estoi", "si_sdr", "snr_improvement"]
[defaults]
duration_s = 2.0
room = {dimensions_m = [5.0, 4.0, 2.6], rt60_s = 0.2}
array = {name = "bte-2x2", position_m = [2.0, 2.0, 1.2], azimuth_deg = 0.0}
talkers = [{distance_m = 1.0}]
noises = [{kind = "white", azimuth_deg = 120.0}]
[draw]
count = 2
[sweep]
snr_db = [0, 10]
"""
NUMBERS = Settings(sounds=False, pictures=False)


def plan_of(tmp_path, text=SUITE):
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return Plan.load(path)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An evaluation with sounds, two workers: (folder, what results.json holds)."""
    folder = tmp_path_factory.mktemp("evaluation")
    plan = plan_of(folder)
    return folder / "out", evaluate(plan, folder / "out", Settings(pictures=False), workers=2, command="edgeenhance x")


def values(content):
    """Everything measured but times."""
    return [
        {system: {k: v for k, v in row.items() if k != "real_time_factor"} for system, row in scene["rows"].items()}
        for scene in content["scenes"]
    ]


def test_the_numbers_do_not_depend_on_the_workers(done, tmp_path):
    again = evaluate(plan_of(tmp_path), tmp_path / "out", NUMBERS, workers=1)
    assert values(again) == values(done[1])


def test_every_case_is_measured_with_every_system(done):
    content = done[1]
    assert len(content["scenes"]) == 4 and not any(scene["error"] for scene in content["scenes"])
    for scene in content["scenes"]:
        assert set(scene["rows"]) == {"noisy", "superdirective"}
        assert scene["rows"]["noisy"]["snr_improvement"] == pytest.approx(0, abs=0.01)
        assert scene["rows"]["superdirective"]["snr_improvement"] > 1
        assert scene["facts"]["snr_db"] in (0, 10) and scene["facts"]["mount"] == "head"


def test_measurements_are_those_of_the_metrics(done, tmp_path):
    plan = plan_of(tmp_path)
    case = plan.cases[1]
    sound = case.scene(plan.folder).render()
    row = done[1]["scenes"][1]["rows"]["noisy"]
    noisy = sound.mix[:, sound.meta["reference"]]
    assert row["estoi"] == pytest.approx(metrics.estoi(sound.early, noisy), abs=1e-6)
    assert row["si_sdr"] == pytest.approx(metrics.si_sdr(sound.early, noisy), abs=1e-6)


def test_summary_differences_and_sweeps_agree_with_the_rows(done):
    content = done[1]
    rows = [scene["rows"] for scene in content["scenes"]]
    gained = [row["superdirective"]["si_sdr"] - row["noisy"]["si_sdr"] for row in rows]
    (found,) = (d for d in content["differences"] if d["metric"] == "si_sdr")
    assert found["mean"] == pytest.approx(np.mean(gained)) and found["low"] < found["mean"] < found["high"]
    (sweep,) = (s for s in content["sweeps"] if s["metric"] == "estoi")
    at_ten = [s["rows"]["noisy"]["estoi"] for s in content["scenes"] if s["facts"]["snr_db"] == 10]
    (point,) = (p for p in sweep["points"] if p["system"] == "noisy" and p["at"] == 10)
    assert point["mean"] == pytest.approx(np.mean(at_ten))
    assert "superdirective" in summary_text(content)


def test_conditions_make_curves_over_words_and_say_what_the_chain_noticed(tmp_path):
    two = '[[conditions]]\nname = "as it is"\n[[conditions]]\nname = "a dead one"\ndead = 1'
    text = SUITE.replace("[sweep]\nsnr_db = [0, 10]", two).replace("count = 2", "count = 1")
    content = evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)
    (sweep,) = (s for s in content["sweeps"] if s["metric"] == "estoi")
    assert [p["at"] for p in sweep["points"]] == ["as it is", "a dead one"] * 2
    assert content["scenes"][0]["reasons"] == []
    (reason,) = content["scenes"][1]["reasons"]
    assert reason.startswith("superdirective: microphone 1 of 'bte-2x2'")


def test_the_folder_holds_tables_and_sounds(done):
    folder, content = done
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = content["scenes"][0]["rows"]["superdirective"]["estoi"]
    assert len(rows) == 8 and float(rows[1]["estoi"]) == pytest.approx(wanted)
    assert json.loads((folder / "results.json").read_text()) == content
    for scene in content["scenes"]:
        assert list(scene["audio"]) == ["clean", "noisy", "superdirective"]
        for path in scene["audio"].values():
            assert sf.info(folder / path).duration == pytest.approx(2.0, abs=0.05)


# ---- stopped, failed ----


def test_with_a_cache_another_evaluation_computes_nothing_again(tmp_path, monkeypatch):
    pytest.importorskip("diskcache")
    from edgeenhance.simulation import evaluate as module

    computed = []
    compute = module._enhance
    monkeypatch.setattr(module, "_enhance", lambda name, *rest: computed.append(name) or compute(name, *rest))
    text = SUITE.replace('"superdirective"', '"mvdr+assist-s", "mvdr"')
    plan, settings = plan_of(tmp_path, text), Settings(cache=str(tmp_path / "cache"), pictures=False)
    first, again, other = (json.loads(module.run_case(plan, settings, index)[RESULT]) for index in (0, 0, 1))
    assert first["error"] is None and again["rows"]["mvdr"] == first["rows"]["mvdr"]
    assert again["rows"]["mvdr+assist-s"] == first["rows"]["mvdr+assist-s"] != other["rows"]["mvdr+assist-s"]
    assert computed == [*plan.systems, "noisy", *plan.systems]
    found = [result["cached"] for result in (first, again, other)]
    assert found == [dict.fromkeys(("mvdr+assist-s", "mvdr"), was) for was in (False, True, False)]
    content = module.summarize(plan, [first, again, other])
    assert "cache: 2 of 6 results were there" in summary_text(content)


def test_a_stopped_evaluation_goes_on_without_computing_again(done, tmp_path):
    plan, out = plan_of(tmp_path), tmp_path / "out"
    evaluate(plan, out, NUMBERS)
    kept, lost = (out / "cases" / plan.cases[i].name / RESULT for i in (0, 1))
    mark = kept.stat().st_mtime_ns
    lost.unlink()
    content = evaluate(plan, out, NUMBERS)
    assert kept.stat().st_mtime_ns == mark and values(content) == values(done[1])


def test_a_killed_evaluation_goes_on(done, tmp_path):
    plan, out = plan_of(tmp_path), tmp_path / "out"
    command = [sys.executable, "-m", "edgeenhance", "evaluate", str(tmp_path / "suite.toml"), "-o", str(out)]
    running = subprocess.Popen([*command, "--no-report"], start_new_session=True)
    while running.poll() is None and not list(out.glob(f"cases/*/{RESULT}")):
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (out / "results.json").exists()
    marks = {path: path.stat().st_mtime_ns for path in out.glob(f"cases/*/{RESULT}")}
    content = evaluate(plan, out, NUMBERS)
    assert values(content) == values(done[1])
    assert marks and all(path.stat().st_mtime_ns == mark for path, mark in marks.items())


def test_another_evaluation_in_the_same_folder_is_refused(tmp_path):
    evaluate(plan_of(tmp_path), tmp_path / "out", NUMBERS)
    with pytest.raises(EdgeEnhanceError, match="holds another evaluation"):
        evaluate(plan_of(tmp_path, SUITE.replace("[0, 10]", "[0, 5]")), tmp_path / "out", NUMBERS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.jpg").touch()
    with pytest.raises(EdgeEnhanceError, match="not empty"):
        evaluate(plan_of(tmp_path), tmp_path / "other", NUMBERS)


def test_a_case_that_fails_is_told_and_the_rest_go_on(tmp_path):
    two = '[[conditions]]\nname = "a"\n[[conditions]]\nname = "b"\ndead = 9'
    text = SUITE.replace("[sweep]\nsnr_db = [0, 10]", two)
    content = evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)
    assert [bool(scene["error"]) for scene in content["scenes"]] == [False, True] * 2
    assert "microphone 9" in content["scenes"][1]["error"] and not content["passed"]
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()[0]
    assert suite.get("errors") == "2"


# ---- other systems ----


def test_programs_and_folders_are_systems(done, tmp_path):
    (tmp_path / "half.py").write_text(
        "import sys, soundfile as sf\nx, r = sf.read(sys.argv[1])\nsf.write(sys.argv[2], 0.5 * x, r, subtype='FLOAT')\n"
    )
    plan = plan_of(tmp_path)
    (tmp_path / "given").mkdir()
    for case in plan.cases:
        early = case.scene(plan.folder).render().early
        sf.write(tmp_path / "given" / f"{case.name}.wav", early + 1e-6, 16000, subtype="FLOAT")
    text = f"""{SUITE}
[[commands]]
name = "half"
command = "{sys.executable} {tmp_path}/half.py {{reference}} {{output}}"
[[commands]]
name = "late"
command = "{sys.executable} {tmp_path}/half.py {{reference}} {{output}}"
delay = 5
[[folders]]
name = "given"
path = "given"
"""
    scene = evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)["scenes"][0]
    noisy, half = (scene["rows"][name]["si_sdr"] for name in ("noisy", "half"))
    assert half == pytest.approx(noisy, abs=1e-3)
    assert scene["rows"]["late"]["si_sdr"] < noisy - 1
    assert scene["rows"]["given"]["si_sdr"] > 60


def test_the_target_is_a_system_that_bounds_the_others(tmp_path):
    text = SUITE.replace('"noisy", ', '"noisy", "clean", ').replace("count = 2", "count = 1")
    row = evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)["scenes"][0]["rows"]["clean"]
    assert row["estoi"] == pytest.approx(1, abs=1e-6) and row["latency_ms"] is None


def test_what_both_ears_hear_and_what_the_beam_does_is_measured(tmp_path):
    asked = ("interaural_level_error", "interaural_time_error", "directivity_index", "white_noise_gain", "array_gain")
    metrics_line = ", ".join(f'"{name}"' for name in asked)
    text = SUITE.replace('"snr_improvement"', metrics_line).replace("count = 2", "count = 1")
    rows = evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)["scenes"][1]["rows"]
    beam = rows["superdirective"]
    assert 0 < beam["interaural_level_error"] < 6 and 0 < beam["interaural_time_error"] < 200
    assert 3 < beam["directivity_index"] < 9 and -13 < beam["white_noise_gain"] < 6 and beam["array_gain"] > 2
    assert all(rows["noisy"][name] is None for name in asked[:4])


def test_backends_are_compared_like_systems(tmp_path):
    pytest.importorskip("ai_edge_litert")
    systems = '"noisy", "mvdr+assist-s", "mvdr+assist-s@litert"'
    text = SUITE.replace('"noisy", "superdirective"', systems).replace("count = 2", "count = 1")
    for scene in evaluate(plan_of(tmp_path, text), tmp_path / "out", NUMBERS)["scenes"]:
        one, other = scene["rows"]["mvdr+assist-s"], scene["rows"]["mvdr+assist-s@litert"]
        assert one["si_sdr"] == pytest.approx(other["si_sdr"], abs=1e-3) and one["si_sdr"] > -5
    with pytest.raises(ValueError, match="backends are native, litert"):
        plan_of(tmp_path, text.replace("@litert", "@fpga"))


def test_recognizers_and_talker_models_of_ones_own_are_asked(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def words(x, rate): return ' '.join(['loud' if np.std(p) > 0.01 else 'low' for p in np.array_split(x, 8)])\n"
        "def voice(x, rate): return np.abs(np.fft.rfft(x, 64))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    text = 'transcribe = "mine:words"\nembed = "mine:voice"\n' + SUITE.replace('"estoi"', '"wer", "talker_similarity"')
    content = evaluate(plan_of(tmp_path, text.replace('"noisy", ', '"noisy", "clean", ')), tmp_path / "out", NUMBERS)
    for scene in content["scenes"]:
        assert scene["rows"]["clean"]["wer"] == 0 and scene["rows"]["clean"]["talker_similarity"] == pytest.approx(1)
        assert 0 <= scene["rows"]["noisy"]["wer"] <= 1 and scene["rows"]["noisy"]["talker_similarity"] < 1
        assert scene["facts"]["words"].startswith("as mine:words hears the clean recording: l")


def test_a_program_that_fails_is_a_sentence(tmp_path):
    text = f'{SUITE}\n[[commands]]\nname = "gone"\ncommand = "no-such-program {{input}} {{output}}"\n'
    content = evaluate(plan_of(tmp_path, text.replace("count = 2", "count = 1")), tmp_path / "out", NUMBERS)
    assert "there is no program 'no-such-program'" in content["scenes"][0]["error"]


# ---- the gate ----


def test_the_gate_fails_a_bad_system_and_passes_a_good_one(tmp_path, capsys):
    for bound, code in ((1.0, 0), (30.0, 1)):
        path, out = tmp_path / f"{code}.toml", tmp_path / f"out{code}"
        path.write_text(f"{SUITE}\n[gate.at_least]\nsnr_improvement = {bound}\n")
        assert main(["evaluate", str(path), "-o", str(out), "--no-report"]) == code
        said, gate = capsys.readouterr().out, json.loads((out / "gate.json").read_text())
        assert ("PASS", "FAIL")[code] in said and gate["passed"] is (code == 0)
        assert ElementTree.parse(out / "junit.xml").getroot()[0].get("failures") == str(code)


def test_the_presets_ask_for_what_they_say(tmp_path):
    plan = plan_of(tmp_path, SUITE + '\n[gate]\npreset = "strict"\nat_most = {latency_ms = 9}\n')
    assert plan.gate.bounds["improvement"] == {"pesq": 0.5, "stoi": 0.1}
    assert plan.gate.bounds["at_most"]["latency_ms"] == 9 and plan.gate.systems == ("superdirective",)
    verdicts = {v.what: v for v in plan.gate.judge([{"rows": {"superdirective": {"latency_ms": 12.0}, "noisy": {}}}])}
    assert not verdicts["latency / ms"].passed
    assert verdicts["artifact score"].measured == "could not be computed" and not verdicts["artifact score"].passed


# ---- recordings ----


def test_recordings_that_cannot_be_measured_are_named_and_the_others_are(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/good.wav", speech(1.0, 1, espeak=False), 16000)
    sf.write(tmp_path / "in/none.wav", np.zeros(0), 16000)
    (tmp_path / "in/text.wav").write_text("no sound")
    words = ["evaluate", "--input", str(tmp_path / "in"), "--systems", "noisy", "--metrics", "srmr", "--no-report"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "3 cases, 2 failed" in said and "none.wav has zero length" in said
    assert "failed: text: EdgeEnhanceError: cannot read" in said


def test_recordings_are_measured_with_and_without_a_reference(tmp_path, capsys, rng):
    clean = speech(3.0, 1, espeak=False)
    sf.write(tmp_path / "clean.wav", clean, 16000)
    sf.write(tmp_path / "noisy.wav", clean + 0.1 * np.std(clean) * rng.standard_normal(len(clean)), 16000)
    given = ["--input", str(tmp_path / "noisy.wav"), "--systems", "noisy", "--no-report"]
    assert main(["evaluate", *given, "--reference", str(tmp_path / "clean.wav"), "-o", str(tmp_path / "a")]) == 0
    row = json.loads((tmp_path / "a" / "results.json").read_text())["scenes"][0]["rows"]["noisy"]
    assert row["si_sdr"] == pytest.approx(20, abs=0.5)
    assert main(["evaluate", *given, "-o", str(tmp_path / "b")]) == 0
    content = json.loads((tmp_path / "b" / "results.json").read_text())
    assert "si_sdr" not in content["metrics"] and content["metrics"]
    assert main(["evaluate", "-o", str(tmp_path / "c")]) == 2
    assert "SUITE.toml" in capsys.readouterr().err
