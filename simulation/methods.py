"""Every method side by side, as a page: docs/methods.md.

    python -m edgeenhance.simulation.methods [--networks RUNS] [--speech DIR --noise DIR] [--peers DIR] -o methods.md

Rows are the microphone itself, the classical suppressors, the textbook networks found as RUNS/NAME/best.pt (and as
RUNS/NAME.tflite, where `edgeenhance quantize` wrote one, 16x8), the peers whose files are given, and this SDK. All are
evaluated on a suite's scenes (`evaluate`: a stopped run goes on) and timed one after the other, round by round, on one
thread. methods.png, quality over cost, is written beside the page.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files import atomic_path
from .._text import markdown
from ..arrays import MicArray, new_figure
from ..classical import METHODS, Suppressor
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from ..masknet import find_model, read_model, zoo_names
from ..onnxnet import OnnxEnhancer
from ..profiles import PROFILES
from .bench import medians
from .evaluate import Settings, evaluate, interval
from .gate import described
from .metrics import Interval
from .peers import NETWORKS
from .plan import Plan
from .suite import add_suite_arguments, load_suite
from .systems import SAMPLE_RATE, beam_and_model, profile_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ("pesq", "stoi", "estoi", "si_sdr", "sdr", "mse")
CLASSICAL, TEXTBOOK, PEERS, OURS = "classical", "textbook network", "peer", "this SDK"
COLORS = {CLASSICAL: "#7a838f", TEXTBOOK: "#c2570c", PEERS: "#14599d", OURS: "#1b7a3d"}
ARRAY = "bte-2x2"  # of the timed chains
ODD = 77  # samples: blocks that are no hop of anything
ROUNDS = 10  # of timed seconds

Scenes = Sequence[Mapping[str, Any]]  # of results.json


@dataclass(frozen=True)
class Method:
    """One row. title : in tables · system : its name in an evaluation (see `systems`) · group : whose it is"""

    title: str
    system: str
    group: str


MICROPHONE = Method("noisy", "noisy", "")


def methods(networks: Path | None, peers: str | None) -> list[Method]:
    """All that can run here, in the order of the tables. networks : folder of runs · peers : folder of their files"""
    rows = [Method(name, name, CLASSICAL) for name in METHODS]
    rows += _trained(networks) if networks else []
    rows += [Method(name, name, PEERS) for name in NETWORKS if peers]
    alone = [zoo for zoo in zoo_names() if profile_of(str(find_model(zoo))) == "comm"]
    rows += [Method(f"{zoo}, one microphone", f"none+{zoo}", OURS) for zoo in alone]
    chains = ["superdirective", "mvdr", *(f"mvdr+{zoo}" for zoo in zoo_names())]
    return rows + [Method(name, name, OURS) for name in chains]


def _trained(folder: Path) -> list[Method]:
    """Networks of a folder of runs, in the order of the families."""
    try:
        from ..models.networks import FAMILIES
    except ImportError:
        raise EdgeEnhanceError("textbook networks need torch: pip install 'edgeenhance[train]'") from None
    rows = []
    for name in FAMILIES:
        checkpoint, model = folder / name / "best.pt", folder / f"{name}.tflite"
        rows += [Method(name, str(checkpoint), TEXTBOOK)] if checkpoint.is_file() else []
        rows += [Method(f"{name}, 16x8", f"none+{model}", TEXTBOOK)] if model.is_file() else []
    if not rows:
        raise EdgeEnhanceError(f"{folder} holds no NAME/best.pt; train one with edgeenhance train -o {folder}/NAME")
    return rows


# ---- quality ----


def quality_tables(rows: Sequence[Method], scenes: Scenes) -> dict[str, str]:
    """By title: means over all scenes with paired differences to the microphone, and means by SNR."""
    header = ("method", "", *(_title(metric) for metric in METRICS))
    titled = [MICROPHONE, *rows]
    means = [[m.title, m.group, *(_mean(scenes, m, metric) for metric in METRICS)] for m in titled]
    gains = [["", ""], *([gain(scenes, m, metric).format(3) for metric in ("pesq", "estoi")] for m in rows)]
    cells = [[*mean, *gained] for mean, gained in zip(means, gains, strict=True)]
    tables = {"All scenes": markdown((*header, "PESQ over noisy", "ESTOI over noisy"), cells, left=2)}
    for snr in sorted({scene["facts"]["snr_db"] for scene in scenes}):
        chosen = [scene for scene in scenes if scene["facts"]["snr_db"] == snr]
        means = [[m.title, m.group, *(_mean(chosen, m, metric) for metric in METRICS)] for m in titled]
        tables[f"{snr:g} dB"] = markdown(header, means, left=2)
    return tables


def _title(metric: str) -> str:
    title, unit, _ = described(metric)
    return f"{title} / {unit}" if unit else title


def _mean(scenes: Scenes, method: Method, metric: str) -> str:
    return f"{interval(scenes, method.system, metric).mean:.{described(metric)[2]}f}"


def gain(scenes: Scenes, method: Method, metric: str) -> Interval:
    """Paired difference to the microphone."""
    return interval(scenes, method.system, metric, MICROPHONE.system)


# ---- cost ----


@dataclass(frozen=True)
class Runner:
    """A method, ready to run, on one thread.

    runtime : what computes · step : takes `hop` samples, (hop,) of one microphone or (hop, mics); whole recordings (n,)
    where hop is None · latency : samples, None: of whole recordings · network : to count in, or None
    integers : files that the C engine runs
    """

    runtime: str
    step: Callable[[np.ndarray], object]
    hop: int | None
    latency: int | None
    mics: int = 1
    network: Any = None
    integers: str = "–"


def runner(method: Method, folder: Path, peers: str | None) -> Runner:
    """The method in the runtime that suits it. folder : for ONNX files · peers : as for `methods`"""
    if method.group == CLASSICAL:
        stream = Suppressor(method.system)
        return Runner("NumPy", stream.process, stream.hop, stream.latency)
    if method.group == PEERS:
        peer = NETWORKS[method.system](peers)
        return Runner("LiteRT" if method.system == "dtln" else "ONNX Runtime", peer.step, peer.hop, peer.window)
    if method.system.endswith(".pt"):
        return _network(Path(method.system), folder)
    return _chain(*beam_and_model(method.system))


def _network(checkpoint: Path, folder: Path) -> Runner:
    """A causal network as an ONNX stream, another one in PyTorch."""
    from ..models.networks import load

    network = load(checkpoint)
    integers = "16x8, int8" if hasattr(network, "emit") else "–"
    if not network.causal:
        return Runner("PyTorch", network.enhance, None, None, 1, network, integers)
    stream = _onnx(checkpoint, folder)
    return Runner("ONNX Runtime", stream.process, stream.hop, stream.latency, 1, network, integers)


def _onnx(checkpoint: Path, folder: Path) -> OnnxEnhancer:
    """A causal network's file as a stream; written where it is not yet there."""
    from ..models.onnx_export import run_onnx

    path = folder / f"{checkpoint.parent.name}.onnx"
    if not path.is_file():
        run_onnx(checkpoint, path)
    return OnnxEnhancer(path)


