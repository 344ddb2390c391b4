"""Beamformers: what they promise, on every preset, and closed forms."""

import numpy as np
import pytest

from edgeenhance.arrays import MicArray, preset_names
from edgeenhance.beamform import (
    BEAMFORMERS,
    DelayAndSum,
    Mvdr,
    Superdirective,
    beamformer,
    beampattern,
    design,
    directivity_index,
    distortionless,
    mvdr_weights,
    noise_reference,
    plot_beampattern,
    prior,
    relative_steering,
    white_noise_gain,
)
from edgeenhance.profiles import PROFILES

PROFILE = PROFILES["assist"]
FREQS = PROFILE.freqs
ARRAYS = [name for name in preset_names() if name != "mono"]


def response(w, d):
    return np.sum(w.conj() * d, axis=-1)


def random_covariance(rng, mics, bins=257, frames=40):
    x = rng.normal(size=(frames, bins, mics)) + 1j * rng.normal(size=(frames, bins, mics))
    return np.einsum("tfm,tfn->fmn", x, x.conj()) / frames


# ---- promises ----


@pytest.mark.parametrize("kind", BEAMFORMERS)
@pytest.mark.parametrize("name", preset_names())
def test_the_talker_comes_out_as_the_reference_microphone_hears_it(name, kind):
    array = MicArray.load(name)
    for look in (0.0, -35.0):
        for reference in array.reference.values():
            w = beamformer(kind).weights(array, look, FREQS, reference)
            d = relative_steering(array, look, FREQS, reference)
            assert w.shape == (257, array.mics) and w.dtype == complex
            assert np.abs(response(w, d) - 1).max() < 1e-12


@pytest.mark.parametrize("limit", [-20.0, -10.0, 0.0])
@pytest.mark.parametrize("name", ARRAYS)
def test_the_white_noise_gain_keeps_its_limit(name, limit):
    array = MicArray.load(name)
    for reference in array.reference.values():
        w = Superdirective(limit).weights(array, 20.0, FREQS, reference)
        gain = white_noise_gain(w, relative_steering(array, 20.0, FREQS, reference))
        assert gain.min() >= limit - 1e-9


@pytest.mark.parametrize("name", ARRAYS)
def test_the_loading_is_no_greater_than_the_limit_asks_for(name):
    array = MicArray.load(name)
    loaded = prior(array, 20.0, FREQS, 0, -10.0)
    loading = np.trace(loaded - array.diffuse_coherence(FREQS), axis1=1, axis2=2).real / array.mics
    gain = white_noise_gain(
        Superdirective(-10.0).weights(array, 20.0, FREQS, 0), relative_steering(array, 20, FREQS, 0)
    )
    at_the_floor = loading < 1.001 * loading.min()
    assert np.all(at_the_floor | (np.abs(gain + 10) < 1e-6))
    assert loading.min() < 0.011


@pytest.mark.parametrize("name", ARRAYS)
def test_superdirective_hears_least_of_a_diffuse_field(name):
    array = MicArray.load(name)
    for reference in array.reference.values():
        index = [
            directivity_index(kind.weights(array, 0.0, FREQS, reference), array, 0.0, FREQS)
            for kind in (Superdirective(), DelayAndSum())
        ]
        # The diffuse field is weighted by loading: where the limit binds at 0 Hz both are equal to rounding.
        assert np.all(index[0] >= index[1] - 1e-6)


@pytest.mark.parametrize("name", ARRAYS)
def test_delay_and_sum_has_the_greatest_white_noise_gain(name):
    array = MicArray.load(name)
    d = relative_steering(array, 50.0, FREQS, 0)
    best = white_noise_gain(DelayAndSum().weights(array, 50.0, FREQS, 0), d)
    assert np.allclose(best, 10 * np.log10(np.sum(np.abs(d) ** 2, axis=1)))
    assert np.all(best >= white_noise_gain(Superdirective().weights(array, 50.0, FREQS, 0), d) - 1e-9)


def test_a_limit_beyond_reach_yields_delay_and_sum():
    array = MicArray.load("linear-4")
    w = Superdirective(20.0).weights(array, 0.0, FREQS, 1)
    assert np.allclose(w, DelayAndSum().weights(array, 0.0, FREQS, 1), atol=1e-5)


