"""Metrics: perfect and broken signals, published definitions, and the statistics."""

# ruff: noqa: NPY002  (pystoi draws from NumPy's global generator: that is what some tests are about)

import numpy as np
import pytest

from edgeenhance.simulation import metrics
from edgeenhance.simulation.metrics import MetricWarning


@pytest.fixture(scope="module")
def speechlike():
    """Four seconds of noise with a syllable rhythm: enough for every metric."""
    rng = np.random.default_rng(1)
    t = np.arange(4 * 16000) / 16000
    noise = np.convolve(rng.standard_normal(len(t)), np.hanning(9), "same")
    return 0.05 * noise * np.maximum(np.sin(2 * np.pi * 3 * t), 0.0) ** 2


@pytest.fixture(scope="module")
def hiss():
    return 0.01 * np.random.default_rng(2).standard_normal(4 * 16000)


def test_a_perfect_copy_scores_the_top_of_every_range(speechlike):
    values, reasons = metrics.scores(speechlike, speechlike)
    assert values["pesq"] > 4.6
    assert values["stoi"] == pytest.approx(1, abs=1e-6)
    assert values["estoi"] == pytest.approx(1, abs=1e-6)
    assert values["si_sdr"] > 200
    assert not reasons


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_more_noise_scores_lower(metric, speechlike, hiss):
    measure = getattr(metrics, metric)
    less, more = (measure(speechlike, speechlike + g * hiss) for g in (0.3, 3.0))
    assert less > more


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_gain_does_not_change_a_score(metric, speechlike, hiss):
    measure = getattr(metrics, metric)
    noisy = speechlike + hiss
    assert measure(speechlike, 0.1 * noisy) == pytest.approx(measure(speechlike, noisy), abs=2e-3)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_a_score_is_one_number(metric, speechlike, hiss):
    measure = getattr(metrics, metric)
    np.random.seed(3)
    first = measure(speechlike, speechlike + hiss)
    np.random.standard_normal(7)
    assert measure(speechlike, speechlike + hiss) == first


def test_scoring_leaves_the_global_random_generator_alone(speechlike, hiss):
    np.random.seed(5)
    expected = np.random.standard_normal()
    np.random.seed(5)
    metrics.estoi(speechlike, speechlike + hiss)
    assert np.random.standard_normal() == expected


@pytest.mark.parametrize("snr", [-10.0, 0.0, 12.5])
def test_si_sdr_of_orthogonal_noise_is_the_snr(snr, speechlike, hiss):
    noise = hiss - (hiss @ speechlike) / (speechlike @ speechlike) * speechlike
    noise *= np.sqrt(speechlike @ speechlike / (noise @ noise)) * 10 ** (-snr / 20)
    assert metrics.si_sdr(speechlike, speechlike + noise) == pytest.approx(snr, abs=1e-9)


@pytest.mark.parametrize("metric", metrics.METRICS)
def test_silence_is_nan_with_a_reason(metric, speechlike):
    with pytest.warns(MetricWarning, match="silent"):
        assert np.isnan(getattr(metrics, metric)(np.zeros_like(speechlike), speechlike))


def test_too_little_speech_is_nan_with_a_reason(speechlike):
    values, reasons = metrics.scores(speechlike[:2000], speechlike[:2000])
    assert np.isnan([values["pesq"], values["stoi"], values["estoi"]]).all()
    assert len(reasons) == 3 and all("NaN" in reason for reason in reasons)


def test_a_reference_without_utterances_is_nan_not_a_crash():
    rng = np.random.default_rng(4)
    click = np.zeros(16000)
    click[500] = 1e-30
    with pytest.warns(MetricWarning, match="PESQ is NaN"):
        assert np.isnan(metrics.pesq(click, rng.standard_normal(16000)))


@pytest.mark.parametrize(
    "reference, degraded, cure",
    [
        (np.ones(10), np.ones(11), "equally long"),
        (np.ones((10, 2)), np.ones((10, 2)), "one channel"),
        (np.ones(10), np.full(10, np.nan), "NaN"),
    ],
)
def test_signals_that_cannot_be_compared_raise(reference, degraded, cure):
    with pytest.raises(ValueError, match=cure):
        metrics.si_sdr(reference, degraded)


def test_wide_band_pesq_refuses_other_rates(speechlike):
    with pytest.raises(ValueError, match="16000"):
        metrics.pesq(speechlike, speechlike, 8000)


def test_paired_interval_is_students():
    interval = metrics.paired_interval([1.0, 2.0, 3.0, 4.0, np.nan])
    assert interval.count == 4 and interval.mean == 2.5
    assert interval.high - 2.5 == pytest.approx(3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2, rel=1e-6)
    assert interval.format(2) == "+2.50 [+0.45, +4.55]"
    assert interval.format(2, sign="") == "2.50 [0.45, 4.55]"


def test_paired_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(6)
    draws = [metrics.paired_interval(rng.normal(0.3, 1, 12)) for _ in range(400)]
    covered = np.mean([i.low < 0.3 < i.high for i in draws])
    assert 0.92 < covered < 0.98


def test_one_difference_has_no_interval():
    interval = metrics.paired_interval([0.5])
    assert interval.mean == 0.5 and np.isnan(interval.low) and interval.format() == "+0.500"


def test_no_difference_is_nan():
    assert np.isnan(metrics.paired_interval([]).mean)
