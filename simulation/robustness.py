"""How a model's chain takes what devices and wearers do to it: figures, curves and a drift test on fixed scenes.

    python -m edgeenhance.simulation.robustness MODEL [--speech DIR] [--noise DIR] [-o robustness.md]

Always steered to the talker's true direction, default strength, ESTOI and PESQ against the talker's direct and early
sound at the reference microphone:

    level      the input 30 dB quieter to 6 dB louder, without sensor noise (it would change with the level)
    look       steered wrong by so many degrees, to either side
    mismatch   each microphone off by up to ±2 dB and ±10°, drawn evenly; the phase error is constant above 500 Hz
               and proportional to frequency below, as of a microphone's lower cut-off
    clean      the talker's direct and early sound alone at all microphones: what the chain damages, and which part of
               it does: the beam alone, the network on the reference microphone
    drift      5 s of noise, 5 s of noisy speech, 5 s of sensor noise, over and over for a minute on every scene and
               for --minutes on one: how far the gain on the same sound moves, once it has been heard

The numbers do not depend on the number of workers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.fft import next_fast_len

from .._files import atomic_path
from .._text import markdown
from ..arrays import new_figure
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from . import metrics
from .jobs import collect
from .render import Rendered
from .scene import Scene
from .suite import add_suite_arguments, load_suite
from .systems import SAMPLE_RATE, chain, ear, model_file, profile_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHIFTS_DB = (-30, -20, -10, 0, 6)
LOOK_ERRORS_DEG = (0, 5, 10, 15, 20, 30)
MISMATCH_DB, MISMATCH_DEG, MISMATCH_EDGE_HZ = 2.0, 10.0, 500.0
MISMATCHES = 2  # draws per scene
PART_S = 5  # of noise, of noisy speech, of sensor noise: one cycle of the drift test
_NO_SENSOR_NOISE_DBFS = -200.0
_SEED = 1

# What the curves and figures are held against: largest change of ESTOI by level, largest loss by a wrong look and by
# mismatch, least PESQ of clean speech, largest change of gain.
LEVEL_BOUND, LOSS_BOUND, CLEAN_BOUND, DRIFT_BOUND_DB = 0.01, 0.03, 3.8, 0.5
LOOK_BOUND_DEG = 15


@dataclass(frozen=True)
class Subject:
    """A chain and what it hears. model : as in `systems`, "none" too · speech, noise : folders, None synthesizes"""

    model: str
    suite: str = "bench"
    speech: str | None = None
    noise: str | None = None
    beamformer: str = "mvdr"

    def enhance(self, x: np.ndarray, scene: Scene, look_error: float = 0.0) -> np.ndarray:
        return chain(self.beamformer, model_file(self.model), x, scene, scene.look_deg + look_error)

    def render(self, scene: Scene) -> Rendered:
        return scene.render(self.speech, self.noise)

    @property
    def parts(self) -> tuple[Subject, Subject, Subject]:
        """The chain, the beam without the network, and the network on the reference microphone."""
        return self, replace(self, model="none"), replace(self, beamformer="none")


Result = dict[str, Any]  # of `examine`


def run(subject: Subject, workers: int = 1, scenes: int | None = None) -> list[Result]:
    """All tests on the scenes of the suite, or the first few; one result per scene, in order."""
    count = len(load_suite(subject.suite))
    return collect(partial(examine, subject), count if scenes is None else min(count, scenes), workers, "robustness")


def examine(subject: Subject, index: int) -> Result:
    """The tests on scene number `index`.

    {"level": ESTOI by SHIFTS_DB, "look": ESTOI by LOOK_ERRORS_DEG, "mismatch": ESTOI, "clean": PESQ of
    `Subject.parts`, "drift": as `drift`}
    """
    scene = load_suite(subject.suite)[index]
    sound = subject.render(scene)
    return {
        "level": by_level(subject, scene),
        "look": by_look(subject, scene, sound),
        "mismatch": with_mismatch(subject, scene, sound, np.random.default_rng([_SEED, index])),
        "clean": [metrics.pesq(sound.early, part.enhance(sound.clean, scene)) for part in subject.parts],
        "drift": drift(subject, scene, sound, 1.0),
    }


def by_level(subject: Subject, scene: Scene) -> list[float]:
    """ESTOI with the input shifted by each of SHIFTS_DB, without sensor noise."""
    sound = subject.render(replace(scene, sensor_noise_dbfs=_NO_SENSOR_NOISE_DBFS))
    shifted = (sound.mix * np.float32(10 ** (shift / 20)) for shift in SHIFTS_DB)
    return [metrics.estoi(sound.early, subject.enhance(x, scene)) for x in shifted]


def by_look(subject: Subject, scene: Scene, sound: Rendered) -> list[float]:
    """ESTOI with the look wrong by each of LOOK_ERRORS_DEG, mean of both sides."""

    def steered(error: float) -> float:
        return metrics.estoi(sound.early, subject.enhance(sound.mix, scene, error))

    return [float(np.mean([steered(error) for error in {d, -d}])) for d in LOOK_ERRORS_DEG]


def with_mismatch(subject: Subject, scene: Scene, sound: Rendered, rng: np.random.Generator) -> float:
    """Mean ESTOI over a few draws of microphone errors."""
    mixes = [mismatched(sound.mix, rng) for _ in range(MISMATCHES)]
    return float(np.mean([metrics.estoi(sound.early, subject.enhance(mix, scene)) for mix in mixes]))


def mismatched(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A recording (n, M) by microphones that differ: uniform ±MISMATCH_DB and ±MISMATCH_DEG, see the module."""
    gain = 10 ** (rng.uniform(-MISMATCH_DB, MISMATCH_DB, x.shape[1]) / 20)
    phase = np.radians(rng.uniform(-MISMATCH_DEG, MISMATCH_DEG, x.shape[1]))
    size = next_fast_len(len(x) + SAMPLE_RATE, real=True)  # room for the ends of the phase shifters' responses
    share = np.minimum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE) / MISMATCH_EDGE_HZ, 1.0)
    spectra = np.fft.rfft(x, size, axis=0) * gain * np.exp(1j * share[:, None] * phase)
    return np.fft.irfft(spectra, size, axis=0)[: len(x)].astype(np.float32)


