"""Noise estimators: they find the level, follow it, and are not fooled by speech."""

import numpy as np
import pytest

from edgeenhance.noise_psd import ESTIMATORS, NoiseSegment, estimator

TRACKERS = ("mmse-spp", "minimum-statistics")


def white(rng, level, frames, bins=65):
    """Periodograms of white noise."""
    return rng.exponential(level, (frames, bins))


def track(name, powers, hop_seconds=0.016):
    one = estimator(name, hop_seconds)
    return np.array([one.update(power) for power in powers])


def level_db(psd, level):
    return 10 * np.log10(psd.mean() / level)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_level_of_white_noise_is_found(name):
    psd = track(name, white(np.random.default_rng(6), 2.0, 600))[200:]
    assert level_db(psd, 2.0) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize("level", [4.0, 0.25])
def test_a_tracker_follows_a_step_of_6_db_within_three_seconds(name, level):
    rng = np.random.default_rng(7)
    psd = track(name, np.concatenate([white(rng, 1.0, 200), white(rng, level, 190)]))[-1]
    assert level_db(psd, level) == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("name", [*TRACKERS, "vad"])
def test_words_of_20_db_with_pauses_do_not_raise_the_estimate(name):
    rng = np.random.default_rng(8)
    power = white(rng, 1.0, 900)
    talking = np.arange(900) % 30 >= 12  # words of 0.29 s
    power[talking] += white(rng, 100.0, int(talking.sum()))
    assert level_db(track(name, power)[300:], 1.0) < 3


@pytest.mark.parametrize("name", [*TRACKERS, "vad"])
def test_constants_are_in_seconds_not_in_frames(name):
    """The same noise, its frames four times as often: the same estimate."""
    slow = white(np.random.default_rng(9), 1.0, 500)
    fast = track(name, np.repeat(slow, 4, axis=0), 0.004)[800:]
    assert 10 * np.log10(fast.mean() / track(name, slow)[200:].mean()) == pytest.approx(0, abs=1.5)


def test_the_first_seconds_are_kept():
    rng = np.random.default_rng(10)
    psd = track("first-seconds", np.concatenate([white(rng, 1.0, 19), white(rng, 50.0, 100)]))
    assert np.array_equal(psd[18], psd[-1]) and level_db(psd[-1], 1.0) == pytest.approx(0, abs=1)


def test_frames_with_speech_are_left_out_of_the_average_whole():
    """Speech in a few bins: the others, in which there is noise only, are not averaged either."""
    rng = np.random.default_rng(13)
    one, power = estimator("vad", 0.016), white(rng, 1.0, 200)
    for quiet in power[:100]:
        before = one.update(quiet)
    power[100:, 20:40] += white(rng, 300.0, 100, 20)
    assert all(np.array_equal(one.update(loud), before) for loud in power[100:])


def test_the_average_follows_noise_that_changes_slowly_and_takes_a_step_for_speech():
    rng = np.random.default_rng(14)
    slow = np.geomspace(1, 4, 600)[:, None] * white(rng, 1.0, 600)
    assert level_db(track("vad", slow)[-1], 4.0) == pytest.approx(0, abs=1.5)
    step = np.concatenate([white(rng, 1.0, 200), white(rng, 10.0, 400)])
    assert level_db(track("vad", step)[-1], 1.0) == pytest.approx(0, abs=1.5)


def test_a_segment_is_its_mean():
    powers = white(np.random.default_rng(11), 3.0, 40)
    assert np.allclose(NoiseSegment(powers).update(powers[0]), powers.mean(axis=0))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_reset_forgets(name):
    rng = np.random.default_rng(12)
    powers, one = white(rng, 1.0, 60), estimator(name, 0.016)
    first = np.array([one.update(power) for power in powers])
    one.reset()
    assert np.array_equal(first, [one.update(power) for power in powers])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_silence_gives_a_finite_positive_estimate(name):
    psd = track(name, np.zeros((200, 65)))
    assert np.isfinite(psd).all() and (psd > 0).all()


def test_unknown_names_and_empty_segments_are_sentences():
    with pytest.raises(ValueError, match="choose one of mmse-spp, minimum-statistics, vad, first-seconds"):
        estimator("magic", 0.016)
    with pytest.raises(ValueError, match="at least one window"):
        NoiseSegment(np.zeros((0, 257)))
