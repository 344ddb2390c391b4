"""The quality benchmark: same numbers whatever the workers, honest tables, and its comparison systems."""

import json

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation import metrics, peers, quality
from edgeenhance.simulation.suite import load_suite

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
    text = quality.report(records)
    assert "scene 1, mvdr: PESQ is NaN" in text and "| mvdr | 0.600 |" in text
    assert quality.compare(records, "mvdr", "noisy", "pesq").count == 2


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


# ---- peers ----


@pytest.fixture(scope="module")
def noisy():
    """(clean, noisy) : bursts of tones in white noise, 4 s."""
    rng = np.random.default_rng(5)
    t = np.arange(4 * 16000) / 16000
    tones = sum(np.sin(2 * np.pi * f * t) for f in (300, 700, 1900)) * (np.sin(2 * np.pi * 1.5 * t) > 0.3)
    return 0.1 * tones, 0.1 * tones + 0.05 * rng.standard_normal(len(t))


def test_log_mmse_reduces_stationary_noise_and_does_not_delay(noisy):
    clean, x = noisy
    y = peers.log_mmse(x)
    assert y.shape == x.shape and y.dtype == np.float32
    assert metrics.si_sdr(clean, y) > metrics.si_sdr(clean, x) + 3


def test_log_mmse_of_silence_is_silence():
    assert not peers.log_mmse(np.zeros(5000)).any()


def test_noise_power_finds_the_level_of_white_noise():
    power = np.random.default_rng(6).exponential(2.0, (400, 65))
    estimate = peers.noise_power(power)[100:]
    assert 10 * np.log10(estimate.mean() / 2.0) == pytest.approx(0, abs=1.5)


def test_noise_power_follows_a_step_in_a_second():
    rng = np.random.default_rng(7)
    power = np.concatenate([rng.exponential(1.0, (100, 65)), rng.exponential(4.0, (100, 65))])
    assert peers.noise_power(power)[-1].mean() == pytest.approx(4.0, rel=0.5)


def test_a_missing_peer_is_a_sentence(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="dtln_quant_1.tflite does not exist"):
        peers.Dtln(tmp_path)


def records_of(**estoi: float) -> list[dict]:
    """Ten scenes in which every system has the same ESTOI and PESQ, up to a little noise."""
    wobble = np.random.default_rng(0).normal(0, 1e-3, 10)
    return [
        {
            "system": name.replace("_", "-").replace("chain", "mvdr+assist-1"),
            "scene": n,
            "estoi": value + w,
            "pesq": value,
        }
        for name, value in estoi.items()
        for n, w in enumerate(wobble)
    ]


def test_the_gate_passes_what_is_better_by_enough():
    assert quality.misses(records_of(noisy=0.40, mvdr=0.50, superdirective=0.49, chain=0.55)) == []


def test_the_gate_names_what_is_missed():
    missed = quality.misses(records_of(noisy=0.40, mvdr=0.48, superdirective=0.49, chain=0.47, dtln=0.50))
    assert [sentence.split(":")[0] for sentence in missed] == [
        "mvdr+assist-1 − noisy", "mvdr+assist-1 − noisy", "mvdr+assist-1 − mvdr", "mvdr+assist-1 − dtln",
        "mvdr − superdirective",
    ]  # fmt: skip
