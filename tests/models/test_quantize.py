"""Model files: 16x8, int8 and float32 from one graph, and the rules that TFLite does not check."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime and schema of LiteRT are not installed")

from ai_edge_litert import schema_py_generated as schema

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import MaskNet, read_model
from edgeenhance.models.network import make_network
from edgeenhance.models.quantize import run_quantize, write_model
from edgeenhance.models.tflite_writer import VERSIONS, Writer, check_accumulator, quantize_dense
from edgeenhance.models.train import train
from edgeenhance.models.verify import run_verify, stages, verify

BANDS = 24
METADATA = {
    "format": 1,
    "name": "tiny",
    "profile": "assist",
    "sample_rate": 16000,
    "analysis": 512,
    "synthesis": 128,
    "bands": BANDS,
    "centers": [0, *range(10, 10 * BANDS - 10, 10), 256],
    "features": "log2-level-16",
    "states": [20, 20],
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    network = make_network("gru-mask", bands=BANDS, hidden=20, dense=16)
    with torch.no_grad():
        network.gru.bias_hh_l0[20:40] += 6.0  # a long memory, as trained networks have
    return network


@pytest.fixture(scope="module")
def features():
    """Slow and fast changes, like speech : (3, 600, 2 * BANDS) int16."""
    rng = np.random.default_rng(4)
    slow = np.cumsum(rng.standard_normal((3, 600, 2 * BANDS)), axis=1) * 300
    return np.clip(slow + 3000 * rng.standard_normal(slow.shape), -32768, 32767).astype(np.int16)


LEAST_DB = {"16x8": 50, "int8": 25, "float32": 75}


@pytest.fixture(scope="module", params=LEAST_DB)
def model(request, network, features, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.tflite"
    path.write_bytes(write_model(network, METADATA, features[:2] / 32768, request.param))
    return path


def test_the_file_follows_the_float_network_over_600_hops(model, network, features):
    report = verify(model, network, features[2])
    assert report["snr_db"] > LEAST_DB[MaskNet(model).metadata["quantization"]]


def test_every_stage_is_compared_with_the_float_network(model, network, features):
    report = stages(model, network, features[2][:100])
    assert {"encode", "gru0/z", "h0_next", "gru1/n", "h1_next", "decode", "gains"} <= set(report)
    assert min(report.values()) > LEAST_DB[MaskNet(model).metadata["quantization"]] - 15


def test_states_of_an_int8_file_have_16_bits(network, features, tmp_path):
    """Eight bits would stop a slow state between two steps: this network's memory is some 400 hops long."""
    path = tmp_path / "model.tflite"
    path.write_bytes(write_model(network, METADATA, features[:2] / 32768, "int8"))
    tensors = schema.ModelT.InitFromPackedBuf(read_model(path)[0]).subgraphs[0].tensors
    kinds = {tensor.name: tensor.type for tensor in tensors}
    assert kinds[b"h0"] == kinds[b"h0_next"] == schema.TensorType.INT16
    assert kinds[b"encode/int8"] == kinds[b"gru0/z/int8"] == kinds[b"encode/weight"] == schema.TensorType.INT8


def test_only_the_documented_ops_and_versions_are_used(model):
    content, metadata = read_model(model)
    column = 0 if metadata["quantization"] == "float32" else 1
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for code in schema.ModelT.InitFromPackedBuf(content).operatorCodes:
        assert code.version == VERSIONS[names[code.builtinCode]][column]


def test_constants_are_aligned_in_the_file(model):
    content, _ = read_model(model)
    parsed = schema.Model.GetRootAs(content)
    for number in range(parsed.BuffersLength()):
        data = parsed.Buffers(number).DataAsNumpy()
        if not isinstance(data, int):
            start = (
                data.__array_interface__["data"][0] - np.frombuffer(content, np.uint8).__array_interface__["data"][0]
            )
            assert start % 16 == 0


def test_every_int16_concatenation_has_one_scale(model):
    content, metadata = read_model(model)
    graph = schema.ModelT.InitFromPackedBuf(content).subgraphs[0]
    if metadata["quantization"] != "float32":
        scales = {tensor.name: tensor.quantization.scale.tolist() for tensor in graph.tensors if len(tensor.shape) == 2}
        assert scales[b"gru0/xh"] == scales[b"encode/tanh"] == scales[b"h0"] == scales[b"h0_next"] == [1 / 32768]


def test_the_metadata_is_a_named_buffer_of_the_file(model):
    content, metadata = read_model(model)
    parsed = schema.ModelT.InitFromPackedBuf(content)
    (entry,) = [entry for entry in parsed.metadata if entry.name == b"edgeenhance"]
    assert json.loads(bytes(parsed.buffers[entry.buffer].data)) == metadata


def test_a_concatenation_of_different_scales_is_refused():
    writer = Writer("16x8", {"wide": 3.0})
    x = writer.input("features", 4)
    wide = writer.dense("wide", x, np.eye(4), np.zeros(4))
    with pytest.raises(ValueError, match="does not rescale"):
        writer.concat("both", [x, wide])


