"""The bench's tables: every stage of the chain has a roofline, and rows sum to the whole."""

import pytest

from edgeenhance.arrays import MicArray
from edgeenhance.nativenet import NativeNet
from edgeenhance.profiles import PROFILES
from edgeenhance.simulation import bench
from edgeenhance.simulation.roofline import Work, chain_work, core, least_us

US = {"fixed beam": 24.0, "mvdr": 38.0, "mvdr, hop by hop": 46.0, "network": 31.0}
US |= {"chain": 103.0, "chain, hop by hop": 113.0}


def test_stages_sum_to_the_whole_chain():
    *rows, (_, total) = bench.stages(US)
    assert sum(us for _, us in rows) == pytest.approx(total) == 113.0


def test_every_stage_but_python_has_a_roofline():
    names = {name for name, _ in bench.stages(US)[:-1]}
    assert set(chain_work(4, PROFILES["assist"], 64, 250_000, 8)) == {n for n in names if not n.startswith("Python")}


def test_more_microphones_are_more_work_but_not_for_the_network():
    two, four = (chain_work(mics, PROFILES["assist"], 64, 250_000, 8) for mics in (2, 4))
    assert four["network"] == two["network"] == Work(250_000, 250_000)
    name = "noise covariance, MVDR solve"
    assert four[name].products > 2 * two[name].products and four[name].bytes > 2 * two[name].bytes


def test_the_slower_of_products_and_bytes_counts():
    assert least_us(Work(1000, 10), (1e9, 1e9), 2.5) == pytest.approx(2.5)
    assert least_us(Work(10, 1000), (1e9, 1e9), 2.5) == pytest.approx(2.5)
    assert all(rate > 1e6 for rate in core())


def test_the_report_names_every_stage_with_its_roofline():
    text = bench.report(US, MicArray.load("bte-2x2"), PROFILES["assist"], NativeNet("assist-s"))
    network = next(line for line in text.splitlines() if line.startswith("network"))
    assert network.split()[1:6] == ["31.0", "27", "%", "65", "65"]
