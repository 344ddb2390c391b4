"""From a trained causal network to an ONNX file: one step with explicit states, compared with PyTorch before it counts.

    run_onnx        the command: checkpoint or zoo model in, file out
    write_onnx      a network as a file

Of torch's exporters it is the one on torch.export, which works offline, too; the other, on TorchScript, is deprecated
since torch 2.9. It needs onnx and onnxscript (the extra `onnx`). Its optimizer stays off: it takes 1e-8 for 0, and what
keeps logarithms and roots of silence finite is such a number (onnxscript 0.7). ONNX Runtime optimizes when it loads.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import find_model, read_model
from edgeenhance.onnxnet import FORMAT, METADATA, OnnxEnhancer

from .network import parameter_count
from .networks import TextbookModel, one_microphone
from .train import load_checkpoint, network_from_checkpoint
from .verify import trained_network

TOLERANCE = 1e-4  # of the loudest sample
SECONDS = 2.0  # of noise that is compared


def run_onnx(model: str | os.PathLike[str], out: str | os.PathLike[str]) -> dict[str, Any]:
    """Write a causal network as ONNX. model : best.pt or checkpoint.pt of a run folder, or the name of a zoo model

    Returns the file's metadata, and "error": the largest difference from PyTorch over the loudest sample.
    EdgeEnhanceError where the network is not causal, or the file computes something else.
    """
    if Path(model).suffix == ".pt":
        state = load_checkpoint(model)
        recipe, network = state["recipe"], network_from_checkpoint(state)
        facts = {"name": recipe["name"], "licence": recipe["licence"], "data": state["sources"]}
        facts |= {"network": recipe["network"], "profile": recipe["profile"]}
    else:
        path = find_model(model)
        network, metadata = trained_network(path), read_model(path)[1]
        facts = {name: metadata[name] for name in ("name", "licence", "data", "network", "profile")}
    return write_onnx(one_microphone(network, facts["profile"]), out, facts)


def write_onnx(network: TextbookModel, out: str | os.PathLike[str], facts: dict[str, Any]) -> dict[str, Any]:
    """The file of a network, compared with it. facts : for the metadata. Returns as run_onnx."""
    if not network.causal:
        raise EdgeEnhanceError(f"{type(network).__name__} is not causal and has no step to export; it hears recordings")
    cell = network.cell
    own = {"kind": cell.kind, "profile": cell.profile.name, "hop": cell.hop, "delay": cell.delay}
    metadata = {**facts, **own, "format": FORMAT, "parameters": parameter_count(network)}
    with atomic_path(out) as temporary:
        _export(network, temporary)
        _annotate(temporary, metadata)
        error = _difference(network, temporary)
        if error > TOLERANCE:
            raise EdgeEnhanceError(f"{out} would differ from PyTorch by {error:.1e} of the loudest sample")
    return metadata | {"error": error}


class _Step(nn.Module):
    """The network with its states as plain inputs and outputs."""

    def __init__(self, network: TextbookModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, frame: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.network.stepped(frame, states)


def _export(network: TextbookModel, path: Path) -> None:
    frame, states = network.first_frame(), network.first_states()
    inputs, outputs = ([f"{side}{number}" for number in range(len(states))] for side in ("state", "next"))
    with _quietly(), torch.no_grad():
        torch.onnx.export(
            _Step(network.eval()), (frame, *states), str(path), dynamo=True, external_data=False, verbose=False,
            input_names=["frame", *inputs], output_names=["out", *outputs], optimize=False,
        )  # fmt: skip


@contextmanager
def _quietly() -> Iterator[None]:
    """torch's exporter tells its developers things; errors it raises."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _annotate(path: Path, metadata: dict[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:  # the exporter's notes: where in which file of this machine a node comes from
        del node.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata, ensure_ascii=False)})
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _difference(network: TextbookModel, path: Path) -> float:
    """Largest difference of two streams of noise between silences, over the loudest sample."""
    rng, n = np.random.default_rng(1), int(SECONDS * network.profile.sample_rate)
    x = (0.1 * rng.standard_normal(n) * np.maximum(np.sin(np.arange(n) / 1000 - 1), 0)).astype(np.float32)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps are small: on a busy machine threads that wait for each other take minutes
    try:
        wanted, got = network.stream().process(x), OnnxEnhancer(path).process(x)
    finally:
        torch.set_num_threads(threads)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())
