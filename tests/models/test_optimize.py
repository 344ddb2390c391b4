"""Optimizers, schedules, averaged weights and patience: what they do, and that all of it resumes exactly."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.features import Bands, to_float
from edgeenhance.models.losses import compressed_spectrum
from edgeenhance.models.network import make_network
from edgeenhance.models.optimize import OPTIMIZERS, Average, Progress, learning_rate
from edgeenhance.models.recipe import Recipe, Training
from edgeenhance.models.train import Trainer, load_checkpoint, network_from_checkpoint

# Losses by step of the default keys on `noise_batch`, from when Adam with cosine was all there was.
FIRST_LOSSES = {0: 0.497963, 4: 0.491586, 9: 0.486103, 14: 0.485975, 19: 0.485712}


def noise_batch(seed=5, hops=30):
    rng = np.random.default_rng(seed)
    shape = (2, 2, hops, 257)
    beam, target = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)
    features = rng.integers(-32768, 32768, (2, hops, 32)).astype(np.int16)
    return {"features": torch.from_numpy(features), "beam": torch.from_numpy(beam), "target": torch.from_numpy(target)}


def trainer_of(recipe, **keys):
    return Trainer(replace(recipe, training=replace(recipe.training, **keys)), torch.device("cpu"))


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def test_the_default_keys_train_as_they_always_did(recipe):
    trainer, batch = trainer_of(recipe), noise_batch()
    losses = [trainer.step(batch) for _ in range(20)]
    assert [losses[step] for step in FIRST_LOSSES] == pytest.approx(list(FIRST_LOSSES.values()), abs=5e-5)


def test_the_default_keys_are_adam_with_warm_up_cosine_and_clipping(recipe):
    trainer, batch, training = trainer_of(recipe), noise_batch(), recipe.training
    torch.manual_seed(training.seed)
    network, bands = make_network(**recipe.network), Bands(recipe.centers, recipe.profile)
    adam = torch.optim.Adam(network.parameters())
    for step in range(5):
        warmup = min(1.0, (step + 1) / training.warmup)
        rate = training.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / training.steps))
        adam.param_groups[0]["lr"] = rate
        gains = bands.expand(network(to_float(batch["features"])))
        adam.zero_grad()
        compressed_spectrum(gains, batch["beam"], batch["target"]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), training.clip)
        adam.step()
        trainer.step(batch)
    assert torch.equal(weights(trainer.network), weights(network))


@pytest.mark.parametrize(
    "keys",
    [
        *({"optimizer": name, "weight_decay": 0.01} for name in OPTIMIZERS),
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "rmsprop", "momentum": 0.9},
        {"schedule": "plateau", "patience": 1},
        {"schedule": "constant", "ema": 0.9},
        {"dropout": 0.3, "ema": 0.99},
        {"loss": {"compressed-spectrum": 1.0, "si-sdr": 0.01, "estoi": 0.1, "mask-psm": 0.1}},
    ],
    ids=lambda keys: " ".join(str(value) for value in keys.values()),
)
def test_an_interrupted_run_is_an_uninterrupted_one(recipe, keys, tmp_path):
    losses = [3.0, 4.0, 2.0, 5.0, 6.0, 7.0]  # of validations

    def go_on(trainer):
        while trainer.done < 6:
            trainer.step(noise_batch(trainer.done, hops=120))
            trainer.progress.update(losses[trainer.done - 1], trainer.recipe.training.patience)
            if trainer.done == 3:
                trainer.save(tmp_path / "checkpoint.pt")
        return trainer

    whole, resumed = go_on(trainer_of(recipe, **keys)), trainer_of(recipe, **keys)
    torch.rand(5)  # what else drew random numbers meanwhile does not matter
    resumed.restore(tmp_path / "checkpoint.pt")
    assert resumed.done == 3 and not torch.equal(weights(resumed.network), weights(whole.network))
    go_on(resumed)
    assert torch.equal(weights(resumed.network), weights(whole.network))
    assert torch.equal(weights(resumed.result), weights(whole.result))
    assert (resumed.progress, resumed.recent, resumed.rate(6)) == (whole.progress, whole.recent, whole.rate(6))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(recipe, name):
    rate = {"sgd": 5.0}.get(name, 1e-2)
    trainer, batch = trainer_of(recipe, optimizer=name, learning_rate=rate, schedule="constant"), noise_batch()
    losses = [trainer.step(batch) for _ in range(15)]
    assert losses[-1] < losses[0] - 0.005


def test_weight_decay_shrinks_the_weights(recipe):
    norms = []
    for decay in (0.0, 1.0):
        trainer = trainer_of(recipe, optimizer="adamw", weight_decay=decay)
        for _ in range(5):
            trainer.step(noise_batch())
        norms.append(float(weights(trainer.network).norm()))
    assert norms[1] < norms[0]


def test_schedules_after_the_warm_up():
    cosine, plateau, constant = (
        [
            learning_rate(Training(steps=100, warmup=2, learning_rate=1.0, schedule=name), step, 2)
            for step in (0, 50, 100)
        ]
        for name in ("cosine", "plateau", "constant")
    )
    assert cosine == pytest.approx([0.5, 0.5, 0.0], abs=1e-3)
    assert plateau == [0.125, 0.25, 0.25] and constant == [0.5, 1.0, 1.0]


def test_progress_counts_validations_without_a_new_lowest_loss():
    progress = Progress()
    news = [progress.update(loss, patience=2) for loss in (3.0, 2.0, 2.5, None, 2.0, 1.0, 4.0)]
    assert news == [True, True, False, False, False, True, False]
    assert progress == Progress(best=1.0, stale=1, reductions=1)


def test_averaged_weights_follow_the_definition():
    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network, 0.5)
    mean = network.weight.item()
    for step, value in enumerate([1.0, -2.0, 5.0, 3.0, 0.0, 7.0, 9.0, 8.0, 2.0], 1):
        torch.nn.init.constant_(network.weight, value)
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * value
    assert average.network.weight.item() == pytest.approx(mean, rel=1e-5)


def test_statistics_of_a_batch_norm_are_taken_over_as_they_are():
    network = torch.nn.BatchNorm1d(2)
    average = Average(network, 0.9)
    network(torch.randn(50, 2) + 3)
    average.update(network, 1)
    assert torch.equal(average.network.running_mean, network.running_mean) and network.running_mean.min() > 0.1


def test_the_averaged_weights_are_the_result_and_what_a_checkpoint_deploys(recipe, tmp_path):
    trainer = trainer_of(recipe, ema=0.9)
    for _ in range(3):
        trainer.step(noise_batch())
    trainer.save(tmp_path / "checkpoint.pt")
    deployed = network_from_checkpoint(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert torch.equal(weights(deployed), weights(trainer.result))
    assert not torch.equal(weights(deployed), weights(trainer.network))


def test_dropout_is_for_training_alone(recipe):
    batch = noise_batch()
    plain, dropping = trainer_of(recipe), trainer_of(recipe, dropout=0.5)
    features = to_float(batch["features"])
    assert torch.equal(plain.result(features), dropping.result(features))
    assert plain.step(batch) != dropping.step(batch)


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('optimizer = "lion"', "adam, adamw, sgd, rmsprop"),
        ('schedule = "linear"', "cosine, plateau, constant"),
        ("momentum = 0.9", "sgd or rmsprop"),
        ("dropout = 1.0", "dropout = 1.0"),
        ("ema = 1.5", "ema = 1.5"),
        ("weight_decay = -1", "weight_decay = -1"),
        ("factor = 2.0", "factor = 2.0"),
        ("patience = 0", "patience = 0"),
        ("early_stop = -1", "early_stop = -1"),
        ('rounded = "int4"', "16x8, int8"),
        ('rounded = "int8"\ndropout = 0.1', "no dropout"),
        ('loss = "mse"', "compressed-spectrum"),
        ("loss = { si-sdr = 1.0, polqa = 1.0 }", "polqa.*si-sdr"),
    ],
)
def test_a_wrong_key_of_training_is_one_sentence(recipe_path, tmp_path, line, match):
    path = tmp_path / "wrong.toml"
    path.write_text(recipe_path.read_text().replace("seed = 7", line))
    with pytest.raises(EdgeEnhanceError, match=match):
        Recipe.load(path)
