"""Damaged model files become a program that the kernel runs, or one sentence, in bounded time and memory.

usage: python tests/fuzz/fuzz_compile.py SECONDS [--seed N] [-o DIR]

Good files (random small networks of every quantization, one of the zoo) are damaged where it matters: at the numbers
that the reader reads, found by watching it; in the metadata; in compiled programs. The SHA-256 or CRC is made right
again, so that nothing hides behind it. A file that leads to a new outcome (a sentence, or a program of other ops) is
damaged further. Programs that came out are left in DIR/programs, for fuzz_program.c under the sanitizers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import re
import resource
import shutil
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgeenhance import program
from edgeenhance._tflite import Table, read_graph
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.kernel import ffi, lib
from edgeenhance.masknet import MAGIC, TRAILER, zoo_path
from tests.small_nets import lookup_net, small_net

LONGEST = 5  # s per file
MEMORY = 400 << 20  # bytes that a file may take
SENTENCE = 1000  # characters
KEPT = 300  # files to go on from
SAVED = 20  # programs of the same size and ops, for the sanitizers


@dataclass
class Model:
    """A model file in parts. places : (byte, struct kind) of what the reader reads"""

    body: bytes
    metadata: bytes
    places: list[tuple[int, str]]

    def file(self) -> bytes:
        located = self.body + self.metadata + struct.pack("<II", len(self.body), len(self.metadata))
        return located + hashlib.sha256(located).digest() + MAGIC


# ---- good files ----


@contextlib.contextmanager
def watched(places: list[tuple[int, str]]) -> Iterator[None]:
    """Collects the numbers that are read: each one, and of vectors the length and up to eight entries."""
    number, vector = Table._number, Table._vector

    def watch_number(table: Table, kind: str, at: int) -> int:
        places.append((at, kind))
        return number(table, kind, at)

    def watch_vector(table: Table, slot: int, kind: str) -> tuple[np.ndarray, int]:
        values, start = vector(table, slot, kind)
        letter = {"<u4": "<I", "<i4": "<i", "<f4": "<f", "<i8": "<q", "u1": "<B"}[kind]
        places.extend((start + n * values.itemsize, letter) for n in range(min(len(values), 8)))
        return values, start

    Table._number, Table._vector = watch_number, watch_vector
    try:
        yield
    finally:
        Table._number, Table._vector = number, vector


def model(content: bytes) -> Model:
    body, (offset, length, _, _) = content[: -TRAILER.size], TRAILER.unpack(content[-TRAILER.size :])
    places: list[tuple[int, str]] = []
    with watched(places):
        read_graph(body)
    return Model(body, body[offset : offset + length], sorted(set(places)))


def good_models() -> list[Model]:
    nets = [small_net(seed, kind)[0] for seed in range(4) for kind in ("16x8", "int8", "float32")]
    nets += [lookup_net(8.0, "sigmoid", 8)[0], lookup_net(5.3, "tanh", 8)[0], zoo_path("assist-s:int8").read_bytes()]
    return [model(content) for content in nets]


# ---- damage ----

ODD = (0, 1, 2, 3, 4, 7, 8, 63, 64, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 1 << 20, 1 << 24)
ODD_FLOATS = (0.0, -1.0, 1.0, 1e-45, 1e-38, 1e-20, 2.0**-15, 0.5, 2.0, 1e20, 3.4e38, np.inf, -np.inf, np.nan)
ODD_VALUES = (
    None, True, False, 0, -1, 1, 2, 2.0, 255, 65536, 2**31, 10**30, 0.5, float("nan"), float("inf"), "", "x", "a\nb",
    "\ud800", "é" * 300, [], [0], [0, 256], [1, [2]], {}, {"0": 1}, "16x8", "int8", "float32", "assist", "comm",
)  # fmt: skip


def pack(kind: str, value: int | float) -> bytes:
    if kind == "<f":
        return np.array(value, "<f4").tobytes()
    size = struct.calcsize(kind)
    return (int(value) % (1 << 8 * size)).to_bytes(size, "little")


def other_number(rng: random.Random, kind: str, now: int | float, size: int, places: list[tuple[int, str]]) -> float:
    if kind == "<f":
        return rng.choice((*ODD_FLOATS, now * 2.0 ** rng.randint(-20, 20)))
    there = rng.choice(places)[0]  # as an offset it may lead to any other place
    return rng.choice(
        (rng.choice(ODD), -1, now + rng.randint(-4, 4), size, there, -there, rng.getrandbits(32), 1 << 31)
    )


def damage_numbers(rng: random.Random, m: Model) -> Model:
    body = bytearray(m.body)
    for at, kind in rng.choices(m.places, k=rng.randint(1, 3)):
        size = struct.calcsize(kind)
        if at + size > len(body):
            continue
        (now,) = struct.unpack_from(kind, body, at)
        body[at : at + size] = pack(kind, other_number(rng, kind, now, len(body), m.places))
    return Model(bytes(body), m.metadata, m.places)


def swap_numbers(rng: random.Random, m: Model) -> Model:
    """A number from elsewhere: another tensor's index, length, scale or offset."""
    body = bytearray(m.body)
    (at, kind), (there, _) = rng.sample(m.places, 2)
    size = struct.calcsize(kind)
    body[at : at + size] = body[there : there + size]
    return Model(bytes(body), m.metadata, m.places)


