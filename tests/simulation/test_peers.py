"""Other people's enhancers: they enhance, they do not delay, and what is missing is said in a sentence."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation import metrics, peers


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


@pytest.mark.parametrize("name, file", [("dtln", "dtln_quant_1.tflite"), ("gtcrn", "gtcrn_stream.onnx")])
def test_a_missing_peer_is_a_sentence(name, file, tmp_path):
    with pytest.raises(EdgeEnhanceError, match=f"{file} does not exist"):
        peers.NETWORKS[name](tmp_path)


# ---- with their files ----


@pytest.fixture(scope="module", params=peers.NETWORKS)
def network(request, shared_peers):
    if request.param == "gtcrn":
        pytest.importorskip("onnxruntime")
    return peers.NETWORKS[request.param](shared_peers)


@pytest.fixture(scope="module")
def speech(shared_data):
    """Five seconds of a talker."""
    import soundfile

    path = min((shared_data / "bench/speech").glob("*.flac"))
    return soundfile.read(path, stop=80000, dtype="float32")[0]


@pytest.mark.shared
def test_a_peer_passes_clean_speech_without_delay(network, speech):
    y = network(speech)
    assert y.shape == speech.shape and y.dtype == np.float32
    assert metrics.si_sdr(speech, y) > max(metrics.si_sdr(speech[:-1], y[1:]), metrics.si_sdr(speech[1:], y[:-1])) + 1


@pytest.mark.shared
def test_a_peer_takes_noise_from_speech(network, speech):
    noise = np.random.default_rng(8).standard_normal(len(speech)) * np.std(speech)
    assert metrics.si_sdr(speech, network(speech + noise)) > 5


@pytest.mark.shared
def test_a_peer_begins_anew_with_every_signal(network, speech):
    assert np.array_equal(network(speech[:20000]), network(speech[:20000]))
