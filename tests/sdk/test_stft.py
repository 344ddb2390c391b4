"""FFT and STFT of the kernel against float64 NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeenhance.profiles import PROFILES
from edgeenhance.stft import Fft, Stft, istft_reference, stft_reference, windows
from tests.conftest import level_db

PROFILE = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
LENGTH = pytest.mark.parametrize("n", [32, 64, 128, 256, 512, 1024, 2048])


@LENGTH
def test_fft_is_accurate_to_125_db(n, rng):
    x = rng.standard_normal(n).astype(np.float32)
    exact = np.fft.rfft(x.astype(np.float64))
    assert level_db(Fft(n).forward(x) - exact, exact) <= -125


@LENGTH
def test_inverse_fft_undoes_the_forward_one(n, rng):
    x, fft = rng.standard_normal(n).astype(np.float32), Fft(n)
    assert level_db(fft.inverse(fft.forward(x)) - x, x) <= -125


@given(st.integers(0, 10), st.sampled_from([32, 512, 2048]))
def test_fft_of_a_sinusoid_is_one_line(cycles, n):
    x = np.cos(2 * np.pi * cycles * np.arange(n) / n)
    expected = np.zeros(n // 2 + 1)
    expected[cycles] = n if cycles == 0 else n / 2
    np.testing.assert_allclose(Fft(n).forward(x), expected, atol=1e-6 * n)


@pytest.mark.parametrize("n", [0, 16, 48, 500, 4096, -512])
def test_fft_refuses_other_lengths(n):
    with pytest.raises(ValueError, match="powers of two from 32 to 2048"):
        Fft(n)


@PROFILE
def test_windows_overlap_add_to_one(profile):
    analysis, synthesis = windows(profile)
    product = analysis[-profile.synthesis :] * synthesis
    np.testing.assert_allclose(product[: profile.hop] + product[profile.hop :], 1, atol=1e-12)


@PROFILE
def test_analysis_equals_the_reference(profile, rng):
    x = rng.standard_normal(40 * profile.hop)
    stft = Stft(profile)
    spectra = np.array([stft.analyze(hop) for hop in x.reshape(-1, profile.hop)])
    exact = stft_reference(x.astype(np.float32).astype(float), profile)
    assert level_db(spectra - exact, exact) <= -125


@PROFILE
def test_synthesis_reconstructs_the_input_late_by_synthesis_minus_hop(profile, rng):
    x = rng.standard_normal(60 * profile.hop).astype(np.float32)
    stft, late = Stft(profile), profile.synthesis - profile.hop
    y = np.concatenate([stft.synthesize(stft.analyze(hop)) for hop in x.reshape(-1, profile.hop)])
    assert level_db(y[late:] - x[: len(x) - late], x) <= -110
    assert level_db(y - istft_reference(stft_reference(x, profile), profile), y) <= -110


@PROFILE
def test_wrong_sizes_are_refused(profile):
    stft = Stft(profile)
    with pytest.raises(ValueError, match="expected"):
        stft.analyze(np.zeros(profile.hop + 1))
    with pytest.raises(ValueError, match="expected"):
        stft.synthesize(np.zeros(profile.bins - 1))
