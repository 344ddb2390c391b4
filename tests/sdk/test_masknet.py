"""Mask networks at run time: states, resets, and files that are damaged, foreign or of another profile."""

import hashlib
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime and schema of LiteRT are not installed")
pytest.importorskip("flatbuffers", reason="the extra `train` is not installed")

from edgeenhance import masknet
from edgeenhance.bands import SIGNALS
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import MaskNet, read_model, runtime_name, seal, zoo_names, zoo_path
from edgeenhance.models.tflite_writer import Writer

BANDS = 4
METADATA = {
    "format": 1,
    "name": "leaky",
    "profile": "assist",
    "sample_rate": 16000,
    "analysis": 512,
    "synthesis": 128,
    "bands": BANDS,
    "centers": [0, 10, 100, 256],
    "features": "log2-level-16",
    "quantization": "16x8",
    "states": [BANDS],
}


def leaky(metadata: dict = METADATA, quantized: bool = True, state: int = BANDS, signals: int = 2) -> bytes:
    """A network of one state: h' = h / 2 + the beam's features / 4, gains = sigmoid(8 h')."""
    writer = Writer("16x8" if quantized else "float32", {})
    x, h = writer.input("features", signals * BANDS), writer.input("h0", state)
    weight = np.concatenate([0.25 * np.eye(BANDS, signals * BANDS), 0.5 * np.eye(BANDS, state)], axis=1)
    following = writer.dense("next", writer.concat("xh", [x, h]), weight, np.zeros(BANDS), limit=1.0)
    gains = writer.sigmoid(writer.dense("sharp", following, 8 * np.eye(BANDS), np.zeros(BANDS), limit=8.0))
    writer.output("gains", gains)
    writer.output("h0_next", following)
    text = json.dumps(metadata).encode()
    return seal(writer.finish("step", {"edgeenhance": text}), text)


@pytest.fixture(scope="module")
def content():
    return leaky()


@pytest.fixture
def path(tmp_path, content):
    (tmp_path / "m.tflite").write_bytes(content)
    return tmp_path / "m.tflite"


def run(net, hops):
    gains = np.zeros((len(hops), net.bands), np.int16)
    for row, features in zip(gains, hops, strict=True):
        net.step(features, row)
    return gains


def expected(hops):
    """The leaky network in float."""
    h, out = np.zeros(BANDS), []
    for features in hops:
        h = 0.5 * h + 0.25 * features[:BANDS] / 32768
        out.append(1 / (1 + np.exp(-8 * h)))
    return np.array(out)


@pytest.mark.parametrize("quantization", ["16x8", "float32"])
def test_states_are_fed_back_from_hop_to_hop(tmp_path, rng, quantization):
    file = tmp_path / "m.tflite"
    file.write_bytes(leaky({**METADATA, "quantization": quantization}, quantization == "16x8"))
    hops = rng.integers(-32768, 32768, (50, SIGNALS * BANDS)).astype(np.int16)
    np.testing.assert_allclose(run(MaskNet(file), hops) / 32768, expected(hops), atol=2e-3)


@pytest.mark.parametrize("signals", range(1, SIGNALS + 1))
def test_a_network_hears_the_first_signals_only(tmp_path, rng, signals):
    file = tmp_path / "m.tflite"
    file.write_bytes(leaky({**METADATA, "signals": signals}, signals=signals))
    hops = rng.integers(-32768, 32768, (20, SIGNALS * BANDS)).astype(np.int16)
    net = MaskNet(file)
    assert net.signals == signals
    np.testing.assert_allclose(run(net, hops) / 32768, expected(hops), atol=2e-3)


def test_a_file_that_does_not_say_hears_two_signals(path):
    assert MaskNet(path).signals == 2


