"""Blocks of any size, hop by hop, and networks that are called once per hop."""

import numpy as np
import pytest

from edgeenhance.cells import Cell, CellStream, HopStream, muted
from edgeenhance.profiles import PROFILES

ASSIST = PROFILES["assist"]


class Negated(HopStream):
    hop = 10

    def __init__(self):
        self._clear()

    def _hop(self, samples):
        return -samples


def test_n_samples_in_are_n_samples_out_one_hop_later(rng):
    x, stream = rng.standard_normal(200).astype(np.float32), Negated()
    blocks = [stream.process(block) for block in np.split(x, [0, 3, 4, 40, 41, 99])]
    assert [len(block) for block in blocks] == [0, 3, 1, 36, 1, 58, 101]
    np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate([np.zeros(10), -x[:-10]]))


def test_bad_samples_are_muted_and_bad_blocks_are_sentences():
    np.testing.assert_array_equal(muted(np.array([0.5, np.nan, np.inf, 1e7, -1.0])), [0.5, 0, 0, 0, -1.0])
    for wrong in (np.zeros((3, 2)), np.zeros(3, np.int16)):
        with pytest.raises(ValueError, match="one channel"):
            muted(wrong)


def counting(frame, states):
    """Nothing is changed; the state counts the calls."""
    return (np.ones_like(frame) if frame.ndim == 3 else frame), [states[0] + 1]


@pytest.mark.parametrize("kind, hop, delay", [("gains", 64, 64), ("samples", 50, 0)])
def test_a_cell_that_changes_nothing_is_a_delay_of_its_latency(kind, hop, delay, rng):
    stream = CellStream(Cell(kind, ASSIST, hop, delay), counting, [np.zeros(1)])
    x = rng.standard_normal(1000).astype(np.float32)
    y = np.concatenate([stream.process(block) for block in np.split(x, [7, 300])])
    assert stream.latency == hop + delay
    np.testing.assert_allclose(y[stream.latency :], x[: -stream.latency], atol=1e-5)
    assert stream._states[0] == 1000 // hop
    np.testing.assert_allclose(stream.enhance(x), x, atol=1e-5)
