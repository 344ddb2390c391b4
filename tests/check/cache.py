"""How much faster a cache answers than a model computes: 10 s of sound, by segments, medians of one run, side by side.

python tests/check/cache.py assist-m module:Class ...     zoo models, or classes whose objects have enhance(x)
"""

import importlib
import sys
import tempfile
import time
from functools import partial

import numpy as np

from edgeenhance import enhance
from edgeenhance.cache import Cache, key, model_key

RATE, SECONDS, SEGMENTS = 16000, 10, 5


def runner(name):
    """(what identifies the model, x -> y)."""
    module, _, attribute = name.partition(":")
    if "." in module:
        return name, getattr(importlib.import_module(module), attribute)().enhance
    return model_key(name), lambda x: enhance(x, RATE, "mono", model=name)


def median_ms(cache, model, run, segments):
    times = []
    for x in segments:
        start = time.perf_counter()
        cache.get(key(x, model), partial(run, x))
        times.append(1e3 * (time.perf_counter() - start))
    return np.median(times)


def main(names):
    rng = np.random.default_rng(1)
    segments = 0.1 * rng.standard_normal((SEGMENTS, SECONDS * RATE)).astype(np.float32)
    slow = []
    for name in names:
        model, run = runner(name)
        run(segments[0])  # once, to load what is loaded on first use
        for place in ("memory", "disk"):
            with tempfile.TemporaryDirectory() as folder:
                cache = Cache(folder=None if place == "memory" else folder)
                miss, hit = (median_ms(cache, model, run, segments) for _ in range(2))
                assert cache.statistics.hits == cache.statistics.misses == SEGMENTS
            print(f"{name}, {place}: miss {miss:.1f} ms, hit {hit:.2f} ms, {miss / hit:.0f} times as fast")
            slow += [name] if hit >= miss / (100 if ":" in name else 1) else []
    return f"NOT OK: a hit is too slow: {slow}" if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