def damage_bytes(rng: random.Random, m: Model) -> Model:
    body, at, count = bytearray(m.body), rng.randrange(len(m.body)), rng.choice((1, 4, 64, 4096))
    match rng.randrange(4):
        case 0:
            del body[at:]
        case 1:
            body[at : at + count] = bytes(len(body[at : at + count]))
        case 2:
            body[at : at + count] = rng.randbytes(len(body[at : at + count]))
        case _:
            body[at:at] = body[max(at - count, 0) : at]
    return Model(bytes(body) or b"\0", m.metadata, m.places)


def long_vector(rng: random.Random, m: Model) -> Model:
    """A list as long as the rest of the file, which is filled up: many tables, names, shapes, inputs or scales."""
    body, count = bytearray(m.body), rng.choice((300, 5000, 70000, 300000))
    at = rng.choice([at for at, kind in m.places if kind == "<I" and at + 4 <= len(body)] or [0])
    body += bytes(-len(body) % 4)
    filled = rng.choice((bytes(4), b"\1\0\0\0", b"\0\0\x80\x3f", struct.pack("<I", at)))
    body[at : at + 4] = struct.pack("<I", len(body) - at)
    return Model(bytes(body + struct.pack("<I", count) + filled * count), m.metadata, m.places)


def damage_metadata(rng: random.Random, m: Model) -> Model:
    text = m.metadata
    try:
        facts = json.loads(text)
        key = rng.choice(list(facts))
        if isinstance(facts[key], list) and facts[key] and rng.random() < 0.5:
            facts[key][rng.randrange(len(facts[key]))] = rng.choice(ODD_VALUES)
        elif rng.random() < 0.1:
            del facts[key]
        else:
            facts[key] = rng.choice(ODD_VALUES)
        text = json.dumps(facts).encode()
    except (ValueError, TypeError, IndexError, RecursionError):
        pass
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice((b"[" * 100000, b"9" * 5000, b"\xff", b"1e999", b"}", b"")) + text[at + 1 :]
    return Model(m.body, text, m.places)


def damage_trailer(rng: random.Random, m: Model) -> bytes:
    content = m.file()
    odd = struct.pack("<II", *(rng.choice((*ODD, len(content), 2**32 - 1)) for _ in range(2)))
    located = content[: -TRAILER.size] + odd
    return located + hashlib.sha256(located).digest() + MAGIC