def drift(subject: Subject, scene: Scene, sound: Rendered, minutes: float) -> dict[str, dict[str, float]]:
    """The gain on a part and how it moves, dB: {"noise" or "speech": {"gain", "start", "drift"}}.

    gain : in the second cycle · start : its change from the first cycle to the second, while the chain gets to know
    the noise · drift : from the second cycle to any later one
    """
    gains = drift_gains(subject, scene, sound, minutes)
    return {
        part: {
            "gain": float(values[1]),
            "start": float(abs(values[1] - values[0])),
            "drift": float(np.abs(values[1:] - values[1]).max()),
        }
        for part, values in gains.items()
    }


def drift_gains(subject: Subject, scene: Scene, sound: Rendered, minutes: float) -> dict[str, np.ndarray]:
    """Gain on the noise part (by level) and on the talker (by projection) in every cycle of a stream: (cycles,) dB."""
    n = PART_S * SAMPLE_RATE
    speech = _loudest(sound.early, n)
    mix, target, noise = sound.mix[speech], sound.early[speech], sound.noise[:n]
    cycle = np.concatenate([noise, mix, _hiss(scene, n)])
    model = model_file(subject.model)
    enhancer = Enhancer(
        scene.array, profile=profile_of(model), beamformer=subject.beamformer, model=model, look=scene.look_deg,
        ears=ear(scene),
    )  # fmt: skip
    late = enhancer.latency
    outputs = (enhancer.process(cycle)[late : late + 2 * n] for _ in range(max(3, round(60 * minutes / (3 * PART_S)))))
    gains = [
        (_db(_power(y[:n]) / _power(noise[:, scene.reference])), _db(_projection(y[n:], target) ** 2)) for y in outputs
    ]
    return dict(zip(("noise", "speech"), np.array(gains).T))


