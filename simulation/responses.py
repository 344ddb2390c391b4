"""Impulse responses of a scene: every source to every microphone, calibration errors included.

Point sources go through the room (`room.responses`). Diffuse noise comes from directions spread over the sphere, each
with a noise of its own: a plane wave, and a late part with the coherence of a diffuse field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import MicArray
from .room import EARLY_S, LEAD, SAMPLE_RATE, arrival, diffuse_noise, even_directions, plane_wave, responses

if TYPE_CHECKING:
    from .scene import Scene

_DIFFUSE_S = 0.128  # length of a diffuse response
_DIFFUSE_LATE = 2.0  # energy of its late part, relative to the plane wave


@dataclass(frozen=True, eq=False)
class Responses:
    """point : (S, M, L), target first · diffuse : (K, M, L_d) or None; float32, time zero at sample LEAD.

    onsets : (M,) sample at which the target's direct sound arrives at each microphone.
    """

    point: np.ndarray
    diffuse: np.ndarray | None
    onsets: np.ndarray

    def early(self, mic: int) -> np.ndarray:
        """Direct sound and reflections of the first 50 ms of the target at a microphone: (L_e,), same time origin."""
        return self.point[0, mic, : self.onsets[mic] + int(EARLY_S * SAMPLE_RATE)]


def respond(scene: Scene, longest_s: float = np.inf) -> Responses:
    """Responses of a scene, none longer than `longest_s` seconds."""
    array = _displaced(scene.array, scene.displacement)
    point = responses(
        scene.room, array, scene.position, scene.azimuth_deg, scene.source_positions, scene.generator("tail"), longest_s
    )
    diffuse = None
    if scene.diffuse:
        diffuse = _diffuse_responses(array, scene.diffuse.directions, scene.room.rt60, scene.generator("diffuse"))
        diffuse = _calibrated(diffuse, scene.gain_db, scene.phase_deg)
    onsets = np.array([arrival(array, mic, scene.sources[0].offset) for mic in range(array.mics)])
    return Responses(_calibrated(point, scene.gain_db, scene.phase_deg), diffuse, onsets)


def _displaced(array: MicArray, displacement: np.ndarray) -> MicArray:
    """The array with its microphones moved; on a head they stay on its surface."""
    if not displacement.any():
        return array
    positions = array.positions + displacement
    if array.mount == "head":
        positions = positions * (array.head_radius / np.linalg.norm(positions, axis=1, keepdims=True))
    return replace(array, positions=positions)


def _calibrated(responses: np.ndarray, gain_db: np.ndarray, phase_deg: np.ndarray) -> np.ndarray:
    """Responses (..., M, L) with each microphone's gain and phase error; the phase is the same at all frequencies."""
    scaled = responses * (10 ** (gain_db / 20)).astype(np.float32)[:, None]
    if not phase_deg.any():
        return scaled
    length = responses.shape[-1]
    size = length + 1024  # room for the ends of the phase shifter's response
    spectra = np.fft.rfft(scaled, size) * np.exp(1j * np.radians(phase_deg))[:, None]
    return np.fft.irfft(spectra, size)[..., :length].astype(np.float32)


def _diffuse_responses(array: MicArray, count: int, rt60: float, rng: np.random.Generator) -> np.ndarray:
    """Responses (K, M, L_d) for K independent noises from K directions; mean energy over the microphones 1 in sum."""
    length = int(_DIFFUSE_S * SAMPLE_RATE)
    late = diffuse_noise(array, (count,), length, rng)
    times = np.maximum(np.arange(length) - LEAD, 0) / SAMPLE_RATE
    envelope = 10 ** (-3 * times / max(rt60, 0.1)) * np.minimum(1, np.arange(length)[::-1] / (0.02 * SAMPLE_RATE))
    envelope[:LEAD] = 0
    late *= envelope * np.sqrt(_DIFFUSE_LATE / np.sum(envelope**2))
    direct = _plane_waves(array, count, rng)
    late[..., : direct.shape[-1]] += direct
    return (late / np.sqrt(np.sum(late**2) / array.mics)).astype(np.float32)


def _plane_waves(array: MicArray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Plane waves from `count` directions spread over the sphere, the spread turned at random: (K, M, taps)."""
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return plane_wave(array, even_directions(count) @ rotation)
