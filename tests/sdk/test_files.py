"""Sound files in, sound files out: same length, no delay, any rate, little memory, nothing half-written."""

import errno
import sys
import tracemalloc
import warnings

import numpy as np
import pytest

sf = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

from edgeenhance import EdgeEnhanceError, enhance  # noqa: E402
from edgeenhance._files import atomic_path  # noqa: E402
from edgeenhance.files import Reader, RecordingWarning, enhance_file, resampled  # noqa: E402

RATE = 16000
BEAM = {"array": "bte-2x2", "model": "none"}
THROUGH = {"array": "bte-2x2", "model": "none", "beamformer": "none"}  # the reference microphone as it is


@pytest.fixture
def recording(tmp_path):
    """Write noise that reaches all channels at once; returns (path, samples)."""

    def make(name="in.wav", seconds=1.0, channels=4, rate=RATE, subtype="FLOAT", seed=0):
        rng = np.random.default_rng(seed)
        n = int(seconds * rate)
        smooth = np.convolve(rng.standard_normal(n + 8), np.hanning(9) / 4, "same")[8:]
        x = 0.1 * smooth[:, None] + 1e-3 * rng.standard_normal((n, channels))
        sf.write(tmp_path / name, x, rate, subtype=subtype)
        return tmp_path / name, sf.read(tmp_path / name, dtype="float32", always_2d=True)[0]

    return make


def written(path):
    return sf.read(path, dtype="float32")[0]


def only(folder, *names):
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


@pytest.mark.parametrize("beamformer", ["mvdr", "superdirective"])
def test_a_file_is_enhanced_like_the_whole_signal(recording, tmp_path, beamformer):
    path, x = recording(seconds=2.3)
    enhance_file(path, tmp_path / "out.wav", beamformer=beamformer, **BEAM)
    expected = enhance(x, RATE, beamformer=beamformer, **BEAM)
    np.testing.assert_array_equal(written(tmp_path / "out.wav"), expected)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.001, 0.5, 1.2345])
def test_output_has_the_length_and_rate_of_the_input(recording, tmp_path, rate, seconds):
    path, x = recording(seconds=seconds, rate=rate)
    enhance_file(path, tmp_path / "out.wav", **BEAM)
    info = sf.info(tmp_path / "out.wav")
    assert (info.frames, info.samplerate, info.channels) == (len(x), rate, 1)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_output_is_not_delayed(recording, tmp_path, rate):
    path, x = recording(seconds=2.0, rate=rate)
    enhance_file(path, tmp_path / "out.wav", **THROUGH)
    y, reference = written(tmp_path / "out.wav"), x[:, 0]
    lags = np.arange(-5, 6)
    inner = slice(100, -100)
    products = [np.dot(np.roll(reference, lag)[inner], y[inner]) for lag in lags]
    assert lags[int(np.argmax(products))] == 0


def test_an_empty_file_gives_an_empty_file(tmp_path):
    sf.write(tmp_path / "in.wav", np.zeros((0, 1)), RATE)
    enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", model="none")
    assert sf.info(tmp_path / "out.wav").frames == 0


@pytest.mark.parametrize(
    "name_in, subtype_in, name_out, expected",
    [
        ("in.wav", "PCM_16", "out.wav", ("WAV", "PCM_16")),
        ("in.wav", "FLOAT", "out.wav", ("WAV", "FLOAT")),
        ("in.flac", "PCM_24", "out.wav", ("WAV", "PCM_24")),
        ("in.wav", "FLOAT", "out.flac", ("FLAC", "PCM_24")),
        ("in.wav", "PCM_16", "out.flac", ("FLAC", "PCM_16")),
        ("in.wav", "PCM_16", "OUT.OGG", ("OGG", "VORBIS")),
    ],
)
def test_sample_type_is_kept_where_the_format_can(recording, tmp_path, name_in, subtype_in, name_out, expected):
    path, _ = recording(name_in, subtype=subtype_in)
    enhance_file(path, tmp_path / name_out, **BEAM)
    info = sf.info(tmp_path / name_out)
    assert (info.format, info.subtype) == expected


def test_both_ears_are_two_channels(recording, tmp_path):
    path, x = recording()
    enhance_file(path, tmp_path / "out.wav", ears="both", **BEAM)
    np.testing.assert_array_equal(written(tmp_path / "out.wav"), enhance(x, RATE, ears="both", **BEAM))


def test_channels_are_picked_in_the_arrays_order(recording, tmp_path):
    path, x = recording(channels=6)
    enhance_file(path, tmp_path / "out.wav", channels=[6, 2, 3, 1], **THROUGH)
    np.testing.assert_array_equal(written(tmp_path / "out.wav"), enhance(x[:, [5, 1, 2, 0]], RATE, **THROUGH))


def test_one_channel_needs_no_array(recording, tmp_path):
    path, _ = recording(channels=1)
    enhance_file(path, tmp_path / "out.wav", model="none")
    assert sf.info(tmp_path / "out.wav").channels == 1


