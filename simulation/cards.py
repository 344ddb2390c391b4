"""The figures in the cards of the zoo, models/zoo/NAME/CARD.md.

    python -m edgeenhance.simulation.cards [--quality quality.json] [--robustness DIR] [NAME ...]

What is written, and from what:

    rows of the first table   parameters, multiply-accumulates, files: from the model's files
    block quality             from quality.json of make bench-quality QUALITY="-o quality.md"
    block robustness          from DIR/NAME.md and DIR/NAME.png of python -m edgeenhance.simulation.robustness NAME
                              -o DIR/NAME.md; the picture is put beside the card

A block stands between two comments (BLOCK, END); without its option it stays as it is. All else is written by hand. The
cards named, or those of all models, are written together or, where one cannot be, not at all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .._files import atomic_path
from .._text import markdown
from ..errors import EdgeEnhanceError
from ..masknet import read_model, zoo_names, zoo_path
from ..profiles import PROFILES
from . import metrics, quality
from .suite import load_suite
from .systems import profile_of

SUITE = "bench"  # what the cards' words on quality describe
BLOCK = "<!-- {}: written by python -m edgeenhance.simulation.cards -->\n"
END = "<!-- end of {} -->"
PICTURE = "robustness.png"


def card(name: str, records: Sequence[quality.Record] | None, robustness: Path | None) -> dict[Path, bytes]:
    """The files of a zoo model's card as they should be. records, robustness : None leaves the block as it is

    EdgeEnhanceError where the card lacks a row or a block, or where records or folder lack what it needs.
    """
    path = zoo_path(name).with_name("CARD.md")
    text, pictures = path.read_text(encoding="utf-8"), {}
    for title, cell in facts(name).items():
        text = _put(path, text, f"\n| {title} |", f" {cell} ", "|\n")
    if records is not None:
        text = _put_block(path, text, "quality", quality_block(name, records))
    if robustness:
        report, picture = robustness_report(name, robustness)
        text = _put_block(path, text, "robustness", report.replace(f"({name}.png)", f"({PICTURE})"))
        pictures = {path.with_name(PICTURE): picture}
    return {path: text.encode(), **pictures}


def facts(name: str) -> dict[str, str]:
    """Rows of the first table that the model's files tell, by title. Every weight of a matrix counts once per hop."""
    path = zoo_path(name)
    metadata = read_model(path)[1]
    profile = PROFILES[metadata["profile"]]
    with np.load(path.with_name("weights.npz")) as weights:
        macs = sum(value.size for value in weights.values() if value.ndim == 2)
    hop_ms = 1000 * profile.hop / profile.sample_rate
    sizes = (f"{file.stat().st_size / 1000:.0f} kB" for file in (path, zoo_path(f"{name}:int8")))
    return {
        "parameters": f"{metadata['parameters']:,}".replace(",", " "),
        "multiply-accumulates": f"{macs / 1e6:.2f} M per hop of {hop_ms:g} ms, {macs / hop_ms / 1e3:.1f} M/s",
        "files": "{} (16x8), {} (int8)".format(*sizes),
    }


def systems(name: str) -> dict[str, str]:
    """What stands in the table of quality: the systems of `quality` by title."""
    chain = f"mvdr+{name}"
    rows = {
        "noisy microphone": "noisy",
        "superdirective + GTCRN, 32 ms": quality.STRONGEST,
        f"adaptive beam + {name}, float": f"{chain}:float",
        f"**adaptive beam + {name}, 16x8**": chain,
        f"adaptive beam + {name}, int8": f"{chain}:int8",
    }
    alone = {
        f"one microphone, {name}": f"none+{name}",
        "one microphone, DTLN quantized": "dtln",
        "one microphone, GTCRN": "gtcrn",
    }
    return rows | alone if profile_of(name) == "comm" else rows


def quality_block(name: str, records: Sequence[quality.Record]) -> str:
    """Means of `systems`, and the chain's lead over the strongest baseline."""
    scored = {title: [r for r in records if r["system"] == system] for title, system in systems(name).items()}
    scenes = len(load_suite(SUITE))
    if lacking := [system for title, system in systems(name).items() if len(scored[title]) != scenes]:
        raise EdgeEnhanceError(
            f"the card of {name} needs the {scenes} scenes of suite {SUITE} scored with {', '.join(lacking)}; run make "
            'bench-quality PEERS=DIR QUALITY="-o quality.md"'
        )
    header = ("system", *(metrics.TITLES[metric] for metric in metrics.METRICS))
    table = markdown(header, [[title, *quality.means(of_it)] for title, of_it in scored.items()])
    pesq, estoi, si_sdr = (
        quality.compare(records, f"mvdr+{name}", quality.STRONGEST, metric).format(metrics.DIGITS[metric])
        for metric in ("pesq", "estoi", "si_sdr")
    )
    lead = f"Over superdirective + GTCRN (paired, 95 %): PESQ {pesq}, ESTOI {estoi},\nSI-SDR {si_sdr} dB."
    return f"{table}\n\n{lead}"


def robustness_report(name: str, folder: Path) -> tuple[str, bytes]:
    """Report without its title, and picture."""
    report, picture = folder / f"{name}.md", folder / f"{name}.png"
    title, _, text = report.read_text(encoding="utf-8").partition("\n\n") if report.is_file() else ("", "", "")
    if title != f"# Robustness of {name}" or not picture.is_file():
        raise EdgeEnhanceError(
            f"expected the robustness of {name} in {report} and {picture}; write them with python -m "
            f"edgeenhance.simulation.robustness {name} -o {report}"
        )
    return text.strip(), picture.read_bytes()


def _put_block(path: Path, text: str, block: str, content: str) -> str:
    return _put(path, text, BLOCK.format(block), f"\n{content}\n\n", END.format(block))


def _put(path: Path, text: str, before: str, content: str, after: str) -> str:
    """The text with `content` between `before` and `after`; path : of the card, for the error."""
    head, begins, rest = text.partition(before)
    _, ends, tail = rest.partition(after)
    if not (begins and ends):
        raise EdgeEnhanceError(
            f"{path} lacks {before.strip()!r} or, behind it, {after.strip()!r}; add both, as in other cards"
        )
    return head + before + content + after + tail


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        records = quality.read(args.quality) if args.quality else None
        files: dict[Path, bytes] = {}
        for name in args.names or zoo_names():
            files |= card(name, records, args.robustness)
        for path, content in files.items():
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        return 0
    except (ValueError, EdgeEnhanceError, OSError) as error:
        print(f"cards: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.cards", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of zoo models (default: all)")
    parser.add_argument("--quality", metavar="FILE.json", help="of make bench-quality")
    parser.add_argument("--robustness", type=Path, metavar="DIR", help="folder of NAME.md and NAME.png")
    return parser


if __name__ == "__main__":
    sys.exit(main())
