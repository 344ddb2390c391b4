"""The cache: the same question is answered without computing, others are not; room, age, copies, folders."""

import errno
import subprocess
import sys

import numpy as np
import pytest

from edgeenhance import EdgeEnhanceError, MicArray, enhance
from edgeenhance.cache import Cache, key, model_key

X = np.arange(1000, dtype=np.float32)
STORES = ["memory", "folder"]


@pytest.fixture(params=STORES)
def new(request, tmp_path):
    """Make a cache of either kind."""
    if request.param == "folder":
        pytest.importorskip("diskcache")
        return lambda **settings: Cache(folder=tmp_path / "cache", **settings)
    return Cache


class Maker:
    """Counts how often it is called."""

    def __init__(self, value=X):
        self.value, self.calls = value, 0

    def __call__(self):
        self.calls += 1
        return self.value


# ---- results ----


def test_the_second_time_it_is_not_computed(new):
    cache, make = new(), Maker()
    for _ in range(3):
        np.testing.assert_array_equal(cache.get("a", make), X)
    cache.get("b", make)
    assert make.calls == 2
    assert (cache.statistics.hits, cache.statistics.misses, cache.statistics.hit_rate) == (2, 2, 0.5)


def test_results_are_copies(new):
    cache = new()
    cache.get("a", Maker(X.copy()))[:] = -1
    cache.get("a", Maker())[:] = -1
    np.testing.assert_array_equal(cache.get("a", Maker()), X)


def test_results_age(new, monkeypatch):
    import time

    now, wall = time.monotonic(), time.time()
    cache, make = new(ttl=60), Maker()
    for seconds, calls in ((0, 1), (59, 1), (61, 2), (62, 2)):
        monkeypatch.setattr(time, "monotonic", lambda: now + seconds)  # noqa: B023
        monkeypatch.setattr(time, "time", lambda: wall + seconds)  # noqa: B023
        cache.get("a", make)
        assert make.calls == calls, seconds


def test_an_error_is_not_kept(new):
    cache = new()

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError):
        cache.get("a", fail)
    np.testing.assert_array_equal(cache.get("a", Maker()), X)


def test_the_least_recently_used_goes_first():
    cache = Cache(max_bytes=3 * 4200)
    for name in "abc":
        cache.get(name, Maker())
    cache.get("a", Maker())  # b is the one not used for longest
    cache.get("d", Maker())
    assert cache.bytes <= 3 * 4200 and cache.statistics.evictions == 1
    for name, calls in (("a", 0), ("c", 0), ("d", 0), ("b", 1)):
        make = Maker()
        cache.get(name, make)
        assert make.calls == calls, name


def test_what_has_no_room_is_not_kept_and_drops_nothing():
    cache, large = Cache(max_bytes=5000), Maker(np.zeros(2000))
    cache.get("a", Maker())
    cache.get("large", large), cache.get("large", large)
    make = Maker()
    cache.get("a", make)
    assert (large.calls, make.calls, cache.statistics.evictions) == (2, 0, 0)


def test_a_folder_outlives_the_cache_and_keeps_its_size(tmp_path):
    pytest.importorskip("diskcache")
    Cache(folder=tmp_path / "cache").get("a", Maker())
    make = Maker()
    np.testing.assert_array_equal(Cache(folder=tmp_path / "cache").get("a", make), X)
    assert make.calls == 0
    small = Cache(max_bytes=100_000, folder=tmp_path / "small")
    for number in range(200):
        small.get(str(number), Maker())
    assert small.bytes < 250_000  # of 800 000; the folder is tidied up now and then


def test_a_folder_that_cannot_be_one_is_a_sentence(tmp_path):
    pytest.importorskip("diskcache")
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeEnhanceError, match="cannot keep a cache in .*file"):
        Cache(folder=tmp_path / "file")


@pytest.mark.parametrize("way", ["get", "set"])
def test_a_folder_that_fails_is_a_warning_and_the_result_is_there(tmp_path, monkeypatch, way):
    diskcache = pytest.importorskip("diskcache")
    cache = Cache(folder=tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(diskcache.Cache, way, refuse)
    with pytest.warns(RuntimeWarning, match="the cache .*: No space left on device; going on without"):
        np.testing.assert_array_equal(cache.get("a", Maker()), X)


def test_what_is_damaged_in_a_folder_is_made_again(tmp_path):
    pytest.importorskip("diskcache")
    Cache(folder=tmp_path).get("a", Maker())
    (stored,) = tmp_path.rglob("*.val")
    stored.write_bytes(stored.read_bytes()[:100])
    for calls in (1, 0):
        make = Maker()
        np.testing.assert_array_equal(Cache(folder=tmp_path).get("a", make), X)
        assert make.calls == calls


@pytest.mark.parametrize("settings", [{"max_bytes": 0}, {"ttl": 0}, {"ttl": -1.0}])
def test_sizes_and_ages_are_above_0(settings):
    with pytest.raises(ValueError, match="above 0"):
        Cache(**settings)


# ---- keys ----


def test_a_key_is_what_the_result_depends_on(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"one")
    (tmp_path / "b.tflite").write_bytes(b"two")
    arrays = [MicArray.load(name) for name in ("mono", "bte-2x2")]
    different = [
        key(X), key(X + 1), key(X.astype(float)), key(X.reshape(10, 100)), key(X[:-1]), key(X[:0]),
        key(X, 1), key(X, "1"), key(X, True), key(X, 1.0), key(X, None), key(X, look=1.0), key(X, [1, 2]),
        key(X, [1], [2]),
        key(X, tmp_path / "a.tflite"), key(X, tmp_path / "b.tflite"), *(key(X, array) for array in arrays),
    ]  # fmt: skip
    assert len(set(different)) == len(different)
    assert key(X, look=1.0, model="none") == key(X.copy(), model="none", look=1.0)
    (tmp_path / "c.tflite").write_bytes(b"one")
    assert key(tmp_path / "a.tflite") == key(tmp_path / "c.tflite")
    assert key(X[::2]) == key(X[::2].copy())


def test_a_key_is_the_same_in_another_process():
    code = "import edgeenhance as e, edgeenhance.cache as c; print(c.key(e.MicArray.load('bte-2x2'), a=1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == key(MicArray.load("bte-2x2"), a=1)


def test_a_model_counts_by_its_file():
    assert model_key("none") == "none" and model_key("log-mmse") == "log-mmse"
    assert model_key("assist-s").suffix == ".tflite"
    assert key(model_key("assist-s")) != key(model_key("assist-s:int8"))


@pytest.mark.parametrize("ask", [lambda: key(object()), lambda: model_key(object())])
def test_what_cannot_be_told_apart_is_refused(ask):
    with pytest.raises(TypeError, match="object"):
        ask()


def test_segments_of_a_stream(new):
    """How repeated segments are enhanced once."""
    cache, segments = new(), np.random.default_rng(1).standard_normal((2, 4000)).astype(np.float32)

    def clean(segment):
        return cache.get(key(segment, model_key("none")), lambda: enhance(segment, 16000, "mono", model="none"))

    heard = [clean(segments[n]) for n in (0, 1, 0, 0)]
    assert cache.statistics.hits == 2
    np.testing.assert_array_equal(heard[3], enhance(segments[0], 16000, "mono", model="none"))
