"""The enhancer at a sound card: microphones in, ears out, all the time. Needs the extra `live`.

The audio thread runs C alone (csrc/host/live.c); Python opens the card, sets and reads. `LiveEnhancer` is for products,
`edgeenhance live` a terminal around it.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any, TextIO

import numpy as np

from . import devices
from .arrays import MicArray
from .enhancer import Enhancer, _step
from .errors import EdgeEnhanceError
from .kernel import aligned_memory, check, ffi, lib, pointer
from .meters import Meters, measure
from .profiles import Profile
from .profiles import profile as profile_named
from .recorder import Recorder

LOST_SECONDS = 2.0  # without a block: the device is gone
WATCH_SECONDS = 0.1
RETRY_SECONDS = 0.5
STATS_SECONDS = 10.0
METER_SECONDS = 10.0
RECORD_SECONDS = 4.0  # that the writer may be late
BLOCK = np.dtype([(name, np.float32) for name in ("dry", "clean", "out", "in_peak", "out_peak", "us")])
FAULTS = {lib.EE_LIVE_OVERLOAD: "overload", lib.EE_LIVE_NOT_FINITE: "the output was not finite"}


@dataclass(frozen=True)
class Latency:
    """From sound at the microphone to sound at the ear, part by part, in ms.

    window : overlap of the synthesis windows · block : collecting one block · resampler : both ways · driver : what the
    sound card's driver says it adds
    """

    window: float
    block: float
    resampler: float
    driver: float

    @property
    def total(self) -> float:
        """Milliseconds from microphone to ear."""
        return self.window + self.block + self.resampler + self.driver

    def __str__(self) -> str:
        parts = (f"{value:.1f} {name}" for name, value in asdict(self).items())
        return f"{' + '.join(parts)} = {self.total:.1f} ms"


@dataclass(frozen=True)
class LiveStatus:
    """What happened since `start`.

    seconds : since then · state : "enhancing", "bypass", "dry" (after a fault) or "no device"
    xruns : blocks lost or late, as the driver says · faults : times the enhancer failed or was too slow, with the last
    one's name · reconnects : times the device came back · bad_frames : with NaN, Inf or absurd samples, muted
    dead_mics : microphones (from 0) that are silent · dropped : frames missing in the recording
    """

    seconds: float
    state: str
    xruns: int
    faults: int
    fault: str
    reconnects: int
    bad_frames: int
    dead_mics: tuple[int, ...]
    dropped: int


class _Callback:
    """`ee_live`, the C side of a stream, with all that it points into. One object per opened stream."""

    def __init__(
        self, enhancer: Enhancer, card: devices.Card, channels: Sequence[int], block: int, record_frames: int,
        level: dict[str, float],
    ) -> None:  # fmt: skip
        self._enhancer, self._mics, self._ears = enhancer, enhancer.array.mics, len(enhancer.ears)  # kept alive
        config = ffi.new("ee_live_config *")
        config.enhancer = enhancer._chain.state
        if enhancer._ends:
            config.to_enhancer, config.to_card = enhancer._ends._in._state, enhancer._ends._out._state
        config.sample_rate, config.inputs, config.outputs = card.rate, card.inputs, card.outputs
        config.mics, config.ears, config.delay, config.most = self._mics, self._ears, enhancer.latency, block
        config.channel = [channel - 1 for channel in channels] + [0] * (lib.EE_MAX_MICS - len(channels))
        references = [enhancer.array.ear(ear) for ear in enhancer.ears]
        config.reference = references + [0] * (2 - len(references))
        config.warm = enhancer.latency + enhancer.profile.analysis * card.rate // enhancer.profile.sample_rate
        config.record_frames = record_frames
        for name, value in level.items():
            setattr(config, name, value)
        size = lib.ee_live_size(config)
        out = ffi.new("ee_live **")
        self._memory, start = aligned_memory(size)
        check(lib.ee_live_init(out, start, size, config))
        self.state = out[0]
        self.function = int(ffi.cast("uintptr_t", ffi.addressof(lib, "ee_live_callback")))
        self.user = int(ffi.cast("uintptr_t", self.state))
        bytes = ffi.buffer(lib.ee_live_blocks(self.state), lib.EE_LIVE_BLOCKS * BLOCK.itemsize)
        self._blocks = np.frombuffer(bytes, BLOCK)

    @property
    def status(self) -> Any:
        """The ee_live_status, as of now."""
        status = ffi.new("ee_live_status *")
        lib.ee_live_get_status(self.state, status)
        return status

    def blocks(self, count: int) -> np.ndarray:
        """The newest blocks, at most `count`, oldest first."""
        done = self.status.blocks
        first = max(0, done - min(count, len(self._blocks) // 2))
        return self._blocks[np.arange(first, done) % len(self._blocks)]

    def take(self) -> tuple[np.ndarray, np.ndarray]:
        """What was recorded since the last call : (n, mics), (n, ears)."""
        most = 4096
        microphones, ears = np.empty((most, self._mics), np.float32), np.empty((most, self._ears), np.float32)
        n = lib.ee_live_take(self.state, pointer(microphones), pointer(ears), most)
        return microphones[:n], ears[:n]


class LiveEnhancer:
    """An enhancer between the inputs and outputs of a sound card.

        with LiveEnhancer("respeaker-4", input="seeed") as live:
            live.wait(60)

    array : preset name, TOML path or MicArray · input, output : part of a device's name, its number, or None for the
    default; output None is the input's device, if that has outputs
    channels : card inputs of the microphones, from 1, in the array's order; default 1, 2, ...
    block : frames per callback; default: a hop, with JACK its period · sample_rate : of the card, Hz; default: 16000 if
    it has that, else 48000, 44100 ...
    ceiling : dBFS that no output sample exceeds · agc : dBFS, the mean level that speech is slowly brought to, or None
    soft_start : seconds in which the sound fades in · record : folder for recordings of microphones and ears, or None
    stats : file that gets a line of JSON every 10 s, or None
    settings : of `Enhancer` (profile, model, look, ears, ...)

    Where the enhancer fails or is too slow, the reference microphone is heard instead, just as late, and the enhancer
    gets another chance later. A device that vanishes is waited for. One stream per process. bypass, strength and look
    may be set, and the rest read, from one other thread. Raises EdgeEnhanceError for devices that do not fit,
    ValueError and TypeError for wrong arguments.
    """

    def __init__(
        self,
        array: str | MicArray = "mono",
        *,
        input: str | int | None = None,
        output: str | int | None = None,
        channels: Sequence[int] | None = None,
        block: int | None = None,
        sample_rate: int | None = None,
        ceiling: float = -6.0,
        agc: float | None = None,
        soft_start: float = 1.0,
        record: str | os.PathLike[str] | None = None,
        stats: str | os.PathLike[str] | None = None,
        **settings: Any,
    ) -> None:
        self.array = array if isinstance(array, MicArray) else MicArray.load(array)
        self.channels = _channels(channels, self.array)
        self._level = _level(ceiling, agc, soft_start)
        self._names = (input, output)
        ears = 2 if settings.get("ears") == "both" else 1
        self.card = devices.choose(input, output, self.channels, ears, sample_rate)
        wanted = self.card.period if block is None else block
        self.block, aligned = _block(wanted, self.card.rate, settings.get("profile", "assist"))
        self.enhancer = Enhancer(
            self.array, block=self.block if aligned else None, sample_rate=self.card.rate, **settings
        )
        self._record_to, self._stats_to = record, stats
        self._recorder: Recorder | None = None
        self._stats: TextIO | None = None
        self._before = Counter()  # what closed streams counted
        self._reconnects, self._stream, self._started = 0, None, time.monotonic()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()  # over the recording: whose ring it is taken from
        self._driver_ms = 0.0
        self._callback = self._new_callback()

    def _new_callback(self) -> _Callback:
        ring = 2 ** math.ceil(math.log2(RECORD_SECONDS * self.card.rate)) if self._record_to else 0
        return _Callback(self.enhancer, self.card, self.channels, self.block, ring, self._level)

    # ---- start and stop ----

    def start(self) -> LiveEnhancer:
        """Open the card and begin; returns at once. Raises EdgeEnhanceError where card or files cannot be opened."""
        self._open(self.card)
        self._started = time.monotonic()
        try:
            if self._stats_to:
                self._stats = _appending(self._stats_to)
            if self._record_to:
                self._recorder = Recorder(self._record_to, self.card.rate, self.array.mics, len(self.enhancer.ears))
        except BaseException:
            self.stop()
            raise
        jobs = [self._watch, *([self._record] if self._recorder else []), *([self._log] if self._stats else [])]
        self._threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Close the card, complete the recordings and the log. A stopped stream stays stopped."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        if self._stats:
            self._write_stats()
            self._stats.close()
        self._close()
        if self._recorder:
            self._drain()
            self._recorder.close()
        self._recorder = self._stats = None

    def __enter__(self) -> LiveEnhancer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, seconds: float | None = None) -> None:
        """Return after so long, or when another thread calls `stop`."""
        self._ending.wait(seconds)

    def _open(self, card: devices.Card) -> None:
        stream = devices.open_stream(card, self.block, self._callback)
        self._driver_ms = card.driver_ms(stream.latency, self.block)
        stream.start()
        self._stream = stream

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream:
            with suppress(Exception):  # a device that is gone may say anything
                devices.close_stream(stream, self.card)

    # ---- threads ----

    def _watch(self) -> None:
        seen, since = -1, time.monotonic()
        while not self._ending.wait(WATCH_SECONDS):
            blocks = self._callback.status.blocks
            if blocks != seen:
                seen, since = blocks, time.monotonic()
            if not self._is_active() or time.monotonic() - since > LOST_SECONDS:
                self._reconnect()
                seen, since = -1, time.monotonic()

    def _is_active(self) -> bool:
        try:
            return self._stream.active
        except Exception:  # PortAudio's ways to say no
            return False

    def _reconnect(self) -> None:
        """Wait until the device is there again, and start anew on it: softly, and with nothing remembered."""
        self._close()
        while not self._ending.wait(RETRY_SECONDS):
            try:
                devices.rescan()
                self.card = devices.choose(*self._names, self.channels, len(self.enhancer.ears), self.card.rate)
                self._renew()
                self._open(self.card)
            except Exception:  # whatever it says: there is no device yet
                self._close()
                continue
            self._reconnects += 1
            return

    def _renew(self) -> None:
        self.enhancer.reset()
        with self._lock:
            self._drain()
            self._before.update(self._counts())
            self._callback = self._new_callback()

    def _record(self) -> None:
        while not self._ending.wait(RECORD_SECONDS / 40):
            with self._lock:
                self._drain()

    def _drain(self) -> None:
        """Write what the audio thread left in the ring. A full disk ends the recording, not the stream."""
        while self._recorder:
            microphones, ears = self._callback.take()
            if not len(microphones):
                return
            try:
                self._recorder.write(microphones, ears)
            except (EdgeEnhanceError, OSError, RuntimeError) as error:
                warnings.warn(f"the recording ends here: {error}", RuntimeWarning, stacklevel=2)
                recorder, self._recorder = self._recorder, None
                with suppress(EdgeEnhanceError, OSError, RuntimeError):
                    recorder.close()

    def _log(self) -> None:
        while not self._ending.wait(STATS_SECONDS):
            self._write_stats()

    def _write_stats(self) -> None:
        with suppress(OSError):  # a full disk is no reason to stop
            self._stats.write(json.dumps(self.stats()) + "\n")
            self._stats.flush()

    # ---- set and read while it runs ----

    @property
    def bypass(self) -> bool:
        """As `Enhancer.bypass`, to compare; can be set."""
        return self.enhancer.bypass

    @bypass.setter
    def bypass(self, value: bool) -> None:
        self.enhancer.bypass = value

    @property
    def strength(self) -> float:
        """As `Enhancer.strength`; can be set."""
        return self.enhancer.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self.enhancer.strength = value

    @property
    def look(self) -> float:
        """As `Enhancer.look`; can be set."""
        return self.enhancer.look

    @look.setter
    def look(self, degrees: float) -> None:
        self.enhancer.look = degrees

    @property
    def latency(self) -> Latency:
        """From microphone to ear, part by part; the driver's part is known once the stream has started."""
        window = 1000 * lib.ee_enhancer_latency(self.enhancer._chain.state) / self.enhancer.profile.sample_rate
        stream, block = (1000 * n / self.card.rate for n in (self.enhancer.latency, self.block))
        return Latency(window, block, stream - window, self._driver_ms)

    @property
    def meters(self) -> Meters:
        """Figures of the last 10 s."""
        seconds = self.block / self.card.rate
        return measure(self._callback.blocks(int(METER_SECONDS / seconds)), seconds)

    @property
    def status(self) -> LiveStatus:
        """What happened since the start; can be read at any time."""
        counts, now = self._before + Counter(self._counts()), self._callback.status
        return LiveStatus(
            time.monotonic() - self._started,
            self._state(),
            counts["xruns"],
            counts["faults"],
            self._fault_name(now.fault),
            self._reconnects,
            counts["bad_frames"],
            self.enhancer.status.dead_mics,
            counts["dropped"],
        )

    def _counts(self) -> dict[str, int]:
        status = self._callback.status
        return {name: getattr(status, name) for name in ("xruns", "faults", "bad_frames", "dropped")}

    def _state(self) -> str:
        if not self._stream:
            return "no device"
        if not self._callback.status.enhancing:
            return "dry"
        return "bypass" if self.bypass else "enhancing"

    def _fault_name(self, code: int) -> str:
        if code == lib.EE_ERR_MASK and self.enhancer._chain._call:
            return str(self.enhancer._chain._call.error)
        return "" if code == 0 else FAULTS.get(code) or ffi.string(lib.ee_strerror(code)).decode()

    def stats(self) -> dict[str, Any]:
        """What a line of the log says: time, `status`, `meters`, settings."""
        facts = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "device": self.card.input.name,
            **asdict(self.status),
            **asdict(self.meters),
            "look": self.look,
            "strength": self.strength,
        }
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in facts.items()}


