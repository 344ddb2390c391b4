"""An array of one's own: read it, see what its beams can do, and enhance with it."""

from pathlib import Path

import numpy as np

from edgeenhance import Enhancer, MicArray
from edgeenhance.beamform import beamformer, directivity_index

array = MicArray.load(Path(__file__).with_name("own_array.toml"))
print(f"{array.name}: {array.mics} microphones, no aliasing below {array.aliasing_frequency:.0f} Hz")

freqs = np.array([500.0, 1000.0, 2000.0, 4000.0])
for name in ("delay-and-sum", "superdirective"):
    weights = beamformer(name).weights(array, 30.0, freqs, array.ear("left"))  # (frequencies, microphones)
    index = directivity_index(weights, array, 30.0, freqs)
    print(f"{name:15} at 30°:", ", ".join(f"{d:.1f} dB at {f:.0f} Hz" for d, f in zip(index, freqs)))

enhancer = Enhancer(array, look=30.0)
print(enhancer)
print(enhancer.process(np.zeros((160, array.mics), np.float32)).shape)
