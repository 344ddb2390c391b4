"""The systems of the quality benchmark, by name: what goes from a scene's microphones to one enhanced signal.

    noisy                     the reference microphone as it is
    METHOD                    a classical suppressor, e.g. log-mmse (see `classical`), on the reference microphone
    PEER                      dtln or gtcrn on the reference microphone (see `peers`)
    FILE                      a network of one's own on the reference microphone: RUN/best.pt of `edgeenhance train`, or
                              the .onnx file of `edgeenhance onnx`
    BEAMFORMER                e.g. superdirective: the beam alone
    BEAMFORMER+PEER           e.g. superdirective+gtcrn: the peer, or FILE, behind our beam, their delays add up
    BEAMFORMER+MODEL          e.g. mvdr+assist-m: the chain, in the model's own profile; none+MODEL is the network on
                              the reference microphone
    BEAMFORMER+MODEL:int8     the same with the model's int8 file, or :float with its weights as they were trained;
                              without a suffix a model is its 16x8 file
    BEAMFORMER+MODEL@litert   the same model in LiteRT instead of the C engine

MODEL is a zoo name, the path of a .tflite file or a METHOD; the precisions are those of zoo models.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from ..beamform import beamformer
from ..classical import METHODS, suppress
from ..enhancer import BACKENDS, enhance
from ..errors import EdgeEnhanceError
from ..masknet import find_model, read_model, zoo_path
from ..onnxnet import OnnxEnhancer
from ..profiles import PROFILES
from .peers import NETWORKS
from .scene import Scene

SAMPLE_RATE = 16000
PEERS = tuple(NETWORKS)
NETWORK_FILES = (".pt", ".onnx")
PRECISIONS = ("float", "int8")  # besides 16x8, which has no suffix

System = Callable[[np.ndarray, Scene, float], np.ndarray]


def system(
    name: str, peers: str | os.PathLike[str] | None = None, floats: str | os.PathLike[str] | None = None
) -> System:
    """(mix (n, M), scene, look in degrees) -> (n,), not delayed.

    peers : folder of the peers' files · floats : folder that `write_floats` has filled
    ValueError or EdgeEnhanceError for a name that is none, or whose files are not there.
    """
    if name == "noisy":
        return _reference
    beam, model = beam_and_model(name)
    if _alone(beam):
        return partial(_peer, _load_peer(beam, peers).run)
    if _is_peer(model):
        return partial(_beam_then_peer, beam, _load_peer(model, peers).run)
    return partial(chain, beam, model_file(model, floats), backend=backend_of(name))


def check_system(name: str) -> None:
    """ValueError or EdgeEnhanceError for a name that is none; files of peers are looked for when they are used."""
    beam, model = beam_and_model(name)
    if name == "noisy" or (_alone(beam) and model == "none"):
        return
    beamformer(beam)
    if backend_of(name) not in BACKENDS:
        raise ValueError(f"system {name}: backends are {', '.join(BACKENDS)}")
    if model not in ("none", *METHODS) and not _is_peer(model):
        find_model(model_and_precision(model)[0] if model.endswith(":float") else model)


def is_chain(name: str) -> bool:
    """Is it our own chain, rather than something that hears one signal, at its beginning or end?"""
    beam, model = beam_and_model(name)
    return name != "noisy" and not (_alone(beam) or _is_peer(model))


def network_files(name: str) -> list[Path]:
    """Files of networks that a system's name has: of FILE, or of a chain's model."""
    beam, model = beam_and_model(name)
    files = [Path(part) for part in (beam, model) if part.endswith(NETWORK_FILES)]
    if is_chain(name) and model not in ("none", *METHODS):
        files.append(find_model(model.removesuffix(":float")))
    return files


def _is_peer(name: str) -> bool:
    return name in PEERS or name.endswith(NETWORK_FILES)


def _alone(name: str) -> bool:
    return name in METHODS or _is_peer(name)


def beam_and_model(name: str) -> tuple[str, str]:
    """ "mvdr+assist-m:int8" -> ("mvdr", "assist-m:int8"); a beam alone has the model "none"."""
    beam, _, model = name.partition("@")[0].partition("+")
    return beam, model or "none"


def backend_of(name: str) -> str:
    """ "mvdr+assist-m@litert" -> "litert"; "native" without one."""
    return name.partition("@")[2] or "native"


def model_and_precision(model: str) -> tuple[str, str]:
    """ "assist-m:int8" -> ("assist-m", "int8"); without a suffix "16x8"."""
    stem, _, suffix = model.rpartition(":")
    return (stem, suffix) if suffix in PRECISIONS else (model, "16x8")


def model_file(model: str, floats: str | os.PathLike[str] | None = None) -> str:
    """The file to load for a model with its precision, or "none"."""
    name, precision = model_and_precision(model)
    if name in ("none", *METHODS):
        return name
    if precision != "float":
        return str(find_model(model))
    if floats is None:
        raise ValueError(f"{model} needs its float32 file; write it with write_floats first")
    return str(_float_path(floats, name))


def write_floats(systems: Iterable[str], folder: str | os.PathLike[str]) -> None:
    """Write the float32 files that systems ending in ":float" need; EdgeEnhanceError where torch is missing."""
    for name in sorted({name for name, precision in map(_of_system, systems) if precision == "float"}):
        try:
            from ..models.quantize import write_float_twin
        except ImportError:
            raise EdgeEnhanceError(f"{name}:float needs torch: pip install 'edgeenhance[train]'") from None
        write_float_twin(zoo_path(name), _float_path(folder, name))


def _of_system(name: str) -> tuple[str, str]:
    return model_and_precision(beam_and_model(name)[1])


def _float_path(folder: str | os.PathLike[str], name: str) -> Path:
    return Path(folder) / f"{name}.float.tflite"


def chain(beam: str, model: str, mix: np.ndarray, scene: Scene, look: float, backend: str = "native") -> np.ndarray:
    """Our enhancer over a scene's recording (n, M), in the model's profile: (n,), delay compensated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of doubtful recordings: these are simulated
        return enhance(
            mix, SAMPLE_RATE, scene.array, profile=profile_of(model), beamformer=beam, model=model, look=look,
            ears=ear(scene), backend=backend,
        )  # fmt: skip


