"""Mask networks: streaming cells of a few matrix products, trained as sequences, deployed one hop at a time.

Every network says its cell twice: `forward` over sequences for training, and `emit`, which writes one hop into a
graph (see models/graph.py). Calibration, the float file and the 16x8 file all come from the one `emit`; a test holds
it to `forward`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from edgeenhance.bands import SIGNALS
from edgeenhance.profiles import Profile

from .features import Bands, to_float

SATURATED = 8.0  # before a tanh or the last sigmoid: beyond it nothing changes that anybody could hear
GATE = 16.0  # before a gate: z within 3e-5 of 1 makes the memory of a minute, and is lost with 8


class GruMask(nn.Module):
    """Features -> dense tanh -> two GRU cells -> dense sigmoid gains.

    bands : gains out · signals : of the four that features hold (docs/model-format.md), the first so many
    hidden : units of each GRU · dense : units of the first layer
    dropout : share of values that training drops between layers; the deployed cell has none
    """

    layers = 2

    def __init__(
        self, bands: int = 64, hidden: int = 128, dense: int = 128, signals: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= signals <= SIGNALS:
            raise ValueError(f"got signals = {signals}; a network reads 1 to {SIGNALS} of them")
        self.bands, self.hidden, self.signals = bands, hidden, signals
        self.encode = nn.Linear(signals * bands, dense)
        self.gru = nn.GRU(dense, hidden, self.layers, batch_first=True, dropout=dropout)
        self.decode = nn.Linear(hidden, bands)
        self.drop = nn.Dropout(dropout)
        with torch.no_grad():  # features spread by about 0.25; this starts them at 1, and learning is faster
            self.encode.weight.mul_(4)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Gains 0..1 : (batch, hops, bands). features : (batch, hops, signals * bands or more) in [-1, 1)."""
        features = features[..., : self.encode.in_features]
        recurrent, _ = self.gru(self.drop(torch.tanh(self.encode(features))))
        return torch.sigmoid(self.decode(self.drop(recurrent)))

    def widened(self, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Weights of a network that reads fewer signals, with zeros for the others: it begins by not hearing them."""
        encode = weights.get("encode.weight")
        if encode is None or encode.shape[1] > self.encode.in_features:
            return weights
        missing = self.encode.in_features - encode.shape[1]
        return weights | {"encode.weight": nn.functional.pad(encode, (0, missing))}

    def weight_rows(self) -> list[list[torch.Tensor]]:
        """The matrices as `emit` writes them, for models/rounding.py: blocks side by side share the scales of rows."""
        gates = 2 * self.hidden  # r and z read input and state as one matrix, n as two
        out = [[self.encode.weight], [self.decode.weight]]
        for layer in range(self.layers):
            x, h = (getattr(self.gru, f"weight_{side}h_l{layer}") for side in "ih")
            out += [[x[:gates], h[:gates]], [x[gates:]], [h[gates:]]]
        return out

    @property
    def state_sizes(self) -> list[int]:
        """Units of each state, in the order of the graph's state tensors."""
        return [self.hidden] * self.layers

    def emit(self, graph: Any, features: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Write one hop into the graph; returns its (gains, next states) tensors."""
        weights = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in self.named_parameters()}
        x = graph.tanh(
            graph.dense("encode", features, weights["encode.weight"], weights["encode.bias"], limit=SATURATED)
        )
        following = []
        for layer, state in enumerate(states):
            x = _emit_gru(graph, f"gru{layer}", x, state, _gru_weights(weights, layer))
            following.append(x)
        gains = graph.dense("decode", x, weights["decode.weight"], weights["decode.bias"], limit=SATURATED)
        return graph.sigmoid(gains), following


def _gru_weights(weights: dict[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """The layer's matrices by gate, PyTorch's order r, z, n: {"w_ir", "w_hr", "b_ir", ...}."""
    out = {}
    for side in "ih":
        for kind, name in (("w", "weight"), ("b", "bias")):
            parts = np.split(weights[f"gru.{name}_{side}h_l{layer}"], 3)
            out |= {f"{kind}_{side}{gate}": part for gate, part in zip("rzn", parts, strict=True)}
    return out


def _emit_gru(graph: Any, name: str, x: Any, h: Any, w: dict[str, np.ndarray]) -> Any:
    """One GRU cell, PyTorch's form: n = tanh(W_in x + b_in + r (W_hn h + b_hn)), h' = n + z (h - n).

    Source: Cho et al. 2014, with the reset gate after the product as in cuDNN and torch.nn.GRU.
    """
    both = graph.concat(f"{name}/xh", [x, h])
    gates = {}
    for gate in "rz":
        matrix = np.concatenate([w[f"w_i{gate}"], w[f"w_h{gate}"]], axis=1)
        gates[gate] = graph.sigmoid(
            graph.dense(f"{name}/{gate}", both, matrix, w[f"b_i{gate}"] + w[f"b_h{gate}"], limit=GATE)
        )
    inner = graph.dense(f"{name}/hn", h, w["w_hn"], w["b_hn"])
    gated = graph.mul(f"{name}/r_hn", gates["r"], inner, limit=SATURATED)
    outer = graph.dense(f"{name}/xn", x, w["w_in"], w["b_in"], limit=SATURATED)  # one scale: their sum is exact
    n = graph.tanh(graph.add(f"{name}/n", outer, gated, limit=SATURATED))
    kept = graph.mul(f"{name}/z_hn", gates["z"], graph.sub(f"{name}/h_n", h, n, limit=2.0), limit=2.0)
    return graph.add(f"{name}/next", n, kept, limit=1.0)


NETWORKS = {"gru-mask": GruMask}


def make_network(name: str, profile: str | Profile = "comm", **sizes: Any) -> nn.Module:
    """A network of that name with random weights; ValueError lists the names there are.

    profile : of the spectra that textbook networks (models/networks) see; the others see features alone
    """
    from .networks import FAMILIES

    if name in NETWORKS:
        return NETWORKS[name](**sizes)
    if name not in FAMILIES:
        raise ValueError(f"unknown network {name!r}; choose one of {', '.join([*NETWORKS, *FAMILIES])}")
    return FAMILIES[name](profile, **sizes)


def hear(network: nn.Module, bands: Bands, features: torch.Tensor, beam: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """What a network makes of items: gains and the spectrum to apply them to, both (batch, hops, bins).

    features : (batch, hops, 4 * bands) Q15 · beam : (batch, hops, bins) spectra, what textbook networks look at
    """
    from .networks import TextbookModel

    if isinstance(network, TextbookModel):
        return network(beam)
    return bands.expand(network(to_float(features))), beam


def parameter_count(network: nn.Module) -> int:
    """Trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
