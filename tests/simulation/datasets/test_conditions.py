"""One recording: what is refused and why, and what is made of the others."""

import numpy as np
import pytest

sf = pytest.importorskip("soundfile")
pytest.importorskip("pyroomacoustics")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.simulation.datasets.conditions import PEAK, Conditions, conditioned, examine  # noqa: E402
from edgeenhance.simulation.datasets.loudness import loudness  # noqa: E402

from .trees import RATE, sound, write  # noqa: E402

X = sound("speech", 2.0)


def made(x, rate=RATE, **settings):
    y = conditioned(np.atleast_2d(x.T).T, rate, Conditions(**settings))
    assert y.dtype == np.int16
    return y / 32768


def level_db(x):
    return 10 * np.log10(np.mean(np.square(x)) + 1e-20)


# ---- examine ----


def test_facts_of_a_good_recording(tmp_path):
    write(tmp_path / "a.wav", np.stack([X, X], axis=1), rate=44100)
    facts = examine(tmp_path / "a.wav", Conditions())
    assert (facts["rate"], facts["channels"], facts["seconds"]) == (44100, 2, round(len(X) / 44100, 3))


def test_the_same_samples_have_the_same_hash_in_any_format(tmp_path):
    for name in ("a.wav", "b.flac"):
        write(tmp_path / name, (32768 * X).astype(np.int16))
    write(tmp_path / "c.wav", X[::-1])
    a, b, c = (examine(tmp_path / name, Conditions())["sha256"] for name in ("a.wav", "b.flac", "c.wav"))
    assert a == b != c


@pytest.mark.parametrize(
    "x, reason",
    [
        (np.zeros(0), "zero length"),
        (np.zeros(RATE), "silent"),
        (np.full(RATE, 0.5), "silent"),  # a constant
        (1e-4 * X, "silent"),
        (np.clip(20 * X, -0.5, 0.5), "clipped"),  # and turned down
        (np.where(np.arange(len(X)) == 5, np.nan, X), "NaN or Inf"),
    ],
)
def test_unfit_sounds_are_refused(tmp_path, x, reason):
    write(tmp_path / "a.wav", x, subtype="FLOAT")
    assert examine(tmp_path / "a.wav", Conditions())["reason"].startswith(reason)


def test_corrupt_files_are_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "lost.wav").symlink_to(tmp_path / "nowhere.wav")
    write(tmp_path / "cut.flac", X)
    whole = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    reasons = {path.name: examine(path, Conditions())["reason"] for path in tmp_path.iterdir()}
    assert reasons.pop("empty.wav") == "zero length"
    assert reasons.pop("lost.wav") == "not readable: No such file or directory"
    assert len(reasons) == 2 and all(reason.startswith("corrupt: ") for reason in reasons.values())


def test_lower_rates_and_missing_channels_are_refused(tmp_path):
    write(tmp_path / "a.wav", X, rate=8000)
    assert examine(tmp_path / "a.wav", Conditions())["reason"] == "sample rate 8000 Hz, less than 16000 Hz"
    assert "reason" not in examine(tmp_path / "a.wav", Conditions(rate=8000))
    assert examine(tmp_path / "a.wav", Conditions(rate=8000, channel=2))["reason"].startswith("no channel 2")


# ---- conditioned ----


def test_without_settings_samples_stay_as_they_are(tmp_path):
    write(tmp_path / "a.wav", X, subtype="PCM_16")
    x = sf.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_array_equal(made(x), x)


def test_channels_are_averaged_or_one_is_picked():
    pair = np.stack([X, np.zeros_like(X)], axis=1)
    np.testing.assert_allclose(made(pair), X / 2, atol=2e-5)
    np.testing.assert_allclose(made(pair, channel=1), X, atol=2e-5)
    with pytest.raises(EdgeEnhanceError, match="silent"):
        made(pair, channel=2)


def test_the_rate_changes_and_tones_stay():
    tone = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000)
    spectrum = np.abs(np.fft.rfft(made(tone, 48000)))
    assert len(spectrum) == 8001 and np.argmax(spectrum) == 1000


def test_silence_is_trimmed_and_a_tenth_of_a_second_of_it_stays():
    quiet = np.zeros(RATE)
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    assert len(made(np.concatenate([quiet, tone, quiet, tone, quiet]))) == 5 * RATE
    y = made(np.concatenate([quiet, tone, quiet, tone, quiet]), trim=True)
    assert len(y) == pytest.approx(3.2 * RATE, abs=RATE // 25)


@pytest.mark.parametrize(
    "settings, passes, stops",
    [
        ({"highpass": 200}, 1000, 50),
        ({"lowpass": 4000}, 1000, 7000),
        ({"highpass": 300, "lowpass": 3400}, 1000, 100),
        ({"highpass": 300, "lowpass": 3400}, 1000, 6000),
    ],
)
def test_filters_pass_and_stop_without_delay(settings, passes, stops):
    time = np.arange(2 * RATE) / RATE
    kept, left = (0.4 * np.sin(2 * np.pi * hertz * time) for hertz in (passes, stops))
    y = made(kept + left, **settings)
    inner = slice(RATE // 4, -RATE // 4)
    assert level_db((y - kept)[inner]) < level_db(kept) - 40


def test_levels_are_set_by_loudness_or_peak():
    assert loudness(made(X, loudness_lufs=-30.0), RATE) == pytest.approx(-30, abs=0.05)
    assert np.abs(made(X, peak_dbfs=-6.0)).max() == pytest.approx(10 ** (-6 / 20), abs=1e-4)


def test_no_level_makes_it_clip():
    assert np.abs(made(X, loudness_lufs=0.0)).max() == pytest.approx(PEAK, abs=1e-4)


def test_what_is_left_must_be_long_enough():
    with pytest.raises(EdgeEnhanceError, match="short: 0.50 s"):
        made(X[: RATE // 2], min_seconds=0.6)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"highpass": 8000}, "half the sample rate"),
        ({"highpass": 4000, "lowpass": 300}, "nothing passes"),
        ({"loudness_lufs": -23, "peak_dbfs": -1}, "not both"),
        ({"peak_dbfs": 3}, "-90 to 0"),
        ({"loudness_lufs": np.nan}, "-90 to 0"),
        ({"min_seconds": -1}, "min_seconds 0 or more"),
        ({"clipped": 2}, "share of samples"),
    ],
)
def test_contradictions_are_sentences(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Conditions(**settings)
