"""Training: the loss falls, an interrupted run resumes to the same network, wrong recipes are sentences."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import edgeenhance.models
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.recipe import Recipe
from edgeenhance.models.train import Trainer, load_checkpoint, network_from_checkpoint, train


@pytest.fixture
def folders(data_dir, bank_dir, cache):
    return {"data_dir": data_dir, "bank_dir": bank_dir, "valid_bank": bank_dir, "cache": cache, "workers": 0}


def records(out, event):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines if line["event"] == event]


def test_the_loss_falls(recipe_path, recipe, mixtures):
    trainer = Trainer(recipe, torch.device("cpu"))
    items = [mixtures[index] for index in range(4)]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    losses = [trainer.step(batch) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]


def test_an_interrupted_run_resumes_to_the_same_network(recipe_path, folders, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(recipe_path, out=whole, **folders)

    def interrupt(record):
        if record["event"] == "train" and record["step"] == 10:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not train(recipe_path, out=parts, report=interrupt, **folders)
    assert load_checkpoint(parts / "checkpoint.pt")["done"] == 10 and not (parts / "weights.npz").exists()
    assert train(recipe_path, out=parts, resume=True, **folders)
    for event in ("train", "valid"):
        assert records(whole, event) == records(parts, event)
    with np.load(whole / "weights.npz") as first, np.load(parts / "weights.npz") as second:
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_after_its_minutes_a_run_stops_and_saves(recipe_path, folders, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    assert not train(recipe_path, out=tmp_path, minutes=0.0, **folders)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["done"] == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_run_is_not_overwritten_by_accident(recipe_path, folders, tmp_path):
    train(recipe_path, out=tmp_path, minutes=0.0, **folders)
    with pytest.raises(EdgeEnhanceError, match="--resume"):
        train(recipe_path, out=tmp_path, minutes=0.0, **folders)


def test_a_checkpoint_of_another_recipe_is_refused(recipe_path, recipe, folders, tmp_path):
    train(recipe_path, out=tmp_path, minutes=0.0, **folders)
    other = tmp_path / "other.toml"
    other.write_text(recipe_path.read_text().replace("seed = 7", "seed = 8"))
    with pytest.raises(EdgeEnhanceError, match="another recipe"):
        train(other, out=tmp_path, resume=True, **folders)


def test_the_learning_rate_warms_up_and_ends_at_zero(recipe):
    trainer = Trainer(recipe, torch.device("cpu"))
    rates = [trainer.rate(step) for step in range(recipe.training.steps + 1)]
    assert rates[0] < rates[2] and max(rates) <= recipe.training.learning_rate and rates[-1] < 1e-9


def test_a_checkpoint_holds_the_network(recipe_path, folders, tmp_path):
    train(recipe_path, out=tmp_path, minutes=0.0, **folders)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    network = network_from_checkpoint(state)
    assert sum(value.numel() for value in network.state_dict().values()) > 0
    assert [entry["licence"] for entry in state["manifest"]] == ["CC0", "CC0"]


def test_what_is_no_checkpoint_is_a_sentence(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"nothing of the kind")
    for path in (tmp_path / "x.pt", tmp_path / "absent.pt"):
        with pytest.raises(EdgeEnhanceError, match=path.name):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (("steps = 20", "stepz = 20"), "stepz"),
        (("steps = 20", ""), "steps"),
        (('profile = "assist"', 'profile = "hi-fi"'), "hi-fi"),
        (('licence = "CC0"', ""), "licence"),
        (("seconds = 0.5", "secondz = 0.5"), "secondz"),
        (('name = "tiny"', ""), "name"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(recipe_path, tmp_path, wrong, match):
    path = tmp_path / "wrong.toml"
    path.write_text(recipe_path.read_text().replace(*wrong, 1))
    with pytest.raises(EdgeEnhanceError, match=match):
        Recipe.load(path)


def test_the_recipe_survives_the_checkpoint(recipe):
    assert Recipe.from_table(recipe.as_table(), "the table") == recipe


def test_the_zoo_recipes_load_and_use_only_free_data():
    recipes = sorted(Path(edgeenhance.models.__path__[0]).glob("zoo/*/recipe.toml"))
    assert recipes
    for path in recipes:
        recipe = Recipe.load(path)
        folders = {source.folder for source in recipe.speech + recipe.noise}
        assert recipe.name == path.parent.name and not folders & {"gcompris_pd_bysa", "tascar"}
        assert all(source.licence and source.origin for source in recipe.speech + recipe.noise)
