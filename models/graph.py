"""One hop of a network as a graph of a few ops; a network's `emit` writes it once, for every purpose.

`Graph` is what `emit` may call. `Trace` computes the ops in NumPy and notes how far every tensor reaches: calibration,
and the reference that files are compared with. `tflite_writer.Writer` writes the same ops into a file.

A tensor's `limit` is the magnitude that its integers hold: scale = limit / 32768. `emit` gives it where the maths
fixes it (saturating functions, states that live in +-1); where it does not, calibration does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

HEADROOM = 1.25  # calibrated limits over what calibration met


class Graph(Protocol):
    """The ops. Tensors are handles, one row each; weight : (outputs, inputs) · bias : (outputs,)

    mean : (inputs,) of x where it is known and far from 0; what rounded weights make of it is taken off the bias
    """

    def dense(
        self, name: str, x: Any, weight: np.ndarray, bias: np.ndarray, limit: float | None = None,
        mean: np.ndarray | float = 0.0,
    ) -> Any: ...  # fmt: skip

    def concat(self, name: str, parts: list[Any]) -> Any: ...

    def tanh(self, x: Any) -> Any: ...

    def sigmoid(self, x: Any) -> Any: ...

    def add(self, name: str, a: Any, b: Any, limit: float | None = None) -> Any: ...

    def sub(self, name: str, a: Any, b: Any, limit: float | None = None) -> Any: ...

    def mul(self, name: str, a: Any, b: Any, limit: float | None = None) -> Any: ...


class Trace:
    """The ops in float64, and `reach`: the largest magnitude of each named tensor. Tensors are (rows, n) arrays.

    keep : hold the `values` of the last hop, too
    """

    def __init__(self, keep: bool = False) -> None:
        self.keep = keep
        self.reach: dict[str, float] = {}
        self.values: dict[str, np.ndarray] = {}

    def _note(self, name: str, value: np.ndarray) -> np.ndarray:
        if self.keep:
            self.values[name] = value
        self.reach[name] = max(self.reach.get(name, 0.0), float(np.abs(value).max()))
        return value

    def dense(self, name, x, weight, bias, limit=None, mean=0.0):
        return self._note(name, x @ weight.T + bias)

    def concat(self, name, parts):
        return np.concatenate(parts, axis=-1)

    def tanh(self, x):
        return np.tanh(x)

    def sigmoid(self, x):
        return 0.5 * (1 + np.tanh(0.5 * x))

    def add(self, name, a, b, limit=None):
        return self._note(name, a + b)

    def sub(self, name, a, b, limit=None):
        return self._note(name, a - b)

    def mul(self, name, a, b, limit=None):
        return self._note(name, a * b)


@dataclass
class Rollout:
    """A float rollout: gains : (rows, hops, bands), and the largest magnitude of every named tensor."""

    gains: np.ndarray
    reach: dict[str, float]


def rollout(network: Any, features: np.ndarray) -> Rollout:
    """Run a network's graph over sequences. features : (rows, hops, 4 * bands) in [-1, 1); states start at zero."""
    trace, gains = Trace(), []
    states = [np.zeros((len(features), size)) for size in network.state_sizes]
    features = features[..., : network.signals * network.bands]
    for hop in range(features.shape[1]):
        out, states = network.emit(trace, features[:, hop].astype(np.float64), states)
        gains.append(out)
    return Rollout(np.stack(gains, 1), trace.reach)


def limits(reach: dict[str, float]) -> dict[str, float]:
    """Calibrated limits of a rollout's tensors: min-max with headroom, never zero."""
    return {name: max(value * HEADROOM, 1e-3) for name, value in reach.items()}
