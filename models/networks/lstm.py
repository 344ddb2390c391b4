"""Masks from recurrent networks: `blstm_mask` hears the whole recording, `lstm_mask` is its causal twin for the device.

Sources: Weninger et al. 2015, "Speech enhancement with LSTM recurrent neural networks and its application to
noise-robust ASR"; the cell is that of Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from edgeenhance.profiles import Profile

from ..network import GATE, SATURATED
from .base import LOUDER, MaskModel
from .layers import Memory, run_lstm


class BlstmMask(MaskModel):
    """blstm_mask: 2,763,521 parameters. Log magnitudes (257 bins) -> 2 bidirectional LSTMs of 256 -> 257 sigmoids.

    Not causal. The target is the recipe's loss: mask-irm or mask-ibm.
    """

    layers = 2

    def __init__(self, profile: str | Profile = "comm", hidden: int = 256, dropout: float = 0.0) -> None:
        super().__init__(profile, "bins", 0, causal=False)
        self.lstm = nn.LSTM(self.bands, hidden, self.layers, batch_first=True, bidirectional=True, dropout=dropout)
        self.decode = nn.Linear(2 * hidden, self.bands)
        _louder(self.lstm)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        return torch.sigmoid(self.decode(self.lstm(features)[0]))


class LstmMask(MaskModel):
    """lstm_mask: 239,680 parameters. The device's 64 bands -> 2 LSTMs of 128 -> 64 sigmoids.

    Causal, latency that of its profile (comm: 32 ms); runs on the device as a 16x8 file. Targets as blstm_mask.
    """

    layers = 2
    signals = 1  # of the device's four

    def __init__(
        self, profile: str | Profile = "comm", bands: int = 64, hidden: int = 128, dropout: float = 0.0
    ) -> None:
        super().__init__(profile, "device", bands, causal=True)
        self.hidden = hidden
        self.lstm = nn.LSTM(self.bands, hidden, self.layers, batch_first=True, dropout=dropout)
        self.decode = nn.Linear(hidden, self.bands)
        _louder(self.lstm)

    def mask(self, features: torch.Tensor, memory: Memory) -> torch.Tensor:
        return torch.sigmoid(self.decode(run_lstm(self.lstm, features, memory)))

    # ---- on the device, see models/network.py ----

    @property
    def state_sizes(self) -> list[int]:
        """Outputs and cells of the layers, in turn."""
        return [self.hidden] * (2 * self.layers)

    def emit(self, graph: Any, features: Any, states: list[Any]) -> tuple[Any, list[Any]]:
        """Write one hop into the graph; returns its (gains, next states) tensors."""
        weights = {name: value.detach().cpu().numpy().astype(np.float64) for name, value in self.named_parameters()}
        x, following = features, []
        for layer in range(self.layers):
            own = {name: weights[f"lstm.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            x, cell = _emit_lstm(graph, f"lstm{layer}", x, *states[2 * layer : 2 * layer + 2], own)
            following += [x, cell]
        gains = graph.dense("decode", x, weights["decode.weight"], weights["decode.bias"], limit=SATURATED)
        return graph.sigmoid(gains), following


def _louder(lstm: nn.LSTM) -> None:
    with torch.no_grad():
        for name, weight in lstm.named_parameters():
            if name.startswith("weight_ih_l0"):
                weight.mul_(LOUDER)


def _emit_lstm(graph: Any, name: str, x: Any, h: Any, c: Any, w: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """One LSTM cell, PyTorch's: c' = f c + i g, h' = o tanh(c'). The state holds c / 8, which lives in +-1.

    Products with the identity change the scale: the graph has no other way, and a cell beyond 8 is cut there.
    """
    both = graph.concat(f"{name}/xh", [x, h])
    matrix = np.concatenate([w["weight_ih"], w["weight_hh"]], axis=1)
    parts = zip("ifgo", np.split(matrix, 4), np.split(w["bias_ih"] + w["bias_hh"], 4))
    sums = {
        gate: graph.dense(f"{name}/{gate}", both, rows, bias, limit=SATURATED if gate == "g" else GATE)
        for gate, rows, bias in parts
    }
    i, f, o = (graph.sigmoid(sums[gate]) for gate in "ifo")
    new = graph.mul(f"{name}/i_g", i, graph.tanh(sums["g"]), limit=1.0)
    eye, zero = np.eye(len(matrix) // 4), np.zeros(len(matrix) // 4)
    eighth = graph.dense(f"{name}/i_g_8", new, eye / SATURATED, zero, limit=1.0)
    cell = graph.add(f"{name}/c", graph.mul(f"{name}/f_c", f, c, limit=1.0), eighth, limit=1.0)
    heard = graph.tanh(graph.dense(f"{name}/c_8", cell, eye * SATURATED, zero, limit=SATURATED))
    return graph.mul(f"{name}/h", o, heard, limit=1.0), cell
