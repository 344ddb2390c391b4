"""Dynamic mixing: reproducible items, what is in them, and the adapting beam."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.bank import Bank
from edgeenhance.models.data import batches
from edgeenhance.profiles import PROFILES
from tests.conftest import level_db


def collect(mixtures, workers):
    return list(batches(mixtures, range(4, 12), 2, workers))


def test_items_are_the_same_whatever_the_number_of_workers(mixtures):
    alone, two = collect(mixtures, 0), collect(mixtures, 2)
    assert len(alone) == len(two) == 4
    for ours, theirs in zip(alone, two, strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


def test_items_have_the_shapes_that_training_expects(mixtures):
    item = mixtures[0]
    assert item["features"].shape == (125, 64) and item["features"].dtype == torch.int16
    assert item["beam"].shape == item["target"].shape == (125, 257) and item["beam"].dtype == torch.complex64


def test_different_indices_and_seeds_are_different_items(mixtures):
    assert not torch.equal(mixtures[0]["beam"], mixtures[1]["beam"])
    assert not torch.equal(mixtures[0]["beam"], replace(mixtures, seed=8)[0]["beam"])


def test_some_items_have_one_microphone(mixtures):
    floor = [bool((mixtures[index]["features"][:, 16:] == -32768).all()) for index in range(40)]
    assert 0.15 < np.mean(floor) < 0.8  # the share of the recipe, and the bank's single-microphone scene


def with_mixing(mixtures, **changes):
    return replace(mixtures, mixing=replace(mixtures.mixing, **changes))


def test_clean_items_come_out_of_the_beam_as_they_went_in(mixtures):
    quiet = with_mixing(mixtures, clean=1.0, noise_only=0.0, adaptive=0.0, gain_db=0.0, sensor_db=(80.0, 80.0))
    items = [quiet[index] for index in range(12)]
    errors = [level_db((item["beam"] - item["target"]).numpy(), item["target"].numpy()) for item in items]
    assert np.median(errors) < -3  # what is left is the room behind the early part, and the look error


def test_items_of_noise_alone_have_no_target(mixtures):
    item = with_mixing(mixtures, clean=0.0, noise_only=1.0)[3]
    assert not item["target"].abs().any() and item["beam"].abs().any()


def test_input_levels_lie_in_the_range(mixtures):
    fixed = with_mixing(mixtures, level_db=(-30.0, -30.0), one_microphone=1.0)
    beam = fixed[2]["beam"]
    window = 256  # sum of the squared analysis window
    rms = 10 * np.log10(float(beam.abs().square().mean()) / window)
    assert abs(rms + 30) < 2


def test_a_folder_that_is_no_bank_says_how_to_make_one(tmp_path):
    (tmp_path / "bank.toml").write_text("format = 1\nsample_rate = 8000\n")
    with pytest.raises(EdgeEnhanceError, match="edgeenhance simulate"):
        Bank(tmp_path, PROFILES["assist"], tmp_path)
    (tmp_path / "bank.toml").write_text("format = 1\nsample_rate = 16000\n")
    with pytest.raises(EdgeEnhanceError, match="no scenes"):
        Bank(tmp_path, PROFILES["assist"], tmp_path)
    (tmp_path / "scene_00000.npz").write_bytes(b"PK damaged")
    with pytest.raises(EdgeEnhanceError, match="simulate it again"):
        Bank(tmp_path, PROFILES["assist"], tmp_path).scene(0)
