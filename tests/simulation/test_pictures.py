"""Pictures of a scene: panels, axes and values, small files, and sentences for what cannot be drawn."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("pyroomacoustics")
Image = pytest.importorskip("PIL.Image")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.profiles import PROFILES  # noqa: E402
from edgeenhance.simulation.pictures import (  # noqa: E402
    MASK_RANGE_DB,
    RANGE_DB,
    ideal_ratio_mask,
    masks,
    room_plan,
    save_picture,
    spectrograms,
    waveforms,
)
from edgeenhance.simulation.scene import draw  # noqa: E402

RATE = 16000
PROFILE = PROFILES["assist"]


def sine(hertz, seconds=1.0, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def scene(**changes):
    """A target in front of an array that looks along the room, a talker, a noise, and noise from everywhere."""
    return draw(
        {
            "snr_db": -5.0,
            "room": {"dimensions_m": [6.0, 4.0, 2.5], "rt60_s": 0.4},
            "array": {"name": "bte-2x2", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 0.0},
            "talkers": [{"distance_m": 1.5}, {"azimuth_deg": 90.0, "distance_m": 1.0}],
            "noises": [{"kind": "babble", "azimuth_deg": 180.0, "distance_m": 1.0}],
            "diffuse": {"kind": "pink"},
            **changes,
        }
    )


def panels(figure):
    """Axes with signals in them, without the colour bar."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def titles(figure):
    return [ax.get_title(loc="left") for ax in panels(figure)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# ---- signals ----


@pytest.mark.parametrize("picture", [spectrograms, waveforms])
def test_signals_stand_one_above_the_other_under_their_names(picture):
    figure = picture({"clean": sine(500), "noisy": sine(900), "ours": sine(700)}, RATE)
    assert titles(figure) == ["clean", "noisy", "ours"]
    tops = [ax.get_subplotspec().rowspan.start for ax in panels(figure)]
    assert tops == [0, 1, 2]


def test_a_spectrogram_shows_a_tone_at_its_frequency_and_level():
    (image,) = panels(spectrograms({"tone": sine(2000, amplitude=0.1)}, RATE))[0].images
    level = image.get_array()
    assert level[:, level.shape[1] // 2].argmax() / (len(level) - 1) * RATE / 2 == pytest.approx(2000, abs=20)
    assert level.max() == pytest.approx(-20, abs=0.3)


def test_spectrograms_share_one_scale_from_the_loudest_down():
    loud, quiet = panels(spectrograms({"loud": sine(500), "quiet": sine(500, amplitude=0.01)}, RATE))
    assert loud.images[0].get_clim() == quiet.images[0].get_clim()
    low, high = loud.images[0].get_clim()
    assert high == pytest.approx(0, abs=0.3) and high - low == pytest.approx(RANGE_DB)


def test_spectrograms_are_khz_over_seconds():
    figure = spectrograms({"tone": sine(500, seconds=2.0)}, RATE)
    ax = panels(figure)[0]
    assert ax.images[0].get_extent() == [0, 2.0, 0, 8.0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("s", "kHz")
    assert "dB re full scale" in [other.get_ylabel() for other in figure.axes]


@pytest.mark.parametrize("picture", [spectrograms, waveforms])
def test_a_shorter_signal_does_not_cut_the_others(picture):
    figure = picture({"long": sine(500, seconds=2.0), "short": sine(500, seconds=0.5)}, RATE)
    assert [ax.get_xlim() for ax in panels(figure)] == [(0, 2.0)] * 2


def test_a_waveform_reaches_its_peaks_however_long_it_is():
    signal = 0.1 * sine(500, seconds=20.0)
    signal[123456] = -0.8
    ax = panels(waveforms({"click": signal, "tone": sine(500)}, RATE))[0]
    (outline,) = ax.collections
    y = outline.get_paths()[0].vertices[:, 1]
    assert y.min() == pytest.approx(-0.8) and y.max() == pytest.approx(0.1, abs=1e-3)
    assert ax.get_ylim() == pytest.approx((-1.05, 1.05))  # the tone's
    assert len(y) < 5000


def test_silence_can_be_drawn(tmp_path):
    for picture in (spectrograms, waveforms):
        assert save_picture(picture({"silence": np.zeros(RATE)}, RATE), tmp_path / picture.__name__).is_file()


@pytest.mark.parametrize("picture", [spectrograms, waveforms])
@pytest.mark.parametrize(
    "signals, cure",
    [
        ({}, "one signal or more.*got nothing"),
        ({"stereo": np.zeros((RATE, 2))}, r"one-dimensional.*stereo: \(16000, 2\)"),
        ({"empty": np.zeros(0)}, "not empty"),
        ({"good": np.zeros(RATE), "broken": np.full(RATE, np.nan)}, "NaN or Inf"),
    ],
)
def test_signals_that_cannot_be_drawn_raise(picture, signals, cure):
    with pytest.raises(ValueError, match=cure):
        picture(signals, RATE)


@pytest.mark.parametrize("picture", [spectrograms, waveforms])
def test_a_sample_rate_in_khz_raises(picture):
    with pytest.raises(ValueError, match="Hz, 1000 or more, got 16"):
        picture({"tone": sine(500)}, 16)


# ---- gains ----


def test_gains_are_shown_in_db_over_time_and_frequency():
    gains = np.ones((100, PROFILE.bins))
    gains[:, : PROFILE.bins // 2] = 0.1
    figure = masks({"network": gains}, PROFILE)
    (ax,) = panels(figure)
    level = ax.images[0].get_array()
    assert level.shape == (PROFILE.bins, 100)
    assert level[0, 0] == pytest.approx(-20) and level[-1, -1] == pytest.approx(0)
    assert ax.images[0].get_clim() == (-MASK_RANGE_DB, 0)
    seconds = 100 * PROFILE.hop / PROFILE.sample_rate
    assert ax.images[0].get_extent() == pytest.approx([0, seconds, 0, PROFILE.sample_rate / 2000])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("s", "kHz")


def test_low_frequencies_are_below():
    (ax,) = panels(masks({"": np.ones((10, PROFILE.bins))}, PROFILE))
    assert ax.images[0].origin == "lower"


def test_gains_of_zero_can_be_drawn():
    (ax,) = panels(masks({"": np.zeros((10, PROFILE.bins))}, PROFILE))
    assert np.isfinite(ax.images[0].get_array()).all()


@pytest.mark.parametrize("shape", [(10,), (0, PROFILE.bins), (10, PROFILE.bins - 1), (PROFILE.bins, 10)])
def test_gains_of_another_shape_raise(shape):
    with pytest.raises(ValueError, match=f"must be .hops, {PROFILE.bins}.*expand bands to bins"):
        masks({"": np.ones(shape)}, PROFILE)


def test_masks_are_compared_on_one_scale():
    gains = {"ideal": np.ones((100, PROFILE.bins)), "network": np.full((50, PROFILE.bins), 0.5)}
    figure = masks(gains, PROFILE)
    assert titles(figure) == ["ideal", "network"]
    assert {ax.images[0].get_clim() for ax in panels(figure)} == {(-MASK_RANGE_DB, 0)}
    seconds = 100 * PROFILE.hop / PROFILE.sample_rate
    assert [ax.get_xlim() for ax in panels(figure)] == [(0, seconds)] * 2
    with pytest.raises(ValueError, match="one network or more"):
        masks({}, PROFILE)


def test_the_ideal_mask_passes_speech_and_stops_noise():
    speech, noise = sine(500), 1e-2 * sine(5000)
    gains = ideal_ratio_mask(speech, noise, PROFILE)
    assert gains.shape == (RATE // PROFILE.hop, PROFILE.bins) and 0 <= gains.min() <= gains.max() <= 1
    low, high = (int(np.argmin(np.abs(PROFILE.freqs - hertz))) for hertz in (500, 5000))
    assert gains[20:, low].min() > 0.99 and gains[20:, high].max() < 0.01
    np.testing.assert_allclose(ideal_ratio_mask(speech, speech, PROFILE), np.sqrt(0.5), atol=1e-6)
    assert ideal_ratio_mask(0 * speech, 0 * speech, PROFILE).min() == 1


# ---- rooms ----


def places(figure):
    """{what stands there: (x, y)} of everything in the room with a number on it, and of the array."""
    ax = figure.axes[0]
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


def test_sources_stand_where_the_scene_has_them():
    assert places(room_plan(scene())) == {
        "0": pytest.approx((3.5, 2.0)),  # in front, which is +x
        "1": pytest.approx((2.0, 3.0)),  # to the left
        "2": pytest.approx((1.0, 2.0)),  # behind
    }


def test_turning_the_array_turns_what_is_around_it():
    turned = {"name": "bte-2x2", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 90.0}
    assert places(room_plan(scene(array=turned)))["0"] == pytest.approx((2.0, 3.5))


def test_the_legend_names_everybody():
    assert legend(room_plan(scene())) == [
        "pink from everywhere",
        "bte-2x2, on a head",
        "its front",
        "0  target, 0°, 1.5 m",
        "1  talker, 90°, 1.0 m",
        "2  babble noise, 180°, 1.0 m",
    ]


def test_an_array_without_a_head_and_a_room_without_noise_from_everywhere_are_told():
    free = {"name": "bte-2x2", "mount": "free", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 0.0}
    assert legend(room_plan(scene(array=free, diffuse={"directions": 0})))[0] == "bte-2x2, in open air"


def test_the_title_gives_size_reverberation_and_snr():
    assert room_plan(scene()).axes[0].get_title() == "6.0 × 4.0 × 2.5 m, RT60 0.4 s, SNR −5 dB"
    anechoic = scene(room={"dimensions_m": [6.0, 4.0, 2.5], "rt60_s": 0.0}, snr_db=3.0)
    assert room_plan(anechoic).axes[0].get_title() == "6.0 × 4.0 × 2.5 m, anechoic, SNR 3 dB"


def test_a_metre_is_as_long_in_x_as_in_y():
    assert room_plan(scene()).axes[0].get_aspect() == 1.0


@pytest.mark.parametrize("sides", [[6.0, 4.0, 2.5], [12.0, 4.0, 2.5], [4.0, 12.0, 2.5]])
def test_the_legend_fits_into_the_picture(sides):
    figure = room_plan(scene(room={"dimensions_m": sides, "rt60_s": 0.4}))
    figure.draw_without_rendering()
    box, room = figure.legends[0].get_window_extent(), figure.axes[0].get_window_extent()
    assert room.x1 < box.x0 and box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


# ---- files ----


def test_a_picture_is_a_small_file_that_can_be_read(tmp_path, rng):
    """The heaviest: five spectrograms of noise."""
    path = save_picture(spectrograms({str(n): rng.standard_normal(10 * RATE) for n in range(5)}, RATE), tmp_path / "a")
    assert path.parent == tmp_path and path.suffix in (".webp", ".png")
    assert path.stat().st_size < 200_000
    with Image.open(path) as image:
        image.load()
        assert image.format == path.suffix[1:].upper()
        assert 700 < image.width < 1000 and image.height > 700


def test_the_suffix_says_what_is_in_the_file(tmp_path):
    path = save_picture(room_plan(scene()), tmp_path / "room.jpg")
    assert path.stem == "room" and path.suffix in (".webp", ".png")
    assert list(tmp_path.iterdir()) == [path]


def test_without_webp_it_is_a_png(tmp_path, monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: name != "webp")
    path = save_picture(room_plan(scene()), tmp_path / "room.webp")
    with Image.open(path) as image:
        assert path.name == "room.png" and image.format == "PNG"


def test_a_folder_that_is_not_there_raises(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="choose a folder that exists"):
        save_picture(room_plan(scene()), tmp_path / "nowhere" / "room.webp")
