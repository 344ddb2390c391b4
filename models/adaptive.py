"""The chain as the device runs it, along a whole item: training sees the beam and the features it will sit behind.

The kernel adapts its beam by the network's gains. Here they are the ideal ones, raised to a power: below 1 a network
that suppresses too little, above 1 one that suppresses too much.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeenhance.beamform import Mvdr
from edgeenhance.enhancer import MaskCall
from edgeenhance.kernel import aligned_memory, check, ffi, from_planar, lib, pack_hermitian, pointer, to_planar
from edgeenhance.profiles import PROFILES

from .bank import SceneBeams
from .features import Bands

FULL = 32767  # Q15


class IdealMask:
    """A mask that knows the target, and keeps what the kernel showed it.

    target : (hops, bins) complex64 · power : of the ideal gains
    features, beam : (hops, 4 * bands) int16, (hops, bins) complex64
    shown : (hops,) bool, False where the kernel did not ask (silence, bursts)
    """

    def __init__(self, target: np.ndarray, bands: Bands, power: float) -> None:
        self.profile, self.centers = bands.profile.name, bands.centers
        self._target, self._mean, self._power = target, bands.mean, power
        self._wanted = np.square(np.abs(target)) @ self._mean
        self.features = np.zeros((len(target), 4 * len(self.centers)), np.int16)
        self.beam = np.zeros(target.shape, np.complex64)
        self.shown = np.zeros(len(target), bool)
        self.kernel: Any = None  # its state, once it has been made
        self._status = ffi.new("ee_status *")

    def reset(self) -> None:
        """Nothing to forget: an item is heard once."""

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        """One hop: what `edgeenhance.enhancer.Mask` asks for."""
        lib.ee_enhancer_status(self.kernel, self._status)
        hop, bins = self._status.hops, self._target.shape[1]
        planar = np.frombuffer(ffi.buffer(lib.ee_enhancer_beam(self.kernel), 8 * bins), np.float32).reshape(2, bins)
        self.features[hop], self.beam[hop], self.shown[hop] = features, from_planar(planar), True
        wanted = self._wanted[hop]
        rest = np.square(np.abs(self.beam[hop] - self._target[hop])) @ self._mean
        gains[:] = FULL * (wanted / (wanted + rest + 1e-20)) ** (0.5 * self._power)


def adapt(microphones: np.ndarray, mask: IdealMask, beams: SceneBeams, reference: int, mvdr: Mvdr) -> None:
    """Run the kernel's MVDR over an item; `mask` keeps the result. microphones : (n, mics) float32, whole hops"""
    call = MaskCall(mask)
    handle, keep = ffi.new_handle(call), []
    config = _config(mask, microphones.shape[1], reference, mvdr, handle)
    memory, start = aligned_memory(size := lib.ee_enhancer_size(config))  # both names keep what C points into
    state = ffi.new("ee_enhancer **")
    check(lib.ee_enhancer_init(state, start, size, config, _tables(beams, keep)))
    mask.kernel = state[0]
    out = np.empty((len(microphones), 1), np.float32)
    code = lib.ee_enhancer_process(mask.kernel, pointer(microphones), pointer(out), len(microphones))
    mask.kernel = None
    if call.error is not None:
        raise call.error
    check(code)


def _config(mask: IdealMask, mics: int, reference: int, mvdr: Mvdr, handle: Any) -> Any:
    config, profile = ffi.new("ee_config *"), PROFILES[mask.profile]
    config.sample_rate, config.analysis, config.synthesis = profile.sample_rate, profile.analysis, profile.synthesis
    config.aligned, config.mics, config.ears, config.reference = 1, mics, 1, [reference, 0]
    config.bands, config.centers = len(mask.centers), pointer(mask.centers, "int16_t")
    config.beamformer, config.prior_weight, config.noise_seconds = (
        lib.EE_BEAM_MVDR,
        mvdr.prior_weight,
        mvdr.time_constant,
    )
    config.solve_hops, config.steering_blend = mvdr.solve_hops(profile), mvdr.steering_blend
    config.strength, config.mask, config.mask_user = 1.0, lib.ee_python_mask, handle
    return config


def _tables(beams: SceneBeams, keep: list[np.ndarray]) -> Any:
    """The kernel's tables of a scene; `keep` holds what must outlive the call."""
    beam = ffi.new("ee_beam *")
    for name in ("weights", "noise", "sum", "steering"):
        keep.append(to_planar(getattr(beams, name)))
        setattr(beam, name, pointer(keep[-1]))
    keep.append(pack_hermitian(beams.prior))
    beam.prior = pointer(keep[-1])
    return beam
