"""Dynamic mixing: every training item is a new scene of talkers, noises and a room, a function of (seed, index) alone.

    Mixing      ranges to draw from, the recipe's [mixing] table
    Mixtures    the data set: item(index) -> features, beam and target spectra
    batches     a loader over indices, in as many processes as wanted, always the same items

An item is mixed in the frequency domain: one transform per source, one product per response, one inverse transform per
microphone; augment.py holds what may happen to sources, microphones and mixture on the way. Beams are the device's:
superdirective, or MVDR adapting along the item as it will at run time.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from edgeenhance.beamform import Mvdr

from . import augment
from .adaptive import IdealMask, adapt
from .augment import Augmentation, Draws, Variation
from .bank import Bank, BankScene
from .corpus import SAMPLE_RATE, Corpus
from .features import Bands, spectra

_FRAME = 320  # samples, 20 ms: frames for the level of active speech


@dataclass(frozen=True)
class Mixing(Augmentation):
    """Ranges of the mixtures; pairs are (low, high). Further keys: those of Augmentation, all off.

    interferers : most point sources beside the target · kinds : shares of talker, noise and babble among them
    diffuse : share of items with diffuse noise · snr_db : low, most frequent, high · sensor_db : below active speech
    level_db : dBFS RMS of the mixture · gain_db : largest microphone gain error, uniform +-
    clean, noise_only : shares of items without noise, without speech · one_microphone : share of single-channel items
    adaptive : share of array items behind MVDR instead of superdirective · prior_weight : of that MVDR
    mask_power : of the ideal gains that drive it
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
    mask_power: tuple[float, float] = (1.0, 1.0)

    def without_augmentation(self) -> Mixing:
        """The same mixtures with every key of Augmentation at its default."""
        return replace(self, **_UNTOUCHED)

    def as_table(self) -> dict[str, Any]:
        """Plain values, without the keys of Augmentation that are at their defaults.

        Checkpoints written before an augmentation existed stay those of the same recipe.
        """
        return {key: value for key, value in asdict(self).items() if key not in _UNTOUCHED or value != _UNTOUCHED[key]}


