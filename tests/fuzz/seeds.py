"""Where the fuzzers start from: python tests/fuzz/seeds.py DIR writes DIR/program, DIR/process and DIR/resample.

Small programs of every op and quantization; for the other two, random commands, in sequences long enough for bursts,
pauses and dead microphones.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edgeenhance.program import compile_model
from tests.small_nets import lookup_net, small_net


def programs() -> list[bytes]:
    nets = [small_net(seed, kind, 6)[0] for seed in range(3) for kind in ("16x8", "int8", "float32")]
    nets += [lookup_net(limit, kind, 2)[0] for limit in (8.0, 5.3) for kind in ("sigmoid", "tanh")]
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for content in nets:
            path = Path(folder, "net.tflite")
            path.write_bytes(content)
            out.append(compile_model(path))
    return out


def commands(seed: int, head: int, body: int) -> bytes:
    """Random bytes; the samples' manner (see fuzz_samples) is one of few in a row, so that levels last."""
    rng = random.Random(seed)
    return rng.randbytes(head) + b"".join(rng.randbytes(8) * rng.choice((1, 1, 4, 16)) for _ in range(body))


def main() -> None:
    contents = {
        "program": programs(),
        "process": [commands(seed, 5, 16) for seed in range(256)],
        "resample": [commands(seed, 4, 8) for seed in range(32)],
    }
    for name, files in contents.items():
        folder = Path(sys.argv[1], name)
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(files):
            (folder / f"seed-{number}").write_bytes(content)


if __name__ == "__main__":
    main()
