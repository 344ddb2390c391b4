"""The most stack that the kernel's functions can need, from the compiler's call graph. Part of `make check`, "boards".

usage: python tests/check/stack.py FOLDER [MEASURED]

FOLDER : of a build for a Cortex-M with -fcallgraph-info=su (csrc/ports) · MEASURED : bytes that its self-test has used,
counted where a painted stack was overwritten

Fails where a frame has no fixed size (arrays of variable length, alloca); where functions call themselves, in a circle
or by an unknown pointer; where the kernel calls anything but memcpy and the compiler's arithmetic: nothing that could
allocate, lock or print; where a hop may need more than MOST; where the self-test has used more than its bound.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

MOST = 12 << 10  # bytes, of ee_enhancer_process with a network
LEAF = 64  # bytes at most of a function of the C library or the compiler's, all written in assembler
LIBRARY = re.compile(r"memcpy|memset|memmove|sqrtf|__aeabi_\w+")
POINTERS = {  # calls through a pointer, by file: the mask function; a network's operations; transforms
    "enhancer.c": ("ee_net_step", "selftest.c:counted_net_step"),
    "net.c": ("net.c:run_plain", "net.c:run_floats"),
    "fft.c": ("fft.c:forward_plain", "fft.c:inverse_plain"),
}
SHOWN = ("ee_enhancer_init", "ee_enhancer_set_beam", "ee_enhancer_process", "ee_net_init", "ee_net_step",
         "ee_resample_init", "ee_resample_process")  # fmt: skip
NODE = re.compile(r'node: { title: "([^"]*)" label: "[^"]*\\n(\d+) bytes \(([^)]*)\)')
EDGE = re.compile(r'edge: { sourcename: "([^"]*)" targetname: "([^"]*)"')


@dataclass
class Graph:
    """frames : bytes by function · calls : of each function · depths : bytes and the chain of calls that needs them"""

    frames: dict[str, int] = field(default_factory=dict)
    calls: dict[str, set[str]] = field(default_factory=dict)
    depths: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        text, source = path.read_text(), path.name.removesuffix(".ci")
        for name, size, kind in NODE.findall(text):
            if kind != "static":
                sys.exit(f"NOT OK: the frame of {short(name)} is {kind}")
            self.frames[short(name)] = int(size)
        for caller, called in EDGE.findall(text):
            targets = POINTERS.get(source, ("an unknown pointer",)) if called == "__indirect_call" else (short(called),)
            self.calls.setdefault(short(caller), set()).update(targets)

    def depth(self, name: str, above: tuple[str, ...] = ()) -> tuple[int, tuple[str, ...]]:
        if name in above:
            sys.exit(f"NOT OK: recursion: {' > '.join((*above, name))}")
        if name not in self.frames:
            if not LIBRARY.fullmatch(name):
                sys.exit(f"NOT OK: {above[-1]} calls {name}")
            return LEAF, (name,)
        if name not in self.depths:
            below = [self.depth(called, (*above, name)) for called in sorted(self.calls.get(name, ()))]
            most, chain = max(below, default=(0, ()))
            self.depths[name] = self.frames[name] + most, (name, *chain)
        return self.depths[name]


def short(title: str) -> str:
    """file.c:name for what is known in one file only."""
    return title.rpartition("/")[2]


def main() -> None:
    folder, measured = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    graph = Graph()
    for path in folder.rglob("*.ci"):
        graph.add(path)
    missing = {target for targets in POINTERS.values() for target in targets} - graph.frames.keys()
    if missing:
        sys.exit(f"NOT OK: {folder} has no {', '.join(sorted(missing))}")
    for name in SHOWN:
        most, chain = graph.depth(name)
        print(f"{name}: {most} bytes of stack at most, by {' > '.join(chain)}")
    whole, _ = graph.depth("start")
    print(f"self-test: {whole} bytes at most, {measured} used")
    hop, _ = graph.depth("ee_enhancer_process")
    if hop > MOST or measured > whole:
        sys.exit(f"NOT OK: expected at most {MOST} for a hop, and no more used than {whole}")


if __name__ == "__main__":
    main()
