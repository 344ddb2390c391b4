"""Loudness: what BS.1770 and EBU Tech 3341 say that these signals have."""

import numpy as np
import pytest

pytest.importorskip("scipy")

from edgeenhance.simulation.datasets.loudness import k_weighting, loudness


def sine(hertz, dbfs, seconds, rate=48000):
    return 10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


def test_the_filters_at_48_khz_are_those_of_the_standard():
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    high_pass = [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48000), [shelf, high_pass], atol=5e-7)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("dbfs", [0, -23, -40])
def test_a_sine_of_997_hz_has_its_level_less_3_01(rate, dbfs):
    assert loudness(sine(997, dbfs, 3, rate), rate) == pytest.approx(dbfs - 3.01, abs=0.05)


def test_pauses_count_by_the_relative_gate():
    """EBU Tech 3341, case 3, in one channel: 1000 Hz at -36, -23 and -36 dBFS; two channels have 3.01 LU more."""
    x = np.concatenate([sine(1000, -36, 10), sine(1000, -23, 60), sine(1000, -36, 10)])
    assert loudness(x, 48000) == pytest.approx(-23 - 3.01, abs=0.1)


def test_silence_counts_by_the_absolute_gate():
    x = np.concatenate([sine(1000, -72, 10), sine(1000, -36, 10), sine(1000, -23, 60), sine(1000, -72, 10)])
    assert loudness(x, 48000) == pytest.approx(-23 - 3.01, abs=0.1)
    assert loudness(np.zeros(48000), 48000) == loudness(np.zeros(0), 48000) == -np.inf


def test_less_than_a_block_counts_as_one():
    assert loudness(sine(997, -20, 0.2), 48000) == pytest.approx(-23.01, abs=0.1)
