"""What a live stream did lately: levels, noise reduction without a reference, time per block.

Noise reduction is the noise power level reduction of ITU-T G.160: how much less comes out than went in while nobody
talks, here in the quietest fifth of the frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME_SECONDS = 0.032
PAUSES = 20  # percent of the frames, the quietest, that are taken for noise alone
LOUD = 90  # percentile of frame levels that stands for speech
SILENCE = 1e-12  # mean square below which there is nothing to compare


@dataclass(frozen=True)
class Meters:
    """Figures of the last seconds; None where there was nothing to measure.

    input, output, input_peak, output_peak : dBFS, a full-scale square wave is 0
    clipped : share of blocks with input at full scale
    noise_reduction : dB in pauses · snr_in, snr_out : dB, loud frames over pauses, before and after
    us_p50, us_p95, us_max : microseconds per block · load : mean share of the time that there is
    """

    input: float | None = None
    output: float | None = None
    input_peak: float | None = None
    output_peak: float | None = None
    clipped: float = 0.0
    noise_reduction: float | None = None
    snr_in: float | None = None
    snr_out: float | None = None
    us_p50: float = 0.0
    us_p95: float = 0.0
    us_max: float = 0.0
    load: float = 0.0


def measure(blocks: np.ndarray, block_seconds: float) -> Meters:
    """blocks : of `ee_live_block`, oldest first · block_seconds : how long one lasts"""
    if not len(blocks):
        return Meters()
    p50, p95 = np.percentile(blocks["us"], (50, 95))
    return Meters(
        _db(blocks["dry"].mean()),
        _db(blocks["out"].mean()),
        _db(blocks["in_peak"].max() ** 2),
        _db(blocks["out_peak"].max() ** 2),
        float((blocks["in_peak"] >= 0.999).mean()),
        *_noise(_frames(blocks["dry"], block_seconds), _frames(blocks["clean"], block_seconds)),
        float(p50),
        float(p95),
        float(blocks["us"].max()),
        float(blocks["us"].mean() * 1e-6 / block_seconds),
    )


def _db(power: float) -> float | None:
    return float(10 * np.log10(power)) if power > SILENCE else None


def _frames(powers: np.ndarray, block_seconds: float) -> np.ndarray:
    """Mean squares of frames of about FRAME_SECONDS."""
    each = max(1, round(FRAME_SECONDS / block_seconds))
    return powers[len(powers) % each :].reshape(-1, each).mean(axis=1, dtype=float)


def _noise(dry: np.ndarray, clean: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """Noise reduction, SNR before, SNR after."""
    sound = dry > SILENCE
    dry, clean = dry[sound], clean[sound]
    if len(dry) < 10:
        return None, None, None
    pauses, loud = dry <= np.percentile(dry, PAUSES), dry >= np.percentile(dry, LOUD)
    floor_in, floor_out = dry[pauses].mean(), max(clean[pauses].mean(), SILENCE)
    snr_in, snr_out = dry[loud].mean() / floor_in, max(clean[loud].mean(), SILENCE) / floor_out
    return _db(floor_in / floor_out), _db(snr_in), _db(snr_out)
