"""Recordings of a live stream: microphones and ears, each a sound file of float32. Needs the extra `files`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import numpy as np

from ._files import atomic_path
from .errors import EdgeEnhanceError
from .files import writing

LONGEST_BYTES = 2_000_000_000  # then the next pair of files begins: WAV ends at 4 GB


class Recorder:
    """Writes pairs of files DATE-TIME-input.wav and -output.wav into a folder, each under its name once it is complete.

    folder : made if need be · rate : Hz · mics, ears : channels
    Raises EdgeEnhanceError where the folder cannot be written to.
    """

    def __init__(self, folder: str | os.PathLike[str], rate: int, mics: int, ears: int) -> None:
        self.folder, self._rate, self._channels = Path(folder), rate, (mics, ears)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EdgeEnhanceError(f"cannot record into {folder}: {error.strerror}") from error
        self._open()

    def _open(self) -> None:
        self._bytes = 0
        stamp = self._stamp()
        with ExitStack() as stack:
            self._write = [
                stack.enter_context(
                    writing(
                        stack.enter_context(atomic_path(self.folder / f"{stamp}-{name}.wav")),
                        self._rate, channels, "WAV", "FLOAT",
                    )
                )
                for name, channels in zip(("input", "output"), self._channels)
            ]  # fmt: skip
            self._files = stack.pop_all()

    def _stamp(self) -> str:
        stamp = first = datetime.now().strftime("%Y%m%d-%H%M%S")
        count = 1
        while (self.folder / f"{stamp}-input.wav").exists():
            count += 1
            stamp = f"{first}-{count}"
        return stamp

    def write(self, microphones: np.ndarray, ears: np.ndarray) -> None:
        """Append as many frames to both : (n, mics), (n, ears) float32."""
        self._write[0](microphones)
        self._write[1](ears)
        self._bytes += microphones.nbytes
        if self._bytes > LONGEST_BYTES:
            self.close()
            self._open()

    def close(self) -> None:
        """Complete the files."""
        self._files.close()
