"""Names of systems: what each does to a scene, and which file a model's precision is."""

import warnings

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")

from edgeenhance import EdgeEnhanceError, enhance
from edgeenhance.classical import suppress
from edgeenhance.masknet import read_model, zoo_names, zoo_path
from edgeenhance.simulation import systems
from edgeenhance.simulation.scene import draw
from edgeenhance.simulation.systems import system

SCENE = draw({
    "seed": 3,
    "duration_s": 1.0,
    "room": {"dimensions_m": [5.0, 4.0, 2.6], "rt60_s": 0.2},
    "array": {"name": "bte-2x2", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 0.0, "ear": "right"},
    "talkers": [{"distance_m": 1.0}],
    "noises": [{"kind": "white", "azimuth_deg": 120.0}],
})  # fmt: skip
ZOO = zoo_names()[0]


@pytest.fixture(scope="module")
def mix():
    return SCENE.render().mix


def test_noisy_is_the_reference_microphone_of_the_scenes_ear(mix):
    assert np.array_equal(system("noisy")(mix, SCENE, 0.0), mix[:, SCENE.array.ear("right")])


def test_a_beam_of_none_is_the_reference_microphone(mix):
    error = system("none")(mix, SCENE, 0.0)[2000:-2000] - mix[2000:-2000, SCENE.reference]
    assert np.abs(error).max() < 1e-4 * np.abs(mix).max()


def test_a_classical_method_hears_the_reference_microphone_or_stands_in_the_chain(mix):
    alone, chained = (system(name)(mix, SCENE, 0.0) for name in ("wiener", "superdirective+wiener"))
    assert np.array_equal(alone, suppress(mix[:, SCENE.reference], 16000, "wiener"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        settings = {"beamformer": "superdirective", "model": "wiener", "ears": "right"}
        assert np.array_equal(chained, enhance(mix, 16000, SCENE.array, **settings))


def test_a_chain_is_steered(mix):
    front, side = (system("superdirective")(mix, SCENE, look) for look in (0.0, 60.0))
    assert not np.allclose(front, side)


@pytest.mark.parametrize(
    "name, parts",
    [
        ("mvdr", ("mvdr", "none")),
        ("mvdr+assist-m:int8", ("mvdr", "assist-m:int8")),
        ("none+/a/b.tflite", ("none", "/a/b.tflite")),
    ],
)
def test_a_name_is_a_beam_and_a_model(name, parts):
    assert systems.beam_and_model(name) == parts


def test_a_model_without_a_suffix_is_16x8():
    assert systems.model_and_precision("assist-m") == ("assist-m", "16x8")
    assert systems.model_and_precision("assist-m:float") == ("assist-m", "float")
    assert systems.model_and_precision("C:/m.tflite") == ("C:/m.tflite", "16x8")


def test_precisions_are_files():
    assert systems.model_file("none") == "none"
    assert systems.model_file(ZOO) == str(zoo_path(ZOO))
    assert systems.model_file(f"{ZOO}:int8") == str(zoo_path(ZOO).with_name("model.int8.tflite"))


def test_the_float_file_is_the_zoo_model_before_rounding(mix, tmp_path):
    pytest.importorskip("torch")
    name = f"mvdr+{ZOO}:float"
    systems.write_floats([f"mvdr+{ZOO}", "noisy", name], tmp_path)
    (path,) = tmp_path.iterdir()
    assert read_model(path)[1]["quantization"] == "float32"
    exact, rounded = system(name, floats=tmp_path)(mix, SCENE, 0.0), system(f"mvdr+{ZOO}")(mix, SCENE, 0.0)
    assert 0 < np.sum((exact - rounded) ** 2) < 1e-3 * np.sum(exact**2)


def test_a_model_runs_in_its_own_profile():
    for name in zoo_names():
        assert systems.profile_of(name) == read_model(zoo_path(name))[1]["profile"]
    assert systems.profile_of("none") == "assist"


@pytest.mark.parametrize(
    "name, error, words",
    [
        ("no-such", ValueError, "unknown beamformer"),
        ("mvdr+no-such", EdgeEnhanceError, "unknown model"),
        ("gtcrn", ValueError, "--peers"),
        (f"mvdr+{ZOO}:float", ValueError, "write_floats"),
    ],
)
def test_what_cannot_run_is_a_sentence(name, error, words, mix):
    with pytest.raises(error, match=words):
        system(name)(mix, SCENE, 0.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a run of lstm_mask that has not begun."""
    torch = pytest.importorskip("torch", reason="the extra `train` is not installed")
    from edgeenhance.models.recipe import Recipe
    from edgeenhance.models.train import Trainer

    table = {"name": "tiny", "licence": "MIT", "profile": "comm", "network": {"name": "lstm_mask", "hidden": 8}}
    recipe = Recipe.from_table(table | {"training": {"steps": 1}, "speech": [], "noise": []}, "here")
    path = tmp_path_factory.mktemp("run") / "best.pt"
    Trainer(recipe, torch.device("cpu")).save(path)
    return path


def test_a_network_of_ones_own_hears_the_reference_microphone_or_the_beam(mix, checkpoint, tmp_path):
    pytest.importorskip("onnxscript", reason="the extra `onnx` is not installed")
    from edgeenhance.models.networks import load
    from edgeenhance.models.onnx_export import run_onnx

    run_onnx(checkpoint, tmp_path / "tiny.onnx")
    wanted = load(checkpoint).enhance(mix[:, SCENE.reference])
    behind = load(checkpoint).enhance(system("superdirective")(mix, SCENE, 0.0))
    for file in (checkpoint, tmp_path / "tiny.onnx"):
        systems.check_system(str(file))
        assert systems.latency_ms(str(file)) == 32.0 and systems.latency_ms(f"superdirective+{file}") == 40.0
        np.testing.assert_allclose(system(str(file))(mix, SCENE, 0.0), wanted, atol=1e-5)
        np.testing.assert_allclose(system(f"superdirective+{file}")(mix, SCENE, 0.0), behind, atol=1e-5)


def test_systems_that_are_no_chain():
    for name in ("noisy", "wiener", "gtcrn", "superdirective+dtln", "run/best.pt", "mvdr+run/my.onnx"):
        assert not systems.is_chain(name)
    for name in ("mvdr", "none", "superdirective+wiener", f"mvdr+{ZOO}:int8@litert"):
        assert systems.is_chain(name)


def test_files_of_networks_in_a_systems_name():
    assert systems.network_files("superdirective+wiener") == systems.network_files("noisy") == []
    assert [path.name for path in systems.network_files("run/best.pt")] == ["best.pt"]
    assert systems.network_files(f"mvdr+{ZOO}:int8") == [zoo_path(f"{ZOO}:int8")]
