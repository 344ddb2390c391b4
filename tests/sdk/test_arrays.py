"""Microphone arrays: geometry, physics of steering vectors and diffuse fields, and files that are wrong."""

import dataclasses
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance.arrays import MAX_MICS, MicArray, direction, preset_names
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.sphere import SPEED_OF_SOUND

FREQS = np.arange(257) * 31.25
FREE = 'name = "t"\nmount = "free"\n'
HEAD = 'name = "t"\nmount = "head"\nhead_radius_m = 0.0875\n'
PAIR = "microphones = [{x_m = 0.0, y_m = 0.0}, {x_m = 0.02, y_m = 0.0}]\n"


def pair(distance):
    return MicArray("pair", [[distance / 2, 0, 0], [-distance / 2, 0, 0]])


def delays(array, azimuth):
    """Arrival times in seconds relative to the origin, from the phase slope below 300 Hz."""
    response = array.steering(azimuth, np.array([100.0, 300.0]))
    return -np.angle(response[1] * response[0].conj()) / (2 * np.pi * 200)


# ---- presets ----


def test_presets_are_those_of_the_design():
    assert preset_names() == ("bte-1x2", "bte-2x2", "glasses-6", "linear-4", "mono", "respeaker-4", "respeaker-6")
    counts = {name: MicArray.load(name).mics for name in preset_names()}
    assert list(counts.values()) == [2, 4, 6, 4, 1, 4, 6]


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_a_round_trip_and_a_pickle(name):
    array = MicArray.load(name)
    assert MicArray.from_toml_text(array.to_toml()) == array == pickle.loads(pickle.dumps(array))
    assert array.name == name
    assert hash(MicArray.load(name)) == hash(array)


def test_presets_have_the_size_they_say():
    assert np.linalg.norm(np.diff(MicArray.load("bte-2x2").positions[:2], axis=0)) == pytest.approx(0.01, abs=1e-4)
    square, hexagon = MicArray.load("respeaker-4").positions, MicArray.load("respeaker-6").positions
    assert np.linalg.norm(square[0] - square[2]) == pytest.approx(0.0647)
    assert np.linalg.norm(square[0] - square[1]) == pytest.approx(0.0457, abs=1e-4)
    assert np.linalg.norm(hexagon[0] - hexagon[3]) == pytest.approx(0.0926)
    assert np.linalg.norm(hexagon[0] - hexagon[1]) == pytest.approx(0.0463)


def test_the_left_aid_is_on_the_left_and_its_first_microphone_in_front():
    positions = MicArray.load("bte-2x2").positions
    assert np.all(positions[:2, 1] > 0.08) and np.all(positions[2:, 1] < -0.08)
    assert np.all(positions[::2, 0] > 0) and np.all(positions[1::2, 0] < 0)


def test_a_file_loads_as_its_preset_does(tmp_path):
    array = MicArray.load("glasses-6")
    (tmp_path / "mine.toml").write_text(array.to_toml(), encoding="utf-8")
    assert MicArray.load(tmp_path / "mine.toml") == array == MicArray.load(str(tmp_path / "mine.toml"))
    assert MicArray.load(array) is array


# ---- steering ----


def test_free_field_delays_are_the_projections_of_the_geometry():
    array = MicArray.load("respeaker-6")
    for azimuth in (0, 37, 90, -120):
        expected = -array.positions @ direction(azimuth) / SPEED_OF_SOUND
        assert np.allclose(delays(array, azimuth), expected, atol=1e-9)


def test_sound_from_the_left_reaches_the_left_ear_first():
    array = MicArray.load("bte-2x2")
    arrival = delays(array, 90.0)
    assert arrival[0] < 0 < arrival[2]
    assert arrival[2] - arrival[0] == pytest.approx(3 * 0.0875 / SPEED_OF_SOUND, rel=0.03)  # Kuhn 1977


def test_the_broadband_interaural_delay_is_that_of_an_adult_head():
    freqs = np.arange(0, 8001, 15.625)
    d = MicArray.load("bte-2x2").steering(90.0, freqs)
    cross = np.fft.irfft(d[:, 2] * d[:, 0].conj() * np.hanning(2 * len(freqs))[len(freqs) :], 16 * 1024)
    assert np.argmax(cross) / (16 * 1024 * 15.625) == pytest.approx(0.68e-3, abs=0.03e-3)


