"""Impulse responses of a shoebox room at the microphones of an array.

    image sources (pyroomacoustics)      direct sound and reflections, exact up to `_EXACT_S` after the direct sound
      -> head arrays: `SphereDirectivity`, the rigid-sphere response of every microphone, one per direction
    late tail (`_late_tail`)             decaying noise with the coherence of a diffuse field, faded in where the image
                                         sources fade out

Why two parts: the number of images grows with the cube of time, and after some 70 ms nobody can tell single
reflections apart. Image sources alone take seconds per scene for the RT60 of a living room; this takes 0.1 s.
Both parts follow one decay curve (`Room.decay`), that of the images of a box, so that they join without a step:
the density of images gives the tail its level, nothing is fitted.

Sources: J. B. Allen and D. A. Berkley, JASA 65 (1979), image method; E. A. Lehmann and A. M. Johansson, JASA 124
(2008), decay of a box from its images; the same, IEEE TASLP 18 (2010), images first, diffuse tail after.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pyroomacoustics as pra
from pyroomacoustics.directivities.base import Directivity
from scipy.fft import next_fast_len
from scipy.signal import butter, sosfilt

from ..arrays import MicArray
from ..sphere import SPEED_OF_SOUND, sphere_response

SAMPLE_RATE = 16000
LEAD = 40  # samples before time zero in every response: half of the fractional-delay filters, so that all is causal
EARLY_S = 0.05  # what counts as early after the direct sound

_EXACT_S = 0.052  # image sources are complete up to here after the direct sound: they cover the early part
_FADE_S = 0.02  # then they fade into the tail
_SPHERE_TAPS = 128
_SPHERE_DELAY = 32  # samples; makes the responses of the sphere causal, taken off again
_SPHERE_STEPS = 361  # incidence angles in the table: half a degree
_BAND_EDGE_HZ = 7200.0  # above, responses given as spectra fall to zero at 8 kHz: they would ring otherwise
_HIGHPASS_HZ = 40.0  # images all have one sign and pile up at 0 Hz; as microphones do, the responses pass no infrasound


@dataclass(frozen=True)
class Room:
    """A box with six equal walls.

    dimensions : (3,) metres · rt60 : seconds for 60 dB of decay, 0 for no walls at all (anechoic)
    """

    dimensions: tuple[float, float, float]
    rt60: float

    @property
    def volume(self) -> float:
        return float(np.prod(self.dimensions))

    @cached_property
    def _damping_per_second(self) -> np.ndarray:
        """Wall hits per second of images in each direction, times c: (directions,), per unit of wall damping."""
        return SPEED_OF_SOUND * (np.abs(even_directions(2000)) / np.array(self.dimensions)).sum(axis=1)

    @cached_property
    def wall_damping(self) -> float:
        """-ln(1 - absorption) such that the energy decay of the images, read from -5 to -35 dB, gives rt60.

        The decay depends on damping x time only, so it is computed once for damping 1 and scaled.
        """
        times = np.linspace(0, 40 / self._damping_per_second.mean(), 2000)
        rates = self._damping_per_second
        remaining = (np.exp(-times[:, None] * rates) / rates).sum(axis=1)
        level = 10 * np.log10(remaining / remaining[0])
        at_5, at_35 = np.interp([5, 35], -level, times)
        return float(2 * (at_35 - at_5) / self.rt60)

    @property
    def absorption(self) -> float:
        """Energy absorption of the walls, 0..1."""
        return 1 - float(np.exp(-self.wall_damping)) if self.rt60 > 0 else 1.0

    def decay(self, times: np.ndarray) -> np.ndarray:
        """Mean energy left to an image that arrives at `times` (n,) seconds: exp(-damping * wall hits), 1 at time 0."""
        return np.exp(-self.wall_damping * np.multiply.outer(times, self._damping_per_second)).mean(axis=-1)

    def contains(self, point: np.ndarray, margin: float = 0.0) -> bool:
        """Is the point (3,) metres inside, at least `margin` metres from every wall?"""
        low, high = margin, np.array(self.dimensions) - margin
        return bool(np.all(np.asarray(point) > low) and np.all(np.asarray(point) < high))


class SphereDirectivity(Directivity):
    """A microphone on a rigid sphere, for pyroomacoustics: an impulse response for every direction.

    The microphone is placed at the sphere's centre; the response carries its delay and the shadow of the sphere.
    Reflections take the plane-wave response, interpolated between half degrees of incidence. Directions in `near`
    (the direct paths) take the response for their finite distance, exactly.

    axis : (3,) unit vector from the centre to the microphone, room coordinates · radius : metres
    near : list of (direction (3,), distance in metres)
    """

    def __init__(self, axis: np.ndarray, radius: float, near: list[tuple[np.ndarray, float]]):
        self._axis = axis
        self._table = _sphere_table(radius)
        self._near = [(direction, self._exact(direction, radius, distance)) for direction, distance in near]

    def _exact(self, direction: np.ndarray, radius: float, distance: float) -> np.ndarray:
        angle = np.arccos(np.clip(direction @ self._axis, -1, 1))
        return _sphere_impulses(np.array([angle]), radius, distance)[0]

    @property
    def is_impulse_response(self) -> bool:
        return True

    @property
    def filter_len_ir(self) -> int:
        return _SPHERE_TAPS

    def get_response(self, azimuth, colatitude=None, magnitude=False, degrees=True) -> np.ndarray:
        """Impulse responses (n, taps) for directions given by two (n,) angles."""
        if degrees:
            azimuth, colatitude = np.radians(azimuth), np.radians(colatitude)
        horizontal = np.sin(colatitude)
        directions = np.stack([horizontal * np.cos(azimuth), horizontal * np.sin(azimuth), np.cos(colatitude)], axis=1)
        responses = _interpolate_rows(self._table, np.arccos(np.clip(directions @ self._axis, -1, 1)) / np.pi)
        for direction, response in self._near:
            responses[directions @ direction > 1 - 1e-9] = response
        return responses

    def sample_rays(self, n_rays, rng=None):
        """Only image sources are used; pyroomacoustics asks for this method where it traces rays."""
        raise NotImplementedError("the sphere's directivity has no ray tracing; use image sources")


def _interpolate_rows(table: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Rows of `table` at `position` (n,), 0 = first row, 1 = last: linear between neighbours."""
    position = position * (len(table) - 1)
    lower = np.minimum(position.astype(int), len(table) - 2)
    weight = (position - lower)[:, None].astype(table.dtype)
    return table[lower] * (1 - weight) + table[lower + 1] * weight