def test_a_sum_that_runtimes_would_round_differently_is_refused():
    writer = Writer("16x8", {"wide": 3.0})
    x = writer.input("features", 4)
    wide = writer.dense("wide", x, np.eye(4), np.zeros(4))
    with pytest.raises(ValueError, match="powers of two"):
        writer.add("sum", x, wide, limit=4.0)
    writer.sub("fine", x, x, limit=2.0)


def test_an_accumulator_that_could_overflow_is_refused(rng):
    with pytest.raises(ValueError, match="516"):
        quantize_dense("long", rng.standard_normal((2, 517)), np.zeros(2), 1 / 32768)
    check_accumulator("fits", 516, np.array([0.0]))
    with pytest.raises(ValueError, match="beyond int32"):
        check_accumulator("bias", 516, np.array([2e6]))


def test_a_large_bias_widens_its_row_instead_of_overflowing(rng):
    weight, bias = 1e-3 * rng.standard_normal((2, 300)), np.array([30.0, 0.1])
    integers, offsets, scales = quantize_dense("row", weight, bias, 1 / 32768)
    check_accumulator("row", 300, offsets)
    np.testing.assert_allclose(offsets * scales / 32768, bias, rtol=1e-6)
    assert scales[0] > scales[1]


def test_a_bias_takes_off_what_rounded_weights_make_of_the_inputs_mean(rng):
    weight, mean = rng.standard_normal((3, 400)), rng.uniform(0.5, 1.0, 400)
    integers, offsets, scales = quantize_dense("row", weight, np.ones(3), 1 / 32768, mean)
    check_accumulator("row", 400, offsets)
    rounded, bias = integers * scales[:, None], offsets * scales / 32768
    np.testing.assert_allclose(rounded @ mean + bias, weight @ mean + 1, atol=1e-4)
    assert np.abs(rounded @ mean + 1 - (weight @ mean + 1)).min() > 1e-3  # without it


def test_weights_have_one_symmetric_scale_per_row(rng):
    weight = rng.standard_normal((5, 7)) * 10.0 ** np.arange(-2, 3)[:, None]
    integers, _, scales = quantize_dense("rows", weight, np.zeros(5), 1 / 32768)
    assert (np.abs(integers).max(1) == 127).all()
    assert (np.abs(integers * scales[:, None] - weight) <= 0.501 * scales[:, None]).all()


def test_a_tensor_that_calibration_never_met_is_refused():
    writer = Writer("16x8", {})
    with pytest.raises(ValueError, match="calibrate"):
        writer.dense("new", writer.input("features", 4), np.eye(4), np.zeros(4))


def test_an_output_off_full_scale_is_refused():
    writer = Writer("16x8", {"wide": 3.0})
    wide = writer.dense("wide", writer.input("features", 4), np.eye(4), np.zeros(4))
    with pytest.raises(ValueError, match="full scale"):
        writer.output("gains", wide)


@pytest.fixture(scope="module")
def checkpoint(recipe_path, data_dir, bank_dir, cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train(recipe_path, data_dir=data_dir, bank_dir=bank_dir, valid_bank=bank_dir, out=out, cache=cache, workers=0)
    return out / "checkpoint.pt"


def test_a_checkpoint_becomes_a_model_that_runs(checkpoint, data_dir, bank_dir, cache, tmp_path):
    out = tmp_path / "model.tflite"
    report = run_quantize(checkpoint, out, data_dir=data_dir, bank_dir=bank_dir, cache=cache)
    net = MaskNet(out)
    assert (
        report["snr_db"] > 50
        and report["stages"]["gains"] > 45
        and net.metadata["parameters"] > 0
        and net.metadata["steps"] == 20
    )
    assert [entry["origin"] for entry in net.metadata["data"]] == ["synthesized"] * 2


def test_a_file_is_compared_with_its_checkpoint_again(checkpoint, data_dir, bank_dir, cache, tmp_path):
    model = tmp_path / "model.tflite"
    run_quantize(checkpoint, model, data_dir=data_dir, bank_dir=bank_dir, quantization="int8", cache=cache)
    clip = next((data_dir / "speech/talkers").iterdir())
    report = run_verify(model, clip, weights=checkpoint)
    assert 25 < report["snr_db"] < 70 and report["stages"]["encode"] < 60
    with pytest.raises(EdgeEnhanceError, match=r"weights\.npz does not hold"):
        run_verify(model, clip)


def test_a_file_far_from_its_network_is_not_written(checkpoint, data_dir, bank_dir, cache, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeenhance.models.quantize.verify", lambda *_: {"snr_db": 20.0, "worst": 0.5})
    with pytest.raises(EdgeEnhanceError, match="20.0 dB"):
        run_quantize(checkpoint, tmp_path / "m.tflite", data_dir=data_dir, bank_dir=bank_dir, cache=cache)
    assert not list(tmp_path.iterdir())


def test_an_unknown_quantization_names_those_there_are(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="16x8"):
        run_quantize(checkpoint, tmp_path / "m.tflite", data_dir=".", bank_dir=".", quantization="int4")