def _chain(beam: str, model: str) -> Runner:
    array = MicArray.load("mono" if beam == "none" else ARRAY)
    path = "none" if model == "none" else str(find_model(model))
    profile = PROFILES[profile_of(path)]
    enhancer = Enhancer(array, profile=profile.name, beamformer=beam, model=path)
    network, integers = (None, "–") if model == "none" else (_weights(Path(path)), "16x8, int8")
    return Runner("C", enhancer.process, profile.hop, enhancer.latency, array.mics, network, integers)


def _weights(model: Path) -> Any:
    """The network that a model file was made from, on one microphone; None where torch or its weights are missing."""
    try:
        from ..models.networks import load
        from ..models.networks.gru import one_microphone
        from ..models.verify import trained_network
    except ImportError:
        return None
    if (checkpoint := model.with_suffix("") / "best.pt").is_file():
        return load(checkpoint)
    if not model.with_name("weights.npz").is_file():  # not part of the wheel
        return None
    return one_microphone(trained_network(model), read_model(model)[1]["profile"])


def microseconds(runners: Sequence[Runner], rounds: int = ROUNDS) -> list[float]:
    """Median µs per 10 ms of sound, all of them in turn, round after round."""
    calls = [_second(runner) for runner in runners]
    with _one_thread():
        us = medians({str(number): call for number, (call, _) in enumerate(calls)}, rounds)
    return [value / of_sound for value, (_, of_sound) in zip(us.values(), calls, strict=True)]


