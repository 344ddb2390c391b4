"""Sound devices: which there are, which one is meant, what it offers, and a stream on it. Needs the extra `live`.

PortAudio through the package sounddevice, imported when it is first used.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Protocol

from .errors import EdgeEnhanceError

RATES = (16000, 48000, 44100, 32000, 96000, 8000)  # tried, Hz; the first that a device offers is taken
JACK = "JACK Audio Connection Kit"
_abandoned: list[Any] = []  # streams that cannot be closed, and the libraries that they run in


@dataclass(frozen=True)
class Device:
    """A sound device, as PortAudio lists it; `inputs` and `outputs` count channels, `default_rate` is in Hz."""

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    default_rate: int


@dataclass(frozen=True)
class Card:
    """What a stream runs on: input and output device, and how they are opened.

    rate : Hz · inputs, outputs : channels opened · period : frames in which the server runs (JACK), else None
    """

    input: Device
    output: Device
    rate: int
    inputs: int
    outputs: int
    period: int | None = None

    def driver_ms(self, latency: tuple[float, float], block: int) -> float:
        """What PortAudio and the driver add to collecting one block, ms. latency : of the stream, s, PortAudio's."""
        if self.period is None:
            return 1000 * sum(latency)
        # JACK: PortAudio takes a period off both, below zero if need be, where it wraps around at 2^32 frames.
        source, sink = ((round(s * self.rate) + self.period + 2**31) % 2**32 - 2**31 for s in latency)
        return 1000 * (max(self.period, source) + sink - block) / self.rate


def devices() -> list[Device]:
    """All sound devices of this machine. Raises EdgeEnhanceError where sounddevice or PortAudio is missing."""
    sounddevice = _sounddevice()
    apis = [api["name"] for api in sounddevice.query_hostapis()]
    return [
        Device(
            d["index"], d["name"], apis[d["hostapi"]], d["max_input_channels"], d["max_output_channels"],
            round(d["default_samplerate"]),
        )
        for d in sounddevice.query_devices()
    ]  # fmt: skip


def rescan() -> None:
    """Look again for devices: PortAudio lists those that were there when it started. No stream may be open."""
    sounddevice = _sounddevice()
    sounddevice._terminate()
    sounddevice._initialize()


def find(name: str | int | None, kind: str) -> Device:
    """The device meant by a part of its name (all words, any case), its index, or None for the system's default.

    kind : "input" or "output", which it must have channels for
    Raises EdgeEnhanceError where none fits, or several do; the sentence lists them.
    """
    able = [d for d in devices() if _channels(d, kind)]
    if name is None:
        name = _sounddevice().default.device[kind == "output"]
        found = [d for d in able if d.index == name]
    elif isinstance(name, int) or name.isdigit():
        found = [d for d in able if d.index == int(name)]
    else:
        words = name.lower().split()
        found = [d for d in able if d.name.lower() == name.lower()]
        found = found or [d for d in able if all(word in f"{d.name}, {d.host_api}".lower() for word in words)]
    if len(found) == 1:
        return found[0]
    lines = (f"{d.index} {d.name} ({d.host_api}, {_channels(d, kind)} {kind}s)" for d in found or able)
    listed = "; ".join(lines) or "none"
    if found:
        raise EdgeEnhanceError(
            f"{kind} device {name!r} could be several; say more of its name, or its number: {listed}"
        )
    wanted = "there is no default" if name in (None, -1) else f"no device matches {name!r} as"
    raise EdgeEnhanceError(f"{wanted} {kind} device; there are: {listed}")


def choose(
    input: str | int | None, output: str | int | None, channels: Sequence[int], ears: int, rate: int | None = None
) -> Card:
    """The card to open: both devices, a rate that both take, and as many channels as are needed.

    output : None for the input's device, if that has outputs · channels : card inputs, from 1, of the microphones
    ears : 1 or 2 · rate : Hz, or None for the first of `RATES`
    Raises EdgeEnhanceError for devices that cannot do it; the sentence says what they offer.
    """
    source = find(input, "input")
    sink = source if output is None and source.outputs else find(output, "output")
    if source.index != sink.index and not (source.host_api == sink.host_api == JACK):
        raise EdgeEnhanceError(
            f"input {source.name!r} and output {sink.name!r} are two devices, whose clocks drift apart; "
            "use one device for both"
        )
    inputs, outputs = max(channels), min(2, sink.outputs)
    if inputs > source.inputs:
        raise EdgeEnhanceError(
            f"channel {inputs} is asked for; {source.name!r} offers {_offer(source, sink)}. "
            "Choose with --channels, one per microphone of the array"
        )
    if ears > sink.outputs:
        raise EdgeEnhanceError(f"two ears need two outputs; {sink.name!r} offers {_offer(source, sink)}")
    wanted = [rate] if rate else list(dict.fromkeys([*RATES, source.default_rate]))
    for hertz in wanted:
        card = Card(source, sink, hertz, inputs, outputs)
        if _takes(card):
            return replace(card, period=_period(card)) if source.host_api == JACK else card
    raise EdgeEnhanceError(f"{source.name!r} does not run at {wanted[0]} Hz; it offers {_offer(source, sink)}")


