"""What a network computes: multiplications of weights per second of sound."""

from __future__ import annotations

import torch
from torch import nn

from .attention import _Attention
from .base import TextbookModel

HOPS = 128  # of a recording; whole patches and chunks of all networks


def macs_per_second(network: TextbookModel) -> float:
    """Multiplications of weights (and of attention) per second of sound, whatever a recording's ends add."""
    n = HOPS * network.profile.hop
    return (_of_recording(network, 2 * n) - _of_recording(network, n)) * network.profile.sample_rate / n


def _of_recording(network: TextbookModel, n: int) -> float:
    total = 0.0

    def count(module: nn.Module, inputs: tuple, output: object) -> None:
        nonlocal total
        total += _macs(module, inputs, output)

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    try:
        network.enhance(torch.zeros(n).numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return total


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