def test_every_tensor_of_a_hop_can_be_looked_at(path, rng):
    net, hops = MaskNet(path, inspect=True), rng.integers(-32768, 32768, (1, SIGNALS * BANDS)).astype(np.int16)
    gains, tensors = run(net, hops), net.tensors()
    np.testing.assert_allclose(tensors["h0_next"], 0.25 * hops[:, :BANDS] / 32768, atol=2e-3)
    np.testing.assert_array_equal(tensors["gains"], gains / 32768)


def test_reset_forgets_the_signal(path, rng):
    hops = rng.integers(-32768, 32768, (20, SIGNALS * BANDS)).astype(np.int16)
    net = MaskNet(path)
    first = run(net, hops)
    assert not np.array_equal(first, run(net, hops))
    net.reset()
    np.testing.assert_array_equal(first, run(net, hops))


def test_two_networks_from_one_file_do_not_share_states(path, rng):
    hops = rng.integers(-32768, 32768, (20, SIGNALS * BANDS)).astype(np.int16)
    one, other = MaskNet(path), MaskNet(path)
    run(other, hops[::-1])
    np.testing.assert_array_equal(run(one, hops), run(MaskNet(path), hops))


def test_what_the_file_says_can_be_asked(path):
    net = MaskNet(path)
    assert (net.name, net.profile, net.bands, net.centers.tolist()) == ("leaky", "assist", 4, [0, 10, 100, 256])
    assert net.centers.dtype == np.int16 and net.metadata == METADATA


# ---- files that are not what they should be ----


@given(data=st.data())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_anywhere_is_a_sentence(tmp_path, content, data):
    at = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(len(content) - 60, len(content) - 1)))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    (tmp_path / "x.tflite").write_bytes(changed)
    with pytest.raises(EdgeEnhanceError, match=r"x\.tflite"):
        MaskNet(tmp_path / "x.tflite")


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_short_or_with_a_tail_is_a_sentence(tmp_path, content, data):
    length = data.draw(st.one_of(st.integers(0, len(content) - 1), st.integers(0, 64)))
    tail = data.draw(st.binary(min_size=1, max_size=64))
    for changed in (content[:length], content + tail, content[length:]):
        if changed == content:
            continue
        (tmp_path / "x.tflite").write_bytes(changed)
        with pytest.raises(EdgeEnhanceError):
            MaskNet(tmp_path / "x.tflite")


def reseal(body: bytes, offset: int, length: int) -> bytes:
    located = body + struct.pack("<II", offset, length)
    return located + hashlib.sha256(located).digest() + masknet.MAGIC


@pytest.mark.parametrize(("offset", "length"), [(0, 0), (0, 50), (1 << 31, 10), (4, (1 << 32) - 1)])
def test_a_sealed_file_that_points_at_no_metadata_is_a_sentence(tmp_path, path, offset, length):
    body, _ = read_model(path)
    (tmp_path / "x.tflite").write_bytes(reseal(body, offset, length))
    with pytest.raises(EdgeEnhanceError, match="metadata"):
        MaskNet(tmp_path / "x.tflite")