def test_a_head_has_a_left_as_it_has_a_right():
    array = MicArray.load("bte-2x2")
    mirrored = array.steering(-40.0, FREQS)[:, [2, 3, 0, 1]]
    assert np.allclose(array.steering(40.0, FREQS), mirrored, atol=1e-12)


@pytest.mark.parametrize("name", ["bte-2x2", "respeaker-4"])
def test_steering_at_0_hz_is_one(name):
    assert np.allclose(MicArray.load(name).steering(25.0, np.zeros(1)), 1, atol=1e-9)


@pytest.mark.parametrize("name", ["bte-2x2", "linear-4"])
def test_far_sources_are_plane_waves(name):
    array = MicArray.load(name)
    error = array.steering(70.0, FREQS, 20.0, distance=2e4) - array.steering(70.0, FREQS, 20.0)
    assert np.abs(error).max() < 1e-3


def test_near_sources_are_louder_at_the_near_microphone():
    near, far = np.abs(pair(0.1).steering(0.0, FREQS, distance=0.1)).T
    assert np.allclose(near, 0.1 / 0.05) and np.allclose(far, 0.1 / 0.15)


@given(st.floats(0.3, 5), st.floats(0.3, 5), st.floats(-180, 180), st.floats(-180, 180), st.floats(-80, 80))
@settings(max_examples=25, deadline=None)
def test_source_and_microphone_can_change_places(mic_radius, source_radius, mic_angle, source_angle, elevation):
    """Reciprocity in open air: the pressure times the distance depends on the distance alone."""
    freqs = np.array([0.0, 440.0])
    places = [0.1 * mic_radius * direction(mic_angle), (1 + source_radius) * direction(source_angle, elevation)]
    pressure = []
    for mic, source in (places, places[::-1]):
        distance = np.linalg.norm(source)
        array = MicArray("one", [mic])
        emitted = np.exp(-2j * np.pi * freqs * distance / SPEED_OF_SOUND) / distance
        pressure.append(array.responses(source / distance, freqs, distance)[:, 0] * emitted)
    assert np.allclose(pressure[0], pressure[1], atol=1e-9)


def test_many_directions_at_once_equal_one_at_a_time():
    array = MicArray.load("glasses-6")
    together = array.responses(direction([0.0, 50.0, -90.0], [0.0, 10.0, 45.0]), FREQS)
    assert together.shape == (3, 257, 6)
    assert np.allclose(together[1], array.steering(50.0, FREQS, 10.0), atol=1e-12)


@pytest.mark.parametrize("azimuth", [np.nan, np.inf])
def test_a_look_direction_must_be_an_angle(azimuth):
    with pytest.raises(ValueError, match="finite angles in degrees"):
        MicArray.load("mono").steering(azimuth, FREQS)


# ---- diffuse field ----


def test_the_free_field_coherence_is_a_sinc():
    coherence = pair(0.05).diffuse_coherence(FREQS)
    kd = 2 * np.pi * FREQS[1:] * 0.05 / SPEED_OF_SOUND
    assert np.allclose(coherence[1:, 0, 1], np.sin(kd) / kd)
    assert np.allclose(coherence[0], 1)


@pytest.mark.parametrize("name", ["bte-2x2", "glasses-6", "respeaker-6"])
def test_the_diffuse_covariance_is_the_mean_over_directions(name):
    array, count = MicArray.load(name), 3000
    turn = np.pi * (1 + 5**0.5) * (np.arange(count) + 0.5)  # a Fibonacci grid: equal areas
    height = 1 - (2 * np.arange(count) + 1) / count
    ring = np.sqrt(1 - height**2)
    freqs = FREQS[::32]
    d = array.responses(np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=-1), freqs)
    mean = np.einsum("dfm,dfn->fmn", d, d.conj()) / count
    assert np.abs(array.diffuse_covariance(freqs) - mean).max() < 1e-3


