"""Quantization-aware training: what the loss sees is what the file will hold."""

import numpy as np
import torch

from edgeenhance.models.network import GruMask
from edgeenhance.models.rounding import LEVELS, round_rows, rounded


def test_within_it_weights_are_multiples_of_the_rows_scale_and_afterwards_their_own():
    torch.manual_seed(0)
    network = GruMask(bands=8, hidden=6, dense=5)
    own = {name: value.clone() for name, value in network.state_dict().items()}
    with rounded(network):
        for rows in network.weight_rows():
            matrix = torch.cat(rows, dim=1).detach()
            steps = matrix / (matrix.abs().amax(1, keepdim=True) / LEVELS)
            np.testing.assert_allclose(steps, steps.round(), atol=1e-3)
        assert any(not torch.equal(own[name], value) for name, value in network.state_dict().items())
    for name, value in network.state_dict().items():
        assert torch.equal(own[name], value)


def test_every_matrix_is_rounded_once():
    network = GruMask(bands=8, hidden=6, dense=5)
    listed = sum(block.numel() for rows in network.weight_rows() for block in rows)
    assert listed == sum(value.numel() for value in network.parameters() if value.ndim == 2)


def test_gradients_reach_the_float_weights():
    torch.manual_seed(0)
    network = GruMask(bands=8, hidden=6, dense=5)
    with rounded(network):
        network(torch.randn(2, 5, 16)).sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in network.parameters())


def test_a_row_of_zeros_stays_zero():
    row = [torch.zeros(2, 3)]
    round_rows(row)
    assert torch.equal(row[0], torch.zeros(2, 3))
