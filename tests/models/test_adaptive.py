"""Training items behind the adaptive beam: what the kernel itself computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeenhance.bands import Features, band_power
from edgeenhance.beamform import Mvdr
from edgeenhance.models.adaptive import IdealMask, adapt
from edgeenhance.models.features import spectra
from tests.conftest import level_db


def observed(mixtures, index, **changes):
    return replace(mixtures, mixing=replace(mixtures.mixing, one_microphone=0.0, **changes))[index]


@pytest.fixture(scope="module")
def arrays(mixtures):
    """Indices of items with an array."""
    items = [observed(mixtures, index, adaptive=0.0)["features"] for index in range(12)]
    bands = len(mixtures.bands.centers)
    return [index for index, features in enumerate(items) if (features[:, bands:] > -32768).any()]


def test_the_features_are_those_of_the_beam(mixtures, arrays):
    item = observed(mixtures, arrays[0], adaptive=1.0)
    profile, centers = mixtures.bands.profile, mixtures.bands.centers
    device = Features(profile.hop / profile.sample_rate)
    ours = [device.update(band_power(y, centers))[: len(centers)] for y in item["beam"].numpy() if y.any()]
    kept = item["features"][item["beam"].abs().sum(1) > 0, : len(centers)]
    assert np.abs(np.array(ours, int) - kept.numpy()).max() <= 1


def test_the_beam_finds_the_noise(mixtures, rng):
    """A point source that no beam was designed for, heard by each microphone with another delay."""
    scene, profile = mixtures.bank.scene(0), mixtures.bands.profile
    beams, hops = mixtures.bank.beams(0, scene, 0), 400
    noise = rng.standard_normal(hops * profile.hop + 40)
    sound = np.stack([noise[3 * mic : 3 * mic + hops * profile.hop] for mic in range(scene.array.mics)], axis=1)
    sound += 0.05 * rng.standard_normal(sound.shape)
    mask = IdealMask(np.zeros((hops, profile.bins), np.complex64), mixtures.bands, 1.0)
    adapt(np.ascontiguousarray(sound, np.float32), mask, beams, scene.reference, Mvdr())
    microphones = spectra(torch.from_numpy(sound.T.astype(np.float32)), profile).numpy()
    fixed = np.sum(beams.weights.conj()[:, None] * microphones, axis=0)
    assert level_db(mask.beam[200:], fixed[200:]) < -6


def test_items_repeat_to_the_bit(mixtures, arrays):
    one, other = (observed(mixtures, arrays[0], adaptive=1.0) for _ in range(2))
    assert torch.equal(one["beam"], other["beam"]) and torch.equal(one["features"], other["features"])


def test_hops_that_the_kernel_does_not_show_stay_empty(mixtures):
    scene = mixtures.bank.scene(0)
    beams = mixtures.bank.beams(0, scene, 0)
    hop, bins = mixtures.bands.profile.hop, mixtures.bands.profile.bins
    x = np.random.default_rng(1).standard_normal((20 * hop, scene.array.mics)).astype(np.float32)
    x[10 * hop : 15 * hop] = 0
    mask = IdealMask(np.ones((20, bins), np.complex64), mixtures.bands, 1.0)
    adapt(x, mask, beams, scene.reference, Mvdr())
    assert mask.shown.tolist() == [True] * 10 + [False] * 5 + [True] * 5
    assert not mask.features[10:15].any() and not mask.beam[10:15].any()
