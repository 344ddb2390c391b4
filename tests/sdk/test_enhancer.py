"""The enhancer's promises: any block size, exact latency, no trace of bad input, no clicks."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeenhance import EdgeEnhanceError, Enhancer, MicArray, Mvdr, enhance
from edgeenhance.bands import band_centers
from edgeenhance.beamform import design
from edgeenhance.profiles import PROFILES, Profile
from edgeenhance.reference import enhance_reference
from tests.conftest import level_db

ASSIST = PROFILES["assist"]
PROFILE = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
BEAM = pytest.mark.parametrize("beamformer", ["delay-and-sum", "superdirective", "mvdr"])


class EnergyMask:
    """A mask with memory, as simple as one can be: smoothed features through a soft threshold."""

    def __init__(self, profile: Profile = ASSIST, bands: int = 64) -> None:
        self.profile, self.centers = profile.name, band_centers(bands, profile)
        self.reset()

    def reset(self) -> None:
        self.state, self.gains = np.zeros(len(self.centers)), []

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        self.state += 0.2 * (features[: len(gains)] / 32768 - self.state)
        gains[:] = np.clip(16000 + 30000 * self.state, 1000, 32767)
        self.gains.append(gains / 32767)


def scene(rng, seconds=1.0, mics=4, profile=ASSIST):
    """A modulated talker in front and noise in all microphones: (n, mics) float32, whole hops."""
    n = int(seconds * 16000) // profile.hop * profile.hop
    talker = rng.standard_normal(n) * (1 + np.sin(2 * np.pi * 3 * np.arange(n) / 16000))
    return (0.05 * talker[:, None] + 0.01 * rng.standard_normal((n, mics))).astype(np.float32)


def run(enhancer, x, blocks=None):
    """The stream in blocks of the given sizes; the rest in one."""
    edges = np.cumsum([size for size in blocks or []])
    return np.concatenate([enhancer.process(part) for part in np.split(x, edges[edges < len(x)])])


# ---- blocks and latency ----


@settings(max_examples=25)
@given(st.lists(st.integers(0, 700), max_size=30), st.sampled_from(["superdirective", "mvdr"]), st.booleans())
def test_any_split_into_blocks_gives_the_same_samples(blocks, beamformer, masked):
    x = scene(np.random.default_rng(0), 0.5)
    make = lambda: Enhancer("bte-2x2", beamformer=beamformer, model=EnergyMask() if masked else "none", ears="both")  # noqa: E731
    np.testing.assert_array_equal(run(make(), x, blocks), make().process(x))


@PROFILE
def test_aligned_blocks_give_the_same_samples_one_hop_earlier(profile, rng):
    x = scene(rng, 1, profile=profile)
    settings_ = dict(profile=profile, model="none")
    free, aligned = Enhancer("bte-2x2", **settings_), Enhancer("bte-2x2", block=profile.hop, **settings_)
    late = profile.hop
    np.testing.assert_array_equal(free.process(x)[late:], run(aligned, x, [profile.hop] * 50)[: len(x) - late])


@PROFILE
@pytest.mark.parametrize("aligned", [False, True], ids=["any block", "aligned"])
@pytest.mark.parametrize("model", ["none", "mask"])
def test_latency_measured_by_impulse_is_the_latency_stated(profile, aligned, model):
    block = profile.hop if aligned else None
    enhancer = Enhancer("mono", profile=profile, model="none" if model == "none" else EnergyMask(profile), block=block)
    x = np.zeros(8 * profile.analysis, np.float32)
    x[3 * profile.analysis] = 0.5
    measured = np.argmax(np.abs(enhancer.process(x))) - 3 * profile.analysis
    expected = {("assist", False): 128, ("assist", True): 64, ("comm", False): 512, ("comm", True): 256}
    assert measured == enhancer.latency == expected[profile.name, aligned]


def test_assist_takes_8_ms_with_its_block():
    assert Enhancer("mono", model="none", block=64).latency_ms() == 8.0
    assert Enhancer("mono", model="none", profile="comm", block=256).latency_ms() == 32.0
    assert Enhancer("mono", model="none").latency_ms(100) == pytest.approx((128 + 100) / 16)


def test_one_microphone_without_a_model_is_a_pure_delay(rng):
    x = rng.standard_normal(16000).astype(np.float32) * 0.1
    assert level_db(Enhancer(model="none").process(x)[128:] - x[:-128], x) <= -110


# ---- equal to the reference ----


@PROFILE
@pytest.mark.parametrize("array", ["bte-2x2", "bte-1x2", "respeaker-6", "linear-4", "glasses-6"])
@pytest.mark.parametrize("masked", [False, True], ids=["beam", "beam + mask"])
@BEAM
def test_kernel_equals_the_numpy_reference(profile, array, beamformer, masked, rng):
    array = MicArray.load(array)
    x, mask = scene(rng, 1, array.mics, profile), EnergyMask(profile) if masked else None
    y = Enhancer(array, profile=profile, beamformer=beamformer, model=mask, look=20, block=profile.hop).process(x)
    exact = enhance_reference(
        x.astype(float), design(array, beamformer, 20, profile, ("left",)), profile, band_centers(64, profile),
        mvdr=Mvdr() if beamformer == "mvdr" else None, gains=np.array(mask.gains) if masked else None,
    )  # fmt: skip
    assert level_db(y - exact, exact) <= (-60 if beamformer == "mvdr" else -100)


def test_a_talker_in_the_look_direction_passes_unchanged(rng):
    array, n = MicArray.load("bte-2x2"), 16000
    spectrum = np.fft.rfft(rng.standard_normal(n)) * (np.arange(n // 2 + 1) < 6000)
    d = array.steering(30, np.fft.rfftfreq(n, 1 / 16000))
    x = 0.1 * np.fft.irfft(spectrum[:, None] * d, n, axis=0).astype(np.float32)
    for beamformer in ("delay-and-sum", "superdirective"):
        enhancer = Enhancer(array, beamformer=beamformer, model="none", look=30, ears="both")
        y = enhancer.process(x)[4000:15000]
        assert level_db(y - x[4000 - 128 : 15000 - 128, [0, 2]], y) <= -25  # what windowing leaves of a long filter


def test_mvdr_learns_to_suppress_a_noise_source(rng):
    array, n = MicArray.load("linear-4"), 3 * 16000
    source = np.fft.rfft(rng.standard_normal(n))[:, None]
    x = 0.1 * np.fft.irfft(source * array.steering(70, np.fft.rfftfreq(n, 1 / 16000)), n, axis=0)
    fixed, adaptive = (
        Enhancer(array, beamformer=name, model="none").process(x.astype(np.float32))[n // 2 :]
        for name in ("superdirective", "mvdr")
    )
    assert level_db(adaptive, fixed) <= -6


def beside(rng, array, degrees, seconds=2.5):
    """A talker from `degrees`, on for half of each third of a second, in weak noise: (n, mics) float32."""
    n = int(seconds * 16000)
    talker = rng.standard_normal(n) * (np.sin(2 * np.pi * 3 * np.arange(n) / 16000) > 0)
    d = array.steering(degrees, np.fft.rfftfreq(n, 1 / 16000))
    x = 0.05 * np.fft.irfft(np.fft.rfft(talker)[:, None] * d, n, axis=0)
    return (x + 0.005 * rng.standard_normal(x.shape)).astype(np.float32)


@PROFILE
@pytest.mark.parametrize("array", ["bte-2x2", "linear-4", "glasses-6"])
@pytest.mark.parametrize("off", [-15, 0, 10])
def test_mvdr_follows_a_talker_beside_the_look_direction(profile, array, off, rng):
    array = MicArray.load(array)
    enhancer = Enhancer(array, profile=profile, look=30, model=EnergyMask(profile))
    enhancer.process(beside(rng, array, 30 + off))
    assert enhancer.status.look == pytest.approx(30 + off, abs=2.5)
    enhancer.look = 40  # the new direction counts, not where the talker was
    assert enhancer.status.look == 40


def test_mvdr_stays_within_its_range(rng):
    array = MicArray.load("bte-2x2")
    x = beside(rng, array, 13)
    for reach in (0, 10):
        enhancer = Enhancer(array, beamformer=Mvdr(look_range=reach), model=EnergyMask())
        enhancer.process(x)
        assert enhancer.status.look == reach


@pytest.mark.parametrize("azimuth", [-60, 50, 90])
def test_mvdr_does_not_follow_who_speaks_elsewhere(azimuth, rng):
    array = MicArray.load("linear-4")
    enhancer = Enhancer(array, model=EnergyMask())
    enhancer.process(beside(rng, array, azimuth))
    assert enhancer.status.look == 0


@pytest.mark.parametrize("ears", ["left", "both"])
def test_a_talker_followed_sounds_as_one_looked_at(ears, rng):
    array = MicArray.load("bte-2x2")
    x = beside(rng, array, 15, 4)
    at, followed, missed = (
        Enhancer(array, beamformer=Mvdr(look_range=reach), model=EnergyMask(), ears=ears, look=look).process(x)[32000:]
        for look, reach in ((15, 0), (0, 20), (0, 0))
    )
    assert level_db(followed - at, at) <= level_db(missed - at, at) - 6


# ---- knobs ----


def test_strength_zero_is_the_delayed_reference_microphone(rng):
    x = scene(rng)
    y = Enhancer("bte-2x2", model=EnergyMask(), strength=0, ears="both").process(x)
    assert level_db(y[128:] - x[:-128, [0, 2]], x) <= -100


def test_full_cues_without_a_model_leave_both_ears_as_they_are(rng):
    x = scene(rng)
    y = Enhancer("bte-2x2", model="none", cues=1, ears="both").process(x)
    assert level_db(y[128:] - x[:-128, [0, 2]], x) <= -100


def test_both_ears_hear_the_talker_with_the_arrays_level_and_time_differences(rng):
    x = scene(rng)
    both, left, right = (
        Enhancer("bte-2x2", beamformer="delay-and-sum", model="none", ears=ears, look=60).process(x)
        for ears in ("both", "left", "right")
    )
    assert level_db(both[:, 0] - left, left) <= -90
    assert level_db(both[:, 1] - right, right) <= -90


@pytest.mark.parametrize("knob", ["strength", "cues", "look"])
@BEAM
def test_changes_while_streaming_make_no_click(knob, beamformer):
    array, t = MicArray.load("bte-2x2"), np.arange(32000) / 16000
    tone = array.steering(0, np.array([500.0]))[0]
    x = 0.3 * np.real(np.exp(2j * np.pi * 500 * t)[:, None] * tone).astype(np.float32)
    enhancer = Enhancer(array, beamformer=beamformer, model="none")
    values = {"strength": [0, 1, 0.5], "cues": [1, 0, 1], "look": [40, -40, 10]}[knob]
    parts = [enhancer.process(x[:8000])]
    for part, value in zip(np.split(x[8000:], 3), values, strict=True):
        setattr(enhancer, knob, value)
        parts.append(enhancer.process(part))
    y = np.concatenate(parts)[2000:]
    slope = np.abs(np.diff(y)).max()
    assert slope <= 1.25 * 2 * np.pi * 500 / 16000 * np.abs(y).max()


def test_look_points_the_beam(rng):
    array, n = MicArray.load("bte-2x2"), 16000
    source = np.fft.rfft(rng.standard_normal(n))[:, None]
    x = 0.1 * np.fft.irfft(source * array.steering(90, np.fft.rfftfreq(n, 1 / 16000)), n, axis=0).astype(np.float32)
    there, away = (
        Enhancer(array, beamformer="superdirective", model="none", look=look).process(x) for look in (90, -90)
    )
    assert level_db(away, there) <= -6


# ---- bad input ----


def gap(x, value, start=16000, length=1600, channel=slice(None)):
    broken = x.copy()
    broken[start : start + length, channel] = value
    return broken


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
@BEAM
def test_bad_samples_leave_the_same_trace_as_zeros(bad, beamformer, rng):
    x = scene(rng, 3)
    make = lambda: Enhancer("bte-2x2", beamformer=beamformer, model=EnergyMask())  # noqa: E731
    expected = make().process(gap(x, 0))
    np.testing.assert_array_equal(make().process(gap(x, bad)), expected)
    one_channel = make()
    np.testing.assert_array_equal(one_channel.process(gap(x, bad, channel=1)), expected)
    assert one_channel.status.bad_frames == 1600


FAULTS = {
    "full-scale burst": lambda x: gap(x, np.sign(np.random.default_rng(1).standard_normal((1600, x.shape[1])))),
    "DC": lambda x: gap(x, 0.9),
    "silence": lambda x: gap(x, 0),
    "dead microphone": lambda x: gap(x, 0, length=len(x), channel=2),
    "dead reference microphone": lambda x: gap(x, 0, length=8000, channel=0),
    "swapped microphones": lambda x: x[:, [2, 1, 0, 3]],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore:microphone")
@BEAM
def test_faults_pass_without_poisoning_the_stream(fault, beamformer, rng):
    x = scene(rng, 4)
    make = lambda: Enhancer("bte-2x2", beamformer=beamformer, model=EnergyMask())  # noqa: E731
    broken, expected = FAULTS[fault](x), make().process(x)
    y = make().process(broken)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= 2 * np.abs(broken).max()
    if not fault.startswith(("swapped", "dead")):
        assert abs(level_db(y[16000 + 1600 + 16000 :], expected[16000 + 1600 + 16000 :])) <= 1


def test_a_burst_leaves_the_shipped_network_as_it_was(rng):
    pytest.importorskip("ai_edge_litert", reason="needs a TFLite runtime")
    x = scene(rng, 4)
    after = slice(16000 + 1600 + 16000, None)
    expected = Enhancer("bte-2x2").process(x)[after]
    y = Enhancer("bte-2x2").process(FAULTS["full-scale burst"](x))[after]
    assert abs(level_db(y, expected)) <= 1


def test_a_sound_that_stays_loud_is_soon_the_new_sound(rng):
    x = scene(rng, 4)
    x[16000:] *= 30
    mask = EnergyMask()
    Enhancer("bte-2x2", model=mask, block=64).process(x)
    assert len(x) // 64 - 70 <= len(mask.gains) <= len(x) // 64 - 60  # called again after a quarter of a second


def test_a_dead_microphone_is_named_and_left_out(rng):
    x = scene(rng, 3)
    enhancer = Enhancer("bte-2x2", model="none")
    with pytest.warns(RuntimeWarning, match="microphone 2 of 'bte-2x2' .* is silent"):
        enhancer.process(gap(x, 0, 16000, 32000, 2))
    assert enhancer.status.dead_mics == (2,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer.process(x)
    assert enhancer.status.dead_mics == ()


def test_silence_stays_silence():
    assert not Enhancer("bte-2x2", model=EnergyMask()).process(np.zeros((16000, 4), np.float32)).any()


@pytest.mark.parametrize("bits", [1e-38, 1e-42])
def test_denormal_input_stays_finite(bits):
    x = np.full((4000, 4), bits, np.float32)
    assert np.isfinite(Enhancer("bte-2x2", model=EnergyMask()).process(x)).all()


def test_a_failing_mask_raises_its_own_error_and_the_stream_goes_on(rng):
    class Broken(EnergyMask):
        def step(self, features, gains):
            raise RuntimeError("out of order")

    x, enhancer = scene(rng), Enhancer("bte-2x2", model=Broken())
    with pytest.raises(RuntimeError, match="out of order"):
        enhancer.process(x)
    enhancer._chain._call.mask = EnergyMask()
    assert np.isfinite(enhancer.process(x)).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"array": "bte-9"}, "bte-2x2"),
        ({"profile": "fast"}, "choose one of assist, comm"),
        ({"beamformer": "gsc"}, "choose one of mvdr, superdirective"),
        ({"ears": "middle"}, "choose one of left, right, both"),
        ({"look": np.nan}, "degrees"),
        ({"strength": 1.5}, "from 0 to 1"),
        ({"cues": -1}, "from 0 to 1"),
        ({"block": 100}, "multiple of the hop"),
        ({"sample_rate": 44099}, "ratio of 16000:44099"),
        ({"sample_rate": 48000, "block": 64}, "multiple of the hop, 192 samples in profile 'assist' at 48000 Hz"),
        ({"sample_rate": 44100, "block": 64}, "multiple of 5 hops, 882 samples"),
        ({"model": EnergyMask(PROFILES["comm"])}, "trained for profile 'comm'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_settings_say_what_was_expected(change, sentence):
    with pytest.raises((ValueError, EdgeEnhanceError), match=sentence):
        Enhancer(**{"array": "bte-2x2", "model": "none", **change})


@pytest.mark.parametrize(
    ("x", "error", "sentence"),
    [
        (np.zeros((10, 3), np.float32), ValueError, r"takes \(n, 4\)"),
        (np.zeros(10, np.float32), ValueError, r"takes \(n, 4\)"),
        (np.zeros((10, 4), np.int16), TypeError, "divide int16 by 32768"),
    ],
)
def test_wrong_samples_say_what_was_expected(x, error, sentence):
    with pytest.raises(error, match=sentence):
        Enhancer("bte-2x2", model="none").process(x)


def test_aligned_mode_refuses_other_blocks():
    with pytest.raises(ValueError, match="multiples of the hop, 64"):
        Enhancer(model="none", block=128).process(np.zeros(100, np.float32))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_a_model_of_its_own(profile, rng):
    pytest.importorskip("ai_edge_litert", reason="needs a TFLite runtime")
    enhancer = Enhancer("bte-2x2", profile=profile)
    assert enhancer.process(scene(rng)).any() and 0 < enhancer.status.gain < 1


def words(rng, seconds=6):
    """Half a second of sound, half a second of silence, in front: (n, 4) float32."""
    n = int(seconds * 16000)
    talking = np.sin(2 * np.pi * np.arange(n) / 16000) > 0
    return np.repeat((0.1 * talking * rng.standard_normal(n))[:, None], 4, axis=1).astype(np.float32)


def test_where_there_is_no_noise_the_sound_is_left_as_it_is(rng):
    x = words(rng) + 1e-5 * rng.standard_normal((96000, 4)).astype(np.float32)  # 80 dB below
    enhancer = Enhancer("linear-4", model=EnergyMask(), beamformer="superdirective")
    y = enhancer.process(x)
    known, d = slice(32000, None), enhancer.latency
    assert level_db(y[d:][known] - x[:-d, 1][known], x[:-d, 1][known]) <= -60


def test_where_there_is_noise_between_the_words_it_is_enhanced(rng):
    x = words(rng) + 3e-3 * rng.standard_normal((96000, 4)).astype(np.float32)  # 30 dB below
    make = lambda model: Enhancer("linear-4", model=model, beamformer="superdirective")  # noqa: E731
    y, gains = make(mask := EnergyMask()).process(x), mask.gains
    assert level_db(y[32000:] - x[32000:, 1], x[32000:, 1]) > -30 and np.mean(gains) < 0.9


def test_a_model_that_served_another_stream_starts_anew(rng):
    x, mask = scene(rng), EnergyMask()
    first, second = (Enhancer("bte-2x2", model=mask).process(x) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_reset_makes_it_as_new(rng):
    x, enhancer = scene(rng), Enhancer("bte-2x2", model=EnergyMask())
    first = enhancer.process(x)
    enhancer.reset()
    np.testing.assert_array_equal(enhancer.process(x), first)


# ---- whole recordings ----


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_enhance_keeps_length_rate_and_alignment(rate, rng):
    pytest.importorskip("soxr")
    t = np.arange(int(1.3 * rate) + 7) / rate
    x = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    y = enhance(x, rate, model="none")
    middle = slice(rate // 4, rate)
    assert y.shape == x.shape and level_db(y[middle] - x[middle], x[middle]) <= -60


@pytest.mark.parametrize("n", [0, 1, 100])
def test_enhance_takes_short_recordings(n):
    assert enhance(np.zeros(n, np.float32), 16000, model="none").shape == (n,)


# ---- memory ----


def test_nothing_allocates_per_hop():
    """Counted by the C library's own allocator statistics, in a fresh process: kernel calls alone, no mask."""
    code = """
import ctypes, numpy as np
from edgeenhance import Enhancer
from edgeenhance.kernel import lib, pointer
class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("0", "1", "2", "3", "4", "5", "6", "used", "8", "9")]
info = ctypes.CDLL(None).mallinfo2
info.restype = Mallinfo
e = Enhancer("bte-2x2", model="none")
x, y = np.random.default_rng(0).standard_normal((64000, 4)).astype("f"), np.zeros((64000, 1), "f")
a, b = pointer(x), pointer(y)
lib.ee_enhancer_process(e._chain.state, a, b, 1000)
before = info().used
for _ in range(3):
    lib.ee_enhancer_process(e._chain.state, a, b, 64000)
print(info().used - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "mallinfo2" in done.stderr:
        pytest.skip("this C library has no mallinfo2")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200  # Python's own integers and ctypes results; 3000 hops in the kernel
