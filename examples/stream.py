"""Sound as it comes, in blocks of any size; settings change on the way, without clicks."""

import numpy as np

from edgeenhance import Enhancer

rng = np.random.default_rng(0)
enhancer = Enhancer("bte-2x2", ears="both")
print(f"{enhancer.latency} samples late, {enhancer.latency_ms(64):.0f} ms with blocks of 64")

for number in range(200):
    block = 0.01 * rng.standard_normal((rng.integers(1, 400), 4)).astype(np.float32)  # what a driver would hand over
    ears = enhancer.process(block)
    assert ears.shape == (len(block), 2)
    if number == 100:
        enhancer.look, enhancer.strength = 30.0, 0.5

status = enhancer.status
print(f"{status.hops} hops, mean gain {status.gain:.2f}, looking at {status.look:.0f}°")
