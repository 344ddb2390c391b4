"""Bands and features of the kernel against their NumPy definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeenhance.bands import Features, band_centers, band_matrix, band_power, expand_gains, features_reference
from edgeenhance.kernel import lib
from edgeenhance.profiles import PROFILES
from tests.conftest import level_db

ASSIST = PROFILES["assist"]


@given(st.integers(2, 256))
def test_centres_rise_from_the_first_to_the_last_bin(bands):
    centers = band_centers(bands, ASSIST)
    assert len(centers) == bands and centers[0] == 0 and centers[-1] == 256
    assert (np.diff(centers) >= 1).all()


def test_bands_are_fine_where_speech_has_its_harmonics():
    centers = band_centers(64, ASSIST)
    widths = np.diff(centers)
    assert widths[:15].max() == 1 and widths[-1] > 8


@pytest.mark.parametrize("bands", [0, 1, 300])
def test_an_impossible_number_of_bands_is_refused(bands):
    with pytest.raises(ValueError, match="takes 2 to"):
        band_centers(bands, ASSIST)


@given(st.integers(2, 200), st.integers(0, 2**32 - 1))
def test_kernel_equals_the_band_matrix(bands, seed):
    rng = np.random.default_rng(seed)
    centers, T = band_centers(bands, ASSIST), band_matrix(band_centers(bands, ASSIST), 257)
    X, gains = rng.standard_normal(257) + 1j * rng.standard_normal(257), rng.random(bands)
    power = T @ np.abs(X) ** 2 / T.sum(1)
    assert level_db(band_power(X, centers) - power, power) <= -120
    assert level_db(expand_gains(gains, centers, 257) - T.T @ gains, gains) <= -120


def test_equal_gains_stay_equal():
    np.testing.assert_array_equal(expand_gains(np.ones(64), band_centers(64, ASSIST), 257), 1)


@given(st.floats(2.0**-126, 2.0**127, width=32))
def test_log2_needs_no_libm(x):
    assert abs(lib.ee_log2(x) - np.log2(np.float64(x))) <= 4e-6 * max(1, abs(np.log2(x)) / 100)


def powers(rng: np.random.Generator, hops: int = 300, bands: int = 64) -> np.ndarray:
    return np.exp2(rng.normal(-10, 6, (hops, bands)))


@pytest.mark.parametrize("signals", [4, 1], ids=["array", "one microphone"])
def test_features_equal_their_definition(signals, rng):
    heard = [powers(rng) for _ in range(signals)]
    kernel = Features(0.004)
    got = [kernel.update(*hop) for hop in zip(*heard, strict=True)]
    assert np.abs(np.array(got) - features_reference(0.004, *heard)).max() <= 1


@given(st.floats(-60, 6))
def test_features_do_not_depend_on_the_input_level(gain_db):
    beam, noise = np.split(powers(np.random.default_rng(1), 50, 128), 2, axis=1)
    loud, quiet = Features(0.004), Features(0.004)
    for one, other in zip(beam, noise, strict=True):
        gain = 10 ** (gain_db / 10)
        difference = loud.update(one, other).astype(int) - quiet.update(one * gain, other * gain)
        assert np.abs(difference).max() <= 2


def test_one_microphone_puts_the_other_signals_at_the_floor(rng):
    assert (Features(0.004).update(powers(rng)[0])[64:] == -32768).all()