def test_an_endfire_pair_reaches_its_textbook_directivity():
    """M^2 at low frequencies: 6 dB for two microphones (Elko 2000), without loading."""
    array, freqs = MicArray("pair", [[0.005, 0, 0], [-0.005, 0, 0]]), np.array([500.0, 1000.0])
    w = distortionless(array.diffuse_coherence(freqs), relative_steering(array, 0.0, freqs, 0))
    assert np.allclose(directivity_index(w, array, 0.0, freqs), 6.02, atol=0.05)


# ---- noise reference ----


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("look", [0.0, 30.0, -90.0])
def test_the_noise_reference_has_a_null_on_the_talker(name, look):
    array = MicArray.load(name)
    b = noise_reference(array, look, FREQS, 0)
    d = relative_steering(array, look, FREQS, 0)
    leak = np.abs(response(b, d)) / (np.linalg.norm(b, axis=1) * np.linalg.norm(d, axis=1))
    assert leak.max() < 1e-10
    single = np.abs(response(b.astype(np.complex64), d.astype(np.complex64)))
    assert single.max() < 1e-5  # as the kernel stores it, with |b| up to 10


@pytest.mark.parametrize("name", ARRAYS)
def test_the_noise_reference_has_unit_power_in_a_diffuse_field(name):
    array = MicArray.load(name)
    b = noise_reference(array, 0.0, FREQS, 0)
    coherence = array.diffuse_coherence(FREQS)
    field = coherence / coherence[:, :1, :1] + 0.01 * np.eye(array.mics)
    assert np.allclose(np.einsum("fm,fmn,fn->f", b.conj(), field, b).real, 1)


@pytest.mark.parametrize("name", ARRAYS)
def test_no_other_null_beam_hears_more_of_the_diffuse_field(name):
    array, rng = MicArray.load(name), np.random.default_rng(3)
    b, d = noise_reference(array, 10.0, FREQS, 0), relative_steering(array, 10.0, FREQS, 0)
    coherence = array.diffuse_coherence(FREQS)

    def pickup(beam):
        return np.einsum("fm,fmn,fn->f", beam.conj(), coherence, beam).real / np.sum(np.abs(beam) ** 2, axis=1)

    for _ in range(20):
        other = rng.normal(size=d.shape) + 1j * rng.normal(size=d.shape)
        other -= d * (np.sum(d.conj() * other, axis=1) / np.sum(np.abs(d) ** 2, axis=1))[:, None]
        assert np.all(pickup(b) >= pickup(other) - 2e-6)


def test_symmetric_arrays_have_one_noise_reference_not_two():
    """On a circle the loudest null beam is not unique; a rounding error must not choose between the candidates."""
    array = MicArray.load("respeaker-4")
    moved = MicArray("moved", array.positions + 1e-12 * np.random.default_rng(0).normal(size=(4, 3)))
    one, other = (noise_reference(a, 45.0, FREQS, 0) for a in (array, moved))
    assert np.abs(one - other).max() < 1e-3


def test_one_microphone_has_no_noise_reference():
    with pytest.raises(ValueError, match="'mono' has one microphone"):
        noise_reference(MicArray.load("mono"), 0.0, FREQS, 0)


# ---- MVDR ----


def test_mvdr_equals_the_closed_form_for_two_microphones():
    """A^-1 of a 2 x 2 matrix written out."""
    rng = np.random.default_rng(1)
    covariance, d = random_covariance(rng, 2), relative_steering(MicArray.load("bte-1x2"), 0.0, FREQS, 0)
    field = np.tile(np.eye(2, dtype=complex), (257, 1, 1))
    (p, q), (_, s) = (2 * covariance / np.trace(covariance, axis1=1, axis2=2)[:, None, None] + 0.1 * field).transpose(
        1, 2, 0
    )
    solved = np.stack([s * d[:, 0] - q * d[:, 1], -q.conj() * d[:, 0] + p * d[:, 1]], axis=1)
    expected = solved / response(d, solved)[:, None]
    assert np.allclose(mvdr_weights(covariance, d, field, 0.1), expected, atol=1e-12)