def _second(runner: Runner) -> tuple[Callable[[], object], float]:
    """A call that takes about a second of noise, and how many seconds those are."""
    n = SAMPLE_RATE if runner.hop is None else SAMPLE_RATE // runner.hop * runner.hop
    x = 0.1 * np.random.default_rng(0).standard_normal((n, runner.mics)).astype(np.float32)
    x = x[:, 0] if runner.mics == 1 and runner.runtime != "C" else x
    hops = [x] if runner.hop is None else x.reshape(-1, runner.hop, *x.shape[1:])
    return lambda: [runner.step(hop) for hop in hops], n / SAMPLE_RATE


@contextmanager
def _one_thread() -> Iterator[None]:
    """PyTorch on one thread, where it is there."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else 1
    try:
        if torch:
            torch.set_num_threads(1)
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


def cost_table(rows: Sequence[Method], runners: Sequence[Runner], us: Sequence[float]) -> str:
    header = (
        "method", "", "microphones", "parameters", "MAC/s", "latency", "µs per 10 ms", "runs in", "streams", "integers",
        "in C",
    )  # fmt: skip
    cells = [
        (m.title, m.group, r.mics, *_size(r), "whole recording" if r.latency is None else f"{_ms(r.latency):.0f} ms",
         f"{cost:.0f}", r.runtime, "no" if r.hop is None else "yes", r.integers,
         "yes" if r.runtime == "C" or r.integers != "–" else "no")
        for m, r, cost in zip(rows, runners, us, strict=True)
    ]  # fmt: skip
    return markdown(header, cells, left=2)


def _ms(samples: int) -> float:
    return 1000 * samples / SAMPLE_RATE


def _size(runner: Runner) -> tuple[str, str]:
    """Parameters, and multiplications of weights per second of sound."""
    if runner.network is None:
        return "–", "–"
    from ..models.network import parameter_count
    from ..models.networks.cost import macs_per_second

    return f"{parameter_count(runner.network) / 1e3:.0f} k", f"{macs_per_second(runner.network) / 1e6:.0f} M"


# ---- training ----


def training_table(rows: Sequence[Method], x: np.ndarray, folder: Path) -> str:
    """What the runs' logs say, and how far streams are from whole recordings. x : (n,), a recording · folder : of
    ONNX files"""
    cells = []
    for method in rows:
        checkpoint = Path(method.system)
        if checkpoint.suffix != ".pt":
            continue
        records = [json.loads(line) for line in checkpoint.with_name("log.jsonl").read_text().splitlines()]
        valid = [record for record in records if record["event"] == "valid"]
        best = min(valid, key=lambda record: record["loss"])
        scores = (f"{best[name]:{form}} ({best[f'beam_{name}']:{form}})" for name, form in _SCORES.items())
        losses = f"{valid[0]['loss']:.3f} → {best['loss']:.3f}"
        minutes, steps = f"{_minutes(records):.0f}", records[-1]["step"]
        cells.append((method.title, minutes, steps, losses, *scores, _stream_error(checkpoint, x, folder)))
    header = ("network", "minutes", "steps", "validation loss", "ESTOI", "PESQ", "SI-SDR / dB", "stream − whole")
    return markdown(header, cells) if cells else ""


_SCORES = {"estoi": ".3f", "pesq": ".3f", "si_sdr": ".2f"}


def _minutes(records: Sequence[Mapping[str, Any]]) -> float:
    """Of training: clocks begin anew where a run was resumed."""
    following = [*(record["event"] for record in records[1:]), "start"]
    return sum(r["seconds"] for r, event in zip(records, following, strict=True) if event == "start") / 60


def _stream_error(checkpoint: Path, x: np.ndarray, folder: Path) -> str:
    """The ONNX stream in odd blocks against PyTorch on the whole recording, over the loudest sample."""
    from ..models.networks import load

    network = load(checkpoint)
    if not network.causal:
        return "–"
    stream, whole = _onnx(checkpoint, folder), network.enhance(x)
    padded = np.concatenate([x, np.zeros(stream.latency, np.float32)])
    parts = [stream.process(padded[at : at + ODD]) for at in range(0, len(padded), ODD)]
    streamed = np.concatenate(parts)[stream.latency :]
    return f"{np.abs(streamed - whole).max() / np.abs(whole).max():.0e}"


# ---- the page ----


def picture(rows: Sequence[Method], scenes: Scenes, runners: Sequence[Runner], us: Sequence[float]) -> Figure:
    """ESTOI over the microphone against µs per 10 ms; hollow where whole recordings are needed."""
    figure = new_figure(10.0, 8.0)
    axes = figure.add_subplot()
    gains = [gain(scenes, method, "estoi").mean for method in rows]
    for method, own, cost, gained in zip(rows, runners, us, gains, strict=True):
        color = COLORS[method.group]
        axes.plot(cost, gained, "o", color=color, markerfacecolor=color if own.hop else "white")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set(xscale="log", xlabel="µs per 10 ms of sound, one thread", ylabel="ESTOI over the noisy microphone")
    axes.set(xlim=(min(us) / 4, max(us) * 4), title="filled: streams · hollow: hears whole recordings")
    axes.grid(color="0.9")
    axes.legend(handles=[axes.plot([], [], "o", color=c, label=group)[0] for group, c in COLORS.items()], frameon=False)
    _label(figure, axes, [m.title for m in rows], list(zip(us, gains)), [COLORS[m.group] for m in rows])
    return figure


_PLACES = [  # of a title beside its point, in points, and which end of it is there
    (across, up, side)
    for up in (2, -9, 10, -17, 18, -25)
    for across, side in ((6, "left"), (-6, "right"), (0, "center"))
    if side != "center" or abs(up) > 8
]


def _label(figure: Figure, axes: Axes, titles: Sequence[str], points: Sequence[Any], colors: Sequence[str]) -> None:
    """Write each title beside its point, where no other title and no point is, if there is such room."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    FigureCanvasAgg(figure).draw()
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in axes.transData.transform(points)]
    for title, point, color in zip(titles, points, colors, strict=True):
        text = axes.annotate(title, point, (0, 0), textcoords="offset points", fontsize=8, color=color)
        for across, up, side in _PLACES:
            text.set(position=(across, up), horizontalalignment=side)
            box = text.get_window_extent()
            if axes.bbox.x0 < box.x0 and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)