class CallbackInC(Protocol):
    """A PaStreamCallback in C and its user data, as addresses; no Python runs on the audio thread."""

    function: int
    user: int


def open_stream(card: Card, block: int, callback: CallbackInC) -> Any:
    """A stream on the card, not started: float32, `block` frames a time. It keeps `callback` alive.

    Raises EdgeEnhanceError where the card cannot be opened.
    """
    sounddevice = _sounddevice()
    ffi = sounddevice._ffi
    try:
        stream = sounddevice._StreamBase(
            kind="duplex",
            samplerate=card.rate,
            blocksize=0 if block == card.period else block,  # 0: as the server has it; PortAudio adds no buffer then
            device=(card.input.index, card.output.index),
            channels=(card.inputs, card.outputs),
            dtype="float32",
            latency=block / card.rate,  # one block waits at either end, or as many as the driver must have
            clip_off=True,
            dither_off=True,
            callback=ffi.cast("PaStreamCallback *", callback.function),
            userdata=ffi.cast("void *", callback.user),
        )
    except sounddevice.PortAudioError as error:
        raise EdgeEnhanceError(f"cannot open {card.input.name!r} at {card.rate} Hz: {error}") from error
    stream.owner = callback
    return stream


def close_stream(stream: Any, card: Card) -> None:
    """Close a stream, its device being there or not.

    A JACK server that went away is special: PortAudio would wait for it for ever, and abort the process when it says
    goodbye to it. So it is left where it is, and another copy of the library takes over.
    """
    sounddevice = _sounddevice()
    if card.input.host_api != JACK or stream.active:
        stream.close()
        return
    _abandoned.extend((stream, sounddevice._lib))
    sounddevice._lib, sounddevice._initialized = _another_portaudio(sounddevice), 0
    sounddevice._initialize()


def _another_portaudio(sounddevice: ModuleType) -> Any:
    """PortAudio loaded once more, with a state of its own: the loader takes a copied file for another library."""
    with open("/proc/self/maps") as maps:
        path = next(line.split()[-1] for line in maps if "libportaudio" in line and "deleted" not in line)
    with tempfile.TemporaryDirectory() as folder:
        return sounddevice._ffi.dlopen(shutil.copy(path, folder))


def _sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError:
        raise EdgeEnhanceError("sound devices need the package sounddevice: pip install 'edgeenhance[live]'") from None
    except OSError:
        raise EdgeEnhanceError(
            "sounddevice does not find PortAudio; install it, e.g. with: sudo apt-get install libportaudio2"
        ) from None
    return sounddevice


def _period(card: Card) -> int:
    """Frames of a JACK period, which PortAudio tells nobody but a callback."""
    sounddevice, period, called = _sounddevice(), [0], threading.Event()

    def callback(input: Any, output: Any, frames: int, *_: Any) -> None:
        output[:] = bytes(len(output))
        period[0] = frames
        called.set()

    device = (card.input.index, card.output.index)
    with sounddevice.RawStream(card.rate, 0, device, (card.inputs, card.outputs), "float32", callback=callback):
        if not called.wait(2):
            raise EdgeEnhanceError("the JACK server does not run its clients; restart it")
    return period[0]


def _channels(device: Device, kind: str) -> int:
    return device.inputs if kind == "input" else device.outputs


def _offer(source: Device, sink: Device) -> str:
    """What the two devices can do together, as a sentence's end."""
    rates = [r for r in dict.fromkeys([*RATES, source.default_rate]) if _takes(Card(source, sink, r, 1, 1))]
    hertz = ", ".join(str(rate) for rate in sorted(rates)) or "no rate that both take, of those tried,"
    return f"{source.inputs} inputs and {sink.outputs} outputs at {hertz} Hz"


def _takes(card: Card) -> bool:
    sounddevice = _sounddevice()
    try:
        for check, device, channels in (
            (sounddevice.check_input_settings, card.input, card.inputs),
            (sounddevice.check_output_settings, card.output, card.outputs),
        ):
            check(device.index, channels, "float32", samplerate=card.rate)
    except sounddevice.PortAudioError:
        return False
    return True
