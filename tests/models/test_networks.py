"""Textbook networks: shapes and sizes as documented, no future where none is claimed, streams are the recordings."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

import edgeenhance.models
from edgeenhance import enhance, spectrograms
from edgeenhance._toml import load_toml, parse_toml
from edgeenhance.bands import Features, band_centers, band_power
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.features import signal as overlap_added
from edgeenhance.models.features import spectra
from edgeenhance.models.graph import rollout
from edgeenhance.models.losses import loss
from edgeenhance.models.network import make_network, parameter_count
from edgeenhance.models.networks import FAMILIES, load
from edgeenhance.models.networks.cost import macs_per_second
from edgeenhance.models.networks.front import FRONTS, LogPowers
from edgeenhance.models.networks.layers import CumulativeNorm, GlobalNorm, Memory
from edgeenhance.models.quantize import run_quantize
from edgeenhance.models.recipe import Recipe
from edgeenhance.models.train import train
from edgeenhance.profiles import PROFILES
from edgeenhance.stft import Stft

COMM = PROFILES["comm"]
SMALL = {  # sizes with which a family runs in milliseconds
    "dnn_0": {"width": 48},
    "dnn_1": {"bands": 16},
    "cnn_0": {"bands": 16, "filters": (6, 4)},
    "cnn_1": {"bands": 16},
    "unet_mel": {"channels": (4, 6, 8)},
    "unet_irm": {"channels": (4, 6, 8)},
    "unet_causal": {"channels": (6, 8, 10)},
    "blstm_mask": {"hidden": 20},
    "lstm_mask": {"bands": 24, "hidden": 20},
    "crnn": {"channels": (4, 6, 8, 8), "hidden": 24},
    "conv_tasnet": {"filters": 32, "width": 16, "hidden": 24, "skip": 16, "blocks": 3},
    "conv_tasnet_causal": {"filters": 32, "width": 16, "hidden": 24, "skip": 16, "blocks": 3},
    "attention_mask": {"bands": 24, "width": 16, "layers": 2, "past": 10},
}
CAUSAL = [name for name, family in FAMILIES.items() if make_network(name, **SMALL[name]).causal]
ON_DEVICE = ["dnn_1", "lstm_mask"]


def small(name: str, **sizes) -> torch.nn.Module:
    """A small network of a family, as after training: batch norms have statistics of their own."""
    torch.manual_seed(5)
    network = make_network(name, **SMALL[name] | sizes).train()
    with torch.no_grad():
        network(spectra(0.1 * torch.randn(3, 12000), network.profile))
    return network.eval()


def talking(rng: np.random.Generator, n: int) -> np.ndarray:
    """Noise in bursts, like syllables : (n,) float32."""
    return (0.1 * rng.standard_normal(n) * np.clip(np.sin(np.arange(n) / 900), 0.02, None)).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_docstring_says_how_many_parameters_there_are(name):
    assert f"{name}: {parameter_count(make_network(name)):,} parameters" in FAMILIES[name].__doc__


def test_a_dense_networks_multiplications_are_its_weights_once_a_hop():
    network = small("dnn_1")
    weights = sum(value.numel() for value in network.parameters() if value.ndim == 2)
    assert macs_per_second(network) == weights * COMM.sample_rate / COMM.hop


def test_convolutions_and_recurrences_count_too():
    network = small("conv_tasnet")
    frames = COMM.sample_rate / network.stride
    weights = sum(value.numel() for value in network.parameters() if value.ndim == 3)
    assert macs_per_second(network) == weights * frames
    lstm = small("lstm_mask")
    weights = sum(value.numel() for value in lstm.parameters() if value.ndim == 2)
    assert macs_per_second(lstm) == weights * COMM.sample_rate / COMM.hop


def test_the_causal_families():
    assert CAUSAL == ["dnn_1", "unet_causal", "lstm_mask", "crnn", "conv_tasnet_causal", "attention_mask"]
    assert make_network("dnn_0", future=0, width=8).causal


@pytest.mark.parametrize("name", FAMILIES)
def test_a_recording_keeps_its_length_and_gains_lie_in_0_1(name, rng):
    network = small(name)
    for n in (1, 511, 9000):
        assert network.enhance(talking(rng, n)).shape == (n,)
    gains, spectrum = network(spectra(torch.from_numpy(talking(rng, 9000))[None], COMM))
    assert gains.shape == spectrum.shape == (1, 35, 257)
    assert gains.min() >= 0 and gains.max() <= 1


@pytest.mark.parametrize("name", FAMILIES)
def test_training_and_whole_recordings_are_one(name, rng):
    network, x = small(name), talking(rng, 16 * 256)
    longer = np.pad(x, (0, 256))  # training's last hop is partial
    with torch.no_grad():
        gains, spectrum = network(spectra(torch.from_numpy(longer)[None], COMM))
    trained = overlap_added(gains * spectrum, COMM)[0, : len(x)].numpy()
    whole = network.enhance(longer if "tasnet" in name else x)[: len(x)]
    np.testing.assert_allclose(whole, trained, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_only_causal_networks_do_not_hear_the_future(name, rng):
    """The future is another one from sample 8000 on; what is out until then may differ by no more than rounding."""
    network, x = small(name), talking(rng, 12000)
    other = np.concatenate([x[:8000], talking(rng, 4000)])
    known = 8000 - (network.cell.delay if network.causal else COMM.analysis)
    differs = np.abs(network.enhance(x) - network.enhance(other))[: known // 256 * 256].max()
    assert (differs < 1e-6) == network.causal


@pytest.mark.parametrize("name", CAUSAL)
def test_a_stream_of_odd_blocks_is_the_whole_recording(name, rng):
    network, x = small(name), talking(rng, 20000)
    stream = network.stream()
    cuts = np.cumsum(rng.integers(0, 700, 40))
    blocks = np.split(np.concatenate([x, np.zeros(stream.latency, np.float32)]), cuts[cuts < len(x)])
    streamed = np.concatenate([stream.process(block) for block in blocks])[stream.latency :]
    whole = network.enhance(x)
    assert np.abs(whole).max() > 0.01
    np.testing.assert_allclose(streamed, whole, atol=1e-4 * np.abs(whole).max())
    stream.reset()
    np.testing.assert_allclose(stream.process(x)[stream.latency :], whole[: -stream.latency], atol=1e-5)


def test_a_network_that_is_not_causal_does_not_stream():
    with pytest.raises(ValueError, match="not causal"):
        small("unet_irm").stream()


def test_a_stream_mutes_bad_samples_and_recovers(rng):
    stream, x = small("conv_tasnet_causal").stream(), talking(rng, 4000)
    x[1000], x[1001] = np.nan, np.inf
    assert np.isfinite(stream.process(x)).all()


def test_batch_norms_of_the_dense_network_fold_into_its_graph(rng):
    """dnn_1 and lstm_mask on the device: one hop as a graph gives what the sequence gives."""
    for name in ON_DEVICE:
        network = small(name)
        features = rng.uniform(-1, 1, (2, 30, network.bands)).astype(np.float32)
        with torch.no_grad():
            sequence = network.mask(torch.from_numpy(features), Memory()).numpy()
        np.testing.assert_allclose(rollout(network, features).gains, sequence, atol=1e-5)


# ---- front ends ----


def test_device_bands_and_features_are_the_devices(rng):
    x = talking(rng, 256 * 60)
    front, log_powers = FRONTS["device"](40, COMM), LogPowers(COMM, causal=True)
    ours = log_powers(front(front.power(spectra(torch.from_numpy(x)[None], COMM))), Memory())[0].numpy()
    stft, features, centers = Stft(COMM), Features(COMM.hop / COMM.sample_rate), band_centers(40, COMM)
    for hop, row in enumerate(ours):
        spectrum = stft.analyze(x[256 * hop : 256 * (hop + 1)])
        np.testing.assert_allclose(row * 32768, features.update(band_power(spectrum, centers))[:40], atol=8)


def test_a_cochleagram_is_that_of_spectrograms(rng):
    x = talking(rng, 8000)
    front = FRONTS["cochleagram"](24, COMM)
    ours = front.power(spectra(torch.from_numpy(np.pad(x, (0, 512)))[None], COMM))[0].numpy()
    wanted = spectrograms.cochleagram(np.pad(x, (256, 0)).astype(float), 16000, 24, 512, 256)
    np.testing.assert_allclose(ours[: len(wanted) - 2], wanted[:-2], rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("name", FRONTS)
def test_gains_of_one_in_all_bands_are_gains_of_one_in_all_bins(name):
    front = FRONTS[name](24, COMM)
    torch.testing.assert_close(front.expand(torch.ones(1, 2, front.bands)), torch.ones(1, 2, COMM.bins))


def test_features_do_not_depend_on_the_level(rng):
    power = torch.from_numpy(rng.uniform(0.1, 1, (2, 20, 8)).astype(np.float32))
    for causal in (False, True):
        features = LogPowers(COMM, causal)
        torch.testing.assert_close(features(power, Memory()), features(1000 * power, Memory()), atol=1e-5, rtol=0)


def test_wrong_sizes_are_sentences():
    with pytest.raises(ValueError, match="40"):
        make_network("unet_mel", bands=200)
    with pytest.raises(ValueError, match="multiple"):
        make_network("conv_tasnet_causal", chunk=100)
    with pytest.raises(ValueError, match="cochleagram"):
        make_network("dnn_0", front="cochleagram", future=0)
    with pytest.raises(ValueError, match="bins, mel"):
        make_network("cnn_1", front="wavelets")
    with pytest.raises(ValueError, match="levels"):
        make_network("crnn", channels=(4,) * 9)


# ---- layers ----


def test_the_last_of_the_cumulative_norm_is_the_global_norm(rng):
    x = torch.from_numpy(rng.standard_normal((2, 6, 50)).astype(np.float32)) + 3
    one, other = CumulativeNorm(6)(x, Memory()), GlobalNorm(6)(x, Memory())
    torch.testing.assert_close(one[..., -1], other[..., -1], atol=1e-4, rtol=0)


# ---- training ----


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_learns(name, rng):
    """Noise in the lower half of the spectrum, a talker in the upper: thirty steps on one batch."""
    torch.manual_seed(2)
    network = make_network(name, **SMALL[name]).train()
    t = np.arange(6400) / 16000
    talker = np.stack([0.1 * np.sin(2 * np.pi * 5000 * t + k) * (np.sin(20 * t + k) > 0) for k in range(4)])
    noise = 0.1 * np.sin(2 * np.pi * rng.uniform(300, 2000, (4, 8))[..., None] * t).sum(1)
    clean, mixed = (spectra(torch.from_numpy(x.astype(np.float32)), COMM) for x in (talker, talker + noise))
    minimise = loss("si-sdr" if "tasnet" in name else "mask-irm", COMM)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(minimise(*network(mixed), clean))
        losses[-1].backward()
        assert all(parameter.grad is not None for parameter in network.parameters())
        optimizer.step()
    if "tasnet" in name:
        assert losses[-1] < losses[0] - 3  # dB
    else:
        assert losses[-1] < 0.7 * losses[0]


def textbook(recipe_path: Path, folder: Path, name: str, training: str) -> Path:
    """A recipe of a small network of a family, on one microphone."""
    table = load_toml(recipe_path)
    table |= {"profile": "comm", "network": {"name": name, **SMALL[name]}}
    table["training"] |= parse_toml(training)
    table["mixing"]["one_microphone"], table["validation"]["every_steps"] = 1.0, 3
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(table))
    return path


@pytest.fixture
def folders(data_dir, bank_dir, cache):
    return {"data_dir": data_dir, "bank_dir": bank_dir, "cache": cache}


def test_a_recipe_trains_a_family_and_an_interrupted_run_resumes_to_the_same_network(recipe_path, folders, tmp_path):
    recipe = textbook(recipe_path, tmp_path, "unet_causal", 'steps = 6\nema = 0.9\nloss = "mask-ibm"')
    run = {**folders, "valid_bank": folders["bank_dir"], "workers": 0}
    assert train(recipe, out=tmp_path / "whole", **run)

    def interrupt(record):
        if record["event"] == "valid" and record["step"] == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not train(recipe, out=tmp_path / "parts", report=interrupt, **run)
    assert train(recipe, out=tmp_path / "parts", resume=True, **run)
    one, other = (load(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts"))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert not one.training and one.coder.norms[0].num_batches_tracked == 6


@pytest.mark.parametrize("name", ON_DEVICE)
def test_what_runs_on_the_device_is_a_model_file(name, recipe_path, folders, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="the TFLite runtime and schema of LiteRT are not installed")
    recipe = textbook(recipe_path, tmp_path, name, "steps = 3")
    train(recipe, out=tmp_path / "run", **folders, valid_bank=folders["bank_dir"], workers=0)
    model = tmp_path / "model.tflite"
    report = run_quantize(tmp_path / "run/best.pt", model, **folders)
    assert report["snr_db"] > 40
    x = talking(np.random.default_rng(0), 16000)
    wanted = load(tmp_path / "run/best.pt").enhance(x)
    for backend in ("native", "litert"):
        got = enhance(x[:, None], 16000, "mono", profile="comm", beamformer="none", model=model, backend=backend)
        assert np.square(got - wanted).sum() < 1e-3 * np.square(wanted).sum()


def test_what_does_not_is_a_sentence(recipe_path, folders, tmp_path):
    recipe = textbook(recipe_path, tmp_path, "crnn", "steps = 1")
    train(recipe, out=tmp_path / "run", **folders, valid_bank=folders["bank_dir"], workers=0)
    with pytest.raises(EdgeEnhanceError, match="edgeenhance onnx"):
        run_quantize(tmp_path / "run/best.pt", tmp_path / "model.tflite", **folders)
    rounded = textbook(recipe_path, tmp_path, "crnn", "steps = 1\nrounded = true")
    with pytest.raises(EdgeEnhanceError, match="rounded"):
        train(rounded, out=tmp_path / "rounded", **folders, valid_bank=folders["bank_dir"], workers=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_a_recipe(name):
    recipe = Recipe.load(Path(edgeenhance.models.__path__[0]) / f"recipes/networks/{name}.toml")
    assert recipe.name == recipe.network["name"] == name and recipe.mixing.one_microphone == 1.0
    make_network(**recipe.network, profile=recipe.profile)