_UNTOUCHED = {field.name: field.default for field in fields(Augmentation)}


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
        """features : (hops, 4 * bands) int16 · beam, target : (hops, bins) complex64, spectra of the item."""
        draws = Draws(self.seed, index)
        rng = draws.scene
        number = int(rng.integers(len(self.bank)))
        scene = self.bank.scene(number)
        mixture, early = self._mix(draws, scene)
        beams = self.bank.beams(number, scene, int(rng.integers(len(self.bank.look_errors))))
        if rng.random() < self.mixing.one_microphone:
            beams = None
        return self._observe(rng, scene, beams, mixture, early)

    def _observe(self, rng, scene, beams, mixture, early):
        """Spectra and features behind the beams; mixture : (mics, n) · early : (n,)."""
        profile = self.bands.profile
        target = spectra(early, profile)
        if beams is None:
            return self._item(spectra(mixture[scene.reference], profile), target)
        if rng.random() < self.mixing.adaptive:
            return self._adapted(rng, scene, beams, mixture, target)
        microphones = spectra(mixture, profile)  # (mics, hops, bins)
        beam = _apply(beams.weights, microphones)
        others = [self.bands.power(_apply(weights, microphones)) for weights in (beams.noise, beams.sum)]
        return self._item(beam, target, *others, self.bands.power(microphones).mean(0))

    def _adapted(self, rng, scene, beams, mixture, target):
        """Behind MVDR as the kernel runs it; what it does not show to a mask counts as silence."""
        mask = IdealMask(target.numpy(), self.bands, rng.uniform(*self.mixing.mask_power))
        microphones = np.ascontiguousarray(mixture.T.numpy(), np.float32)
        adapt(microphones, mask, beams, scene.reference, Mvdr(prior_weight=self.mixing.prior_weight))
        target = target * torch.from_numpy(mask.shown)[:, None]
        return {"features": torch.from_numpy(mask.features), "beam": torch.from_numpy(mask.beam), "target": target}

    def _item(self, beam: torch.Tensor, target: torch.Tensor, *others: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"features": self.bands.features(self.bands.power(beam), *others), "beam": beam, "target": target}

    def _mix(self, draws: Draws, scene: BankScene) -> tuple[torch.Tensor, torch.Tensor]:
        """The mixture at the microphones : (mics, n), and the target's early part : (n,), at one scale."""
        mixing, n, rng = self.mixing, self.samples, draws.scene
        shares = [1 - mixing.clean - mixing.noise_only, mixing.clean, mixing.noise_only]
        kind = rng.choice(["mix", "clean", "noise"], p=shares)
        room = _Room(scene, n)
        if mixing.phase_deg:
            room.mismatch(draws.of("phase_deg"), mixing.phase_deg)
        speech, early = room.target(self._target(draws, room))
        level = _active_power(early)
        noise = torch.zeros_like(speech) if kind == "clean" else self._noise(draws, scene, room)
        snr = rng.triangular(*mixing.snr_db)
        noise *= _gain(level * 10 ** (-snr / 10), noise[scene.reference].square().mean())
        if kind != "clean":
            noise = self._disturbed(draws, room, noise, level)
        noise += self._sensors(draws, noise.shape, level)
        if kind == "noise":
            speech, early = torch.zeros_like(speech), torch.zeros_like(early)
        speech, noise, early = self._calibrate(rng, scene, speech, noise, early)
        return self._recorded(draws, speech + noise), early

    def _talkers(self, draws: Draws, room: _Room) -> Variation | None:
        return room.variation(draws.of("speed"), self.mixing.speed, self.mixing.eq_db)

    def _noises(self, draws: Draws, room: _Room) -> Variation | None:
        return room.variation(draws.of("noise_speed"), self.mixing.noise_speed, self.mixing.noise_eq_db)

    def _target(self, draws: Draws, room: _Room) -> torch.Tensor:
        """Spectrum of the target talker, who may fall silent within the item; the room rings on."""
        variation = self._talkers(draws, room)
        dry = self.speech.draw(draws.scene, room.recorded(variation), pause=0.8)
        if draws.happens("target_pause", self.mixing.target_pause):
            item = len(dry) * room.n // (room.preroll + room.n)  # the recording's part that is heard
            dry = _with_pause(dry, augment.pause_gate(draws.of("target_pause"), item, self.mixing.pause))
        return room.spectrum(dry, variation)

    def _noise(self, draws: Draws, scene: BankScene, room: _Room) -> torch.Tensor:
        """Interferers and diffuse noise at the microphones : (mics, n), any level."""
        rng = draws.scene
        diffuse = scene.diffuse is not None and rng.random() < self.mixing.diffuse
        most = min(self.mixing.interferers, len(scene.rir) - 1)
        count = int(rng.integers(0 if diffuse else min(1, most), most + 1))
        parts = [room.point(1 + number, self._interferer(draws, room)) for number in range(count)]
        if diffuse or not parts:
            parts.append(self._diffuse(draws, scene, room))
        total = 0
        for part in parts:
            total = total + part * _gain(10 ** (rng.normal(0, self.mixing.spread_db) / 10), room.power(part))
        return room.microphones(total)

    def _interferer(self, draws: Draws, room: _Room) -> torch.Tensor:
        """Spectrum of one talker, noise or babble; the talkers of a babble vary as one."""
        rng = draws.scene
        kind = rng.choice(["talker", "noise", "babble"], p=self.mixing.kinds)
        if kind == "noise":
            variation = self._noises(draws, room)
            return room.spectrum(self.noise.draw(rng, room.recorded(variation)), variation)
        variation = self._talkers(draws, room)
        n, talkers = room.recorded(variation), 1 if kind == "talker" else int(rng.integers(3, 7))
        dry = np.sum([self.speech.draw(rng, n, pause=0.8) for _ in range(talkers)], axis=0)
        return room.spectrum(dry, variation)

    def _diffuse(self, draws: Draws, scene: BankScene, room: _Room) -> torch.Tensor:
        """Different stretches of one noise, or different talkers, from all the diffuse directions.

        A bank without diffuse responses gets one independent signal per microphone.
        """
        rng, sources = draws.scene, scene.array.mics if scene.diffuse is None else len(scene.diffuse)
        if scene.diffuse is not None and rng.random() < self.mixing.kinds[2]:
            variation = self._talkers(draws, room)
            n = room.recorded(variation)
            return room.diffuse(np.stack([self.speech.draw(rng, n, pause=0.3) for _ in range(sources)]), variation)
        variation = self._noises(draws, room)
        dry = self.noise.draw(rng, room.recorded(variation) * sources).reshape(sources, -1)
        return room.spectrum(dry, variation) if scene.diffuse is None else room.diffuse(dry, variation)

    def _disturbed(self, draws: Draws, room: _Room, noise: torch.Tensor, level: float) -> torch.Tensor:
        """Noise with what else there is at the microphones : (mics, n); level : power of active speech."""
        mixing = self.mixing
        if draws.happens("rumble", mixing.rumble):
            rng = draws.of("rumble")
            noise = noise + np.sqrt(level) * _amplitude(rng, mixing.rumble_db) * augment.rumble(rng, *noise.shape)
        if draws.happens("noise_pause", mixing.noise_pause):
            noise = noise * torch.from_numpy(augment.pause_gate(draws.of("noise_pause"), room.n, mixing.pause))
        if draws.happens("own_voice", mixing.own_voice):
            noise = noise + np.sqrt(level) * self._own_voice(draws.of("own_voice"), room)
        return noise

    def _own_voice(self, rng: np.random.Generator, room: _Room) -> torch.Tensor:
        """A burst of a talker near all microphones alike : (mics, n), over an active power of 1."""
        variation = room.variation(rng, self.mixing.speed, self.mixing.eq_db)
        voice = room.near(rng, room.spectrum(self.speech.draw(rng, room.recorded(variation)), variation))
        gain = _amplitude(rng, self.mixing.own_voice_db) * _gain(1.0, _active_power(voice[room.reference]))
        return voice * gain * torch.from_numpy(augment.burst_gate(rng, room.n, self.mixing.pause))

    def _sensors(self, draws: Draws, shape: tuple[int, int], level: float) -> torch.Tensor:
        """Sensor noise : (mics, n); level : power of active speech."""
        deviation = np.sqrt(level * 10 ** (-draws.scene.uniform(*self.mixing.sensor_db) / 10))
        noise = torch.from_numpy(draws.scene.standard_normal(shape, dtype=np.float32))
        if self.mixing.sensor_tilt_db != (0.0, 0.0):
            noise = augment.tilt(noise, draws.of("sensor_tilt_db").uniform(*self.mixing.sensor_tilt_db))
        return float(deviation) * noise

    def _recorded(self, draws: Draws, mixture: torch.Tensor) -> torch.Tensor:
        """The mixture as the microphones' converters yield it : (mics, n)."""
        if not draws.happens("clipping", self.mixing.clipping):
            return mixture
        return augment.clip(mixture, draws.of("clipping").uniform(*self.mixing.clipping_db))

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
        self.n, self.preroll, self.reference = n, scene.taps, scene.reference
        self._scene, self._length = scene, _fft_length(n + scene.taps)
        self._mismatch: torch.Tensor | None = None

    def mismatch(self, rng: np.random.Generator, phase_deg: float) -> None:
        """Draw phase errors of the microphones, for all that they hear from now on."""
        mics, bins = self._scene.array.mics, self._length // 2 + 1
        self._mismatch = augment.phase_mismatch(rng, phase_deg, mics, self.reference, bins)

    def variation(self, rng: np.random.Generator, speed: tuple[float, float], eq_db: float) -> Variation | None:
        """Draw how a source differs from its recording; None: not at all."""
        return Variation.draw(rng, speed, eq_db, self._length)

    def recorded(self, variation: Variation | None) -> int:
        """Samples of a recording that last for preroll and item."""
        n = self.preroll + self.n
        return n if variation is None else variation.recorded(n)

    def spectrum(self, x: np.ndarray, variation: Variation | None = None) -> torch.Tensor:
        """Spectrum of recordings or responses, varied : (..., n) -> (..., bins of the item)."""
        samples = torch.from_numpy(x)
        return torch.fft.rfft(samples, self._length) if variation is None else augment.vary(samples, variation)

    def _samples(self, spectrum: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft(spectrum, self._length)[..., self.preroll : self.preroll + self.n]

    def microphones(self, spectrum: torch.Tensor) -> torch.Tensor:
        """What the microphones make of the sound at them : (mics, bins of the item) -> (mics, n)."""
        return self._samples(spectrum if self._mismatch is None else spectrum * self._mismatch)

    def target(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The target at all microphones : (mics, n), and its direct + early part at the reference : (n,)."""
        responses = np.concatenate([self._scene.rir[0], _padded(self._scene.early, self._scene.rir.shape[-1])])
        images = source * self.spectrum(responses)
        if self._mismatch is not None:
            images[:-1] *= self._mismatch
        images = self._samples(images)
        return images[:-1], images[-1]

    def point(self, source: int, spectrum: torch.Tensor) -> torch.Tensor:
        """Spectrum of a point source at the microphones : (mics, bins of the item)."""
        return spectrum * self.spectrum(self._scene.rir[source])

    def diffuse(self, x: np.ndarray, variation: Variation | None) -> torch.Tensor:
        """Spectrum of one signal per diffuse direction, at the microphones."""
        return (self.spectrum(x, variation).unsqueeze(1) * self.spectrum(self._scene.diffuse)).sum(0)

    def near(self, rng: np.random.Generator, spectrum: torch.Tensor) -> torch.Tensor:
        """A mouth near all microphones, without the room : (mics, n)."""
        return self.microphones(spectrum * augment.near_field(rng, self._scene.array.mics, len(spectrum)))

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


def _with_pause(dry: np.ndarray, gate: np.ndarray) -> np.ndarray:
    """dry with its end gated : (n,); as it was, where less than a tenth of its energy would be left."""
    out = dry.copy()
    out[-len(gate) :] *= gate
    return out if np.sum(np.square(out)) >= 0.1 * np.sum(np.square(dry)) else dry


def _amplitude(rng: np.random.Generator, range_db: tuple[float, float]) -> float:
    return 10 ** (rng.uniform(*range_db) / 20)


def _gain(power: float, measured: torch.Tensor | float) -> float:
    """Amplitude factor that brings measured power to `power`; 0 for silence stays silence."""
    return float(np.sqrt(power / max(float(measured), 1e-20)))


def batches(data: Mixtures, items: Sequence[int], batch: int, workers: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of the items, in order, made in `workers` processes (0: in this one)."""
    loader = DataLoader(
        data,
        batch_size=batch,
        sampler=items,
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