@pytest.mark.parametrize("name", preset_names())
def test_coherence_matrices_are_hermitian_and_positive_with_a_mean_diagonal_of_one(name):
    coherence = MicArray.load(name).diffuse_coherence(FREQS)
    assert coherence.dtype == complex
    assert np.allclose(coherence, coherence.conj().transpose(0, 2, 1))
    assert np.linalg.eigvalsh(coherence).min() > -1e-12
    assert np.allclose(np.trace(coherence, axis1=1, axis2=2).real / coherence.shape[1], 1)


def test_the_aliasing_frequency_is_that_of_the_nearest_pair():
    assert pair(0.05).aliasing_frequency == pytest.approx(3430)
    assert MicArray.load("linear-4").aliasing_frequency == pytest.approx(343 / 0.066)
    assert MicArray.load("mono").aliasing_frequency == np.inf


# ---- references, copies ----


def test_ears_are_named_and_an_unknown_ear_lists_them():
    both, board = MicArray.load("bte-2x2"), MicArray.load("respeaker-4")
    assert both.ears == ("left", "right") and (both.ear("left"), both.ear("right")) == (0, 2)
    assert board.ears == ("left",)
    with pytest.raises(ValueError, match="'respeaker-4' has no 'right' ear; choose from left"):
        board.ear("right")


def test_a_single_reference_may_be_a_plain_number():
    assert MicArray.from_toml_text(FREE + PAIR + "reference = 1").reference == {"left": 1}
    assert MicArray.from_toml_text(FREE + PAIR).reference == {"left": 0}
    assert MicArray.from_toml_text(FREE + PAIR + "reference = {right = 1}").ears == ("right",)


def test_copies_with_changes_are_checked_again():
    array = MicArray.load("bte-2x2")
    small = array.scaled(0.9)
    assert small.head_radius == pytest.approx(0.07875)
    assert np.allclose(small.positions, 0.9 * array.positions)
    assert dataclasses.replace(array, name="b").name == "b"
    with pytest.raises(ValueError, match="off the head's sphere"):
        dataclasses.replace(array, head_radius=0.1)
    with pytest.raises(ValueError, match="read-only"):
        array.positions[0, 0] = 1.0


# ---- wrong files ----

WRONG = {
    "not TOML": ("name = ", "is not TOML"),
    "no name": (PAIR, "'name' is missing"),
    "no microphones": (FREE, "'microphones' is missing"),
    "unknown key": (FREE + PAIR + "radius = 1", "an array has no key 'radius'; its keys are head_radius_m"),
    "unknown mount": ('name = "t"\nmount = "hat"\n' + PAIR, 'mount must be "free" or "head", got \'hat\''),
    "unprintable name": ('name = "a\\nb"\n' + PAIR, "printable text"),
    "microphones of another kind": (FREE + "microphones = 4", "'microphones' must be a list of tables"),
    "empty list": (FREE + "microphones = []", "'microphones' must be a list of tables"),
    "unit left out": (FREE + "microphones = [{x = 0.0, y = 0.0}]", "has no key 'x'; its keys are x_m, y_m, z_m"),
    "coordinate left out": (FREE + "microphones = [{x_m = 0.0}]", "needs y_m as a number, got None"),
    "text as coordinate": (FREE + 'microphones = [{x_m = "1 cm", y_m = 0.0}]', "needs x_m as a number, got '1 cm'"),
    "not a number": (FREE + "microphones = [{x_m = nan, y_m = 0.0}]", "needs x_m as a number, got nan"),
    "angles in open air": (FREE + "microphones = [{azimuth_deg = 1.0}]", "has no key 'azimuth_deg'"),
    "metres on the head": (HEAD + "microphones = [{x_m = 0.1, y_m = 0.0}]", "has no key 'x_m'"),
    "elevation over the top": (HEAD + "microphones = [{azimuth_deg = 0, elevation_deg = 91}]", "-90..90"),
    "head without radius": ('name = "t"\nmount = "head"\nmicrophones = [{azimuth_deg = 0}]', "needs a head radius"),
    "head in centimetres": (
        'name = "t"\nmount = "head"\nhead_radius_m = 8.75\nmicrophones = [{azimuth_deg = 0}]',
        "got 8.75; it is in metres",
    ),
    "radius in open air": (FREE + "head_radius_m = 0.09\n" + PAIR, 'needs mount = "head"'),
    "millimetres": (FREE + "microphones = [{x_m = 0, y_m = 0}, {x_m = 65, y_m = 0}]", "divide millimetres by 1000"),
    "duplicate": (
        FREE + "microphones = [{x_m = 0, y_m = 0}, {x_m = 0.1, y_m = 0}, {x_m = 0.0004, y_m = 0}]",
        "microphones 0 and 2 are 0.4 mm apart",
    ),
    "too many": (
        FREE + "microphones = [" + ", ".join(f"{{x_m = {i / 100}, y_m = 0}}" for i in range(17)) + "]",
        "17 microphones; there can be 16 at most",
    ),
    "reference beyond the array": (FREE + PAIR + "reference = 2", "microphone 2; this array has 0 to 1"),
    "negative reference": (FREE + PAIR + "reference = {left = -1}", "microphone -1; this array has 0 to 1"),
    "third ear": (FREE + PAIR + "reference = {middle = 0}", "reference must be {left = i, right = j}"),
    "reference as a list": (FREE + PAIR + "reference = [0, 1]", "reference must be {left = i, right = j}"),
}


