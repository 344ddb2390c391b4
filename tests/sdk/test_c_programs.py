"""The programs in tests/c/small_nets.h are what is compiled today, and their gains are LiteRT's.

Write the file again with: python -m tests.sdk.test_c_programs
"""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the TFLite runtime and schema of LiteRT are not installed")
pytest.importorskip("flatbuffers", reason="the extra `train` is not installed")

from edgeenhance.masknet import MaskNet
from edgeenhance.program import compile_model
from tests.small_nets import small_net

HEADER = Path(__file__).parents[1] / "c" / "small_nets.h"
HOPS = 200
NETS = ((0, "16x8", 9), (2, "16x8", 39), (0, "int8", 9), (3, "float32", 9))  # seed, quantization, largest layer


def features(bands: int) -> np.ndarray:
    """(HOPS, 4 * bands) int16, as test_net.c makes them."""
    out, state = [], 5
    for _ in range(HOPS * 4 * bands):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append((state >> 8) % 65536 - 32768)
    return np.array(out, np.int16).reshape(HOPS, -1)


def hash_of_gains(net: MaskNet) -> int:
    gains, value = np.zeros(net.bands, np.int16), 2166136261
    for hop in features(net.bands):
        net.step(hop, gains)
        for gain in gains.view(np.uint16).tolist():
            value = (value ^ gain) * 16777619 % 2**32
    return value


def header(folder: Path) -> str:
    """The text of small_nets.h; float programs have no hash: compilers may fuse multiplications and additions."""
    lines = ["/* small_nets.h: programs for test_net.c, written by tests/sdk/test_c_programs.py. */", ""]
    rows = []
    for n, (seed, quantization, largest) in enumerate(NETS):
        path = folder / "small.tflite"
        path.write_bytes(small_net(seed, quantization, largest)[0])
        words = np.frombuffer(compile_model(path), "<u4").tolist()
        text = [", ".join(f"0x{word:08x}u" for word in words[k : k + 8]) for k in range(0, len(words), 8)]
        lines += [f"static const uint32_t net_{n}[{len(words)}] = {{ /* {quantization} */"]
        lines += [*(f"    {line}," for line in text), "};", ""]
        value = hash_of_gains(MaskNet(path)) if quantization != "float32" else 0
        rows.append(f"    {{net_{n}, sizeof net_{n}, 0x{value:08x}u}},")
    lines += ["typedef struct { const uint32_t *program; size_t bytes; uint32_t hash; } small_net;", ""]
    lines += [
        f"enum {{ SMALL_NETS = {len(NETS)} }};",
        "static const small_net small_nets[SMALL_NETS] = {",
        *rows,
        "};",
        "",
    ]
    return "\n".join(lines)


def test_the_programs_in_c_are_up_to_date(tmp_path):
    assert HEADER.read_text(encoding="utf-8") == header(tmp_path)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        HEADER.write_text(header(Path(folder)), encoding="utf-8")
