"""The native backend on another processor against this one. Run by `make check`, here and in emulated userlands.

userland.py write FOLDER      a clip, tables and results, and noisy.wav for the command line
userland.py compare FOLDER    the same on the other processor: with the same tables the same bits, and with tables that
                              its own NumPy designs, in double precision, results within MOST_DB
"""

import platform
import sys
import wave
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from edgeenhance import Enhancer, MicArray
from edgeenhance.beamform import BeamTables
from edgeenhance.golden import sound
from edgeenhance.profiles import PROFILES

CASES: dict[str, dict[str, Any]] = {
    "bte-2x2, both ears, assist-m": {"array": "bte-2x2", "ears": "both"},
    "bte-2x2, both ears, assist-m:int8": {"array": "bte-2x2", "ears": "both", "model": "assist-m:int8"},
    "bte-1x2, assist-s": {"array": "bte-1x2", "model": "assist-s"},
    "respeaker-4, comm-m": {"array": "respeaker-4", "profile": "comm"},
    "mono, assist-m at 48 kHz": {"array": "mono", "sample_rate": 48000},
}
SECONDS, MOST_DB = 2, -90.0


def run(enhancer: Enhancer, clip: np.ndarray) -> np.ndarray:
    return enhancer.process(clip[:, : enhancer.array.mics].astype(np.float32) / 32768)


def write(folder: Path) -> None:
    clip = np.tile(sound(MicArray.load("bte-2x2"), PROFILES["assist"]), (SECONDS, 1))
    kept = {"clip": clip}
    for name, settings in CASES.items():
        enhancer = Enhancer(**settings)
        tables = asdict(enhancer._tables())
        kept |= {f"{name}/{key}": table for key, table in tables.items() if table is not None}
        kept[f"{name}/out"] = run(enhancer, clip)
        assert np.abs(kept[f"{name}/out"]).max() > 0.01
    np.savez(folder / "expected.npz", **kept)
    with wave.open(str(folder / "noisy.wav"), "wb") as file:
        file.setnchannels(clip.shape[1]), file.setsampwidth(2), file.setframerate(len(clip) // SECONDS)
        file.writeframes(clip.tobytes())


def with_tables(settings: dict[str, Any], kept: dict[str, np.ndarray], name: str) -> Enhancer:
    """An enhancer that does not design its tables, but has those of the other machine."""
    found = {field.name: kept.get(f"{name}/{field.name}") for field in fields(BeamTables)}
    with patch("edgeenhance.enhancer.design", return_value=BeamTables(**found)):
        return Enhancer(**settings)


def decibels(got: np.ndarray, expected: np.ndarray) -> float:
    return 10 * np.log10(np.mean((got - expected) ** 2, dtype=float) / np.mean(expected**2, dtype=float))


def compare(folder: Path) -> bool:
    kept, ok = dict(np.load(folder / "expected.npz")), True
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    for name, settings in CASES.items():
        expected = kept[f"{name}/out"]
        given, own = run(with_tables(settings, kept, name), kept["clip"]), run(Enhancer(**settings), kept["clip"])
        same, same_own = given.tobytes() == expected.tobytes(), own.tobytes() == expected.tobytes()
        apart = -np.inf if same_own else decibels(own, expected)
        ok &= same and apart < MOST_DB
        bits, rest = "equal" if same else "DIFFER", "equal" if same_own else f"{apart:.1f} dB apart"
        print(f"{name}: {len(expected)} samples, bits {bits}; with tables of its own {rest}")
    return ok


if __name__ == "__main__":
    command, where = sys.argv[1], Path(sys.argv[2])
    sys.exit(write(where) if command == "write" else not compare(where))
