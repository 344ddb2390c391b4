"""Sound files in, sound files out, in blocks: memory does not grow with the length of the file.

    enhance_file            a recording of an array -> a file of the same length and sample rate, delay compensated
    noise_alone             a recording of noise as `Enhancer(noise=...)` takes it
    Reader, writing         streaming access to any format libsndfile knows
    resampled               a stream of blocks at another sample rate, without delay

Needs the extra `files` (soundfile, soxr); both are imported when they are first used.
"""

from __future__ import annotations

import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from . import wiring
from ._files import atomic_path
from .arrays import MicArray
from .channels import array_of, picked_channels
from .enhancer import Enhancer, clipped, resample
from .errors import EdgeEnhanceError
from .profiles import profile as profile_named
from .streams import undelayed

FORMATS = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".w64": "W64", ".rf64": "RF64", ".aiff": "AIFF"}


class RecordingWarning(RuntimeWarning):
    """Something about a recording makes its enhancement doubtful."""


def enhance_file(
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    array: str | os.PathLike[str] | MicArray | None = None,
    channels: Sequence[int] | None = None,
    noise: str | float | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> None:
    """Enhance a recording of any length and sample rate; the result has the same, and is not delayed.

    input : sound file of (n, channels) · output : .wav, .flac, ...; written whole or not at all. It keeps the input's
    sample type where its format can hold it. One channel per ear.
    array : as for `Enhancer`; default "mono" for one channel · channels : 1-based file channels in the array's order
    noise : as for `Enhancer`, or the Path of a recording of noise alone, with the same channels
    progress : called with (frames done, frames in all) after every second of sound
    settings : of `Enhancer` (profile, beamformer, model, look, strength, ears, cues, ceiling)
    Warns (`RecordingWarning`) where the recording contradicts the array or holds bad samples.
    Raises ValueError for settings that do not fit, EdgeEnhanceError for files that cannot be read or written.
    """
    format = _format(output)
    with atomic_path(output) as temporary, Reader(input) as reader:
        picked = picked_channels(channels, reader.channels, reader.path)
        array = array_of(array, picked, reader.channels, reader.path)
        if isinstance(noise, Path):
            noise = noise_alone(noise, array, channels, profile_named(settings.get("profile", "assist")).sample_rate)
        enhancer = Enhancer(array, noise=noise, **settings)
        for doubt in wiring.doubts(reader.peek(wiring.PROBE_SECONDS)[:, picked], reader.sample_rate, array, picked + 1):
            warnings.warn(f"{reader.path}: {doubt}", RecordingWarning, stacklevel=2)
        with writing(temporary, reader.sample_rate, len(enhancer.ears), format, reader.subtype) as write:
            for block in _pipeline(reader, picked, enhancer, progress):
                write(block)
        _report_bad_frames(reader, enhancer)


def noise_alone(
    path: str | os.PathLike[str], array: MicArray, channels: Sequence[int] | None, sample_rate: int
) -> np.ndarray:
    """A whole recording of noise : (n, mics) at `sample_rate`. channels : as for `enhance_file`"""
    with Reader(path) as reader:
        picked = picked_channels(channels, reader.channels, reader.path)
        array_of(array, picked, reader.channels, reader.path)
        blocks = [np.zeros((0, len(picked)), np.float32), *(x[:, picked] for x in reader)]
        return resample(np.concatenate(blocks), reader.sample_rate, sample_rate)


class Reader:
    """A sound file that is read in blocks of a second; a context manager.

    sample_rate : Hz · channels · frames : as the header says · subtype : libsndfile's name of the sample type
    done : frames read so far · bad : frames read so far with NaN or Inf samples
    Raises EdgeEnhanceError if the file is missing or is no sound file.
    """

    def __init__(self, path: str | os.PathLike[str]):
        soundfile = _library("soundfile")
        self.path = os.fspath(path)
        if not Path(path).is_file():
            raise EdgeEnhanceError(f"cannot read {self.path}: there is no such file")
        try:
            self._file = soundfile.SoundFile(self.path)
        except (soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless formats such as .raw
            raise EdgeEnhanceError(f"{self.path} is not a sound file that can be read: {_reason(error)}") from error
        self.sample_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames: int = self._file.frames
        self.subtype: str = self._file.subtype
        self.done = self.bad = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def peek(self, seconds: float) -> np.ndarray:
        """The first seconds : (n, channels) float32; reading goes on where it was."""
        position = self._file.tell()
        self._file.seek(0)
        x = self._read(round(seconds * self.sample_rate))
        self._file.seek(position)
        return x

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rest of the file : blocks of (n, channels) float32, full scale ±1."""
        while len(x := self._read(self.sample_rate)):
            self.done += len(x)
            self.bad += int((~np.isfinite(x)).any(axis=1).sum())
            yield x

    def _read(self, frames: int) -> np.ndarray:
        soundfile = _library("soundfile")
        try:
            return self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise EdgeEnhanceError(f"{self.path} is damaged: {_reason(error)}") from error


@contextmanager
def writing(
    path: str | os.PathLike[str], sample_rate: int, channels: int, format: str, subtype: str | None = None
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends blocks (n, channels) to a new sound file; integers are clipped, not wrapped.

    format, subtype : libsndfile's names; a subtype the format cannot hold becomes 24 bit or the format's default
    Raises EdgeEnhanceError where libsndfile cannot write.
    """
    soundfile = _library("soundfile")
    if subtype is not None and (subtype.startswith("MPEG") or not soundfile.check_format(format, subtype)):
        subtype = "PCM_24" if soundfile.check_format(format, "PCM_24") else None
    try:
        with soundfile.SoundFile(os.fspath(path), "w", sample_rate, channels, subtype, format=format) as file:
            yield file.write
    except soundfile.SoundFileError as error:
        full = shutil.disk_usage(Path(path).parent).free < sample_rate * channels * 8
        reason = "the disk is full" if full else _reason(error)
        raise EdgeEnhanceError(f"cannot write {format} at {sample_rate} Hz: {reason}") from error


def resampled(blocks: Iterable[np.ndarray], channels: int, rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    """Change the sample rate of a stream : blocks (n, channels) float32 -> blocks of other lengths.

    Linear phase, no delay in the concatenated stream, which is round(n rate_out / rate_in) samples long.
    Source: the soxr library, quality HQ; a stream gives the samples of the whole.
    """
    if rate_in == rate_out:
        yield from blocks
        return
    stream = _library("soxr").ResampleStream(rate_in, rate_out, channels, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block, dtype=np.float32))
    yield stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)


def _pipeline(
    reader: Reader, picked: np.ndarray, enhancer: Enhancer, progress: Callable[[int, int], None] | None
) -> Iterator[np.ndarray]:
    """Blocks of the enhanced file : (n, ears), as many frames in all as were read."""
    rate = enhancer.profile.sample_rate
    blocks = (x[:, picked] for x in _watched(reader, progress))
    if reader.sample_rate != rate:  # one NaN would spread over a resampler's whole filter
        blocks = (np.where(np.isfinite(x).all(axis=1, keepdims=True), x, 0) for x in blocks)
    blocks = resampled(blocks, len(picked), reader.sample_rate, rate)
    blocks = undelayed(blocks, enhancer, beyond=enhancer.profile.hop)  # two resamplers may round to less
    written = 0
    for y in resampled(blocks, len(enhancer.ears), rate, reader.sample_rate):
        y = y[: reader.done - written] if written + len(y) > reader.done else y
        written += len(y)
        yield clipped(y, enhancer.ceiling)


def _watched(reader: Reader, progress: Callable[[int, int], None] | None) -> Iterator[np.ndarray]:
    for x in reader:
        yield x
        if progress is not None:
            progress(reader.done, max(reader.frames, reader.done))


def _report_bad_frames(reader: Reader, enhancer: Enhancer) -> None:
    bad = max(reader.bad, enhancer.status.bad_frames)
    if bad:
        warnings.warn(f"{reader.path}: {bad} frames with NaN, Inf or absurd samples were muted", RecordingWarning, 3)


def _format(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot tell the format of {path} from its name; end it in {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # OSError: the wheel is there, the C library is not
        raise EdgeEnhanceError(
            f"sound files need the package {name}, which cannot be imported ({error}): pip install 'edgeenhance[files]'"
        ) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")
