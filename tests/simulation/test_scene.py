"""Scenes: drawn from a file, rendered to what was asked for, the same every time, refused with a sentence."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeenhance._toml import parse_toml
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.simulation import scene as scenes
from edgeenhance.simulation.draw import resolve
from edgeenhance.simulation.render import speaking
from edgeenhance.simulation.room import EARLY_S, LEAD, SAMPLE_RATE
from edgeenhance.simulation.scene import Scene, draw, scene_seed
from edgeenhance.simulation.simulate import run_simulate, simulate
from edgeenhance.simulation.suite import load_suite
from edgeenhance.simulation.toml_text import toml_text

EXAMPLES = sorted((Path(scenes.__file__).parent / "scenes").glob("*.toml"))
RANGES = {
    "duration_s": 1.5,
    "snr_db": [-3, 9],
    "room": {"dimensions_m": [[4, 6], [3.5, 5], 2.6], "rt60_s": [0.2, 0.4]},
    "array": {"name": "bte-2x2"},
    "talkers": [{"azimuth_deg": [-10, 10], "distance_m": [0.8, 1.2]}],
    "noises": [
        {
            "kind": "pink",
            "azimuth_deg": [-180, 180],
            "min_separation_deg": 40,
            "distance_m": [0.7, 2.0],
            "level_db": -3,
        },
        {"kind": "speech", "azimuth_deg": [-180, 180], "min_separation_deg": 40, "distance_m": [0.7, 2.0]},
    ],
    "diffuse": {"directions": 4, "kind": "white", "level_db": -6},
}
FIXED = {
    "duration_s": 1.0,
    "room": {"dimensions_m": [5.0, 4.0, 2.7], "rt60_s": 0.2},
    "array": {"name": "bte-1x2", "position_m": [2.0, 2.0, 1.2], "azimuth_deg": 0.0},
    "talkers": [{"distance_m": 1.0}],
    "noises": [{"kind": "white", "azimuth_deg": 90.0, "distance_m": 1.0}],
}


def changed(table, **changes):
    """A copy with keys replaced; a__b=c means table["a"]["b"] = c, where a may be a list's index."""
    table = copy.deepcopy(table)
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = table
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[key] = value
    return table


@pytest.fixture(scope="module")
def rendered():
    scene = draw(RANGES, 3)
    return scene, scene.render()


def test_shapes_and_types(rendered):
    scene, sound = rendered
    n = int(1.5 * SAMPLE_RATE)
    assert sound.mix.shape == sound.reverberant.shape == sound.noise.shape == (n, 4)
    assert sound.target.shape == (n, 2)
    assert all(part.dtype == np.float32 for part in (sound.mix, sound.target, sound.reverberant, sound.noise))
    assert np.array_equal(sound.mix, sound.reverberant + sound.noise)
    assert np.array_equal(sound.early, sound.target[:, 0])


def test_the_same_seed_gives_the_same_bits(rendered):
    scene, sound = rendered
    again = draw(RANGES, 3).render()
    assert np.array_equal(again.mix, sound.mix) and np.array_equal(again.target, sound.target)
    assert again.meta == sound.meta


def test_another_seed_gives_another_scene(rendered):
    assert draw(RANGES, 4).to_dict() != rendered[0].to_dict()


def test_what_was_drawn_can_be_rendered_again_to_the_bit(rendered):
    scene, sound = rendered
    rebuilt = draw(json.loads(json.dumps(scene.to_dict())))
    assert np.array_equal(rebuilt.render().mix, sound.mix)
    assert draw(parse_toml(toml_text(scene.to_dict()))).to_dict() == scene.to_dict()


def test_snr_and_level_are_as_asked(rendered):
    scene, sound = rendered
    target, noise = sound.reverberant[:, scene.reference], sound.noise[:, scene.reference]
    active = speaking(target)
    assert 10 * np.log10(np.mean(target[active] ** 2) / np.mean(noise[active] ** 2)) == pytest.approx(
        scene.snr_db, abs=0.1
    )
    assert 10 * np.log10(np.mean(target[active] ** 2)) == pytest.approx(scene.level_dbfs, abs=0.1)


def test_target_is_the_early_part_of_the_reverberant_target(tmp_path):
    """With a click as the talker both are the same up to 50 ms after the direct sound, then the target is silent."""
    click = np.zeros(SAMPLE_RATE)
    click[100] = 0.5
    soundfile.write(tmp_path / "click.wav", click, SAMPLE_RATE)
    scene = draw(changed(FIXED, talkers__0__file="click.wav", duration_s=0.5), 1, tmp_path)
    sound = scene.render()
    end = 100 + scene.responses().onsets[0] - LEAD + int(EARLY_S * SAMPLE_RATE)
    peak = np.abs(sound.reverberant[:, 0]).max()
    assert np.allclose(sound.target[:end, 0], sound.reverberant[:end, 0], atol=1e-5 * peak)
    assert np.abs(sound.target[end:, 0]).max() < 1e-5 * peak
    assert np.abs(sound.reverberant[end:, 0]).max() > 1e-3 * peak


