"""Lists of training files: what was trained on, and whether a folder holds it."""

import pytest

from edgeenhance.cli import main
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models.corpus import Source
from edgeenhance.models.manifest import check, digest, find_manifest, read_manifest, write_manifest
from edgeenhance.models.recipe import Recipe
from edgeenhance.models.train import train

SPEECH, NOISE = [Source("talkers", "CC0", "made")], [Source("street", "CC0", "made")]


@pytest.fixture
def data(tmp_path):
    for path in ("speech/talkers/a.wav", "speech/talkers/deep/b.flac", "noise/street/c.wav", "noise/street/notes.txt"):
        file = tmp_path / "data" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.encode())
    return tmp_path / "data"


@pytest.fixture
def manifest(data, tmp_path):
    assert write_manifest(data, SPEECH, NOISE, tmp_path / "list.txt.gz") == 3
    return tmp_path / "list.txt.gz"


def test_recordings_are_listed_by_path(manifest):
    paths = [entry.path for entry in read_manifest(manifest)]
    assert paths == ["noise/street/c.wav", "speech/talkers/a.wav", "speech/talkers/deep/b.flac"]


def test_the_same_files_give_the_same_list(data, manifest, tmp_path):
    write_manifest(data, SPEECH, NOISE, tmp_path / "again.txt.gz")
    assert (tmp_path / "again.txt.gz").read_bytes() == manifest.read_bytes()
    assert digest(manifest) == digest(tmp_path / "again.txt.gz")


def test_a_folder_with_all_files_passes(data, manifest):
    assert check(data, manifest) == []


def test_missing_and_changed_files_are_named(data, manifest):
    (data / "noise/street/c.wav").unlink()
    (data / "speech/talkers/a.wav").write_bytes(b"x" * len("speech/talkers/a.wav"))
    assert check(data, manifest) == ["noise/street/c.wav is missing", "speech/talkers/a.wav has other contents"]
    assert check(data, manifest, contents=False) == ["noise/street/c.wav is missing"]


def test_the_command_says_so_and_fails(data, manifest, capsys):
    assert main(["data", "check", str(data), "--manifest", str(manifest)]) == 0
    (data / "noise/street/c.wav").unlink()
    assert main(["data", "check", str(data), "--manifest", str(manifest)]) != 0
    assert "c.wav is missing" in capsys.readouterr().out


def test_an_empty_source_is_an_error(data, tmp_path):
    with pytest.raises(EdgeEnhanceError, match="no recordings in .*nothing"):
        write_manifest(data, [Source("nothing", "CC0", "made")], [], tmp_path / "m.txt.gz")


def test_what_is_no_list_is_a_sentence(tmp_path):
    (tmp_path / "m.txt.gz").write_bytes(b"hello")
    with pytest.raises(EdgeEnhanceError, match="is not a list of files"):
        read_manifest(tmp_path / "m.txt.gz")
    with pytest.raises(EdgeEnhanceError, match="train-1"):
        find_manifest("nothing")


def test_training_refuses_data_that_are_not_the_recipes(recipe_path, data_dir, bank_dir, cache, tmp_path):
    recipe = tmp_path / "listed.toml"
    recipe.write_text('files = "train-1"\n' + recipe_path.read_text())
    with pytest.raises(EdgeEnhanceError, match="is not the data of this recipe: .* is missing"):
        train(recipe, data_dir=data_dir, bank_dir=bank_dir, valid_bank=bank_dir, out=tmp_path / "run", cache=cache)
    assert not (tmp_path / "run").exists()


def test_the_zoo_was_trained_on_the_list_that_comes_along():
    listed = {"/".join(entry.path.split("/")[:2]) for entry in read_manifest("train-1")}
    for path in sorted((find_manifest("train-1").parent.parent / "zoo").glob("*/*.toml")):
        recipe = Recipe.load(path)
        folders = [f"speech/{s.folder}" for s in recipe.speech] + [f"noise/{s.folder}" for s in recipe.noise]
        assert recipe.files == "train-1" and set(folders) <= listed
