"""The verifier: a model of the zoo against its float network, on what it hears of a recording."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime of LiteRT is not installed")
pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("soundfile", reason="the extra `files` is not installed")

import soundfile

from edgeenhance.bands import SIGNALS
from edgeenhance.cli import main
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import MaskNet, zoo_names, zoo_path
from edgeenhance.models import verify
from edgeenhance.models.verify import heard_features, run_verify, trained_network

RATE = 16000
MODEL = zoo_names()[0]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """Two seconds of a tone that comes and goes in noise."""
    rng, t = np.random.default_rng(8), np.arange(2 * RATE) / RATE
    x = 0.1 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 2 * t) > 0) + 0.01 * rng.standard_normal(len(t))
    path = tmp_path_factory.mktemp("sound") / "tone.wav"
    soundfile.write(path, x, RATE)
    return path


@pytest.mark.parametrize(("variant", "least_db", "stage_db"), [("", 40, 25), (":int8", 20, 15)])
def test_a_zoo_model_is_close_to_its_float_network_at_every_stage(recording, variant, least_db, stage_db):
    report = run_verify(MODEL + variant, recording)
    assert {"encode", "gru0/z", "h0_next", "h1_next", "decode", "gains"} <= set(report["stages"])
    assert report["snr_db"] > least_db and min(report["stages"].values()) > stage_db
    assert report["snr_db"] == pytest.approx(report["stages"]["gains"], abs=1e-6) and 0 < report["worst"] < 0.2


def test_int8_is_further_from_float_than_16x8(recording):
    assert run_verify(f"{MODEL}:int8", recording)["snr_db"] < run_verify(MODEL, recording)["snr_db"]


def test_a_fault_shows_at_the_stage_where_it_happens(recording, monkeypatch):
    """A wrong row of the last layer leaves the stages before it as they were."""
    network = trained_network(zoo_path(MODEL))
    network.decode.bias.data += 1.0
    monkeypatch.setattr(verify, "trained_network", lambda *_: network)
    wrong = run_verify(MODEL, recording)["stages"]
    assert wrong["decode"] < 15 < 30 < min(wrong["encode"], wrong["h1_next"])


def test_the_model_hears_what_the_chain_hands_it(recording):
    heard = heard_features(zoo_path(MODEL), recording, "mono")
    assert heard.dtype == np.int16 and heard.shape[1] == SIGNALS * MaskNet(MODEL).bands and 400 < len(heard) <= 502
    assert (heard[:, : heard.shape[1] // SIGNALS] > -32768).any() and (
        heard[:, heard.shape[1] // SIGNALS :] == -32768
    ).all()


def test_a_silent_recording_is_a_sentence(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(EdgeEnhanceError, match="silent"):
        run_verify(MODEL, tmp_path / "silence.wav")


def test_weights_of_another_network_are_a_sentence(recording, tmp_path):
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    for name in ("other.npz", "absent.npz"):
        with pytest.raises(EdgeEnhanceError, match=rf"{name} does not hold the weights of .*{MODEL}"):
            run_verify(MODEL, recording, weights=tmp_path / name)


def test_the_command_prints_a_line_per_stage(recording, capsys):
    assert main(["verify", MODEL, str(recording)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"{MODEL}: ") and "dB from the float network" in out[0]
    assert [line.split()[0] for line in out if line.startswith(("encode ", "gru0/z ", "gains "))] == [
        "encode", "gru0/z", "gains",
    ]  # fmt: skip


def test_the_command_names_the_recording_that_is_not_there(tmp_path, capsys):
    assert main(["verify", MODEL, str(tmp_path / "absent.wav")]) == 2
    assert "absent.wav" in capsys.readouterr().err