def _loudest(sound: np.ndarray, length: int) -> slice:
    """Where a sound (n,) has the most energy in so many samples."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=float))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return slice(start, start + length)


def _hiss(scene: Scene, length: int) -> np.ndarray:
    """Sensor noise alone, at the scene's level: (length, M)."""
    noise = np.random.default_rng(_SEED).standard_normal((length, scene.array.mics))
    return (noise * 10 ** (scene.sensor_noise_dbfs / 20)).astype(np.float32)


def _projection(y: np.ndarray, target: np.ndarray) -> float:
    """The gain a with which a s is closest to y, s the target: <y, s> / |s|^2."""
    target = target.astype(float)
    return float(y @ target / (target @ target))


def _power(sound: np.ndarray) -> float:
    return float(np.mean(np.square(sound, dtype=float)))


def _db(power: float) -> float:
    return float(10 * np.log10(power + 1e-20))


# ---- report ----


@dataclass(frozen=True)
class Finding:
    """One figure against its bound."""

    what: str
    measured: str
    bound: str
    kept: bool


def findings(results: Sequence[Result], long: dict[str, dict[str, float]], minutes: float) -> list[Finding]:
    """The figures that have a bound. long : `drift` over `minutes` on one scene"""
    level = max((_change(results, "level", shift) for shift in SHIFTS_DB), key=lambda change: abs(change.mean))
    look = _change(results, "look", LOOK_BOUND_DEG)
    mismatch = metrics.paired_interval(result["mismatch"] - result["look"][0] for result in results)
    clean = metrics.paired_interval(result["clean"][0] for result in results)
    minute, longer = max(result["drift"]["speech"]["drift"] for result in results), long["speech"]["drift"]
    return [
        Finding(
            f"ESTOI, level shifted by {SHIFTS_DB[0]} to {SHIFTS_DB[-1]:+} dB, most",
            level.format(4), f"±{LEVEL_BOUND}", abs(level.mean) <= LEVEL_BOUND,
        ),
        Finding(f"ESTOI, look wrong by {LOOK_BOUND_DEG}°", look.format(), f"−{LOSS_BOUND}", look.mean >= -LOSS_BOUND),
        Finding(
            f"ESTOI, microphones off by ±{MISMATCH_DB:g} dB, ±{MISMATCH_DEG:g}°",
            mismatch.format(), f"−{LOSS_BOUND}", mismatch.mean >= -LOSS_BOUND,
        ),
        Finding("PESQ, clean speech in", clean.format(2, sign=""), f"{CLEAN_BOUND}", clean.mean >= CLEAN_BOUND),
        Finding("gain on speech over 1 min, worst scene", f"{minute:.2f} dB", *_drift_bound(minute)),
        Finding(f"gain on speech over {minutes:g} min", f"{longer:.2f} dB", *_drift_bound(longer)),
    ]  # fmt: skip


def _drift_bound(change_db: float) -> tuple[str, bool]:
    return f"{DRIFT_BOUND_DB} dB", change_db < DRIFT_BOUND_DB


_CURVES = {"level": SHIFTS_DB, "look": LOOK_ERRORS_DEG}


def _change(results: Sequence[Result], curve: str, at: float) -> metrics.Interval:
    """Difference of ESTOI on a curve between `at` and its 0, paired by scene."""
    here, origin = _CURVES[curve].index(at), _CURVES[curve].index(0)
    return metrics.paired_interval(result[curve][here] - result[curve][origin] for result in results)


def report(subject: Subject, results: Sequence[Result], long: dict[str, dict[str, float]], minutes: float) -> str:
    """Figures against their bounds, and the curves as tables: Markdown."""
    rows = [(f.what, f.measured, f.bound, "yes" if f.kept else "no") for f in findings(results, long, minutes)]
    chain, beam, network = (float(np.nanmean(pesq)) for pesq in zip(*(r["clean"] for r in results), strict=True))
    parts = [
        f"{subject.beamformer} + {Path(subject.model).stem}, {len(results)} scenes, steered to the talker; differences "
        "are paired, with 95 % intervals.",
        markdown(("what", "measured", "bound", "kept"), rows),
        markdown(("level / dB", "ESTOI", "difference"), _curve_rows(results, "level")),
        markdown(("look wrong by / °", "ESTOI", "difference"), _curve_rows(results, "look")),
        f"Clean speech in: PESQ {chain:.2f}; the beam alone {beam:.2f}, the network on one microphone {network:.2f}.",
        _drift_text(results, long, minutes),
    ]
    return "\n\n".join(parts) + "\n"


