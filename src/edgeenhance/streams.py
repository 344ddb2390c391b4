"""Streams without a sound card: iterables of blocks, and raw PCM from one file descriptor to another.

    stream_async    `Enhancer.stream` over an async iterable
    undelayed       a stream in time with its input and as long: what files and pipes get
    pipe            raw PCM in, raw PCM out: `edgeenhance enhance - -o -`

docs/streams.md has them with arecord, GStreamer, FFmpeg and asyncio.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .channels import array_of, picked_channels
from .errors import EdgeEnhanceError

if TYPE_CHECKING:
    from .enhancer import Enhancer

FORMATS = {"float32": np.dtype("<f4"), "int16": np.dtype("<i2")}
READ_BYTES = 1 << 16  # at most, per read: what a pipe holds on Linux


async def stream_async(blocks: AsyncIterable[np.ndarray], enhancer: Enhancer) -> AsyncIterator[np.ndarray]:
    """`Enhancer.stream` over an async iterable: a block is processed in place, then the loop has its turn."""
    import asyncio  # not everybody's: imported where it is used

    async for x in blocks:
        yield enhancer.process(x)
        await asyncio.sleep(0)  # blocks that are all there already must not shut others out of the loop


def undelayed(blocks: Iterable[np.ndarray], enhancer: Enhancer, beyond: int = 0) -> Iterator[np.ndarray]:
    """Enhance a stream : its delay is cut from the start, and silence fed at the end to make up for it.

    blocks : (n, mics) · beyond : samples more of that silence · yields (m, ears), as many samples in all as came in,
    and `beyond`; none if none came
    """
    late = enhancer.latency
    for x in _and_silence(blocks, late + beyond):
        y = enhancer.process(x)
        cut = min(late, len(y))
        late -= cut
        yield y[cut:].reshape(-1, len(enhancer.ears))


def _and_silence(blocks: Iterable[np.ndarray], frames: int) -> Iterator[np.ndarray]:
    shape: tuple[int, ...] = ()
    for x in blocks:
        shape = x.shape[1:]
        yield x
    if shape:
        yield np.zeros((frames, *shape), np.float32)


# ---- raw PCM ----


def pipe(
    source: int,
    sink: int,
    enhancer: Enhancer,
    *,
    format: str = "float32",
    channels: Sequence[int] | None = None,
    channels_in: int | None = None,
) -> None:
    """Enhance raw PCM from one file descriptor to another until the source ends or nobody reads the sink any more.

    Reads what is there, and writes what it makes of it at once. Output sample t belongs to input sample t, and there
    are as many: it is written when `enhancer.latency` samples more have been read, or the source has ended.

    source, sink : file descriptors that block · enhancer : takes blocks of any size · format : of both, "float32" (full
    scale ±1) or "int16"; little-endian, interleaved, one output channel per ear
    channels : 1-based channels of the source in the array's order · channels_in : how many it has; default: as many as
    the array has microphones
    Raises ValueError for settings that do not fit, EdgeEnhanceError where the source is no such stream, OSError where
    reading or writing fails.
    """
    dtype, count = _dtype(format), channels_in or enhancer.array.mics
    picked = picked_channels(channels, count, "the stream")
    array_of(enhancer.array, picked, count, "the stream")
    blocks = (_floats(frames)[:, picked] for frames in _frames(_chunks(source), dtype, count))
    try:
        for y in undelayed(blocks, enhancer):
            _write(sink, _encoded(y, dtype))
    except BrokenPipeError:  # nobody listens any more
        pass
    if bad := enhancer.status.bad_frames:
        warnings.warn(f"{bad} frames with NaN, Inf or absurd samples were muted", RuntimeWarning, stacklevel=2)


def _dtype(format: str) -> np.dtype:
    if format not in FORMATS:
        raise ValueError(f"got format={format!r}; choose one of {', '.join(FORMATS)}")
    return FORMATS[format]


def _chunks(source: int) -> Iterator[bytes]:
    while chunk := os.read(source, READ_BYTES):
        yield chunk


def _frames(chunks: Iterable[bytes], dtype: np.dtype, channels: int) -> Iterator[np.ndarray]:
    """Whole frames : (n, channels) of bytes that come in pieces of any size."""
    size, rest, first = dtype.itemsize * channels, b"", True
    for chunk in chunks:
        data = rest + chunk
        if first and data.startswith((b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS")):
            raise EdgeEnhanceError("the stream begins as a sound file; send raw PCM: arecord -t raw, ffmpeg -f f32le")
        whole = len(data) // size * size
        rest, first = data[whole:], first and not whole
        if whole:
            yield np.frombuffer(data[:whole], dtype).reshape(-1, channels)
    if rest:
        raise EdgeEnhanceError(
            f"the stream ended {len(rest)} bytes into a frame of {size} bytes, {channels} x {dtype.name}; "
            "check the format and the number of channels"
        )


def _floats(frames: np.ndarray) -> np.ndarray:
    """Full scale ±1, float32."""
    return frames.astype(np.float32) / np.float32(32768 if frames.dtype.kind == "i" else 1)


def _encoded(y: np.ndarray, dtype: np.dtype) -> bytes:
    if dtype.kind == "i":
        y = np.clip(np.rint(32768 * y), -32768, 32767)
    return y.astype(dtype).tobytes()


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]
