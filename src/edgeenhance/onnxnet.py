"""Networks in ONNX files, run as streams by ONNX Runtime (the extra `onnx`); `edgeenhance onnx` writes them.

A file holds one step of a causal network with its states as inputs and outputs: `frame`, `state0`, ... in, `out`,
`next0`, ... out, float32; the metadata `edgeenhance` says what a frame is (JSON, see edgeenhance.cells.Cell). Spectra
and overlap-add are the kernel's.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from .cells import KINDS, Cell, CellStream, muted
from .errors import EdgeEnhanceError
from .profiles import profile as profile_named
from .resample import Ends

FORMAT = 1
METADATA = "edgeenhance"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEnhancer(CellStream):
    """One channel in, one out, in blocks of any size, `latency` samples later.

    path : of `edgeenhance onnx` · provider : "cpu" or "cuda" (onnxruntime-gpu) · threads : of a step
    sample_rate : of the stream, Hz; others than the network's, 16000, go through a `Resampler` on the way in and out:
    2 ms more, flat to 7 kHz · metadata : dict
    EdgeEnhanceError where the file is missing, damaged or another one's, or ONNX Runtime or the provider is not there;
    ValueError for a rate that cannot be resampled.
    """

    _ends: Ends | None = None

    def __init__(
        self, path: str | os.PathLike[str], provider: str = "cpu", threads: int = 1, sample_rate: int = 16000
    ) -> None:
        session = _session(Path(path), provider, threads)
        self.metadata, cell = _described(session, path)
        self.sample_rate, inner = sample_rate, cell.profile.sample_rate
        inputs = session.get_inputs()
        names = [entry.name for entry in inputs]

        def run(frame, states):
            out, *following = session.run(None, dict(zip(names, [frame, *states])))
            return out, following

        super().__init__(cell, run, [np.zeros(entry.shape, np.float32) for entry in inputs[1:]])
        if sample_rate != inner:
            self._ends = Ends(sample_rate, inner, 1, 1, super().latency)

    @property
    def latency(self) -> int:
        """Samples: output sample t + latency belongs to input sample t."""
        return self._ends.latency if self._ends else super().latency

    def reset(self) -> None:
        """Forget the signal."""
        super().reset()
        if self._ends:
            self._ends.reset()

    def process(self, x: np.ndarray) -> np.ndarray:
        """x : (n,) floats, full scale ±1, n >= 0 -> (n,) float32."""
        return self._ends.process(muted(x)[:, None], self._inside)[:, 0] if self._ends else super().process(x)

    def _inside(self, x: np.ndarray) -> np.ndarray:
        return super().process(x[:, 0])[:, None]


def _session(path: Path, provider: str, threads: int) -> Any:
    if provider not in PROVIDERS:
        raise ValueError(f"unknown provider {provider!r}; choose one of {', '.join(PROVIDERS)}")
    if not path.is_file():
        raise EdgeEnhanceError(f"{path} does not exist; write it with edgeenhance onnx")
    try:
        import onnxruntime
    except ImportError:
        raise EdgeEnhanceError(f"{path} needs ONNX Runtime: pip install 'edgeenhance[onnx]'") from None
    wanted = PROVIDERS[provider]
    if wanted not in onnxruntime.get_available_providers():
        raise EdgeEnhanceError(f"this ONNX Runtime has no {wanted}; pip install onnxruntime-gpu, or use cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[wanted])
    except Exception as error:  # of the runtime's own kinds
        raise EdgeEnhanceError(f"ONNX Runtime cannot load {path}: {str(error).splitlines()[0]}") from error


def _described(session: Any, path: str | os.PathLike[str]) -> tuple[dict[str, Any], Cell]:
    """The file's metadata, and its cell of them; EdgeEnhanceError unless it is a network of this format."""
    text = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if text is None:
        raise EdgeEnhanceError(f"{path} is no network of edgeenhance; write one with edgeenhance onnx")
    try:
        metadata = json.loads(text)
        if metadata["format"] != FORMAT or metadata["kind"] not in KINDS:
            raise ValueError(f"format {metadata['format']}, kind {metadata['kind']!r}")
        profile, hop, delay = profile_named(metadata["profile"]), int(metadata["hop"]), int(metadata["delay"])
        return metadata, Cell(metadata["kind"], profile, hop, delay)
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeEnhanceError(f"the metadata of {path} do not fit this version: {error}; write it again") from error