def _curve_rows(results: Sequence[Result], curve: str) -> list[tuple[str, str, str]]:
    return [
        (f"{at:g}", f"{np.nanmean([r[curve][n] for r in results]):.3f}", _change(results, curve, at).format(4))
        for n, at in enumerate(_CURVES[curve])
    ]


def _drift_text(results: Sequence[Result], long: dict[str, dict[str, float]], minutes: float) -> str:
    gains = [result["drift"]["speech"]["gain"] for result in results]
    start = np.mean([result["drift"]["speech"]["start"] for result in results])
    noise = np.mean([result["drift"]["noise"]["drift"] for result in results])
    return (
        f"In the drift test the gain on the talker is {np.mean(gains):.1f} dB in the mean and {min(gains):.1f} dB in "
        "the worst scene. From the first cycle to the second, while the beam gets to know the noise, it moves by "
        f"{start:.2f} dB in the mean. The gain on noise moves by {noise:.2f} dB within a minute in the mean, and by "
        f"{long['noise']['drift']:.2f} dB within {minutes:g} min on the one scene."
    )


def plot(results: Sequence[Result]) -> Figure:
    """Both curves: change of ESTOI by level and by wrong look, with intervals and bounds."""
    figure = new_figure(9, 3.4)
    level, look = figure.subplots(1, 2)
    _draw(level, results, "level", "input level / dB, relative to usual")
    level.axhspan(-LEVEL_BOUND, LEVEL_BOUND, color="0.93", label=f"bound ±{LEVEL_BOUND}")
    level.set(ylim=(-0.05, 0.05), ylabel="change of ESTOI")
    _draw(look, results, "look", "look direction wrong by / °")
    look.plot([0, LOOK_BOUND_DEG], [-LOSS_BOUND] * 2, color="0.5", linestyle="--", label=f"bound at {LOOK_BOUND_DEG}°")
    for axes in (level, look):
        axes.legend(frameon=False, loc="lower left")
    return figure


def _draw(axes: Axes, results: Sequence[Result], curve: str, label: str) -> None:
    points = _CURVES[curve]
    changes = [_change(results, curve, at) for at in points]
    means = [change.mean for change in changes]
    spread = np.nan_to_num([[c.mean - c.low, c.high - c.mean] for c in changes]).T
    axes.errorbar(points, means, spread, color="#2166ac", marker="o", markersize=4, capsize=3, label="mean, 95 %")
    axes.set(xlabel=label, xticks=points)
    axes.grid(color="0.9")


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        model_file(args.model)  # a name that is none ends here, not in a worker
        subject = Subject(args.model, args.suite, args.speech, args.noise, args.beamformer)
        results = run(subject, args.workers, args.scenes)
        scene = load_suite(args.suite)[0]
        long = drift(subject, scene, subject.render(scene), args.minutes)
        text = f"# Robustness of {args.model}\n\n{report(subject, results, long, args.minutes)}"
        print(text)
        if args.output:
            _write(Path(args.output), text, results)
        return 0
    except (ValueError, TypeError, EdgeEnhanceError, OSError) as error:
        print(f"robustness: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.robustness", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", help="zoo name, with :int8 its int8 file, or a .tflite file")
    add_suite_arguments(parser)
    parser.add_argument("--beamformer", default="mvdr", metavar="NAME", help="default: mvdr")
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="of the long drift test (default: 30)")
    parser.add_argument("-o", "--output", metavar="FILE.md", help="the report, and its curves as FILE.png")
    return parser


def _write(path: Path, text: str, results: Sequence[Result]) -> None:
    picture = path.with_suffix(".png")
    with atomic_path(picture) as temporary:
        plot(results).savefig(temporary, dpi=120)
    with atomic_path(path.with_suffix(".md")) as temporary:
        temporary.write_text(f"{text}\n![change of ESTOI by level and look]({picture.name})\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