INTRODUCTION = """\
Scenes: the {scenes} of suite {suite}, {sounds}, steered to the front. Target: direct and early (50 ms) sound at the
reference microphone. Classical methods, textbook networks and peers hear that microphone alone; chains of this SDK all
of the array, but for those that say otherwise. Textbook networks had minutes of training (below), peers what their
authors gave them, the models of this SDK what their cards say. Differences are paired, with 95 % intervals. MSE and SDR
take a wrong level for an error, SI-SDR does not."""

COSTS = """\
Medians of {rounds} rounds on one x86-64 core, everything in turn; one hop per call where a method streams, a recording
of a second where it does not. Latency is that of a stream in blocks of any size. MAC/s are the network's alone; chains
are timed with {array}, {mics} microphones. "Integers" names the model files that `edgeenhance quantize` makes, which
run in C on the device, too."""

TRAINING = """\
Recipes, data and commands are in [networks-textbook.md](networks-textbook.md). Minutes of one thread beside one mixing
process. Scores are those of 16 validation mixtures at the lowest loss, in brackets those of the noisy microphone.
"Stream − whole": the ONNX file in blocks of {odd} samples against PyTorch on a whole recording, over the loudest
sample."""


def page(args: argparse.Namespace, command: str, folder: Path) -> tuple[str, Figure]:
    """Everything measured, as Markdown and a picture. folder : for ONNX files"""
    rows = methods(args.networks, args.peers)
    plan = replace(Plan.load(args.suite), systems=(MICROPHONE.system, *(m.system for m in rows)), metrics=METRICS)
    plan = replace(plan, baseline=MICROPHONE.system, cases=plan.cases[: args.scenes])
    settings = Settings(args.speech, args.noise, args.peers, sounds=False, pictures=False)
    scenes = evaluate(plan, args.run, settings, workers=args.workers, command=command)["scenes"]
    if failed := [scene for scene in scenes if scene["error"]]:
        raise EdgeEnhanceError(f"scene {failed[0]['name']}: {failed[0]['error']}; run again to go on")
    first = load_suite(args.suite)[0]
    x = first.render(args.speech, args.noise).mix[:, first.reference]
    training = training_table(rows, x, folder)
    runners = [runner(method, folder, args.peers) for method in rows]
    us = microseconds(runners, args.rounds)
    sounds = "recorded talkers and noises" if args.speech else "synthesized talkers and noises"
    costs = COSTS.format(rounds=args.rounds, array=ARRAY, mics=MicArray.load(ARRAY).mics)
    parts = ["# Every method, side by side", f"`{command}`"]
    parts.append(INTRODUCTION.format(scenes=len(scenes), suite=Path(args.suite).stem, sounds=sounds))
    parts.append(f"![ESTOI over the noisy microphone against cost]({picture_path(args.output).name})")
    for title, text in quality_tables(rows, scenes).items():
        parts += [f"## {title}", text]
    parts += ["## Cost", costs, cost_table(rows, runners, us)]
    parts += ["## Training of the textbook networks", TRAINING.format(odd=ODD), training] if training else []
    return "\n\n".join(parts) + "\n", picture(rows, scenes, runners, us)


