"""Losses against their definitions."""

import numpy as np
import pytest
import torch

from edgeenhance.models.losses import compressed_spectrum, loss


def spectrum(rng, *shape):
    return torch.from_numpy((rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64))


def by_definition(gains, beam, target):
    level = beam.abs().square().mean((1, 2), keepdim=True).sqrt()
    estimate, wanted = gains * beam / level, target / level
    small, large = estimate.abs() ** 0.3, wanted.abs() ** 0.3
    phases = torch.polar(small, estimate.angle()) - torch.polar(large, wanted.angle())
    return (0.7 * (small - large).square() + 0.3 * phases.abs().square()).mean()


def test_compressed_spectrum_is_its_definition(rng):
    beam, target = spectrum(rng, 2, 9, 5), spectrum(rng, 2, 9, 5)
    gains = torch.from_numpy(rng.random((2, 9, 5)).astype(np.float32)) + 0.01
    torch.testing.assert_close(
        compressed_spectrum(gains, beam, target), by_definition(gains, beam, target), rtol=2e-3, atol=1e-5
    )


def test_the_right_gains_cost_nothing_and_wrong_ones_do(rng):
    beam = spectrum(rng, 1, 20, 7)
    half = torch.full((1, 20, 7), 0.5)
    assert compressed_spectrum(half, beam, 0.5 * beam) < 1e-5
    assert compressed_spectrum(half, beam, 0.1 * beam) > 0.01


def test_loud_and_quiet_items_weigh_the_same(rng):
    beam, target = spectrum(rng, 1, 20, 7), spectrum(rng, 1, 20, 7)
    gains = torch.full((1, 20, 7), 0.3)
    torch.testing.assert_close(
        compressed_spectrum(gains, beam, target),
        compressed_spectrum(gains, 1e-3 * beam, 1e-3 * target),
        rtol=1e-3,
        atol=0,
    )


def test_noise_alone_has_finite_gradients(rng):
    gains = torch.zeros(1, 20, 7, requires_grad=True)
    compressed_spectrum(gains, spectrum(rng, 1, 20, 7), torch.zeros(1, 20, 7, dtype=torch.complex64)).backward()
    assert torch.isfinite(gains.grad).all()


def test_an_unknown_loss_names_those_there_are():
    with pytest.raises(ValueError, match="compressed-spectrum"):
        loss("mse")
