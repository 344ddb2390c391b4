"""Robustness: each disturbance does what its name says, and findings are held against their bounds."""

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("pystoi")
pytest.importorskip("matplotlib")

from edgeenhance.simulation import robustness
from edgeenhance.simulation.robustness import Subject
from edgeenhance.simulation.suite import load_suite

SUITE = """
[[scenes]]
seed = 1
duration_s = 6.0
snr_db = 0.0
room = {dimensions_m = [5.0, 4.0, 2.6], rt60_s = 0.2}
array = {name = "bte-2x2", position_m = [2.0, 2.0, 1.2], azimuth_deg = 0.0}
talkers = [{distance_m = 1.0, azimuth_deg = 20.0}]
noises = [{kind = "speech", azimuth_deg = 90.0, distance_m = 1.0}, {kind = "pink", azimuth_deg = -100.0}]
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "one.toml"
    path.write_text(SUITE)
    return str(path)


@pytest.fixture(scope="module")
def fixed(suite):
    """The superdirective beam alone: linear and steered, so that what comes out is known."""
    return Subject("none", suite, beamformer="superdirective")


@pytest.fixture(scope="module")
def scene(suite):
    return load_suite(suite)[0]


@pytest.fixture(scope="module")
def sound(scene):
    return scene.render()


@pytest.fixture(scope="module")
def result(fixed):
    return robustness.examine(fixed, 0)


def test_a_linear_chain_does_not_mind_the_level(result):
    assert np.ptp(result["level"]) < 1e-3


def test_a_fixed_beam_loses_by_a_wrong_look(result):
    assert result["look"][0] == max(result["look"]) and result["look"][-1] < result["look"][0]


def test_the_look_starts_from_the_talkers_true_direction(fixed, scene, sound):
    steered = robustness.chain("superdirective", "none", sound.mix, scene, 20.0)
    assert np.array_equal(fixed.enhance(sound.mix, scene), steered)


def test_the_reference_microphone_alone_passes_clean_speech(fixed, result):
    chain, beam, network = result["clean"]
    assert network > 4.5 and chain == beam < 4.5


def test_clean_is_the_early_target_at_every_microphone(scene, sound):
    assert sound.clean.shape == sound.mix.shape
    assert np.array_equal(sound.clean[:, scene.reference], sound.early)
    error = sound.reverberant - sound.clean
    assert 0 < np.sum(error**2) < 0.5 * np.sum(sound.reverberant**2)


def test_a_fixed_beam_does_not_drift(result):
    for part in result["drift"].values():
        assert part["drift"] < 0.01


def test_the_gain_on_the_talker_is_not_that_on_the_noise(fixed, scene, sound):
    gains = robustness.drift_gains(fixed, scene, sound, 1.0)
    assert gains["speech"].shape == (4,)
    assert gains["noise"].mean() < gains["speech"].mean() - 1 and abs(gains["speech"].mean()) < 3


def test_mismatch_stays_within_its_bounds_and_differs_by_microphone():
    impulse = np.zeros((16000, 4))
    impulse[4000] = 1.0
    spectra = np.fft.rfft(robustness.mismatched(impulse, np.random.default_rng(3)), axis=0) / np.fft.rfft(
        impulse, axis=0
    )
    gain_db, phase = 20 * np.log10(np.abs(spectra)), np.degrees(np.angle(spectra))
    assert np.abs(gain_db[1000:7000]).max() <= 2.05 and np.ptp(gain_db[2000]) > 0.3
    assert np.abs(phase[1000:7000]).max() <= 10.5 and np.ptp(phase[2000]) > 2
    assert phase[3000] == pytest.approx(phase[6000], abs=0.3)  # constant above 500 Hz
    assert phase[250] == pytest.approx(phase[3000] / 2, abs=0.5)  # proportional below


def result_of(level=0.5, look=0.5, mismatch=0.5, clean=4.0, drift=0.1):
    return {
        "level": [level, 0.5, 0.5, 0.5, 0.5],
        "look": [0.5, 0.5, 0.5, look, 0.4, 0.3],
        "mismatch": mismatch,
        "clean": [clean, 4.0, 4.0],
        "drift": {part: {"gain": -3.0, "start": 0.3, "drift": drift} for part in ("noise", "speech")},
    }


def kept(*results):
    return [finding.kept for finding in robustness.findings(results, results[0]["drift"], 30.0)]


def test_findings_within_their_bounds_are_kept():
    assert kept(result_of(), result_of(look=0.48, mismatch=0.475, level=0.505)) == [True] * 6


def test_each_bound_can_be_missed():
    missed = {"level": 0.4, "look": 0.4, "mismatch": 0.4, "clean": 3.0}
    for n, (name, value) in enumerate(missed.items()):
        expected = [position != n for position in range(6)]
        assert kept(result_of(**{name: value}), result_of(**{name: value})) == expected
    assert kept(result_of(drift=0.6)) == [True] * 4 + [False] * 2


def test_the_command_writes_a_report_and_its_curves(suite, tmp_path):
    out = tmp_path / "card.md"
    options = ["--suite", suite, "--workers", "1", "--minutes", "0.75", "--beamformer", "superdirective"]
    assert robustness.main(["none", *options, "-o", str(out)]) == 0
    text = out.read_text()
    for words in ("1 scenes", "look wrong by 15°", "PESQ, clean speech in", "card.png"):
        assert words in text
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_model_is_a_sentence(suite, capsys):
    assert robustness.main(["no-such", "--suite", suite]) == 2
    assert "unknown model" in capsys.readouterr().err
