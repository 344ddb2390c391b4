"""data/raw to processed, splits and features: what is kept, refused and named, and runs repeated or changed."""

import json
import shutil

import numpy as np
import pytest

sf = pytest.importorskip("soundfile")
pytest.importorskip("pyroomacoustics")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.cli import main  # noqa: E402
from edgeenhance.models.manifest import check  # noqa: E402
from edgeenhance.simulation.datasets.conditions import Conditions  # noqa: E402
from edgeenhance.simulation.datasets.prepare import EXTRACTORS, prepare  # noqa: E402
from edgeenhance.simulation.datasets.splits import SPLITS  # noqa: E402

from .trees import RATE, TREES, sound, write  # noqa: E402

X = sound("one")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """All layouts side by side, prepared."""
    data = tmp_path_factory.mktemp("data")
    for name, make in TREES.items():
        make(data / "raw" / name)
    return data, prepare(data, Conditions(), features=("mel",), workers=2)


@pytest.fixture
def talkers(tmp_path):
    """Ten talkers with two recordings each, and three noises."""
    for n in range(20):
        write(tmp_path / f"raw/own/speech/t{n // 2}/{n}.wav", sound(f"talker {n}"))
    for n in range(3):
        write(tmp_path / f"raw/own/noise/{n}.wav", sound(f"noise {n}"))
    return tmp_path


def listed(data, split):
    return [json.loads(line) for line in (data / f"splits/{split}.jsonl").read_text().splitlines()]


