"""Small random networks as model files, for tests of what runs them."""

import json

import numpy as np

from edgeenhance.masknet import seal
from edgeenhance.models.tflite_writer import Tensor, Writer


def metadata(bands: int, states: list[int], quantization: str, signals: int = 2) -> dict:
    centers = [*range(bands - 1), 256]
    return {
        "format": 1, "name": "small", "profile": "assist", "sample_rate": 16000, "analysis": 512, "synthesis": 128,
        "bands": bands, "centers": centers, "features": "log2-level-16", "quantization": quantization,
        "states": states, "signals": signals,
    }  # fmt: skip


def sealed(writer: Writer, facts: dict) -> bytes:
    text = json.dumps(facts).encode()
    return seal(writer.finish("step", {"edgeenhance": text}), text)


def weights(rng: np.random.Generator, rows: int, cols: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 2 / np.sqrt(cols), (rows, cols)), rng.normal(0, 0.3, rows)


def gru(writer: Writer, rng: np.random.Generator, name: str, x: Tensor, h: Tensor, gate: float, inner: float) -> Tensor:
    """gate, inner : full scales before the gates and before the new state's tanh"""
    xh = writer.concat(f"{name}/xh", [x, h])
    r = writer.sigmoid(writer.dense(f"{name}/r", xh, *weights(rng, h.size, xh.size), limit=gate))
    z = writer.sigmoid(writer.dense(f"{name}/z", xh, *weights(rng, h.size, xh.size), limit=gate))
    hn = writer.dense(f"{name}/hn", h, *weights(rng, h.size, h.size))
    xn = writer.dense(f"{name}/xn", x, *weights(rng, h.size, x.size), limit=inner)
    n = writer.tanh(writer.add(f"{name}/n", xn, writer.mul(f"{name}/r_hn", r, hn, limit=inner), limit=inner))
    moved = writer.mul(f"{name}/z_hn", z, writer.sub(f"{name}/h_n", h, n, limit=2.0), limit=2.0)
    return writer.add(f"{name}/next", n, moved, limit=1.0)


def small_net(seed: int, quantization: str = "16x8", largest: int = 39) -> tuple[bytes, dict]:
    """(file, metadata) of encoder, two GRU cells and decoder, random in sizes, weights and full scales.

    largest : bound of the sizes
    """
    rng = np.random.default_rng(seed)
    bands, signals = int(rng.integers(2, largest // 2)), int(rng.integers(1, 5))
    sizes = rng.integers(1, largest, 2).tolist()
    # Full scales of int8 products are at most these, and powers of two: the others of a sum must be, too.
    loose = {"16x8": (16.0, 8.0, 4.0, 5.3), "float32": (8.0,), "int8": (16.0, 8.0, 4.0)}[quantization]
    gate, inner, last = rng.choice(loose, 3)
    names = ["encode", "decode", *(f"gru{n}/{part}" for n in range(2) for part in ("r", "z", "hn", "xn"))]
    writer = Writer(quantization, {name: float(rng.uniform(1, 6)) for name in names})
    x = writer.input("features", signals * bands)
    states = [writer.input(f"h{n}", size) for n, size in enumerate(sizes)]
    encoded = int(rng.integers(1, largest))
    y = writer.tanh(writer.dense("encode", x, *weights(rng, encoded, x.size), limit=inner))
    for n, h in enumerate(states):
        y = gru(writer, rng, f"gru{n}", y, h, gate, inner)
        states[n] = y
    gains = writer.sigmoid(writer.dense("decode", y, *weights(rng, bands, y.size), limit=last))
    writer.output("gains", gains)
    for n, state in enumerate(states):
        writer.output(f"h{n}_next", state)
    facts = metadata(bands, sizes, quantization, signals)
    return sealed(writer, facts), facts


def lookup_net(limit: float, kind: str, bands: int = 256) -> tuple[bytes, dict]:
    """(file, metadata) of gains = kind(features), the features' integers taken at full scale `limit`, unchanged."""
    writer, facts = Writer("16x8", {}), metadata(bands, [1], "16x8", 1)
    x, h = writer.input("features", bands), writer.input("h0", 1)
    same = writer.dense("same", x, limit * np.eye(bands), np.zeros(bands), limit=limit)
    writer.output("gains", getattr(writer, kind)(same))
    writer.output("h0_next", writer.dense("keep", h, np.eye(1), np.zeros(1), limit=1.0))
    return sealed(writer, facts), facts


def hops(rng: np.random.Generator, bands: int, count: int) -> np.ndarray:
    """(count, 4 * bands) int16 features in turns of 50: uniform, extreme, all least, speech-like, all greatest."""
    out = rng.integers(-32768, 32768, (count, 4 * bands))
    turn = np.arange(count) // 50 % 5
    out[turn == 1] = rng.choice([-32768, 32767], (np.sum(turn == 1), 4 * bands))
    out[turn == 2] = -32768
    out[turn == 3] = np.clip(rng.normal(-3000, 6000, (np.sum(turn == 3), 4 * bands)), -32768, 32767)
    out[turn == 4] = 32767
    return out.astype(np.int16)
