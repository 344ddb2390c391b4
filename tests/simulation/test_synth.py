"""Synthesized talkers and noises: seeded, at their level, and like speech in what measures look at."""

import shutil

import numpy as np
import pytest

from edgeenhance.simulation import synth

RATE = 16000


@pytest.mark.parametrize("espeak", [False, True])
def test_speech_is_seeded_and_has_its_level_and_pauses(espeak):
    if espeak and not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed")
    sound = synth.speech(4.0, 1, espeak=espeak)
    assert sound.shape == (4 * RATE,) and sound.dtype == np.float32
    assert np.array_equal(sound, synth.speech(4.0, 1, espeak=espeak))
    assert not np.array_equal(sound, synth.speech(4.0, 2, espeak=espeak))
    assert 10 * np.log10(np.mean(sound**2)) == pytest.approx(synth.LEVEL_DBFS, abs=0.1)
    level = np.sort(np.square(sound).reshape(-1, RATE // 50).mean(axis=1))
    assert level[int(0.1 * len(level))] < 1e-3 * level[-1]  # pauses
    assert level[int(0.5 * len(level))] > 1e-3 * level[-1]  # not only pauses


def test_own_talker_has_pitch_and_the_modulation_of_syllables():
    sound = synth.speech(20.0, 5, espeak=False).astype(float)
    envelope = np.sqrt(np.square(sound).reshape(-1, 160).mean(axis=1))
    modulation = np.abs(np.fft.rfft(envelope - envelope.mean())) ** 2
    rate = np.fft.rfftfreq(len(envelope), 0.01)
    slow = modulation[(rate > 1) & (rate < 12)].sum()
    assert slow > 0.5 * modulation[rate > 0.2].sum()
    spectrum = np.abs(np.fft.rfft(sound)) ** 2
    freqs = np.fft.rfftfreq(len(sound), 1 / RATE)
    assert spectrum[(freqs > 80) & (freqs < 4000)].sum() > 0.8 * spectrum.sum()


@pytest.mark.parametrize("kind", synth.NOISE_KINDS)
def test_noises_are_seeded_and_have_their_level(kind):
    sound = synth.noise(kind, 2.0, 1)
    assert sound.shape == (2 * RATE,) and np.array_equal(sound, synth.noise(kind, 2.0, 1))
    assert 10 * np.log10(np.mean(sound**2)) == pytest.approx(synth.LEVEL_DBFS, abs=0.1)


def test_pink_noise_falls_by_3_db_per_octave():
    power = np.abs(np.fft.rfft(synth.noise("pink", 10.0, 1))) ** 2
    freqs = np.fft.rfftfreq(10 * RATE, 1 / RATE)
    bands = [power[(freqs >= low) & (freqs < 2 * low)].mean() for low in (200, 400, 800, 1600, 3200)]
    assert np.diff(10 * np.log10(bands)) == pytest.approx(-3.0, abs=0.4)


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="unknown noise 'brown'; choose from white"):
        synth.noise("brown", 1.0, 0)
    with pytest.raises(ValueError, match="seconds must be above 0"):
        synth.speech(0.0, 0)
