"""The quality benchmark: same numbers whatever the workers, honest tables, and what they are held against."""

import json

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from edgeenhance.masknet import zoo_names, zoo_path
from edgeenhance.simulation import metrics, quality
from edgeenhance.simulation.suite import load_suite
from edgeenhance.simulation.systems import beam_and_model

SUITE = """
[defaults]
duration_s = 2.0
room = {dimensions_m = [5.0, 4.0, 2.6], rt60_s = 0.2}

[[scenes]]
seed = 1
snr_db = 0.0
array = {name = "bte-2x2", position_m = [2.0, 2.0, 1.2], azimuth_deg = 0.0}
talkers = [{distance_m = 1.0}]
noises = [{kind = "speech", azimuth_deg = 90.0, distance_m = 1.0}, {kind = "pink", azimuth_deg = -100.0}]

[[scenes]]
seed = 2
snr_db = 5.0
array = {name = "bte-2x2", mount = "free", position_m = [2.0, 2.0, 1.2], azimuth_deg = 0.0, ear = "right"}
talkers = [{distance_m = 1.0}]
noises = [{kind = "white", azimuth_deg = 120.0}]
"""
SYSTEMS = "noisy,superdirective"


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "two.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture(scope="module")
def result(suite, tmp_path_factory):
    """Standard run with two workers: (markdown, records)."""
    out = tmp_path_factory.mktemp("out") / "quality.md"
    assert quality.main(["--suite", suite, "--systems", SYSTEMS, "--workers", "2", "-o", str(out)]) == 0
    return out.read_text(), json.loads(out.with_suffix(".json").read_text())


def test_numbers_do_not_depend_on_the_workers(suite, result):
    bench = quality.Bench(suite, None, None, tuple(SYSTEMS.split(",")))
    assert quality.run(bench, workers=1) == result[1]


def test_every_scene_is_scored_with_every_system(result):
    assert [(r["scene"], r["system"]) for r in result[1]] == [
        (0, "noisy"),
        (0, "superdirective"),
        (1, "noisy"),
        (1, "superdirective"),
    ]
    facts = [(r["mount"], r["snr_db"], r["competing"]) for r in result[1]]
    assert facts == [("head", 0.0, True)] * 2 + [("free", 5.0, False)] * 2


def test_a_beam_to_the_talker_helps(result):
    assert quality.compare(result[1], "superdirective", "noisy", "estoi").mean > 0.02


def test_the_report_shows_all_systems_and_conditions(result):
    for words in ("| superdirective |", "0 dB", "5 dB", "head", "free field", "competing talker", "2 scenes"):
        assert words in result[0]


def test_scores_are_against_the_early_target_of_the_scenes_ear(suite):
    scene = load_suite(suite)[1]
    rendered = scene.render()
    (record,) = quality.score_scene(quality.Bench(suite, None, None, ("noisy",)), 1)
    right = scene.array.ear("right")
    assert record["si_sdr"] == metrics.si_sdr(rendered.target[:, 1], rendered.mix[:, right])


def record(scene, system, value, **facts):
    values = dict.fromkeys(metrics.METRICS, value)
    return {"scene": scene, "snr_db": 0.0, "mount": "head", "competing": False, **facts, "system": system, **values}


def test_differences_are_paired_by_scene():
    easy_and_hard = [0.2, 0.5, 0.9]
    records = [record(i, "noisy", v, reasons=[]) for i, v in enumerate(easy_and_hard)]
    records += [record(i, "mvdr", v + 0.1, reasons=[]) for i, v in reversed(list(enumerate(easy_and_hard)))]
    interval = quality.compare(records, "mvdr", "noisy", "estoi")
    assert interval.mean == pytest.approx(0.1) and interval.high - interval.low < 1e-9


def test_a_score_that_is_missing_is_left_out_and_reported():
    records = [record(i, s, v, reasons=[]) for i in range(3) for s, v in (("noisy", 0.5), ("mvdr", 0.6))]
    records[3] |= {"pesq": float("nan"), "reasons": ["PESQ is NaN: No utterances detected"]}
    text = " ".join(quality.report(records).split())
    assert "scene 1, mvdr: PESQ is NaN" in text and "| mvdr | 0.600 [0.600, 0.600] |" in text
    assert quality.compare(records, "mvdr", "noisy", "pesq").count == 2


