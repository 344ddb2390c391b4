"""The resampler's promises: any block size, exact delay, flat to 7 kHz, no aliases or images below 7.3 kHz."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance import Enhancer, Resampler
from edgeenhance.bands import band_centers
from edgeenhance.profiles import PROFILES
from edgeenhance.resample import resample_reference
from tests.conftest import level_db

PAIRS = [(48000, 16000), (44100, 16000), (32000, 16000), (24000, 16000), (22050, 16000), (8000, 16000), (96000, 16000)]
PAIRS += [(b, a) for a, b in PAIRS]
PAIR = pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
OUTER = pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000])
PROFILE = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)


def run(stream, x, blocks=()):
    """The stream in blocks of the given sizes; the rest in one."""
    edges = np.cumsum(blocks, dtype=int)
    return np.concatenate([stream.process(part) for part in np.split(x, edges[edges < len(x)])])


def impulse_response(rate_in, rate_out, **settings_):
    """Value t ticks of 1 / lcm s after an impulse, from impulses at all phases; gain 1 at 0 Hz."""
    ticks = math.lcm(rate_in, rate_out)
    up, down = ticks // rate_in, ticks // rate_out
    h, resampler = np.zeros(34 * max(up, down)), Resampler(rate_in, rate_out, **settings_)
    for start in range(down):
        x = np.zeros(start + len(h) // up, np.float32)
        x[start] = 1
        resampler.reset()
        y = resampler.process(x)
        at = np.arange(len(y)) * down - start * up
        assert not y[at < 0].any()
        inside = (at >= 0) & (at < len(h))
        h[at[inside]] = y[inside]
    return h / up


# ---- figures ----


@PAIR
def test_impulse_response_is_symmetric_about_the_latency_stated(rate_in, rate_out):
    ms, ticks = Resampler(rate_in, rate_out).latency_ms, math.lcm(rate_in, rate_out)
    assert ms == 1000 * 16 / min(rate_in, rate_out)
    middle, h = round(ms * ticks / 1000), impulse_response(rate_in, rate_out)
    assert np.argmax(h) == middle and not h[2 * middle :].any()
    np.testing.assert_array_equal(h[1:middle], h[2 * middle - 1 : middle : -1])


def test_a_millisecond_per_direction():
    for rate in (22050, 24000, 32000, 44100, 48000, 96000):
        assert Resampler(rate, 16000).latency_ms == Resampler(16000, rate).latency_ms == 1.0


def test_late_is_an_exact_further_delay():
    plain, late = Resampler(16000, 44100), Resampler(16000, 44100, late=159)
    assert late.latency_ms == pytest.approx(plain.latency_ms + 1000 * 159 / 7056000, rel=1e-12)
    np.testing.assert_array_equal(impulse_response(16000, 44100, late=159)[159:], impulse_response(16000, 44100)[:-159])


@PAIR
def test_flat_to_7_8ths_of_the_band_and_60_db_down_above_it(rate_in, rate_out):
    """On the filter itself, at every frequency that there is: what aliases, and where images are."""
    h, half = impulse_response(rate_in, rate_out), min(rate_in, rate_out) / 2
    n = 1 << (len(h) - 1).bit_length() + 5
    f = np.fft.rfftfreq(n, 1 / math.lcm(rate_in, rate_out)) / half
    level = 20 * np.log10(np.abs(np.fft.rfft(h, n)) + 1e-12)
    assert np.abs(level[f <= 0.875]).max() <= 0.2
    assert level[f >= 1.0875].max() <= -60


def tone_level(rate_in, rate_out, hertz):
    """dB, mean power of the output to a tone of power 1/2."""
    x = np.sin(2 * np.pi * hertz * np.arange(rate_in // 5) / rate_in)
    return level_db(Resampler(rate_in, rate_out).process(x)[rate_out // 50 :], np.full(rate_out * 9 // 50, 0.5**0.5))


@pytest.mark.parametrize("rate", [48000, 44100])
def test_tones_in_the_band_keep_their_level_and_tones_above_it_vanish(rate):
    for hertz in range(250, 7001, 450):
        assert abs(tone_level(rate, 16000, hertz)) <= 0.2
        assert abs(tone_level(16000, rate, hertz)) <= 0.2
    for hertz in range(8700, rate // 2, 1111):
        assert tone_level(rate, 16000, hertz) <= -60


@pytest.mark.parametrize("rate", [48000, 44100])
@pytest.mark.parametrize("hertz", [1000, 5000, 7000, 7300])
def test_tones_make_no_images(rate, hertz):
    y = Resampler(16000, rate).process(np.sin(2 * np.pi * hertz * np.arange(16000) / 16000))[rate // 10 :]
    spectrum = np.abs(np.fft.rfft(y * np.blackman(len(y)))) ** 2
    f = np.fft.rfftfreq(len(y), 1 / rate)
    assert 10 * np.log10(spectrum[f > 8000].max() / spectrum.max()) <= -60


@pytest.mark.parametrize("rate", [24000, 32000, 48000])
def test_there_and_back_is_a_pure_delay(rate, rng):
    x = band_noise(rng, rate, rate)[:, 0]
    y = Resampler(16000, rate).process(Resampler(rate, 16000).process(x))
    late, middle = 2 * rate // 1000, slice(rate // 10, -rate // 10)
    assert level_db(y[late:][middle] - x[:-late][middle], x[middle]) <= -60


# ---- the stream ----


@PAIR
def test_kernel_equals_the_numpy_reference(rate_in, rate_out, rng):
    x = rng.standard_normal(500).astype(np.float32)
    exact = resample_reference(x.astype(float), rate_in, rate_out)
    assert level_db(Resampler(rate_in, rate_out).process(x) - exact, exact) <= -125


@settings(max_examples=60)
@given(st.sampled_from(PAIRS), st.lists(st.integers(0, 400), max_size=20), st.integers(1, 4), st.integers(0, 1500))
def test_any_split_into_blocks_gives_the_same_samples(pair, blocks, channels, n):
    x = np.random.default_rng(n).standard_normal((n, channels)).astype(np.float32)
    whole = Resampler(*pair, channels).process(x)
    assert whole.shape == (-(-n * pair[1] // pair[0]), channels) and whole.dtype == np.float32
    np.testing.assert_array_equal(run(Resampler(*pair, channels), x, blocks), whole)


@PAIR
def test_channels_are_independent(rate_in, rate_out, rng):
    x = rng.standard_normal((1000, 16)).astype(np.float32)
    y = Resampler(rate_in, rate_out, 16).process(x)
    for c in (0, 7, 15):
        np.testing.assert_array_equal(Resampler(rate_in, rate_out).process(x[:, c]), y[:, c])


@PAIR
def test_bad_samples_count_as_zeros(rate_in, rate_out, rng):
    zeros = rng.standard_normal((1000, 2)).astype(np.float32)
    zeros[300:310, 0] = 0
    for bad in (np.nan, np.inf, -np.inf, 2e6, -1e30):
        x = zeros.copy()
        x[300:310, 0] = bad
        expected = Resampler(rate_in, rate_out, 2).process(zeros)
        np.testing.assert_array_equal(Resampler(rate_in, rate_out, 2).process(x), expected)
    assert np.isfinite(Resampler(rate_in, rate_out).process(np.full(500, 1e6))).all()


def test_reset_makes_it_as_new(rng):
    x, resampler = rng.standard_normal(1001), Resampler(44100, 16000)
    first = resampler.process(x)
    resampler.reset()
    np.testing.assert_array_equal(resampler.process(x), first)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((16000, 16000), "16000 Hz on both sides"),
        ((48000, 16000.0), "sample rate of 16000.0; pass an integer from 4000 to 768000 Hz"),
        ((0, 16000), "sample rate of 0"),
        ((44099, 16000), "ratio of 16000:44099; the resampler takes whole numbers up to 1024"),
        ((48000, 16000, 0), "channels=0; pass a number from 1 to 16"),
        ((48000, 16000, 17), "channels=17"),
    ],
)
def test_wrong_settings_say_what_was_expected(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Resampler(*arguments)


def test_wrong_samples_say_what_was_expected():
    with pytest.raises(ValueError, match=r"takes \(n, 4\)"):
        Resampler(48000, 16000, 4).process(np.zeros((10, 3)))
    with pytest.raises(TypeError, match="divide int16 by 32768"):
        Resampler(48000, 16000).process(np.zeros(10, np.int16))
    with pytest.raises(ValueError, match="0 to 2 ticks"):
        Resampler(48000, 16000, late=3)


# ---- the enhancer at other rates ----


def band_noise(rng, rate, n, mics=1):
    """Noise up to 0.4 of the lower rate, (n, mics) float32."""
    spectrum = np.fft.rfft(0.1 * rng.standard_normal((n, mics)), axis=0)
    spectrum[np.fft.rfftfreq(n, 1 / rate) > 0.4 * min(rate, 16000)] = 0
    return np.fft.irfft(spectrum, n, axis=0).astype(np.float32)


@settings(max_examples=25)
@given(
    st.sampled_from([8000, 11025, 32000, 44100, 48000]),
    st.lists(st.integers(0, 900), max_size=20),
    st.sampled_from(["left", "both"]),
)
def test_enhancer_gives_n_samples_for_n_and_the_same_for_any_split(rate, blocks, ears):
    x = band_noise(np.random.default_rng(len(blocks)), rate, 6000, 4)
    make = lambda: Enhancer("bte-2x2", model="none", ears=ears, sample_rate=rate)  # noqa: E731
    stream, at = make(), 0
    for n in blocks:
        part = x[at : at + n]
        assert len(stream.process(part)) == len(part)
        at += n
    np.testing.assert_array_equal(run(make(), x, blocks), make().process(x))


@PROFILE
@OUTER
@pytest.mark.parametrize("aligned", [False, True], ids=["any block", "aligned"])
def test_enhancer_is_a_pure_delay_of_the_latency_stated(profile, rate, aligned, rng):
    enhancer = Enhancer(model="none", profile=profile, sample_rate=rate)
    if aligned:
        enhancer = Enhancer(model="none", profile=profile, sample_rate=rate, block=enhancer._step)
    n = -(-rate // enhancer._step) * enhancer._step
    x, late = band_noise(rng, rate, n)[:, 0], enhancer.latency
    y = enhancer.process(x)
    middle = slice(rate // 4, -rate // 4)
    assert level_db(y[late:][middle] - x[: n - late][middle], x[middle]) <= -55
    exact = 2 * 1000 * 16 / min(rate, 16000) + 1000 * (profile.synthesis - (profile.hop if aligned else 0)) / 16000
    assert 0 <= 1000 * late / rate - exact < 1000 / rate  # rounded up to a whole sample
    block = enhancer._step / rate if aligned else profile.hop / 16000
    assert enhancer.latency_ms() == pytest.approx(1000 * (late / rate + block))


def test_assist_takes_10_ms_at_48_khz_with_its_block():
    assert Enhancer(model="none", sample_rate=48000, block=192).latency_ms() == 10.0
    assert Enhancer(model="none", sample_rate=48000).latency_ms(480) == 20.0
    assert Enhancer(model="none", sample_rate=48000).latency == 480


@pytest.mark.parametrize("rate", [44100, 48000])
def test_aligned_blocks_give_the_same_samples_one_hop_earlier(rate, rng):
    step = Enhancer(model="none", sample_rate=rate)._step
    free, aligned = (Enhancer("bte-2x2", model="none", sample_rate=rate, block=block) for block in (None, step))
    x = band_noise(rng, rate, 20 * step, 4)
    late = free.latency - aligned.latency
    one, other = free.process(x)[late:], run(aligned, x, [step] * 15)[: len(x) - late]
    if rate == 48000:
        np.testing.assert_array_equal(one, other)
    assert level_db(one - other, one) <= -60
    with pytest.raises(ValueError, match=f"{step} samples"):
        aligned.process(x[: step + 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_bad_samples_leave_the_same_trace_as_zeros_at_48_khz(bad, rng):
    zeros = band_noise(rng, 48000, 48000, 4)
    zeros[20000:24000] = 0
    x = zeros.copy()
    x[20000:24000, 1] = bad
    x[20000:24000, 2] = 0.5
    make = lambda: Enhancer("bte-2x2", model="none", sample_rate=48000)  # noqa: E731
    enhancer = make()
    np.testing.assert_array_equal(enhancer.process(x), make().process(zeros))
    assert enhancer.status.bad_frames == 4000


def test_a_failing_mask_takes_no_time_away_at_44_1_khz(rng):
    class Broken:
        profile, centers = "assist", band_centers(64, PROFILES["assist"])
        broken = True

        def reset(self):
            pass

        def step(self, features, gains):
            if self.broken:
                raise RuntimeError("out of order")
            gains[:] = 32767

    x, mask = band_noise(rng, 44100, 30000)[:, 0], Broken()
    enhancer = Enhancer(model=mask, sample_rate=44100)
    with pytest.raises(RuntimeError, match="out of order"):
        enhancer.process(x[:10001])
    mask.broken = False
    y = run(enhancer, x[10001:], [777] * 20)
    late, after = enhancer.latency, slice(3000, -1000)
    assert len(y) == len(x) - 10001
    assert level_db(y[after] - x[10001 - late : len(x) - late][after], x[10001:][after]) <= -55


def test_enhancer_resets_at_48_khz(rng):
    x, enhancer = band_noise(rng, 48000, 10001, 4), Enhancer("bte-2x2", model="none", sample_rate=48000)
    x[100] = np.nan
    first = enhancer.process(x)
    enhancer.reset()
    assert enhancer.status.bad_frames == 0
    np.testing.assert_array_equal(enhancer.process(x), first)


def test_enhancer_at_48_khz_equals_the_chain_between_two_resamplers(rng):
    x = band_noise(rng, 48000, 9600, 4)
    inner = Enhancer("bte-2x2", model="none").process(Resampler(48000, 16000, 4).process(x))
    y = Resampler(16000, 48000).process(inner)
    np.testing.assert_array_equal(Enhancer("bte-2x2", model="none", sample_rate=48000).process(x), y)
