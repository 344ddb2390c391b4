"""Other people's enhancers: they enhance, they do not delay, and what is missing is said in a sentence."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation import metrics, peers


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
