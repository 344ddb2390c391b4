"""From a checkpoint to a model file: calibrate, write, and compare with the float network (models/verify.py).

    write_model     a network as .tflite bytes: 16x8, int8 or float32
    run_quantize    the command: checkpoint in, file out
    write_float_twin    a model of the zoo as it was before rounding

A file that strays from the float network is not written: quantization that eats speech is an error, not a warning.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import FEATURES, FORMAT, SIGNATURE, read_model, seal
from edgeenhance.profiles import profile

from .graph import limits, rollout
from .manifest import digest
from .network import parameter_count
from .tflite_writer import QUANTIZATIONS, Writer
from .verify import stages, trained_network, verify

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
        "data": state["sources"],
        "files": recipe.get("files", ""),
        "files_sha256": digest(recipe["files"]) if recipe.get("files") else "",
    }


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
    if not hasattr(network, "emit"):
        raise EdgeEnhanceError(
            f"{state['recipe']['network']['name']} has operations that the device does not run "
            "(docs/networks-textbook.md); edgeenhance onnx writes a file of it if it is causal"
        )
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


def write_float_twin(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write a model of the zoo as it was before rounding: float32, with its metadata and the weights.npz beside it."""
    network, metadata = trained_network(model), read_model(model)[1]
    with atomic_path(out) as temporary:
        temporary.write_bytes(write_model(network, metadata, quantization="float32"))


def _real_features(state: dict[str, Any], network: Any, data: Path, bank: Path, cache: Any) -> np.ndarray:
    """Features of mixtures that training has not seen, (items, hops, 4 * bands) int16; the last is for `verify`."""
    from .corpus import default_cache
    from .recipe import Recipe

    recipe = Recipe.from_table(state["recipe"], "the checkpoint's recipe")
    mixtures = recipe.mixtures(data, bank, Path(cache) if cache else default_cache())
    first = recipe.training.steps * recipe.training.batch
    return np.stack([mixtures[first + item]["features"].numpy() for item in range(CALIBRATION_ITEMS + 1)])
