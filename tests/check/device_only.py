"""The installed wheel, with its device dependencies alone, enhances a clip. Run by `make check` outside the tree."""

import sys

import numpy as np

import edgeenhance

heavy = {"torch", "scipy", "pyroomacoustics", "matplotlib", "soundfile", "soxr", "ai_edge_litert", "tflite_runtime"}
x = np.random.default_rng(0).standard_normal((16000, 4)).astype(np.float32) * 0.05
enhancer = edgeenhance.Enhancer("bte-2x2", ears="both")
y = enhancer.process(x)
assert y.shape == (16000, 2) and np.isfinite(y).all() and y.any()
assert not heavy & set(sys.modules), heavy & set(sys.modules)
print(enhancer, "runs from", edgeenhance.__file__)