@pytest.mark.parametrize("text, sentence", WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_sentence_that_names_it(text, sentence):
    with pytest.raises(EdgeEnhanceError) as caught:
        MicArray.from_toml_text(text, "mine.toml")
    assert "mine.toml" in str(caught.value) and sentence in str(caught.value)


def test_unknown_arrays_and_missing_files_say_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="unknown array 'bte'; choose one of bte-1x2, bte-2x2"):
        MicArray.load("bte")
    with pytest.raises(EdgeEnhanceError, match=r"cannot read .*none\.toml"):
        MicArray.load(tmp_path / "none.toml")
    with pytest.raises(TypeError, match="got int"):
        MicArray.load(4)


@pytest.mark.parametrize("positions", [[0.0, 0.0, 0.0], [[0.0, 0.0]], np.zeros((0, 3)), np.eye(17, 3)])
def test_positions_have_a_row_of_three_per_microphone(positions):
    with pytest.raises(ValueError, match=r"shape \(microphones, 3\)|this array has"):
        MicArray("t", positions)


def names():
    return st.text(min_size=1, max_size=20).filter(lambda text: text.isprintable() and bool(text.strip()))


@st.composite
def arrays(draw):
    count = draw(st.integers(1, MAX_MICS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    reference = {
        ear: draw(st.integers(0, count - 1)) for ear in draw(st.sampled_from(["left", "right", "lr"]).map(_split))
    }
    if draw(st.booleans()):
        return MicArray(draw(names()), _apart(rng, count, 0.4), "free", None, reference)
    positions = _apart(rng, count, 1.0)
    radius = draw(st.floats(0.06, 0.12))
    return MicArray(
        draw(names()), radius * positions / np.linalg.norm(positions, axis=1)[:, None], "head", radius, reference
    )


def _split(ears):
    return ("left", "right") if ears == "lr" else (ears,)


def _apart(rng, count, size):
    """Points in a cube, their directions far enough apart that no two are duplicates."""
    while True:
        points = rng.uniform(-size / 2, size / 2, (count, 3))
        unit = points / np.linalg.norm(points, axis=1)[:, None]
        gaps = np.linalg.norm(unit[:, None] - unit, axis=-1) + np.eye(count)
        if gaps.min() > 0.05 and np.linalg.norm(points[:, None] - points, axis=-1).max() < 1:
            return points


@given(arrays())
@settings(max_examples=60, deadline=None)
def test_any_array_survives_a_round_trip_through_toml(array):
    again = MicArray.from_toml_text(array.to_toml())
    assert again == array and again.reference == array.reference
    assert np.allclose(again.positions, array.positions, atol=2e-9)


# ---- plot ----


def test_a_plot_is_a_figure_that_can_be_saved(tmp_path):
    pytest.importorskip("matplotlib")
    for name in preset_names():
        MicArray.load(name).plot(30.0).savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_plot_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(EdgeEnhanceError, match=r"pip install 'edgeenhance\[eval\]'"):
        MicArray.load("mono").plot()