def picture_path(page: Path) -> Path:
    return page.with_suffix(".png")


# ---- command ----


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    words = (Path(word).name for word in (sys.argv[1:] if argv is None else argv))
    try:
        if not args.output.absolute().parent.is_dir():
            raise EdgeEnhanceError(
                f"cannot write {args.output}: there is no folder {args.output.parent}; make it first"
            )
        with TemporaryDirectory() as folder:
            text, figure = page(args, " ".join(["python -m edgeenhance.simulation.methods", *words]), Path(folder))
        with atomic_path(args.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
        with atomic_path(picture_path(args.output)) as temporary:
            figure.savefig(temporary, dpi=110)
        return 0
    except ModuleNotFoundError as error:
        print(f"methods: there is no {error.name}; pip install 'edgeenhance[eval,litert,onnx,train]'", file=sys.stderr)
        return 2
    except (ValueError, EdgeEnhanceError, OSError) as error:
        print(f"methods: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m edgeenhance.simulation.methods", description=__doc__.splitlines()[0])
    add_suite_arguments(parser)
    parser.add_argument("--networks", type=Path, metavar="RUNS", help="of edgeenhance train, as RUNS/NAME")
    parser.add_argument("--peers", metavar="DIR", help="folder of the DTLN and GTCRN files")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"of timing (default: {ROUNDS})")
    parser.add_argument("--run", default="build/methods", metavar="DIR", help="of the evaluation, which goes on there")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.md")
    return parser


if __name__ == "__main__":
    sys.exit(main())