def test_sensor_noise_has_its_level_and_is_independent():
    scene = draw(changed({k: v for k, v in FIXED.items() if k != "noises"}, sensor_noise_dbfs=-60.0), 1)
    noise = scene.render().noise
    assert 10 * np.log10(np.mean(noise**2, axis=0)) == pytest.approx(-60, abs=0.2)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05


def test_calibration_errors_reach_the_microphones():
    plain = draw(FIXED, 1).responses().point
    off = changed(FIXED, calibration={"gains_db": [0.0, 6.0], "phases_deg": [0.0, 90.0]})
    spectra = np.fft.rfft(draw(off, 1).responses().point[0], 8192) / np.fft.rfft(plain[0], 8192)
    middle = spectra[:, 300:3500]
    assert np.allclose(middle[0], 1, atol=0.02)
    assert np.median(np.abs(middle[1])) == pytest.approx(10 ** (6 / 20), rel=0.03)
    assert np.degrees(np.median(np.angle(middle[1]))) == pytest.approx(90, abs=3)


def test_drawn_calibration_stays_within_its_bounds():
    scene = draw(changed(FIXED, calibration={"gain_db": 2.0, "phase_deg": 5.0, "position_m": 0.0005}), 1)
    assert np.all(np.abs(scene.gain_db) <= 2) and np.any(scene.gain_db)
    assert np.all(np.abs(scene.phase_deg) <= 5) and np.any(scene.phase_deg)
    assert 0 < np.abs(scene.displacement).max() < 0.0025


def test_head_can_be_taken_away():
    scene = draw(changed(FIXED, array__mount="free"), 1)
    assert scene.array.mount == "free"
    assert np.allclose(scene.array.positions, draw(FIXED, 1).array.positions, atol=1e-8)


def test_competing_sources_keep_their_distance_from_the_target():
    for seed in range(20):
        target, *others = draw(RANGES, seed).sources
        apart = [abs((other.azimuth_deg - target.azimuth_deg + 180) % 360 - 180) for other in others]
        assert min(apart) >= 40


def test_numbers_are_fixed_drawn_or_chosen(rng):
    assert resolve(3.0, rng) == 3.0
    assert all(2 <= resolve([2, 5], rng) <= 5 for _ in range(20))
    assert {resolve([2, 3], rng, whole=True) for _ in range(50)} == {2, 3}
    assert {resolve(["a", "b", "c"], rng) for _ in range(50)} == {"a", "b", "c"}
    assert {resolve({"choice": [-5, 5]}, rng) for _ in range(50)} == {-5, 5}
    assert all(resolve({"choice": [[0, 1], [8, 9]], "weights": [0, 1]}, rng) >= 8 for _ in range(20))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"talkers__0__distance_m": 4.0},
            r"talkers.* 1 .*target.* \(6.00, 2.00, 1.20\) m lies outside .* 5 x 4 x 2.7 m",
        ),
        ({"noises__0__distance_m": 3.0}, r"noises.* 1 .*interferer.* lies outside the room"),
        ({"array__position_m": [2.0, 5.0, 1.2]}, r"microphone 0 of the array at .* lies outside the room"),
        ({"room__rt60_s": -1}, r"rt60_s = -1 lies outside 0 to 5"),
        ({"room__rt60_s": 0.01}, r"too short"),
        ({"room__size_m": 3}, r"\[room\] has no key 'size_m'; its keys are dimensions_m"),
        ({"snr": 3}, r"has no key 'snr'"),
        ({"talkers": []}, r"needs one \[\[talkers\]\]"),
        ({"array": {"name": "bte-9x9"}}, r"unknown array 'bte-9x9'"),
        ({"array": {}}, r"needs one of name"),
        ({"noises__0__kind": "purple"}, r"unknown kind 'purple'; choose from recorded"),
        ({"snr_db": "loud"}, r"snr_db must be a number or a range"),
        ({"snr_db": [5, -5]}, r"runs backwards"),
        ({"snr_db": {"choice": [0, 5], "weights": [1]}}, r"as many weights"),
        ({"talkers__0__elevation_deg": 100}, r"elevation_deg = 100 lies outside -90 to 90"),
        ({"room__dimensions_m": [5, 4]}, r"three numbers"),
        ({"array__ear": "right"}, r"no 'right' ear"),
        ({"calibration": {"gains_db": [0.0]}}, r"each of the array's 2 microphones"),
    ],
)
def test_wrong_scenes_are_refused_with_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw(changed(FIXED, **changes), 0)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "x"])
def test_wrong_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed must be a whole number"):
        draw(FIXED, seed)


