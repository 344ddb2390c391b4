"""The rigid sphere: against physics, and against the textbook sum with SciPy's Bessel functions."""

import numpy as np
import pytest

from edgeenhance.sphere import SPEED_OF_SOUND, sphere_diffuse, sphere_response

RADIUS = 0.0875
FREQS = np.arange(257) * 31.25


def level_db(response):
    return 20 * np.log10(np.abs(response))


def textbook_response(angle, freq, radius, distance, orders=110):
    """Duda & Martens 1998, eq. 1, for e^{+iwt}."""
    special = pytest.importorskip("scipy.special")
    k, n = 2 * np.pi * freq / SPEED_OF_SOUND, np.arange(orders)

    def hankel(x, derivative):
        return special.spherical_jn(n, x, derivative) - 1j * special.spherical_yn(n, x, derivative)

    terms = (2 * n + 1) * special.eval_legendre(n, np.cos(angle)) * hankel(k * distance, False)
    return -distance / (k * radius**2) * np.exp(1j * k * distance) * np.sum(terms / hankel(k * radius, True))


@pytest.mark.parametrize("freq", [250.0, 3000.0, 8000.0])
@pytest.mark.parametrize("distance", [0.12, 0.3, 2.0])
@pytest.mark.parametrize("angle", [0.0, 1.0, 2.5, np.pi])
def test_a_near_source_agrees_with_the_textbook_sum(angle, distance, freq):
    expected = textbook_response(angle, freq, RADIUS, distance)
    assert abs(sphere_response(angle, np.array([freq]), RADIUS, distance)[0] - expected) < 1e-7 * abs(expected)


def test_a_far_source_becomes_a_plane_wave():
    angle = np.linspace(0, np.pi, 7)
    plane = sphere_response(angle, FREQS, RADIUS)
    assert np.abs(sphere_response(angle, FREQS, RADIUS, 1e5) - plane).max() < 1e-4


def test_the_wave_is_doubled_where_it_hits_and_bright_behind():
    high = np.arange(257) > 200
    facing = level_db(sphere_response(0.0, FREQS, RADIUS))
    behind, beside_it = level_db(sphere_response(np.radians([180, 155]), FREQS, RADIUS))
    assert np.all(np.abs(facing[high] - 6.02) < 0.35)
    assert np.all(behind[high] > beside_it[high] + 3)


def test_low_frequencies_go_round_the_sphere():
    response = sphere_response(np.linspace(0, np.pi, 9), FREQS, RADIUS)
    assert np.abs(response[:, 0] - 1).max() < 1e-9
    assert np.abs(level_db(response[:, 1])).max() < 0.1


def test_the_interaural_delay_is_three_halves_of_the_way_at_low_frequencies():
    """Kuhn 1977: 3 a / c sin(azimuth) below 500 Hz, about a / c (pi / 2 + 1) above 3 kHz."""
    left, right = sphere_response(np.array([0, np.pi]), FREQS[1:], RADIUS)
    delay = np.unwrap(np.angle(left * right.conj())) / (2 * np.pi * FREQS[1:])
    assert delay[0] == pytest.approx(3 * RADIUS / SPEED_OF_SOUND, rel=0.01)
    assert delay[-1] == pytest.approx(RADIUS / SPEED_OF_SOUND * (np.pi / 2 + 1), rel=0.05)


def test_a_near_source_at_0_hz_has_the_limit_of_the_sum():
    ratio, angle, order = RADIUS / 0.2, 0.7, np.arange(80)
    legendre = np.polynomial.legendre.legval(np.cos(angle), (2 * order + 1) / (order + 1) * ratio**order)
    assert sphere_response(angle, np.zeros(1), RADIUS, 0.2)[0] == pytest.approx(legendre, abs=1e-7)


def test_nothing_overflows_from_0_hz_to_ultrasound():
    freqs = np.array([0.0, 1e-6, 1e-3, 1.0, 48000.0])
    for distance in (1.06 * RADIUS, 1.0, 100.0, np.inf):
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            assert np.all(np.isfinite(sphere_response(np.linspace(0, np.pi, 5), freqs, RADIUS, distance)))


def test_the_diffuse_sum_equals_the_mean_over_directions():
    cosine, weight = np.polynomial.legendre.leggauss(60)  # exact for all orders that matter
    power = np.abs(sphere_response(np.arccos(cosine), FREQS, RADIUS)) ** 2
    assert np.allclose(sphere_diffuse(0.0, FREQS, RADIUS), weight @ power / 2, rtol=1e-9)


def test_shapes_follow_the_angles():
    assert sphere_response(0.1, FREQS, RADIUS).shape == (257,)
    assert sphere_response(np.zeros((240, 4)), FREQS, RADIUS).shape == (240, 4, 257)
    assert sphere_diffuse(np.zeros((4, 4)), FREQS, RADIUS).shape == (4, 4, 257)


def test_a_source_in_the_head_or_a_head_of_no_size_is_refused():
    with pytest.raises(ValueError, match=r"too near; place it at 0\.092 m or more"):
        sphere_response(0.0, FREQS, RADIUS, 0.08)
    with pytest.raises(ValueError, match="radius must be above 0"):
        sphere_response(0.0, FREQS, 0.0)
