"""The torch twin of the device's spectra and features against the kernel."""

import numpy as np
import pytest
import torch

from edgeenhance.bands import Features, band_centers, band_power, expand_gains
from edgeenhance.models.features import Bands, signal, spectra, to_float
from edgeenhance.profiles import PROFILES
from edgeenhance.stft import Stft, stft_reference
from tests.conftest import level_db


@pytest.fixture(params=PROFILES)
def profile(request):
    return PROFILES[request.param]


@pytest.fixture
def x(rng):
    return (0.1 * rng.standard_normal(16000) * np.repeat(rng.uniform(0.01, 1, 16), 1000)).astype(np.float32)


def test_spectra_are_those_of_the_device(profile, x):
    ours = spectra(torch.from_numpy(x), profile).numpy()
    stft = Stft(profile)
    hops = x[: len(ours) * profile.hop].reshape(-1, profile.hop)
    device = np.stack([stft.analyze(hop) for hop in hops])
    assert level_db(ours - device, device) < -110
    assert level_db(ours - stft_reference(x, profile), device) < -110


def test_spectra_of_several_channels_are_each_channels_own(profile, x):
    both = spectra(torch.from_numpy(np.stack([x, 0.5 * x[::-1].copy()])), profile)
    torch.testing.assert_close(both[0], spectra(torch.from_numpy(x), profile))


def test_signal_undoes_spectra_without_delay(profile, x):
    back = signal(spectra(torch.from_numpy(x), profile), profile).numpy()
    whole = slice(0, len(back) - profile.synthesis)
    assert level_db(back[whole] - x[whole], x[whole]) < -100


def test_features_match_the_kernel_within_one_step(profile, x, rng):
    centers = band_centers(32, profile)
    beam = spectra(torch.from_numpy(x), profile)
    noise = spectra(torch.from_numpy(0.3 * rng.standard_normal(len(x)).astype(np.float32)), profile)
    bands = Bands(centers, profile)
    signals = [beam, noise, 0.5 * beam, beam + noise]
    ours = bands.features(*(bands.power(s) for s in signals)).numpy()
    device = Features(profile.hop / profile.sample_rate)
    hops = zip(*(s.numpy() for s in signals), strict=True)
    theirs = np.stack([device.update(*(band_power(s, centers) for s in hop)) for hop in hops])
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 2 and np.mean(difference > 0) < 0.1


def test_one_microphone_puts_the_other_signals_at_the_floor(profile, x):
    bands = Bands(band_centers(16, profile), profile)
    features = bands.features(bands.power(spectra(torch.from_numpy(x), profile)))
    assert (features[:, 16:] == -32768).all() and (features[:, :16] > -32768).any()


def test_features_do_not_depend_on_input_gain(profile, x):
    bands = Bands(band_centers(16, profile), profile)
    loud, quiet = (bands.features(bands.power(spectra(torch.from_numpy(g * x), profile))) for g in (1.0, 0.01))
    assert (loud.int() - quiet.int()).abs().max() <= 1


def test_gains_expand_as_on_the_device(profile, rng):
    centers = band_centers(24, profile)
    gains = rng.random(24).astype(np.float32)
    ours = Bands(centers, profile).expand(torch.from_numpy(gains)).numpy()
    np.testing.assert_allclose(ours, expand_gains(gains, centers, profile.bins), atol=2e-6)


def test_q15_becomes_minus_one_to_one():
    assert to_float(torch.tensor([-32768, 0, 16384], dtype=torch.int16)).tolist() == [-1.0, 0.0, 0.5]
