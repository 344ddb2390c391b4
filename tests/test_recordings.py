"""The chain on what no simulation of ours made: recordings, and impulse responses measured on a head."""

from pathlib import Path

import numpy as np
import pytest

from edgeenhance import cli, enhance
from tests.conftest import level_db

sf = pytest.importorskip("soundfile")
pytestmark = pytest.mark.shared
RATE = 16000


def test_a_hearing_aid_recording_of_unknown_channel_order(shared_data, tmp_path, capsys):
    clip, out = shared_data / "array/openmha/1speaker_diffNoise_4ch.flac", tmp_path / "out.wav"
    assert cli.main(["enhance", str(clip), "-o", str(out), "--array", "bte-2x2"]) == 0
    assert "1,3,2,4" in capsys.readouterr().err
    assert cli.main(["enhance", str(clip), "-o", str(out), "--array", "bte-2x2", "--channels", "1,3,2,4"]) == 0
    assert "check the order" not in capsys.readouterr().err
    before, after = sf.info(clip), sf.info(out)
    assert (after.frames, after.samplerate, after.channels) == (before.frames, before.samplerate, 1)
    assert -30 < level_db(sf.read(out)[0], sf.read(clip)[0][:, 0]) < 0


def at(responses: Path, look: float) -> np.ndarray:
    """Measured responses of two hearing aids for a direction (degrees, ours) : (taps, 4), our channel order, 16 kHz."""
    soxr = pytest.importorskip("soxr")
    with np.load(next(responses.glob("*.npz"))) as measured:
        nearest = np.argmin(np.abs((measured["az_deg"] + look + 180) % 360 - 180))  # theirs count to the right
        return soxr.resample(measured["ir"][nearest].T.astype(np.float64), int(measured["fs"]), RATE)[:, [0, 2, 1, 3]]


def test_a_measured_head_is_enough_like_the_sphere(shared_data):
    metrics = pytest.importorskip("edgeenhance.simulation.metrics")
    signal = pytest.importorskip("scipy.signal")
    speech = [sf.read(path)[0][: 5 * RATE] for path in sorted((shared_data / "bench/speech").glob("*.flac"))[:6]]
    head, gains = shared_data / "rir/kayser2009_bte4", []
    for talker, *others in (speech[:3], speech[3:]):
        target = signal.fftconvolve(talker[:, None], at(head, 0), axes=0)
        noise = [signal.fftconvolve(x[:, None], at(head, look), axes=0) for x, look in zip(others, (60, -120))]
        n = min(map(len, [target, *noise]))
        target, mix = target[:n, 0], target[:n] + sum(x[:n] for x in noise)
        mix *= 0.05 / np.std(mix)
        enhanced = enhance(mix, RATE, "bte-2x2")
        gains.append(metrics.estoi(target, enhanced) - metrics.estoi(target, mix[:, 0]))
    assert min(gains) > 0.1, gains
