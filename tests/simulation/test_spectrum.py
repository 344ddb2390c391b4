"""Long-term spectra: tones and noises of known shape, the table and the figure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance.simulation import spectrum
from edgeenhance.simulation.metrics import MetricWarning

few = settings(max_examples=12, deadline=None)
BIN_HZ = 15.625
NUMBERS = (spectrum.centroid, spectrum.bandwidth, spectrum.flatness, spectrum.rolloff)


@pytest.fixture(scope="module")
def white():
    return np.random.default_rng(1).standard_normal(8 * 16000)


def tone(hertz, sample_rate=16000, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * sample_rate)) / sample_rate)


@few
@given(st.floats(-100, 20), st.integers(2, 509))
def test_the_peak_of_a_sine_is_its_level(level, at):
    freqs, levels = spectrum.magnitude_spectrum(10 ** (level / 20) * tone(at * BIN_HZ))
    assert freqs[np.argmax(levels)] == at * BIN_HZ
    assert levels.max() == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize("rate, size", [(8000, 512), (16000, 1024), (44100, 2822), (48000, 3072)])
def test_a_bin_is_one_over_64_ms(rate, size):
    freqs, levels = spectrum.magnitude_spectrum(tone(1000, rate), rate)
    assert freqs.shape == levels.shape == (size // 2 + 1,)
    assert freqs[1] == pytest.approx(rate / size) and freqs[-1] == pytest.approx(rate / 2)
    assert freqs[np.argmax(levels)] == pytest.approx(1000, abs=8)


def test_levels_end_at_140_db_below_full_scale():
    assert np.all(spectrum.magnitude_spectrum(np.zeros(2000))[1] == -140)
    assert spectrum.magnitude_spectrum(tone(1000))[1].min() == -140


@few
@given(st.floats(200, 7800))
def test_a_tone_is_narrow_and_where_it_is(hertz):
    x = tone(hertz)
    assert spectrum.centroid(x) == pytest.approx(hertz, abs=1)
    assert spectrum.bandwidth(x) < BIN_HZ
    assert spectrum.flatness(x) < 1e-6
    assert spectrum.rolloff(x) == pytest.approx(hertz, abs=2 * BIN_HZ)


@few
@given(st.floats(300, 3500), st.floats(4000, 7700), st.floats(0.1, 10))
def test_two_tones_are_weighted_by_their_power(low, high, ratio):
    x = tone(low) + np.sqrt(ratio) * tone(high)
    share = ratio / (1 + ratio)
    assert spectrum.centroid(x) == pytest.approx(low + share * (high - low), rel=0.01)
    assert spectrum.bandwidth(x) == pytest.approx((high - low) * np.sqrt(share * (1 - share)), rel=0.02)


@pytest.mark.parametrize("share, above", [(0.84, True), (0.86, False)])
def test_rolloff_is_where_85_percent_of_the_power_lies_below(share, above):
    x = np.sqrt(share) * tone(1000) + np.sqrt(1 - share) * tone(5000)
    assert (spectrum.rolloff(x) > 4000) == above


def test_white_noise_is_flat(white):
    assert spectrum.centroid(white) == pytest.approx(4000, rel=0.02)
    assert spectrum.bandwidth(white) == pytest.approx(8000 / np.sqrt(12), rel=0.02)  # of a rectangle
    assert spectrum.flatness(white) > 0.98
    assert spectrum.rolloff(white) == pytest.approx(0.85 * 8000, rel=0.02)


def test_a_darker_noise_is_lower_in_every_number(white):
    dark = np.cumsum(white) - np.cumsum(white).mean()
    assert all(function(dark) < 0.5 * function(white) for function in NUMBERS)


@pytest.mark.parametrize("function", NUMBERS)
@pytest.mark.parametrize("gain", [1e-8, 0.03, 1e4])
def test_numbers_do_not_depend_on_the_level(function, gain, white):
    assert function(gain * white[:8000]) == pytest.approx(function(white[:8000]), rel=1e-9)


@pytest.mark.parametrize("function", [spectrum.centroid, spectrum.bandwidth, spectrum.rolloff])
def test_hertz_follow_the_sample_rate(function, white):
    assert function(np.tile(white[:1024], 2), 32000) > 1.8 * function(np.tile(white[:1024], 2), 16000)


@pytest.mark.parametrize("function", NUMBERS)
def test_silence_is_nan_with_a_reason(function):
    with pytest.warns(MetricWarning, match=f"{function.__name__} is NaN: the signal is silent"):
        assert np.isnan(function(np.zeros(2000)))


@pytest.mark.parametrize("function", [spectrum.magnitude_spectrum, *NUMBERS])
@pytest.mark.parametrize(
    "x, cure",
    [
        (np.ones(1023), "64 ms, 1024 samples at 16000 Hz, got 1023"),
        (np.ones((2000, 2)), "one channel"),
        (np.full(2000, np.nan), "NaN or Inf"),
    ],
)
def test_what_has_no_spectrum_raises(function, x, cure):
    with pytest.raises(ValueError, match=cure):
        function(x)


def test_the_table_has_a_row_for_each_signal_in_its_order():
    rows = spectrum.spectrum_table({"noisy": 0.1 * tone(1000), "clean": tone(3000)})
    assert all(len(row) == len(spectrum.TABLE_HEADER) for row in rows)
    assert rows[0] == ("noisy", "-20.0", "1000", "9", "0.000", "1016")
    assert rows[1][:3] == ("clean", "0.0", "3000")
    assert spectrum.spectrum_table({}) == []


@pytest.mark.filterwarnings("ignore::edgeenhance.simulation.metrics.MetricWarning")
def test_silence_has_a_row_too():
    assert spectrum.spectrum_table({"muted": np.zeros(2000)}) == [("muted", "-140.0", "nan", "nan", "nan", "nan")]


def test_the_figure_shows_every_spectrum_over_logarithmic_frequency(white):
    signals = {"noisy": white[:16000], "clean": tone(1000)}
    axes = spectrum.compare_spectra(signals).axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlim() == (50, 8000)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(signals)
    for line, x in zip(axes.lines, signals.values(), strict=True):
        freqs, levels = spectrum.magnitude_spectrum(x)
        np.testing.assert_array_equal(line.get_xydata(), np.stack([freqs[1:], levels[1:]], 1))  # no 0 Hz
    assert [label.get_text() for label in axes.get_xticklabels()][-3:] == ["2000", "4000", "8000"]


def test_a_figure_of_nothing_raises():
    with pytest.raises(ValueError, match="at least one"):
        spectrum.compare_spectra({})
