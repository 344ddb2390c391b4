"""Dynamic mixing: every training item is a new scene of talkers, noises and a room, a function of (seed, index) alone.

    Mixing      ranges to draw from, the recipe's [mixing] table
    Mixtures    the data set: item(index) -> features, beam and target spectra
    batches     a loader over indices, in as many processes as wanted, always the same items

An item is mixed in the frequency domain: one transform per source, one product per response, one inverse transform per
microphone. Beams are the device's: superdirective, or MVDR adapting along the item as it will at run time.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from edgeenhance.beamform import Mvdr

from .adaptive import adaptive_beam
from .bank import Bank, BankScene
from .corpus import SAMPLE_RATE, Corpus
from .features import Bands, spectra

_FRAME = 320  # samples, 20 ms: frames for the level of active speech


@dataclass(frozen=True)
class Mixing:
    """Ranges of the mixtures; pairs are (low, high).

    interferers : most point sources beside the target · kinds : shares of talker, noise and babble among them
    diffuse : share of items with diffuse noise · snr_db : low, most frequent, high · sensor_db : below active speech
    level_db : dBFS RMS of the mixture · gain_db : largest microphone gain error, uniform +-
    clean, noise_only : shares of items without noise, without speech · one_microphone : share of single-channel items
    adaptive : share of array items behind MVDR instead of superdirective · prior_weight : of that MVDR
    """

    seconds: float = 3.0
    interferers: int = 3
    kinds: tuple[float, float, float] = (0.45, 0.45, 0.1)
    diffuse: float = 0.6
    snr_db: tuple[float, float, float] = (-8.0, 0.0, 20.0)
    spread_db: float = 4.0
    sensor_db: tuple[float, float] = (30.0, 60.0)
    level_db: tuple[float, float] = (-60.0, -10.0)
    gain_db: float = 1.5
    clean: float = 0.05
    noise_only: float = 0.05
    one_microphone: float = 0.15
    adaptive: float = 0.5
    prior_weight: float = Mvdr.prior_weight


@dataclass
class Mixtures(Dataset):
    """Items by index. speech, noise : corpora of one split · bank : scenes · bands : the model's bands."""

    mixing: Mixing
    speech: Corpus
    noise: Corpus
    bank: Bank
    bands: Bands
    seed: int
    length: int = 1 << 40

    def __len__(self) -> int:
        return self.length

    @property
    def samples(self) -> int:
        """Samples per item, whole hops."""
        hop = self.bands.profile.hop
        return int(self.mixing.seconds * SAMPLE_RATE) // hop * hop

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """features : (hops, 2 * bands) int16 · beam, target : (hops, bins) complex64, spectra of the item."""
        rng = np.random.default_rng([self.seed, index])
        number = int(rng.integers(len(self.bank)))
        scene = self.bank.scene(number)
        item = self._mix(rng, scene)
        beams = self.bank.beams(number, scene, int(rng.integers(len(self.bank.look_errors))))
        if rng.random() < self.mixing.one_microphone:
            beams = None
        return self._observe(rng, scene, beams, *item)

    def _observe(self, rng, scene, beams, speech, noise, early):
        """Spectra and features behind the beams; speech, noise : (mics, n) · early : (n,)."""
        profile = self.bands.profile
        target = spectra(early, profile)
        if beams is None:
            beam = spectra(speech[scene.reference] + noise[scene.reference], profile)
            return self._item(beam, None, target)
        microphones = spectra(speech + noise, profile)  # (mics, hops, bins)
        beam = _apply(beams.weights, microphones)
        if rng.random() < self.mixing.adaptive:
            mvdr = Mvdr(prior_weight=self.mixing.prior_weight)
            beam = adaptive_beam(microphones, target, beam, beams, self.bands, mvdr)
        return self._item(beam, _apply(beams.noise, microphones), target)

    def _item(self, beam: torch.Tensor, noise: torch.Tensor | None, target: torch.Tensor) -> dict[str, torch.Tensor]:
        reference = None if noise is None else self.bands.power(noise)
        return {"features": self.bands.features(self.bands.power(beam), reference), "beam": beam, "target": target}

    def _mix(self, rng: np.random.Generator, scene: BankScene) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Speech and noise at the microphones : (mics, n) each, and the target's early part : (n,), all scaled."""
        mixing, n = self.mixing, self.samples
        shares = [1 - mixing.clean - mixing.noise_only, mixing.clean, mixing.noise_only]
        kind = rng.choice(["mix", "clean", "noise"], p=shares)
        room = _Room(scene, n)
        speech, early = room.target(self.speech.draw(rng, room.preroll + n, pause=0.8))
        level = _active_power(early)
        noise = torch.zeros_like(speech) if kind == "clean" else self._noise(rng, scene, room)
        snr = rng.triangular(*mixing.snr_db)
        noise *= _gain(level * 10 ** (-snr / 10), noise[scene.reference].square().mean())
        sensor = np.sqrt(level * 10 ** (-rng.uniform(*mixing.sensor_db) / 10))
        noise += float(sensor) * torch.from_numpy(rng.standard_normal(noise.shape, dtype=np.float32))
        if kind == "noise":
            speech, early = torch.zeros_like(speech), torch.zeros_like(early)
        return self._calibrate(rng, scene, speech, noise, early)

    def _noise(self, rng: np.random.Generator, scene: BankScene, room: _Room) -> torch.Tensor:
        """Interferers and diffuse noise at the microphones : (mics, n), any level."""
        diffuse = scene.diffuse is not None and rng.random() < self.mixing.diffuse
        most = min(self.mixing.interferers, len(scene.rir) - 1)
        count = int(rng.integers(0 if diffuse else min(1, most), most + 1))
        parts = [room.point(1 + number, self._interferer(rng, room)) for number in range(count)]
        if diffuse or not parts:
            parts.append(self._diffuse(rng, scene, room))
        total = 0
        for part in parts:
            total = total + part * _gain(10 ** (rng.normal(0, self.mixing.spread_db) / 10), room.power(part))
        return room.samples(total)

    def _interferer(self, rng: np.random.Generator, room: _Room) -> np.ndarray:
        n = room.preroll + room.n
        kind = rng.choice(["talker", "noise", "babble"], p=self.mixing.kinds)
        if kind == "noise":
            return self.noise.draw(rng, n)
        talkers = 1 if kind == "talker" else int(rng.integers(3, 7))
        return np.sum([self.speech.draw(rng, n, pause=0.8) for _ in range(talkers)], axis=0)

    def _diffuse(self, rng: np.random.Generator, scene: BankScene, room: _Room) -> torch.Tensor:
        """Different stretches of one noise, or different talkers, from all the diffuse directions."""
        n = room.preroll + room.n
        if scene.diffuse is None:
            return room.sensor_field(self.noise.draw(rng, n * scene.array.mics).reshape(scene.array.mics, n))
        directions = len(scene.diffuse)
        if rng.random() < self.mixing.kinds[2]:
            return room.diffuse(np.stack([self.speech.draw(rng, n, pause=0.3) for _ in range(directions)]))
        return room.diffuse(self.noise.draw(rng, n * directions).reshape(directions, n))

    def _calibrate(self, rng, scene, speech, noise, early):
        """Microphone gain errors relative to the reference, and a random input level."""
        errors = rng.uniform(-self.mixing.gain_db, self.mixing.gain_db, len(speech))
        errors[scene.reference] = 0.0
        gains = torch.from_numpy(10 ** (errors / 20)).to(torch.float32)[:, None]
        total = (speech + noise)[scene.reference].square().mean()
        scale = _gain(10 ** (rng.uniform(*self.mixing.level_db) / 10), total)
        return speech * gains * scale, noise * gains * scale, early * scale


