"""ONNX files: what PyTorch computes, as a stream of blocks of any size; what does not fit is a sentence."""

import sys

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")

import onnx

from edgeenhance.enhancer import resample
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models import onnx_export
from edgeenhance.models.network import make_network
from edgeenhance.models.networks import one_microphone
from edgeenhance.models.onnx_export import run_onnx, write_onnx
from edgeenhance.onnxnet import OnnxEnhancer

from .test_networks import CAUSAL, small, talking


@pytest.fixture(scope="module", params=[*CAUSAL, "gru-mask"])
def pair(request, tmp_path_factory):
    """A network and its file."""
    if request.param == "gru-mask":
        network = one_microphone(make_network("gru-mask", bands=24, hidden=12, dense=12, signals=4), "assist")
    else:
        network = small(request.param)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    facts = write_onnx(network, path, {"name": request.param})
    assert facts["error"] < 1e-5
    return network, path


def test_the_file_is_the_network_in_blocks_of_any_size(pair, rng):
    network, path = pair
    x, enhancer = talking(rng, 12000), OnnxEnhancer(path)
    x[:3000] = 0
    wanted = network.stream().process(x)
    cuts = np.cumsum(rng.integers(0, 600, 40))
    got = np.concatenate([enhancer.process(block) for block in np.split(x, cuts[cuts < len(x)])])
    assert np.abs(wanted).max() > 1e-3
    np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())
    whole = enhancer.enhance(x)  # from the beginning again, not delayed
    np.testing.assert_allclose(whole, network.enhance(x), atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("rate", [48000, 44100, 8000])
def test_a_stream_at_another_rate_is_the_network_between_resamplers(pair, rng, rate):
    network, path = pair
    hertz, n = 440, rate // 2
    x = (0.1 * np.sin(2 * np.pi * hertz * np.arange(n) / rate) + 0.01 * rng.standard_normal(n)).astype(np.float32)
    enhancer = OnnxEnhancer(path, sample_rate=rate)
    whole = enhancer.enhance(x)
    enhancer.reset()
    parts = [enhancer.process(block) for block in np.array_split(x, 37)]
    end = enhancer.process(np.zeros(enhancer.latency, np.float32))
    np.testing.assert_array_equal(np.concatenate([*parts, end])[enhancer.latency :], whole)
    at_16k = network.enhance(resample(x, rate, 16000))
    wanted, inner = resample(at_16k, 16000, rate)[:n], slice(n // 10, -n // 10)
    errors = [np.mean((np.roll(whole, shift) - wanted)[inner] ** 2) for shift in (-1, 0, 1)]
    assert np.argmin(errors) == 1 and errors[1] < 0.015 * np.mean(wanted[inner] ** 2)  # in time, -18 dB


def test_the_file_says_what_it_is_and_nothing_of_who_made_it(pair):
    network, path = pair
    enhancer = OnnxEnhancer(path)
    assert (enhancer.sample_rate, enhancer.hop, enhancer.latency) == (16000, network.cell.hop, network.stream().latency)
    assert enhancer.metadata["name"]
    assert b".py" not in path.read_bytes()


def test_a_network_that_is_not_causal_is_refused(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="not causal"):
        write_onnx(small("unet_irm"), tmp_path / "model.onnx", {})


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_difference", lambda network, path: 2e-4)
    with pytest.raises(EdgeEnhanceError, match="2.0e-04"):
        write_onnx(small("dnn_1"), tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())


def test_a_model_of_the_zoo_by_its_name(tmp_path):
    facts = run_onnx("assist-s", tmp_path / "model.onnx")
    assert facts["error"] < 1e-4 and facts["profile"] == "assist" and facts["licence"] == "MIT"


def test_foreign_and_damaged_files_and_unknown_providers_are_sentences(pair, tmp_path, monkeypatch):
    _, path = pair
    with pytest.raises(EdgeEnhanceError, match="does not exist"):
        OnnxEnhancer(tmp_path / "missing.onnx")
    with pytest.raises(ValueError, match="cpu, cuda"):
        OnnxEnhancer(path, provider="tpu")
    with pytest.raises(ValueError, match="4000 to 768000"):
        OnnxEnhancer(path, sample_rate=123)
    (tmp_path / "damaged.onnx").write_bytes(path.read_bytes()[:2000])
    with pytest.raises(EdgeEnhanceError, match="cannot load"):
        OnnxEnhancer(tmp_path / "damaged.onnx")
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    with pytest.raises(EdgeEnhanceError, match="no network of edgeenhance"):
        OnnxEnhancer(tmp_path / "foreign.onnx")
    for text in ("{", '{"format": 1}', '{"format": 2, "kind": "gains"}'):
        onnx.helper.set_model_props(model, {"edgeenhance": text})
        onnx.save(model, tmp_path / "newer.onnx")
        with pytest.raises(EdgeEnhanceError, match="do not fit"):
            OnnxEnhancer(tmp_path / "newer.onnx")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(EdgeEnhanceError, match="onnxruntime-gpu"):
        OnnxEnhancer(path, provider="cuda")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EdgeEnhanceError, match=r"edgeenhance\[onnx\]"):
        OnnxEnhancer(path)
