"""The comparison page: what its rows are, and that its tables say what was measured."""

import json

import numpy as np
import pytest

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.simulation import methods as m
from edgeenhance.simulation.metrics import paired_interval

A = m.Method("a", "a-system", m.CLASSICAL)
METRIC_VALUES = {"stoi": 0.5, "si_sdr": 1.0, "sdr": 2.0, "mse": 0.001}


def scenes(snrs, own, noisy):
    """Scenes in which the microphone and method A have these ESTOIs, and twice as many PESQ."""
    return [
        {
            "facts": {"snr_db": snr},
            "rows": {
                "noisy": METRIC_VALUES | {"estoi": n, "pesq": 2 * n},
                A.system: METRIC_VALUES | {"estoi": o, "pesq": 2 * o},
            },
        }
        for snr, o, n in zip(snrs, own, noisy, strict=True)
    ]


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_classical_method_and_every_zoo_model_is_a_row():
    titles = [row.title for row in m.methods(None, None)]
    assert titles[:4] == ["spectral-subtraction", "wiener", "wiener-psd", "log-mmse"]
    assert {"mvdr", "mvdr+assist-m", "mvdr+assist-s", "mvdr+comm-m", "comm-m, one microphone"} <= set(titles)
    assert "dtln" not in titles and "dtln" in [row.title for row in m.methods(None, "peers")]


def test_networks_are_found_by_their_checkpoints_and_model_files(tmp_path):
    pytest.importorskip("torch")
    for path in ("lstm_mask/best.pt", "crnn/best.pt", "lstm_mask.tflite", "other/best.pt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    found = [(row.title, row.system) for row in m.methods(tmp_path, None) if row.group == m.TEXTBOOK]
    assert found == [
        ("lstm_mask", f"{tmp_path}/lstm_mask/best.pt"),
        ("lstm_mask, 16x8", f"none+{tmp_path}/lstm_mask.tflite"),
        ("crnn", f"{tmp_path}/crnn/best.pt"),
    ]


def test_a_folder_without_runs_says_how_to_make_one(tmp_path):
    pytest.importorskip("torch")
    with pytest.raises(EdgeEnhanceError, match="holds no NAME/best.pt; train one with edgeenhance train"):
        m.methods(tmp_path, None)


def test_tables_hold_means_by_snr_and_paired_gains_over_all():
    own, noisy = [0.5, 0.6, 0.9], [0.4, 0.4, 0.5]
    tables = m.quality_tables([A], scenes([-5, 5, 5], own, noisy))
    assert list(tables) == ["All scenes", "-5 dB", "5 dB"]
    header, _, microphone, row = cells(tables["All scenes"])
    assert header[2:] == ["PESQ (WB)", "STOI", "ESTOI", "SI-SDR / dB", "SDR / dB", "MSE", "PESQ over noisy",
                          "ESTOI over noisy"]  # fmt: skip
    assert microphone[0] == "noisy" and microphone[-2:] == ["", ""]
    assert row[4] == f"{np.mean(own):.3f}"
    assert row[-1] == paired_interval(np.subtract(own, noisy)).format(3)
    assert cells(tables["5 dB"])[3][4] == "0.750"


def test_scores_that_could_not_be_computed_are_left_out():
    silent = scenes([0, 0, 0], [0.5, 0.7, 0.0], [0.4, 0.4, 0.4])
    silent[2]["rows"][A.system]["estoi"] = None
    tables = m.quality_tables([A], silent)
    assert cells(tables["All scenes"])[3][4] == "0.600"
    assert m.gain(silent, A, "estoi").count == 2


def test_minutes_of_a_resumed_run_are_those_of_all_its_parts():
    records = [("start", 0.1), ("train", 60.0), ("stopped", 90.0), ("start", 0.1), ("train", 20.0), ("finished", 30.0)]
    assert m._minutes([{"event": event, "seconds": seconds} for event, seconds in records]) == 2.0


def test_the_training_table_tells_the_best_validation(tmp_path):
    torch = pytest.importorskip("torch")
    from edgeenhance.models.networks import FAMILIES
    from edgeenhance.models.train import FORMAT

    sizes = {"name": "dnn_0", "width": 8}
    network = FAMILIES["dnn_0"](width=8)
    (tmp_path / "dnn_0").mkdir()
    recipe = {"network": sizes, "profile": "comm"}
    state = {"format": FORMAT, "recipe": recipe, "network": network.state_dict(), "average": None}
    torch.save(state, tmp_path / "dnn_0" / "best.pt")
    beam = {"beam_estoi": 0.3, "beam_pesq": 1.1, "beam_si_sdr": -2.0}
    losses = [(10, 0.5, 0.31), (20, 0.2, 0.42), (30, 0.3, 0.35)]
    valid = [
        {"event": "valid", "step": step, "loss": loss, "estoi": estoi, "pesq": 1.2, "si_sdr": 3.0, "seconds": 60.0}
        for step, loss, estoi in losses
    ]
    lines = [json.dumps(record | beam) for record in valid]
    (tmp_path / "dnn_0" / "log.jsonl").write_text("\n".join(lines) + "\n")
    row = m.Method("dnn_0", str(tmp_path / "dnn_0" / "best.pt"), m.TEXTBOOK)
    _, _, told = cells(m.training_table([A, row], np.zeros(4000, np.float32), tmp_path))
    assert told == ["dnn_0", "1", "30", "0.500 → 0.200", "0.420 (0.300)", "1.200 (1.100)", "3.00 (-2.00)", "–"]


def test_a_classical_method_runs_hop_by_hop_and_a_chain_in_c(tmp_path):
    rows = [A := m.Method("wiener", "wiener", m.CLASSICAL), B := m.Method("mvdr", "mvdr", m.OURS)]
    own, chain = (m.runner(row, tmp_path, None) for row in rows)
    assert (own.runtime, own.hop, own.latency, own.mics) == ("NumPy", 256, 512, 1)
    assert (chain.runtime, chain.hop, chain.latency, chain.mics) == ("C", 64, 128, 4)
    us = m.microseconds([own, chain], rounds=1)
    assert len(us) == 2 and min(us) > 0
    told = cells(m.cost_table([A, B], [own, chain], us))
    assert told[2][2:6] == ["1", "–", "–", "32 ms"] and told[3][2:6] == ["4", "–", "–", "8 ms"]


def test_a_page_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    pytest.importorskip("torch")
    assert m.main(["--networks", str(tmp_path / "none"), "-o", str(tmp_path / "page.md")]) == 2
    assert capsys.readouterr().err.startswith("methods: ")
    assert not (tmp_path / "page.md").exists()


def test_a_page_without_a_folder_ends_before_the_work(tmp_path, capsys):
    assert m.main(["-o", str(tmp_path / "none" / "page.md")]) == 2
    assert "make it first" in capsys.readouterr().err
