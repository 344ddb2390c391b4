"""Settings that change while sound runs: no click, bypass to the bit, the ceiling of the limiter, a second thread."""

import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeenhance import Enhancer, MicArray, enhance

ARRAY = MicArray.load("bte-2x2")
BEAMFORMER = st.sampled_from(["superdirective", "mvdr"])
FADE = 16 * 64  # samples that a cross-fade takes
CHANGE = st.one_of(
    st.tuples(st.just("look"), st.sampled_from([-90.0, -40.0, 0.0, 20.0, 180.0])),
    st.tuples(st.just("strength"), st.floats(0, 1)),
    st.tuples(st.just("cues"), st.floats(0, 1)),
    st.tuples(st.just("bypass"), st.booleans()),
)
CHANGES = st.lists(st.tuples(st.integers(0, 8000), CHANGE), max_size=12)  # (sample, (setting, value))


def tone(azimuth=0.0, amplitude=0.3, hertz=430.0):
    """Half a second : (8000, 4) float32."""
    turns = np.exp(2j * np.pi * hertz * np.arange(8000) / 16000)
    return (amplitude * np.real(turns[:, None] * ARRAY.steering(azimuth, np.array([hertz])))).astype(np.float32)


def noise(seconds=0.5, amplitude=0.1, seed=1):
    return (amplitude * np.random.default_rng(seed).standard_normal((int(seconds * 16000), 4))).astype(np.float32)


def steered(enhancer, x, changes, blocks=()):
    """The stream with settings that change at the given samples, in blocks that may also end elsewhere."""
    changes = sorted(changes, key=lambda change: change[0])
    edges = sorted({0, len(x), *np.minimum(np.cumsum(blocks, dtype=int), len(x)), *(at for at, _ in changes)})
    parts = []
    for start, end in zip(edges, edges[1:], strict=False):
        for name, value in (change for at, change in changes if at == start):
            setattr(enhancer, name, value)
        parts.append(enhancer.process(x[start:end]))
    return np.concatenate(parts)


# ---- any setting, at any time ----


@given(CHANGES, BEAMFORMER, st.sampled_from([0, 70, -120]), st.sampled_from([None, -9.0, -20.0]))
@example([(3000, ("bypass", True))], "superdirective", 70, None)
def test_settings_make_no_click(changes, beamformer, azimuth, ceiling):
    x = tone(azimuth)
    y = steered(Enhancer(ARRAY, beamformer=beamformer, model="none", ears="both", ceiling=ceiling), x, changes)[1000:]
    assert np.isfinite(y).all()
    bend = np.abs(np.diff(x[:, [0, 2]], 2, axis=0)).max()
    assert np.abs(np.diff(y, 2, axis=0)).max() <= 1.2 * bend


@settings(max_examples=25)
@given(CHANGES, st.lists(st.integers(0, 700), max_size=30), BEAMFORMER)
def test_settings_count_from_the_next_hop_whatever_the_blocks(changes, blocks, beamformer):
    x, make = noise(), lambda: Enhancer(ARRAY, beamformer=beamformer, model="none", ears="both", ceiling=-20)
    np.testing.assert_array_equal(steered(make(), x, changes, blocks), steered(make(), x, changes))


def test_a_setting_within_a_hop_counts_from_its_start():
    x, make = noise(), lambda: Enhancer(ARRAY, model="none")
    change = ("strength", 0.0)
    np.testing.assert_array_equal(steered(make(), x, [(4033, change)]), steered(make(), x, [(4095, change)]))
    assert (steered(make(), x, [(4095, change)]) != steered(make(), x, [(4096, change)])).any()


def test_of_two_settings_before_a_hop_the_last_one_counts():
    x = noise()
    twice = [(4000, ("look", 90.0)), (4000, ("look", 30.0))]
    np.testing.assert_array_equal(*(steered(Enhancer(ARRAY, model="none"), x, c) for c in (twice, twice[1:])))


def test_reset_keeps_settings_made_before():
    x, enhancer = noise(), Enhancer(ARRAY, model="none", ears="both")
    enhancer.process(x)
    enhancer.look, enhancer.bypass, enhancer.cues = 30, True, 0.5
    enhancer.reset()
    expected = Enhancer(ARRAY, model="none", ears="both", look=30, bypass=True, cues=0.5)
    np.testing.assert_array_equal(enhancer.process(x), expected.process(x))


# ---- bypass ----


@given(st.integers(0, 8000), BEAMFORMER, st.sampled_from([("both", [0, 2]), ("right", [2])]), st.booleans())
def test_bypass_is_the_delayed_input_to_the_bit(at, beamformer, ears, aligned):
    x, at = noise(1), at // 64 * 64 if aligned else at
    make = lambda **more: Enhancer(  # noqa: E731
        ARRAY, beamformer=beamformer, model="none", ears=ears[0], block=64 if aligned else None, **more
    )
    enhancer = make()
    y = steered(enhancer, x, [(at, ("bypass", True))]).reshape(len(x), -1)
    late, faded = enhancer.latency, at + FADE + enhancer.latency
    np.testing.assert_array_equal(y[faded:], x[:, ears[1]][faded - late : -late])
    from_the_start = make(bypass=True).process(x).reshape(len(x), -1)
    np.testing.assert_array_equal(from_the_start[late:], x[:-late, ears[1]])


