"""Losses against their definitions, and against the scores that they stand for."""

import numpy as np
import pytest
import torch

from edgeenhance.models.features import signal, spectra
from edgeenhance.models.losses import SPECTRAL, WAVEFORM, compressed_spectrum, loss, mask_ibm, mask_irm, mask_psm
from edgeenhance.models.perceptual_loss import pesq_disturbance
from edgeenhance.models.validate import si_sdr as measured_si_sdr
from edgeenhance.models.validate import speech_scores
from edgeenhance.models.waveform_losses import estoi, si_sdr
from edgeenhance.profiles import profile

from .conftest import RATE, hiss, talk

ASSIST = profile("assist")


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


def test_ideal_masks_cost_nothing_and_lie_between_0_and_1(rng):
    beam, target = spectrum(rng, 2, 9, 5), spectrum(rng, 2, 9, 5)
    noise = (beam - target).abs().square()
    irm = (target.abs().square() / (target.abs().square() + noise)).sqrt()
    psm = (target.abs() / beam.abs() * torch.cos(target.angle() - beam.angle())).clamp(0, 1)
    ibm = (target.abs().square() > noise).to(irm)
    for function, mask in ((mask_irm, irm), (mask_ibm, ibm), (mask_psm, psm)):
        assert function(mask, beam, target) < 1e-10
        assert 0 < function(1 - mask, beam, target) <= 1


def test_overlap_add_of_a_batch_is_that_of_its_items(rng):
    x = torch.from_numpy(rng.standard_normal((3, 2000)).astype(np.float32))
    batch = signal(spectra(x, ASSIST), ASSIST)
    assert all(torch.equal(batch[row], signal(spectra(x[row], ASSIST), ASSIST)) for row in range(3))


@pytest.mark.parametrize("snr_db", [-5, 0, 10])
def test_the_si_sdr_loss_is_the_score_negated_whatever_the_level(rng, snr_db):
    clean, noisy = noisy_talk(rng, snr_db)
    value = si_sdr(*torch.from_numpy(np.stack([noisy, clean]))[:, None], RATE)
    assert float(value) == pytest.approx(-measured_si_sdr(clean, noisy), abs=0.1)
    quiet = si_sdr(*torch.from_numpy(np.stack([1e-4 * noisy, 1e-3 * clean]))[:, None], RATE)
    assert float(quiet) == pytest.approx(float(value), abs=1e-3)


def test_the_si_sdr_loss_is_bounded_to_30_db(rng):
    clean, _ = noisy_talk(rng, 0)
    clean, other = torch.from_numpy(clean)[None], torch.from_numpy(hiss(rng, 3.0))[None]
    assert float(si_sdr(clean, clean, RATE)) == pytest.approx(-30, abs=0.01)
    assert 0 < float(si_sdr(other, clean, RATE)) <= 30


def noisy_talk(rng, snr_db):
    clean, noise = talk(rng, 3.0), hiss(rng, 3.0)
    return clean, clean + noise * np.float32(np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (snr_db / 10)))


def test_the_estoi_loss_follows_the_score(rng):
    pytest.importorskip("pystoi")
    scores, losses = [], []
    for snr_db in range(-10, 25, 3):
        clean, noisy = noisy_talk(rng, snr_db)
        scores.append(speech_scores(clean, noisy, RATE)["estoi"])
        losses.append(float(estoi(*torch.from_numpy(np.stack([noisy, clean]))[:, None], RATE)))
    assert np.corrcoef(scores, losses)[0, 1] < -0.98
    assert np.abs(1 - np.array(losses) - scores).max() < 0.1


def test_equal_signals_have_an_estoi_loss_of_0(rng):
    clean = torch.from_numpy(noisy_talk(rng, 0)[0])[None]
    assert float(estoi(3 * clean, clean, RATE)) < 1e-3


def test_the_pesq_loss_follows_the_score(rng):
    pytest.importorskip("pesq")
    clean, noise = talk(rng, 3.0) + 0.002 * hiss(rng, 3.0), sum(talk(rng, 3.0) for _ in range(4)) + 0.1 * hiss(rng, 3.0)
    raw, losses = [], []
    for snr_db in range(0, 40, 4):
        noisy = clean + noise * np.float32(np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (snr_db / 10)))
        listening = speech_scores(clean, noisy, RATE)["pesq"]
        raw.append((3.8224 - np.log(4 / (listening - 0.999) - 1)) / 1.3669)  # P.862.2, inverted
        losses.append(float(pesq_disturbance(*torch.from_numpy(np.stack([noisy, clean]))[:, None], RATE)))
    assert np.corrcoef(raw, losses)[0, 1] < -0.95


def test_level_and_colour_cost_the_pesq_loss_little(rng):
    clean, noisy = (torch.from_numpy(x)[None] for x in noisy_talk(rng, 5))
    assert float(pesq_disturbance(clean, clean, RATE)) < 0.02
    noise = float(pesq_disturbance(noisy, clean, RATE))
    torch.testing.assert_close(pesq_disturbance(1e-3 * noisy, 10 * clean, RATE), torch.tensor(noise), rtol=1e-3, atol=0)
    coloured = clean + 0.5 * torch.roll(clean, 1)
    assert float(pesq_disturbance(coloured, clean, RATE)) < 0.2 * noise


@pytest.mark.parametrize("name", [*SPECTRAL, *WAVEFORM])
def test_every_loss_falls_downhill_and_endures_silence(name, rng):
    clean, noisy = (torch.from_numpy(x)[None] for x in noisy_talk(rng, 0))
    beam, target = spectra(noisy, ASSIST), spectra(clean, ASSIST)
    beam, target = torch.cat([beam, beam, 0 * beam]), torch.cat([target, 0 * target, 0 * target])
    gains = torch.full(beam.shape, 0.5, requires_grad=True)
    function = loss(name, ASSIST)
    value = function(gains, beam, target)
    value.backward()
    assert torch.isfinite(gains.grad).all() and gains.grad.abs().max() > 0
    step = (0.01 / gains.grad.abs().max()) * gains.grad
    assert function((gains - step).clamp(0, 1).detach(), beam, target) < value


def test_a_sum_weighs_its_losses(rng):
    beam, target = spectrum(rng, 2, 200, 257), spectrum(rng, 2, 200, 257)
    gains = torch.full(beam.shape, 0.3)
    weights = {"compressed-spectrum": 1.0, "si-sdr": 0.01, "mask-irm": 0.1}
    wanted = sum(weight * loss(name, ASSIST)(gains, beam, target) for name, weight in weights.items())
    torch.testing.assert_close(loss(weights, ASSIST)(gains, beam, target), wanted)


@pytest.mark.parametrize("choice", ["mse", {"si-sdr": 1.0, "mse": 0.5}, {}])
def test_an_unknown_loss_names_those_there_are(choice):
    with pytest.raises(ValueError, match="compressed-spectrum.*mask-irm.*estoi"):
        loss(choice, ASSIST)


def test_a_weight_of_a_loss_is_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        loss({"si-sdr": -1.0}, ASSIST)
