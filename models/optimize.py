"""What moves the weights: optimizers and learning rates by name, averaged weights, patience with the validation loss.

    make_optimizer      the recipe's optimizer
    learning_rate       of a step
    Average             exponential moving average of the weights
    Progress            lowest validation loss so far, and how long ago

All take their numbers from the recipe's [training] table.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .recipe import Training

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}
WITH_MOMENTUM = ("sgd", "rmsprop")
SCHEDULES = ("cosine", "plateau", "constant")


def make_optimizer(training: Training, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimizer, with PyTorch's other defaults. Weight decay is decoupled in adamw, an L2 term elsewhere.

    Sources: Kingma & Ba 2015 (adam), Loshchilov & Hutter 2019 (adamw), Tieleman & Hinton 2012 (rmsprop).
    """
    options = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    if training.optimizer in WITH_MOMENTUM:
        options["momentum"] = training.momentum
    return OPTIMIZERS[training.optimizer](parameters, **options)


def learning_rate(training: Training, step: int, reductions: int) -> float:
    """Rate of step 0..steps: linear warm-up times the schedule.

    cosine : half a period, to zero at `steps` · plateau : factor ** reductions, see Progress · constant : 1
    """
    rate = training.learning_rate * min(1.0, (step + 1) / max(training.warmup, 1))
    if training.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * step / training.steps))
    return rate * training.factor**reductions if training.schedule == "plateau" else rate


class Average:
    """A copy of a network whose weights follow it: w <- d w + (1 - d) w', d = min(decay, (1 + step) / (10 + step)).

    The smaller d of the first steps forgets the random start. Source: Polyak & Juditsky 1992, in the exponential form.
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.network, self._decay = copy.deepcopy(network).eval(), decay

    @torch.no_grad()
    def update(self, network: torch.nn.Module, step: int) -> None:
        """Follow `network` as it is after `step` steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for mean, value in zip(self.network.buffers(), network.buffers(), strict=True):
            mean.copy_(value)  # statistics of batch norms are averages already


@dataclass
class Progress:
    """Of the validation loss. best : lowest so far · stale : validations since · reductions : of plateau's rate"""

    best: float = math.inf
    stale: int = 0
    reductions: int = 0

    def update(self, loss: float | None, patience: int) -> bool:
        """Note a validation's loss (None: unknown); True where it is a new lowest, else every `patience`-th reduces."""
        if loss is not None and loss < self.best:
            self.best, self.stale = loss, 0
            return True
        self.stale += 1
        self.reductions += self.stale % patience == 0
        return False
