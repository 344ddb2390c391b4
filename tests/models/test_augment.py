"""Augmentation: what each operation does to a signal, and what the recipe's keys do to the items."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.models import augment, data
from edgeenhance.models.augment import AUGMENTATIONS, Augmentation, Variation
from edgeenhance.models.data import Mixing, batches
from edgeenhance.models.recipe import Recipe, Validation
from tests.conftest import level_db

RATE = 16000
EVERYTHING = {
    "speed": (0.88, 1.14),
    "eq_db": 6.0,
    "noise_speed": (0.7, 1.4),
    "noise_eq_db": 6.0,
    "phase_deg": 10.0,
    "clipping": 0.5,
    "rumble": 0.5,
    "sensor_tilt_db": (-4.0, 2.0),
    "own_voice": 0.5,
    "target_pause": 0.5,
    "noise_pause": 0.5,
}


def with_mixing(mixtures, **changes):
    return replace(mixtures, mixing=replace(mixtures.mixing, **changes))


def db(power) -> float:
    return 10 * np.log10(float(power))


def tone(freq: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * freq * np.arange(samples) / RATE).astype(np.float32)


# Items


def test_augmented_items_are_the_same_whatever_the_number_of_workers(mixtures):
    varied = with_mixing(mixtures, **EVERYTHING)
    alone, two = (list(batches(varied, range(6), 2, workers)) for workers in (0, 2))
    for ours, theirs in zip(alone, two, strict=True):
        for name in ours:
            assert torch.isfinite(ours[name].abs()).all()
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=0)


@pytest.mark.parametrize("key", EVERYTHING)
def test_each_augmentation_changes_items(mixtures, key):
    share = {key: 1.0} if isinstance(EVERYTHING[key], float) and EVERYTHING[key] < 1 else {key: EVERYTHING[key]}
    varied = with_mixing(mixtures, **share)
    assert any(not torch.equal(varied[index]["beam"], mixtures[index]["beam"]) for index in range(4))


@pytest.mark.parametrize("key", ["phase_deg", "clipping", "rumble", "sensor_tilt_db", "own_voice", "noise_pause"])
def test_what_happens_to_the_mixture_leaves_the_target_alone(mixtures, key):
    still = with_mixing(mixtures, level_db=(-30.0, -30.0), noise_only=0.0)
    share = 1.0 if key in ("clipping", "rumble", "own_voice", "noise_pause") else EVERYTHING[key]
    for index in range(4):
        ours, theirs = with_mixing(still, **{key: share})[index]["target"], still[index]["target"]
        gain = ours.abs().square().sum().sqrt() / theirs.abs().square().sum().sqrt()  # another level of the mixture
        assert level_db((ours - gain * theirs).numpy(), ours.numpy()) < -80


def test_target_and_mixture_stay_aligned_under_speed_equaliser_and_pauses(mixtures):
    """In a dry room of one microphone without noise, the mixture is the target, whatever the talker does."""
    quiet = {"clean": 1.0, "noise_only": 0.0, "one_microphone": 1.0, "sensor_db": (80.0, 80.0)}
    varied = with_mixing(mixtures, **quiet, speed=(0.88, 1.14), eq_db=8.0, target_pause=1.0, phase_deg=10.0)
    varied = replace(varied, bank=DryBank(mixtures.bank))
    for index in range(6):
        item = varied[index]
        assert level_db((item["beam"] - item["target"]).numpy(), item["target"].numpy()) < -60


class DryBank:
    """A bank whose rooms are cut off after what counts as early."""

    def __init__(self, bank) -> None:
        self._bank = bank

    def __len__(self) -> int:
        return len(self._bank)

    def __getattr__(self, name):
        return getattr(self._bank, name)

    def scene(self, number):
        scene = self._bank.scene(number)
        rir = scene.rir.copy()
        rir[0, scene.reference] = data._padded(scene.early, rir.shape[-1])[0]
        return replace(scene, rir=rir)


def test_a_target_pause_silences_the_target_and_not_the_noise(mixtures):
    paused = with_mixing(mixtures, target_pause=1.0, pause=(0.5, 0.5), clean=0.0, noise_only=0.0, one_microphone=1.0)
    quiet = loud = 0.0
    for index in range(4):
        item = paused[index]
        power = item["target"].abs().square().sum(1)
        hops = power < 1e-6 * power.max()
        quiet += hops.float().mean().item() / 4
        loud += item["beam"].abs()[hops].square().mean().item() / item["beam"].abs().square().mean().item() / 4
    assert quiet > 0.3 and loud > 0.05


def test_a_noise_pause_leaves_the_sensor_noise(mixtures):
    fixed = {"noise_only": 1.0, "clean": 0.0, "one_microphone": 1.0, "sensor_db": (40.0, 40.0), "snr_db": (-1, 0, 1)}
    paused = with_mixing(mixtures, **fixed, noise_pause=1.0, pause=(0.5, 0.5), rumble=1.0)
    for index in range(4):
        power = paused[index]["beam"].abs().square().mean(1)
        assert 0 < power.min() < 1e-3 * power.median()


def test_an_own_voice_is_as_loud_as_asked_for_at_all_microphones(mixtures):
    scene = mixtures.bank.scene(0)
    loud = with_mixing(mixtures, own_voice=1.0, own_voice_db=(20.0, 20.0), pause=(1.0, 1.0))
    room = data._Room(scene, mixtures.samples)
    voice = loud._own_voice(np.random.default_rng(5), room)
    assert db(data._active_power(voice[scene.reference])) == pytest.approx(20, abs=1.5)
    assert np.ptp([db(microphone.square().mean()) for microphone in voice]) < 2
    assert level_db((voice[0] - voice[1]).numpy(), voice[0].numpy()) < -5  # alike but for tiny delays


def test_validation_is_not_augmented(recipe, data_dir, bank_dir, cache):
    varied = replace(recipe, mixing=replace(recipe.mixing, **EVERYTHING))
    assert varied.mixtures(data_dir, bank_dir, cache).mixing == varied.mixing
    plain = recipe.mixtures(data_dir, bank_dir, cache, "valid").mixing
    assert varied.mixtures(data_dir, bank_dir, cache, "valid").mixing == plain
    assert plain.seconds == recipe.validation.seconds != Validation.seconds


# Keys of the recipe


def test_the_table_of_a_plain_recipe_names_no_augmentation(recipe):
    assert not set(recipe.as_table()["mixing"]) & set(AUGMENTATIONS)
    varied = replace(recipe, mixing=replace(recipe.mixing, rumble=0.2))
    assert varied.as_table()["mixing"] == {**recipe.as_table()["mixing"], "rumble": 0.2}
    assert Recipe.from_table(varied.as_table(), "again") == varied


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("speed", (1.1, 0.9)),
        ("noise_speed", (0.1, 1.0)),
        ("speed", 1.1),
        ("eq_db", -3.0),
        ("noise_eq_db", 50.0),
        ("phase_deg", 200.0),
        ("clipping", 1.5),
        ("clipping_db", (-3.0, 6.0)),
        ("rumble", -0.1),
        ("rumble_db", (0.0, 100.0)),
        ("sensor_tilt_db", (0.0, 20.0)),
        ("own_voice_db", (20.0, 10.0)),
        ("pause", (0.2, 1.2)),
        ("pause", (0.2, 0.3, 0.4)),
        ("target_pause", float("nan")),
    ],
)
def test_bad_ranges_are_refused_in_a_sentence(key, value):
    with pytest.raises(ValueError, match=rf"^{key} = .*; give .*"):
        Mixing(**{key: value})


def test_a_recipe_with_a_bad_range_names_the_file_and_the_key(recipe):
    table = recipe.as_table()
    table["mixing"] = {**table["mixing"], "own_voice": 2.0}
    with pytest.raises(EdgeEnhanceError, match=r"mine\.toml: own_voice = 2 is out of range; give 0 to 1"):
        Recipe.from_table(table, "mine.toml")


def test_an_augmentation_draws_from_its_own_generator():
    one, other = augment.Draws(1, 2), augment.Draws(1, 2)
    other.of("rumble").random(), other.of("speed").random()
    assert one.scene.random() == other.scene.random()
    assert one.of("rumble").random() != one.of("speed").random() != one.of("clipping").random()
    assert augment.Draws(1, 2).happens("rumble", 0.0) is False
    assert 0.2 < np.mean([augment.Draws(1, index).happens("rumble", 0.3) for index in range(300)]) < 0.4


def test_everything_is_off_unless_asked_for():
    shares = {key: value for key, value in asdict(Augmentation()).items() if isinstance(value, float)}
    assert not any(shares.values())
    assert Variation.draw(np.random.default_rng(0), (1.0, 1.0), 0.0, 57344) is None


# Operations


@pytest.mark.parametrize("factor", [0.88, 1.0, 1.14])
def test_speed_moves_a_tone_and_keeps_its_level(rng, factor):
    variation = Variation.draw(rng, (factor, factor), 1e-9, 28672)
    assert variation.length / variation.item == pytest.approx(factor, rel=0.005)
    n = 24000
    played = torch.from_numpy(tone(1000, variation.recorded(n)))
    heard = torch.fft.irfft(augment.vary(played, variation), variation.item)[:n].numpy()
    wanted = tone(1000 * variation.length / variation.item, n)
    assert level_db((heard - wanted)[400:-400], wanted[400:-400]) < -60
    assert level_db(heard[400:-400], wanted[400:-400]) == pytest.approx(0, abs=0.01)


def test_slowing_down_and_speeding_up_lead_back_to_the_recording(rng):
    n, item, slow = 20000, 28672, augment._fast_length(28672 * 0.9)
    window = np.hanning(n).astype(np.float32)
    x = torch.from_numpy(window * np.convolve(rng.standard_normal(n), np.hanning(9), "same").astype(np.float32))
    there = torch.fft.irfft(augment.vary(x, Variation(item, slow, None)), slow)[: n * slow // item]
    back = torch.fft.irfft(augment.vary(there, Variation(slow, item, None)), item)[:n]
    assert level_db((back - x).numpy(), x.numpy()) < -50


def test_the_equaliser_is_smooth_in_range_and_neither_louder_nor_quieter_on_average(rng):
    for _ in range(50):
        curve = 20 * np.log10(augment.equaliser(rng, 6.0))
        assert np.abs(curve).max() <= 6
        knots = np.interp(augment._EQ_KNOTS, np.linspace(0, RATE / 2, len(curve)), curve)
        assert knots.mean() == pytest.approx(0, abs=0.2)
        assert np.abs(np.diff(curve)).max() < 1  # dB per 16 Hz
    assert np.std([augment.equaliser(rng, 6.0)[200] for _ in range(50)]) > 0.05


def test_an_equalised_source_has_the_curve_in_its_spectrum(rng):
    curve = augment.equaliser(rng, 6.0)
    x = torch.from_numpy(rng.standard_normal(4096).astype(np.float32))
    ratio = (augment.vary(x, Variation(4096, 4096, curve)) / torch.fft.rfft(x)).numpy()
    np.testing.assert_allclose(ratio[::4], curve, rtol=1e-3)


def test_phase_errors_are_constant_above_500_hz_and_proportional_below(rng):
    bins = 8001  # 1 Hz
    phase = np.rad2deg(np.angle(augment.phase_mismatch(rng, 10.0, 6, 2, bins).numpy()))
    assert not phase[2].any() and np.abs(phase).max() <= 10 and np.abs(phase[:, -1]).max() > 4
    np.testing.assert_allclose(phase[:, 501:], phase[:, -1:] * np.ones(7500), atol=1e-3)
    np.testing.assert_allclose(phase[:, 250], phase[:, -1] / 2, rtol=0.01)
    assert not phase[:, 0].any()


def test_mismatched_microphones_hear_at_the_same_level(mixtures):
    scene = mixtures.bank.scene(0)
    room, other = data._Room(scene, mixtures.samples), data._Room(scene, mixtures.samples)
    other.mismatch(np.random.default_rng(3), 10.0)
    dry = room.spectrum(tone(2000, room.preroll + room.n) * np.hanning(room.preroll + room.n).astype(np.float32))
    (plain, early), (moved, same) = room.target(dry), other.target(dry)
    torch.testing.assert_close(early, same, rtol=0, atol=0)
    torch.testing.assert_close(plain[scene.reference], moved[scene.reference], rtol=0, atol=0)
    np.testing.assert_allclose(plain.square().mean(1), moved.square().mean(1), rtol=1e-2)
    assert -40 < level_db((plain - moved).numpy(), plain.numpy()) < -14  # sin 10 degrees: -15 dB


def test_clipping_limits_all_microphones_alike_and_changes_nothing_below(rng):
    x = torch.from_numpy(rng.standard_normal((3, 4000)).astype(np.float32))
    clipped = augment.clip(x, 6.0)
    limit = float(x.abs().max()) * 10 ** (-6 / 20)
    assert float(clipped.abs().max()) == pytest.approx(limit)
    below = x.abs() < limit
    assert torch.equal(clipped[below], x[below]) and not below.all()


@pytest.mark.parametrize("slope", [-6.0, 3.0])
def test_a_tilt_keeps_the_power_and_has_the_slope(rng, slope):
    x = torch.from_numpy(rng.standard_normal((2, 48000)).astype(np.float32))
    y = augment.tilt(x, slope)
    assert db(y.square().mean()) == pytest.approx(0, abs=0.3)
    low, high = (band_power(y, f, 1.2 * f) for f in (500, 4000))
    assert db(high / low) - db(4000 / 500) == pytest.approx(3 * slope, abs=1)


def band_power(x: torch.Tensor, low: float, high: float) -> float:
    power = torch.fft.rfft(x).abs().square().mean(0)
    freqs = torch.linspace(0, RATE / 2, len(power))
    return float(power[(freqs >= low) & (freqs < high)].sum())


def test_rumble_is_low_and_independent_at_the_microphones(rng):
    x = augment.rumble(rng, 3, 48000)
    assert float(x.square().mean()) == pytest.approx(1, rel=1e-3)
    assert band_power(x, 0, 500) > 5 * band_power(x, 500, 8000)
    assert db(band_power(x, 1000, 2000) / band_power(x, 2000, 4000)) > 2  # 6 dB, and 3 dB wider
    correlation = np.corrcoef(x.numpy())
    assert np.abs(correlation[~np.eye(3, dtype=bool)]).max() < 0.5


def test_a_near_mouth_is_delayed_and_attenuated_a_little(rng):
    bins = 20001
    transfer = augment.near_field(rng, 5, bins).numpy()
    assert np.abs(20 * np.log10(np.abs(transfer))).max() < 1.01
    delays = -np.unwrap(np.angle(transfer))[:, -1] / (2 * np.pi * RATE / 2)
    assert np.abs(delays).max() <= 51e-6 and np.ptp(delays) > 10e-6
    line = np.exp(-2j * np.pi * np.linspace(0, RATE / 2, bins) * delays[:, None])
    assert level_db(transfer / np.abs(transfer) - line, line) < -60


def test_gates_open_and_close_once_for_the_share_asked_for(rng):
    for share in (0.0, 0.25, 1.0):
        gate = augment.pause_gate(rng, 8000, (share, share))
        assert gate.shape == (8000,) and gate.min() >= 0 and gate.max() <= 1
        assert np.mean(gate < 1e-3) == pytest.approx(share, abs=0.085)
        assert np.abs(np.diff(gate)).max() < 0.01  # faded
        assert np.count_nonzero(np.diff((gate < 0.5).astype(int)) == 1) <= 1


def test_a_pause_never_takes_nearly_all_of_a_talker():
    dry = np.zeros(1000, np.float32)
    dry[600:700] = 1
    gate = np.ones(500, np.float32)
    gate[50:300] = 0
    assert np.array_equal(data._with_pause(dry, gate), dry)
    gate[150:300] = 1
    assert data._with_pause(dry, gate).sum() == 50
