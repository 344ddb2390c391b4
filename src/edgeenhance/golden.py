"""Golden vectors for firmware: `python -m edgeenhance.golden -o DIR` writes DIR/golden.h for csrc/ports/selftest.c.

In it are a network program, the chain's configurations and tables for arrays of two and four microphones, a second of
sound, and what the Python package's kernel makes of it. Kernels built without fused multiply-add (any wheel; C with
EE_EXACT=ON) give the same bits everywhere.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ._files import atomic_path
from .arrays import MicArray
from .bands import SIGNALS
from .beamform import Mvdr, design
from .chain import Chain, kernel_tables
from .errors import EdgeEnhanceError
from .kernel import aligned_memory, check, ffi, lib, pointer
from .nativenet import NativeNet
from .profiles import PROFILES, Profile

CHAINS = {"two": ("bte-1x2", ("left",)), "four": ("bte-2x2", ("left", "right"))}  # array, ears
STFT_HOPS = 64
NET_HOPS = 100
CEILING = 10 ** (-1 / 20)  # -1 dBFS
LOOK, TALKER, OTHER = 0.0, 15.0, -70.0  # degrees: the beam has to follow the talker
_CHAIN = """typedef struct {
    const ee_config *config;
    const ee_beam *beam;
    const float *out; /* [frame][ear] */
    uint32_t hash;
} golden_chain;
"""


def sound(array: MicArray, profile: Profile) -> np.ndarray:
    """A second : (n, mics) int16. Syllables near the front, hiss from the side, and a little of the microphones."""
    n, rng = profile.sample_rate, np.random.default_rng(1)
    time = np.arange(n) / n
    buzz = sum(np.sin(2 * np.pi * (120 * time + 2 * np.sin(3 * time)) * k) / k for k in range(1, 31))
    buzz *= np.clip(np.sin(2 * np.pi * 3 * time), 0, 1)
    freqs = np.fft.rfftfreq(n, 1 / n)
    spectra = [np.fft.rfft(signal)[:, None] * array.steering(look, freqs)
               for signal, look in ((0.1 * buzz, TALKER), (0.03 * rng.standard_normal(n), OTHER))]  # fmt: skip
    signal = np.fft.irfft(sum(spectra), n, axis=0) + 1e-3 * rng.standard_normal((n, array.mics))
    return np.rint(32767 * np.clip(signal, -1, 1)).astype(np.int16)


def hash_of(values: np.ndarray) -> int:
    """Of the bits of float32 values, as selftest.c has it."""
    value = 2166136261
    for word in np.ascontiguousarray(values, np.float32).view(np.uint32).ravel().tolist():
        value = (value ^ word) * 16777619 % 2**32
    return value


def run_stft(x: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """x : (n,) float32, whole hops -> overlap-add of the analysis, and the spectrum of the last hop."""
    size = lib.ee_stft_size(profile.analysis, profile.synthesis)
    (_keep, start), out = aligned_memory(size), ffi.new("ee_stft **")
    check(lib.ee_stft_init(out, start, size, profile.analysis, profile.synthesis))
    history, overlap = np.zeros(profile.analysis, np.float32), np.zeros(profile.hop, np.float32)
    spectrum, y = np.empty(2 * profile.bins, np.float32), np.empty_like(x)
    for hop in range(0, len(x), profile.hop):
        lib.ee_stft_analyze(out[0], pointer(history), pointer(x[hop : hop + profile.hop]), 1, pointer(spectrum))
        lib.ee_stft_synthesize(out[0], pointer(overlap), pointer(spectrum), pointer(y[hop : hop + profile.hop]), 1)
    return y, spectrum


def run_net(net: NativeNet) -> np.ndarray:
    """Gains : (NET_HOPS, bands) int16 of random features, made as in selftest.c."""
    gains, features, state = np.zeros((NET_HOPS, net.bands), np.int16), np.empty(SIGNALS * net.bands, np.int16), 5
    net.reset()
    for hop in gains:
        for i in range(len(features)):
            state = (state * 1664525 + 1013904223) % 2**32
            features[i] = (state >> 8) % 65536 - 32768
        net.step(features, hop)
    net.reset()
    return gains


# ---- C source ----


def c_array(kind: str, name: str, values: np.ndarray) -> str:
    flat = np.ravel(values)
    texts = [f"{value:.8e}f" for value in flat.tolist()] if flat.dtype.kind == "f" else [str(v) for v in flat.tolist()]
    rows = (", ".join(texts[k : k + 8]) for k in range(0, len(texts), 8))
    return f"static const {kind} {name}[{len(texts)}] = {{\n    " + ",\n    ".join(rows) + "\n};"


def c_config(name: str, config: Any) -> str:
    """ee_config without the mask, which firmware sets."""
    fields = {field: getattr(config, field) for field, _ in ffi.typeof("ee_config").fields if "mask" not in field}
    fields["reference"], fields["centers"] = f"{{{config.reference[0]}, {config.reference[1]}}}", "golden_centers"
    texts = (f".{field} = {f'{v:.8e}f' if isinstance(v, float) else v}" for field, v in fields.items())
    return f"static const ee_config {name} = {{\n    " + ",\n    ".join(texts) + "\n};"


def c_chain(name: str, arrays: dict[str, np.ndarray], config: Any, out: np.ndarray) -> list[str]:
    prefix = f"golden_{name}"
    tables = ", ".join(f".{table} = {prefix}_{table}" for table in arrays)
    return [
        *(c_array("float", f"{prefix}_{table}", values) for table, values in arrays.items()),
        f"static const ee_beam {prefix}_beam = {{{tables}}};",
        c_config(f"{prefix}_config", config),
        c_array("float", f"{prefix}_out", out),
        f"static const golden_chain {prefix} = {{&{prefix}_config, &{prefix}_beam, {prefix}_out, {hash_of(out)}u}};",
    ]


def c_header(model: str) -> str:
    """The text of golden.h."""
    net = NativeNet(model)
    profile, arrays = PROFILES[net.profile], {name: MicArray.load(array) for name, (array, _) in CHAINS.items()}
    samples = sound(arrays["four"], profile)
    samples = samples[: len(samples) // profile.hop * profile.hop]
    x = samples.astype(np.float32) / 32768
    words = np.array([word for (word,) in struct.iter_unpack("<I", net.program)], np.int64)
    signal, spectrum = run_stft(np.ascontiguousarray(x[: STFT_HOPS * profile.hop, 0]), profile)
    gains = run_net(net)
    chains, memory = [], {}
    for name, array in arrays.items():
        beamformer, ears = Mvdr(), CHAINS[name][1]
        tables = design(array, beamformer, LOOK, profile, ears)
        references = [array.ear(ear) for ear in ears]
        net.reset()
        chain = Chain(
            profile, array.mics, references, tables, net.centers, beamformer, net, aligned=True, ceiling=CEILING
        )
        out = chain.process(np.ascontiguousarray(x[:, : array.mics]))
        memory[name] = lib.ee_enhancer_size(chain.config)
        chains += c_chain(name, kernel_tables(tables), chain.config, out)
    numbers = {
        "ANALYSIS": profile.analysis, "SYNTHESIS": profile.synthesis, "HOP": profile.hop, "BINS": profile.bins,
        "BANDS": net.bands, "MICS": samples.shape[1], "FRAMES": len(samples), "STFT_HOPS": STFT_HOPS,
        "NET_HOPS": NET_HOPS, "NET_MEMORY": net.memory, "MEMORY": max(memory.values()),
    }  # fmt: skip
    parts = [
        f"/* golden.h: {model}, a second of sound and what becomes of it; by python -m edgeenhance.golden. */",
        '#ifndef GOLDEN_H\n#define GOLDEN_H\n\n#include "edgeenhance.h"\n',
        "enum {\n" + "".join(f"    GOLDEN_{name} = {value},\n" for name, value in numbers.items()) + "};\n",
        _CHAIN,
        c_array("uint32_t", "golden_program", words),
        c_array("int16_t", "golden_centers", net.centers),
        c_array("int16_t", "golden_input", samples),
        c_array("float", "golden_stft", signal),
        f"static const uint32_t golden_stft_hash = {hash_of(signal)}u;",
        c_array("float", "golden_spectrum", spectrum),
        f"static const uint32_t golden_spectrum_hash = {hash_of(spectrum)}u;",
        c_array("int16_t", "golden_gains", gains),
        f"static const uint32_t golden_gains_hash = {hash_of(gains.astype(np.float32) / 32768)}u;",
        *chains,
        "\n#endif\n",
    ]
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser("python -m edgeenhance.golden", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder, made if it is missing")
    parser.add_argument("--model", default="assist-s", metavar="NAME|FILE", help="default: assist-s")
    arguments = parser.parse_args()
    try:
        folder = Path(arguments.output)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / "golden.h") as temporary:
            temporary.write_text(c_header(arguments.model), encoding="ascii")
    except (EdgeEnhanceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(folder / "golden.h")
    return 0


if __name__ == "__main__":
    sys.exit(main())
