"""What firmware run reads, compares and says; the emulator itself is in make check."""

import platform
import wave
from dataclasses import replace

import numpy as np
import pytest

from edgeenhance import Enhancer, cli
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.firmware.build import Costs, costs_text
from edgeenhance.firmware.emulator import Report, read_report
from edgeenhance.firmware.project import Project, new
from edgeenhance.firmware.run import Comparison, read_wav, snr_db, write_wav

OUTPUT = (
    "edgeenhance: mono, profile assist, beamformer none, left ear\nbeam alone: the model region is empty or damaged\n"
    "hops: 250, counts per hop: mean 216258, worst 228808\nbytes of stack: 10008\n"
)
REPORT = Report(OUTPUT[: OUTPUT.index("\nhops")], 250, 216258, 228808, 10008)


@pytest.fixture
def enhancer():
    return Enhancer("bte-1x2", model="none")


def write(path, samples: np.ndarray, width: int, rate: int = 16000):
    """(n, channels) integers of 8 * width bits, as PCM."""
    raw = np.ascontiguousarray(samples, "<i4").view(np.uint8).reshape(*samples.shape, 4)[..., :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw.tobytes())
    return path


@pytest.mark.parametrize("width", [2, 3, 4])
def test_pcm_of_every_width_is_read_to_full_scale_and_to_a_whole_hop(width, tmp_path, enhancer, rng):
    full = 2 ** (8 * width - 1)
    samples = rng.integers(-full, full, (100, 2))
    samples[:2] = -full, full - 1
    x = read_wav(write(tmp_path / "a.wav", samples, width), enhancer)
    assert x.dtype == np.float32 and x.shape == (128, 2) and not x[100:].any()
    np.testing.assert_array_equal(x[:100], (samples / full).astype(np.float32))


def test_other_formats_are_read_with_the_extra(tmp_path, enhancer, rng):
    sf = pytest.importorskip("soundfile")
    x = rng.uniform(-1, 1, (64, 2)).astype(np.float32)
    sf.write(tmp_path / "a.wav", x, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_wav(tmp_path / "a.wav", enhancer), x)
    read = read_wav(write(tmp_path / "b.wav", np.array([[128, 255]]), 1), enhancer)
    np.testing.assert_array_equal(read[0], [0, 127 / 128])


def test_recordings_that_do_not_fit_are_refused(tmp_path, enhancer):
    samples = np.zeros((10, 2), int)
    for path in (
        write(tmp_path / "a.wav", samples, 2, 44100),
        write(tmp_path / "b.wav", samples[:, :1], 2),
        write(tmp_path / "c.wav", samples[:0], 2),
    ):
        with pytest.raises(EdgeEnhanceError, match="the firmware for 'bte-1x2' takes 2 channels at 16000 Hz"):
            read_wav(path, enhancer)
    pytest.importorskip("soundfile")
    (tmp_path / "d.wav").write_bytes(b"RIFF")
    for name in ("d.wav", "none.wav"):
        with pytest.raises(EdgeEnhanceError, match=name):
            read_wav(tmp_path / name, enhancer)


def test_what_comes_out_is_written_clipped(tmp_path):
    y = np.array([[0.5, -2.0], [2.0, -0.25]], np.float32)
    write_wav(tmp_path / "y.wav", y, 16000)
    with wave.open(str(tmp_path / "y.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 16000)
        assert np.frombuffer(file.readframes(-1), "<i2").tolist() == [16384, -32768, 32767, -8192]


def test_the_ratio_of_signal_and_difference():
    y = np.ones(1000, np.float32)
    assert snr_db(y, y) == np.inf
    assert snr_db(1.001 * y, y) == pytest.approx(60, abs=0.01)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="Python's kernel is not the exact build here")
def test_exact_builds_must_be_equal_and_fast_ones_near():
    equal, near, far = (
        Comparison(True, different, 100, snr, REPORT) for different, snr in ((0, np.inf), (1, 80), (9, 59))
    )
    assert [each.passed for each in (equal, near, far)] == [True, False, False]
    assert [replace(each, exact=False).passed for each in (equal, near, far)] == [True, True, False]
    assert str(equal) == "exact build against Python: 100 samples, equal to the bit: OK"
    assert str(far) == "exact build against Python: 100 samples, 9 differ, SNR 59.0 dB: NOT OK"


def test_the_report_is_read_whole_or_refused():
    assert read_report("warning: something\n" + OUTPUT) == REPORT
    with pytest.raises(EdgeEnhanceError, match="did not report to the end: NOT OK: fault"):
        read_report(OUTPUT[:100] + "\nNOT OK: fault\n")


def test_the_table_of_costs(tmp_path):
    project = Project.load(new(tmp_path / "fw", "mps2-an500", "bte-1x2", "none"))
    costs = Costs(59824, 65012, 111680, 9472, "ee_mvdr_weights", REPORT)
    lines = [" ".join(line.split()) for line in costs_text(project, costs, 100).splitlines()]
    assert lines == [
        "flash, bytes 59 824 of 2 097 152: program and tables",
        "model region, bytes 65 012 of 524 288",
        "RAM, bytes 111 680 of 524 288, the stack not counted",
        "largest stack frame, bytes 9 472 ee_mvdr_weights (-fstack-usage)",
        "stack, bytes 10 008 reached in emulation",
        "instructions per hop, mean 216 258 of 250 hops of 4 ms",
        "instructions per hop, worst 228 808",
        "share of the core, mean 54% at 100 MHz, if an",
        "share of the core, worst hop 57% instruction takes a cycle",
    ]
    assert "not counted: no emulator" in costs_text(project, replace(costs, report=None))


def test_boards_without_an_emulator_say_so(tmp_path, capsys):
    new(tmp_path / "fw", "rp2350", "mono", "none")
    assert cli.main(["firmware", "run", "in.wav", "-C", str(tmp_path / "fw")]) == 2
    assert "there is no emulator for rp2350; a project for one of mps2-an386, " in capsys.readouterr().err


def test_a_clock_of_nothing_is_refused(tmp_path, capsys):
    new(tmp_path / "fw", "rp2350", "mono", "none")
    assert cli.main(["firmware", "build", "--clock", "0", "-C", str(tmp_path / "fw")]) == 2
    assert "pass the core's clock in MHz" in capsys.readouterr().err
