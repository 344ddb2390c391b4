"""Spectrograms: shapes and scalings, beside librosa's and SciPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance import spectrograms as sg

RATE = 16000


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(2).standard_normal(8000)


def sine(hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 50), st.integers(2, 9), st.integers(1, 9))
def test_frames_are_the_whole_ones(length, size, hop):
    x = np.arange(float(length))
    expected = [x[at : at + size].tolist() for at in range(0, length - size + 1, hop)]
    assert sg.frames(x, size, hop).tolist() == expected


@pytest.mark.parametrize(
    "make, bands",
    [
        (sg.magnitudes, 257),
        (sg.log_magnitudes, 257),
        (lambda x: sg.mel_spectrogram(x, RATE), 64),
        (lambda x: sg.mfcc(x, RATE), 13),
        (lambda x: sg.erb_spectrogram(x, RATE), 64),
    ],
)
@pytest.mark.parametrize("n, frames", [(511, 0), (512, 1), (767, 1), (768, 2), (8000, 30)])
def test_whole_frames_only(make, bands, n, frames, x):
    assert make(x[:n]).shape == (frames, bands)


def test_a_sine_has_a_quarter_of_the_window_times_its_amplitude():
    assert sg.magnitudes(0.5 * sine(1000))[3].max() == pytest.approx(0.5 * 512 / 4, rel=1e-6)


def test_decibels_end_at_minus_100():
    assert np.array_equal(np.unique(sg.log_magnitudes(np.zeros(600))), [-100.0])


def test_mel_bands_are_librosas(x):
    librosa = pytest.importorskip("librosa")
    expected = librosa.feature.melspectrogram(
        y=x, sr=RATE, n_fft=512, hop_length=256, n_mels=64, htk=True, norm=None, center=False, dtype=np.float64
    )
    assert np.allclose(sg.mel_spectrogram(x, RATE), expected.T, rtol=1e-6)


def test_mfcc_are_librosas(x):
    librosa = pytest.importorskip("librosa")
    decibels = sg.decibels(sg.mel_spectrogram(x, RATE, 40))
    assert np.allclose(sg.mfcc(x, RATE), librosa.feature.mfcc(S=decibels.T, n_mfcc=13).T)


def test_mel_scales_undo_each_other():
    hz = np.linspace(0, 8000, 50)
    assert np.allclose(sg.mel_to_hz(sg.hz_to_mel(hz)), hz)


def test_gammatone_responses_are_scipys():
    signal = pytest.importorskip("scipy.signal")
    ours = sg.gammatone(1000.0, RATE)
    b, _ = signal.gammatone(1000.0, "fir", numtaps=len(ours), fs=RATE)
    grid = np.linspace(500, 2000, 60)
    a, c = (np.abs(signal.freqz(h, worN=grid, fs=RATE)[1]) for h in (ours, b))
    assert np.abs(20 * np.log10(a / c) - np.mean(20 * np.log10(a / c))).max() < 0.2
    assert np.allclose(a, sg.gammatone_gains(np.array([1000.0]), grid)[0], atol=0.01)


def test_a_cochleagram_shows_a_sines_power_at_its_center():
    center = sg.erb_centers(64, RATE)[40]
    picture = sg.cochleagram(0.5 * sine(center), RATE)[50:]
    assert picture.shape[1] == 64 and np.all(picture.argmax(axis=1) == 40)
    assert picture[:, 40].mean() == pytest.approx(0.125, rel=0.02)


def test_a_cochleagram_is_causal(x):
    early, all_of_it = sg.cochleagram(x[:4000], RATE), sg.cochleagram(x, RATE)
    assert np.allclose(all_of_it[: len(early)], early)


def test_erb_bands_of_white_noise_are_level(x):
    level = sg.erb_spectrogram(x, RATE).mean(axis=0)
    assert np.abs(10 * np.log10(level / level.mean())).max() < 3


@pytest.mark.parametrize(
    "call, sentence",
    [
        (lambda: sg.magnitudes(np.zeros((5, 2))), r"pass floats \(n,\)"),
        (lambda: sg.magnitudes(np.zeros(5), 512, 0), "at least 2 and 1 samples"),
        (lambda: sg.mel_filters(40, RATE, high=9000), "at 16000 Hz they lie in"),
        (lambda: sg.mfcc(np.zeros(600), RATE, 50), "pass 1 to 40"),
    ],
)
def test_bad_arguments_are_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
