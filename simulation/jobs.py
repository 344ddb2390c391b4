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
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import EdgeEnhanceError

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def run_jobs(job: Callable[[int], None], indices: list[int], workers: int, label: str) -> None:
    """Call job(i) for every index in `workers` processes, with a progress bar on a terminal.

    job : picklable; writes its result to a file, atomically. The first exception stops all; what was finished stays.
    After Ctrl-C every worker finishes the scene it is at.
    """
    if workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    if not indices:
        return
    with _single_threaded():
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(min(workers, len(indices)), context, initializer=_ignore_interrupt)
        try:
            futures = [pool.submit(job, index) for index in indices]
            for future in tqdm(as_completed(futures), total=len(futures), desc=label, unit="scene", disable=None):
                future.result()
        except BrokenProcessPool as error:
            raise EdgeEnhanceError("a worker process died (out of memory?); run the command again to go on") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def collect(job: Callable[[int], Any], count: int, workers: int, label: str) -> list[Any]:
    """[job(0), ..., job(count - 1)], computed as by `run_jobs`; results must be plain values, as JSON knows them."""
    with tempfile.TemporaryDirectory() as folder:
        run_jobs(partial(_to_file, job, Path(folder)), list(range(count)), workers, label)
        return [json.loads(_result(Path(folder), index).read_text()) for index in range(count)]


def _to_file(job: Callable[[int], Any], folder: Path, index: int) -> None:
    _result(folder, index).write_text(json.dumps(job(index)))


def _result(folder: Path, index: int) -> Path:
    return folder / f"{index:05d}.json"


def _ignore_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
