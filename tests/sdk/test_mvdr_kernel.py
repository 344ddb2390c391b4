"""Covariance and MVDR weights of the kernel against float64 NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeenhance.beamform import mvdr_weights
from edgeenhance.kernel import from_planar, lib, pack_hermitian, pointer, to_planar, unpack_hermitian
from tests.conftest import level_db


def kernel_weights(R, d, prior, weight, skip=0, first=0, count=None):
    bins, mics = d.shape
    w = np.zeros((mics, 2, bins), np.float32)
    lib.ee_mvdr_weights(
        pointer(pack_hermitian(R)), pointer(pack_hermitian(prior)), weight, pointer(to_planar(d.T)), skip,
        mics, bins, first, bins if count is None else count, pointer(w),
    )  # fmt: skip
    return from_planar(w).T


def covariance(rng, bins, mics, condition):
    """Random Hermitian matrices of the given condition number, on random levels."""
    noise = rng.standard_normal((bins, mics, mics)) + 1j * rng.standard_normal((bins, mics, mics))
    Q = np.linalg.qr(noise)[0]
    values = np.geomspace(1, 1 / condition, mics)
    level = 10 ** rng.uniform(-12, 4, (bins, 1, 1))
    return level * (Q * values) @ Q.conj().swapaxes(1, 2)


def steering(rng, bins, mics):
    d = np.exp(2j * np.pi * rng.random((bins, mics)))
    return d / d[:, :1]


@given(st.integers(2, 16), st.sampled_from([17, 33, 257]), st.integers(0, 2**32 - 1))
def test_weights_are_accurate_to_90_db_at_condition_100(mics, bins, seed):
    rng = np.random.default_rng(seed)
    R, d, prior = covariance(rng, bins, mics, 100), steering(rng, bins, mics), np.tile(np.eye(mics), (bins, 1, 1))
    exact = mvdr_weights(R, d, prior, 1e-6)
    got = kernel_weights(R, d, prior, 1e-6)
    assert level_db(got - exact, exact) <= -90
    np.testing.assert_allclose(np.sum(got.conj() * d, 1), 1, atol=1e-4)


@pytest.mark.parametrize("mics", [2, 4, 16])
def test_singular_covariances_never_give_nan(mics, rng):
    d = steering(rng, 257, mics)
    x = steering(rng, 257, mics)
    for R in (np.zeros((257, mics, mics)), x[:, :, None] * x[:, None].conj(), 1e30 * np.ones((257, mics, mics))):
        w = kernel_weights(R, d, np.zeros((257, mics, mics)), 0.1)
        assert np.isfinite(w).all()


def test_no_noise_heard_yet_gives_the_superdirective_beam(rng):
    d, prior = steering(rng, 257, 4), covariance(rng, 257, 4, 50)
    prior /= np.trace(prior, axis1=1, axis2=2)[:, None, None].real / 4
    exact = mvdr_weights(prior, d, prior, 1e-9)
    assert level_db(kernel_weights(np.zeros_like(prior), d, prior, 0.1) - exact, exact) <= -90


def test_a_left_out_microphone_has_no_weight_and_the_rest_stay_distortionless(rng):
    R, d, prior = covariance(rng, 257, 4, 50), steering(rng, 257, 4), np.tile(np.eye(4), (257, 1, 1))
    w = kernel_weights(R, d, prior, 0.1, skip=0b0100)
    assert (w[:, 2] == 0).all()
    np.testing.assert_allclose(np.sum(w.conj() * d, 1), 1, atol=1e-4)


@pytest.mark.parametrize(("first", "count"), [(0, 33), (33, 33), (231, 26), (256, 1)])
def test_only_the_asked_bins_are_written(first, count, rng):
    R, d, prior = covariance(rng, 257, 3, 10), steering(rng, 257, 3), np.tile(np.eye(3), (257, 1, 1))
    w, everything = kernel_weights(R, d, prior, 0.1, first=first, count=count), kernel_weights(R, d, prior, 0.1)
    np.testing.assert_array_equal(w[first : first + count], everything[first : first + count])
    assert not np.delete(w, np.s_[first : first + count], axis=0).any()


@given(st.integers(1, 16), st.integers(0, 2**32 - 1))
def test_covariance_is_the_recursive_mean(mics, seed):
    rng = np.random.default_rng(seed)
    rate = rng.random(65).astype(np.float32)
    planes, exact = np.zeros((mics * mics, 65), np.float32), np.zeros((65, mics, mics), complex)
    for _ in range(20):
        x = rng.standard_normal((65, mics)) + 1j * rng.standard_normal((65, mics))
        lib.ee_covariance_update(pointer(planes), pointer(to_planar(x.T)), pointer(rate), mics, 65)
        exact += rate[:, None, None] * (x[:, :, None] * x[:, None].conj() - exact)
    assert level_db(unpack_hermitian(planes) - exact, exact) <= -120


def test_a_covariance_that_rounding_left_indefinite_gives_delay_and_sum_not_nan():
    """Found by tests/fuzz: a sound at full scale ends, and a time constant below a hop forgets it at once."""
    bins, rng = 17, np.random.default_rng(0)
    R = np.zeros((bins, 3, 3), complex)
    R[:, 0, 0], R[:, 1, 1], R[:, 2, 2] = 1.7e-28, 7.9e-27, 6.4e-14
    R[:, 1, 0], R[:, 2, 0], R[:, 2, 1] = 0.6, -2.6e-8 - 6.2e-8j, -2.6e-8 - 6.2e-8j
    R += np.tril(R[0], -1).conj().T
    d, prior = steering(rng, bins, 3), np.tile(1.01 * np.eye(3), (bins, 1, 1))
    np.testing.assert_allclose(kernel_weights(R, d, prior, 0.01), d / 3, atol=1e-6)
    assert np.isfinite(kernel_weights(R, d, prior, 0.01, skip=0b010)).all()
