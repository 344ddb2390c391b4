"""The models that come with the package: what a card promises, read from the files."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime of LiteRT is not installed")

from edgeenhance.enhancer import DEFAULT_MODELS
from edgeenhance.masknet import MaskNet, read_model, zoo_names, zoo_path
from edgeenhance.models.quantize import write_float_twin
from edgeenhance.models.recipe import Recipe

MOST_PARAMETERS = {"s": 60_000, "m": 300_000}
names = pytest.mark.parametrize("name", zoo_names())


def gains(model, features):
    net, out = MaskNet(model), []
    for row in features:
        out.append(np.zeros(net.bands, np.int16))
        net.step(row, out[-1])
    return np.array(out) / 32768


def test_every_profile_has_a_model():
    assert {read_model(zoo_path(name))[1]["profile"] for name in DEFAULT_MODELS.values()} == set(DEFAULT_MODELS)


@names
def test_the_name_says_profile_and_size(name):
    metadata = read_model(zoo_path(name))[1]
    profile, size = name.split("-")
    assert metadata["name"] == name and metadata["profile"] == profile
    assert metadata["parameters"] <= MOST_PARAMETERS[size]


@names
def test_licence_and_data_are_in_the_file(name):
    metadata = read_model(zoo_path(name))[1]
    assert metadata["licence"] == "MIT" and all(entry["licence"] for entry in metadata["data"])


@names
def test_recipes_and_card_lie_beside_it(name):
    folder = zoo_path(name).parent
    recipes = [Recipe.load(path) for path in Path(folder).glob("*.toml")]
    metadata = read_model(zoo_path(name))[1]
    assert any(recipe.network == metadata["network"] for recipe in recipes)
    assert name in (folder / "CARD.md").read_text(encoding="utf-8")


@names
def test_the_int8_variant_and_the_float_twin_follow_it(name, rng, tmp_path):
    write_float_twin(zoo_path(name), tmp_path / "float.tflite")
    bands = MaskNet(name).bands
    slow = np.cumsum(rng.normal(0, 300, (300, 4 * bands)), axis=0)
    features = np.clip(slow + rng.normal(0, 3000, slow.shape), -32768, 32767).astype(np.int16)
    wanted = gains(tmp_path / "float.tflite", features)
    for variant, least_db in (("", 30), (":int8", 15)):
        error = gains(zoo_path(name + variant), features) - wanted
        assert 10 * np.log10(np.mean(wanted**2) / np.mean(error**2)) > least_db
