"""Does a recording fit its array? Fields of plane waves at arrays whose channels are in order, and are not."""

import numpy as np
import pytest

from edgeenhance.arrays import MicArray, preset_names
from edgeenhance.wiring import doubts

RATE = 16000


def field(array, directions, seconds=3.0, seed=0):
    """Independent noises from some azimuths, and a little sensor noise: (n, mics)."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    freqs = np.fft.rfftfreq(n, 1 / RATE)
    coarse = np.linspace(0, RATE / 2, 513)
    total = 0
    for azimuth in directions:
        steering = array.steering(azimuth, coarse)
        delay = np.exp(2j * np.pi * coarse * 1e-3)[:, None]  # unwraps easily once the common delay is in
        response = np.stack([np.interp(freqs, coarse, column) for column in (steering * delay.conj()).T], axis=1)
        total = total + np.fft.irfft(np.fft.rfft(rng.standard_normal(n))[:, None] * response, n, axis=0)
    return 0.05 * total + 1e-4 * rng.standard_normal((n, array.mics))


@pytest.mark.parametrize("name", [name for name in preset_names() if name != "mono"])
@pytest.mark.parametrize("directions", [(0,), (90,), (37, -120), tuple(range(0, 360, 20))])
def test_a_recording_of_the_array_raises_no_doubt(name, directions):
    array = MicArray.load(name)
    assert doubts(field(array, directions), RATE, array) == []


@pytest.mark.parametrize("directions", [(40,), (37, -120, 170), tuple(range(0, 360, 20))])
def test_swapped_channels_are_named_with_an_order_that_fits(directions):
    array = MicArray.load("bte-2x2")
    (doubt,) = doubts(field(array, directions)[:, [0, 2, 1, 3]], RATE, array)
    assert "bte-2x2" in doubt and "1,3,2,4 would fit" in doubt


def test_channels_are_named_as_in_the_file():
    array = MicArray.load("bte-2x2")
    x = field(array, range(0, 360, 20))[:, [0, 2, 1, 3]]
    (doubt,) = doubts(x, RATE, array, channels=[5, 6, 7, 8])
    assert "channels 5 and 6" in doubt or "channels 7 and 8" in doubt
    assert "5,7,6,8 would fit" in doubt


def test_unrelated_channels_contradict_a_small_array():
    array = MicArray.load("linear-4")
    x = np.random.default_rng(1).standard_normal((3 * RATE, 4))
    assert "coherence" in doubts(x, RATE, array)[0]


def test_a_copied_channel_is_named():
    array = MicArray.load("linear-4")
    x = field(array, (0, 100, 200))
    x[:, 3] = x[:, 1]
    assert doubts(x, RATE, array) == ["channels 2 and 4 are copies of one signal"]


def test_silence_dead_and_single_microphones_raise_no_doubt():
    array = MicArray.load("linear-4")
    x = field(array, (0, 100, 200))
    x[:, 2] *= 1e-4
    assert doubts(x, RATE, array) == []
    assert doubts(np.zeros((RATE, 4)), RATE, array) == []
    assert doubts(x[:, :1], RATE, MicArray.load("mono")) == []


def test_bad_samples_raise_no_doubt():
    array = MicArray.load("linear-4")
    x = field(array, (0, 100, 200))
    x[5000:5010] = np.nan
    x[9000] = np.inf
    assert doubts(x, RATE, array) == []
