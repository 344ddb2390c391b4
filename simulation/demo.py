"""The demo: a hearing-aid wearer, a talker in front, another one at the side, babble all around; before and after.

    python -m edgeenhance.simulation.demo [-o demo]

Simulates the scene (espeak-ng speaks if it is installed, otherwise two clips that come with the package), runs the
chain, writes sound files and a picture, and prints what was gained, the latency and the cost.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import atomic_path
from .._text import table
from ..arrays import new_figure
from ..enhancer import Enhancer, enhance
from ..errors import EdgeEnhanceError
from ..masknet import zoo_names
from . import metrics
from .scene import Scene, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLE_RATE = 16000
CLIPS = Path(__file__).parent / "clips"
SENTENCES = {  # file: espeak-ng's options and the text; the clips say the same
    "talker-1": (
        ("-v", "en-gb+f2", "-s", "150", "-p", "55"),
        "The kettle is on, so come and sit by the window. We can talk while the rain is falling outside.",
    ),
    "talker-2": (
        ("-v", "en-us+m3", "-s", "165", "-p", "40"),
        "Tomorrow the early train to the coast leaves at seven, and nobody has bought a ticket yet.",
    ),
}
SCENE: dict[str, Any] = {
    "seed": 3,
    "snr_db": 2.0,
    "level_dbfs": -26.0,
    "room": {"dimensions_m": [6.0, 4.5, 2.7], "rt60_s": 0.3},
    "array": {"name": "bte-2x2", "position_m": [2.6, 2.1, 1.3], "azimuth_deg": 20.0},
    "talkers": [
        {"azimuth_deg": 0.0, "distance_m": 1.0},
        {"azimuth_deg": -75.0, "distance_m": 1.6, "start_s": 1.0, "level_db": 4.0},
    ],
    "noises": [{"kind": "pink", "azimuth_deg": 140.0, "distance_m": 1.8, "level_db": -4.0}],
    "diffuse": {"kind": "babble", "directions": 16, "level_db": -3.0},
}


def make_demo(folder: Path, model: str) -> str:
    """Write the demo's files into a folder, which is created; returns the text to print."""
    folder.mkdir(parents=True, exist_ok=True)
    scene, rendered = demo_scene()
    noisy, target = rendered.mix[:, scene.reference], rendered.target[:, 0]
    signals = {"reference microphone": noisy, **enhanced(scene, rendered.mix, model)}
    scored = {name: metrics.scores(target, y)[0] for name, y in signals.items()}
    best = list(signals)[-1]
    write_sounds(folder, {"microphones": rendered.mix, "noisy": noisy, "enhanced": signals[best], "target": target})
    panels = [
        ("before, left front microphone" + _scores(scored["reference microphone"]), noisy),
        (f"after, {best}" + _scores(scored[best]), signals[best]),
        ("target alone, direct and early sound", target),
    ]
    with atomic_path(folder / "before-after.png") as temporary:
        spectrograms(panels).savefig(temporary, dpi=130)
    return "\n\n".join([score_table(scored), *latency_and_cost(scene, rendered.mix, model), _files_text(folder)])


# ---- scene and chain ----


def demo_scene() -> tuple[Scene, Any]:
    """The scene, and the sound of it."""
    with tempfile.TemporaryDirectory() as folder:
        files = [speak(name, Path(folder)) for name in SENTENCES]
        talkers = [{**talker, "file": str(file)} for talker, file in zip(SCENE["talkers"], files, strict=True)]
        scene = draw({**SCENE, "talkers": talkers, "duration_s": _seconds(files[0])})
        return scene, scene.render()


def speak(name: str, folder: Path) -> Path:
    """The sound file of a sentence: spoken by espeak-ng into the folder, or the clip of the package."""
    path = folder / f"{name}.wav"
    options, text = SENTENCES[name]
    try:
        subprocess.run(["espeak-ng", *options, "-w", str(path), text], check=True, capture_output=True)
        return path
    except (OSError, subprocess.CalledProcessError):
        return CLIPS / f"{name}.ogg"


def _seconds(path: Path) -> float:
    import soundfile

    return round(soundfile.info(path).duration, 2)


def enhanced(scene: Scene, mix: np.ndarray, model: str) -> dict[str, np.ndarray]:
    """Results by name, the full chain last; mix : (n, mics)."""
    results = {"beamformer (MVDR)": enhance(mix, SAMPLE_RATE, scene.array, model="none")}
    if model != "none":
        results[f"full chain (MVDR + {Path(model).stem})"] = enhance(mix, SAMPLE_RATE, scene.array, model=model)
    return results


