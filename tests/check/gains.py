"""Gains of every model of the zoo over seeded features, to compare runtimes. Run by `make check` in two environments.

python gains.py write FILE.npz       python gains.py compare FILE.npz
"""

import sys

import numpy as np

from edgeenhance.masknet import MaskNet, runtime_name, zoo_names, zoo_path

HOPS, MOST = 1500, 2  # of 32768


def gains(model: str) -> np.ndarray:
    """(HOPS, bands) int16 over slow and fast changes like those of speech; the last third is nearly silent."""
    net, rng = MaskNet(model), np.random.default_rng(1)
    slow = np.cumsum(rng.normal(0, 300, (HOPS, 4 * net.bands)), axis=0)
    features = np.clip(slow + rng.normal(0, 3000, slow.shape), -32768, 32767).astype(np.int16)
    features[2 * HOPS // 3 :] = -30000
    out = np.zeros((HOPS, net.bands), np.int16)
    for row, hop in zip(out, features, strict=True):
        net.step(hop, row)
    return out


def models() -> list[str]:
    names = [f"{name}{variant}" for name in zoo_names() for variant in ("", ":int8")]
    return [name for name in names if zoo_path(name).is_file()]


if __name__ == "__main__":
    command, path = sys.argv[1:]
    found = {name: gains(name) for name in models()}
    assert found, "no models"
    if command == "write":
        np.savez(path, **found)
        sys.exit()
    expected = np.load(path)
    assert set(expected.files) == set(found)
    worst = {name: int(np.abs(values.astype(int) - expected[name]).max()) for name, values in found.items()}
    print(runtime_name(), "numpy", np.__version__, "largest difference of 32768:", worst)
    sys.exit(max(worst.values()) > MOST)
