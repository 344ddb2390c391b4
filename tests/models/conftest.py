"""A training set small enough for a test: synthesized talkers and noises, and a bank of impulse responses."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")
soundfile = pytest.importorskip("soundfile", reason="the extra `files` is not installed")

from edgeenhance.arrays import MicArray  # noqa: E402
from edgeenhance.models.recipe import Recipe  # noqa: E402

RATE = 16000

RECIPE = """
name = "tiny"
licence = "MIT"
profile = "assist"

[network]
name = "gru-mask"
bands = 16
hidden = 12
dense = 12

[training]
steps = 20
batch = 2
warmup = 2
learning_rate = 1e-2
seed = 7

[mixing]
seconds = 0.5
one_microphone = 0.3

[bank]
looks = 2

[validation]
items = 1
seconds = 1.0
every_steps = 10
held_out = 0.4

[[speech]]
folder = "talkers"
origin = "synthesized"
licence = "CC0"
group = "^(\\\\d+)-"

[[noise]]
folder = "noises"
origin = "synthesized"
licence = "CC0"
group = "^(\\\\w+)_"
exclude = ["secret*"]
"""


def talk(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Harmonics of a gliding pitch, switched on and off like syllables."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * t))) / RATE
    tone = sum(np.sin(k * phase) / k for k in range(1, 20))
    return (0.05 * tone * np.clip(np.sin(2 * np.pi * rng.uniform(2, 4) * t), 0, None)).astype(np.float32)


def hiss(rng: np.random.Generator, seconds: float) -> np.ndarray:
    return (0.05 * rng.standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """speech/talkers: 8 talkers with 2 clips each · noise/noises: 6 recordings in 2 parts, and an excluded one."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(1)
    (root / "speech/talkers").mkdir(parents=True)
    (root / "noise/noises").mkdir(parents=True)
    for talker in range(8):
        for clip in range(2):
            soundfile.write(root / f"speech/talkers/{talker}-{clip}.wav", talk(rng, 0.7), RATE)
    for noise in range(6):
        for part in range(2):
            soundfile.write(root / f"noise/noises/n{noise}_{part}.flac", hiss(rng, 1.0), RATE)
    soundfile.write(root / "noise/noises/secret_0.wav", hiss(rng, 1.0), RATE)
    return root


@pytest.fixture(scope="session")
def bank_dir(tmp_path_factory) -> Path:
    """Five scenes: two hearing aids four times, with and without diffuse responses, and one single microphone."""
    root, rng = tmp_path_factory.mktemp("bank"), np.random.default_rng(2)
    (root / "bank.toml").write_text("format = 1\nseed = 0\nsample_rate = 16000\ncount = 5\n")
    for number in range(5):
        array = MicArray.load("mono" if number == 4 else "bte-2x2")
        np.savez(root / f"scene_{number:05d}.npz", **scene(rng, array, diffuse=number % 2 == 0))
    return root


def scene(rng: np.random.Generator, array: MicArray, diffuse: bool, sources: int = 3, taps: int = 400) -> dict:
    """Arrays of a scene file: a direct path and a decaying tail per source and microphone."""
    decay = 0.05 * np.exp(-np.arange(taps) / 80)
    rir = rng.standard_normal((sources, array.mics, taps)) * decay
    rir[:, :, 40] += 1
    early = rir[0, 0].copy()
    early[300:] = 0
    scale = 1 / np.sqrt(np.sum(early**2))
    out = {
        "rir": (rir * scale).astype(np.float16),
        "early": (early * scale)[:300].astype(np.float16),
        "kind": np.array(["target"] + ["point"] * (sources - 1)),
        "array_toml": array.to_toml(),
        "look_deg": 10.0,
        "reference": 0,
        "onset": 40,
        "rt60": 0.2,
        "distances": np.ones(sources),
        "azimuths_deg": np.zeros(sources),
    }
    if diffuse:
        out["diffuse"] = (rng.standard_normal((4, array.mics, 200)) * decay[:200]).astype(np.float16)
    return out


@pytest.fixture(scope="session")
def recipe_path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def recipe(recipe_path) -> Recipe:
    return Recipe.load(recipe_path)


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def mixtures(recipe, data_dir, bank_dir, cache):
    return recipe.mixtures(data_dir, bank_dir, cache)
