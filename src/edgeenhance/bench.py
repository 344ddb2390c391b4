"""What enhancement costs on this machine: every model, on every backend, for every array, hop by hop.

durations       how long calls take: the one loop that everything is timed with
measure         the cost of one combination
report          a Markdown table to share, with the machine's name
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from . import machine
from ._text import markdown
from .arrays import preset_names
from .classical import METHODS
from .enhancer import Enhancer
from .masknet import find_model, read_model, runtime_name, zoo_names
from .nativenet import NativeNet
from .profiles import PROFILES, Profile

SECONDS = 0.4  # of each combination
WITHOUT_FILE = ("none", *METHODS)
WARM_UP = 10  # hops that do not count: caches and branches are cold


@dataclass(frozen=True)
class Cost:
    """What one combination costs, in blocks of one hop, on one thread.

    hop_ms : how long a hop lasts · hops : that were timed · p50_us, p95_us, max_us : microseconds per hop
    real_time_factor : time it takes over time it lasts · core : processor time over time it lasts, 1 is one core
    ram_kb : states of chain and network in C; None for a TFLite runtime, which does not say · model_kb : of the file
    """

    array: str
    mics: int
    model: str
    backend: str
    hop_ms: float
    hops: int
    p50_us: float
    p95_us: float
    max_us: float
    real_time_factor: float
    core: float
    ram_kb: float | None
    model_kb: float


def durations(calls: Iterable[Callable[[], object]]) -> np.ndarray:
    """Seconds that each call takes, one after the other : (calls,)."""
    seconds = []
    for call in calls:
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return np.array(seconds)


def noise(profile: Profile, channels: int, seconds: float = 1.0) -> np.ndarray:
    """Noise at -20 dBFS, whole hops : (n, channels) float32."""
    hops = int(seconds * profile.sample_rate) // profile.hop
    return 0.1 * np.random.default_rng(0).standard_normal((hops * profile.hop, channels)).astype(np.float32)


def combinations(
    models: Sequence[str] | None = None, backends: Sequence[str] | None = None, arrays: Sequence[str] | None = None
) -> list[tuple[str, str, str]]:
    """(array, model, backend) of all that can be measured here, or of those named.

    Default: all presets; the zoo, and none (the beam alone); native, and litert where there is a runtime.
    """
    models = models or ["none", *zoo_names()]
    backends = backends or ["native", *(["litert"] if runtime_name() else [])]
    return [
        (array, model, backend)
        for array in arrays or preset_names()
        for model in models
        for backend in (["native"] if model in WITHOUT_FILE else backends)
    ]


def measure(array: str, model: str, backend: str, seconds: float = SECONDS) -> Cost:
    """Enhance noise for so many seconds of wall time, in blocks of one hop."""
    size, profile = _model(model)
    enhancer = Enhancer(array, profile=profile, model=model, backend=backend, block=profile.hop)
    durations(_hops(enhancer, WARM_UP))
    start = time.process_time()
    times = durations(_until(_hops(enhancer), seconds))
    busy = time.process_time() - start
    lasts = profile.hop / profile.sample_rate
    p50, p95 = np.percentile(times, [50, 95])
    return Cost(
        array=enhancer.array.name, mics=enhancer.array.mics, model=model, backend=backend,
        hop_ms=1e3 * lasts, hops=len(times), p50_us=1e6 * p50, p95_us=1e6 * p95, max_us=1e6 * times.max(),
        real_time_factor=times.mean() / lasts, core=busy / len(times) / lasts,
        ram_kb=enhancer.memory / 1000 if backend == "native" else None, model_kb=size / 1000,
    )  # fmt: skip


def _model(model: str) -> tuple[int, Profile]:
    """Bytes of a model's file, and its profile."""
    if model in WITHOUT_FILE:
        return 0, PROFILES["assist"]
    path = find_model(model)
    name = read_model(path)[1]["profile"] if path.suffix == ".tflite" else NativeNet(path).profile
    return path.stat().st_size, PROFILES[name]


def _hops(enhancer: Enhancer, count: int | None = None) -> Iterator[Callable[[], object]]:
    """Calls that process one hop each, of a second of noise over and over."""
    hops = noise(enhancer.profile, enhancer.array.mics).reshape(-1, enhancer.profile.hop, enhancer.array.mics)
    done = 0
    while count is None or done < count:
        yield partial(enhancer.process, hops[done % len(hops)])
        done += 1


def _until(calls: Iterator[Callable[[], object]], seconds: float) -> Iterator[Callable[[], object]]:
    """Calls until so much time has passed; at least one."""
    end = time.perf_counter() + seconds
    yield next(calls)
    while time.perf_counter() < end:
        yield next(calls)


# ---- what is shown ----


def facts() -> dict[str, Any]:
    """What a reader must know of the machine to compare figures."""
    return {
        "edgeenhance": metadata.version("edgeenhance"),
        "cpu": machine.cpu_name(),
        "cores": os.cpu_count(),
        "features": machine.cpu_features(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "governors": list(machine.governors()),
        "resident_mb": machine.resident_mb(),
    }


def as_json(costs: Sequence[Cost]) -> dict[str, Any]:
    """What `edgeenhance bench --json` prints."""
    return {"machine": facts(), "costs": [asdict(cost) for cost in costs]}


def report(costs: Sequence[Cost]) -> str:
    """A Markdown table with the machine's name."""
    about = facts()
    governed = f", governor {', '.join(about['governors'])}" if about["governors"] else ""
    megabytes = about["resident_mb"]
    resident = f" This process takes {megabytes:.0f} MB, Python's included." if megabytes else ""
    return (
        f"**{about['cpu']}**, {about['cores']} cores{governed}, {about['system']}, Python {about['python']}; "
        f"edgeenhance {about['edgeenhance']}, one thread, blocks of one hop\n\n"
        f"{markdown(_HEADER, [_row(cost) for cost in costs], left=3)}\n\n"
        f"RAM: what chain and network keep in C.{resident}"
    )


_HEADER = (
    "array", "model", "backend", "mics", "hop / ms", "p50 / µs", "p95 / µs", "max / µs", "real time", "of a core",
    "RAM / kB", "model / kB",
)  # fmt: skip


def _row(cost: Cost) -> tuple[str, ...]:
    return (
        cost.array, cost.model, cost.backend, str(cost.mics), f"{cost.hop_ms:g}",
        f"{cost.p50_us:.1f}", f"{cost.p95_us:.1f}", f"{cost.max_us:.0f}",
        f"{cost.real_time_factor:.4f}", f"{100 * cost.core:.2f} %",
        "-" if cost.ram_kb is None else f"{cost.ram_kb:.0f}", f"{cost.model_kb:.0f}",
    )  # fmt: skip
