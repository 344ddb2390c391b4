"""Measures of rooms and directions: reverberation, what both ears hear, what the array gains.

    drr                                            of a room response
    srmr                                           of a signal, without a reference
    interaural_level_error · interaural_time_error between what both ears should hear and what they hear
    array_gain                                     from the parts that `shadow_filter` lets through
    mean_directivity · least_white_noise_gain      of a beam

Signals are (n,) or (n, 2), left ear first, at 16 kHz unless said otherwise. A value that is not defined is NaN, and a
`MetricWarning` says why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import gammatone, hilbert, iirpeak, lfilter, sosfilt

from ..arrays import MicArray
from ..beamform import directivity_index, relative_steering, white_noise_gain
from .metrics import SAMPLE_RATE, _pair, _undefined
from .shadow_measures import ratio_db
from .signal_measures import _signal

_DIRECT_S = 0.0025
_ITD_LIMIT_HZ = 1500.0
# Third-octave bands from 160 Hz to 8 kHz, and how much each matters for understanding speech (ANSI S3.5-1997, table 3).
_BAND_IMPORTANCE = (
    0.0083, 0.0095, 0.0150, 0.0289, 0.0440, 0.0578, 0.0653, 0.0711, 0.0818,
    0.0844, 0.0882, 0.0898, 0.0868, 0.0844, 0.0771, 0.0527, 0.0364, 0.0185,
)  # fmt: skip
_BANDS_HZ = 1000 * 2 ** (np.arange(-8, 10) / 3)

_SRMR_CHANNELS, _SRMR_LOWEST_HZ = 23, 125.0
_MODULATIONS_HZ = np.geomspace(4, 128, 8)
_MODULATION_Q = 2.0
_SPEECH_MODULATIONS = 4  # the lower half of the bands: 4 to 18 Hz
_SRMR_ENERGY = 0.9


@dataclass(frozen=True, eq=False)
class Beam:
    """weights : (F, M) · freqs : (F,) Hz · look : degrees · reference : microphone"""

    weights: np.ndarray
    freqs: np.ndarray
    array: MicArray
    look: float
    reference: int


def drr(response: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Direct-to-reverberant ratio of a room response: dB, unbounded, higher is drier; +inf without reverberation.

    response : (n,) · sample_rate : Hz. Direct sound is what lies within 2.5 ms of the largest sample, reverberation
    all that comes later.
    Source: Zahorik 2002, "Direct-to-reverberant energy ratio sensitivity" (the 2.5 ms); Naylor & Gaubitch 2010,
    "Speech dereverberation".
    """
    response = _signal(response)
    if not response.any():
        return _undefined("DRR", "the response is silent")
    peak, reach = int(np.argmax(np.abs(response))), round(_DIRECT_S * sample_rate)
    return ratio_db(response[max(0, peak - reach) : peak + reach + 1], response[peak + reach + 1 :])


