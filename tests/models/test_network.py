"""Mask networks: the sequence that trains and the hop that is deployed are one."""

import numpy as np
import pytest
import torch

from edgeenhance.models.graph import limits, rollout
from edgeenhance.models.network import NETWORKS, make_network, parameter_count


@pytest.mark.parametrize("name", NETWORKS)
def test_one_hop_graphs_in_a_row_are_the_sequence(name, rng):
    torch.manual_seed(0)
    network = make_network(name, bands=10, hidden=9, dense=8)
    features = rng.uniform(-1, 1, (2, 30, 20)).astype(np.float32)
    with torch.no_grad():
        sequence = network(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(rollout(network, features).gains, sequence, atol=1e-5)


def test_widened_weights_begin_by_not_hearing_the_new_signals(rng):
    two, four = (make_network("gru-mask", bands=8, hidden=8, dense=8, signals=signals) for signals in (2, 4))
    four.load_state_dict(four.widened(two.state_dict()))
    features = torch.from_numpy(rng.uniform(-1, 1, (1, 20, 32)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(four(features), two(features))


def test_a_network_reads_one_to_four_signals():
    with pytest.raises(ValueError, match="1 to 4"):
        make_network("gru-mask", signals=5)


def test_the_default_network_has_223_thousand_parameters():
    assert parameter_count(make_network("gru-mask")) == 222_912


def test_gains_lie_between_0_and_1(rng):
    network = make_network("gru-mask", bands=8, hidden=8, dense=8)
    with torch.no_grad():
        gains = network(torch.from_numpy(rng.uniform(-1, 1, (1, 50, 16)).astype(np.float32)))
    assert gains.shape == (1, 50, 8) and gains.min() >= 0 and gains.max() <= 1


def test_an_unknown_network_names_those_there_are():
    with pytest.raises(ValueError, match="gru-mask"):
        make_network("transformer")


def test_calibrated_limits_have_headroom_and_are_never_zero():
    assert limits({"a": 4.0, "b": 0.0}) == {"a": 5.0, "b": 1e-3}
