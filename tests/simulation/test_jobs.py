"""Scenes on many cores: every result once, in our own processes and on a dask cluster, whoever dies."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("tqdm")

from edgeenhance import EdgeEnhanceError
from edgeenhance.simulation.jobs import collect, results

ROOT = Path(__file__).resolve().parents[2]


def square(index):
    return index * index


def refuse(index):
    raise ValueError(f"no {index}")


def die_once(folder, index):
    """Kills its worker the first time that it is asked for 3."""
    mark = os.path.join(folder, "died")
    if index == 3 and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def leave_a_mark(folder, index):
    open(os.path.join(folder, str(index)), "w").close()


def threads(index):
    return os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize("scheduler", [None, "local"])
def test_every_result_comes_once(scheduler):
    if scheduler:
        pytest.importorskip("distributed")
    assert dict(results(square, list(range(20)), 2, "test", scheduler)) == {n: n * n for n in range(20)}


def test_results_can_be_collected_in_order():
    assert collect(square, 5, 2, "test") == [0, 1, 4, 9, 16]
    assert collect(threads, 1, 1, "test") == ["1"]


@pytest.mark.parametrize("scheduler", [None, "local"])
def test_memory_is_bounded_by_computing_few_scenes_ahead(scheduler, tmp_path):
    if scheduler:
        pytest.importorskip("distributed")
    taken = results(partial(leave_a_mark, str(tmp_path)), list(range(1000)), 2, "test", scheduler)
    assert sum(1 for _ in zip(range(10), taken)) == 10
    taken.close()
    assert 10 <= len(os.listdir(tmp_path)) <= 30


@pytest.mark.parametrize("scheduler", [None, "local"])
def test_the_first_exception_stops_all(scheduler):
    if scheduler:
        pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="no"):
        list(results(refuse, [1, 2, 3], 2, "test", scheduler))


def test_on_a_cluster_a_worker_that_dies_is_replaced(tmp_path):
    pytest.importorskip("distributed")
    found = dict(results(partial(die_once, str(tmp_path)), list(range(8)), 2, "test", "local"))
    assert found == {n: n for n in range(8)} and (tmp_path / "died").exists()


def test_without_a_cluster_a_worker_that_dies_is_a_sentence(tmp_path):
    with pytest.raises(EdgeEnhanceError, match="run the command again"):
        list(results(partial(die_once, str(tmp_path)), list(range(8)), 2, "test"))


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    """They hold the parent's standard output: it ends when they have ended."""
    code = (
        "from functools import partial; from edgeenhance.simulation.jobs import results; import time\n"
        "from tests.simulation.test_jobs import leave_a_mark\n"
        "for _ in results(partial(leave_a_mark, {folder!r}), [1, 2], 2, 'test'): time.sleep(60)"
    )
    words = [sys.executable, "-c", code.format(folder=str(tmp_path))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as parent:
        while not os.listdir(tmp_path):
            time.sleep(0.05)
        parent.kill()
        assert parent.communicate(timeout=30) == (b"", None)


def test_workers_are_counted_from_one():
    with pytest.raises(ValueError, match="workers"):
        list(results(square, [1], 0, "test"))
