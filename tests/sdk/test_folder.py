"""Folders of recordings: every file as it would be alone, failures named, the cache asked first."""

import numpy as np
import pytest

sf = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

from edgeenhance import EdgeEnhanceError, MicArray  # noqa: E402
from edgeenhance.cache import Cache  # noqa: E402
from edgeenhance.cli import main  # noqa: E402
from edgeenhance.files import RecordingWarning, enhance_file, writing  # noqa: E402
from edgeenhance.folder import enhance_folder  # noqa: E402

RATE = 16000
BEAM = {"model": "none"}


def noise(seed, channels=1):
    return 0.1 * np.random.default_rng(seed).standard_normal((RATE // 2, channels))


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.wav", "deep/b.flac", "deep/c.mp3")):
        sf.write(folder / name, noise(seed), RATE)
    return folder


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_file_is_enhanced_as_if_alone(recordings, tmp_path):
    seen = []
    written, failed = enhance_folder(recordings, tmp_path / "out", progress=lambda *step: seen.append(step), **BEAM)
    assert failed == {} and names(tmp_path / "out") == ["a.wav", "deep/b.flac", "deep/c.wav"] and len(written) == 3
    assert seen == [(1, 3, "a.wav"), (2, 3, "deep/b.flac"), (3, 3, "deep/c.mp3")]
    enhance_file(recordings / "deep/b.flac", tmp_path / "alone.flac", **BEAM)
    assert (tmp_path / "alone.flac").read_bytes() == (tmp_path / "out/deep/b.flac").read_bytes()


def test_failures_are_named_and_the_rest_is_done(recordings, tmp_path):
    (recordings / "bad.wav").write_bytes(b"no sound")
    sf.write(recordings / "four.wav", noise(4, 4), RATE)
    sf.write(recordings / "deep/c.wav", noise(5), RATE)  # whose result would be that of c.mp3
    written, failed = enhance_folder(recordings, tmp_path / "out", **BEAM)
    assert set(failed) == {"bad.wav", "four.wav", "deep/c.wav"} and len(written) == 3
    assert "not a sound file" in failed["bad.wav"] and "4 channels" in failed["four.wav"]
    assert "another recording's already" in failed["deep/c.wav"]
    assert names(tmp_path / "out") == ["a.wav", "deep/b.flac", "deep/c.wav"]


def test_results_may_lie_below_the_recordings(recordings):
    for _ in range(2):
        written, failed = enhance_folder(recordings, recordings / "clean", **BEAM)
        assert (len(written), failed) == (3, {})


def test_recordings_are_not_replaced(recordings):
    with pytest.raises(EdgeEnhanceError, match="would replace the recordings"):
        enhance_folder(recordings, recordings.parent / "deep/.." / "in", **BEAM)


def test_a_folder_without_recordings_is_an_error(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="no recordings"):
        enhance_folder(tmp_path, tmp_path / "out", **BEAM)


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_same_contents_are_enhanced_once(recordings, tmp_path, on_disk):
    if on_disk:
        pytest.importorskip("diskcache")
    cache = Cache(folder=tmp_path / "cache" if on_disk else None)
    (recordings / "copy.wav").write_bytes((recordings / "a.wav").read_bytes())
    enhance_folder(recordings, tmp_path / "out", cache=cache, **BEAM)
    assert (cache.statistics.hits, cache.statistics.misses) == (1, 3)
    enhance_folder(recordings, tmp_path / "again", cache=cache, **BEAM)
    assert (cache.statistics.hits, cache.statistics.misses) == (5, 3)
    enhance_folder(recordings, tmp_path / "none", **BEAM)
    for name in names(tmp_path / "none"):
        assert len({(tmp_path / folder / name).read_bytes() for folder in ("out", "again", "none")}) == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("change", [{"model": "log-mmse"}, {"strength": 0.5}, {"channels": (2, 1)}, {"array": "pair"}])
def test_other_settings_are_other_results(tmp_path, change):
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in/a.wav", noise(1, 2), RATE)
    cache, usual = Cache(), {"array": "bte-1x2", "channels": None, **BEAM}
    if "array" in change:
        change = {"array": MicArray("pair", [[0, 0.02, 0], [0, -0.02, 0]])}
    enhance_folder(tmp_path / "in", tmp_path / "out", cache=cache, **usual)
    enhance_folder(tmp_path / "in", tmp_path / "out", cache=cache, **{**usual, **change})
    assert (cache.statistics.hits, cache.statistics.misses) == (0, 2)


def test_doubts_about_a_recording_are_told_from_the_cache_too(tmp_path):
    (tmp_path / "in").mkdir()
    x = noise(1)
    x[100] = np.nan
    sf.write(tmp_path / "in/a.wav", x, RATE, subtype="FLOAT")
    cache = Cache()
    for _ in range(2):
        with pytest.warns(RecordingWarning, match="muted"):
            enhance_folder(tmp_path / "in", tmp_path / "out", cache=cache, **BEAM)
    assert cache.statistics.hits == 1


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    """/dev/full is a device without room; how much room there is where it lies is another matter."""
    import shutil
    from collections import namedtuple

    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(0))
    with pytest.raises(EdgeEnhanceError, match="the disk is full"):
        with writing("/dev/full", RATE, 1, "WAV") as write:
            write(noise(1))


def test_the_command(recordings, tmp_path, capsys):
    pytest.importorskip("diskcache")
    words = [
        "enhance",
        str(recordings),
        "-o",
        str(tmp_path / "out"),
        "--model",
        "none",
        "--cache",
        str(tmp_path / "cache"),
    ]
    assert main(words) == 0 and "3 files, 0 of them in the cache" in capsys.readouterr().out
    (recordings / "bad.wav").write_bytes(b"no sound")
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "failed: bad.wav: " in said and "3 files, 3 of them in the cache, 1 failed" in said


def test_the_cache_is_for_folders(recordings, tmp_path, capsys):
    words = ["enhance", str(recordings / "a.wav"), "-o", str(tmp_path / "a.wav"), "--cache", str(tmp_path / "cache")]
    assert main(words) == 2 and "for folders" in capsys.readouterr().err
