"""Rooms: reverberation as asked, microphones that hear what the steering vectors say."""

import numpy as np
import pyroomacoustics as pra
import pytest
from scipy.signal import butter, sosfilt

from edgeenhance.arrays import MicArray, direction
from edgeenhance.simulation import room as rooms
from edgeenhance.simulation.room import LEAD, SAMPLE_RATE, Room
from edgeenhance.sphere import SPEED_OF_SOUND
from tests.conftest import level_db

BINS = 1024
FREQS = np.fft.rfftfreq(BINS, 1 / SAMPLE_RATE)
POSITION = np.array([2.6, 2.1, 1.3])


def schroeder_rt60(response, low_db, high_db):
    """RT60 from the slope of the backward-integrated energy between two levels below the start."""
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-15)
    span = slice(int(np.argmax(level < -low_db)), int(np.argmax(level < -high_db)))
    slope = np.polyfit(np.arange(len(level))[span] / SAMPLE_RATE, level[span], 1)[0]
    return -60 / slope


@pytest.mark.parametrize("array", ["bte-2x2", "linear-4"])
@pytest.mark.parametrize("dimensions", [(6.0, 5.0, 2.7), (3.5, 3.0, 2.4), (9.0, 4.0, 3.0)])
@pytest.mark.parametrize("rt60", [0.15, 0.3, 0.6])
def test_reverberation_time_is_as_asked_within_20_percent(array, dimensions, rt60, rng):
    sides = np.array(dimensions)
    sources = sides * [[0.9, 0.85, 0.5], [0.15, 0.1, 0.6], [0.7, 0.1, 0.6]]
    h = rooms.responses(Room(dimensions, rt60), MicArray.load(array), sides * [0.4, 0.45, 0.45], 30.0, sources, rng)
    for high_db in (25, 35):  # T20 and T30
        measured = [schroeder_rt60(response, 5, high_db) for response in h[:, 0]]
        assert np.mean(measured) == pytest.approx(rt60, rel=0.2)


def test_the_tail_goes_on_at_the_level_where_the_images_end(rng):
    room, array = Room((6.0, 5.0, 2.7), 0.5), MicArray.load("linear-4")
    sources = np.array([[5.0, 4.0, 1.5], [0.8, 0.7, 1.4], [4.5, 0.6, 1.7], [1.0, 4.2, 1.1]])
    h = rooms.responses(room, array, POSITION, 0.0, sources, rng)
    fade = LEAD + int((np.linalg.norm(sources - POSITION, axis=1).max() / SPEED_OF_SOUND + 0.052) * SAMPLE_RATE)
    window = 300
    before, after = h[..., fade - window : fade], h[..., fade + 320 : fade + 320 + window]
    times = (np.array([fade - window / 2, fade + 320 + window / 2]) - LEAD) / SAMPLE_RATE
    expected = room.decay(times)
    step = np.mean(before**2) / np.mean(after**2) / (expected[0] / expected[1])
    assert abs(10 * np.log10(step)) < 1.5


@pytest.mark.parametrize("name", ["bte-2x2", "glasses-6", "linear-4", "respeaker-6"])
@pytest.mark.parametrize(
    ("turned", "azimuth", "elevation", "distance"), [(0, 0, 0, 1.0), (37, 70, 15, 0.7), (200, -110, -10, 2.0)]
)
def test_anechoic_responses_equal_the_steering_vectors(name, turned, azimuth, elevation, distance, rng):
    """Within -45 dB of the loudest microphone at every frequency from 100 Hz to 7 kHz, delay and level included."""
    array = MicArray.load(name)
    source = POSITION + rooms.turn(distance * direction(azimuth, elevation)[None], turned)
    h = rooms.responses(Room((6.0, 5.0, 3.0), 0.0), array, POSITION, turned, source, rng)[0]
    heard = np.fft.rfft(h, BINS).T * np.exp(2j * np.pi * FREQS * LEAD / SAMPLE_RATE)[:, None]
    wave = np.exp(-2j * np.pi * FREQS * distance / SPEED_OF_SOUND) / distance
    expected = array.steering(azimuth, FREQS, elevation, distance) * wave[:, None]
    band = (FREQS > 100) & (FREQS < 7000)
    error = np.abs(heard - expected)[band].max(axis=1) / np.abs(expected[band]).max(axis=1)
    assert 20 * np.log10(error.max()) < -45


def test_early_reflections_are_those_of_pyroomacoustics(rng):
    room, array = Room((5.0, 4.0, 2.8), 0.4), MicArray.load("mono")
    source = np.array([[4.0, 3.0, 1.6]])
    h = rooms.responses(room, array, POSITION, 0.0, source, rng)[0, 0]
    box = pra.ShoeBox(room.dimensions, fs=SAMPLE_RATE, materials=pra.Material(room.absorption), max_order=12)
    box.add_source(source[0])
    box.add_microphone(POSITION)
    box.compute_rir()
    early = slice(0, LEAD + int(0.05 * SAMPLE_RATE))
    above = butter(
        4, 1500, "highpass", fs=SAMPLE_RATE, output="sos"
    )  # where both filters against infrasound do nothing
    ours, theirs = (sosfilt(above, response[early]) for response in (h, box.rir[0][0]))
    assert level_db(ours - theirs, theirs) < -30


@pytest.mark.parametrize("name", ["bte-2x2", "linear-4"])
def test_diffuse_noise_has_the_coherence_of_a_diffuse_field(name, rng):
    array = MicArray.load(name)
    noise = rooms.diffuse_noise(array, (), 400 * 512, rng).reshape(array.mics, 400, 512)
    spectra = np.fft.rfft(noise * np.hanning(512))
    measured = np.einsum("itf,jtf->fij", spectra, spectra.conj()) / 400 / np.sum(np.hanning(512) ** 2)
    expected = array.diffuse_covariance(np.fft.rfftfreq(512, 1 / SAMPLE_RATE))
    assert np.sqrt(np.mean(np.abs(measured - expected)[4:-4] ** 2)) < 0.1
    assert np.abs((measured - expected)[4:-4].mean(axis=0)).max() < 0.03


@pytest.mark.parametrize("name", ["bte-2x2", "glasses-6", "respeaker-4"])
def test_arrival_is_the_sample_of_the_direct_sound(name, rng):
    array = MicArray.load(name)
    for azimuth in (0, 60, 100, -150):
        offset = 1.3 * direction(azimuth)
        h = rooms.responses(Room((6.0, 5.0, 3.0), 0.0), array, POSITION, 0.0, (POSITION + offset)[None], rng)[0]
        for mic in range(array.mics):
            threshold = np.abs(h[mic]).max() / 2
            first = int(np.argmax(np.abs(h[mic]) > threshold))
            assert abs(first - rooms.arrival(array, mic, offset)) <= 3


def test_settings_of_pyroomacoustics_are_left_as_they_were(rng):
    before = {name: pra.constants.get(name) for name in ("rir_hpf_enable", "num_threads", "frac_delay_length", "c")}
    rooms.responses(Room((5.0, 4.0, 2.5), 0.2), MicArray.load("mono"), POSITION, 0.0, POSITION[None] + 0.5, rng)
    assert before == {name: pra.constants.get(name) for name in before}
