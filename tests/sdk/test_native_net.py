"""The C engine against LiteRT's builtin kernels: the same integers, and the same interface as MaskNet."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime and schema of LiteRT are not installed")
pytest.importorskip("flatbuffers", reason="the extra `train` is not installed")

from edgeenhance import Enhancer, enhance
from edgeenhance.bands import SIGNALS
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.machine import cpu_features
from edgeenhance.masknet import MaskNet, zoo_names, zoo_path
from edgeenhance.nativenet import NativeNet
from edgeenhance.program import compile_model, write_program
from tests.small_nets import hops, lookup_net, small_net

ZOO = [f"{name}{variant}" for name in zoo_names() for variant in ("", ":int8")]
ZOO = [name for name in ZOO if zoo_path(name).is_file()]
# Without AVX2, LiteRT itself rounds the sums of matrix products otherwise.
exact = pytest.mark.skipif(
    "sse4_2" in cpu_features() and "avx2" not in cpu_features(),
    reason="LiteRT has other kernels for processors without AVX2",
)


def run(net, features):
    gains = np.zeros((len(features), net.bands), np.int16)
    for row, hop in zip(gains, features, strict=True):
        net.step(hop, row)
    return gains


@pytest.fixture
def saved(tmp_path):
    def save(content: bytes, name: str = "small.tflite"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return save


# ---- the same integers ----


@exact
@pytest.mark.parametrize("model", ZOO)
def test_zoo_models_give_the_gains_of_litert(model, rng):
    native, litert = NativeNet(model), MaskNet(model)
    features = hops(rng, native.bands, 2000)
    expected = run(litert, features)
    assert len(np.unique(expected)) > 100
    np.testing.assert_array_equal(run(native, features), expected)


@exact
@pytest.mark.parametrize("quantization", ["16x8", "int8"])
@pytest.mark.parametrize("seed", range(25))
def test_random_networks_give_the_gains_of_litert(saved, rng, seed, quantization):
    path = saved(small_net(seed, quantization)[0])
    native = NativeNet(path)
    features = hops(rng, native.bands, 300)
    np.testing.assert_array_equal(run(native, features), run(MaskNet(path), features))


@exact
@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
@pytest.mark.parametrize("limit", [1.0, 2.1, 4.0, 5.3, 8.0, 10.66, 16.0, 32.0, 2048.0])
def test_activations_of_every_integer_are_those_of_litert(saved, kind, limit):
    path = saved(lookup_net(limit, kind)[0])
    features = np.tile(np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 256), 4)
    expected = run(MaskNet(path), features)
    assert (np.diff(expected.ravel().astype(int)) >= -12).all()
    np.testing.assert_array_equal(run(NativeNet(path), features), expected)


@pytest.mark.parametrize("seed", range(5))
def test_float_networks_are_near_litert(saved, rng, seed):
    path = saved(small_net(seed, "float32")[0])
    native = NativeNet(path)
    features = hops(rng, native.bands, 300)
    np.testing.assert_allclose(run(native, features), run(MaskNet(path), features), atol=1)


# ---- the interface ----


def test_what_the_file_says_can_be_asked():
    native, litert = NativeNet(ZOO[0]), MaskNet(ZOO[0])
    for name in ("name", "profile", "bands", "signals"):
        assert getattr(native, name) == getattr(litert, name)
    np.testing.assert_array_equal(native.centers, litert.centers)
    assert native.metadata.items() <= litert.metadata.items()


def test_reset_forgets_the_signal(rng):
    native = NativeNet(ZOO[0])
    features = hops(rng, native.bands, 60)
    first = run(native, features)
    assert not np.array_equal(first, run(native, features))
    native.reset()
    np.testing.assert_array_equal(first, run(native, features))


def test_two_networks_do_not_share_states(rng):
    one, other = NativeNet(ZOO[0]), NativeNet(ZOO[0])
    features = hops(rng, one.bands, 60)
    run(other, features[::-1])
    np.testing.assert_array_equal(run(one, features), run(NativeNet(ZOO[0]), features))


def test_a_program_file_is_the_model(tmp_path, rng):
    write_program(compile_model(ZOO[0]), tmp_path / "m.eebin")
    native = NativeNet(tmp_path / "m.eebin")
    features = hops(rng, native.bands, 60)
    np.testing.assert_array_equal(run(native, features), run(NativeNet(ZOO[0]), features))
    assert Enhancer("bte-2x2", model=tmp_path / "m.eebin")._mask.name == native.name


def test_memory_is_small():
    for model in ZOO:
        assert NativeNet(model).memory < 4096


def test_wrong_arrays_are_sentences():
    native = NativeNet(ZOO[0])
    features, gains = np.zeros(SIGNALS * native.bands, np.int16), np.zeros(native.bands, np.int16)
    for wrong in ((features[1:], gains), (features, gains[1:]), (features.astype(float), gains)):
        with pytest.raises(ValueError, match="int16"):
            native.step(*wrong)


def test_files_that_cannot_be_run_are_sentences(saved, tmp_path):
    content = compile_model(ZOO[0])
    changed = bytearray(content)
    changed[5000] ^= 1
    for bad, match in (
        (saved(content[:-4], "a.eebin"), "cut short"),
        (saved(bytes(changed), "b.eebin"), "changed"),
        (saved(b"RIFFWAVE", "c.eebin"), "not a program"),
        (tmp_path / "absent.eebin", "absent"),
        (tmp_path / "absent.tflite", "absent"),
        ("nobody", "choose one of"),
    ):
        with pytest.raises(EdgeEnhanceError, match=match):
            NativeNet(bad)


# ---- in the chain ----


@exact
@pytest.mark.parametrize("model", ["assist-s", "assist-s:int8"])
def test_both_backends_give_the_same_samples(rng, model):
    noise = rng.standard_normal((16000, 1)) * np.sin(np.arange(16000) / 2000)[:, None]
    x = (0.1 * noise + 0.005 * rng.standard_normal((16000, 4))).astype(np.float32)
    outputs = [enhance(x, 16000, "bte-2x2", model=model, ears="both", backend=name) for name in ("native", "litert")]
    assert np.abs(outputs[0]).max() > 0.001
    np.testing.assert_array_equal(*outputs)


def test_reset_of_the_enhancer_resets_the_network(rng):
    x = (0.1 * rng.standard_normal((8000, 4))).astype(np.float32)
    enhancer = Enhancer("bte-2x2", model="assist-s")
    first = enhancer.process(x)
    enhancer.reset()
    np.testing.assert_array_equal(first, enhancer.process(x))


def test_the_kernel_calls_the_network_without_python(rng, monkeypatch):
    def step(*_):
        raise AssertionError("a call to Python")

    monkeypatch.setattr(NativeNet, "step", step)
    x = (0.1 * rng.standard_normal((4000, 4))).astype(np.float32)
    enhancer = Enhancer("bte-2x2", model="assist-s")
    enhancer.process(x)
    assert 0 < enhancer.status.gain < 1


def test_an_unknown_backend_is_a_sentence():
    with pytest.raises(ValueError, match="native, litert"):
        Enhancer("bte-2x2", backend="gpu")
