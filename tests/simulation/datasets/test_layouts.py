"""The usual corpora, tiny: each is recognised, and its reader finds recordings, talkers, splits and words."""

import pytest

pytest.importorskip("soundfile")

from edgeenhance.simulation.datasets.layouts import LAYOUTS, find_layout, folders, recordings

from .trees import TREES, write

FOUND = {  # (file, kind, talker, split, words)
    "ms-snsd": [
        ("clnsp1.wav", "speech", None, "train", None),
        ("clnsp2.wav", "speech", None, "test", None),
        ("AirConditioner_1.wav", "noise", None, "train", None),
        ("Babble_1.wav", "noise", None, "test", None),
    ],
    "voicebank-demand": [
        ("p232_001.wav", "speech", "p232", "test", None),
        ("p226_001.wav", "speech", "p226", "train", "Please call Stella."),
    ],
    "dns-challenge": [
        ("book_00000_chp_0009_reader_06709_0_seg_1.wav", "speech", "reader_06709", None, None),
        ("unnamed.wav", "speech", None, None, None),
        ("door_Freesound_validated_1.wav", "noise", None, None, None),
        ("p226_001_mic1.flac", "speech", "p226", None, None),
        ("siren.wav", "noise", None, None, None),
    ],
    "librispeech": [
        ("84-7-0000.flac", "speech", "84", "valid", "WORDS OF 84"),
        ("61-7-0000.flac", "speech", "61", "test", "WORDS OF 61"),
        ("19-7-0000.flac", "speech", "19", "train", "WORDS OF 19"),
    ],
    "ljspeech": [("LJ001-0001.wav", "speech", "LJ", None, 'Printing, "in" fourteen fifty-five')],
    "timit": [
        ("SI7.WAV", "speech", "mabc0", "test", "She had your dark suit."),
        ("SA1.WAV", "speech", "fcjf0", "train", "She had your dark suit."),
    ],
    "musan": [
        ("speech-librivox-0000.wav", "speech", None, None, None),
        ("music-fma-0000.wav", "noise", None, None, None),
        ("noise-free-0.wav", "noise", None, None, None),
    ],
    "esc-50": [
        ("1-100032-A-0.wav", "noise", "100032", None, None),
        ("1-100032-B-0.wav", "noise", "100032", None, None),
        ("2-100210-A-36.wav", "noise", "100210", None, None),
    ],
    "wham": [
        ("tr_0.5_x_-0.5.wav", "noise", None, "train", None),
        ("cv_0.5_x_-0.5.wav", "noise", None, "valid", None),
        ("tt_0.5_x_-0.5.wav", "noise", None, "test", None),
    ],
    "folders": [
        ("one.wav", "speech", "anna", None, None),
        ("nobody.wav", "speech", None, None, None),
        ("a.wav", "noise", "street", None, None),
    ],
}


def test_every_layout_is_tried():
    assert FOUND.keys() == TREES.keys() == LAYOUTS.keys()


@pytest.mark.parametrize("name", TREES)
def test_a_corpus_is_recognised_and_read(name, tmp_path):
    TREES[name](tmp_path)
    found, base = find_layout(tmp_path)
    assert found == name
    items = list(LAYOUTS[name].read(base))
    assert [(i.path.name, i.kind, i.talker, i.split, i.text) for i in items] == FOUND[name]
    assert all(item.path.is_file() for item in items)


@pytest.mark.parametrize("name", TREES)
def test_it_is_found_one_folder_deeper_too(name, tmp_path):
    TREES[name](tmp_path / "archive")
    found, base = find_layout(tmp_path) if name not in ("librispeech", "wham") else find_layout(tmp_path / "archive")
    assert found == name and list(LAYOUTS[name].read(base))


def test_what_is_no_corpus_is_none(tmp_path):
    write(tmp_path / "misc" / "a.wav")
    assert find_layout(tmp_path) is None


def test_plain_folders_may_name_their_talkers_otherwise(tmp_path):
    write(tmp_path / "speech/all/07-3.wav")
    write(tmp_path / "speech/all/other.wav")
    assert [item.talker for item in folders(tmp_path, r"/(\d+)-")] == ["07", None]


def test_hidden_files_and_other_files_are_no_recordings(tmp_path):
    write(tmp_path / "a.WAV", format="WAV")
    write(tmp_path / "._a.wav")
    (tmp_path / "b.txt").write_text("words")
    assert [path.name for path in recordings(tmp_path)] == ["a.WAV"]
    assert recordings(tmp_path / "nowhere") == []
