"""The kernel's chain as an object: its configuration, its tables, its memory, and the mask it calls back.

`Enhancer` streams with it, and training runs whole items through it: one place says what the kernel is given.
"""

from __future__ import annotations

import math
import threading
from typing import Any, Protocol

import numpy as np

from .bands import SIGNALS
from .beamform import Beamformer, BeamTables
from .errors import EdgeEnhanceError
from .kernel import aligned_memory, check, ffi, from_planar, lib, pack_hermitian, pointer, to_planar
from .profiles import Profile


class Mask(Protocol):
    """What the chain needs of a mask network; `MaskNet` and `NativeNet` are some.

    One with an attribute `kernel_mask`, (C function, user), is called by the kernel itself, without Python.
    """

    profile: str
    centers: np.ndarray

    def reset(self) -> None: ...

    def step(self, features: np.ndarray, gains: np.ndarray) -> None: ...


@ffi.def_extern()
def ee_python_mask(user: Any, features: Any, gains: Any) -> int:
    return ffi.from_handle(user)(features, gains)


class _MaskCall:
    """Between the kernel's mask function and a Mask: views on the kernel's memory, and the error to raise later."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.error: BaseException | None = None
        self._bands = len(mask.centers)
        self._views: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, features: Any, gains: Any) -> int:
        try:
            if self._views is None:  # the pointers stay the same as long as the chain lives
                self._views = (_view(features, SIGNALS * self._bands), _view(gains, self._bands))
            self.mask.step(*self._views)
            return 0
        except BaseException as error:  # must not cross C; raised again after the block
            self.error = error
            return -1


def _view(samples: Any, count: int) -> np.ndarray:
    return np.frombuffer(ffi.buffer(samples, 2 * count), np.int16)


class Chain:
    """`ee_enhancer` with all that C points into, kept as long as the object lives. No argument is checked but by C.

    references : reference microphone of each ear, one or two · tables : of `beamform.design` · centers : of the bands
    mask : called once per hop, or None for the beam alone · aligned : blocks are whole hops, at one hop less delay
    ceiling : the largest sample that comes out, full scale 1; 0 for no limiter
    state : the kernel's pointer, for its setters · memory : its bytes · config : its ee_config
    """

    def __init__(
        self,
        profile: Profile,
        mics: int,
        references: list[int],
        tables: BeamTables,
        centers: np.ndarray,
        beamformer: Beamformer,
        mask: Mask | None = None,
        *,
        aligned: bool = False,
        strength: float = 1.0,
        cues: float = 0.0,
        bypass: bool = False,
        ceiling: float = 0.0,
    ) -> None:
        self._bins, self._mics, self._ears = profile.bins, mics, len(references)
        self._centers = np.ascontiguousarray(centers, np.int16)
        self._mask = mask  # the kernel points into a native one
        self._call = _MaskCall(mask) if mask and not hasattr(mask, "kernel_mask") else None
        self._handle = ffi.new_handle(self._call)
        self.config = config = self._config(profile, mics, references, beamformer)
        config.aligned, config.strength, config.cues = aligned, strength, cues
        config.bypass, config.ceiling = bypass, ceiling
        size = lib.ee_enhancer_size(config)
        if not size:
            raise EdgeEnhanceError("the kernel refused the configuration; array, profile and model do not fit together")
        self.memory: int = size
        self._memory, start = aligned_memory(size)
        out, first = ffi.new("ee_enhancer **"), _kernel_beam(tables)
        check(lib.ee_enhancer_init(out, start, size, config, first[0]))
        self.state = out[0]
        self._seen = ffi.new("ee_status *")
        self._beams, self._setting = [first], threading.Lock()  # the kernel reads the tables where they are

    def _config(self, profile: Profile, mics: int, references: list[int], beamformer: Beamformer) -> Any:
        config = ffi.new("ee_config *")
        config.sample_rate, config.mics = profile.sample_rate, mics
        config.analysis, config.synthesis = profile.analysis, profile.synthesis
        config.ears, config.reference = len(references), references + [0] * (2 - len(references))
        config.bands, config.centers = len(self._centers), pointer(self._centers, "int16_t")
        adaptive = beamformer.name == "mvdr"
        config.beamformer = lib.EE_BEAM_MVDR if adaptive else lib.EE_BEAM_FIXED
        if adaptive:
            config.prior_weight, config.noise_seconds = beamformer.prior_weight, beamformer.time_constant
            config.solve_hops, config.steering_blend = beamformer.solve_hops(profile), beamformer.steering_blend
            config.look_steps = beamformer.look_steps
        if self._call:
            config.mask, config.mask_user = lib.ee_python_mask, self._handle
        elif self._mask:
            config.mask, config.mask_user = self._mask.kernel_mask
        return config

    def process(self, x: np.ndarray) -> np.ndarray:
        """x : (n, mics) contiguous float32 -> (n, ears) float32. Raises what the mask raised."""
        out = np.empty((len(x), self._ears), np.float32)
        code = lib.ee_enhancer_process(self.state, pointer(x), pointer(out), len(x))
        if code:
            self._raise(code)
        return out

    def _raise(self, code: int) -> None:
        if code == lib.EE_ERR_MASK and self._call and self._call.error is not None:
            error, self._call.error = self._call.error, None
            raise error
        check(code)

    def set_tables(self, tables: BeamTables) -> None:
        """Steer elsewhere, without a click; from any thread."""
        beam = _kernel_beam(tables)
        with self._setting:  # among those who set: processing takes no lock
            if not lib.ee_enhancer_pending(self.state):
                del self._beams[:-1]
            self._beams.append(beam)
            check(lib.ee_enhancer_set_beam(self.state, beam[0]))

    @property
    def status(self) -> Any:
        """The kernel's ee_status, as of the last hop; from any thread."""
        status = ffi.new("ee_status *")
        check(lib.ee_enhancer_status(self.state, status))
        return status

    @property
    def dead_mics(self) -> int:
        """`status.dead_mics`, for the thread that processes: asked after every block, it makes no new object."""
        lib.ee_enhancer_status(self.state, self._seen)
        return self._seen.dead_mics

    @property
    def beam(self) -> np.ndarray:
        """Ear 0's beam of the last hop, before the gains : (bins,) complex64."""
        return from_planar(self._look_at(lib.ee_enhancer_beam, 2))

    @property
    def weights(self) -> np.ndarray:
        """The beam's weights of the last hop : (mics, bins) complex64."""
        return from_planar(self._look_at(lib.ee_enhancer_weights, self._mics, 2))

    @property
    def gains(self) -> np.ndarray:
        """The last hop's gains : (bins,) float32."""
        return self._look_at(lib.ee_enhancer_gains).copy()

    def _look_at(self, table: Any, *planes: int) -> np.ndarray:
        shape = (*planes, self._bins)
        return np.frombuffer(ffi.buffer(table(self.state), 4 * math.prod(shape)), np.float32).reshape(shape)


def kernel_tables(tables: BeamTables) -> dict[str, np.ndarray]:
    """The tables that there are, by their names in ee_beam, in the kernel's layout : float32."""
    names = ("weights", "noise", "sum", "steering", "ear", "turn", "prior")
    given = {name: getattr(tables, name) for name in names if getattr(tables, name) is not None}
    return {name: pack_hermitian(t) if name == "prior" else to_planar(t.T) for name, t in given.items()}


def _kernel_beam(tables: BeamTables) -> tuple[Any, dict[str, np.ndarray]]:
    """An ee_beam, and the arrays that it points to; both must live as long as the kernel may use them."""
    beam, keep = ffi.new("ee_beam *"), kernel_tables(tables)
    for name, table in keep.items():
        setattr(beam, name, pointer(table))
    return beam, keep