@lru_cache(maxsize=64)
def _sphere_table(radius: float) -> np.ndarray:
    """Plane-wave impulse responses for incidence 0..180 degrees: (angles, taps) float32."""
    return _sphere_impulses(np.linspace(0, np.pi, _SPHERE_STEPS), radius, np.inf).astype(np.float32)


def _sphere_impulses(angles: np.ndarray, radius: float, distance: float) -> np.ndarray:
    """Impulse responses of the sphere (angles, taps), `_SPHERE_DELAY` samples late."""
    freqs = _grid(2 * _SPHERE_TAPS)
    return _impulses(sphere_response(angles, freqs, radius, distance), _SPHERE_DELAY)[:, :_SPHERE_TAPS]


def _grid(length: int) -> np.ndarray:
    """Frequencies of a real FFT of `length` samples, Hz."""
    return np.fft.rfftfreq(length, 1 / SAMPLE_RATE)


def _impulses(spectra: np.ndarray, delay: int) -> np.ndarray:
    """Spectra (..., F) on `_grid` -> impulse responses (..., 2F - 2), `delay` samples late, nothing at 8 kHz."""
    freqs = _grid(2 * (spectra.shape[-1] - 1))
    edge = np.clip((freqs - _BAND_EDGE_HZ) / (SAMPLE_RATE / 2 - _BAND_EDGE_HZ), 0, 1)
    shift = np.exp(-2j * np.pi * freqs / SAMPLE_RATE * delay) * (0.5 + 0.5 * np.cos(np.pi * edge))
    return np.fft.irfft(spectra * shift)