def test_bypass_cross_fades_in_a_straight_line():
    x, make = noise(), lambda: Enhancer(ARRAY, model="none", block=64)
    there = np.clip(np.arange(8000 - 2048 + 1)[1:] / FADE, 0, 1)
    enhanced, delayed = make().process(x)[2048:], x[2048 - 64 : -64, 0]
    y = steered(make(), x, [(2048, ("bypass", True))])[2048:]
    np.testing.assert_allclose(y, enhanced + there * (delayed - enhanced), atol=1e-6)


@given(st.integers(0, 8000), st.integers(0, 4000), BEAMFORMER)
def test_after_bypass_the_output_is_as_if_there_had_been_none(start, length, beamformer):
    x, make = noise(1), lambda: Enhancer(ARRAY, beamformer=beamformer, model="none")
    y = steered(make(), x, [(start, ("bypass", True)), (start + length, ("bypass", False))])
    back = start + length + FADE + 128
    np.testing.assert_array_equal(y[back:], make().process(x)[back:])


def test_bypass_at_another_rate_is_the_resampled_input():
    x = tone()[:, :1]
    y = Enhancer("mono", model="none", bypass=True, sample_rate=48000).process(x)[:, None]
    late = Enhancer("mono", sample_rate=48000, model="none").latency
    assert np.abs(y[late:] - x[:-late])[1000:].max() <= 0.01


# ---- ceiling ----


@given(
    st.lists(st.tuples(st.integers(0, 7000), st.integers(1, 2000), st.floats(-40, 120)), max_size=5),  # at, n, dBFS
    st.floats(-60, 0),
    CHANGES,
)
def test_no_sample_is_above_the_ceiling(bursts, ceiling, changes):
    x = noise()
    for at, n, level in bursts:
        x[at : at + n] *= np.float32(10 ** (level / 20))
    enhancer = Enhancer(ARRAY, beamformer="superdirective", model="none", ears="both", ceiling=ceiling)
    y = steered(enhancer, x, changes)
    assert np.abs(y).max() <= np.float32(10 ** (ceiling / 20))
    assert 0 <= enhancer.status.limiter_gain <= 1 and enhancer.status.limited_hops <= enhancer.status.hops


def test_below_the_ceiling_nothing_changes():
    x, enhancer = noise(), Enhancer(ARRAY, model="none", ears="both", ceiling=0)
    np.testing.assert_array_equal(enhancer.process(x), Enhancer(ARRAY, model="none", ears="both").process(x))
    assert (enhancer.status.limited_hops, enhancer.status.limiter_gain) == (0, 1.0)


def test_the_limiter_lets_go_within_100_ms():
    x, limited = noise(1), Enhancer(ARRAY, beamformer="none", model="none", ceiling=-6)
    x[4000:4010] *= 20
    y = limited.process(x)
    free = Enhancer(ARRAY, beamformer="none", model="none").process(x)
    assert np.abs(free).max() > 1 > 0.6 > np.abs(y).max()
    after = 4010 + 128 + 1600 + 64
    np.testing.assert_array_equal(y[after:], free[after:])
    assert 1 < limited.status.limited_hops <= 28


def test_both_ears_are_turned_down_together():
    x = tone(amplitude=0.5)
    x[:, 2:] *= 0.25
    y = Enhancer(ARRAY, bypass=True, model="none", ears="both", ceiling=-12).process(x)[4000:]
    x = x[4000 - 128 : -128, [0, 2]]
    np.testing.assert_allclose(y[:, 1] * x[:, 0], y[:, 0] * x[:, 1], atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_the_ceiling_holds_at_any_rate(rate):
    rng = np.random.default_rng(0)
    x = np.sign(rng.standard_normal((rate, 1))).astype(np.float32)
    enhancer = Enhancer("mono", model="none", sample_rate=rate, ceiling=-1)
    assert np.abs(enhancer.process(x)).max() <= np.float32(10 ** (-1 / 20))
    pytest.importorskip("soxr")
    assert np.abs(enhance(x[:, 0], rate, model="none", ceiling=-1)).max() <= np.float32(10 ** (-1 / 20))


# ---- two threads ----


def test_another_thread_may_set_everything_while_one_processes():
    x, enhancer, rng = noise(0.01), Enhancer(ARRAY, model="none", ears="both", ceiling=-20), np.random.default_rng(2)
    outputs, done = [], threading.Event()

    def process():
        while not done.is_set():
            outputs.append(enhancer.process(x))

    thread = threading.Thread(target=process)
    thread.start()
    hops = 0
    for _ in range(20):
        enhancer.look, enhancer.strength, enhancer.cues = rng.uniform(-180, 180), rng.uniform(), rng.uniform()
        enhancer.bypass = rng.uniform() < 0.5
        before, hops = hops, enhancer.status.hops
        assert hops >= before
    done.set()
    thread.join()
    y = np.concatenate(outputs)
    assert enhancer.status.hops == len(y) // 64 > 0 and np.abs(y).max() <= np.float32(0.1)


def test_tables_are_kept_as_long_as_the_kernel_may_read_them():
    enhancer = Enhancer(ARRAY, model="none")
    for look in (10, 20, 30):
        enhancer.look = look
    assert len(enhancer._chain._beams) == 4
    enhancer.process(noise(0.1))
    enhancer.look = 40
    assert len(enhancer._chain._beams) == 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ceiling": 3.0}, "dBFS from -60 to 0"),
        ({"ceiling": float("nan")}, "dBFS from -60 to 0"),
        ({"bypass": 2}, "True or False"),
    ],
)
def test_wrong_settings_say_what_was_expected(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Enhancer(ARRAY, model="none", **change)
