"""Quantization-aware training: what the loss sees is what the file will hold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgeenhance.models.network import GruMask
from edgeenhance.models.rounding import LEVELS, ROUNDINGS, reach, round_rows, round_values, rounded
from edgeenhance.models.train import Trainer


def noted_inputs(network):
    """Name -> the last input of the network's layers, filled as it computes."""
    inputs = {}
    for name in ("encode", "gru", "decode"):
        getattr(network, name).register_forward_hook(lambda _, x, __, name=name: inputs.update({name: x[0].detach()}))
    return inputs


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


@pytest.mark.parametrize("kind", ROUNDINGS)
def test_gradients_reach_the_float_weights(kind):
    torch.manual_seed(0)
    network = GruMask(bands=8, hidden=6, dense=5)
    with rounded(network, kind):
        network(torch.randn(2, 5, 16)).sum().backward()
    assert all(value.grad.abs().sum() > 0 for value in network.parameters())


def test_a_row_of_zeros_stays_zero():
    row = [torch.zeros(2, 3)]
    round_rows(row)
    assert torch.equal(row[0], torch.zeros(2, 3))


def test_int8_rounds_what_goes_into_every_layer_and_only_within():
    torch.manual_seed(0)
    network, x = GruMask(bands=8, hidden=6, dense=5), torch.rand(2, 50, 16) * 2 - 1
    inputs = noted_inputs(network)
    before = network(x)
    with rounded(network, "int8"):
        within = network(x)
    assert set(inputs) == {"encode", "gru", "decode"} and not torch.equal(before, within)
    for value in inputs.values():
        torch.testing.assert_close(128 * value, (128 * value).round(), atol=1e-4, rtol=0)
    assert torch.equal(before, network(x))
    assert not torch.equal(128 * inputs["gru"], (128 * inputs["gru"]).round())


def test_16x8_leaves_activations_alone():
    torch.manual_seed(0)
    network, x = GruMask(bands=8, hidden=6, dense=5), torch.rand(1, 5, 16)
    inputs = noted_inputs(network)
    with rounded(network, "16x8"):
        network(x)
    assert torch.equal(inputs["encode"], x)


def test_rounded_values_are_the_nearest_and_their_gradient_is_one():
    x = torch.linspace(-1, 1, 999, requires_grad=True)
    y = round_values(x, 2.0)
    y.sum().backward()
    assert (y - x).abs().max() <= 1 / 128 + 1e-6 and torch.equal(x.grad, torch.ones(999))


def test_int8_ends_one_step_below_its_full_scale():
    assert round_values(torch.tensor([-3.0, -1.0, 1.0, 3.0]), 1.0).tolist() == [-1.0, -1.0, 127 / 128, 127 / 128]


@pytest.mark.parametrize(("largest", "limit"), [(0.0, 2**-9), (0.7, 1.0), (1.7, 4.0), (3.0, 4.0), (50.0, 8.0)])
def test_full_scales_are_those_of_the_file(largest, limit):
    assert reach(torch.tensor([0.0, -largest])) == limit


def test_a_recipe_chooses_what_the_loss_sees(recipe, mixtures):
    batch = {name: value[None] for name, value in mixtures[0].items()}

    def loss(rounding):
        return Trainer(replace(recipe, training=replace(recipe.training, rounded=rounding)), torch.device("cpu")).step(
            batch
        )

    assert loss(True) == loss("16x8")
    assert len({loss(False), loss("16x8"), loss("int8")}) == 3
