"""What the chain costs: microseconds per 10 ms of audio, by stage, next to DTLN in the same run.

    python -m edgeenhance.simulation.bench [--peers DIR] [--array bte-2x2] [--model assist-m]

Every subject processes a second of audio, all of them in turn, round after round; figures are medians over the
rounds, so that a busy moment of the machine hits all alike. Stages inside the kernel are differences between chains
that differ by that stage. One thread. With the extra `litert`, LiteRT runs the same network beside the C engine. Below,
the FFT beside NumPy's and FFTW's (bench_fft.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._text import table
from ..arrays import MicArray
from ..bands import SIGNALS
from ..beamform import Mvdr, mvdr_weights, prior, relative_steering
from ..bench import durations, noise
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from ..kernel import pointer
from ..masknet import MaskNet, runtime_name, zoo_names
from ..nativenet import NativeNet
from ..profiles import PROFILES, Profile
from . import bench_fft
from .peers import Dtln
from .roofline import chain_work, core, least_us

ROUNDS = 30
SECONDS = 1.0
Subject = Callable[[], object]


def medians(subjects: dict[str, Subject], rounds: int = ROUNDS) -> dict[str, float]:
    """Median run time of each subject in µs per 10 ms of audio; every subject stands for `SECONDS` of it."""
    seconds = durations(list(subjects.values()) * (rounds + 1)).reshape(rounds + 1, -1)
    return {name: 1e4 * float(m) / SECONDS for name, m in zip(subjects, np.median(seconds[1:], axis=0))}


def chain_subjects(array: MicArray, profile: Profile, model: str) -> dict[str, Subject]:
    """Chains that differ by one stage, from the fixed beam to everything hop by hop."""
    x = noise(profile, array.mics, SECONDS)
    settings: dict[str, Any] = {"profile": profile.name}
    subjects = {
        "fixed beam": _whole(Enhancer(array, beamformer="superdirective", model="none", **settings), x),
        "mvdr": _whole(Enhancer(array, beamformer="mvdr", model="none", **settings), x),
        "mvdr, hop by hop": _by_hop(Enhancer(array, model="none", block=profile.hop, **settings), x),
    }
    if model == "none":
        return subjects
    net = NativeNet(model)
    subjects |= {
        "network": _network(profile, net),
        "chain": _whole(Enhancer(array, model=model, **settings), x),
        "chain, hop by hop": _by_hop(Enhancer(array, model=model, block=profile.hop, **settings), x),
    }
    if runtime_name():
        chain = Enhancer(array, model=model, block=profile.hop, backend="litert", **settings)
        subjects |= {
            "litert": _litert_invoke(profile, model),
            "litert step": _litert_step(profile, model),
            "chain with litert, hop by hop": _by_hop(chain, x),
        }
    return subjects


def reference_subjects(array: MicArray, profile: Profile, peers: str | None) -> dict[str, Subject]:
    """What others do: DTLN, and an MVDR solve per hop in NumPy."""
    subjects: dict[str, Subject] = {}
    if array.mics > 1:
        subjects["numpy solve"] = _numpy_solve(array, profile)
    if peers:
        dtln = Dtln(peers)
        hops = noise(profile, 1, SECONDS).reshape(-1, dtln.hop)
        subjects["dtln"] = lambda: [dtln.step(hop) for hop in hops]
    return subjects


def stages(us: dict[str, float]) -> list[tuple[str, float]]:
    """Rows (stage, µs per 10 ms) that sum to the last one."""
    rows = [
        ("analysis, two fixed beams, synthesis", us["fixed beam"]),
        ("noise covariance, MVDR solve", us["mvdr"] - us["fixed beam"]),
    ]
    if "chain" not in us:
        rows.append(("Python: a call per hop", us["mvdr, hop by hop"] - us["mvdr"]))
        return [*rows, ("MVDR alone, hop by hop", us["mvdr, hop by hop"])]
    return [
        *rows,
        ("network", us["network"]),
        ("features, following the talker", us["chain"] - us["mvdr"] - us["network"]),
        ("Python: a call per hop", us["chain, hop by hop"] - us["chain"]),
        ("whole chain, hop by hop", us["chain, hop by hop"]),
    ]


ROOFLINE = ("k products per hop", "kB per hop", "roofline, µs per 10 ms")


def roofline(array: MicArray, profile: Profile, net: NativeNet | None) -> dict[str, tuple[str, str, str]]:
    """Cells under `ROOFLINE` by stage."""
    if net is None:
        return {}
    work = chain_work(array.mics, profile, net.bands, len(net.program), Mvdr().solve_hops(profile))
    peak, hops = core(), 0.01 * profile.sample_rate / profile.hop
    return {
        stage: (f"{w.products / 1e3:.0f}", f"{w.bytes / 1e3:.0f}", f"{least_us(w, peak, hops):.1f}")
        for stage, w in work.items()
    }


def report(us: dict[str, float], array: MicArray, profile: Profile, net: NativeNet | None) -> str:
    """The tables and what they mean."""
    rows = stages(us)
    total = rows[-1][1]
    header = (f"{array.name}, {array.mics} microphones, {profile.name}", "µs per 10 ms", "share", *ROOFLINE)
    roof = roofline(array, profile, net)
    blank = ("",) * len(ROOFLINE)
    parts = [
        table(header, [(n, f"{us:.1f}", f"{100 * us / total:.0f} %", *roof.get(n, blank)) for n, us in rows]),
        "Roofline: the larger of products and bytes over what this core does of either in NumPy (roofline.py).",
    ]
    glue = sum(value for name, value in rows if name.startswith("Python"))
    parts.append(f"Python glue: {glue:.1f} µs of {total:.1f}. Real-time factor {total / 1e4:.4f} on one thread.")
    others = {
        "litert": "LiteRT, the same network",
        "litert step": "LiteRT, the same network, tensors in and out",
        "chain with litert, hop by hop": "ours with LiteRT, hop by hop",
        "mvdr, hop by hop": "ours without the network, hop by hop",
        "dtln": "DTLN quantized, 1 microphone",
        "numpy solve": "MVDR solve in NumPy, every hop",
    }
    rows = [(title, f"{us[name]:.1f}") for name, title in others.items() if name in us]
    if rows:
        parts.append(table(("for comparison", "µs per 10 ms"), rows))
    if "litert" in us:
        ratio, step = us["network"] / us["litert"], us["network"] / us["litert step"]
        parts.append(f"The C engine takes {ratio:.2f} times what LiteRT takes ({step:.2f} with tensors in and out).")
    if "dtln" in us:
        parts.append(f"The chain takes {total / us['dtln']:.2f} times what DTLN takes.")
    return "\n\n".join(parts)


# ---- subjects ----


def _whole(enhancer: Enhancer, x: np.ndarray) -> Subject:
    return lambda: enhancer.process(x)


def _by_hop(enhancer: Enhancer, x: np.ndarray) -> Subject:
    hops = x.reshape(-1, enhancer.profile.hop, x.shape[1])
    return lambda: [enhancer.process(hop) for hop in hops]


def _network(profile: Profile, net: NativeNet) -> Subject:
    """The C engine, called as the kernel does, but for a loop in Python."""
    features, gains = _typical_features(net), np.zeros(net.bands, np.int16)
    x, y = pointer(features, "int16_t"), pointer(gains, "int16_t")

    def run() -> None:
        step, user = net.kernel_mask
        for _ in _hops(profile):
            step(user, x, y)

    return run


def _litert_step(profile: Profile, model: str) -> Subject:
    mask = MaskNet(model)
    features, gains = _typical_features(mask), np.zeros(mask.bands, np.int16)
    return lambda: [mask.step(features, gains) for _ in _hops(profile)]


def _litert_invoke(profile: Profile, model: str) -> Subject:
    """The runtime alone: no tensors set or read."""
    mask = MaskNet(model)
    return lambda: [mask._interpreter.invoke() for _ in _hops(profile)]


def _typical_features(mask: MaskNet | NativeNet) -> np.ndarray:
    return np.random.default_rng(2).integers(-8000, 8000, SIGNALS * mask.bands).astype(np.int16)


def _numpy_solve(array: MicArray, profile: Profile) -> Subject:
    """The weights of all bins, as a script would compute them: numpy.linalg.solve on (F, M, M), every hop."""
    reference = array.ear(array.ears[0])
    d = relative_steering(array, 0.0, profile.freqs, reference)
    field = prior(array, 0.0, profile.freqs, reference)
    return lambda: [mvdr_weights(field, d, field, 0.1) for _ in _hops(profile)]


def _hops(profile: Profile) -> range:
    return range(int(SECONDS * profile.sample_rate) // profile.hop)


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        array, profile = MicArray.load(args.array), PROFILES[args.profile]
        subjects = chain_subjects(array, profile, args.model) | reference_subjects(array, profile, args.peers)
        net = NativeNet(args.model) if args.model != "none" else None
        print(report(medians(subjects, args.rounds), array, profile, net))
        print(f"\n{bench_fft.report(args.rounds)}")
        return 0
    except (ValueError, EdgeEnhanceError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    default = "assist-m" if "assist-m" in zoo_names() else "none"
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.bench", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", metavar="DIR", help="folder of the DTLN .tflite files")
    parser.add_argument("--array", default="bte-2x2", metavar="NAME|FILE.toml")
    parser.add_argument("--profile", default="assist", choices=PROFILES)
    parser.add_argument("--model", default=default, metavar="NAME|FILE|none", help=f"default: {default}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
