"""A model file against the float network that it was made from.

verify              over a rollout of features: SNR of the gains
stages              the same for every tensor on the way
run_verify          the command: both, on what the model hears of a recording
trained_network     the float network of a model file
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeenhance.enhancer import enhance
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.files import Reader
from edgeenhance.masknet import MaskNet, find_model, read_model

from .graph import Trace, rollout
from .network import make_network

Q15 = 32768
SECONDS = 10.0  # of a recording that is compared


def run_verify(
    model: str | os.PathLike[str],
    recording: str | os.PathLike[str],
    *,
    array: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Compare a model with its float network on what it hears of the first 10 s of a recording.

    model : zoo name ("NAME:int8" too) or path · recording : sound file, one channel per microphone
    array : as for `Enhancer`; default "mono" · weights : as for `trained_network`
    Returns what `verify` says, and "stages". EdgeEnhanceError for files that cannot be read or do not fit together.
    """
    path = find_model(model)
    network = trained_network(path, weights)
    heard = heard_features(path, recording, array or "mono")
    return verify(path, network, heard) | {"stages": stages(path, network, heard)}


def trained_network(model: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> Any:
    """The float network of a model file, ready to run.

    weights : an .npz or a checkpoint of `edgeenhance train`; default the weights.npz beside the model, as in the zoo
    EdgeEnhanceError where they are not there or not of this model.
    """
    _, metadata = read_model(model)
    path = Path(weights) if weights else Path(model).with_name("weights.npz")
    try:
        network = make_network(**metadata["network"], profile=metadata["profile"]).eval()
        network.load_state_dict(_weights(path))
        return network
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise EdgeEnhanceError(
            f"{path} does not hold the weights of {model}: {reason}; those of the zoo are in a clone, yours in the run "
            "folder"
        ) from error


def _weights(path: Path) -> dict[str, Any]:
    import torch

    from .train import load_checkpoint, network_from_checkpoint

    if path.suffix != ".npz":
        return network_from_checkpoint(load_checkpoint(path)).state_dict()
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def heard_features(model: str | os.PathLike[str], recording: str | os.PathLike[str], array: Any) -> np.ndarray:
    """Features that the chain gives a model in the first 10 s of a recording : (hops, 4 * bands) int16."""
    listener = _Listener(model)
    with Reader(recording) as reader:
        enhance(reader.peek(SECONDS), reader.sample_rate, array, profile=listener.profile, model=listener)
    if not listener.heard:
        raise EdgeEnhanceError(f"{recording} is silent in its first {SECONDS:g} s; choose another recording")
    return np.array(listener.heard)


class _Listener(MaskNet):
    """A network that notes what it hears."""

    def reset(self) -> None:
        super().reset()
        self.heard: list[np.ndarray] = []

    def step(self, features: np.ndarray, gains: np.ndarray) -> None:
        self.heard.append(features.copy())
        super().step(features, gains)


def verify(path: str | os.PathLike[str], network: Any, features: np.ndarray) -> dict[str, float]:
    """Signal-to-error ratio of the file's gains, dB, against the float graph, over one rollout from zero states.

    features : (hops, 4 * bands) int16. Returns {"snr_db", "worst": largest error of a gain, 0..1}.
    """
    wanted = rollout(network, features[None] / Q15).gains[0]
    error = run_model(MaskNet(path), features) / Q15 - wanted
    return {"snr_db": _snr_db(np.sum(wanted**2), np.sum(error**2)), "worst": float(np.abs(error).max())}


def run_model(net: MaskNet, features: np.ndarray) -> np.ndarray:
    """Gains of a rollout : (hops, bands) int16. features : (hops, 4 * bands) int16; states start at zero."""
    net.reset()
    gains = np.zeros((len(features), net.bands), np.int16)
    for hop, row in enumerate(features):
        net.step(row, gains[hop])
    return gains


def stages(path: str | os.PathLike[str], network: Any, features: np.ndarray) -> dict[str, float]:
    """Signal-to-error ratio in dB of every named tensor of one hop, file against float graph, over one rollout.

    Each side feeds back its own states, so what went wrong hops ago counts. features : (hops, 4 * bands) int16
    """
    net, trace = MaskNet(path, inspect=True), Trace(keep=True)
    states = [np.zeros((1, size)) for size in network.state_sizes]
    gains, powers = np.zeros(net.bands, np.int16), {}
    for row in features:
        out, states = network.emit(trace, row[None, : network.signals * network.bands] / Q15, states)
        net.step(row, gains)
        wanted = trace.values | {"gains": out} | {f"h{n}_next": state for n, state in enumerate(states)}
        for name, got in net.tensors().items():
            if name in wanted:
                signal, error = np.sum(wanted[name] ** 2), np.sum((got - wanted[name]) ** 2)
                powers[name] = powers.get(name, 0) + np.array([signal, error])
    return {name: _snr_db(signal, error) for name, (signal, error) in powers.items()}


def _snr_db(signal: float, error: float) -> float:
    if error == 0:
        return math.inf
    return 10 * math.log10(max(signal, 1e-30) / error)
