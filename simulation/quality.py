"""The quality benchmark: fixed scenes, several systems, paired differences with 95 % intervals.

    python -m edgeenhance.simulation.quality --speech DIR --noise DIR [--peers DIR] [-o quality.md] [--gate]

Every scene of a suite is rendered and given to every system; each result is scored against the target's direct and
early sound at the reference microphone, delays compensated. A system is named by what it does:

    noisy                     the reference microphone as it is
    BEAMFORMER                e.g. superdirective: the beam alone
    BEAMFORMER+MODEL          e.g. mvdr+assist-1: the chain; none+MODEL is the network on the reference microphone
    log-mmse, dtln            peers on the reference microphone (see `peers`)

The numbers do not depend on the number of workers.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_path
from .._text import markdown
from ..enhancer import enhance
from ..errors import EdgeEnhanceError
from ..masknet import zoo_names
from . import metrics
from .jobs import run_jobs
from .peers import Dtln, log_mmse
from .scene import Scene
from .suite import load_suite

SYSTEMS = (
    "noisy",
    "log-mmse",
    "dtln",
    "delay-and-sum",
    "superdirective",
    "mvdr",
    "superdirective+assist-1",
    "mvdr+assist-1",
)
SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Bench:
    """What is run: scenes of a suite, recordings, systems. peers : folder of the DTLN files
    true_look : steer to the target's true direction; otherwise to the front, as a wearer's head does"""

    suite: str
    speech: str | None
    noise: str | None
    systems: tuple[str, ...] = SYSTEMS
    peers: str | None = None
    true_look: bool = False


Record = dict[str, Any]  # scene, snr_db, mount, competing, system, pesq, stoi, estoi, si_sdr, reasons


def run(bench: Bench, workers: int = 1, scenes: int | None = None) -> list[Record]:
    """Score all systems on all scenes (or the first few), one record for each pair, in order."""
    count = len(load_suite(bench.suite))
    count = count if scenes is None else min(count, scenes)
    with tempfile.TemporaryDirectory() as folder:
        job = partial(_score_to_file, bench, Path(folder))
        run_jobs(job, list(range(count)), workers, "quality")
        return [record for i in range(count) for record in json.loads(_result(Path(folder), i).read_text())]


def _result(folder: Path, index: int) -> Path:
    return folder / f"scene_{index:05d}.json"


def _score_to_file(bench: Bench, folder: Path, index: int) -> None:
    _result(folder, index).write_text(json.dumps(score_scene(bench, index)))


def score_scene(bench: Bench, index: int) -> list[Record]:
    """Render scene number `index` and score every system on it."""
    scene = load_suite(bench.suite)[index]
    rendered = scene.render(bench.speech, bench.noise)
    target = rendered.target[:, list(scene.array.reference).index(_ear(scene))]
    facts = {
        "scene": index,
        "snr_db": scene.snr_db,
        "mount": scene.array.mount,
        "competing": any(source.kind == "speech" for source in scene.sources[1:]),
    }
    records = []
    for name in bench.systems:
        y = system(name, bench.peers)(rendered.mix, scene, scene.look_deg if bench.true_look else 0.0)
        values, reasons = metrics.scores(target, y)
        records.append({**facts, "system": name, **values, "reasons": reasons})
    return records


# ---- systems ----


def system(name: str, peers: str | None = None) -> Callable[[np.ndarray, Scene, float], np.ndarray]:
    """(mix (n, M), scene, look in degrees) -> (n,), not delayed. ValueError for a name that is none."""
    single = {"noisy": lambda x: x, "log-mmse": log_mmse}
    if name == "dtln":
        if peers is None:
            raise ValueError("system dtln needs --peers DIR, the folder of its .tflite files")
        single["dtln"] = Dtln(peers)
    if name in single:
        return lambda mix, scene, look: single[name](mix[:, scene.reference])
    return partial(_chain, *_beam_and_model(name))


def _beam_and_model(name: str) -> tuple[str, str]:
    beam, _, model = name.partition("+")
    return beam, model or "none"


def _chain(beam: str, model: str, mix: np.ndarray, scene: Scene, look: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of doubtful recordings: these are simulated
        return enhance(mix, SAMPLE_RATE, scene.array, beamformer=beam, model=model, look=look, ears=_ear(scene))


def _ear(scene: Scene) -> str:
    """The ear whose microphone is the scene's reference."""
    return next(ear for ear in scene.array.ears if scene.array.ear(ear) == scene.reference)


# ---- tables ----

GROUPS: dict[str, Callable[[Record], bool]] = {
    "head": lambda r: r["mount"] == "head",
    "free field": lambda r: r["mount"] == "free",
    "competing talker": lambda r: r["competing"],
    "no competing talker": lambda r: not r["competing"],
}


def report(records: Sequence[Record]) -> str:
    """The whole result as Markdown."""
    scenes = len({record["scene"] for record in records})
    parts = [
        f"{scenes} scenes; target: direct and early (50 ms) sound at the reference microphone.",
        "## Means\n\n" + _means(records),
        "## Differences to the noisy microphone, paired, with 95 % intervals\n\n" + _differences(records),
        "## By condition: PESQ / STOI / ESTOI / SI-SDR\n\n" + _by_condition(records),
        "## One against the other, paired, with 95 % intervals\n\n" + _pairs(records),
    ]
    reasons = sorted({f"scene {r['scene']}, {r['system']}: {why}" for r in records for why in r["reasons"]})
    if reasons:
        parts.append("## Not scored\n\n" + "\n".join(f"- {reason}" for reason in reasons))
    return "\n\n".join(parts) + "\n"


def _means(records: Sequence[Record]) -> str:
    rows = [[name, *_numbers(_of(records, name))] for name in _names(records)]
    return markdown(("system", *_titles()), rows)


