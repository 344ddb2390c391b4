"""What an enhancer does to speech and to noise, each alone: measures of the parts that `shadow_filter` lets through.

    noise_reduction · speech_distortion · snr_improvement   levels of the parts, in dB
    musical_noise · artifact_score                          how much of the noise left over is isolated tones

Parts are (n,) at 16 kHz unless said otherwise, aligned in time: `_in` at the reference microphone, `_out` after the
chain. A value that is not defined is NaN, and a `MetricWarning` says why.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from .metrics import SAMPLE_RATE, _pair, _undefined
from .signal_measures import spectra

_SPEECH_FREE_DB = -20.0  # of speech against the mean noise of its bin: what lies below is noise alone
_LEAST_FRAMES = 30  # of noise alone in a bin, to know its kurtosis
_SURROUNDINGS = (16, 16)  # frames of 16 ms, bins of 31.25 Hz
_NOTHING = 1e-12  # of the loudest power


def noise_reduction(noise_in: np.ndarray, noise_out: np.ndarray) -> float:
    """Noise in over noise out: dB, unbounded, higher is better (with speech unharmed). +inf if none is left.

    noise_in, noise_out : (n,)
    """
    noise_in, noise_out = _pair(noise_in, noise_out)
    if not noise_in.any():
        return _undefined("noise reduction", "there is no noise")
    return ratio_db(noise_in, noise_out)


def speech_distortion(speech_in: np.ndarray, speech_out: np.ndarray) -> float:
    """Error of the speech part relative to the speech at the reference microphone: dB, unbounded, lower is better.

    10 log10(|s_out - s_in|^2 / |s_in|^2): -inf for untouched speech, 0 for none left.
    speech_in, speech_out : (n,)
    Source: the speech distortion index of Chen, Benesty, Huang & Doclo 2006, "New insights into the noise reduction
    Wiener filter", in dB.
    """
    speech_in, speech_out = _pair(speech_in, speech_out)
    if not speech_in.any():
        return _undefined("speech distortion", "there is no speech")
    return ratio_db(speech_out - speech_in, speech_in)


def snr_improvement(
    speech_in: np.ndarray, noise_in: np.ndarray, speech_out: np.ndarray, noise_out: np.ndarray
) -> float:
    """SNR after the chain over SNR at the reference microphone: dB, unbounded, higher is better. All (n,)."""
    speech_in, noise_in = _pair(speech_in, noise_in)
    speech_out, noise_out = _pair(speech_out, noise_out)
    if not (speech_in.any() and noise_in.any() and speech_out.any()):
        return _undefined("SNR improvement", "there is no speech or no noise")
    return ratio_db(speech_out, noise_out) - ratio_db(speech_in, noise_in)


def musical_noise(
    noise_in: np.ndarray,
    noise_out: np.ndarray,
    speech: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> float:
    """Log kurtosis ratio of the noise's power spectra: 0 none, above it more musical, below it smoother than before.

    Mean over frequency bins of ln(kurtosis out / kurtosis in), see `power_kurtosis`, with each power relative to the
    mean of its surroundings (256 ms x 500 Hz): isolated peaks, by which musical tones are heard, have a high kurtosis.
    No level and no fixed filter changes it, and slow changes of noise and gain little. Of Gaussian noise, a gate that
    passes a random share p of the bins makes about -ln p, power spectral subtraction of a times the noise about a; of
    what is rare, overlapping frames hide a part: 1.5 for p = 0.1, not 2.3.
    Fast gains that follow the noise make some of it too, without being heard as tones: compare it on the same scenes.
    noise_in, noise_out : (n,), at least 0.5 s · sample_rate : Hz
    speech : (n,) the talker at the reference microphone, or None where nobody speaks. What the chain lets through of
    the noise while somebody speaks is no musical tone: of every frame only the bins count in which the talker is
    20 dB below the mean noise of that bin or weaker. With it, mixtures may stand in for the noise parts.
    Source: Uemura, Takahashi, Saruwatari, Shikano & Kondo 2008, "Automatic optimization scheme of spectral subtraction
    based on musical noise assessment via higher-order statistics"; the surroundings are ours.
    """
    noise_in, noise_out = _pair(noise_in, noise_out)
    before, after = (spectra(x, sample_rate)[:, 1:-1] for x in (noise_in, noise_out))
    free = np.ones(before.shape, bool)
    if speech is not None and before.size:
        talker = spectra(_pair(noise_in, speech)[1], sample_rate)[:, 1:-1]
        free = talker <= 10 ** (_SPEECH_FREE_DB / 10) * before.mean(axis=0)
    known = (free.sum(axis=0) >= _LEAST_FRAMES) & (before * free).any(axis=0) & (after * free).any(axis=0)
    if not known.any():
        return _undefined("musical noise", "less than 0.5 s of noise without speech, or none left after the chain")
    before, after = (power_kurtosis(_flattened(power, free)[:, known], free[:, known]) for power in (before, after))
    return float(np.mean(np.log(after / before)))


def artifact_score(
    noise_in: np.ndarray,
    noise_out: np.ndarray,
    speech: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> float:
    """Musical noise on a scale: 0 none .. 1 very musical, lower is better. Arguments as in `musical_noise`.

    1 - exp(-max(0, r)) with the log kurtosis ratio r: the share of the kurtosis that was not there before. 0.5 is twice
    the kurtosis of the noise that came in, 0.9 ten times. The scale is ours. The floor of the gains matters most: noise
    that is turned down by 14 dB and no further hides what is isolated in it. Independent of the level of either part.
    """
    return float(1 - np.exp(-np.maximum(0.0, musical_noise(noise_in, noise_out, speech, sample_rate))))


def power_kurtosis(power: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """Kurtosis m4 / m2^2 of the power in each bin over frames, m_k = mean(power^k): (F,), 6 for Gaussian noise.

    power : (frames, F) · where : (frames, F) bool, which to count
    Source: Uemura et al. 2008; the power of Gaussian noise is exponentially distributed, m_k = k! mean^k.
    """
    where = np.ones(power.shape, bool) if where is None else where
    power = power / np.mean(power, axis=0, where=where)  # so that the fourth power of a quiet one is not 0
    return np.mean(power**4, axis=0, where=where) / np.mean(power**2, axis=0, where=where) ** 2


def _flattened(power: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Power relative to the mean of the free ones around it; the floor makes rounding errors nothing."""
    total, count = (uniform_filter(x.astype(float), _SURROUNDINGS) for x in (power * free, free))
    around = total / np.maximum(count, 1e-9)
    return power / np.maximum(around, _NOTHING * np.max(power * free))


def ratio_db(a: np.ndarray, b: np.ndarray) -> float:
    """Energy of a over energy of b in dB, ±inf where one is silent."""
    with np.errstate(divide="ignore"):
        return float(10 * (np.log10(a @ a) - np.log10(b @ b)))
