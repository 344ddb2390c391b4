"""Talkers and noises out of nothing, for scenes without recordings: seeded, so that a scene stays what it is.

`speech` is spoken by espeak-ng where it is installed, and otherwise by a small source-filter synthesizer: pulses and
noise through moving formants, in syllables, words and phrases. It says nothing, but has the pitch, the spectrum, the
pauses and the modulation by which enhancers and quality measures know speech. `noise` makes stationary noises and
babble of such talkers.

Formants: average adult values after G. E. Peterson and H. L. Barney, JASA 24 (1952).
"""

from __future__ import annotations

import io
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt, tf2sos

from .._files import atomic_path
from ..files import writing
from .room import SAMPLE_RATE

LEVEL_DBFS = -26.0  # of everything made here, RMS
NOISE_KINDS = ("white", "pink", "speech-shaped", "babble")

_BLOCK_S = 0.005  # formants stand still for so long
_HIGH_FORMANTS_HZ = (3600.0, 4700.0, 6200.0)  # the same for every sound
_BANDWIDTHS_HZ = (70.0, 90.0, 130.0, 200.0, 300.0, 500.0)
_VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
)
_FRICATIVES_HZ = ((4000, 7500), (2200, 6000), (1500, 7000), (3000, 7800))
_SENTENCES = (
    "The ferry leaves at a quarter past nine from the northern pier.",
    "Could you pass me the blue folder that is lying on the shelf?",
    "We walked along the river until the path ended at an old mill.",
    "My neighbour grows tomatoes and beans behind the garage.",
    "Nobody noticed that the clock in the hall had stopped.",
    "Please remind me to buy stamps before the shop closes.",
    "The children built a tower of boxes that almost reached the ceiling.",
    "He fixed the squeaking door with a single drop of oil.",
    "A thin layer of ice covered the puddles this morning.",
    "She keeps her grandfather's letters in a wooden chest.",
    "The last train was so crowded that we had to stand all the way.",
    "Three of the windows face the garden, the others the street.",
    "It takes an hour to bake the bread and a minute to eat it.",
    "They have painted the kitchen yellow, which makes it look bigger.",
    "The weather report promises sunshine and a light wind from the west.",
    "I would rather take the stairs than wait for the lift again.",
)
_VOICES = ("en-us+m1", "en-us+f2", "en-gb+m3", "en-us+f4", "en-gb+m7", "en-gb+f1", "en-us+m4", "en-gb+f3")


def speech(seconds: float, seed: int, sample_rate: int = SAMPLE_RATE, espeak: bool | None = None) -> np.ndarray:
    """A talker: (n,) float32 at -26 dBFS RMS, n = seconds x sample_rate.

    seed : voice, words, melody · espeak : True or False choose the synthesizer; None takes espeak-ng if there is one.
    """
    length = _length(seconds, sample_rate)
    if espeak or (espeak is None and shutil.which("espeak-ng")):
        sound = _espeak(length, np.random.default_rng([seed, 1]), sample_rate)
    else:
        sound = _own_talker(length, np.random.default_rng([seed, 2]), sample_rate)
    return _leveled(sound)


