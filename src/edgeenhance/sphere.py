"""Sound on a rigid sphere: the head of a head-worn array.

`sphere_response` gives the pressure at a microphone on the surface, `sphere_diffuse` the covariance between two of
them when sound comes from everywhere. Both are sums over Legendre orders of the same mode strengths.

Source: R. O. Duda and W. L. Martens, "Range dependence of the response of a spherical head model", JASA 104 (1998).
Their time convention is e^{-iwt}; here it is e^{+iwt}, as in numpy.fft: a delay is a falling phase.
"""

from __future__ import annotations

import numpy as np

SPEED_OF_SOUND = 343.0  # m/s, 20 degrees Celsius
_LOWEST_KA = 1e-12  # stands for 0 Hz, where the sums have a limit but the Bessel functions do not
_NEAREST = 1.05  # sources closer than this many radii need too many orders


def sphere_response(
    angle: np.ndarray | float, freqs: np.ndarray, radius: float, distance: float = np.inf
) -> np.ndarray:
    """Pressure on the sphere, relative to the free field at its centre with the sphere removed.

    angle : (...) radians between the directions of source and microphone · freqs : (F,) Hz
    radius : metres · distance : metres from the centre to the source, > 1.05 radius; inf is a plane wave
    Returns (..., F) complex128; where sound arrives before it would reach the centre, the phase rises.
    Raises ValueError for a radius <= 0 or a source too near. Source: Duda & Martens 1998, eq. 1 and A1.
    """
    strengths = _modes(freqs, radius, distance)
    angle = np.asarray(angle, dtype=float)
    legendre = _legendre(np.cos(angle).ravel(), len(strengths))
    return (legendre.T @ strengths).reshape(*angle.shape, strengths.shape[1])


def sphere_diffuse(angle: np.ndarray | float, freqs: np.ndarray, radius: float) -> np.ndarray:
    """Mean over all plane waves of p_i p_j^*, for two microphones `angle` apart: real, (..., F).

    The mean over directions is closed: by the addition theorem of the Legendre polynomials only equal orders remain,
    sum_n |c_n|^2 P_n(cos angle) / (2n + 1), where c_n are the mode strengths. angle, freqs, radius as above.
    """
    strengths = _modes(freqs, radius, np.inf)
    orders = np.arange(len(strengths))
    angle = np.asarray(angle, dtype=float)
    legendre = _legendre(np.cos(angle).ravel(), len(strengths))
    power = np.abs(strengths) ** 2 / (2 * orders + 1)[:, None]
    return (legendre.T @ power).reshape(*angle.shape, power.shape[1])


def _modes(freqs: np.ndarray, radius: float, distance: float) -> np.ndarray:
    """Mode strengths c_n(f) : (N, F), the response is sum_n c_n P_n(cos angle).

    c_n = -(2n + 1) / x^2 * N_n / h_n'(x) with x = ka and h_n the spherical Hankel function of the second kind;
    N_n = i^(n+1) for the plane wave, y e^{iy} h_n(y), y = kr, for a source at distance r.
    Numerator and denominator are divided by the same scale, so that no order overflows, down to 0 Hz.
    """
    if not radius > 0:
        raise ValueError(f"the sphere's radius must be above 0 m, got {radius}")
    if not distance >= _NEAREST * radius:
        raise ValueError(
            f"a source {distance} m from the centre of a sphere of radius {radius} m is too near; "
            f"place it at {_NEAREST * radius:.3f} m or more"
        )
    wavenumber = 2 * np.pi * np.asarray(freqs, dtype=float) / SPEED_OF_SOUND
    x = np.maximum(wavenumber * radius, _LOWEST_KA)
    count = _order_count(x, radius / distance)
    derivative, scales = _surface(x, count)
    if np.isinf(distance):
        numerator = 1j ** (np.arange(count) + 1)[:, None] * np.cumprod(1 / scales, axis=0)
    else:
        numerator = _distant(x * (distance / radius), scales)
    weights = 2 * np.arange(count)[:, None] + 1
    return -weights / x**2 * numerator / derivative


def _order_count(x: np.ndarray, nearness: float) -> int:
    """Orders needed: beyond ka e / 2 they vanish for a plane wave; (a/r)^n is what a near source adds."""
    plane = float(np.max(x, initial=0.0)) * np.e / 2 + 12
    near = np.log(1e-9) / np.log(nearness) if nearness > 0 else 0.0
    return int(np.ceil(plane + near))


def _surface(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scaled h_n'(x) and the scale of each order relative to the one below: two (count, F) arrays.

    Upward recursion h_{n+1} = (2n + 1) / x h_n - h_{n-1}, stable for the Hankel function because it grows;
    each step is divided by max(1, (2n + 1) / x), about the growth of that step.
    """
    scales = np.ones((count, len(x)))
    derivative = np.empty((count, len(x)), dtype=complex)
    before, current = np.exp(-1j * x) / x, 1j * np.exp(-1j * x) / x  # h_{-1}, h_0
    for n in range(count):
        derivative[n] = before - (n + 1) / x * current
        if n + 1 < count:
            growth = (2 * n + 1) / x
            scales[n + 1] = np.maximum(1.0, growth)
            before, current = current / scales[n + 1], (growth * current - before) / scales[n + 1]
    return derivative, scales


def _distant(y: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """y e^{iy} h_n(y), divided by the running product of `scales` : (N, F)."""
    values = np.empty(scales.shape, dtype=complex)
    before, current = np.ones_like(y) + 0j, np.full_like(y, 1j, dtype=complex)
    for n in range(len(scales)):
        values[n] = current
        if n + 1 < len(scales):
            before, current = (
                current / scales[n + 1],
                ((2 * n + 1) / y * current - before) / scales[n + 1],
            )
    return values


def _legendre(x: np.ndarray, count: int) -> np.ndarray:
    """Legendre polynomials P_0 .. P_{count-1} at x : (count, len(x)), by Bonnet's recursion."""
    values = np.ones((count, len(x)))
    if count > 1:
        values[1] = x
    for n in range(1, count - 1):
        values[n + 1] = ((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1)
    return values