def test_records_come_back_as_they_were_written(tmp_path):
    records = [record(0, "noisy", 0.5, reasons=[]), record(0, "mvdr", np.nan, reasons=["silent"])]
    quality._write(str(tmp_path / "quality.md"), "", records)
    (noisy, mvdr) = quality.read(tmp_path / "quality.json")
    assert noisy == records[0] and mvdr["reasons"] == ["silent"] and np.isnan(mvdr["pesq"])


@pytest.mark.parametrize(
    "options, words",
    [
        (["--systems", "no-such"], "unknown beamformer"),
        (["--systems", "mvdr+no-such"], "unknown model"),
        (["--systems", "dtln"], "--peers"),
        (["--suite", "no-such"], "no-such"),
        (["--speech", "/no/such/folder"], "no recordings"),
    ],
)
def test_bad_input_is_a_sentence(suite, capsys, options, words):
    base = ["--suite", suite, "--systems", "noisy", "--workers", "1"]
    assert quality.main([*base, *options]) == 2
    assert words in capsys.readouterr().err


# ---- figures ----


def records_of(**estoi: float) -> list[dict]:
    """Ten scenes in which every system has the same ESTOI and PESQ, up to a little noise; "_" stands for "-"."""
    wobble = np.random.default_rng(0).normal(0, 1e-3, 10)
    return [
        record(n, name, value, reasons=[]) | {"estoi": value + w}
        for name, value in {name.replace("_", "-"): value for name, value in estoi.items()}.items()
        for n, w in enumerate(wobble)
    ]


@pytest.fixture
def figures(monkeypatch):
    """One figure with a margin and two that ask for "not worse"."""
    wanted = (("chain", "noisy", "estoi", 0.1), ("chain", "dtln", "estoi", 0.0), ("int8", "chain", "estoi", -0.01))
    monkeypatch.setattr(quality, "FIGURES", wanted)


def test_figures_are_reached_by_what_is_better_by_enough(figures):
    assert quality.misses(records_of(noisy=0.40, chain=0.55, int8=0.545)) == []


def test_the_gate_names_what_is_missed(figures):
    missed = quality.misses(records_of(noisy=0.40, dtln=0.50, chain=0.47, int8=0.45))
    assert [sentence.split(",")[0] for sentence in missed] == ["chain − noisy", "chain − dtln", "int8 − chain"]


def test_a_margin_must_be_significant(figures):
    records = records_of(noisy=0.40, chain=0.52)
    assert quality.misses(records) == []
    records[0]["estoi"] = 1.0  # one scene in which the chain loses everything
    assert quality.misses(records) != []


# ---- which systems, and which pairs ----


def test_without_peers_their_systems_are_left_out():
    names = quality.available(None)
    assert {"noisy", "log-mmse", "superdirective", "mvdr"} <= set(names)
    assert not any("dtln" in name or "gtcrn" in name for name in names)


def test_every_zoo_model_runs_in_every_precision_it_has():
    names = quality.available("peers")
    for model in zoo_names():
        assert {f"mvdr+{model}", f"mvdr+{model}:float"} <= set(names)
        assert (f"mvdr+{model}:int8" in names) == zoo_path(model).with_name("model.int8.tflite").is_file()
    assert {"dtln", "gtcrn", "superdirective+gtcrn"} <= set(names)


def test_figures_name_systems_by_names_that_exist():
    for name, baseline, metric, _ in quality.FIGURES:
        assert metric in metrics.METRICS
        assert beam_and_model(name)[0] in ("mvdr", "none") and baseline


def test_a_chain_is_compared_with_the_strongest_baseline_and_its_own_beam():
    names = (
        "noisy",
        "dtln",
        "gtcrn",
        "superdirective",
        "mvdr",
        "superdirective+gtcrn",
        "mvdr+m",
        "mvdr+m:int8",
        "none+c",
    )
    assert quality.contests(names) == [
        ("mvdr+m", "superdirective+gtcrn"), ("mvdr+m", "mvdr"), ("none+c", "dtln"), ("none+c", "gtcrn"),
        ("superdirective+gtcrn", "superdirective"), ("mvdr", "superdirective"),
    ]  # fmt: skip


def test_integers_are_compared_with_their_own_float_network():
    names = ("mvdr+a", "mvdr+a:float", "mvdr+a:int8", "mvdr+b")
    assert quality.roundings(names) == [("mvdr+a", "mvdr+a:float"), ("mvdr+a:int8", "mvdr+a:float")]
