"""Sound devices: which there are. Needs the extra `live`.

PortAudio through the package sounddevice, imported when it is first used.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from .errors import EdgeEnhanceError


@dataclass(frozen=True)
class Device:
    """A sound device, as PortAudio lists it; `inputs` and `outputs` count channels, `default_rate` is in Hz."""

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    default_rate: int


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
