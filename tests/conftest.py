"""What tests share: levels in dB, a stand-in for the mask network, recordings of ../shared where there are any."""

import os
from pathlib import Path

# One thread per test process, set before NumPy and torch load: tests run side by side, and threads that wait for
# each other on too few cores make small networks a hundred times slower.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("ci", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("ci")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
PEERS = SHARED.parent / "peers"


def level_db(error: np.ndarray, reference: np.ndarray) -> float:
    """Energy of `error` over energy of `reference`, dB."""
    energy = np.sum(np.abs(np.asarray(error, np.complex128)) ** 2)
    return float(10 * np.log10(energy / np.sum(np.abs(np.asarray(reference, np.complex128)) ** 2) + 1e-300))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261120)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the recordings in ../shared/data are not here")
    return SHARED


@pytest.fixture(scope="session")
def shared_peers() -> Path:
    if not PEERS.is_dir():
        pytest.skip("the files in ../shared/peers are not here")
    return PEERS
