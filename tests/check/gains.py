"""Gains of every model of the zoo over seeded features, to compare runtimes. Run by `make check` in two environments.

python gains.py write FILE.npz       python gains.py compare FILE.npz
"""

import sys

import numpy as np

from edgeenhance.masknet import MaskNet, runtime_name, zoo_names, zoo_path

HOPS, MOST = 1500, 2  # of 32768


def gains(model: str) -> np.ndarray:
    """(HOPS, bands) int16 over `speech_like`; gains from nearly 0 to above 1/2, or the comparison says little."""
    net = MaskNet(model)
    out = np.zeros((HOPS, net.bands), np.int16)
    for row, hop in zip(out, speech_like(net.bands), strict=True):
        net.step(hop, row)
    assert out.max() > 16384 > 3276 > out.min(), (model, out.min(), out.max())
    return out


def speech_like(bands: int) -> np.ndarray:
    """Features of syllables and pauses in noise, the noise reference without most of the voice; a silent end.

    (HOPS, 4 * bands) int16
    """
    rng, hop = np.random.default_rng(1), np.arange(HOPS)
    syllables = np.clip(np.sin(2 * np.pi * hop / 60), 0, 1) * (np.sin(2 * np.pi * hop / 400) > -0.5)
    voice = 9000 * np.array([1, 0.2, 0.9, 0.8])[:, None, None] * syllables[:, None]
    tilt, drift = np.cumsum(rng.normal(0, 700, bands)), np.cumsum(rng.normal(0, 100, (HOPS, 1)), axis=0)
    noise = tilt - tilt.mean() - 4000 + drift + rng.normal(0, 1500, (4, HOPS, bands))
    features = np.concatenate(list(np.clip(voice + noise, -32768, 32767)), axis=1).astype(np.int16)
    features[4 * HOPS // 5 :] = -30000
    return features


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
