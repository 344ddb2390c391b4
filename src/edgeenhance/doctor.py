"""What works on this machine, what does not, and what to do about it: `edgeenhance doctor`.

Every check is one function that returns findings. Only what keeps the main job from working is wrong: the kernel, the
models, their results and their speed.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import _kernel, machine
from .bench import durations, noise
from .devices import devices
from .enhancer import DEFAULT_MODELS, Enhancer
from .errors import EdgeEnhanceError
from .kernel import lib
from .masknet import RUNTIMES, MaskNet, zoo_names
from .nativenet import NativeNet

OK, OPTIONAL, WARNING, WRONG = "ok", "optional", "warning", "wrong"
_LABELS = {OK: "OK", OPTIONAL: "--", WARNING: "warning", WRONG: "WRONG"}
LATE = 0.5  # of a hop's duration: slower is too close to real time
AGAIN = "pip install --force-reinstall --no-deps edgeenhance"
EXTRAS = {  # extra -> (packages of which it brings one, what it is for)
    "files": (("soundfile",), "sound files"),
    "live": (("sounddevice",), "sound cards"),
    "litert": (RUNTIMES, "comparing with a TFLite runtime"),
    "onnx": (("onnxruntime",), "networks in ONNX files"),
    "eval": (("pyroomacoustics",), "simulating and evaluating, at the workbench"),
    "train": (("torch",), "training, at the workbench"),
}
LIMITS = (
    "printf '@audio - rtprio 95\\n@audio - memlock unlimited\\n' | sudo tee /etc/security/limits.d/audio.conf; "
    "sudo usermod -aG audio $USER; log in again"
)


@dataclass(frozen=True)
class Finding:
    """state : "ok", "optional" (not there, not needed for the main job), "warning" or "wrong" · cure : what to do"""

    topic: str
    state: str
    text: str
    cure: str = ""


def examine() -> list[Finding]:
    """All findings, the most basic first."""
    vital = (_python, _package, _passthrough, _models, _speed)
    others = (_libraries, _processor, _governor, _runtimes, _extras, _sound, _real_time)
    return [
        *(finding for check in vital for finding in _found(check, WRONG)),
        *(finding for check in others for finding in _found(check, WARNING)),
    ]


def _found(check: Callable[[], Iterator[Finding]], failed: str) -> list[Finding]:
    """What a check finds; where it fails itself, that is a finding, and the others go on."""
    try:
        return list(check())
    except Exception as error:
        return [Finding(check.__name__.strip("_"), failed, f"{type(error).__name__}: {error}")]


def works(findings: list[Finding]) -> bool:
    """Whether the main job works: nothing is wrong."""
    return all(finding.state != WRONG for finding in findings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """What `edgeenhance doctor --json` prints."""
    return {"works": works(findings), "findings": [asdict(finding) for finding in findings]}


def report(findings: list[Finding]) -> str:
    """A line per finding, and one below for what to do."""
    lines = []
    for finding in findings:
        lines.append(f"{_LABELS[finding.state]:8} {finding.topic:12} {finding.text}")
        if finding.cure:
            lines.append(f"{'':21} do: {finding.cure}")
    warnings = sum(finding.state == WARNING for finding in findings)
    verdict = "enhancement works here" if works(findings) else "enhancement does not work here"
    return "\n".join([*lines, "", f"{verdict}; {warnings} warning{'s' * (warnings != 1)}"])


# ---- what is installed ----


def _python() -> Iterator[Finding]:
    bits = 64 if sys.maxsize > 2**32 else 32
    libc = " ".join(platform.libc_ver()).strip()
    where = ", ".join(filter(None, [f"{platform.system()} {platform.machine()}", libc]))
    yield Finding(
        "Python", OK, f"{platform.python_version()} ({platform.python_implementation()}), {bits} bit, {where}"
    )


def _package() -> Iterator[Finding]:
    """The version, the wheel's tags, and whether the compiled kernel is of the same version."""
    distribution = metadata.distribution("edgeenhance")
    tags = [line[5:] for line in (distribution.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    text = f"{distribution.version}, {', '.join(tags) or 'no wheel'}, {Path(_kernel.__file__).name}"
    version = f"{lib.EE_VERSION_MAJOR}.{lib.EE_VERSION_MINOR}"
    if distribution.version.startswith(f"{version}."):
        yield Finding("edgeenhance", OK, text)
    else:
        yield Finding("edgeenhance", WRONG, f"{text}, but the kernel is of version {version}", AGAIN)


def _libraries() -> Iterator[Finding]:
    names = ("numpy", "cffi")
    yield Finding("libraries", OK, ", ".join(f"{name} {metadata.version(name)}" for name in names))


def _runtimes() -> Iterator[Finding]:
    """TFLite runtimes, and whether the one in use gives the native engine's gains."""
    found = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if not found or not zoo_names():
        return
    text = ", ".join(f"{name} {_version(name)}" for name in found)
    try:
        same = _gains_agree()
    except Exception as error:  # a runtime that does not fit its NumPy fails in many ways
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        yield Finding("litert", WARNING, f"{text}: {reason}", "pip install --upgrade 'edgeenhance[litert]'")
        return
    if same:
        yield Finding("litert", OK, f"{text}: the native engine's gains")
    else:
        yield Finding("litert", WARNING, f"{text}: other gains than the native engine's", 'use backend="native"')


def _version(module: str) -> str:
    names = metadata.packages_distributions().get(module, [])
    return metadata.version(names[0]) if names else "of unknown version"


def _gains_agree() -> bool:
    model = zoo_names()[0]
    nets = [NativeNet(model), MaskNet(model)]
    features = np.random.default_rng(0).integers(-8000, 8000, (20, 4 * nets[0].bands)).astype(np.int16)
    gains = np.zeros((2, 20, nets[0].bands), np.int16)
    for net, rows in zip(nets, gains):
        for row, hop in zip(rows, features):
            net.step(hop, row)
    return int(np.abs(np.diff(gains.astype(int), axis=0)).max()) <= 2  # as tflite-runtime rounds


def _extras() -> Iterator[Finding]:
    for extra, (packages, purpose) in EXTRAS.items():
        if any(importlib.util.find_spec(package) for package in packages):
            yield Finding(f"[{extra}]", OK, f"installed: {purpose}")
        else:
            yield Finding(f"[{extra}]", OPTIONAL, f"not installed: {purpose}", f"pip install 'edgeenhance[{extra}]'")


# ---- the machine ----


def _processor() -> Iterator[Finding]:
    features = machine.cpu_features()
    text = f"{machine.cpu_name()}, {os.cpu_count()} cores, {' '.join(features) or 'features unknown'}"
    yield Finding("processor", OK, text)


def _governor() -> Iterator[Finding]:
    found = ", ".join(f"{name} on cores {_ranges(cores)}" for name, cores in machine.governors().items())
    if machine.slow_governors():
        yield Finding("governor", WARNING, f"{found}: the frequency follows the load, late", machine.GOVERN)
    elif found:
        yield Finding("governor", OK, found)


def _ranges(cores: list[int]) -> str:
    whole = cores == list(range(cores[0], cores[-1] + 1)) and len(cores) > 1
    return f"{cores[0]}-{cores[-1]}" if whole else ", ".join(map(str, cores))


def _real_time() -> Iterator[Finding]:
    """Whether the audio thread may go before all others."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    priority, locked = (resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK))
    memory = "unlimited" if locked < 0 else f"{locked // 1024} kB"
    text = f"rtprio {priority}, memlock {memory}, {'' if _in_group('audio') else 'not '}in group audio"
    if _may_run_in_real_time():
        yield Finding("real time", OK, text)
    else:
        yield Finding("real time", WARNING, f"no real-time priority ({text}): sound cards may drop out", LIMITS)


def _in_group(name: str) -> bool:
    import grp

    try:
        return grp.getgrnam(name).gr_gid in os.getgroups()
    except KeyError:
        return False


def _may_run_in_real_time() -> bool:
    """Tries it, for this thread, and goes back: limits, capabilities and control groups all have a say."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, *before)
    return True


def _sound() -> Iterator[Finding]:
    if sys.platform.startswith("linux"):
        yield from _sound_files(Path("/dev/snd"))
    if importlib.util.find_spec("sounddevice") is None:
        return  # said by _extras
    try:
        found = devices()
    except EdgeEnhanceError as error:
        yield Finding("sound", WARNING, str(error))
        return
    if not found:
        yield Finding("sound", OPTIONAL, "PortAudio finds no device")
    for d in found:
        yield Finding("sound", OK, f"{d.name}: {d.inputs} in, {d.outputs} out, {d.default_rate} Hz ({d.host_api})")


def _sound_files(folder: Path) -> Iterator[Finding]:
    """ALSA's device files: are there any, and may we use them?"""
    files = sorted(folder.glob("pcm*"))
    closed = [path.name for path in files if not os.access(path, os.R_OK | os.W_OK)]
    if not files:
        text = f"no sound card in {folder}"
        yield Finding("sound", OPTIONAL, text, "plug one in, or enable it; pipes and files work without")
    elif closed:
        text = f"no access to {', '.join(closed)} in {folder}"
        yield Finding("sound", WARNING, text, "sudo usermod -aG audio $USER; log in again")


# ---- the main job ----


def _passthrough() -> Iterator[Finding]:
    """With strength 0 the kernel gives back the input, `latency` samples later: an impulse shows it."""
    enhancer = Enhancer("mono", model="none", strength=0.0)
    x = np.zeros(4096, np.float32)
    x[1000] = 0.5
    y, expected = enhancer.process(x), np.roll(x, enhancer.latency)
    error = float(np.abs(y - expected).max())
    if error < 1e-5:
        yield Finding("kernel", OK, f"an impulse comes back {enhancer.latency} samples later, as it should")
    else:
        yield Finding("kernel", WRONG, f"an impulse comes back changed, by {error:.2g}", AGAIN)


def _models() -> Iterator[Finding]:
    """The models are there, take noise away, and use what the processor can."""
    names = zoo_names()
    missing = [name for name in DEFAULT_MODELS.values() if name not in names]
    if missing:
        yield Finding("models", WRONG, f"{', '.join(missing)} not in this installation", AGAIN)
        return
    simd = NativeNet(names[0]).simd
    if "avx2" in machine.cpu_features() and simd != "avx2":
        cure = "build it with gcc or clang"
        yield Finding("models", WARNING, f"networks run on {simd}: the kernel was built without AVX2", cure)
    for profile, model in DEFAULT_MODELS.items():
        quieter = _noise_taken(profile)
        if quieter > 10:
            yield Finding("models", OK, f"{model} takes {quieter:.0f} dB off noise, on {simd}")
        else:
            yield Finding("models", WRONG, f"{model} takes {quieter:.0f} dB off noise, not 10", AGAIN)


def _noise_taken(profile: str) -> float:
    """dB that the default model takes off white noise at all microphones, in its second second."""
    enhancer = Enhancer("bte-2x2", profile=profile)
    x = noise(enhancer.profile, 4, 2.0)
    y = enhancer.process(x)[16000:]
    return float(10 * np.log10(np.mean(x[16000:, 0] ** 2) / (np.mean(y**2) + 1e-20)))


def _speed() -> Iterator[Finding]:
    """Hops of the default enhancer against the time that they last."""
    if DEFAULT_MODELS["assist"] not in zoo_names():
        return
    enhancer = Enhancer("bte-2x2", block=64)
    hops = noise(enhancer.profile, 4).reshape(-1, 64, 4)
    times = durations(partial(enhancer.process, hop) for hop in hops)
    share = float(np.median(times)) / (64 / 16000)
    text = f"4 ms of 4 microphones take {1e6 * np.median(times):.0f} µs, {100 * share:.1f} % of a core"
    if share < LATE:
        yield Finding("speed", OK, text)
    else:
        cure = "edgeenhance bench shows what is faster: --model assist-s, fewer microphones"
        yield Finding("speed", WARNING if share < 1 else WRONG, text, cure)
