"""From a checkpoint to a model file: calibrate, write, and show how far the file is from the float network.

    write_model     a network as .tflite bytes: 16x8, int8 or float32
    verify          the file against the float graph over a rollout: SNR of the gains
    stages          the same for every tensor on the way
    run_quantize    the command: checkpoint in, file out
    write_float_twin    a model of the zoo as it was before rounding

A file that strays from the float network is not written: quantization that eats speech is an error, not a warning.
"""

from __future__ import annotations

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import FEATURES, FORMAT, SIGNATURE, MaskNet, read_model, seal
from edgeenhance.profiles import profile

from .graph import Trace, limits, rollout
from .network import make_network, parameter_count
from .tflite_writer import QUANTIZATIONS, Writer

Q15 = 32768
CALIBRATION_ITEMS = 12
LEAST_SNR_DB = {"float32": 75.0, "16x8": 40.0, "int8": 20.0}  # below this a file is not what was trained


def write_model(
    network: Any, metadata: dict[str, Any], features: np.ndarray | None = None, quantization: str = "16x8"
) -> bytes:
    """A sealed model file of one hop of the network.

    metadata : see `model_metadata` · features : (rows, hops, 4 * bands) in [-1, 1) to calibrate on
    quantization : "16x8", "int8" or "float32", which needs no features
    """
    reach = {} if quantization == "float32" else limits(rollout(network, features).reach)
    writer = Writer(quantization, reach)
    inputs = writer.input("features", network.signals * network.bands)
    states = [writer.input(f"h{number}", size) for number, size in enumerate(network.state_sizes)]
    gains, following = network.emit(writer, inputs, states)
    writer.output("gains", gains)
    for number, state in enumerate(following):
        writer.output(f"h{number}_next", state)
    text = json.dumps({**metadata, "quantization": quantization}, ensure_ascii=False).encode()
    return seal(writer.finish(SIGNATURE, {"edgeenhance": text}), text)


def model_metadata(state: dict[str, Any], network: Any) -> dict[str, Any]:
    """What the runtime must know and what a user may ask, of a checkpoint (models/train.py) and its network."""
    recipe = state["recipe"]
    chosen = profile(recipe["profile"])
    return {
        "format": FORMAT,
        "name": recipe["name"],
        "profile": chosen.name,
        "sample_rate": chosen.sample_rate,
        "analysis": chosen.analysis,
        "synthesis": chosen.synthesis,
        "bands": network.bands,
        "signals": network.signals,
        "centers": state["centers"],
        "features": FEATURES,
        "states": network.state_sizes,
        "network": recipe["network"],
        "parameters": parameter_count(network),
        "steps": state["done"],
        "licence": recipe["licence"],
        "data": state["manifest"],
    }


def verify(path: str | os.PathLike[str], network: Any, features: np.ndarray) -> dict[str, float]:
    """Signal-to-error ratio of the file's gains, dB, against the float graph, over one rollout from zero states.

    features : (hops, 4 * bands) int16. Returns {"snr_db", "worst": largest error of a gain, 0..1}.
    """
    wanted = rollout(network, features[None] / Q15).gains[0]
    got = run_model(MaskNet(path), features) / Q15
    error = got - wanted
    noise = float(np.mean(error**2))
    snr = math.inf if noise == 0 else 10 * math.log10(float(np.mean(wanted**2)) / noise)
    return {"snr_db": snr, "worst": float(np.abs(error).max())}


def run_model(net: MaskNet, features: np.ndarray) -> np.ndarray:
    """Gains of a rollout : (hops, bands) int16. features : (hops, 4 * bands) int16; states start at zero."""
    net.reset()
    gains = np.zeros((len(features), net.bands), np.int16)
    for hop, row in enumerate(features):
        net.step(row, gains[hop])
    return gains


def run_quantize(
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str],
    bank_dir: str | os.PathLike[str],
    quantization: str = "16x8",
    cache: str | os.PathLike[str] | None = None,
) -> dict[str, float]:
    """Write a checkpoint's network as a model file, calibrated and verified on mixtures of the training data.

    checkpoint : of `edgeenhance train` · out : .tflite path · data_dir, bank_dir : as in training
    quantization : "16x8", "int8" or "float32". Returns what `verify` says, and "stages"; EdgeEnhanceError where the
    file is further from the float network than LEAST_SNR_DB, and then there is none.
    """
    from .train import load_checkpoint, network_from_checkpoint

    if quantization not in QUANTIZATIONS:
        raise ValueError(f"got quantization={quantization!r}; choose one of {', '.join(QUANTIZATIONS)}")
    state = load_checkpoint(checkpoint)
    network = network_from_checkpoint(state)
    features = _real_features(state, network, Path(data_dir), Path(bank_dir), cache)
    content = write_model(network, model_metadata(state, network), features[:-1] / Q15, quantization)
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
        report = verify(temporary, network, features[-1])
        if report["snr_db"] < LEAST_SNR_DB[quantization]:
            raise EdgeEnhanceError(
                f"{out} would be only {report['snr_db']:.1f} dB from the float network; calibrate on more data"
            )
        return report | {"stages": stages(temporary, network, features[-1])}


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
    return {name: 10 * math.log10(signal / max(error, 1e-30)) for name, (signal, error) in powers.items()}


def write_float_twin(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write a model of the zoo as it was before rounding: float32, with its metadata and the weights.npz beside it."""
    import torch

    _, metadata = read_model(model)
    network, path = make_network(**metadata["network"]).eval(), Path(model).with_name("weights.npz")
    try:
        with np.load(path) as arrays:
            network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise EdgeEnhanceError(
            f"{path} does not hold the weights of {model}: {reason}; take it from a clone"
        ) from error
    with atomic_path(out) as temporary:
        temporary.write_bytes(write_model(network, metadata, quantization="float32"))


def _real_features(state: dict[str, Any], network: Any, data: Path, bank: Path, cache: Any) -> np.ndarray:
    """Features of mixtures that training has not seen, (items, hops, 2 * bands) int16; the last is for `verify`."""
    from .corpus import default_cache
    from .recipe import Recipe

    recipe = Recipe.from_table(state["recipe"], "the checkpoint's recipe")
    mixtures = recipe.mixtures(data, bank, Path(cache) if cache else default_cache())
    first = recipe.training.steps * recipe.training.batch
    return np.stack([mixtures[first + item]["features"].numpy() for item in range(CALIBRATION_ITEMS + 1)])