def test_mvdr_does_not_depend_on_the_noise_level():
    rng = np.random.default_rng(2)
    array = MicArray.load("bte-2x2")
    covariance, d, field = random_covariance(rng, 4), relative_steering(array, 0, FREQS, 0), prior(array, 0, FREQS, 0)
    assert np.allclose(mvdr_weights(1e-9 * covariance, d, field, 0.1), mvdr_weights(covariance, d, field, 0.1))


def test_mvdr_without_noise_is_superdirective():
    array = MicArray.load("bte-2x2")
    d, field = relative_steering(array, 0, FREQS, 0), prior(array, 0, FREQS, 0)
    w = mvdr_weights(np.zeros((257, 4, 4)), d, field, 0.1)
    assert np.allclose(w, Superdirective().weights(array, 0, FREQS, 0))
    assert np.allclose(w, Mvdr().weights(array, 0, FREQS, 0))


def test_batch_mvdr_puts_a_null_on_an_interferer():
    array, rng = MicArray.load("respeaker-6"), np.random.default_rng(4)
    interferer = array.steering(80.0, FREQS)
    source = rng.normal(size=(60, 257, 1)) + 1j * rng.normal(size=(60, 257, 1))
    w = Mvdr(prior_weight=1e-3).batch_weights(source * interferer, array, 0.0, FREQS, 0)
    fixed = Superdirective().weights(array, 0.0, FREQS, 0)
    speech_band = slice(16, 200)
    leak = 20 * np.log10(np.abs(response(w, interferer))[speech_band])
    assert np.median(leak) < -35
    assert np.median(leak) < np.median(20 * np.log10(np.abs(response(fixed, interferer))[speech_band])) - 20
    assert np.abs(response(w, relative_steering(array, 0.0, FREQS, 0)) - 1).max() < 1e-9


def test_batch_mvdr_checks_the_shape_of_the_noise():
    with pytest.raises(ValueError, match=r"noise_stft must be \(frames, 257, 4\), got \(10, 257, 2\)"):
        Mvdr().batch_weights(np.zeros((10, 257, 2)), MicArray.load("bte-2x2"), 0.0, FREQS, 0)


def test_distortionless_minimises_the_noise():
    rng = np.random.default_rng(5)
    noise, d = random_covariance(rng, 3, bins=8), rng.normal(size=(8, 3)) + 1j * rng.normal(size=(8, 3))
    w = distortionless(noise, d)

    def power(beam):
        return np.einsum("fm,fmn,fn->f", beam.conj(), noise, beam).real

    for _ in range(20):
        other = w + 0.1 * (rng.normal(size=w.shape) + 1j * rng.normal(size=w.shape))
        other /= response(other, d).conj()[:, None]
        assert np.all(power(w) <= power(other) + 1e-12)


# ---- tables ----


@pytest.mark.parametrize("kind", BEAMFORMERS)
@pytest.mark.parametrize("name", preset_names())
def test_design_fills_all_tables_with_finite_numbers(name, kind):
    array = MicArray.load(name)
    tables = design(array, kind, 0.0, PROFILE, array.ears)
    mics = array.mics
    assert tables.weights.shape == tables.steering.shape == (257, mics)
    assert tables.prior.shape == (257, mics, mics)
    assert (tables.noise is None) == (mics == 1 or kind == "none")
    assert (tables.ear is None) == (len(array.ears) == 1)
    for table in (tables.weights, tables.noise, tables.steering, tables.ear, tables.prior):
        assert table is None or (table.dtype == complex and np.all(np.isfinite(table)))


def test_the_second_ear_keeps_the_talkers_interaural_differences():
    array = MicArray.load("bte-2x2")
    left, right = (design(array, "superdirective", 40.0, PROFILE, ears) for ears in (("left", "right"), ("right",)))
    d = array.steering(40.0, FREQS)
    assert np.allclose(left.ear, d[:, 2] / d[:, 0])
    assert np.allclose(left.ear * response(left.weights, d), response(right.weights, d))


