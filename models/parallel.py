"""Several processes that train one network: `torchrun --nproc-per-node N -m edgeenhance train RECIPE ...`.

Every process mixes and learns from its share of each batch, and the mean of their gradients moves them all alike. The
items of a step are those that one process would have, whatever their number. The first process validates, logs and
saves.

Gradients are averaged here rather than by torch's DistributedDataParallel: averaged weights, rounded weights and
checkpoints then see the bare network, in one process or many.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed


class Ranks:
    """This process among `size`; rank 0 is the first. device : where tensors that travel live"""

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self._device = rank, size, device or torch.device("cpu")

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """What torchrun's environment says; one process alone without it. nccl where device is CUDA, else gloo"""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(distributed.get_rank(), size, device)

    @property
    def first(self) -> bool:
        """Is this the process that validates, logs and saves?"""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Items of a batch for each process; ValueError where they cannot be dealt evenly."""
        if batch % self.size:
            raise ValueError(f"a batch of {batch} items cannot be dealt to {self.size} processes; use a divisor of it")
        return batch // self.size

    def items(self, first: int, last: int, batch: int) -> list[int] | range:
        """This process's items of first..last-1, batch by batch."""
        if self.size == 1:
            return range(first, last)
        own = self.share(batch)
        starts = range(first + self.rank * own, last, batch)
        return [start + item for start in starts for item in range(own)]

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        for parameter in parameters if self.size > 1 else ():
            distributed.all_reduce(parameter.grad)
            parameter.grad /= self.size

    def mean(self, value: float) -> float:
        """Mean of a number over the processes."""
        return self._reduced(value, distributed.ReduceOp.SUM) / self.size if self.size > 1 else value

    def any(self, flag: bool) -> bool:
        """Is it so in any process?"""
        return self._reduced(float(flag), distributed.ReduceOp.MAX) > 0 if self.size > 1 else flag

    def _reduced(self, value: float, operation: Any) -> float:
        tensor = torch.tensor([value], dtype=torch.float64, device=self._device)
        distributed.all_reduce(tensor, op=operation)
        return float(tensor)

    def from_first(self, value: Any) -> Any:
        """The first process's value, in all of them."""
        box = [value]
        if self.size > 1:
            distributed.broadcast_object_list(box, 0, device=self._device)
        return box[0]


def local_device(device: str) -> torch.device:
    """ "cuda" becomes this process's own GPU."""
    if device == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(device)