@pytest.mark.parametrize("rate", [16000, 48000])
def test_bad_samples_are_muted_and_reported(recording, tmp_path, rate):
    path, x = recording(rate=rate)
    x[rate // 2 : rate // 2 + 7, 1] = np.nan
    x[rate // 2 + 20, 0] = np.inf
    sf.write(path, x, rate, subtype="FLOAT")
    with pytest.warns(RecordingWarning, match="8 frames"):
        enhance_file(path, tmp_path / "out.wav", **BEAM)
    assert np.isfinite(written(tmp_path / "out.wav")).all()


def test_a_wrong_order_of_channels_is_a_warning(tmp_path):
    rng = np.random.default_rng(3)
    left, right = rng.standard_normal((2, 2 * RATE))
    sf.write(tmp_path / "in.wav", 0.05 * np.stack([left, right, 1.01 * left, 1.01 * right], axis=1), RATE, "FLOAT")
    with pytest.warns(RecordingWarning, match="1,3,2,4 would fit"):
        enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", **BEAM)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", channels=[1, 3, 2, 4], **BEAM)


def test_memory_does_not_grow_with_the_file(recording, tmp_path):
    _, x = recording(seconds=1.0, channels=6, rate=48000, subtype="PCM_16")
    peaks = []
    for seconds in (20, 60):
        with sf.SoundFile(tmp_path / "long.wav", "w", 48000, 6, "PCM_16") as file:
            for _ in range(seconds):
                file.write(x)
        tracemalloc.start()
        enhance_file(tmp_path / "long.wav", tmp_path / "out.flac", array="glasses-6", model="none")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 50e6 and peaks[1] < peaks[0] + 1e6


def test_progress_reaches_the_end(recording, tmp_path):
    path, x = recording(seconds=2.5)
    calls = []
    enhance_file(path, tmp_path / "out.wav", progress=lambda *call: calls.append(call), **BEAM)
    assert calls == [(16000, 40000), (32000, 40000), (40000, 40000)]


def test_a_file_can_be_replaced_by_its_enhanced_self(recording, tmp_path):
    path, x = recording()
    enhance_file(path, path, **BEAM)
    np.testing.assert_array_equal(written(path), enhance(x, RATE, **BEAM))


@pytest.mark.parametrize(
    "settings, error, sentence",
    [
        ({"array": "glasses-6"}, ValueError, "6 microphones.*bte-2x2"),
        ({}, ValueError, "4 channels.*bte-2x2"),
        ({"array": "no-such"}, ValueError, "unknown array"),
        ({**BEAM, "channels": [1, 2, 3, 5]}, ValueError, "channels 1 to 4"),
        ({**BEAM, "channels": [0, 1, 2, 3]}, ValueError, "channels 1 to 4"),
        ({**BEAM, "channels": [1, 2, 2, 3]}, ValueError, "twice"),
        ({**BEAM, "channels": [1, 2]}, ValueError, "2 of the 4 channels"),
        ({**BEAM, "beamformer": "no-such"}, ValueError, "beamformer"),
        ({**BEAM, "profile": "no-such"}, ValueError, "profile"),
        ({**BEAM, "strength": 2.0}, ValueError, "strength"),
    ],
)
def test_settings_that_do_not_fit_leave_no_file(recording, tmp_path, settings, error, sentence):
    path, _ = recording()
    with pytest.raises(error, match=sentence):
        enhance_file(path, tmp_path / "out.wav", **settings)
    assert only(tmp_path, "in.wav")


@pytest.mark.parametrize("content", [b"", b"RIFF", b"this is text, not sound\n" * 20, b"RIFF\x24\0\0\0WAVEfmt "])
def test_a_file_that_is_no_sound_file_is_a_sentence(tmp_path, content):
    (tmp_path / "in.wav").write_bytes(content)
    with pytest.raises(EdgeEnhanceError, match="in.wav is not a sound file"):
        enhance_file(tmp_path / "in.wav", tmp_path / "out.wav", **BEAM)
    assert only(tmp_path, "in.wav")


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="no such file"):
        Reader(tmp_path / "in.wav")


def test_a_cut_off_file_is_read_to_where_it_ends(recording, tmp_path):
    path, x = recording(seconds=2.0)
    path.write_bytes(path.read_bytes()[: -RATE * 16])
    enhance_file(path, tmp_path / "out.wav", **BEAM)
    assert sf.info(tmp_path / "out.wav").frames == RATE


def test_an_unknown_output_format_is_a_sentence(recording, tmp_path):
    path, _ = recording()
    with pytest.raises(ValueError, match="end it in .wav"):
        enhance_file(path, tmp_path / "out.xyz", **BEAM)
    assert only(tmp_path, "in.wav")


def test_an_output_folder_that_does_not_exist_is_a_sentence(recording, tmp_path):
    path, _ = recording()
    with pytest.raises(EdgeEnhanceError, match="cannot write"):
        enhance_file(path, tmp_path / "nowhere" / "out.wav", **BEAM)


def test_a_full_disk_is_a_sentence_whatever_is_written(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="cannot write .*a.json: No space left on device"):
        with atomic_path(tmp_path / "a.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.json"):  # of something else
        (tmp_path / "nowhere").read_bytes()


@pytest.mark.parametrize("package", ["soundfile", "soxr"])
def test_a_missing_package_names_the_extra(recording, tmp_path, monkeypatch, package):
    path, _ = recording(rate=48000)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EdgeEnhanceError, match=r"edgeenhance\[files\]"):
        enhance_file(path, tmp_path / "out.wav", **BEAM)
    assert only(tmp_path, "in.wav")


@pytest.mark.parametrize("rates", [(44100, 16000), (16000, 44100), (8000, 16000)])
def test_resampling_in_blocks_is_resampling_the_whole(rates):
    import soxr

    x = np.random.default_rng(4).standard_normal((20000, 3)).astype(np.float32)
    cuts = np.sort(np.random.default_rng(5).integers(0, len(x), 9))
    y = np.concatenate(list(resampled(np.split(x, cuts), 3, *rates)))
    np.testing.assert_allclose(y, soxr.resample(x, *rates), atol=1e-6)
