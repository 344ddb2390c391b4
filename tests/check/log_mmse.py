"""Our log-MMSE beside the package `logmmse` (Loizou's textbook program), on the same files. Part of `make check`.

python tests/check/log_mmse.py [SPEECH NOISE]      folders of recordings; without them, synthesized talkers and noises

Every file begins with half a second of noise alone, from which the package takes its estimate. Scores are of the part
that the package gives: its last frames are missing. "in its frames" is like for like: our gain rule and noise estimate
with the package's parameters and windows, by its detector of speech, or with the noise kept that the first 0.3 s gave.
Fails where a mean PESQ differs there from the package's by more than MOST, or where that of `suppress` as it comes lies
further below, over all files.
"""

import sys
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from edgeenhance._text import markdown
from edgeenhance.classical import LogMmse, suppress
from edgeenhance.noise_psd import ESTIMATORS, NoiseSegment, VadAverage
from edgeenhance.simulation import synth
from edgeenhance.simulation.metrics import estoi, pesq
from edgeenhance.simulation.render import at_16_khz, open_sound, recordings

with np.errstate():  # the package makes NumPy raise
    from logmmse import logmmse

RATE, SECONDS, LEAD = 16000, 5, 8000
SNRS_DB = (0, 5, 10, 15)
MOST = 0.02  # PESQ
FRAME, STEP = 320, 160  # the package's, samples
KEPT = 15  # frames from which a noise estimate comes that is kept
DEFAULT = "ours, mmse-spp"
LIKE_FOR_LIKE = {"in its frames": "package", "in its frames, noise kept": "package, noise kept"}


def in_its_frames(x, noise, most_gain=np.inf):
    """20 ms every 10 ms in a Hann window, zeros to twice the length, none at synthesis; 98 % of the last frame."""
    rule, y = LogMmse(STEP / RATE, smoothing=0.98**0.8, most_gain=most_gain), np.zeros(len(x))
    for at in range(0, len(x) - FRAME + 1, STEP):
        X = spectrum(x[at : at + FRAME])
        power = np.abs(X) ** 2
        y[at : at + FRAME] += np.fft.irfft(X * rule.gains(power, noise.update(power)))[:FRAME]
    return y


def spectrum(samples):
    window = np.hanning(FRAME)
    return np.fft.rfft(samples * window * STEP / window.sum(), 2 * FRAME)


def vad():
    return VadAverage(STEP / RATE, threshold=0.075)  # the package's 0.15 is for a sum over 640 bins, divided by 320


def kept(x):
    """As the package has it: the square of the mean amplitude of frames that do not overlap."""
    amplitudes = [np.abs(spectrum(x[at : at + FRAME])) for at in range(0, KEPT * FRAME, FRAME)]
    return NoiseSegment(np.mean(amplitudes, axis=0)[None] ** 2)


package = partial(logmmse, sampling_rate=RATE)
SYSTEMS = {
    "noisy": lambda x: x,
    "package": package,
    "in its frames": lambda x: in_its_frames(x, vad()),
    "in its frames, gains at most 1": lambda x: in_its_frames(x, vad(), most_gain=1),
    "package, noise kept": lambda x: package(x, initial_noise=KEPT, noise_threshold=-np.inf),
    "in its frames, noise kept": lambda x: in_its_frames(x, kept(x)),
    **{f"ours, {noise}": partial(suppress, sample_rate=RATE, noise=noise) for noise in ESTIMATORS},
}


# ---- files ----


def mixed(clean, noise, snr_db, seed):
    """(clean, noisy), float32; the microphone's own noise is at -80 dBFS: in digital silence the package gives NaN."""
    clean = np.concatenate([np.zeros(LEAD), clean])
    noise = np.resize(noise, len(clean))
    noise = noise * np.sqrt(np.mean(clean[LEAD:] ** 2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    own = 1e-4 * np.random.default_rng(seed).standard_normal(len(clean))
    return clean.astype(np.float32), (clean + noise + own).astype(np.float32)


def synthesized(rise_db):
    """16 files; in the middle second the noise rises."""
    time = np.arange(LEAD + SECONDS * RATE) / RATE
    rise = 10 ** (rise_db / 20 * np.clip(time - 2.5, 0, 1))
    for seed, (kind, snr_db) in enumerate(product(synth.NOISE_KINDS, SNRS_DB)):
        talker = synth.speech(SECONDS, seed, espeak=False)
        yield mixed(talker, rise * synth.noise(kind, len(time) / RATE, seed), snr_db, seed)


def recorded(speech, noise):
    """As many files as there are recordings of noise, talkers and SNRs in turn."""
    talkers, noises = ([Path(folder) / name for name in recordings(folder)] for folder in (speech, noise))
    for seed, path in enumerate(noises):
        talker = sound(talkers[seed % len(talkers)])[: SECONDS * RATE]
        yield mixed(talker, sound(path), SNRS_DB[seed % len(SNRS_DB)], seed)


def sound(path):
    samples, rate = open_sound(path)
    return at_16_khz(samples.mean(axis=1), rate)


# ---- scores ----


def scores(files):
    """(PESQ, ESTOI) of every file : {system: (files, 2)}"""
    table = {name: [] for name in SYSTEMS}
    for clean, noisy in files:
        length = len(package(noisy))
        for name, run in SYSTEMS.items():
            y = run(noisy)[:length].astype(np.float32)
            table[name].append([measure(clean[:length], y) for measure in (pesq, estoi)])
    return {name: np.array(rows) for name, rows in table.items()}


def main(folders):
    sets = {"steady noise": synthesized(0), "noise that rises by 10 dB": synthesized(10)}
    if folders:
        sets = {"recordings": recorded(*folders)}
    tables = {f"{title}: PESQ, ESTOI": scores(files) for title, files in sets.items()}
    rows = [[name, *("{:.3f}, {:.3f}".format(*table[name].mean(0)) for table in tables.values())] for name in SYSTEMS]
    print(markdown(("", *tables), rows))
    print("means of", len(rows_of("noisy", tables)), "files")
    return verdict(tables)


def rows_of(name, tables):
    return np.concatenate([table[name] for table in tables.values()])


def verdict(tables):
    """What is wrong, or 0."""
    pairs = product(tables.values(), LIKE_FOR_LIKE.items())
    alike = [mean_pesq(table[ours]) - mean_pesq(table[theirs]) for table, (ours, theirs) in pairs]
    default = mean_pesq(rows_of(DEFAULT, tables)) - mean_pesq(rows_of("package", tables))
    print("PESQ beside the package's, like for like:", ", ".join(f"{difference:+.3f}" for difference in alike))
    print(f"{DEFAULT}, over all files: {default:+.3f}")
    if max(map(abs, alike)) > MOST or default < -MOST:
        return f"NOT OK: expected like for like within {MOST} PESQ, and the default at most that far below the package"
    return 0


def mean_pesq(rows):
    return rows[:, 0].mean()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
