"""Impulse-response banks as training reads them: scenes from files, and the beams that go with them.

A bank is a folder of scene_*.npz beside a bank.toml, written by `edgeenhance simulate --bank`. Designing beams takes
longer than mixing, so each scene's beams, for some look directions around the true one, are designed once and kept.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeenhance._files import atomic_path
from edgeenhance._toml import load_toml
from edgeenhance.arrays import MicArray
from edgeenhance.beamform import BeamTables, distortionless, noise_reference, prior, relative_steering, turn
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.profiles import Profile

FORMAT = 1
_SPECTRA = 4  # tables of (mics, bins) before the rows of the coherence, see `design`


@dataclass(frozen=True)
class BankScene:
    """One scene's responses, scaled so that the target's direct + early part at the reference has energy 1.

    rir : (sources, mics, taps) float32, source 0 is the target · early : (taps,) target, direct + 50 ms, reference
    diffuse : (directions, mics, taps) or None · reference : microphone · look : degrees, true direction of the target
    """

    rir: np.ndarray
    early: np.ndarray
    diffuse: np.ndarray | None
    reference: int
    look: float
    array: MicArray

    @property
    def taps(self) -> int:
        """Length of the longest response."""
        diffuse = 0 if self.diffuse is None else self.diffuse.shape[-1]
        return max(self.rir.shape[-1], diffuse)


@dataclass(frozen=True)
class SceneBeams:
    """Beams of one scene steered to `look` degrees; None where there is one microphone.

    weights, noise, steering, turn : (mics, bins) complex64 · prior : (bins, mics, mics) complex64
    """

    look: float
    weights: np.ndarray
    noise: np.ndarray
    steering: np.ndarray
    turn: np.ndarray
    prior: np.ndarray

    @property
    def sum(self) -> np.ndarray:
        """The delay-and-sum beam d / (d^H d) : (mics, bins) complex64."""
        return self.steering / np.sum(np.abs(self.steering) ** 2, axis=0)

    def tables(self, reference: int) -> BeamTables:
        """The same as `beamform.design` yields them, for one ear."""
        arrays = (self.weights.T, self.noise.T, self.sum.T, self.steering.T)
        return BeamTables(*arrays, ear=None, turn=self.turn.T, prior=self.prior, reference=reference)


class Bank:
    """The scenes of a bank folder; the list is fixed when the bank is opened.

    beam_cache : folder that keeps designed beams · looks : look directions per scene, the first without error
    look_error : degrees, the others lie evenly within +-look_error
    """

    def __init__(
        self, folder: Path, profile: Profile, beam_cache: Path, looks: int = 4, look_error: float = 10.0
    ) -> None:
        self.folder, self.profile = Path(folder), profile
        table = load_toml(self.folder / "bank.toml")
        if (table.get("format"), table.get("sample_rate")) != (FORMAT, profile.sample_rate):
            raise EdgeEnhanceError(
                f"{self.folder} is not a bank of format {FORMAT} at {profile.sample_rate} Hz; "
                "make one with: edgeenhance simulate SCENE.toml -o DIR --bank N"
            )
        self.paths = sorted(self.folder.glob("scene_*.npz"))
        if not self.paths:
            raise EdgeEnhanceError(
                f"no scenes in {self.folder}; fill it with: edgeenhance simulate SCENE.toml -o DIR --bank N"
            )
        self.look_errors = np.concatenate([[0.0], np.linspace(-look_error, look_error, max(looks - 1, 0))])[:looks]
        key = f"{self.folder.resolve()} {profile} {self.look_errors.tolist()} {_SPECTRA}"
        self._cache = Path(beam_cache) / f"beams-{hashlib.sha256(key.encode()).hexdigest()[:16]}"

    def __len__(self) -> int:
        return len(self.paths)

    def scene(self, number: int) -> BankScene:
        """Read a scene; EdgeEnhanceError where the file is damaged."""
        path = self.paths[number]
        try:
            with np.load(path, allow_pickle=False) as file:
                return BankScene(
                    rir=file["rir"].astype(np.float32),
                    early=file["early"].astype(np.float32),
                    diffuse=file["diffuse"].astype(np.float32) if "diffuse" in file else None,
                    reference=int(file["reference"]),
                    look=float(file["look_deg"]),
                    array=MicArray.from_toml_text(str(file["array_toml"]), path.name),
                )
        except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise EdgeEnhanceError(f"{path} is not a scene of this bank: {error}; simulate it again") from error

    def beams(self, number: int, scene: BankScene, variant: int) -> SceneBeams | None:
        """The scene's beams at look direction `variant`, designed on first use; None with one microphone."""
        if scene.array.mics == 1:
            return None
        path = self._cache / f"{self.paths[number].stem}-{_fingerprint(scene):08x}.npy"
        if not path.exists():
            self._cache.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                np.save(temporary, design(scene, self.look_errors, self.profile))
        tables = np.array(np.load(path, mmap_mode="r")[variant])
        coherence = np.ascontiguousarray(
            np.moveaxis(tables[_SPECTRA:], 2, 0)
        )  # (row, column, bins) -> (bins, row, column)
        return SceneBeams(scene.look + self.look_errors[variant], *tables[:_SPECTRA], coherence)


def _fingerprint(scene: BankScene) -> int:
    """Of all that a scene's beams depend on: a bank that was simulated anew gets new beams."""
    array = scene.array
    text = f"{array.mount} {array.head_radius} {scene.reference} {scene.look}".encode()
    return zlib.crc32(text + array.positions.tobytes())


def design(scene: BankScene, look_errors: np.ndarray, profile: Profile) -> np.ndarray:
    """A scene's tables for each look error (degrees) : (looks, 4 + mics, mics, bins) complex64.

    Rows: superdirective weights, noise reference, steering vector, turn, then those of the loaded diffuse coherence.
    """
    looks = [_design_look(scene, scene.look + error, profile.freqs) for error in look_errors]
    return np.stack(looks).astype(np.complex64)


def _design_look(scene: BankScene, look: float, freqs: np.ndarray) -> np.ndarray:
    array, reference = scene.array, scene.reference
    steering = relative_steering(array, look, freqs, reference)
    coherence = prior(array, look, freqs, reference)
    rows = [
        distortionless(coherence, steering), noise_reference(array, look, freqs, reference), steering,
        turn(array, look, freqs, reference),
    ]  # fmt: skip
    return np.concatenate([[row.T for row in rows], np.moveaxis(coherence, 0, 2)])
