"""The main job: a microphone array in, clean speech out, in blocks of any size.

`Enhancer` is the stream: it holds the kernel's state and the mask network. `enhance` does a whole recording with it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from .arrays import MicArray
from .bands import band_centers
from .beamform import LOOK_STEP, Beamformer, BeamTables, beamformer, design
from .cells import ABSURD
from .chain import Chain, Mask
from .classical import METHODS, ClassicalMask
from .errors import EdgeEnhanceError
from .kernel import check, lib
from .masknet import MaskNet
from .nativenet import NativeNet
from .noise_psd import LearnedNoise, NoisePsd
from .profiles import Profile
from .profiles import profile as profile_named
from .resample import Ends, ratio
from .streams import stream_async

BACKENDS = {"native": NativeNet, "litert": MaskNet}  # what runs the mask network: the C engine, a TFLite runtime
EARS = {"left": ("left",), "right": ("right",), "both": ("left", "right")}
DEFAULT_MODELS = {"assist": "assist-m", "comm": "comm-m"}
FALLBACK = "log-mmse"  # where no network fits: for a profile of one's own
_FLOAT32 = np.dtype(np.float32)  # one object: comparing dtypes costs as much as a pointer to C
DEFAULT_BANDS = 64  # without a model: they carry the presence estimate that drives MVDR


@dataclass(frozen=True)
class Status:
    """What the enhancer has seen since `reset`.

    hops : processed · bad_frames : frames with NaN, Inf or absurd samples, muted · dead_mics : microphones (from 0)
    that are silent while others are not · gain : mean gain of the last hop, 0..1
    limited_hops : in which the limiter was at work · limiter_gain : its least gain in the last hop, 0..1
    look : degrees, where the beam looks: the look direction, and how far it has followed the talker from there
    """

    hops: int
    bad_frames: int
    dead_mics: tuple[int, ...]
    gain: float
    limited_hops: int
    limiter_gain: float
    look: float


class Enhancer:
    """A streaming enhancer: `process` blocks of any size, n samples in, n samples out, `latency` samples later.

    array : preset name, TOML path or MicArray · profile : "assist" (8 ms) or "comm" (32 ms)
    beamformer : "mvdr", "superdirective", "delay-and-sum", "none" (reference microphone), or an object such as Mvdr()
    model : a zoo name, a .tflite or .eebin path, a MaskNet or NativeNet, "none" (the beam alone) or "default" (the
    profile's own); "wiener" and other METHODS of `classical` do without a network · backend : "native" (the C engine)
    or "litert" (a TFLite runtime, the extra `litert`) runs the network
    noise : where these get the noise from: "mmse-spp" (the default), "minimum-statistics", "vad", "first-seconds"
    (0.3), so many seconds at the beginning, or samples (n, mics) of noise alone, as `process` takes them, which are
    heard before the stream and after each `reset`
    look : degrees, 0 = front, anticlockwise · strength : 0 (delayed input) .. 1 · ears : "left", "right" or "both"
    cues : 0 .. 1, share of the unprocessed ear under the gains, so that the noise keeps its place
    bypass : True: the delayed reference microphone of each ear comes out as it came in, to compare with
    ceiling : dBFS, −60 .. 0: no output sample is larger, by a limiter without delay; None: no limiter
    block : None for blocks of any size, or a multiple of the hop: all blocks are then multiples of the hop, and the
    delay is one hop less · sample_rate : Hz; others than the profile's, 16000, go through a `Resampler` on
    the way in and out: 2 ms more, flat to 7 kHz. `block` then counts samples of the stream and is whole hops, too: with
    "assist" a multiple of 192 at 48 kHz, of 882 at 44.1 kHz

    One stream per object, processed in one thread. Meanwhile another one may set look, strength, cues and bypass, which
    count from the next hop on and change without a click, and read status. Raises ValueError or TypeError for wrong
    arguments, EdgeEnhanceError for files and models.
    """

    def __init__(
        self,
        array: str | MicArray = "mono",
        *,
        profile: str | Profile = "assist",
        beamformer: str | Beamformer = "mvdr",
        model: str | Mask | None = "default",
        backend: str = "native",
        noise: str | float | np.ndarray | None = None,
        look: float = 0.0,
        strength: float = 1.0,
        ears: str = "left",
        cues: float = 0.0,
        bypass: bool = False,
        ceiling: float | None = None,
        block: int | None = None,
        sample_rate: int = 16000,
    ) -> None:
        self.array = array if isinstance(array, MicArray) else MicArray.load(array)
        self._mics = self.array.mics
        self.profile = profile_named(profile)
        self.ears = _ears(ears)
        self.sample_rate = sample_rate
        self._step = _step(self.profile, sample_rate)
        self.block = _block(block, self._step, self.profile, sample_rate)
        self._beamformer = _beamformer(beamformer, self.array)
        self._noise = self._whole_hops(noise) if isinstance(noise, np.ndarray) else None
        self._learned = None if self._noise is None else LearnedNoise()
        self._mask = _load_mask(model, self.profile, backend, self._learned or noise)
        self._look, self._strength, self._cues = _degrees(look), _unit("strength", strength), _unit("cues", cues)
        self._bypass, self.ceiling = _flag("bypass", bypass), _ceiling(ceiling)
        self._chain, self._dead, self._bad = self._start(), 0, 0
        self._ends = self._resamplers()
        self._learn()

    def _whole_hops(self, noise: np.ndarray) -> np.ndarray:
        return self._samples(noise[: len(noise) - len(noise) % self._step])

    def _learn(self) -> None:
        """Hear the noise alone, if it was given."""
        if self._learned:
            self.process(self._noise)
            self._learned.end()

    def _start(self) -> Chain:
        centers = self._mask.centers if self._mask else band_centers(DEFAULT_BANDS, self.profile)
        references = [self.array.ear(ear) for ear in self.ears]
        return Chain(
            self.profile, self.array.mics, references, self._tables(), centers, self._beamformer, self._mask,
            aligned=self.block is not None, strength=self._strength, cues=self._cues,
            bypass=self._bypass, ceiling=_full_scale(self.ceiling) if self.ceiling is not None else 0.0,
        )  # fmt: skip

    def _resamplers(self) -> Ends | None:
        """Between the stream and the chain, where their rates differ."""
        inner, delay = self.profile.sample_rate, lib.ee_enhancer_latency(self._chain.state)
        if self.sample_rate == inner:
            return None
        return Ends(self.sample_rate, inner, self.array.mics, len(self.ears), delay)

    def _tables(self) -> BeamTables:
        return design(self.array, self._beamformer, self._look, self.profile, self.ears)

    def process(self, x: np.ndarray) -> np.ndarray:
        """Enhance one block.

        x : (n, mics), or (n,) with one microphone; floats, full scale ±1; n >= 0, a multiple of the hop if `block` is
        given. Returns (n,) float32, or (n, 2) with ears="both". NaN and Inf frames are muted and leave no trace.
        """
        x = self._samples(x)
        if self._ends:
            out = clipped(self._ends.process(self._muted(x), self._chain.process), self.ceiling)
        else:
            out = self._chain.process(x)
        dead = self._chain.dead_mics
        if dead != self._dead:
            self._warn_of_dead_mics(dead)
        return out.ravel() if len(self.ears) == 1 else out

    @overload
    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]: ...
    @overload
    def stream(self, blocks: AsyncIterable[np.ndarray]) -> AsyncIterator[np.ndarray]: ...
    def stream(self, blocks: Any) -> Any:
        """Enhance blocks as they come: `for y in enhancer.stream(blocks)`, or `async for` over an async iterable.

        blocks : as for `process`, one after the other · yields what `process` returns for each: n samples for n, the
        stream `latency` samples late. State is kept, so a stream may go on in another call. The last `latency` samples
        stay inside until more comes; as many zeros bring them out.
        In asyncio a block is processed in place (`edgeenhance bench` says how long that takes), then other tasks have
        their turn.
        """
        return stream_async(blocks, self) if hasattr(blocks, "__aiter__") else map(self.process, blocks)

    def _samples(self, x: np.ndarray) -> np.ndarray:
        x, mics = np.asarray(x), self._mics
        if x.dtype.kind != "f":
            raise TypeError(f"got {x.dtype} samples; pass floats of full scale ±1 (divide int16 by 32768)")
        if x.ndim == 1 and mics == 1:
            x = x[:, None]
        if x.ndim != 2 or x.shape[1] != mics:
            raise ValueError(f"got samples of shape {x.shape}; array {self.array.name!r} takes (n, {mics})")
        if self.block is not None and len(x) % self._step:
            raise ValueError(
                f"got a block of {len(x)} samples; with block={self.block} blocks are multiples of "
                f"{_hops(self._step, self.profile, self.sample_rate)} (block=None takes any size)"
            )
        if x.dtype is _FLOAT32:
            return x if x.flags.c_contiguous else np.ascontiguousarray(x)
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes Inf, and is muted
            return np.ascontiguousarray(x, np.float32)

    def _muted(self, x: np.ndarray) -> np.ndarray:
        """x with zeros for its bad frames, as the kernel has it: a filter before it would spread them."""
        bad = ~(np.abs(x) <= ABSURD).all(axis=1)
        self._bad += int(bad.sum())
        return np.where(bad[:, None], np.float32(0), x) if bad.any() else x

    def _warn_of_dead_mics(self, dead: int) -> None:
        if dead & ~self._dead:
            mics = ", ".join(str(mic) for mic in self._bits(dead))
            sentence = f"microphone {mics} of {self.array.name!r} (counted from 0) is silent; going on without it"
            warnings.warn(sentence, RuntimeWarning, stacklevel=3)
        self._dead = dead

    def _bits(self, dead: int) -> tuple[int, ...]:
        return tuple(mic for mic in range(self.array.mics) if dead >> mic & 1)

    def reset(self) -> None:
        """Forget the signal: as new. look, strength, cues, bypass and noise stay."""
        check(lib.ee_enhancer_reset(self._chain.state))
        self._dead = self._bad = 0
        if self._ends:
            self._ends.reset()
        if self._mask:
            self._mask.reset()
        self._learn()

    @property
    def latency(self) -> int:
        """Delay of the stream in samples: output sample t + latency belongs to input sample t."""
        return self._ends.latency if self._ends else lib.ee_enhancer_latency(self._chain.state)

    def latency_ms(self, block: int | None = None) -> float:
        """Delay in milliseconds from sound in to sound out with blocks of `block` samples: stream plus one block.

        Without `block`: the one given at construction, else one hop. Resampling counts; sound card buffers and drivers
        come on top.
        """
        block = block or self.block or self.profile.hop * self.sample_rate / self.profile.sample_rate
        return 1000 * (self.latency + block) / self.sample_rate

    @property
    def memory(self) -> int:
        """Bytes that chain and native network keep in C; model, tables and Python's part are not counted."""
        return self._chain.memory + getattr(self._mask, "memory", 0)

    @property
    def look(self) -> float:
        """Look direction, degrees, 0 = front, anticlockwise; can be set while streaming."""
        return self._look

    @look.setter
    def look(self, degrees: float) -> None:
        before, self._look = self._look, _degrees(degrees)
        try:
            self._chain.set_tables(self._tables())
        except BaseException:
            self._look = before
            raise

    @property
    def strength(self) -> float:
        """0 : the delayed reference microphone .. 1 : full enhancement; can be set while streaming."""
        return self._strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._strength = _unit("strength", value)
        check(lib.ee_enhancer_set_strength(self._chain.state, self._strength))

    @property
    def cues(self) -> float:
        """0 : the beam .. 1 : gains on the unprocessed ear; can be set while streaming."""
        return self._cues

    @cues.setter
    def cues(self, value: float) -> None:
        self._cues = _unit("cues", value)
        check(lib.ee_enhancer_set_cues(self._chain.state, self._cues))

    @property
    def bypass(self) -> bool:
        """True: the delayed reference microphones, as they came in, while the chain goes on to adapt.

        Can be set while streaming; cross-fades over 16 hops, 64 ms in "assist". Unlike strength = 0, which takes the
        same sound through analysis and synthesis, it is equal to the input sample for sample (but for the limiter, and
        resampling).
        """
        return self._bypass

    @bypass.setter
    def bypass(self, value: bool) -> None:
        self._bypass = _flag("bypass", value)
        check(lib.ee_enhancer_set_bypass(self._chain.state, self._bypass))

    @property
    def status(self) -> Status:
        """What the enhancer has seen since `reset`; can be read while streaming."""
        status = self._chain.status
        look = self._look + LOOK_STEP * status.look_steps
        return Status(
            status.hops, self._bad + status.bad_frames, self._bits(status.dead_mics), status.gain,
            status.limited_hops, status.limiter_gain, look,
        )  # fmt: skip

    def __repr__(self) -> str:
        model = getattr(self._mask, "name", "none") if self._mask else "none"
        return (
            f"Enhancer({self.array.name!r}, profile={self.profile.name!r}, beamformer={self._beamformer.name!r}, "
            f"model={model!r}, latency={self.latency} samples)"
        )


def enhance(x: np.ndarray, sample_rate: int, array: str | MicArray = "mono", **settings: Any) -> np.ndarray:
    """Enhance a whole recording: delay compensated, same length, same sample rate.

    x : (n, mics), or (n,) with one microphone; floats, full scale ±1 · sample_rate : Hz; others than the profile's are
    resampled there and back (needs the extra `files`) · settings : as for `Enhancer`, but `block` and `sample_rate`;
    samples of noise alone are at the recording's rate
    Returns (n,) float32, or (n, 2) with ears="both". Warns where the channels contradict the array.
    """
    for name in {"block", "sample_rate"} & settings.keys():
        raise TypeError(f"enhance() takes no {name}= setting; it works on the whole recording")
    from .wiring import doubts

    if isinstance(noise := settings.get("noise"), np.ndarray):
        rate = profile_named(settings.get("profile", "assist")).sample_rate
        settings["noise"] = resample(noise, sample_rate, rate)
    enhancer = Enhancer(array, **settings)
    rate = enhancer.profile.sample_rate
    samples = resample(enhancer._samples(x), sample_rate, rate)
    for doubt in doubts(samples, rate, enhancer.array):
        warnings.warn(doubt, RuntimeWarning, stacklevel=2)
    tail = np.zeros((enhancer.latency, samples.shape[1]), np.float32)
    out = enhancer.process(np.concatenate([samples, tail]))[enhancer.latency :]
    return clipped(fit(resample(out, rate, sample_rate), len(x)), enhancer.ceiling)


def resample(x: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Whole-signal resampling by soxr, high quality, no delay : (n, ...) -> (about n * to / from, ...) float32."""
    if not (isinstance(from_rate, (int, np.integer)) and 4000 <= from_rate <= 768000):
        raise ValueError(f"got sample_rate={from_rate!r}; pass an integer from 4000 to 768000 Hz")
    if from_rate == to_rate or not len(x):
        return x
    try:
        import soxr
    except ImportError:
        raise EdgeEnhanceError(
            f"{from_rate} Hz must be resampled to {to_rate} Hz, which needs soxr: pip install 'edgeenhance[files]'"
        ) from None
    return soxr.resample(np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0), from_rate, to_rate, quality="HQ")


def clipped(y: np.ndarray, ceiling: float | None) -> np.ndarray:
    """y, in place, without what resampling has added above the ceiling, dBFS; None: no ceiling."""
    if ceiling is None:
        return y
    most = _full_scale(ceiling)
    return np.clip(y, -most, most, out=y)


def fit(x: np.ndarray, n: int) -> np.ndarray:
    """x cut or padded with zeros to n samples: resampling there and back may round differently."""
    return np.concatenate([x[:n], np.zeros((n - len(x[:n]), *x.shape[1:]), x.dtype)])


def _ears(ears: str) -> tuple[str, ...]:
    if ears not in EARS:
        raise ValueError(f"got ears={ears!r}; choose one of {', '.join(EARS)}")
    return EARS[ears]


def _step(chosen: Profile, sample_rate: int) -> int:
    """The least whole number of samples of the stream that is a whole number of hops."""
    if sample_rate == chosen.sample_rate:
        return chosen.hop
    up, down = ratio(sample_rate, chosen.sample_rate)
    return down * (chosen.hop // math.gcd(chosen.hop, up))


def _hops(step: int, chosen: Profile, sample_rate: int) -> str:
    hops = step * chosen.sample_rate // (sample_rate * chosen.hop)
    what = "the hop" if hops == 1 else f"{hops} hops"
    return f"{what}, {step} samples in profile {chosen.name!r} at {sample_rate} Hz"


def _block(block: int | None, step: int, chosen: Profile, sample_rate: int) -> int | None:
    if block is not None and (not isinstance(block, (int, np.integer)) or block <= 0 or block % step):
        hops = _hops(step, chosen, sample_rate)
        raise ValueError(f"got block={block!r}; pass a multiple of {hops}, or None for blocks of any size")
    return block


def _beamformer(name: str | Beamformer, array: MicArray) -> Beamformer:
    chosen = beamformer(name)
    return beamformer("none") if array.mics == 1 else chosen


def _load_mask(
    model: str | Mask | None, chosen: Profile, backend: str, noise: str | float | NoisePsd | None
) -> Mask | None:
    if backend not in BACKENDS:
        raise ValueError(f"got backend={backend!r}; choose one of {', '.join(BACKENDS)}")
    if isinstance(model, str) and model == "default":
        model = DEFAULT_MODELS.get(chosen.name, FALLBACK)
    if isinstance(model, str) and model in METHODS:
        return ClassicalMask(model, chosen, "mmse-spp" if noise is None else noise)
    if noise is not None:
        raise ValueError(f"noise is what {', '.join(METHODS)} subtract; other models find it themselves: leave it out")
    if model is None or (isinstance(model, str) and model == "none"):
        return None
    mask = model if hasattr(model, "step") else BACKENDS[backend](model)
    if mask.profile != chosen.name:
        raise EdgeEnhanceError(
            f"the model was trained for profile {mask.profile!r}, not {chosen.name!r}; "
            f"pass profile={mask.profile!r} or another model"
        )
    mask.reset()  # it may have served another stream
    return mask


def _degrees(value: float) -> float:
    if not np.isfinite(value):
        raise ValueError(f"got a look direction of {value!r}; pass degrees, 0 = front, anticlockwise")
    return float(value)


def _unit(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"got {name}={value!r}; pass a number from 0 to 1")
    return float(value)


def _flag(name: str, value: bool) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"got {name}={value!r}; pass True or False")
    return bool(value)


def _ceiling(decibels: float | None) -> float | None:
    if decibels is not None and not -60 <= decibels <= 0:
        raise ValueError(f"got ceiling={decibels!r}; pass dBFS from -60 to 0 (full scale), or None for no limiter")
    return None if decibels is None else float(decibels)


def _full_scale(decibels: float) -> np.float32:
    return np.float32(10 ** (decibels / 20))