def srmr(x: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Speech-to-reverberation modulation energy ratio: 0 and up, about 1 (reverberant) .. 10 (dry), higher is better.

    Energy of slow changes (4 to 18 Hz, syllables) over that of fast ones (up to 128 Hz, reverberation and noise), of
    the envelopes behind 23 gammatone filters. The fastest band that counts follows from where 90 % of the energy lies.
    It depends on talker and words: compare it on the same speech. x : (n,), a second or more · sample_rate : Hz
    Source: Falk, Zheng & Chan 2010, "A non-intrusive quality and intelligibility measure of reverberant and
    dereverberated speech", whose average over frames is one over time here.
    """
    x = _signal(x)
    if not x.any() or len(x) < sample_rate:
        return _undefined("SRMR", "less than a second of sound" if x.any() else "the signal is silent")
    centers = _erb_centers(_SRMR_LOWEST_HZ, 0.45 * sample_rate, _SRMR_CHANNELS)
    energy = np.array([_modulation_energy(x, center, sample_rate) for center in centers])
    by_channel = np.cumsum(energy.sum(axis=1))
    bandwidth = _erb(centers[np.searchsorted(by_channel, _SRMR_ENERGY * by_channel[-1])])
    edges = _MODULATIONS_HZ * (np.sqrt(1 + 1 / (4 * _MODULATION_Q**2)) - 1 / (2 * _MODULATION_Q))
    last = max(_SPEECH_MODULATIONS + 1, int(np.sum(edges <= bandwidth)))
    bands = energy.sum(axis=0)
    return float(bands[:_SPEECH_MODULATIONS].sum() / bands[_SPEECH_MODULATIONS:last].sum())


def interaural_level_error(target: np.ndarray, output: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """How far the level difference between both ears is off: dB, 0 and up, lower is better.

    Mean over third-octave bands (160 Hz to 8 kHz) of the absolute difference of both signals' level differences, each
    band weighted by the target's energy in it. target, output : (n, 2) · sample_rate : Hz
    Source: the ILD error of Van den Bogaert, Doclo, Wouters & Moonen 2009, "Speech enhancement with multichannel Wiener
    filter techniques in multimicrophone binaural hearing aids".
    """
    target, output = _ears(target, output)
    if not (target.any(axis=0).all() and output.any(axis=0).all()):
        return _undefined("ILD error", "an ear is silent")
    X, Y = (np.abs(np.fft.rfft(x, axis=0)) ** 2 for x in (target, output))
    bands = _bands(len(target), sample_rate)
    X, Y = (np.array([power[band].sum(axis=0) for band in bands]) for power in (X, Y))
    known = (X > 0).all(axis=1) & (Y > 0).all(axis=1)
    if not known.any():
        return _undefined("ILD error", "no third-octave band has sound in all ears")
    wanted, heard = (10 * np.log10(power[known, 0] / power[known, 1]) for power in (X, Y))
    return float(np.average(np.abs(heard - wanted), weights=X[known].sum(axis=1)))


def interaural_time_error(target: np.ndarray, output: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """How far the time difference between both ears is off: µs, 0 and up, lower is better.

    Mean over the third-octave bands from 160 Hz to 1.5 kHz, where ears go by time, of the absolute phase between both
    signals' cross-correlations divided by the band's angular frequency, weighted by the target's energy. Phases are
    known modulo one turn: errors of more than half a period of a band (397 µs in the highest) are underestimated.
    target, output : (n, 2) · sample_rate : Hz
    Source: as `interaural_level_error`.
    """
    target, output = _ears(target, output)
    if not (target.any(axis=0).all() and output.any(axis=0).all()):
        return _undefined("ITD error", "an ear is silent")
    X, Y = (np.fft.rfft(x, axis=0) for x in (target, output))
    errors, weights = [], []
    for center, band in zip(_BANDS_HZ, _bands(len(target), sample_rate)):
        wanted, heard = (np.vdot(Z[band, 1], Z[band, 0]) for Z in (X, Y))
        if center <= _ITD_LIMIT_HZ and wanted and heard:
            errors.append(1e6 * abs(np.angle(heard * wanted.conj())) / (2 * np.pi * center))
            weights.append(np.sum(np.abs(X[band]) ** 2))
    if not errors:
        return _undefined("ITD error", "no third-octave band up to 1.5 kHz has sound in all ears")
    return float(np.average(errors, weights=weights))


def array_gain(
    speech_in: np.ndarray,
    noise_in: np.ndarray,
    speech_out: np.ndarray,
    noise_out: np.ndarray,
    sample_rate: int = SAMPLE_RATE,
) -> float:
    """SNR out over SNR at the reference microphone, band by band: dB, unbounded, higher is better.

    Mean over third-octave bands (160 Hz to 8 kHz) of each band's SNR gain, weighted by how much the band matters for
    understanding speech. Unlike `snr_improvement` it does not count what an equalizer could do: a filter that speech
    and noise share gains nothing. All parts (n,) · sample_rate : Hz
    Source: Greenberg, Peterson & Zurek 1993, "Intelligibility-weighted measures of speech-to-interference ratio and
    speech system performance"; weights of ANSI S3.5-1997, table 3.
    """
    parts = np.array([_pair(speech_in, part)[1] for part in (speech_out, noise_out, speech_in, noise_in)])
    if not parts.any(axis=1).all():
        return _undefined("array gain", "there is no speech or no noise")
    spectra = np.abs(np.fft.rfft(parts)) ** 2
    power = np.array([spectra[:, band].sum(axis=1) for band in _bands(parts.shape[1], sample_rate)])
    known = (power > 0).all(axis=1)
    if not known.any():
        return _undefined("array gain", "no third-octave band has speech and noise, in and out")
    out_s, out_n, in_s, in_n = 10 * np.log10(power[known].T)
    return float(np.average((out_s - out_n) - (in_s - in_n), weights=np.array(_BAND_IMPORTANCE)[known]))


def mean_directivity(beam: Beam) -> float:
    """Directivity index, what the beam adds to its reference microphone in diffuse noise: dB, higher is better.

    Mean over third-octave bands, weighted by how much each matters for understanding speech (the "AI-DI" of hearing
    aids). NaN for a beam that lets nothing through.
    Source: Bitzer & Simmer 2001, "Superdirective microphone arrays"; weights of ANSI S3.5-1997, table 3.
    """
    index = directivity_index(beam.weights, beam.array, beam.look, beam.freqs, beam.reference)
    if not np.isfinite(index).any():
        return _undefined("directivity index", "the beam lets nothing through")
    known = np.isfinite(index)
    return float(np.average(np.interp(_BANDS_HZ, beam.freqs[known], index[known]), weights=_BAND_IMPORTANCE))


def least_white_noise_gain(beam: Beam) -> float:
    """By how much the microphones' own noise falls against the talker, at the worst frequency above 160 Hz: dB, at most
    10 log10(M) in open air; negative where the beam makes it louder; higher is better.

    Source: Cox, Zeskind & Owen 1987, "Robust adaptive beamforming".
    """
    steering = relative_steering(beam.array, beam.look, beam.freqs, beam.reference)
    gain = white_noise_gain(beam.weights, steering)[beam.freqs >= _BANDS_HZ[0]]
    if not np.isfinite(gain).all():
        return _undefined("white noise gain", "the beam lets nothing through")
    return float(gain.min())


def _bands(length: int, sample_rate: int) -> list[np.ndarray]:
    """The bins of each third-octave band in the spectrum of so many samples: bool (F,) each."""
    freqs = np.fft.rfftfreq(length, 1 / sample_rate)
    return [(freqs >= f * 2 ** (-1 / 6)) & (freqs < f * 2 ** (1 / 6)) for f in _BANDS_HZ]


def _modulation_energy(x: np.ndarray, center: float, sample_rate: int) -> np.ndarray:
    """Mean square of the envelope behind one gammatone filter in each modulation band: (8,)."""
    zeros = gammatone(center, "iir", fs=sample_rate)[0]
    pole = np.exp(2 * np.pi * (1j * center - 1.019 * _erb(center)) / sample_rate)
    poles = np.tile([1, 0, 0, 1, -2 * pole.real, abs(pole) ** 2], (4, 1))  # in one polynomial they leave the circle
    envelope = np.abs(hilbert(sosfilt(poles, lfilter(zeros, 1, x))))
    filters = (iirpeak(f, _MODULATION_Q, fs=sample_rate) for f in _MODULATIONS_HZ)
    return np.array([np.mean(lfilter(b, a, envelope) ** 2) for b, a in filters])


def _erb(f: float) -> float:
    """Bandwidth of the ear's filter at f Hz, in Hz (Glasberg & Moore 1990), with the digits of SRMR."""
    return 24.7 * (4.37e-3 * f + 1)


def _erb_centers(low: float, high: float, count: int) -> np.ndarray:
    """Frequencies from low to high, evenly spaced on the ear's scale."""
    return (np.geomspace(4.37e-3 * low + 1, 4.37e-3 * high + 1, count) - 1) / 4.37e-3


def _ears(target: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    target, output = (np.asarray(x, dtype=np.float64) for x in (target, output))
    if target.ndim != 2 or target.shape[1] != 2 or target.shape != output.shape:
        raise ValueError(
            f"target and output must be (n, 2), left ear first, and equally long, got {target.shape} and "
            f"{output.shape}; enhance with ears='both'"
        )
    if not (np.isfinite(target).all() and np.isfinite(output).all()):
        raise ValueError("a signal holds NaN or Inf samples; replace them before scoring")
    return target, output
