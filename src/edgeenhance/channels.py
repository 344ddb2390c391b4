"""Which channels of a recording or a stream are the microphones of an array."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from .arrays import MicArray, preset_names


def picked_channels(channels: Sequence[int] | None, count: int, source: str) -> np.ndarray:
    """0-based channels in the array's order : (mics,) int.

    channels : 1-based, None for all · count : channels of the source · source : its name, for the sentences
    Raises ValueError where a channel is not there or named twice.
    """
    if channels is None:
        return np.arange(count)
    wrong = [c for c in channels if not 1 <= c <= count]
    if wrong or not channels:
        raise ValueError(
            f"channels {list(channels)}: {source} has channels 1 to {count}; "
            "name one per microphone, in the array's order"
        )
    if len(set(channels)) < len(channels):
        raise ValueError(f"channels {list(channels)}: a channel is named twice; every microphone needs its own")
    return np.asarray(channels) - 1


def array_of(array: str | os.PathLike[str] | MicArray | None, picked: np.ndarray, count: int, source: str) -> MicArray:
    """The array, loaded, that the picked channels are from; default "mono" for one channel.

    Raises ValueError where it has another number of microphones.
    """
    if array is None and len(picked) > 1:
        presets = _arrays_with(len(picked))
        raise ValueError(f"the recording has {len(picked)} channels: say which array it is from ({presets})")
    array = MicArray.load("mono" if array is None else array)
    if len(picked) != array.mics:
        raise ValueError(
            f"array {array.name} has {array.mics} microphones, but {len(picked)} of the {count} channels of "
            f"{source} are used; pick {array.mics} channels, or another array ({_arrays_with(len(picked))})"
        )
    return array


def _arrays_with(mics: int) -> str:
    names = [name for name in preset_names() if MicArray.load(name).mics == mics]
    return f"presets with {mics}: {', '.join(names)}; or an array file" if names else "an array file is needed"
