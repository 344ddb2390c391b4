"""The quality benchmark: fixed scenes, several systems, paired differences with 95 % intervals.

    python -m edgeenhance.simulation.quality --speech DIR --noise DIR [--peers DIR] [-o quality.md] [--gate]

Every scene of a suite is rendered and given to every system (their names: see `systems`); each result is scored against
the target's direct and early sound at the reference microphone, delays compensated. Without --systems all that can run
here do: peers, beams, and every model of the zoo in 16x8, int8 and float. The numbers do not depend on the number of
workers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_path
from .._text import markdown
from ..errors import EdgeEnhanceError
from ..masknet import zoo_names, zoo_path
from . import metrics
from .jobs import collect
from .peers import NETWORKS
from .suite import add_suite_arguments, load_suite
from .systems import PRECISIONS, beam_and_model, model_and_precision, profile_of, system, write_floats

BASELINES = ("noisy", "log-mmse", "dtln", "gtcrn", "superdirective", "mvdr", "superdirective+gtcrn")
STRONGEST = "superdirective+gtcrn"  # of the baselines


@dataclass(frozen=True)
class Bench:
    """What is run: scenes of a suite, recordings, systems. peers : folder of the peers' files
    true_look : steer to the target's true direction; otherwise to the front, as a wearer's head does"""

    suite: str
    speech: str | None
    noise: str | None
    systems: tuple[str, ...]
    peers: str | None = None
    true_look: bool = False


Record = dict[str, Any]  # scene, snr_db, mount, competing, system, pesq, stoi, estoi, si_sdr, reasons


def run(bench: Bench, workers: int = 1, scenes: int | None = None) -> list[Record]:
    """Score all systems on all scenes (or the first few), one record for each pair, in order."""
    count = len(load_suite(bench.suite))
    with tempfile.TemporaryDirectory() as floats:
        write_floats(bench.systems, floats)
        job = partial(score_scene, bench, floats=floats)
        records = collect(job, count if scenes is None else min(count, scenes), workers, "quality")
    return [record for of_scene in records for record in of_scene]


def score_scene(bench: Bench, index: int, floats: str | None = None) -> list[Record]:
    """Render scene number `index` and score every system on it. floats : see `systems.write_floats`"""
    scene = load_suite(bench.suite)[index]
    rendered = scene.render(bench.speech, bench.noise)
    facts = {
        "scene": index,
        "snr_db": scene.snr_db,
        "mount": scene.array.mount,
        "competing": any(source.kind == "speech" for source in scene.sources[1:]),
    }
    records = []
    for name in bench.systems:
        y = system(name, bench.peers, floats)(rendered.mix, scene, scene.look_deg if bench.true_look else 0.0)
        values, reasons = metrics.scores(rendered.early, y)
        records.append({**facts, "system": name, **values, "reasons": reasons})
    return records


# ---- tables ----

GROUPS: dict[str, Callable[[Record], bool]] = {
    "head": lambda r: r["mount"] == "head",
    "free field": lambda r: r["mount"] == "free",
    "competing talker": lambda r: r["competing"],
    "no competing talker": lambda r: not r["competing"],
}


def report(records: Sequence[Record]) -> str:
    """The whole result as Markdown; tables that would be empty are left out."""
    scenes = len({record["scene"] for record in records})
    tables = {
        "Means, with 95 % intervals": _means(records),
        "Differences to the noisy microphone, paired, with 95 % intervals": _differences(records),
        "One against the other, paired, with 95 % intervals": _pairs(records, contests(_names(records))),
        "What integers cost, paired, with 95 % intervals": _pairs(records, roundings(_names(records))),
        "By condition: PESQ / STOI / ESTOI / SI-SDR": _by_condition(records),
        "What is asked for": _figures(records),
    }
    parts = [
        f"{scenes} scenes; target: direct and early (50 ms) sound at the reference microphone. log-mmse, dtln "
        "(quantized) and gtcrn hear that microphone alone, or after a + our beam, whose 8 ms come on top of theirs. "
        "Models are 16x8 files unless their names end in :int8, or in :float for the weights before rounding."
    ]
    parts += [f"## {title}\n\n{text}" for title, text in tables.items() if text]
    reasons = sorted({f"scene {r['scene']}, {r['system']}: {why}" for r in records for why in r["reasons"]})
    if reasons:
        parts.append("## Not scored\n\n" + "\n".join(f"- {reason}" for reason in reasons))
    return "\n\n".join(parts) + "\n"


def _means(records: Sequence[Record]) -> str:
    rows = [
        [name, *(_mean_interval(_of(records, name), metric) for metric in metrics.METRICS)] for name in _names(records)
    ]
    return markdown(("system", *_titles()), rows)


def _mean_interval(records: Sequence[Record], metric: str) -> str:
    values = (record[metric] for record in records)
    return metrics.paired_interval(values).format(metrics.DIGITS[metric], sign="")


def _differences(records: Sequence[Record]) -> str:
    rows = [[name, *_compared(records, name, "noisy")] for name in _names(records) if name != "noisy"]
    return markdown(("system", *_titles()), rows) if rows and "noisy" in _names(records) else ""


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
    return " / ".join(means(records)) if records else "-"


def means(records: Sequence[Record]) -> list[str]:
    """Mean of every metric, as text."""
    return [f"{_mean(records, metric):.{metrics.DIGITS[metric]}f}" for metric in metrics.METRICS]


Pair = tuple[str, str]


def contests(names: Sequence[str]) -> list[Pair]:
    """Pairs worth comparing: every chain with the strongest baseline and with its own beam, a network on one microphone
    with the networks of others on one microphone."""
    pairs = []
    for name in names:
        beam, model = beam_and_model(name)
        if model == "none" or model in NETWORKS or model_and_precision(model)[1] != "16x8":
            continue
        pairs += [(name, other) for other in (NETWORKS if beam == "none" else (STRONGEST, beam))]
    pairs += [(STRONGEST, beam_and_model(STRONGEST)[0]), ("mvdr", "superdirective")]
    return [pair for pair in pairs if set(pair) <= set(names)]


def roundings(names: Sequence[str]) -> list[Pair]:
    """16x8 and int8 with the float network of the same chain."""
    stems = dict.fromkeys(
        model_and_precision(name)[0] for name in names if f"{model_and_precision(name)[0]}:float" in names
    )
    pairs = [(name, f"{stem}:float") for stem in stems for name in (stem, f"{stem}:int8")]
    return [pair for pair in pairs if pair[0] in names]


def _pairs(records: Sequence[Record], pairs: Sequence[Pair]) -> str:
    rows = [[f"{a} − {b}", *_compared(records, a, b)] for a, b in pairs]
    return markdown(("difference", *_titles()), rows) if rows else ""


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


# ---- figures ----

Judged = tuple[str, str, str, bool]

# system, baseline, metric, least mean difference; where it lies above 0, so must the lower end of the interval.
FIGURES = (
    ("mvdr+assist-m", "noisy", "estoi", 0.09),
    ("mvdr+assist-m", "noisy", "pesq", 0.12),
    *(("mvdr+assist-m", baseline, "estoi", 0.0) for baseline in ("mvdr", "log-mmse", "dtln")),
    ("mvdr+assist-m", STRONGEST, "pesq", 0.15),
    ("mvdr+assist-m", STRONGEST, "estoi", 0.03),
    ("mvdr+assist-m", STRONGEST, "si_sdr", 1.0),
    ("mvdr+assist-s", STRONGEST, "pesq", 0.0),
    ("mvdr+assist-s", STRONGEST, "estoi", 0.0),
    ("mvdr+comm-m", STRONGEST, "pesq", 0.2),
    ("mvdr+comm-m", STRONGEST, "estoi", 0.05),
    ("none+comm-m", "dtln", "estoi", 0.0),
    ("none+comm-m", "gtcrn", "estoi", 0.0),
    ("mvdr", "superdirective", "estoi", 0.0),
    *(
        (f"mvdr+{model}{suffix}", f"mvdr+{model}:float", metric, least)
        for model in ("assist-s", "assist-m", "comm-m")
        for suffix, metric, least in (
            ("", "pesq", -0.01), ("", "estoi", -0.002), (":int8", "pesq", -0.05), (":int8", "estoi", -0.01),
        )
    ),
)  # fmt: skip


# Figures that are not reached yet, and what the gate holds them to meanwhile: they must not fall back.
NOT_YET = {("none+comm-m", "gtcrn", "estoi"): -0.02}


def judged(records: Sequence[Record], held: dict[tuple[str, str, str], float] | None = None) -> list[Judged]:
    """FIGURES whose systems ran: (difference, least, found, is it reached). held : other least differences"""
    out = []
    for name, baseline, metric, asked in FIGURES:
        least = (held or {}).get((name, baseline, metric), asked)
        if not {name, baseline} <= set(_names(records)):
            continue
        found, digits = compare(records, name, baseline, metric), metrics.DIGITS[metric]
        reached = found.mean >= least and (least <= 0 or found.low > 0)
        out.append((f"{name} − {baseline}, {metrics.TITLES[metric]}", f"{least:+g}", found.format(digits), reached))
    return out


def _figures(records: Sequence[Record]) -> str:
    rows = [(what, least, found, "yes" if reached else "no") for what, least, found, reached in judged(records)]
    return markdown(("difference", "at least", "measured", "reached"), rows) if rows else ""


def misses(records: Sequence[Record]) -> list[str]:
    """What FIGURES, or NOT_YET in its place, asks for and the records do not show, a sentence each."""
    return [
        f"{what} is {found}, expected at least {least}"
        for what, least, found, reached in judged(records, NOT_YET)
        if not reached
    ]


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        systems = args.systems or available(args.peers, args.gate)
        bench = Bench(args.suite, args.speech, args.noise, systems, args.peers, args.true_look)
        records = run(bench, args.workers, args.scenes)
        text = f"{_heading(args, sys.argv[1:] if argv is None else argv)}\n\n{report(records)}"
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
    add_suite_arguments(parser)
    parser.add_argument("--peers", metavar="DIR", help="folder of the DTLN and GTCRN files")
    parser.add_argument("--systems", type=_names_in, metavar="A,B,...", help="see edgeenhance.simulation.systems")
    parser.add_argument("--true-look", action="store_true", help="steer to the target, not to the front")
    parser.add_argument("--gate", action="store_true", help="what FIGURES names only; exit 1 for a miss")
    parser.add_argument("-o", "--output", metavar="FILE", help="FILE.md and FILE.json (a record per scene and system)")
    return parser


def _names_in(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _heading(args: argparse.Namespace, argv: Sequence[str]) -> str:
    """Title and the command of this run, paths by their last names: where they lie is a matter of the machine."""
    command = " ".join(["python -m edgeenhance.simulation.quality", *(Path(word).name for word in argv)])
    steered = "target" if args.true_look else "front"
    return f"# Quality on suite {Path(args.suite).stem}\n\n`{command}`, steered to the {steered}."


def available(peers: str | None, figures_only: bool = False) -> tuple[str, ...]:
    """All systems that can run here: baselines, and the zoo's models in every precision that has what it needs.

    figures_only : leave out those that FIGURES does not name
    """
    names = [name for name in BASELINES if peers or not set(beam_and_model(name)) & set(NETWORKS)]
    names += [f"mvdr+{model}" for zoo in zoo_names() for model in _precisions(zoo)]
    names += [f"none+{zoo}" for zoo in zoo_names() if profile_of(zoo) == "comm"]
    named = {system for figure in FIGURES for system in figure[:2]}
    return tuple(name for name in names if name in named or not figures_only)


def _precisions(zoo: str) -> list[str]:
    """A zoo model in 16x8, int8 where it has that file, float where its weights and torch are there."""
    folder = zoo_path(zoo).parent
    there = {
        "int8": zoo_path(f"{zoo}:int8").is_file(),
        "float": (folder / "weights.npz").is_file() and find_spec("torch") is not None,
    }
    return [zoo, *(f"{zoo}:{precision}" for precision in PRECISIONS if there[precision])]


def _write(output: str, text: str, records: Sequence[Record]) -> None:
    plain = [{key: _plain(value) for key, value in record.items()} for record in records]
    for suffix, content in ((".md", text), (".json", json.dumps(plain, indent=1, allow_nan=False))):
        with atomic_path(Path(output).with_suffix(suffix)) as temporary:
            temporary.write_text(content, encoding="utf-8")


def read(path: str | os.PathLike[str]) -> list[Record]:
    """The records of a FILE.json; what was not finite is NaN. EdgeEnhanceError where it holds something else."""
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
        return [record | {m: np.nan if record[m] is None else record[m] for m in metrics.METRICS} for record in records]
    except (ValueError, TypeError, KeyError) as error:
        sentence = (
            f"{path} holds no records; expected the FILE.json of python -m edgeenhance.simulation.quality -o FILE"
        )
        raise EdgeEnhanceError(sentence) from error


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    sys.exit(main())
