"""Classical suppressors: the equations, the stream, the recording, and the place of a mask network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance import EdgeEnhanceError, Enhancer, MicArray, classical, enhance
from edgeenhance.bands import Features
from edgeenhance.classical import METHODS, ClassicalMask, Suppressor, suppress
from edgeenhance.noise_psd import ESTIMATORS, LearnedNoise
from edgeenhance.profiles import Profile


@pytest.fixture(scope="module")
def noisy():
    """(clean, noise) : tones in bursts, white noise; 4 s at 16 kHz, noise alone for the first 0.4 s."""
    rng = np.random.default_rng(5)
    t = np.arange(4 * 16000) / 16000
    tones = sum(np.sin(2 * np.pi * f * t) for f in (300, 700, 1900)) * (np.sin(2 * np.pi * 1.5 * t) > 0.3) * (t > 0.4)
    return 0.1 * tones, 0.05 * rng.standard_normal(len(t))


def si_sdr(clean, x):
    part = clean * (clean @ x) / (clean @ clean)
    return 10 * np.log10((part @ part) / ((x - part) @ (x - part)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("noise", ESTIMATORS)
def test_noise_goes_the_sound_stays_where_it_was(method, noise, noisy):
    clean, added = noisy
    y = suppress(clean + added, 16000, method, noise=noise)
    assert y.shape == clean.shape and y.dtype == np.float32
    assert si_sdr(clean, y) > si_sdr(clean, clean + added) + 3


@pytest.mark.parametrize("method", METHODS)
def test_a_segment_of_the_noise_may_be_given(method, noisy):
    clean, added = noisy
    y = suppress(clean + added, 16000, method, noise=added[:8000])
    assert si_sdr(clean, y) > si_sdr(clean, clean + added) + 3


@pytest.mark.parametrize("noise", ESTIMATORS)
@settings(max_examples=8, deadline=None)
@given(blocks=st.lists(st.integers(0, 3000), max_size=8), method=st.sampled_from(list(METHODS)))
def test_a_stream_of_any_blocks_is_the_recording(noise, blocks, method, noisy):
    x = (noisy[0] + noisy[1])[:12000].astype(np.float32)
    stream = Suppressor(method, noise, profile="assist")
    cuts = np.minimum(np.cumsum([0, *blocks]), len(x))
    parts = [stream.process(part) for part in np.split(x, cuts)]
    y = np.concatenate([*parts, stream.process(np.zeros(stream.latency, np.float32))])[stream.latency :]
    assert np.array_equal(y, suppress(x, 16000, method, noise=noise, profile="assist"))


def test_reset_forgets(noisy):
    x, stream = noisy[1][:9000], Suppressor("wiener")
    assert np.array_equal(stream.process(x), [stream.reset(), stream.process(x)][1])


def test_a_recording_of_another_rate_keeps_it(noisy):
    x = np.repeat(noisy[1], 3)[:30000]
    assert suppress(x, 48000).shape == x.shape


@pytest.mark.parametrize("method", METHODS)
def test_silence_stays_silent_and_bad_samples_count_as_silence(method, noisy):
    assert not suppress(np.zeros(5000), 16000, method).any()
    bad, muted = (noisy[0] + noisy[1])[:16000].copy(), (noisy[0] + noisy[1])[:16000].copy()
    bad[8000:8100], muted[8000:8100] = np.nan, 0
    assert np.array_equal(suppress(bad, 16000, method), suppress(muted, 16000, method))


def test_over_subtraction_and_spectral_floor():
    power, noise = np.array([10.0, 3.0, 1.0]), np.ones(3)
    rule = classical.SpectralSubtraction(over=2, floor=0.04)
    assert np.allclose(rule.gains(power, noise) ** 2 * power, [8.0, 1.0, 0.04])
    rectified = classical.SpectralSubtraction(over=2, floor=0)
    assert np.allclose(rectified.gains(power, noise) ** 2 * power, [8.0, 1.0, 0.0])


def test_the_first_frames_wiener_gain_follows_from_its_posterior_snr():
    prior = (1 - 0.98**2) * 9  # nothing was heard before: (1 - smoothing) (posterior - 1)
    assert classical.Wiener().gains(np.array([10.0]), np.ones(1)) == pytest.approx(prior / (1 + prior))


def test_the_plain_wiener_filter_is_the_ratio_of_powers():
    rule = classical.PsdWiener()
    assert rule.gains(np.array([4.0]), np.ones(1)) == pytest.approx(0.75)
    assert rule.gains(np.array([0.5]), 10 * np.ones(1)) == pytest.approx(rule.floor)


def test_log_mmse_suppresses_less_than_wiener():
    power, noise = np.geomspace(0.1, 100, 50), np.ones(50)
    assert (classical.LogMmse().gains(power, noise) >= classical.Wiener().gains(power, noise)).all()


def test_log_mmse_is_the_printed_equation_where_it_may_amplify():
    special = pytest.importorskip("scipy.special")
    rule = classical.LogMmse(most_gain=np.inf)
    rule.gains(np.array([1000.0]), np.ones(1))  # then, the noise alone: far less than expected
    prior, posterior = rule.prior(np.array([0.1]), np.ones(1))
    wiener = prior / (1 + prior)
    expected = wiener * np.exp(special.exp1(wiener * posterior) / 2)
    assert expected > 1 and rule.gains(np.array([0.1]), np.ones(1)) == pytest.approx(expected, rel=1e-5)


def test_the_exponential_integral():
    special = pytest.importorskip("scipy.special")
    x = np.geomspace(1e-10, 500, 2000)
    assert np.allclose(classical.exponential_integral(x), special.exp1(x), rtol=1e-6, atol=3e-7)


# ---- in the place of a network ----


@pytest.mark.parametrize("method", METHODS)
def test_a_mask_gives_the_gains_of_the_band_powers(method):
    """Features lie above a level that moves; the mask takes it off again."""
    rng = np.random.default_rng(3)
    mask, features = ClassicalMask(method), Features(0.004)
    mask.step(features.update(np.ones(64)), gains := np.zeros(64, np.int16))  # both begin at power 1
    rule, noise = METHODS[method](0.004), classical.estimator("mmse-spp", 0.004)
    rule.gains(np.ones(64), noise.update(np.ones(64)))
    for level in np.repeat([1.0, 300.0, 0.1], 150):
        power = level * rng.gamma(4, 0.25, 64)
        mask.step(features.update(power), gains)
        expected = rule.gains(power, noise.update(power))
        assert np.abs(gains / 32767 - expected).max() < 0.02


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("array, beamformer", [("mono", "none"), ("bte-2x2", "mvdr")])
def test_a_method_runs_where_a_network_does(method, array, beamformer, noisy):
    clean, added = noisy
    enhancer = Enhancer(array, beamformer=beamformer, model=method)
    rng = np.random.default_rng(4)
    x = np.stack([clean + rng.permutation(added) for _ in range(enhancer.array.mics)], 1)
    assert 0.005 < np.abs(enhancer.process(x)[32000:]).max() < 1
    assert f"model='{method}'" in repr(enhancer)
    quiet = np.stack([rng.permutation(added) for _ in range(enhancer.array.mics)], 1)
    enhancer.reset()
    assert enhancer.process(quiet)[32000:].std() < 0.5 * quiet[32000:].std()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("array", ["mono", "bte-1x2"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # noise of every microphone's own
def test_with_a_segment_of_noise_a_tone_from_the_beginning_is_no_noise(method, array):
    rng, mics = np.random.default_rng(2), MicArray.load(array).mics
    noise = 0.03 * rng.standard_normal((3 * 16000, mics)).astype(np.float32)
    tone = 0.2 * np.sin(2 * np.pi * 700 * np.arange(2 * 16000) / 16000)
    x = tone[:, None] + noise[16000:]
    blind, told = (
        enhance(x, 16000, array, beamformer="delay-and-sum", model=method, noise=given)
        for given in ("mmse-spp", noise[:16000])
    )
    assert si_sdr(tone, told) > max(si_sdr(tone, blind), si_sdr(tone, x[:, 0])) + 3


def test_a_segment_is_heard_before_the_stream_and_again_after_a_reset(noisy):
    x, segment = (noisy[0] + noisy[1]).astype(np.float32), noisy[1][:5001].astype(np.float32)
    enhancer = Enhancer("mono", model="wiener", noise=segment)
    before = Enhancer("mono", model=ClassicalMask("wiener", noise=(learned := LearnedNoise())))
    before.process(segment[: 5001 // 64 * 64])  # whole hops
    learned.end()
    first = enhancer.process(x)
    assert np.array_equal(first, before.process(x))
    enhancer.reset()
    assert np.array_equal(first, enhancer.process(x))
    aligned = Enhancer("mono", model="wiener", noise=segment, block=64).process(x[:6400])
    np.testing.assert_array_equal(aligned[: -64 * 2], first[64 : 6400 - 64])


def test_a_segment_of_a_recording_has_its_rate(noisy):
    x, segment = (np.repeat(part, 3)[:60000].astype(np.float32) for part in (noisy[0] + noisy[1], noisy[1]))
    y = enhance(x, 48000, model="log-mmse", noise=segment)
    stream = Enhancer("mono", sample_rate=48000, model="log-mmse", noise=segment)
    z = stream.process(np.concatenate([x, np.zeros(stream.latency, np.float32)]))[stream.latency :]
    assert si_sdr(y, z) > 10


def test_the_beginning_may_be_the_noise_for_so_long(noisy):
    x = (noisy[0] + noisy[1]).astype(np.float32)
    short, usual, long = (enhance(x, 16000, model="wiener", noise=seconds) for seconds in (0.1, "first-seconds", 0.3))
    assert np.array_equal(usual, long) and not np.array_equal(usual, short)


def test_a_profile_of_ones_own_has_no_network_and_falls_back():
    enhancer = Enhancer("mono", profile=Profile("mine", 16000, 256, 64))
    assert "model='log-mmse'" in repr(enhancer)
    assert np.isfinite(enhancer.process(np.random.default_rng(1).standard_normal(4000) * 0.1)).all()


# ---- bad input ----


def test_unknown_names_are_sentences():
    with pytest.raises(ValueError, match="choose one of spectral-subtraction, wiener, wiener-psd, log-mmse"):
        Suppressor("magic")
    with pytest.raises(ValueError, match="mmse-spp, minimum-statistics, vad, first-seconds"):
        Suppressor("wiener", noise="magic")
    with pytest.raises(EdgeEnhanceError, match="unknown model 'magic'"):
        Enhancer("mono", model="magic")


@pytest.mark.parametrize("x", [np.zeros((10, 2)), np.zeros(10, np.int16)])
def test_wrong_samples_are_a_sentence(x):
    with pytest.raises(ValueError, match=r"pass floats \(n,\) of full scale"):
        suppress(x, 16000)


@pytest.mark.parametrize("model", ["assist-s", "none", ClassicalMask("wiener")])
def test_noise_is_given_to_a_method_by_its_name(model):
    with pytest.raises(ValueError, match="noise is what spectral-subtraction, wiener, .* subtract"):
        Enhancer("mono", model=model, noise="first-seconds")


@pytest.mark.parametrize("noise", [np.zeros(0, np.float32), np.zeros(16000, np.float32), 0, -1.0, np.inf])
def test_no_noise_at_all_is_a_sentence(noise):
    with pytest.raises(ValueError, match="no frame of noise|seconds of noise"):
        Enhancer("mono", model="wiener", noise=noise)


def test_a_segment_shorter_than_a_window_is_a_sentence():
    with pytest.raises(ValueError, match="at least one window"):
        Suppressor("wiener", noise=np.zeros(100))
