"""Banks: the same bits whatever the workers, resumable, in the layout the trainer reads."""

from pathlib import Path

import numpy as np
import pytest

from edgeenhance._toml import load_toml
from edgeenhance.arrays import MicArray
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.simulation import bank as banks
from edgeenhance.simulation.bank import make_bank, scene_item
from edgeenhance.simulation.jobs import run_jobs
from edgeenhance.simulation.random_arrays import kind_names, random_array
from edgeenhance.simulation.scene import draw, scene_seed

TRAIN = load_toml(Path(banks.__file__).parent / "suites" / "train.toml")


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    out = tmp_path_factory.mktemp("banks") / "bank"
    make_bank(TRAIN, out, 4, seed=11, workers=1)
    return out


def test_one_and_two_workers_give_the_same_bits(bank, tmp_path):
    make_bank(TRAIN, tmp_path / "two", 4, seed=11, workers=2)
    assert contents(tmp_path / "two") == contents(bank)


def test_an_interrupted_bank_goes_on_and_may_grow(bank, tmp_path):
    out = tmp_path / "bank"
    make_bank(TRAIN, out, 2, seed=11)
    kept = (out / "scene_00000.npz").stat().st_mtime_ns
    (out / "scene_00001.npz").unlink()
    make_bank(TRAIN, out, 4, seed=11)
    assert contents(out) == contents(bank)
    assert (out / "scene_00000.npz").stat().st_mtime_ns == kept
    assert load_toml(out / "bank.toml")["count"] == 4


def test_a_folder_with_another_bank_is_refused(bank):
    before = contents(bank)
    with pytest.raises(EdgeEnhanceError, match="another seed or other ranges; choose an empty folder"):
        make_bank(TRAIN, bank, 4, seed=12)
    assert contents(bank) == before


def test_wrong_ranges_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="no key 'rooms'"):
        make_bank({**TRAIN, "rooms": {}}, tmp_path / "bank", 2)
    with pytest.raises(ValueError, match="workers must be 1 or more"):
        run_jobs(print, [0], 0, "bank")
    assert not list(tmp_path.iterdir())


def _fail(index):
    raise ValueError(f"scene {index} is impossible")


def test_a_failure_in_a_worker_is_reported_as_it_is():
    with pytest.raises(ValueError, match="scene 3 is impossible"):
        run_jobs(_fail, [3], 1, "bank")


def test_items_have_the_layout_the_trainer_reads(bank):
    assert load_toml(bank / "bank.toml")["format"] == 1
    for path in sorted(bank.glob("*.npz")):
        with np.load(path) as item:
            sources, mics, taps = item["rir"].shape
            array = MicArray.from_toml_text(str(item["array_toml"]))
            assert item["rir"].dtype == item["early"].dtype == item["diffuse"].dtype == np.float16
            assert mics == array.mics and item["diffuse"].shape[:2] == (8, mics) and taps <= 8200
            assert list(item["kind"]) == ["target"] + ["point"] * (sources - 1)
            assert len(item["distances"]) == len(item["azimuths_deg"]) == sources
            assert int(item["reference"]) in array.reference.values()
            assert float(item["look_deg"]) == item["azimuths_deg"][0] and 0.1 <= float(item["rt60"]) <= 0.8
            assert all(np.all(np.isfinite(item[name])) for name in ("rir", "early", "diffuse"))


def test_early_is_the_start_of_the_targets_response_with_energy_one(bank):
    for path in sorted(bank.glob("*.npz")):
        with np.load(path) as item:
            early, response = item["early"].astype(float), item["rir"][0, int(item["reference"])].astype(float)
            assert np.sum(early**2) == pytest.approx(1, abs=2e-3)
            length = min(len(early), len(response))
            assert np.array_equal(early[:length], response[:length])
            assert len(early) == int(item["onset"]) + 800
            direct = np.abs(early[: int(item["onset"]) - 8]).max()
            assert direct < 0.2 * np.abs(early).max()


def test_nothing_audible_is_cut_off():
    scene = draw(TRAIN, scene_seed(11, 1))
    full, item = scene.responses().point, scene_item(scene)
    cut = full[..., item["rir"].shape[-1] :]
    limit = -55 if item["rir"].shape[-1] < banks.LONGEST_S * 16000 - 100 else -30  # half a second at most
    assert 10 * np.log10(np.sum(cut**2) / np.sum(full**2) + 1e-30) < limit


def test_every_kind_of_random_array_is_a_valid_array(rng):
    for kind in kind_names():
        for _ in range(20):
            array = random_array({"kind": kind, "jitter_m": 0.001}, rng)
            assert 1 <= array.mics <= 6 and array.reference
            assert MicArray.from_toml_text(array.to_toml()).mics == array.mics
            if array.mount == "head":
                assert 0.075 <= array.head_radius <= 0.1


def test_unknown_kinds_and_keys_of_random_arrays_are_refused(rng):
    with pytest.raises(ValueError, match="unknown kind 'pyramid'; choose from bte"):
        random_array({"kind": "pyramid"}, rng)
    with pytest.raises(ValueError, match="no key 'size'"):
        random_array({"size": 1}, rng)
