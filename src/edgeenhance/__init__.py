"""EdgeEnhance: microphone array in, clean speech out, frame by frame, a few milliseconds later."""

from .arrays import MicArray
from .beamform import DelayAndSum, Mvdr, Superdirective
from .enhancer import Enhancer, Status, enhance
from .errors import EdgeEnhanceError
from .live import LiveEnhancer
from .masknet import MaskNet
from .nativenet import NativeNet
from .profiles import PROFILES, Profile
from .resample import Resampler

__version__ = "0.1.0"

__all__ = [
    "DelayAndSum",
    "EdgeEnhanceError",
    "Enhancer",
    "LiveEnhancer",
    "MaskNet",
    "MicArray",
    "Mvdr",
    "NativeNet",
    "PROFILES",
    "Profile",
    "Resampler",
    "Status",
    "Superdirective",
    "enhance",
]
