"""The native backend on another processor against this one. Run by `make check`, here and in emulated userlands.

userland.py write FOLDER      a clip, tables and results, noisy.wav for the command line
userland.py compare FOLDER    the same on the other processor: with the same tables the same bits; with tables that its
                              own NumPy designs, in double precision, results within MOST_DB
"""

import platform
import sys
import wave
from dataclasses import asdict
from pathlib import Path
from unittest.mock import patch

import numpy as np

from edgeenhance import Enhancer, MicArray
from edgeenhance.beamform import BeamTables
from edgeenhance.golden import sound
from edgeenhance.profiles import PROFILES

CASES = {
    "bte-2x2, both ears, assist-m": {"array": "bte-2x2", "ears": "both"},
    "bte-2x2, both ears, assist-m:int8": {"array": "bte-2x2", "ears": "both", "model": "assist-m:int8"},
    "bte-1x2, assist-s": {"array": "bte-1x2", "model": "assist-s"},
    "respeaker-4, comm-m": {"array": "respeaker-4", "profile": "comm"},
    "mono, assist-m at 48 kHz": {"array": "mono", "sample_rate": 48000},
}
MOST_DB = -90.0


def clip(seconds: int) -> np.ndarray:
    """(n, 4) int16"""
    return np.tile(sound(MicArray.load("bte-2x2"), PROFILES["assist"]), (seconds, 1))


def enhanced(x: np.ndarray, settings: dict, tables: BeamTables | None = None) -> tuple[np.ndarray, BeamTables]:
    """Output and the tables it was made with: given ones, or the enhancer's own design."""
    enhancer = Enhancer(**settings) if tables is None else _with_tables(settings, tables)
    own = enhancer._tables()
    mics = enhancer.array.mics
    return enhancer.process(np.ascontiguousarray(x[:, :mics], np.float32) / 32768), own


def _with_tables(settings: dict, tables: BeamTables) -> Enhancer:
    with patch("edgeenhance.enhancer.design", lambda *_: tables):
        return Enhancer(**settings)


def write(folder: Path) -> None:
    x = clip(2)
    kept = {"x": x}
    for name, settings in CASES.items():
        kept[f"{name}/out"], tables = enhanced(x, settings)
        kept |= {f"{name}/{key}": table for key, table in asdict(tables).items() if table is not None}
    np.savez(folder / "expected.npz", **kept)
    with wave.open(str(folder / "noisy.wav"), "wb") as file:
        file.setnchannels(x.shape[1]), file.setsampwidth(2), file.setframerate(16000)
        file.writeframes(x.tobytes())


def tables_of(kept: dict[str, np.ndarray], name: str) -> BeamTables:
    found = {field: kept.get(f"{name}/{field}") for field in BeamTables.__dataclass_fields__}
    return BeamTables(**found | {"reference": int(found["reference"])})


def decibels(got: np.ndarray, expected: np.ndarray) -> float:
    power = np.mean((got.astype(float) - expected) ** 2) / np.mean(expected.astype(float) ** 2)
    return 10 * np.log10(power + 1e-30)


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())


def compare(folder: Path) -> bool:
    kept, ok = dict(np.load(folder / "expected.npz")), True
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    for name, settings in CASES.items():
        expected = kept[f"{name}/out"]
        assert np.abs(expected).max() > 0.01
        same, _ = enhanced(kept["x"], settings, tables_of(kept, name))
        own, _ = enhanced(kept["x"], settings)
        equal, apart = same.tobytes() == expected.tobytes(), decibels(own, expected)
        ok &= equal and apart < MOST_DB
        print(f"{name}: {expected.shape[0]} frames, bits {'equal' if equal else 'DIFFER'}; own tables {apart:.1f} dB")
    return ok


if __name__ == "__main__":
    command, folder = sys.argv[1], Path(sys.argv[2])
    sys.exit(write(folder) if command == "write" else not compare(folder))
