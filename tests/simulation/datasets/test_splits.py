"""Talkers to train, valid and test: shares, seeds, nobody twice, splits of corpora kept."""

from collections import Counter
from pathlib import Path

import pytest

from edgeenhance.simulation.datasets.layouts import Item
from edgeenhance.simulation.datasets.splits import Source, assign, given


def source(talkers, splits=None, name="corpus", layout="folders", kind="speech"):
    root = Path("/raw") / name
    splits = splits or [None] * len(talkers)
    items = (Item(root / f"{n}.wav", kind, t, s) for n, (t, s) in enumerate(zip(talkers, splits)))
    return Source(root, layout, tuple(items))


def counts(found):
    return Counter(found.values())


def test_talkers_are_split_by_share_whatever_their_number_of_recordings():
    talkers = [f"t{n % 50}" for n in range(300)]
    assert counts(assign([source(talkers)])) == {"train": 40, "valid": 5, "test": 5}
    assert counts(assign([source(talkers)], (50, 0, 50))) == {"train": 25, "test": 25}


def test_the_seed_decides_and_neither_order_nor_place_does():
    talkers = [f"t{n}" for n in range(50)]
    found = assign([source(talkers)], seed=3)
    assert found == assign([source(talkers[::-1])], seed=3)
    assert found != assign([source(talkers)], seed=4)
    unnamed, moved = source([None] * 20), source([None] * 20)
    moved = Source(
        Path("/elsewhere/corpus"),
        "folders",
        tuple(Item(Path("/elsewhere") / i.path.relative_to("/raw"), i.kind) for i in moved.items),
    )
    assert assign([unnamed]) == assign([moved])


def test_every_split_gets_someone_as_soon_as_there_are_three():
    assert counts(assign([source(["a", "b", "c"])])) == {"train": 1, "valid": 1, "test": 1}
    assert counts(assign([source(["a", "b"])])) == {"train": 2}


def test_unnamed_recordings_count_as_a_talker_each():
    assert counts(assign([source([None] * 10)])) == {"train": 8, "valid": 1, "test": 1}


def test_splits_of_the_corpus_stay_and_what_lacks_is_drawn_from_training():
    talkers = [f"t{n}" for n in range(30)]
    found = assign([source(talkers, ["train"] * 20 + ["test"] * 10)])
    assert {found[f"folders/speech/t{n}"] for n in range(20, 30)} == {"test"}
    assert counts(found) == {"train": 18, "valid": 2, "test": 10}


def test_a_talker_in_two_splits_or_two_corpora_ends_up_in_the_later_one():
    one = source(["anna", "ben"], ["train", "train"], "one", "librispeech")
    two = source(["anna", "ben", "cleo"], ["test", "train", "test"], "two", "librispeech")
    assert given([one, two])["librispeech/speech/anna"] == "test"
    assert assign([one, two])["librispeech/speech/anna"] == "test"


def test_talkers_of_other_layouts_are_other_people():
    assert len(assign([source(["a"], layout="timit"), source(["a"], layout="musan")])) == 2


@pytest.mark.parametrize("shares", [(80, 20), (0, 50, 50), (80, -10, 30)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="train, valid and test"):
        assign([source(["a"])], shares)
