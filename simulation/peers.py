"""Other people's enhancers on one microphone, to measure ourselves against.

Dtln       the quantized DTLN network, two .tflite files
Gtcrn      the GTCRN network, gtcrn_stream.onnx

The files of the networks are not part of this package (both MIT licence, https://github.com/breizhn/DTLN and
https://github.com/Xiaobin-Rong/gtcrn) and are passed as a folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgeenhance.errors import EdgeEnhanceError

SAMPLE_RATE = 16000


class Dtln:
    """Quantized DTLN (Westhausen & Meyer 2020), streaming, one thread: 16 kHz mono, 32 ms latency.

    folder : where dtln_quant_1.tflite and dtln_quant_2.tflite are
    Frame 512, hop 128, no window; magnitude mask, then a learned basis on the time signal; states are fed back.
    """

    window, hop = 512, 128
    delay = window - hop  # samples, of the overlap-add

    def __init__(self, folder: str | os.PathLike[str]):
        self._mask = _Interpreter(Path(folder) / "dtln_quant_1.tflite")
        self._decode = _Interpreter(Path(folder) / "dtln_quant_2.tflite")
        self.reset()

    def reset(self) -> None:
        self._mask.reset()
        self._decode.reset()
        self._history = np.zeros(self.window, np.float32)
        self._overlap = np.zeros(self.window, np.float32)

    def step(self, hop: np.ndarray) -> np.ndarray:
        """hop : (128,) float32 -> (128,) float32, 384 samples late."""
        self._history = np.concatenate([self._history[self.hop :], hop])
        X = np.fft.rfft(self._history)
        mask = self._mask.run(np.abs(X).astype(np.float32)[None, None])
        block = np.fft.irfft(X * mask[0, 0]).astype(np.float32)
        self._overlap = np.concatenate([self._overlap[self.hop :], np.zeros(self.hop, np.float32)])
        self._overlap += self._decode.run(block[None, None])[0, 0]
        return self._overlap[: self.hop].copy()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Enhance a whole signal, delay compensated: (n,) -> (n,) float32."""
        return _whole(self, x)


class Gtcrn:
    """GTCRN (Rong et al. 2024), streaming, one thread: 16 kHz mono, 32 ms latency.

    folder : where gtcrn_stream.onnx is
    Square-root Hann of 512, hop 256; a complex mask in 129 bands; caches are fed back. Needs onnxruntime.
    """

    window, hop = 512, 256
    delay = window - hop  # samples, of the overlap-add
    _CACHES = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}

    def __init__(self, folder: str | os.PathLike[str]):
        self._session = _onnx_session(Path(folder) / "gtcrn_stream.onnx")
        self._taper = np.sin(np.pi * np.arange(self.window) / self.window).astype(np.float32)
        self.reset()

    def reset(self) -> None:
        self._caches = {name: np.zeros(shape, np.float32) for name, shape in self._CACHES.items()}
        self._history = np.zeros(self.window, np.float32)
        self._overlap = np.zeros(self.window, np.float32)

    def step(self, hop: np.ndarray) -> np.ndarray:
        """hop : (256,) float32 -> (256,) float32, 256 samples late."""
        self._history = np.concatenate([self._history[self.hop :], hop])
        X = np.fft.rfft(self._history * self._taper).astype(np.complex64)
        mix = np.stack([X.real, X.imag], axis=-1)[None, :, None]
        enhanced, *caches = self._session.run(None, {"mix": mix, **self._caches})
        self._caches = dict(zip(self._CACHES, caches, strict=True))
        y = np.fft.irfft(enhanced[0, :, 0, 0] + 1j * enhanced[0, :, 0, 1]).astype(np.float32)
        self._overlap = np.concatenate([self._overlap[self.hop :], np.zeros(self.hop, np.float32)])
        self._overlap += y * self._taper
        return self._overlap[: self.hop].copy()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Enhance a whole signal, delay compensated: (n,) -> (n,) float32."""
        return _whole(self, x)


NETWORKS = {"dtln": Dtln, "gtcrn": Gtcrn}  # made with the folder of their files


def _whole(peer: Dtln | Gtcrn, x: np.ndarray) -> np.ndarray:
    """A whole signal hop by hop, from reset, the peer's delay taken off: (n,) -> (n,)."""
    peer.reset()
    hops = -(-(len(x) + peer.delay) // peer.hop)
    padded = np.zeros(hops * peer.hop, np.float32)
    padded[: len(x)] = x
    y = np.concatenate([peer.step(hop) for hop in padded.reshape(hops, peer.hop)])
    return y[peer.delay : peer.delay + len(x)]


def _onnx_session(path: Path):
    """The file in ONNX Runtime on one thread; EdgeEnhanceError where either is missing."""
    if not path.is_file():
        raise EdgeEnhanceError(f"{path} does not exist; pass the folder that holds it")
    try:
        import onnxruntime
    except ImportError:
        raise EdgeEnhanceError(f"{path.name} needs ONNX Runtime: pip install 'edgeenhance[eval]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class _Interpreter:
    """One TFLite cell whose input 0 is the signal and input 1 the state."""

    def __init__(self, path: Path):
        from ai_edge_litert.interpreter import Interpreter

        if not path.is_file():
            raise EdgeEnhanceError(f"{path} does not exist; pass the folder that holds the DTLN .tflite files")
        self._tflite = Interpreter(model_path=str(path), num_threads=1)
        self._tflite.allocate_tensors()
        self._signal, self._state = (d["index"] for d in self._tflite.get_input_details())
        self._state_shape = self._tflite.get_input_details()[1]["shape"]
        self._result, self._next = (d["index"] for d in self._tflite.get_output_details())

    def reset(self) -> None:
        self._memory = np.zeros(self._state_shape, np.float32)

    def run(self, signal: np.ndarray) -> np.ndarray:
        self._tflite.set_tensor(self._signal, signal)
        self._tflite.set_tensor(self._state, self._memory)
        self._tflite.invoke()
        self._memory = self._tflite.get_tensor(self._next)
        return self._tflite.get_tensor(self._result)
