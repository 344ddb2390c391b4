"""Recordings: decoded once, split by talker, drawn reproducibly."""

import numpy as np
import pytest
import soundfile

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.corpus import Corpus, Source, decode

TALKERS = Source("talkers", "CC0", "synthesized", group=r"^(\d+)-")
UNKNOWN = Source("talkers", "CC0", "synthesized")


def corpus(data_dir, cache, split, source=TALKERS):
    return Corpus(data_dir / "speech", [source], cache, split, held_out=0.4)


def test_no_talker_is_heard_in_training_and_in_validation(data_dir, cache):
    train, valid = ({clip.group for clip in corpus(data_dir, cache, split).clips} for split in ("train", "valid"))
    assert train and valid and not train & valid and len(train | valid) == 8


def test_files_of_unknown_talkers_never_validate(data_dir, cache):
    assert len(corpus(data_dir, cache, "train", UNKNOWN).clips) == 16
    with pytest.raises(EdgeEnhanceError, match="no valid clips"):
        corpus(data_dir, cache, "valid", UNKNOWN)


def test_a_draw_has_the_length_asked_for_and_one_talker(data_dir, cache, rng):
    piece = corpus(data_dir, cache, "train").draw(rng, 50000, pause=0.5)
    assert piece.shape == (50000,) and piece.dtype == np.float32 and np.abs(piece).max() > 0.01


def test_the_same_generator_draws_the_same_samples(data_dir, cache):
    first, second = (corpus(data_dir, cache, "train").draw(np.random.default_rng(3), 9000) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_decoding_happens_once_and_excludes_what_the_recipe_excludes(data_dir, tmp_path):
    path = decode(data_dir / "noise/noises", ("secret*",), tmp_path)
    written = path.stat().st_mtime_ns
    assert decode(data_dir / "noise/noises", ("secret*",), tmp_path) == path
    assert path.stat().st_mtime_ns == written and len(np.load(path)) == 12 * 16000
    assert decode(data_dir / "noise/noises", (), tmp_path) != path


def test_other_rates_and_channels_become_16_khz_mono(tmp_path, rng):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/a.wav", 0.1 * rng.standard_normal((8000, 2)), 8000)
    assert np.load(decode(tmp_path / "in", (), tmp_path / "cache")).shape == (16000,)


def test_a_missing_folder_and_a_broken_file_are_sentences(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="no recordings"):
        decode(tmp_path / "nothing", (), tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/x.wav").write_bytes(b"not a wave file")
    with pytest.raises(EdgeEnhanceError, match="x.wav"):
        decode(tmp_path / "bad", (), tmp_path)
    assert not list(tmp_path.glob("*.npy"))


def test_silent_folders_are_refused(tmp_path, rng):
    (tmp_path / "speech/talkers").mkdir(parents=True)
    soundfile.write(tmp_path / "speech/talkers/1-0.wav", np.zeros(8000), 16000)
    silent = Corpus(tmp_path / "speech", [UNKNOWN], tmp_path, "train")
    with pytest.raises(EdgeEnhanceError, match="silent"):
        silent.draw(rng, 4000)