def even_directions(count: int) -> np.ndarray:
    """Unit vectors spread evenly over the sphere (Fibonacci spiral): (count, 3)."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(turn), across * np.sin(turn), height], axis=1)


def turn(points: np.ndarray, azimuth_deg: float) -> np.ndarray:
    """Rotate points (n, 3) about the vertical axis, anticlockwise, degrees."""
    cosine, sine = np.cos(np.radians(azimuth_deg)), np.sin(np.radians(azimuth_deg))
    return points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1.0]])


def arrival(array: MicArray, mic: int, source: np.ndarray) -> int:
    """Sample of a response at which the direct sound of `source` (3,) m, array coordinates, reaches a microphone.

    On a head the way is tangent and along the surface once the microphone is in the shadow (Woodworth's formula).
    """
    position = array.positions[mic]
    length = float(np.linalg.norm(source - position))
    if array.mount == "head":
        tangent = np.sqrt(source @ source - array.head_radius**2)
        if length > tangent:
            angle = np.arccos(np.clip(source @ position / np.linalg.norm(source) / array.head_radius, -1, 1))
            length = tangent + array.head_radius * (angle - np.arccos(array.head_radius / np.linalg.norm(source)))
    return LEAD + int(round(length / SPEED_OF_SOUND * SAMPLE_RATE))


def responses(
    room: Room,
    array: MicArray,
    position: np.ndarray,
    azimuth_deg: float,
    sources: np.ndarray,
    rng: np.random.Generator,
    longest_s: float = np.inf,
) -> np.ndarray:
    """Impulse responses from every source to every microphone: (S, M, L) float32, 1 at 1 m in the free field.

    position : (3,) metres, the array's origin in the room · azimuth_deg : where the array's front points
    sources : (S, 3) metres, room coordinates, all inside the room · rng : draws the tail
    longest_s : responses end here, or where the decay has fallen by 60 dB.
    Time zero is at sample LEAD.
    """
    farthest = float(np.linalg.norm(sources - position, axis=1).max()) / SPEED_OF_SOUND
    if room.rt60 == 0:
        return _image_responses(room, array, position, azimuth_deg, sources, farthest + 0.01)
    fade_start = farthest + _EXACT_S
    duration = min(max(room.rt60, fade_start + _FADE_S) + farthest, longest_s)
    images = _image_responses(room, array, position, azimuth_deg, sources, fade_start + _FADE_S)
    tail = _late_tail(room, array, len(sources), duration, rng)
    fade = _fade(tail.shape[2], fade_start)
    total = tail * np.sqrt(fade)
    overlap = min(images.shape[2], tail.shape[2])
    total[:, :, :overlap] += images[:, :, :overlap] * np.sqrt(1 - fade[:overlap])
    highpass = butter(2, _HIGHPASS_HZ, "highpass", fs=SAMPLE_RATE, output="sos")
    return sosfilt(highpass, total).astype(np.float32)


def _fade(length: int, start: float) -> np.ndarray:
    """Energy share of the tail: 0 up to `start` seconds after time zero, 1 from `_FADE_S` later."""
    times = (np.arange(length) - LEAD) / SAMPLE_RATE
    return 0.5 - 0.5 * np.cos(np.pi * np.clip((times - start) / _FADE_S, 0, 1))


def _image_responses(room, array, position, azimuth_deg, sources, until: float) -> np.ndarray:
    """Responses by image sources that arrive before `until` seconds: (S, M, L)."""
    with _settings():
        box = _shoebox(room, until)
        for source in sources:
            box.add_source(source)
        extra = _add_microphones(box, array, position, azimuth_deg, sources)
        box.image_source_model()
        _forget_late_images(box, until)
        box.compute_rir()
    length = LEAD + int(until * SAMPLE_RATE) + LEAD + _SPHERE_TAPS
    result = np.zeros((len(sources), array.mics, length))
    for m, row in enumerate(box.rir):
        for s, response in enumerate(row):
            response = response[extra : extra + length]
            result[s, m, : len(response)] = response
    return result


def _shoebox(room: Room, until: float) -> pra.ShoeBox:
    """The room for pyroomacoustics, with all orders of reflection that can arrive before `until` seconds."""
    order = int(np.ceil(until * SPEED_OF_SOUND / min(room.dimensions))) if room.rt60 > 0 else 0
    return pra.ShoeBox(
        list(room.dimensions), fs=SAMPLE_RATE, materials=pra.Material(min(room.absorption, 1.0)), max_order=order
    )


def _add_microphones(box, array: MicArray, position, azimuth_deg: float, sources: np.ndarray) -> int:
    """Place the array; returns by how many samples its responses are later than LEAD says."""
    places = turn(array.positions, azimuth_deg)
    if array.mount != "head":
        box.add_microphone_array((places + position).T)
        return 0
    offsets = sources - position
    distances = np.linalg.norm(offsets, axis=1)
    near = list(zip(offsets / distances[:, None], distances, strict=True))
    directivities = [SphereDirectivity(place / array.head_radius, array.head_radius, near) for place in places]
    centre = np.repeat(np.asarray(position, dtype=float)[:, None], array.mics, axis=1)
    box.add_microphone_array(pra.MicrophoneArray(centre, SAMPLE_RATE, directivity=directivities))
    return _SPHERE_DELAY


def _forget_late_images(box: pra.ShoeBox, until: float) -> None:
    """Hide images that arrive after `until` seconds: most of those of a high order do."""
    for source, visible in zip(box.sources, box.visibility, strict=True):
        for mic, row in zip(box.mic_array.R.T, visible, strict=True):
            row &= np.linalg.norm(source.images - mic[:, None], axis=0) < until * SPEED_OF_SOUND


@contextmanager
def _settings() -> Iterator[None]:
    """pyroomacoustics without its own high-pass, on one thread: the order of sums, and so the bits, stay the same."""
    wanted = {"rir_hpf_enable": False, "num_threads": 1, "frac_delay_length": 2 * LEAD + 1, "c": SPEED_OF_SOUND}
    before = {name: pra.constants.get(name) for name in wanted}
    try:
        for name, value in wanted.items():
            pra.constants.set(name, value)
        yield
    finally:
        for name, value in before.items():
            pra.constants.set(name, value)


def _late_tail(room: Room, array: MicArray, sources: int, duration: float, rng: np.random.Generator) -> np.ndarray:
    """Diffuse noise that decays as the room's images do: (S, M, L), from time zero (sample LEAD) on.

    In a shell of thickness c dt at distance ct lie 4 pi (ct)^2 c dt / V images of energy decay(t) / (ct)^2.
    """
    times = np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE
    energy = 4 * np.pi * SPEED_OF_SOUND / room.volume * _smooth_decay(room, times) / SAMPLE_RATE
    tail = diffuse_noise(array, (sources,), LEAD + len(times), rng)
    tail[..., :LEAD] = 0
    tail[..., LEAD:] *= np.sqrt(energy)
    return tail


def _smooth_decay(room: Room, times: np.ndarray) -> np.ndarray:
    """`Room.decay` at many times, by interpolation of its logarithm at a few."""
    knots = np.linspace(0, times[-1], 64)
    return np.exp(np.interp(times, knots, np.log(np.maximum(room.decay(knots), 1e-30))))


def diffuse_noise(array: MicArray, shape: tuple[int, ...], length: int, rng: np.random.Generator) -> np.ndarray:
    """White noise with the coherence of a diffuse field at the microphones: (*shape, M, length).

    Unit power in the free field; on a head, what the sphere does to a diffuse field (0 to +3 dB).
    """
    size = next_fast_len(length, real=True)
    spectra = np.fft.rfft(rng.standard_normal((*shape, array.mics, length)), size)
    mixing = _diffuse_mixing(array)
    knots = np.linspace(0, len(mixing) - 1, spectra.shape[-1]) / (len(mixing) - 1)
    mixing = _interpolate_rows(mixing.reshape(len(mixing), -1), knots).reshape(-1, array.mics, array.mics)
    return np.fft.irfft(np.einsum("fij,...jf->...if", mixing, spectra), size)[..., :length]


def _diffuse_mixing(array: MicArray) -> np.ndarray:
    """Square root of the diffuse covariance, (F, M, M) on a coarse grid; the Hermitian root is smooth in frequency."""
    covariance = array.diffuse_covariance(_grid(256))
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.transpose(0, 2, 1)


def plane_wave(array: MicArray, directions: np.ndarray) -> np.ndarray:
    """Impulse responses of plane waves from unit vectors (K, 3), array coordinates: (K, M, 256), time zero at LEAD."""
    return _impulses(np.moveaxis(array.responses(directions, _grid(256)), -1, -2), LEAD)
