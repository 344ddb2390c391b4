"""What a network computes: multiplications of weights per second of sound."""

from __future__ import annotations

import torch
from torch import nn

from .attention import _Attention
from .base import TextbookModel

SECONDS = 2.048  # whole hops, patches and chunks


def macs_per_second(network: TextbookModel) -> float:
    """Multiplications of weights (and of attention) per second of sound, over a recording of two seconds."""
    total = 0.0

    def count(module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal total
        total += _macs(module, inputs, output)

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    try:
        network.enhance(torch.zeros(int(SECONDS * network.profile.sample_rate)).numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return total / SECONDS


def _macs(module: nn.Module, inputs: tuple, output: object) -> float:
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
        return inputs[0].numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.LSTM | nn.GRU):
        matrices = sum(value.numel() for name, value in module.named_parameters() if name.startswith("weight"))
        return inputs[0].shape[:-1].numel() * matrices
    if isinstance(module, _Attention):
        return 2 * output.numel() * (module.past + 1)
    return 0.0