def _channels(channels: Sequence[int] | None, array: MicArray) -> tuple[int, ...]:
    chosen = tuple(channels) if channels is not None else tuple(range(1, array.mics + 1))
    if len(chosen) != array.mics or len(set(chosen)) < len(chosen) or min(chosen) < 1:
        raise ValueError(
            f"got channels {list(chosen)}; array {array.name!r} takes {array.mics} different ones, counted from 1, in "
            "its order"
        )
    return chosen


def _level(ceiling: float, agc: float | None, soft_start: float) -> dict[str, float]:
    """Settings of ee_level, from dBFS."""
    if not -60 <= ceiling <= 0:
        raise ValueError(f"got ceiling={ceiling!r}; pass dBFS from -60 to 0")
    if agc is not None and not -60 <= agc < ceiling:
        raise ValueError(
            f"got agc={agc!r}; pass the level of speech in dBFS, from -60 to below the ceiling of {ceiling:g}"
        )
    if not 0 <= soft_start <= 60:
        raise ValueError(f"got soft_start={soft_start!r}; pass 0 to 60 s")
    target = 0.0 if agc is None else 10 ** (agc / 10)
    return {"ceiling": 10 ** (ceiling / 20), "speech_target": target, "start_seconds": float(soft_start)}


def _block(block: int | None, rate: int, chosen: str | Profile) -> tuple[int, bool]:
    """Frames per callback, and whether they are whole hops: by default one hop, or where the card's rate does not allow
    that, the largest power of two within one."""
    chosen = profile_named(chosen)
    step, hop = _step(chosen, rate), chosen.hop * rate / chosen.sample_rate
    if block is None:
        block = step if step <= hop else 2 ** int(math.log2(hop))
    if not isinstance(block, (int, np.integer)) or block < 1:
        raise ValueError(f"got block={block!r}; pass a number of frames, best a multiple of {step} at {rate} Hz")
    return int(block), block % step == 0


def _appending(path: str | os.PathLike[str]) -> TextIO:
    try:
        return open(path, "a", encoding="utf-8")
    except OSError as error:
        raise EdgeEnhanceError(f"cannot write {path}: {error.strerror}") from error