def test_a_sealed_file_that_is_no_flatbuffer_is_a_sentence(tmp_path):
    text = json.dumps(METADATA).encode()
    (tmp_path / "x.tflite").write_bytes(seal(b"RIFFWAVE" + text, text))
    with pytest.raises(EdgeEnhanceError, match="damaged"):
        MaskNet(tmp_path / "x.tflite")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"profile": "hi-fi"}, "profile"),
        ({"sample_rate": 48000}, "sample_rate is 48000, expected 16000"),
        ({"synthesis": 512}, "synthesis"),
        ({"format": 2}, "format"),
        ({"features": "mel"}, "features"),
        ({"quantization": "int4"}, "quantization"),
        ({"centers": [0, 10, 10, 256]}, "centers"),
        ({"centers": [0, 10, 100, 300]}, "centers"),
        ({"centers": [0, 10, 256]}, "centers"),
        ({"centers": None}, "metadata"),
        ({"profile": ["assist"]}, "metadata"),
        ({"states": [0]}, "states"),
        ({"name": 3}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"format": True}, "format"),
        ({"bands": float(BANDS)}, "bands is"),
        ({"bands": 257, "centers": list(range(257))}, "expected 2 to 256"),
        ({"signals": 2.0}, "signals is 2.0, expected 1 to 4"),
        ({"states": [True]}, "states"),
        ({"states": {}}, "states"),
        ({"signals": 0}, "signals is 0"),
        ({"signals": 3}, "features"),
        ({"states": [BANDS + 1]}, "h0"),
        ({"states": [BANDS, BANDS]}, "tensors"),
        ({"bands": 3, "centers": [0, 10, 256]}, "features"),
        ({"quantization": "float32"}, "int16"),
    ],
)
def test_metadata_that_does_not_fit_is_a_sentence(tmp_path, change, match):
    (tmp_path / "x.tflite").write_bytes(leaky({**METADATA, **change}))
    with pytest.raises(EdgeEnhanceError, match=match) as raised:
        MaskNet(tmp_path / "x.tflite")
    assert "\n" not in str(raised.value)


def test_metadata_nested_too_deeply_is_a_sentence(tmp_path):
    body = b"\0\0\0\0TFL3" + b"[" * 100000
    (tmp_path / "x.tflite").write_bytes(reseal(body, 8, 100000))
    with pytest.raises(EdgeEnhanceError, match="metadata"):
        read_model(tmp_path / "x.tflite")


def test_missing_metadata_is_named(tmp_path):
    (tmp_path / "x.tflite").write_bytes(leaky({key: value for key, value in METADATA.items() if key != "bands"}))
    with pytest.raises(EdgeEnhanceError, match="lacks 'bands'"):
        MaskNet(tmp_path / "x.tflite")


def test_a_plain_tflite_file_is_refused_with_the_cure(tmp_path, path):
    body, _ = read_model(path)
    (tmp_path / "x.tflite").write_bytes(body)
    with pytest.raises(EdgeEnhanceError, match="edgeenhance quantize"):
        MaskNet(tmp_path / "x.tflite")


def test_a_missing_file_a_folder_and_an_unknown_name_are_sentences(tmp_path):
    for model, match in (
        (tmp_path / "absent.tflite", "absent"),
        (tmp_path, "cannot read"),
        ("nobody", "choose one of"),
    ):
        with pytest.raises(EdgeEnhanceError, match=match):
            MaskNet(model)


# ---- runtimes and the zoo ----


def test_without_a_runtime_the_sentence_says_what_to_install(path, monkeypatch):
    monkeypatch.setattr(masknet, "RUNTIMES", ("no_such_runtime",))
    assert runtime_name() is None
    with pytest.raises(EdgeEnhanceError, match='edgeenhance\\[litert\\].*backend="native"'):
        MaskNet(path)


def test_the_runtime_in_use_can_be_asked():
    assert runtime_name() in ("ai_edge_litert", "tflite_runtime")


def test_every_zoo_model_runs():
    names = [name for zoo in zoo_names() for name in (zoo, f"{zoo}:int8") if zoo_path(name).is_file()]
    for name in names:
        net = MaskNet(name)
        gains = np.full(net.bands, -1, np.int16)
        net.step(np.zeros(SIGNALS * net.bands, np.int16), gains)
        assert net.name == name.partition(":")[0] and (gains >= 0).all()


@pytest.mark.parametrize("variant", ["float16", "int4"])
def test_a_variant_that_is_none_is_a_sentence(variant):
    with pytest.raises(EdgeEnhanceError, match=":int8"):
        zoo_path(f"{zoo_names()[0]}:{variant}")


def test_finding_the_zoo_imports_no_training_code():
    code = (
        "import sys; from edgeenhance.masknet import zoo_names; zoo_names(); print('edgeenhance.models' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
