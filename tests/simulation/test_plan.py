"""Suites of `edgeenhance evaluate`: read, multiplied out, and refused with a sentence."""

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation.conditions import Condition
from edgeenhance.simulation.plan import Plan
from edgeenhance.simulation.scene import draw

SCENE = """
[defaults]
duration_s = 1.5
room = {dimensions_m = [5.0, 4.0, 2.6], rt60_s = 0.2}
array = {name = "bte-2x2", position_m = [2.0, 2.0, 1.2], azimuth_deg = 0.0}
talkers = [{distance_m = 1.0}]
noises = [{kind = "white", azimuth_deg = 120.0}, {kind = "pink", azimuth_deg = -90.0}]
"""
DRAWN = f"{SCENE}\n[draw]\ncount = 2\nseed = 5\n"


def load(tmp_path, text):
    path = tmp_path / "suite.toml"
    path.write_text(text)
    return Plan.load(path)


def test_a_sweep_is_every_combination_on_every_scene(tmp_path):
    plan = load(tmp_path, f"{DRAWN}[sweep]\nsnr_db = [-5, 5]\nrt60_s = [0.2, 0.4, 0.6]\n")
    assert len(plan.cases) == 2 * 2 * 3 and plan.axes == ("snr_db", "rt60_s")
    assert len({case.name for case in plan.cases}) == 12
    scenes = [case.scene(plan.folder) for case in plan.cases]
    assert sorted({(scene.snr_db, scene.room.rt60) for scene in scenes}) == sorted(
        (snr, rt60) for snr in (-5, 5) for rt60 in (0.2, 0.4, 0.6)
    )
    assert len({scene.seed for scene in scenes}) == 2  # what is swept is all that differs


def test_distance_interferers_and_array_can_be_swept(tmp_path):
    sweep = 'distance_m = [0.5, 1.5]\ninterferers = [0, 2]\narray = ["mono", "linear-4"]'
    plan = load(tmp_path, f"{DRAWN}[sweep]\n{sweep}\n")
    facts = {
        (round(s.sources[0].distance_m, 3), len(s.sources) - 1, s.array.name)
        for s in (case.scene(plan.folder) for case in plan.cases)
    }
    assert facts == {(d, n, a) for d in (0.5, 1.5) for n in (0, 2) for a in ("mono", "linear-4")}


def test_conditions_have_names(tmp_path):
    text = '[[conditions]]\nname = "plain"\n[[conditions]]\nname = "dead one"\ndead = 1\n'
    plan = load(tmp_path, DRAWN + text)
    assert [case.axes["condition"] for case in plan.cases] == ["plain", "dead one"] * 2
    assert [case.condition.dead for case in plan.cases] == [None, 1] * 2


def test_the_suites_that_come_with_the_package_can_be_read():
    plan = Plan.load("robustness")
    assert len(plan.cases) == 6 * 13 and plan.look == "talker"
    assert len(Plan.load("hundred").cases) == 100 and len(Plan.load("artifacts").cases) == 2
    plan = Plan.load("impact")
    assert plan.axes == ("snr_db",) and {case.axes["snr_db"] for case in plan.cases} == {-5, 0, 5, 10, 15, 20}


def test_results_depend_on_the_key(tmp_path):
    first, same = load(tmp_path, DRAWN), load(tmp_path, DRAWN)
    other = load(tmp_path, DRAWN.replace("seed = 5", "seed = 6"))
    assert first.key(None, None) == same.key(None, None) != other.key(None, None)
    assert first.key("speech", None) != first.key(None, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (SCENE, "one of suite, \\[\\[scenes\\]\\] and \\[draw\\]"),
        (f"tilte = 'x'\n{DRAWN}", "unknown key 'tilte'"),
        (f'metrics = ["posq"]\n{DRAWN}', "unknown metric 'posq'; choose from .*pesq"),
        (f'look = "back"\n{DRAWN}', "look is one of front, talker"),
        (f'systems = ["noisy", "noisy"]\n{DRAWN}', "names of their own"),
        (f'baseline = "mvdr"\n{DRAWN}', "the baseline is one of them"),
        (f"{DRAWN}[sweep]\nsnr = [1]\n", "snr_db, level_dbfs"),
        (f"{DRAWN}[sweep]\nsnr_db = 1\n", "takes lists"),
        (f"{DRAWN}[sweep]\nrt60_s = [0.01]\n", "case drawn-00000.*too short for a room"),
        (f'{DRAWN}[[conditions]]\nname = "x"\nswap = [1]\n', "two microphones such as"),
        (f'{DRAWN}[[conditions]]\nname = "x"\ndead = 1.5\n', "counted from 0"),
        (f'{DRAWN}[[commands]]\nname = "x"\n', "takes name, command, delay"),
        (f'{DRAWN}[gate]\npreset = "lax"\n', "choose from default, strict, none"),
        (f"{DRAWN}[gate.at_least]\nposq = 1\n", "unknown metric 'posq'"),
        ('suite = "bench"\npick = [99]\n', "pick names scenes 0 to 35"),
    ],
)
def test_a_wrong_suite_is_one_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path, text)