# ---- what is shown ----


def score_table(scored: dict[str, dict[str, float]]) -> str:
    rows = [[name, *(f"{values[m]:.{metrics.DIGITS[m]}f}" for m in metrics.METRICS)] for name, values in scored.items()]
    return table(("", *(metrics.TITLES[m] for m in metrics.METRICS)), rows)


def latency_and_cost(scene: Scene, mix: np.ndarray, model: str) -> list[str]:
    """Latency part by part, and what a hop costs on this machine."""
    hop = Enhancer(scene.array, model="none").profile.hop
    enhancer = Enhancer(scene.array, model=model, block=hop)
    ms = 1000 / enhancer.profile.sample_rate
    rows = [
        (f"a block of {hop} samples (one hop) is filled", f"{hop * ms:.1f} ms"),
        ("analysis, beamformer, network: look back only", "0.0 ms"),
        ("overlap-add: synthesis window less a hop", f"{enhancer.latency * ms:.1f} ms"),
        ("sum, without converters and drivers", f"{enhancer.latency_ms():.1f} ms"),
    ]
    us = hop_time(enhancer, mix)
    share = us / (1000 * hop * ms)
    cost = f"{us:.0f} µs per hop of {hop * ms:.0f} ms on one core of this machine: {100 * share:.1f} % of real time"
    return [table(("latency", ""), rows), cost]


def hop_time(enhancer: Enhancer, mix: np.ndarray) -> float:
    """Median time of `process` for one hop, µs."""
    hop, times = enhancer.profile.hop, []
    for first in range(0, len(mix) - hop + 1, hop):
        start = time.perf_counter()
        enhancer.process(mix[first : first + hop])
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times))


def write_sounds(folder: Path, sounds: dict[str, np.ndarray]) -> None:
    """WAV files at a common gain: what is louder in one than in another is louder to the ear."""
    import soundfile

    gain = 0.9 / max(float(np.abs(sound).max()) for sound in sounds.values())
    for name, sound in sounds.items():
        with atomic_path(folder / f"{name}.wav") as temporary:
            soundfile.write(temporary, gain * sound, SAMPLE_RATE, subtype="PCM_16")


def spectrograms(panels: Sequence[tuple[str, np.ndarray]], range_db: float = 70.0) -> Figure:
    """One spectrogram above the other, on one colour scale; panels : (title, (n,) at 16 kHz)."""
    figure = new_figure(10, 8.4)
    axes = figure.subplots(len(panels), 1, sharex=True, sharey=True)
    levels = [_spectrogram(sound) for _, sound in panels]
    top = max(level.max() for level in levels)
    for ax, (title, sound), level in zip(axes, panels, levels, strict=True):
        extent = (0, len(sound) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        image = ax.imshow(
            level, origin="lower", aspect="auto", extent=extent, vmin=top - range_db, vmax=top, cmap="magma"
        )
        ax.set_title(title, loc="left", fontsize=11)
        ax.set_ylabel("frequency (kHz)")
    axes[-1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="level (dB re full scale)", pad=0.015, aspect=40)
    return figure


def _spectrogram(sound: np.ndarray, window: int = 512, hop: int = 64) -> np.ndarray:
    """Level of a full-scale sine = 0 dB: (F, T)."""
    taper = np.hanning(window)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, window // 2), window)[::hop]
    return 20 * np.log10(np.abs(np.fft.rfft(frames * taper)).T * 2 / taper.sum() + 1e-9)


def _scores(values: dict[str, float]) -> str:
    return f":  PESQ {values['pesq']:.2f}   ESTOI {values['estoi']:.2f}   SI-SDR {values['si_sdr']:+.1f} dB"


def _files_text(folder: Path) -> str:
    return (
        f"Look at {folder / 'before-after.png'}, listen to noisy.wav, enhanced.wav and target.wav beside it. Try\n"
        f"  {os.path.relpath(sys.executable)} -m edgeenhance enhance {folder / 'microphones.wav'} "
        "--array bte-2x2 --ears both -o out.wav"
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.demo", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    parser.add_argument("--model", default=_default_model(), metavar="NAME|FILE|none")
    args = parser.parse_args(argv)
    try:
        print(make_demo(args.output, args.model))
        return 0
    except (ValueError, EdgeEnhanceError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


def _default_model() -> str:
    return "assist-m" if "assist-m" in zoo_names() else "none"


if __name__ == "__main__":
    sys.exit(main())