def _differences(records: Sequence[Record]) -> str:
    rows = [[name, *_compared(records, name, "noisy")] for name in _names(records) if name != "noisy"]
    return markdown(("system", *_titles()), rows)


def _by_condition(records: Sequence[Record]) -> str:
    groups = {f"{snr:g} dB": partial(_has_snr, snr) for snr in sorted({r["snr_db"] for r in records})} | GROUPS
    rows = []
    for name in _names(records):
        chosen = [[r for r in _of(records, name) if belongs(r)] for belongs in groups.values()]
        rows.append([name, *(_cell(group) for group in chosen)])
    return markdown(("system", *groups), rows)


def _has_snr(snr: float, record: Record) -> bool:
    return record["snr_db"] == snr


def _cell(records: Sequence[Record]) -> str:
    return " / ".join(_numbers(records)) if records else "-"


def _numbers(records: Sequence[Record]) -> list[str]:
    return [f"{_mean(records, metric):.{metrics.DIGITS[metric]}f}" for metric in metrics.METRICS]


def _pairs(records: Sequence[Record]) -> str:
    names = _names(records)
    chains = [name for name in names if "+" in name]
    pairs = [(chain, other) for chain in chains[-1:] for other in names if other != chain]
    if {"mvdr", "superdirective"} <= set(names):
        pairs.append(("mvdr", "superdirective"))
    rows = [[f"{a} − {b}", *_compared(records, a, b)] for a, b in pairs]
    return markdown(("difference", *_titles()), rows)


def _compared(records: Sequence[Record], name: str, baseline: str) -> list[str]:
    return [compare(records, name, baseline, metric).format(metrics.DIGITS[metric]) for metric in metrics.METRICS]


def compare(records: Sequence[Record], name: str, baseline: str, metric: str) -> metrics.Interval:
    """Mean difference of two systems on the scenes both were scored on."""
    ours, theirs = ({r["scene"]: r[metric] for r in _of(records, n)} for n in (name, baseline))
    return metrics.paired_interval(ours[scene] - theirs[scene] for scene in ours.keys() & theirs.keys())


def _names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["system"] for record in records))


def _of(records: Sequence[Record], name: str) -> list[Record]:
    return [record for record in records if record["system"] == name]


def _mean(records: Sequence[Record], metric: str) -> float:
    return float(np.nanmean([record[metric] for record in records]))


def _titles() -> list[str]:
    return [metrics.TITLES[metric] for metric in metrics.METRICS]


# ---- gate ----

# system, baseline, metric, least mean difference. Each lower bound of the interval must lie above 0 where the least
# difference does.
GATE = (
    ("mvdr+assist-1", "noisy", "estoi", 0.09),
    ("mvdr+assist-1", "noisy", "pesq", 0.12),
    ("mvdr+assist-1", "mvdr", "estoi", 0.0),
    ("mvdr+assist-1", "log-mmse", "estoi", 0.0),
    ("mvdr+assist-1", "dtln", "estoi", 0.0),
    ("mvdr", "superdirective", "estoi", 0.0),
)


def misses(records: Sequence[Record]) -> list[str]:
    """What the gate asks for and the records do not show, a sentence each; systems that did not run are left out."""
    names, out = _names(records), []
    for name, baseline, metric, least in GATE:
        if not {name, baseline} <= set(names):
            continue
        found = compare(records, name, baseline, metric)
        if not (found.mean >= least and (least == 0 or found.low > 0)):
            out.append(f"{name} − {baseline}: {metric} {found.format()}, expected at least {least:+.3f}")
    return out


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        bench = Bench(args.suite, args.speech, args.noise, _available(args), args.peers, args.true_look)
        records = run(bench, args.workers, args.scenes)
        text = f"# Quality on suite {Path(args.suite).stem}\n\n{report(records)}"
        print(text)
        if args.output:
            _write(args.output, text, records)
        missed = misses(records) if args.gate else []
        for sentence in missed:
            print(f"gate: {sentence}", file=sys.stderr)
        return 1 if missed else 0
    except (ValueError, TypeError, EdgeEnhanceError, OSError) as error:
        print(f"quality: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--speech", metavar="DIR", help="recordings of talkers; synthesized without")
    parser.add_argument("--noise", metavar="DIR", help="recordings of noises; synthesized without")
    parser.add_argument("--peers", metavar="DIR", help="folder of the DTLN .tflite files")
    parser.add_argument("--suite", default="bench", metavar="NAME|FILE.toml", help="default: bench")
    parser.add_argument("--systems", type=_names_in, metavar="A,B,...", help="see the docstring of the module")
    parser.add_argument("--scenes", type=int, metavar="N", help="the first N scenes only")
    parser.add_argument("--true-look", action="store_true", help="steer to the target, not to the front")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--gate", action="store_true", help="exit 1 where assist-1 misses what it must reach")
    parser.add_argument("-o", "--output", metavar="FILE", help="FILE.md and FILE.json (a record per scene and system)")
    return parser


def _names_in(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _available(args: argparse.Namespace) -> tuple[str, ...]:
    """The systems asked for, or all that can run here."""
    if args.systems:
        return args.systems
    possible = set(zoo_names()) | {"none"}
    names = [name for name in SYSTEMS if _beam_and_model(name)[1] in possible]
    return tuple(name for name in names if name != "dtln" or args.peers)


def _write(output: str, text: str, records: Sequence[Record]) -> None:
    plain = [{key: _plain(value) for key, value in record.items()} for record in records]
    for suffix, content in ((".md", text), (".json", json.dumps(plain, indent=1, allow_nan=False))):
        with atomic_path(Path(output).with_suffix(suffix)) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
