"""Training: the loss falls, an interrupted run resumes to the same network, wrong recipes are sentences."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import edgeenhance.models
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.curves import plot_curves
from edgeenhance.models.recipe import Recipe
from edgeenhance.models.train import Trainer, load_checkpoint, network_from_checkpoint, train
from edgeenhance.models.validate import ValidationSet


@pytest.fixture
def folders(data_dir, bank_dir, cache):
    return {"data_dir": data_dir, "bank_dir": bank_dir, "valid_bank": bank_dir, "cache": cache, "workers": 0}


def records(out, event):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines if line["event"] == event]


def changed(recipe_path, folder, old, new):
    """A copy of the recipe with one line replaced."""
    text, path = recipe_path.read_text(), folder / "changed.toml"
    path.write_text(text.replace(old, new))
    return path


def test_the_loss_falls(recipe_path, recipe, mixtures):
    trainer = Trainer(recipe, torch.device("cpu"))
    items = [mixtures[index] for index in range(4)]
    batch = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    losses = [trainer.step(batch) for _ in range(15)]
    assert losses[-1] < 0.9 * losses[0]


EVERYTHING = """
seed = 7
optimizer = "adamw"
weight_decay = 0.01
schedule = "plateau"
patience = 1
dropout = 0.1
ema = 0.9
early_stop = 9
loss = { compressed-spectrum = 1.0, si-sdr = 0.01 }
"""


@pytest.mark.parametrize("keys", ["seed = 7", EVERYTHING], ids=["default", "everything"])
def test_an_interrupted_run_resumes_to_the_same_network(recipe_path, keys, folders, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    recipe_path = changed(recipe_path, tmp_path, "seed = 7", keys)
    recipe_path = changed(recipe_path, tmp_path, "every_steps = 10", "every_steps = 5")  # between two training records
    assert train(recipe_path, out=whole, **folders)

    def interrupt(record):
        if record["event"] == "valid" and record["step"] == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not train(recipe_path, out=parts, report=interrupt, **folders)
    assert load_checkpoint(parts / "checkpoint.pt")["done"] == 5 and not (parts / "weights.npz").exists()
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


def test_a_run_that_gets_no_better_stops_early_and_keeps_its_best(recipe_path, folders, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.2])
    monkeypatch.setattr(ValidationSet, "scores", lambda self, network: {"loss": next(losses)})
    recipe_path = changed(recipe_path, tmp_path, "every_steps = 10", "every_steps = 2")
    recipe_path = changed(recipe_path, tmp_path, "seed = 7", "early_stop = 2")
    assert train(recipe_path, out=tmp_path / "run", **folders)
    best, last = (load_checkpoint(tmp_path / "run" / name) for name in ("best.pt", "checkpoint.pt"))
    assert (best["done"], last["done"]) == (4, 8)
    with np.load(tmp_path / "run/weights.npz") as kept:
        for name, value in best["network"].items():
            np.testing.assert_array_equal(kept[name], value.numpy())
    assert train(recipe_path, out=tmp_path / "run", resume=True, **folders)  # there is nothing left to do
    assert load_checkpoint(tmp_path / "run/checkpoint.pt")["done"] == 8


def test_a_killed_run_leaves_half_a_line_that_resuming_drops(recipe_path, folders, tmp_path):
    train(recipe_path, out=tmp_path, minutes=0.0, **folders)
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"event": "tr')
    train(recipe_path, out=tmp_path, minutes=0.0, resume=True, **folders)
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["start", "stopped"] * 2


def test_a_validation_draws_the_curves(recipe_path, folders, tmp_path):
    pytest.importorskip("matplotlib")
    recipe_path = changed(recipe_path, tmp_path, "every_steps = 10", "every_steps = 1")
    train(recipe_path, out=tmp_path / "run", minutes=0.0, **folders)
    assert (tmp_path / "run/curves.png").read_bytes().startswith(b"\x89PNG")
    figure = plot_curves([{"event": "train", "step": 1, "loss": 0.5}, {"event": "valid", "step": 1, "pesq": None}])
    assert [axes.get_title() for axes in figure.axes] == ["loss", "ESTOI", "PESQ (WB)"]


def test_without_matplotlib_one_notice_replaces_the_curves(recipe_path, folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    recipe_path = changed(recipe_path, tmp_path, "every_steps = 10", "every_steps = 5")
    assert train(recipe_path, out=tmp_path / "run", **folders)
    assert not (tmp_path / "run/curves.png").exists()
    (notice,) = records(tmp_path / "run", "notice")
    assert "edgeenhance[eval]" in notice["text"]


def test_fine_tuning_begins_with_the_weights_given(recipe_path, folders, tmp_path):
    train(recipe_path, out=tmp_path / "first", **folders)
    weights = tmp_path / "first" / "weights.npz"
    still = changed(recipe_path, tmp_path, "learning_rate = ", "learning_rate = 0.0 # ")
    train(still, out=tmp_path / "tuned", weights=weights, **folders)
    with np.load(weights) as before, np.load(tmp_path / "tuned" / "weights.npz") as after:
        for name in before.files:
            np.testing.assert_array_equal(before[name], after[name])


def test_weights_of_another_network_are_refused(recipe_path, folders, tmp_path):
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    for path in (tmp_path / "other.npz", tmp_path / "missing.npz"):
        with pytest.raises(EdgeEnhanceError, match="does not hold weights of the recipe's network"):
            train(recipe_path, out=tmp_path / "run", weights=path, **folders)


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
    assert [entry["licence"] for entry in state["sources"]] == ["CC0", "CC0"]


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


def test_a_recipe_replaces_keys_of_its_base(recipe_path, recipe, tmp_path):
    (tmp_path / "base.toml").write_text(recipe_path.read_text())
    own = tmp_path / "own.toml"
    own.write_text('base = "base.toml"\nname = "own"\n[network]\nhidden = 20\n')
    changed = Recipe.load(own)
    assert changed.name == "own" and changed.network == recipe.network | {"hidden": 20}
    assert (changed.training, changed.speech) == (recipe.training, recipe.speech)


def test_a_base_has_no_base(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('base = "own.toml"\n')
    with pytest.raises(EdgeEnhanceError, match="has a base itself"):
        Recipe.load(own)


def test_the_zoo_recipes_load_and_use_only_free_data():
    recipes = sorted(Path(edgeenhance.models.__path__[0]).glob("zoo/*/recipe.toml"))
    assert recipes
    for path in recipes:
        recipe = Recipe.load(path)
        folders = {source.folder for source in recipe.speech + recipe.noise}
        assert recipe.name == path.parent.name and not folders & {"gcompris_pd_bysa", "tascar"}
        assert all(source.licence and source.origin for source in recipe.speech + recipe.noise)
