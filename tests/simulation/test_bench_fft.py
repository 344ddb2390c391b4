"""The FFT's bench: what it times are the transforms it names, and a missing library is said to be missing."""

import numpy as np
import pytest

from edgeenhance.simulation import bench_fft


@pytest.fixture
def x(rng):
    return rng.standard_normal((3, bench_fft.POINTS)).astype(np.float32)


def test_what_is_timed_are_forward_and_inverse_transforms_of_every_row(x, tmp_path):
    exact = np.fft.rfft(x.astype(float))
    forward, inverse = bench_fft.kernel_transforms(x, tmp_path)
    np.testing.assert_allclose(forward()[:, : bench_fft.BINS], exact.real, atol=1e-4)
    np.testing.assert_allclose(forward()[:, bench_fft.BINS :], exact.imag, atol=1e-4)
    np.testing.assert_allclose(inverse(), x, atol=1e-5)
    for transforms, scale in ((bench_fft.numpy_transforms(x), 1), (bench_fft.fftw_transforms(x), bench_fft.POINTS)):
        if transforms:
            np.testing.assert_allclose(transforms[0](), exact, atol=1e-4)
            np.testing.assert_allclose(transforms[1]() / scale, x, atol=1e-5)


def test_a_library_that_is_not_there_is_named_as_not_installed(monkeypatch):
    monkeypatch.setattr(bench_fft, "fftw_transforms", lambda x: None)
    report = bench_fft.report(rounds=1)
    assert any(line.startswith("FFTW") and "not installed" in line for line in report.splitlines())
    assert "Roofline: 9344 operations" in report and "what NumPy takes" in report