@lru_cache(maxsize=64)
def profile_of(model: str) -> str:
    """Name of the profile a model file was trained for; "assist" without one."""
    return "assist" if model in ("none", *METHODS) else read_model(find_model(model))[1]["profile"]


def ear(scene: Scene) -> str:
    """The ear whose microphone is the scene's reference."""
    return next(ear for ear in scene.array.ears if scene.array.ear(ear) == scene.reference)


@dataclass(frozen=True)
class Peer:
    """run : one microphone's signal (n,) -> enhanced, not delayed · latency : samples; None: hears whole recordings"""

    run: Callable[[np.ndarray], np.ndarray]
    latency: int | None


def latency_ms(name: str, peers: str | os.PathLike[str] | None = None) -> float | None:
    """Of a system that is no chain: its own after that of the beam before it; None where it hears whole recordings."""
    if name == "noisy":
        return 0.0
    beam, model = beam_and_model(name)
    samples = _load_peer(beam if _alone(beam) else model, peers).latency
    before = 0 if _alone(beam) else PROFILES["assist"].synthesis
    return None if samples is None else 1000 * (before + samples) / SAMPLE_RATE


@lru_cache(maxsize=8)
def _load_peer(name: str, folder: str | os.PathLike[str] | None) -> Peer:
    if name in METHODS:
        return Peer(partial(suppress, sample_rate=SAMPLE_RATE, method=name), PROFILES["comm"].synthesis)
    if name.endswith(NETWORK_FILES):
        return _network(Path(name))
    if folder is None:
        raise ValueError(f"system {name} needs --peers DIR, the folder of its files")
    peer = NETWORKS[name](folder)
    return Peer(peer, peer.window)


def _network(path: Path) -> Peer:
    if path.suffix == ".onnx":
        stream = OnnxEnhancer(path)
        return Peer(stream.enhance, stream.latency)
    try:
        from ..models.networks import load
    except ImportError:
        raise EdgeEnhanceError(f"{path} needs torch: pip install 'edgeenhance[train]'") from None
    network = load(path)
    return Peer(network.enhance, network.stream().latency if network.causal else None)


def _reference(mix: np.ndarray, scene: Scene, look: float) -> np.ndarray:
    return mix[:, scene.reference]


def _peer(peer: Callable[[np.ndarray], np.ndarray], mix: np.ndarray, scene: Scene, look: float) -> np.ndarray:
    return peer(mix[:, scene.reference])


def _beam_then_peer(
    beam: str, peer: Callable[[np.ndarray], np.ndarray], mix: np.ndarray, scene: Scene, look: float
) -> np.ndarray:
    return peer(chain(beam, "none", mix, scene, look))
