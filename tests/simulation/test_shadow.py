"""Shadow filtering: the parts of a mixture, each through what the enhancer did to the mixture."""

import numpy as np
import pytest

from edgeenhance import Enhancer, enhance
from edgeenhance.simulation.shadow import estimated_shadow, shadow_filter

from ..conftest import level_db


@pytest.mark.parametrize("profile, hop", [("assist", 64), ("comm", 256)])
@pytest.mark.parametrize("beamformer", ["none", "superdirective", "mvdr"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_the_parts_sum_to_the_output(profile, hop, beamformer, strength, rng):
    n = 16000
    talker = 0.05 * rng.standard_normal(n) * (np.sin(2 * np.pi * 3 * np.arange(n) / 16000) > 0)
    speech, noise = np.repeat(talker[:, None], 4, 1), 0.02 * rng.standard_normal((n, 4))
    settings = dict(profile=profile, beamformer=beamformer, model="none", strength=strength)
    enhancer = Enhancer("bte-2x2", block=hop, **settings)
    shadow = shadow_filter(enhancer, speech + noise, [speech, noise])
    y = enhance((speech + noise).astype(np.float32), 16000, "bte-2x2", **settings)
    assert all(part.shape == (n,) for part in shadow.parts)
    np.testing.assert_array_equal(shadow.y, y)
    assert level_db(sum(shadow.parts) - y, y) <= -80


def test_gains_of_a_black_box_are_estimated(rng):
    speech, noise = 0.1 * rng.standard_normal((2, 16000))
    parts = estimated_shadow(speech + noise, 0.3 * (speech + noise), [speech, noise])
    assert level_db(parts[0] - 0.3 * speech, speech) < -60 and level_db(parts[1] - 0.3 * noise, noise) < -60


def test_it_says_what_it_needs():
    with pytest.raises(ValueError, match="block"):
        shadow_filter(Enhancer("bte-2x2", model="none"), np.zeros((100, 4)), [])