def damage_program(rng: random.Random, content: bytes) -> bytes:
    out = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = 4 * rng.randrange(min(len(out) // 4, 80))
        out[at : at + 4] = pack("<I", rng.choice((rng.choice(ODD), -1, len(out), len(out) - 1, len(out) - 4)))
    out = out[: rng.choice((len(out), rng.randrange(len(out) + 1)))] if rng.random() < 0.1 else out
    out[8:12] = struct.pack("<I", len(out))
    return program.sign(bytes(out)) if rng.random() < 0.9 else bytes(out)


DAMAGES: tuple[Callable[[random.Random, Model], Model], ...] = (
    damage_numbers, damage_numbers, damage_numbers, swap_numbers, swap_numbers, damage_bytes, long_vector,
    damage_metadata,
)  # fmt: skip


# ---- what must hold ----


def too_long(*_: object) -> None:
    raise TimeoutError(f"a file took more than {LONGEST} s")


def limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def attempt(work: Callable[[Path], bytes], path: Path) -> tuple[str, bytes | None]:
    """(what came of a file, the program or None); anything but one clear sentence is raised."""
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        content = work(path)
        return f"{len(content) // 1024} kB of {ops(content)}", content
    except EdgeEnhanceError as error:
        text = str(error)
        if "\n" in text or not text.isprintable() or len(text) > SENTENCE:
            raise AssertionError(f"not one sentence: {text[:SENTENCE]!r}") from error
        return re.sub(r"'[^']*'|[-+\d.]+(e[-+]?\d+)?|\[[^]]*\]", "_", text), None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def ops(content: bytes) -> str:
    """Kinds of ops, each once."""
    first, count = program.HEADER.unpack_from(content)[-2:]
    kinds = {program.OP.unpack_from(content, first + n * program.OP.size)[0] for n in range(count)}
    return " ".join(program.KINDS[kind] for kind in sorted(kinds))


def runs(content: bytes) -> bool:
    return lib.ee_net_size(ffi.from_buffer(content), len(content)) > 0


def compiled(path: Path) -> bytes:
    out = program.compile_model(path)
    program.program_facts(out)
    if not runs(out):
        raise AssertionError("the kernel refuses what was compiled")
    return out


def read(path: Path) -> bytes:
    """A program, which the kernel may refuse."""
    content, _ = program.read_program(path)
    if not runs(content):
        raise EdgeEnhanceError("the kernel refuses it")
    return content


# ---- the loop ----


class Fuzzer:
    """first, found : files to go on from · good : programs of the first ones · seen : how often each outcome"""

    def __init__(self, out: Path, seed: int) -> None:
        self.rng, self.out, self.first = random.Random(seed), out, good_models()
        self.found: list[Model] = []
        self.seen: dict[str, int] = {}
        self.good = [self._try(compiled, m.file()) for m in self.first]

    def _try(self, work: Callable[[Path], bytes], content: bytes, parent: Model | None = None) -> bytes | None:
        path = self.out / ("damaged.tflite" if work is compiled else "damaged.eebin")
        path.write_bytes(content)
        outcome, made = attempt(work, path)
        if outcome not in self.seen and parent:
            self.found = self.found[-KEPT:] + [parent]
        self.seen[outcome] = self.seen.get(outcome, 0) + 1
        if made and self.seen[outcome] <= SAVED:
            (self.out / "programs" / hashlib.sha1(made).hexdigest()).write_bytes(made)
        return made

    def one(self) -> None:
        rng, parent = self.rng, self.rng.choice(self.first + self.found)
        choice = rng.random()
        if choice < 0.05:
            self._try(compiled, damage_trailer(rng, parent))
        elif choice < 0.25:
            self._try(read, damage_program(rng, rng.choice(self.good)))
        else:
            damaged = rng.choice(DAMAGES)(rng, parent)
            self._try(compiled, damaged.file(), damaged)


def main() -> int:
    parser = argparse.ArgumentParser(description="damaged model files")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("-o", "--out", type=Path, default=Path("build/fuzz"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out / "programs", ignore_errors=True)
    (arguments.out / "programs").mkdir(parents=True)
    warnings.simplefilter("error")
    signal.signal(signal.SIGALRM, too_long)
    fuzzer, end, files = Fuzzer(arguments.out, arguments.seed), time.monotonic() + arguments.seconds, 0
    limit_memory()
    while time.monotonic() < end:
        try:
            fuzzer.one()
        except Exception:
            traceback.print_exc()
            print(f"NOT OK: the last file is {arguments.out}/damaged.*, from seed {arguments.seed}", file=sys.stderr)
            return 1
        files += 1
    made = len(list((arguments.out / "programs").iterdir()))
    print(f"{files} damaged files (seed {arguments.seed}): {len(fuzzer.seen)} outcomes, {made} programs to run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
