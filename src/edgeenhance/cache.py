"""A cache of enhanced sound: what was computed for the same samples, model and settings is not computed again.

    Cache        results by key, in memory or on disk, the least recently used ones dropped
    key          of samples, files, arrays and settings, by their contents
    model_key    of a model, by its file's contents

Nothing is cached unless a cache is given: to `enhance_folder`, or by --cache to `edgeenhance enhance` and `evaluate`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .classical import METHODS
from .errors import EdgeEnhanceError
from .masknet import find_model

MAX_BYTES = 1 << 30


@dataclass
class Statistics:
    """Since the cache was made. evictions : for lack of room or by age; those on disk are not counted"""

    hits: int = 0
    misses: int = 0
    evictions: int = 0

    @property
    def hit_rate(self) -> float:
        """0 .. 1; 0 before the first question."""
        return self.hits / max(self.hits + self.misses, 1)


class Cache:
    """Results by key, up to `max_bytes` of them as they are stored; then the least recently used ones go.

    ttl : seconds that a result counts, None for ever · folder : keep results there, shared by processes and runs, with
    the package diskcache; None keeps them in memory. The folder's files are unpickled: use one that only you can write.
    What cannot be written there (a full disk) is returned all the same, with a RuntimeWarning; what is damaged there is
    made again. Threads may share one. ValueError for a size or an age that is not above 0, EdgeEnhanceError for a
    folder that cannot be used.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, ttl: float | None = None, folder: str | os.PathLike[str] | None = None
    ) -> None:
        if not max_bytes > 0 or not (ttl is None or ttl > 0):
            raise ValueError(f"a cache's bytes and seconds are above 0, got max_bytes={max_bytes}, ttl={ttl}")
        self.statistics = Statistics()
        self._lock = threading.Lock()
        self._store = _Memory(max_bytes, ttl, self.statistics) if folder is None else _Disk(max_bytes, ttl, folder)

    def get(self, key: str, make: Callable[[], Any]) -> Any:
        """What is stored for the key, or else what `make` returns, which is stored: anything that can be pickled.

        The result is the caller's own copy. Two threads that ask for the same key at the same time may both make it.
        """
        with self._lock:
            found, value = _unpickled(self._store.read(key))
            self.statistics.hits += found
            self.statistics.misses += not found
        if found:
            return value
        value = make()
        with self._lock:
            self._store.write(key, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        return value

    @property
    def bytes(self) -> int:
        """Of what is stored."""
        return self._store.bytes()


def _unpickled(content: bytes | None) -> tuple[bool, Any]:
    """Is it a result, and which one?"""
    try:
        return content is not None, content and pickle.loads(content)
    except (pickle.UnpicklingError, EOFError):  # cut off by a crash
        return False, None


class _Memory:
    def __init__(self, max_bytes: int, ttl: float | None, statistics: Statistics) -> None:
        self._max, self._ttl, self._statistics = max_bytes, ttl or float("inf"), statistics
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # when it was made; latest used last
        self._bytes = 0

    def read(self, key: str) -> bytes | None:
        if key not in self._entries:
            return None
        made, content = self._entries[key]
        if time.monotonic() - made > self._ttl:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return content

    def write(self, key: str, content: bytes) -> None:
        if key in self._entries:
            self._bytes -= len(self._entries.pop(key)[1])
        if len(content) > self._max:
            return
        self._entries[key] = time.monotonic(), content
        self._bytes += len(content)
        while self._bytes > self._max:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._bytes -= len(self._entries.pop(key)[1])
        self._statistics.evictions += 1

    def bytes(self) -> int:
        return self._bytes


class _Disk:
    def __init__(self, max_bytes: int, ttl: float | None, folder: str | os.PathLike[str]) -> None:
        try:
            import sqlite3

            import diskcache
        except ModuleNotFoundError as error:
            raise EdgeEnhanceError("a cache in a folder needs diskcache: pip install 'edgeenhance[files]'") from error
        self._ttl, self._refusals = ttl, (OSError, sqlite3.Error, diskcache.Timeout)
        try:
            self._cache = diskcache.Cache(
                os.fspath(folder), size_limit=max_bytes, eviction_policy="least-recently-used", disk_min_file_size=0
            )
        except self._refusals as error:
            raise EdgeEnhanceError(f"cannot keep a cache in {folder}: {error}; choose a folder of your own") from error

    def read(self, key: str) -> bytes | None:
        try:
            return self._cache.get(key)
        except self._refusals as error:
            return self._warn("read", error)

    def write(self, key: str, content: bytes) -> None:
        try:
            self._cache.set(key, content, expire=self._ttl)
        except self._refusals as error:
            self._warn("write to", error)

    def _warn(self, what: str, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or error
        sentence = f"cannot {what} the cache {self._cache.directory}: {reason}; going on without"
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)

    def bytes(self) -> int:
        return self._cache.volume()


# ---- keys ----


def key(*values: Any, **settings: Any) -> str:
    """A hash of all that a result depends on: hexadecimal, the same in every process and on every machine.

    Samples count by type, shape and bytes, a Path by the file's contents, an object of ours by its fields; numbers,
    words, None, tuples, lists and mappings by themselves. The version of this package is part of it.
    TypeError for anything else, OSError for a file that cannot be read.
    """
    state = hashlib.blake2b(digest_size=20)
    _feed(state, (_version(), values, settings))
    return state.hexdigest()


@lru_cache(maxsize=1)
def _version() -> str:
    return metadata.version("edgeenhance")


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, np.ndarray):
        state.update(f"array {value.dtype.str} {value.shape} ".encode())
        state.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    elif isinstance(value, Path):
        state.update(b"file " + hashlib.blake2b(value.read_bytes()).digest())
    elif value is None or isinstance(value, (bool, int, float, str, np.integer, np.floating)):
        word = f"{type(value).__name__} {value!r} ".encode()
        state.update(len(word).to_bytes(8, "little") + word)
    elif isinstance(value, (tuple, list)):
        state.update(f"list {len(value)} ".encode())
        for part in value:
            _feed(state, part)
    elif isinstance(value, Mapping):
        _feed(state, [(name, value[name]) for name in sorted(value)])
    elif is_dataclass(value):
        _feed(state, [type(value).__name__, {field.name: getattr(value, field.name) for field in fields(value)}])
    else:
        raise TypeError(f"a cache cannot tell one {type(value).__name__} from another; give names, files or arrays")


def model_key(model: str | os.PathLike[str]) -> str | Path:
    """A model's part of a key: a name that needs no file ("none", a classical method), or the file."""
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"a cache knows models by name or file, got {type(model).__name__}")
    return model if model in ("none", *METHODS) else find_model(model)