def test_sensor_noise_louder_than_the_snr_allows_is_refused():
    with pytest.raises(ValueError, match="lower sensor_noise_dbfs"):
        draw(changed(FIXED, sensor_noise_dbfs=-20.0, snr_db=10.0), 0).render()


def test_recordings_come_from_the_folders(tmp_path, rng):
    for name in ("speech", "noise"):
        (tmp_path / name).mkdir()
        for index in range(2):
            soundfile.write(tmp_path / name / f"{name}{index}.wav", 0.1 * rng.standard_normal(8000), SAMPLE_RATE)
    scene = draw(changed(FIXED, noises__0__kind="recorded"), 0)
    files = scene.render(tmp_path / "speech", tmp_path / "noise").meta["files"]
    assert set(files[0]) <= {"speech0.wav", "speech1.wav"} and set(files[1]) <= {"noise0.wav", "noise1.wav"}


def test_a_folder_without_recordings_and_a_file_that_is_no_sound_are_refused(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="no recordings in"):
        draw(FIXED, 0).render(speech=tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(EdgeEnhanceError, match="cannot read .*text.wav"):
        draw(FIXED, 0).render(speech=tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_scenes_can_be_drawn(path):
    for seed in range(5):
        assert Scene.load(path, seed).sources


def test_simulate_writes_whole_folders_and_goes_on_where_it_stopped(tmp_path):
    out = tmp_path / "out"
    simulate(FIXED, out, seed=5, count=2, workers=2)
    folders = [out / f"scene_{index:05d}" for index in range(2)]
    assert sorted(path.name for path in out.iterdir()) == ["scene_00000", "scene_00001", "scenes.toml"]
    meta = json.loads((folders[0] / "scene.json").read_text())
    assert meta["look_deg"] == 0.0 and meta["seed"] == 5
    mix, rate = soundfile.read(folders[0] / "mix.wav", dtype="float32")
    parts = [soundfile.read(folders[0] / f"{name}.wav", dtype="float32")[0] for name in ("reverberant", "noise")]
    assert rate == SAMPLE_RATE and np.array_equal(mix, parts[0] + parts[1])
    kept, made = folders[0].stat().st_ino, [path.read_bytes() for path in sorted(folders[1].iterdir())]
    for path in folders[1].iterdir():
        path.unlink()
    folders[1].rmdir()
    simulate(FIXED, out, seed=5, count=2, workers=1)
    assert folders[0].stat().st_ino == kept
    assert [path.read_bytes() for path in sorted(folders[1].iterdir())] == made
    with pytest.raises(EdgeEnhanceError, match="another seed or other ranges"):
        simulate(FIXED, out, seed=6, count=2)


def test_the_command_refuses_wrong_scenes_before_it_writes(tmp_path):
    path = tmp_path / "scene.toml"
    path.write_text(toml_text(changed(FIXED, talkers__0__distance_m=9.0)))
    with pytest.raises(ValueError, match="lies outside the room"):
        run_simulate(path, tmp_path / "out")
    with pytest.raises(EdgeEnhanceError, match="no recordings in"):
        simulate(FIXED, tmp_path / "out", speech=tmp_path / "absent")
    assert not (tmp_path / "out").exists()


def test_scenes_of_a_set_have_different_seeds():
    assert scene_seed(7, 0) == 7
    assert len({scene_seed(seed, index) for seed in range(3) for index in range(50)}) == 150


def test_the_benchmark_is_what_it_says():
    suite = load_suite("bench")
    assert len(suite) == 36 and len({scene.seed for scene in suite}) == 36
    combinations = {}
    for scene in suite:
        target, *others = scene.sources
        apart = [abs((other.azimuth_deg - target.azimuth_deg + 180) % 360 - 180) for other in others]
        assert min(apart) >= 30 and abs(scene.look_deg) <= 10 and 0.8 <= target.distance_m <= 2
        assert 0.2 <= scene.room.rt60 <= 0.6 and scene.reference == 0 and 6 <= scene.duration <= 8
        competing = sum(other.kind == "speech" for other in others)
        key = (scene.array.mount, scene.snr_db, len(others))
        combinations.setdefault(key, []).append(competing)
    assert set(combinations) == {(m, s, n) for m in ("head", "free") for s in (-5, 0, 5) for n in (2, 3)}
    assert all(sorted(competing) == [0, 1, 1] for competing in combinations.values())


def test_a_suite_without_scenes_is_refused(tmp_path):
    (tmp_path / "empty.toml").write_text("[defaults]\n")
    with pytest.raises(ValueError, match="is no suite"):
        load_suite(tmp_path / "empty.toml")