def noise(kind: str, seconds: float, seed: int, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A noise: (n,) float32 at -26 dBFS RMS. kind : one of NOISE_KINDS, else ValueError."""
    length = _length(seconds, sample_rate)
    rng = np.random.default_rng([seed, 3])
    if kind == "babble":
        talkers = [_own_talker(length, rng, sample_rate) for _ in range(8)]
        return _leveled(sum(talker / np.sqrt(np.mean(talker**2)) for talker in talkers))
    if kind not in _SPECTRA:
        raise ValueError(f"unknown noise {kind!r}; choose from {', '.join(NOISE_KINDS)}")
    freqs = np.maximum(np.fft.rfftfreq(length, 1 / sample_rate), 20.0)
    return _leveled(np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * _SPECTRA[kind](freqs), length))


def write_recordings(folder: Path, talkers: int, seconds: float) -> int:
    """Talkers and noises as FLAC files in folder/speech/talkers and folder/noise/noises; returns how many.

    Names begin with the talker's number or the noise's kind, and a hyphen: what a recipe's `group` finds.
    """
    sounds = {f"speech/talkers/{number:02d}-0": partial(speech, seconds, number) for number in range(talkers)}
    sounds |= {f"noise/noises/{kind}-{n}": partial(noise, kind, seconds, n) for kind in NOISE_KINDS for n in range(2)}
    for name, make in sounds.items():
        path = folder / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, writing(temporary, SAMPLE_RATE, 1, "FLAC") as write:
            write(make())
    return len(sounds)


def _speech_spectrum(freqs: np.ndarray) -> np.ndarray:
    """Long-term spectrum of speech: rises to 120 Hz, flat to 500 Hz, then falls by 9 dB per octave."""
    return np.minimum(1, (freqs / 120) ** 2) * np.minimum(1, (500 / freqs) ** 1.5)


_SPECTRA = {"white": np.ones_like, "pink": lambda freqs: freqs**-0.5, "speech-shaped": _speech_spectrum}


def _length(seconds: float, sample_rate: int) -> int:
    if not seconds > 0:
        raise ValueError(f"seconds must be above 0, got {seconds}")
    return max(2, int(round(seconds * sample_rate)))


def _leveled(sound: np.ndarray) -> np.ndarray:
    return (sound * (10 ** (LEVEL_DBFS / 20) / np.sqrt(np.mean(sound**2) + 1e-20))).astype(np.float32)


def _espeak(length: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Sentences by one of espeak-ng's voices."""
    voice, speed, pitch = rng.choice(_VOICES), int(rng.integers(140, 180)), int(rng.integers(35, 65))
    sentences = rng.permutation(_SENTENCES)
    sound = np.zeros(0)
    while len(sound) < length:
        text = sentences[0]
        sentences = np.roll(sentences, -1)
        pause = np.zeros(int(rng.uniform(0.15, 0.4) * sample_rate))
        sound = np.concatenate([sound, _espeak_sentence(text, voice, speed, pitch, sample_rate), pause])
    return sound[:length]


def _espeak_sentence(text: str, voice: str, speed: int, pitch: int, sample_rate: int) -> np.ndarray:
    import soundfile
    import soxr

    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    sound, rate = soundfile.read(io.BytesIO(wav))
    sound = sound[np.flatnonzero(np.abs(sound) > 1e-3)[0] :]
    return soxr.resample(sound, rate, sample_rate)


def _own_talker(length: int, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Phrases of the small synthesizer."""
    voice = {"pitch": rng.choice([115.0, 205.0]) * rng.uniform(0.85, 1.15), "size": rng.uniform(0.95, 1.18)}
    sound, total = [], 0
    while total < length:
        phrase = _phrase(rng, voice, sample_rate)
        sound += [phrase, np.zeros(int(rng.uniform(0.12, 0.4) * sample_rate))]
        total += len(phrase) + len(sound[-1])
    return np.concatenate(sound)[:length]


def _phrase(rng: np.random.Generator, voice: dict[str, float], sample_rate: int) -> np.ndarray:
    """5 to 12 syllables on a falling melody, the vowels gliding into each other."""
    plan = [_syllable(rng) for _ in range(int(rng.integers(5, 13)))]
    plan.append(plan[-1][-1:] * np.array([0, 0, 1, 1, 1, 1, 1]) + np.zeros((3, 1)))  # the voice fades out
    blocks = np.concatenate(plan)  # (blocks, 7): voicing, breath, low and high edge of the breath, F1, F2, F3
    blocks[:, 4:] = _smooth(blocks[:, 4:], 7) * voice["size"]
    blocks[:, :2] = _smooth(blocks[:, :2], 3)
    size = int(_BLOCK_S * sample_rate)
    melody = voice["pitch"] * np.linspace(1.15, 0.8, len(blocks))
    melody *= 1 + 0.08 * np.sin(2 * np.pi * np.arange(len(blocks)) * _BLOCK_S * rng.uniform(0.8, 2) + rng.uniform(0, 6))
    melody, voicing, hissing = (_per_sample(values, size) for values in (melody, blocks[:, 0], blocks[:, 1]))
    breath = rng.standard_normal(len(melody))
    source = _pulses(melody, rng, sample_rate) + 0.03 * breath
    vowels = _formants(source * voicing, blocks[:, 4:], size, sample_rate)
    return vowels + _hiss(breath * hissing, blocks[:, 2:4], size, sample_rate)


def _syllable(rng: np.random.Generator) -> np.ndarray:
    """Control blocks of one syllable: onset consonant, vowel, now and then a pause after it."""
    vowel = np.array(_VOWELS_HZ[int(rng.integers(len(_VOWELS_HZ)))], dtype=float)
    low, high = _FRICATIVES_HZ[int(rng.integers(len(_FRICATIVES_HZ)))]
    loud = rng.uniform(0.5, 1.0)

    def blocks(seconds: float, voicing: float, breath: float) -> np.ndarray:
        row = np.concatenate([[voicing, breath, low, high], vowel])
        return np.repeat(row[None], max(1, int(seconds / _BLOCK_S)), axis=0)

    onset = {
        "fricative": [blocks(rng.uniform(0.06, 0.12), 0, 0.5 * loud)],
        "plosive": [blocks(rng.uniform(0.03, 0.06), 0, 0), blocks(0.012, 0, 0.6 * loud)],
        "sonorant": [blocks(rng.uniform(0.04, 0.07), 0.25 * loud, 0)],
        "none": [],
    }[str(rng.choice(["fricative", "plosive", "sonorant", "none"], p=[0.3, 0.35, 0.25, 0.1]))]
    pause = [blocks(rng.uniform(0.02, 0.08), 0, 0)] if rng.random() < 0.3 else []
    return np.concatenate([*onset, blocks(rng.uniform(0.09, 0.2), loud, 0), *pause])


def _smooth(rows: np.ndarray, width: int) -> np.ndarray:
    """Moving average of (blocks, n) over `width` blocks, ends held."""
    padded = np.pad(rows, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, np.ones(width) / width, "valid") for column in padded.T], axis=1)


def _per_sample(values: np.ndarray, size: int) -> np.ndarray:
    """Values of blocks (blocks,) -> (blocks * size,), gliding from block to block."""
    return np.interp(np.arange(len(values) * size) / size, np.arange(len(values)), values)


def _pulses(pitch: np.ndarray, rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Glottal pulses at a pitch (n,) Hz with a little jitter: falls by 6 to 12 dB per octave."""
    jitter = 1 + 0.02 * np.repeat(rng.standard_normal(len(pitch) // 160 + 1), 160)[: len(pitch)]
    phase = np.cumsum(pitch * jitter / sample_rate)
    strikes = np.diff(np.floor(phase), prepend=0.0)
    return sosfilt(tf2sos([1, -1], np.convolve([1, -0.97], [1, -0.85])), strikes) * 8


def _formants(sound: np.ndarray, formants: np.ndarray, size: int, sample_rate: int) -> np.ndarray:
    """Through a cascade of resonances (blocks, 3) Hz that move every `size` samples, and fixed ones above them."""
    state = np.zeros((len(_BANDWIDTHS_HZ), 2))
    result = np.empty_like(sound)
    for index, row in enumerate(formants):
        span = slice(index * size, (index + 1) * size)
        result[span], state = sosfilt(_resonances(row, sample_rate), sound[span], zi=state)
    return result


def _resonances(formants: np.ndarray, sample_rate: int) -> np.ndarray:
    """Second-order sections (6, 6) with gain 1 at 0 Hz."""
    freqs = np.append(formants, _HIGH_FORMANTS_HZ)
    radius = np.exp(-np.pi * np.array(_BANDWIDTHS_HZ) / sample_rate)
    first, second = -2 * radius * np.cos(2 * np.pi * freqs / sample_rate), radius**2
    zeros, ones = np.zeros(len(freqs)), np.ones(len(freqs))
    return np.stack([1 + first + second, zeros, zeros, ones, first, second], axis=1)


def _hiss(sound: np.ndarray, edges: np.ndarray, size: int, sample_rate: int) -> np.ndarray:
    """Noise (n,) through the band-pass of the consonant it belongs to: one filter per pair of edges (blocks, 2)."""
    result = np.zeros_like(sound)
    per_sample = np.repeat(edges, size, axis=0)
    for low, high in np.unique(edges, axis=0):
        band = butter(2, [low, min(high, 0.48 * sample_rate)], "bandpass", fs=sample_rate, output="sos")
        result += sosfilt(band, np.where(per_sample[:, 0] == low, sound, 0.0))
    return result