class _Room:
    """Convolution with one scene's responses, in the frequency domain.

    n : samples out. Sources come with `preroll` samples before, so that the room is filled when the item begins.
    """

    def __init__(self, scene: BankScene, n: int) -> None:
        self.n, self.preroll = n, scene.taps
        self._scene, self._length = scene, _fft_length(n + scene.taps)

    def _spectrum(self, x: np.ndarray) -> torch.Tensor:
        return torch.fft.rfft(torch.from_numpy(x), self._length)

    def samples(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Back to time : (..., n)."""
        return torch.fft.irfft(spectrum, self._length)[..., self.preroll : self.preroll + self.n]

    def target(self, x: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The target at all microphones : (mics, n), and its direct + early part at the reference : (n,)."""
        source = self._spectrum(x)
        responses = np.concatenate([self._scene.rir[0], _padded(self._scene.early, self._scene.rir.shape[-1])])
        images = self.samples(source * self._spectrum(responses))
        return images[:-1], images[-1]

    def point(self, source: int, x: np.ndarray) -> torch.Tensor:
        """Spectrum of a point source at the microphones : (mics, bins of the item)."""
        return self._spectrum(x) * self._spectrum(self._scene.rir[source])

    def diffuse(self, x: np.ndarray) -> torch.Tensor:
        """Spectrum of one signal per diffuse direction, at the microphones."""
        return (self._spectrum(x).unsqueeze(1) * self._spectrum(self._scene.diffuse)).sum(0)

    def sensor_field(self, x: np.ndarray) -> torch.Tensor:
        """One independent signal per microphone: what is left where a bank has no diffuse responses."""
        return self._spectrum(x)

    def power(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Mean power at the reference microphone."""
        reference = spectrum[self._scene.reference]
        return (reference.real.square() + reference.imag.square()).sum() * (2 / self._length**2)


def _apply(weights: np.ndarray, microphones: torch.Tensor) -> torch.Tensor:
    """y = w^H x : (hops, bins). weights : (mics, bins) · microphones : (mics, hops, bins)."""
    return (torch.from_numpy(weights.conj()).unsqueeze(1) * microphones).sum(0)


def _padded(x: np.ndarray, taps: int) -> np.ndarray:
    return np.pad(x[:taps], (0, max(0, taps - len(x))))[None]


def _fft_length(n: int) -> int:
    """The next length with small factors: 8, 9, 10, 12, 14 or 15 times a power of two."""
    power = 1
    while 15 * power < n:
        power *= 2
    return next(factor * power for factor in (8, 9, 10, 12, 14, 15) if factor * power >= n)


def _active_power(x: torch.Tensor) -> float:
    """Mean power of the 20 ms frames within 20 dB of the loudest."""
    frames = x[: len(x) // _FRAME * _FRAME].reshape(-1, _FRAME).square().mean(1)
    return float(frames[frames >= 0.01 * frames.max()].mean())


def _gain(power: float, measured: torch.Tensor) -> float:
    """Amplitude factor that brings measured power to `power`; 0 for silence stays silence."""
    return float(np.sqrt(power / max(float(measured), 1e-20)))


def batches(data: Mixtures, first: int, last: int, batch: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of items first..last-1, in order, made in `workers` processes (0: in this one)."""
    loader = DataLoader(
        data,
        batch_size=batch,
        sampler=range(first, last),
        num_workers=workers,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=3 if workers else None,
    )
    return iter(loader)


def _start_worker(_: int) -> None:
    """One thread per process; Ctrl-C is for the parent, which ends the workers when it has saved."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
