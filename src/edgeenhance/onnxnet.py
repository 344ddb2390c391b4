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

from .cells import KINDS, Cell, CellStream
from .errors import EdgeEnhanceError
from .profiles import profile as profile_named

FORMAT = 1
METADATA = "edgeenhance"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEnhancer(CellStream):
    """One channel in, one out, in blocks of any size, `latency` samples later.

    path : of `edgeenhance onnx` · provider : "cpu" or "cuda" (onnxruntime-gpu) · threads : of a step
    metadata : dict · sample_rate : Hz
    EdgeEnhanceError where the file is missing, damaged or another one's, or ONNX Runtime or the provider is not there.
    """

    def __init__(self, path: str | os.PathLike[str], provider: str = "cpu", threads: int = 1) -> None:
        session = _session(Path(path), provider, threads)
        self.metadata, cell = _described(session, path)
        self.sample_rate = cell.profile.sample_rate
        inputs = session.get_inputs()
        names = [entry.name for entry in inputs]

        def run(frame, states):
            out, *following = session.run(None, dict(zip(names, [frame, *states])))
            return out, following

        super().__init__(cell, run, [np.zeros(entry.shape, np.float32) for entry in inputs[1:]])


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