def everything(data):
    return {path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_all_layouts_at_once(corpora):
    data, report = corpora
    assert report.refused == {} and sum(report.found.values()) == 29
    records = [record for split in SPLITS for record in listed(data, split)]
    assert len(records) == 29 and {record["source"] for record in records} == TREES.keys()
    for record in records:
        info = sf.info(data / record["path"])
        assert (info.samplerate, info.channels, info.format, info.subtype) == (RATE, 1, "FLAC", "PCM_16")
        assert (data / record["origin"]).is_file() and record["seconds"] == pytest.approx(1, abs=0.01)
    assert {r["text"] for r in listed(data, "valid")} >= {"WORDS OF 84"}


def test_lists_can_be_checked(corpora):
    data, _ = corpora
    for split in SPLITS:
        assert check(data / "processed" / split, data / f"splits/{split}.txt.gz") == []


def test_features_lie_beside_the_sounds(corpora):
    data, _ = corpora
    for record in (record for split in SPLITS for record in listed(data, split)):
        x = sf.read(data / record["path"], dtype="float32")[0]
        path = data / record["path"].replace("processed", "features/mel").replace(".flac", ".npy")
        np.testing.assert_array_equal(np.load(path), EXTRACTORS["mel"](x, RATE).astype(np.float32))


@pytest.mark.parametrize("feature", EXTRACTORS)
def test_every_feature_is_a_matrix_over_time(feature):
    values = EXTRACTORS[feature](X, RATE)
    assert values.ndim == 2 and len(values) > 50 and np.isfinite(values).all()


def test_nobody_is_on_two_sides(talkers):
    report = prepare(talkers, Conditions())
    sides = {}
    for record in report.kept:
        sides.setdefault((record["kind"], record["talker"] or record["path"]), set()).add(record["split"])
    assert all(len(splits) == 1 for splits in sides.values()) and len(sides) == 13
    assert {len(listed(talkers, split)) for split in ("valid", "test")} == {3}  # two recordings of a talker, a noise


def test_training_can_take_it_from_there(talkers, tmp_path):
    """Names begin with the talker and a hyphen: what a recipe's `group` finds."""
    pytest.importorskip("soxr")
    from edgeenhance.models.corpus import Corpus, Source

    prepare(talkers, Conditions())
    sources = [Source("own", "CC0", "made", group="^([^-]+)")]
    corpus = Corpus(talkers / "processed/train/speech", sources, tmp_path / "cache", "train", held_out=0.0)
    assert {clip.group for clip in corpus.clips} < {f"t{n}" for n in range(10)}


def test_a_second_run_changes_nothing_and_workers_neither(talkers):
    prepare(talkers, Conditions(), features=("mfcc",))
    before = everything(talkers)
    prepare(talkers, Conditions(), features=("mfcc",), workers=2)
    assert everything(talkers) == before
    shutil.rmtree(talkers / "processed"), shutil.rmtree(talkers / "features")
    prepare(talkers, Conditions(), features=("mfcc",), workers=2)
    again = everything(talkers)
    again["processed/examined.jsonl"] = before["processed/examined.jsonl"]  # in the order in which they were done
    assert again == before


def test_a_run_that_was_stopped_goes_on(talkers):
    prepare(talkers, Conditions())
    before = everything(talkers)
    lost = sorted((talkers / "processed").rglob("*.flac"))[::2]
    for path in lost:
        path.unlink()
    journal = talkers / "processed/examined.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])  # killed while it wrote
    prepare(talkers, Conditions())
    assert {name: content for name, content in everything(talkers).items() if name.endswith(".flac")} == {
        name: content for name, content in before.items() if name.endswith(".flac")
    }


def test_another_seed_leaves_nobody_on_the_other_side(talkers):
    prepare(talkers, Conditions(), seed=1, features=("mel",))
    report = prepare(talkers, Conditions(), seed=2, features=("mel",))
    assert any("removed" in note for note in report.notes)
    for folder, suffix in (("processed", "flac"), ("features/mel", "npy")):
        there = {path.relative_to(talkers / folder).with_suffix("") for path in (talkers / folder).rglob(f"*.{suffix}")}
        assert len(there) == 23


def test_a_changed_recording_is_prepared_anew(talkers):
    prepare(talkers, Conditions())
    write(talkers / "raw/own/speech/t0/0.wav", X)
    report = prepare(talkers, Conditions())
    path = next(record["path"] for record in report.kept if record["origin"].endswith("t0/0.wav"))
    np.testing.assert_allclose(sf.read(talkers / path)[0], X, atol=1e-4)


def test_other_settings_need_another_folder(talkers):
    prepare(talkers, Conditions())
    with pytest.raises(EdgeEnhanceError, match="other settings .trim."):
        prepare(talkers, Conditions(trim=True))


def test_what_is_refused_is_named_and_the_rest_goes_on(talkers):
    folder = talkers / "raw/own/speech/t0"
    write(folder / "empty.wav", np.zeros(0))
    write(folder / "silent.wav", np.zeros(RATE))
    write(folder / "clipped.wav", np.clip(30 * X, -1, 1))
    write(folder / "telephone.wav", X, rate=8000)
    write(folder / "short.wav", X[:1000])
    write(talkers / "raw/own/speech/t1/copy.flac", sf.read(folder / "0.wav", dtype="int16")[0])
    (folder / "corrupt.wav").write_bytes(b"RIFF no")
    (folder / "lost.wav").symlink_to(folder / "nowhere.wav")
    write(folder / "cd.wav", sound("cd", rate=44100), rate=44100)
    report = prepare(talkers, Conditions(), workers=2)
    reasons = {path.split("/")[-1]: reason.split(":")[0] for path, reason in report.refused.items()}
    copy = reasons.pop("copy.flac", None) or reasons.pop("0.wav")  # one of the two stays
    assert copy == "same sound as another"
    assert reasons == {
        "empty.wav": "zero length", "silent.wav": "silent", "clipped.wav": "clipped", "corrupt.wav": "corrupt",
        "lost.wav": "not readable",
        "telephone.wav": "sample rate 8000 Hz, less than 16000 Hz", "short.wav": "short",
    }  # fmt: skip
    assert "own mixes sample rates (23 at 16000 Hz, 1 at 44100 Hz); all are at 16000 Hz now" in report.notes
    written = json.loads((talkers / "report.json").read_text())
    assert {entry["path"] for entry in written["refused"]} == set(report.refused)
    assert written["sources"]["own"]["kept"] == len(report.kept) == 24
    assert "1 corrupt" in str(report) and "empty.wav: zero length" in str(report)


def test_a_talker_in_two_splits_of_a_corpus_is_named_and_left_to_the_test(tmp_path):
    for name in ("clean_trainset_28spk_wav/p1_1", "clean_trainset_28spk_wav/p2_1", "clean_testset_wav/p1_2"):
        write(tmp_path / f"raw/vb/{name}.wav")
    report = prepare(tmp_path, Conditions())
    assert report.refused == {"vb/clean_trainset_28spk_wav/p1_1.wav": "talker in two splits: p1 is in test, too"}
    prepare(tmp_path, Conditions(), resplit=True)
    assert sum(len(listed(tmp_path, split)) for split in SPLITS) == 3


def test_folders_that_are_missing_or_hold_nothing(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="there is no folder .*raw; put each corpus"):
        prepare(tmp_path, Conditions())
    (tmp_path / "raw").mkdir()
    with pytest.raises(EdgeEnhanceError, match="no recordings in .*raw$"):
        prepare(tmp_path, Conditions())
    (tmp_path / "raw/empty").mkdir()
    with pytest.raises(EdgeEnhanceError, match="no recordings in .*raw; empty holds no recordings in the layout"):
        prepare(tmp_path, Conditions())
    write(tmp_path / "raw/silence/noise/a.wav", np.zeros(RATE))
    with pytest.raises(EdgeEnhanceError, match="(?s)nothing is left.*silent"):
        prepare(tmp_path, Conditions())


def test_an_empty_corpus_beside_another_is_a_note(talkers):
    (talkers / "raw/empty").mkdir()
    assert any("empty holds no recordings" in note for note in prepare(talkers, Conditions()).notes)


def test_the_command(talkers, capsys):
    arguments = [
        "data",
        "prepare",
        str(talkers),
        "--trim",
        "--loudness",
        "-26",
        "--highpass",
        "50",
        "--layout",
        "own=folders",
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "own" in said and "23" in said
    assert json.loads((talkers / "processed/settings.json").read_text())["loudness_lufs"] == -26


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("--features pitch", "no feature pitch"),
        ("--layout own", "CORPUS=LAYOUT"),
        ("--layout own=tape", "no layout 'tape'"),
        ("--layout other=timit", "no corpus other"),
        ("--talker [", "regular expression"),
        ("--talker abc", "regular expression"),
        ("--split 0 50 50", "train, valid and test"),
    ],
)
def test_wrong_settings_are_sentences(talkers, capsys, words, sentence):
    assert main(["data", "prepare", str(talkers), *words.split()]) == 2
    assert sentence in capsys.readouterr().err and not (talkers / "processed").exists()