def test_a_missing_suite_is_one_sentence(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="cannot read"):
        Plan.load(tmp_path / "no.toml")


def test_folders_are_paired_by_name(tmp_path):
    for folder, names in (("noisy", "ab"), ("clean", "a")):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.wav").touch()
    with pytest.raises(ValueError, match="has no b.wav"):
        Plan.of_files(tmp_path / "noisy", tmp_path / "clean", systems=("noisy",))
    (tmp_path / "clean" / "b.wav").touch()
    plan = Plan.of_files(tmp_path / "noisy", tmp_path / "clean", systems=("noisy",))
    with pytest.raises(ValueError, match="there is no .*lost.wav and no .*nowhere; name a recording"):
        Plan.of_files(tmp_path / "lost.wav", tmp_path / "nowhere", systems=("noisy",))
    assert [case.name for case in plan.cases] == ["a", "b"]


# ---- conditions ----


@pytest.fixture(scope="module")
def scene():
    return draw(
        {
            "seed": 3, "duration_s": 1.5, "room": {"dimensions_m": [5.0, 4.0, 2.6], "rt60_s": 0.2},
            "array": {"name": "bte-2x2", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 0.0},
            "talkers": [{"distance_m": 1.0}], "noises": [{"kind": "white", "azimuth_deg": 90.0}],
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def plain(scene):
    return scene.render()


def test_without_a_condition_nothing_changes(scene, plain):
    np.testing.assert_array_equal(Condition().render(scene, None, None).mix, plain.mix)


def test_a_dead_microphone_is_silent_and_swapped_ones_are_swapped(scene, plain):
    dead = Condition(dead=1).render(scene, None, None)
    assert not dead.mix[:, 1].any() and np.array_equal(dead.mix[:, 0], plain.mix[:, 0])
    swapped = Condition(swap=(0, 3)).render(scene, None, None)
    np.testing.assert_array_equal(swapped.mix[:, [3, 1, 2, 0]], plain.mix)
    with pytest.raises(ValueError, match="microphone 7"):
        Condition(dead=7).render(scene, None, None)


def test_clipping_cuts_so_many_decibels_below_the_peak(scene, plain):
    clipped = Condition(clip_db=6).render(scene, None, None)
    assert np.abs(clipped.mix).max() == pytest.approx(np.abs(plain.mix).max() * 10 ** (-6 / 20), rel=1e-5)
    np.testing.assert_array_equal(clipped.early, plain.early)


def test_gain_moves_mixture_and_target_alike(scene, plain):
    loud = Condition(gain_db=20).render(scene, None, None)
    np.testing.assert_allclose(loud.mix, 10 * plain.mix, rtol=1e-5)
    np.testing.assert_allclose(loud.early, 10 * plain.early, rtol=1e-5)


def test_mismatch_acts_on_the_parts_as_on_the_mixture(scene):
    sound = Condition(mismatch=1).render(scene, None, None)
    np.testing.assert_allclose(sound.reverberant + sound.noise, sound.mix, atol=1e-4 * np.abs(sound.mix).max())


def test_a_moving_target_begins_in_one_direction_and_ends_in_another(scene, plain):
    moved = Condition(move_deg=60).render(scene, None, None)
    there = draw({**scene.to_dict(), "talkers": [{"distance_m": 1.0, "azimuth_deg": 60.0}]}).render()
    n = len(plain.mix) // 20
    np.testing.assert_allclose(moved.clean[:10], plain.clean[:10], atol=1e-4)
    near, far = (np.sum((moved.clean[-n:] - other.clean[-n:]) ** 2) for other in (there, plain))
    assert near < 0.2 * far