def test_the_second_ears_beam_is_its_own_beam():
    """Times `ear`, the beam of ear 0 is the beam of ear 1: the filter A^-1 d does not know its reference."""
    array = MicArray.load("respeaker-4")
    one, other = (Superdirective().weights(array, 40.0, FREQS, reference) for reference in (0, 2))
    ear = relative_steering(array, 40.0, FREQS, 0)[:, 2]
    assert np.allclose(one * ear.conj()[:, None], other)


def test_no_beam_is_the_reference_microphone():
    tables = design(MicArray.load("bte-2x2"), "none", 0.0, PROFILE, ("right",))
    assert np.array_equal(tables.weights, np.tile([0, 0, 1, 0], (257, 1)))


def test_beamformers_are_chosen_by_name_or_object():
    own = Mvdr(time_constant=1.0)
    assert beamformer(own) is own
    assert beamformer("mvdr") == Mvdr()
    with pytest.raises(ValueError, match="unknown beamformer 'gsc'; choose one of mvdr, superdirective, delay-and-sum"):
        beamformer("gsc")
    with pytest.raises(TypeError, match=r"an object such as Mvdr\(\), got int"):
        beamformer(3)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Mvdr(time_constant=0), "time_constant must lie in 0.001 to 60, got 0"),
        (lambda: Mvdr(prior_weight=-1), "prior_weight must lie in"),
        (lambda: Mvdr(solve_seconds=-1), "solve_seconds must lie in 0 to 60"),
        (lambda: Superdirective(float("nan")), "white_noise_gain_db must lie in -60 to 60, got nan"),
        (lambda: design(MicArray.load("linear-4"), "mvdr", 0.0, PROFILE, ("right",)), "has no 'right' ear"),
        (
            lambda: relative_steering(MicArray.load("mono"), 0.0, FREQS, 1),
            "reference microphone 1 is not one of 0 to 0",
        ),
    ],
)
def test_misuse_is_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# ---- what a beam does ----


def test_a_single_microphone_has_no_directivity():
    array = MicArray.load("respeaker-4")
    w = beamformer("none").weights(array, 0.0, FREQS, 0)
    assert np.allclose(directivity_index(w, array, 0.0, FREQS), 0)
    assert np.allclose(beampattern(w, array, FREQS, np.arange(0, 360, 30)), 0)


def test_directivity_can_be_counted_from_the_reference_microphones_own():
    array = MicArray.load("bte-2x2")
    alone = beamformer("none").weights(array, 0.0, FREQS, 0)
    assert np.allclose(directivity_index(alone, array, 0.0, FREQS, 0), 0)
    w = Superdirective().weights(array, 0.0, FREQS, 0)
    assert np.mean(directivity_index(w, array, 0.0, FREQS, 0)) > 6


def test_a_beampattern_is_0_db_at_the_talker_and_deep_at_a_null():
    array = MicArray.load("bte-2x2")
    angles = np.array([-60.0, 25.0])
    w, b = (make(array, 25.0, FREQS, 0) for make in (DelayAndSum().weights, noise_reference))
    assert np.allclose(beampattern(w, array, FREQS, angles, 0)[1], 0, atol=1e-9)
    assert beampattern(b, array, FREQS, angles)[1].max() < -200


def test_a_cardioid_has_its_null_behind():
    """Two microphones, one delayed by their distance and subtracted."""
    array, freqs = MicArray("pair", [[0.005, 0, 0], [-0.005, 0, 0]]), np.array([1000.0])
    w = np.array([[1, -np.exp(2j * np.pi * 1000 * 0.01 / 343.0)]])
    front, side, rear = beampattern(w, array, freqs, np.array([0.0, 90.0, 180.0]))[:, 0]
    assert front - side == pytest.approx(6.02, abs=0.1)
    assert rear < -200


def test_a_beampattern_plot_can_be_saved(tmp_path):
    pytest.importorskip("matplotlib")
    array = MicArray.load("bte-2x2")
    w = Superdirective().weights(array, 30.0, FREQS, 0)
    plot_beampattern(w, array, 30.0, FREQS).savefig(tmp_path / "pattern.png")
    assert (tmp_path / "pattern.png").read_bytes().startswith(b"\x89PNG")
