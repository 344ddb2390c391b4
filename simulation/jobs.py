"""Many scenes on many cores: the same bits whatever the number of workers, safe to stop and to start again.

Work is always done in child processes with one thread each, even by a single worker: how many threads a linear
algebra library uses can change the last bit of a sum. Children are spawned, so a script that starts them needs
`if __name__ == "__main__":`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

from tqdm import tqdm

from ..errors import EdgeEnhanceError

_AHEAD = 3  # scenes per worker that are handed out
_RETRIES = 2  # of a scene whose worker died
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def results(
    job: Callable[[Any], Any],
    indices: Sequence[Any],
    workers: int,
    label: str,
    scheduler: str | None = None,
    unit: str = "scene",
) -> Iterator[tuple[Any, Any]]:
    """(index, job(index)) for every index, in the order they are done, with a progress bar on a terminal.

    job, indices : picklable; the job is sent with every index: keep it small · workers : processes
    scheduler : address of a dask.distributed scheduler, or "local" for a cluster of `workers` processes here; None:
    processes of our own · unit : of the progress bar
    The first exception stops all. After Ctrl-C every worker finishes the scene it is at. Only a few results per worker
    wait to be taken.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    if not indices:
        return
    done = _by_dask(job, indices, workers, scheduler) if scheduler else _by_processes(job, indices, workers)
    yield from tqdm(done, total=len(indices), desc=label, unit=unit, disable=None)


def _by_processes(job: Callable[[Any], Any], indices: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    with _single_threaded():
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(indices)), context, initializer=_begin_worker)
        try:
            waiting, left = {}, iter(indices)
            for index in islice(left, _AHEAD * workers):
                waiting[pool.submit(job, index)] = index
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    index = waiting.pop(future)
                    result = future.result()
                    for following in islice(left, 1):
                        waiting[pool.submit(job, following)] = following
                    yield index, result
        except BrokenProcessPool as error:
            raise EdgeEnhanceError("a worker process died (out of memory?); run the command again to go on") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _by_dask(
    job: Callable[[Any], Any], indices: Sequence[Any], workers: int, address: str
) -> Iterator[tuple[Any, Any]]:
    """On a cluster; a worker that dies is replaced by its nanny, and its scenes are computed again."""
    try:
        from distributed import Client, LocalCluster, as_completed
    except ModuleNotFoundError as error:
        raise EdgeEnhanceError("--scheduler needs dask: pip install 'edgeenhance[scale]'") from error
    with ExitStack() as stack:
        if address == "local":
            stack.enter_context(_single_threaded())
            address = stack.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None))
        client = stack.enter_context(Client(address))
        ahead = _AHEAD * max(len(client.scheduler_info()["workers"]), workers)
        left = iter(indices)
        tasks = {client.submit(job, index, pure=False, retries=_RETRIES): index for index in islice(left, ahead)}
        done = as_completed(tasks)
        for future in done:
            index, result = tasks.pop(future), future.result()
            for following in islice(left, 1):
                task = client.submit(job, following, pure=False, retries=_RETRIES)
                tasks[task] = following
                done.add(task)
            yield index, result


def run_jobs(job: Callable[[int], None], indices: list[int], workers: int, label: str) -> None:
    """Call job(i) for every index, as `results`; job writes its own result, atomically: what was finished stays."""
    for _ in results(job, indices, workers, label):
        pass


def collect(job: Callable[[int], Any], count: int, workers: int, label: str) -> list[Any]:
    """[job(0), ..., job(count - 1)], computed as by `results`; plain values, as JSON knows them."""
    found = dict(results(job, list(range(count)), workers, label))
    return [json.loads(json.dumps(found[index])) for index in range(count)]


def _begin_worker() -> None:
    """Ctrl-C is the parent's to answer; a parent that is killed leaves nobody to wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Child processes started in here use one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
