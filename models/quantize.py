"""From a checkpoint to a model file: calibrate, write, and show how far the file is from the float network.

    write_model     a network as .tflite bytes, 16x8 or float32
    verify          the file against the float graph over a rollout: SNR per output
    run_quantize    the command: checkpoint in, file out

A file that strays from the float network is not written: quantization that eats speech is an error, not a warning.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import FEATURES, FORMAT, SIGNATURE, MaskNet, seal
from edgeenhance.profiles import profile

from .graph import limits, rollout
from .network import parameter_count
from .tflite_writer import Writer

Q15 = 32768
CALIBRATION_ITEMS = 12
_LEAST_SNR_DB = 45.0  # below this a file is not what was trained


def write_model(network: Any, metadata: dict[str, Any], features: np.ndarray | None) -> bytes:
    """A sealed model file of one hop of the network.

    metadata : see `model_metadata` · features : (rows, hops, 2 * bands) in [-1, 1) to calibrate a 16x8 file on;
    None writes float32
    """
    writer = Writer(None if features is None else limits(rollout(network, features).reach))
    inputs = writer.input("features", 2 * network.bands)
    states = [writer.input(f"h{number}", size) for number, size in enumerate(network.state_sizes)]
    gains, following = network.emit(writer, inputs, states)
    writer.output("gains", gains)
    for number, state in enumerate(following):
        writer.output(f"h{number}_next", state)
    quantization = "float32" if features is None else "16x8"
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

    features : (hops, 2 * bands) int16. Returns {"snr_db", "worst": largest error of a gain, 0..1}.
    """
    wanted = rollout(network, features[None] / Q15).gains[0]
    got = run_model(MaskNet(path), features) / Q15
    error = got - wanted
    noise = float(np.mean(error**2))
    snr = math.inf if noise == 0 else 10 * math.log10(float(np.mean(wanted**2)) / noise)
    return {"snr_db": snr, "worst": float(np.abs(error).max())}


def run_model(net: MaskNet, features: np.ndarray) -> np.ndarray:
    """Gains of a rollout : (hops, bands) int16. features : (hops, 2 * bands) int16; states start at zero."""
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
    quantization : "16x8" or "float32". Returns what `verify` says; EdgeEnhanceError below 45 dB, and then no file.
    """
    from .train import load_checkpoint, network_from_checkpoint

    if quantization not in ("16x8", "float32"):
        raise ValueError(f"got quantization={quantization!r}; choose 16x8 or float32")
    state = load_checkpoint(checkpoint)
    network = network_from_checkpoint(state)
    features = _real_features(state, network, Path(data_dir), Path(bank_dir), cache)
    calibration = features[:-1] / Q15 if quantization == "16x8" else None
    content = write_model(network, model_metadata(state, network), calibration)
    with atomic_path(out) as temporary:
        temporary.write_bytes(content)
        report = verify(temporary, network, features[-1])
        if report["snr_db"] < _LEAST_SNR_DB:
            raise EdgeEnhanceError(
                f"{out} would be only {report['snr_db']:.1f} dB from the float network; calibrate on more data"
            )
    return report


def _real_features(state: dict[str, Any], network: Any, data: Path, bank: Path, cache: Any) -> np.ndarray:
    """Features of mixtures that training has not seen, (items, hops, 2 * bands) int16; the last is for `verify`."""
    from .corpus import default_cache
    from .recipe import Recipe

    recipe = Recipe.from_table(state["recipe"], "the checkpoint's recipe")
    mixtures = recipe.mixtures(data, bank, Path(cache) if cache else default_cache())
    first = recipe.training.steps * recipe.training.batch
    return np.stack([mixtures[first + item]["features"].numpy() for item in range(CALIBRATION_ITEMS + 1)])
