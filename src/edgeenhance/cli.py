"""The command `edgeenhance`: every subcommand is one function below, and prints to standard output.

Exit codes: 0 done, 1 a gate was missed, files of a folder failed or the doctor found something wrong, 2 bad input (one
sentence on standard error), 3 no board is connected, 130 interrupted. Output files are written whole or not at all.
Packages that a subcommand needs beyond the device SDK are imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import machine
from ._files import atomic_path
from ._text import table
from .arrays import MicArray, preset_names
from .beamform import BEAMFORMERS, beamformer, directivity_index
from .classical import METHODS
from .errors import EdgeEnhanceError
from .kernel import lib
from .noise_psd import ESTIMATORS
from .profiles import PROFILES
from .streams import FORMATS, pipe

EXTRAS = {  # package to import -> extra that brings it
    "soundfile": "files",
    "soxr": "files",
    "diskcache": "files",
    "sounddevice": "live",
    "pyroomacoustics": "sim",
    "scipy": "sim",
    "matplotlib": "eval",
    "pesq": "eval",
    "pystoi": "eval",
    "jinja2": "eval",
    "fast_bss_eval": "eval",
    "distributed": "scale",
    "jiwer": "impact",
    "ai_edge_litert": "litert",
    "torch": "train",
    "flatbuffers": "train",
    "tomli_w": "train",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. argparse's own complaints raise SystemExit(2)."""
    try:
        args = parser().parse_args(argv)
        with _sentences(), _terminated_cleanly():
            code = args.run(args) or 0
            sys.stdout.flush()
            return code
    except BrokenPipeError:  # who read the output has gone, as `head` does: not worth a word
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        return _fail(_missing(error))
    except (ValueError, TypeError, EdgeEnhanceError, OSError) as error:
        return _fail(str(error))


def parser() -> argparse.ArgumentParser:
    """All commands and options; the site's reference is made of it."""
    parser = argparse.ArgumentParser(prog="edgeenhance", description="Microphone array in, clean speech out.")
    parser.add_argument("--version", action="version", version=f"edgeenhance {metadata.version('edgeenhance')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    adders = (
        _add_enhance,
        _add_live,
        _add_simulate,
        _add_evaluate,
        _add_arrays,
        _add_models,
        _add_info,
        _add_bench,
        _add_doctor,
        _add_train,
        _add_quantize,
        _add_onnx,
        _add_compile,
        _add_export,
        _add_firmware,
        _add_verify,
        _add_data,
    )
    for add in adders:
        add(commands)
    return parser


# ---- enhance ----


def _add_enhance(commands: Any) -> None:
    p = commands.add_parser("enhance", help="clean the speech in recordings, or in raw PCM from a pipe: - -o -")
    p.add_argument(
        "input", metavar="IN.wav|DIR|-", help="sound file, a folder of them, or - for raw PCM on standard input"
    )
    p.add_argument("-o", "--output", required=True, metavar="OUT.wav|DIR|-", help="- for raw PCM on standard output")
    p.add_argument("--array", metavar="NAME|FILE.toml", help="where the recording is from; default for 1 channel: mono")
    _add_settings(p)
    p.add_argument("--backend", default="native", metavar="NAME", help="what runs the model: native (default), litert")
    _add_noise(p, "NAME|SECONDS|FILE", ", or a recording of noise alone")
    p.add_argument("--look", type=float, default=0.0, metavar="DEG", help="talker's direction; 0 front, 90 left")
    p.add_argument("--channels", type=_channels, metavar="1,3,2,4", help="the input's channels in the array's order")
    p.add_argument("--cache", metavar="DIR", help="with a folder: keep results there and do not compute them again")
    raw = p.add_argument_group("raw PCM, little-endian, interleaved: edgeenhance enhance - -o -")
    raw.add_argument("--format", choices=FORMATS, help="of input and output (default: float32, full scale 1)")
    raw.add_argument("--rate", type=_positive, metavar="HZ", help="of input and output (default: 16000)")
    raw.add_argument(
        "--channels-in", type=_positive, metavar="N", help="of the input (default: the array's microphones)"
    )
    p.set_defaults(run=_enhance)


def _add_noise(p: argparse.ArgumentParser, metavar: str, more: str = "") -> None:
    names = ", ".join(ESTIMATORS)
    p.add_argument(
        "--noise", type=_noise, metavar=metavar,
        help=f"of classical models: {names}, or so many seconds at the beginning{more} (default: mmse-spp)",
    )  # fmt: skip


def _noise(text: str) -> str | float | Path:
    if text in ESTIMATORS:
        return text
    try:
        return float(text)
    except ValueError:
        return Path(text)


def _add_settings(p: argparse.ArgumentParser, ceiling: str = "no limiter") -> None:
    p.add_argument("--profile", default="assist", metavar="NAME", help=f"{' or '.join(PROFILES)} (default: assist)")
    p.add_argument("--beamformer", default="mvdr", metavar="NAME", help=f"{', '.join(BEAMFORMERS)} (default: mvdr)")
    p.add_argument("--model", default="default", metavar="NAME|FILE", help=f"or none, {', '.join(METHODS)}")
    p.add_argument("--strength", type=float, default=1.0, metavar="S", help="0 (input) to 1 (full enhancement)")
    p.add_argument("--ears", default="left", choices=("left", "right", "both"))
    p.add_argument("--cues", type=float, default=0.0, metavar="C", help="0 to 1: how much the noise keeps its place")
    p.add_argument("--ceiling", type=float, metavar="DBFS", help=f"limit the output, -60 to 0 (default: {ceiling})")


def _enhance(args: argparse.Namespace) -> int:
    names = ("profile", "beamformer", "model", "backend", "noise", "look", "strength", "ears", "cues", "ceiling")
    settings = {name: getattr(args, name) for name in names}
    if "-" in (args.input, args.output):
        _enhance_pipe(args, settings)
        return 0
    if args.format or args.rate or args.channels_in:
        raise ValueError("--format, --rate and --channels-in describe raw PCM (- -o -); a sound file says so itself")
    if Path(args.input).is_dir():
        return _enhance_folder(args, settings)
    if args.cache:
        raise ValueError("--cache is for folders of recordings: edgeenhance enhance DIR -o DIR --cache DIR")
    _enhance_file(args, settings)
    return 0


def _enhance_folder(args: argparse.Namespace, settings: dict[str, Any]) -> int:
    from .cache import Cache
    from .folder import enhance_folder

    cache = Cache(folder=args.cache) if args.cache else None
    with _line() as show:
        written, failed = enhance_folder(
            args.input, args.output, array=args.array, channels=args.channels, cache=cache,
            progress=lambda number, count, name: show(f"{number} of {count}: {name}"), **settings,
        )  # fmt: skip
    for name, reason in failed.items():
        print(f"failed: {name}: {reason}")
    found = f", {cache.statistics.hits} of them in the cache" if cache else ""
    print(f"{args.output}: {len(written)} files{found}" + (f", {len(failed)} failed" if failed else ""))
    return 1 if failed else 0


def _enhance_file(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    from .files import enhance_file

    with _progress(Path(args.input).name, "frames") as progress:
        enhance_file(args.input, args.output, array=args.array, channels=args.channels, progress=progress, **settings)


def _enhance_pipe(args: argparse.Namespace, settings: dict[str, Any]) -> None:
    from .enhancer import Enhancer

    source, sink = 0, 1  # standard input and output, past Python's buffers
    if args.input != args.output:
        raise ValueError("raw PCM goes from standard input to standard output: give - for both (docs/streams.md)")
    if os.isatty(source) or os.isatty(sink):
        raise ValueError("raw PCM needs a pipe or a file on both sides, not a terminal (docs/streams.md)")
    array, rate = MicArray.load(args.array or "mono"), args.rate or 16000
    if isinstance(args.noise, Path):
        from .files import noise_alone

        settings["noise"] = noise_alone(args.noise, array, args.channels, rate)
    enhancer = Enhancer(array, sample_rate=rate, **settings)
    pipe(
        source, sink, enhancer,
        format=args.format or "float32", channels=args.channels, channels_in=args.channels_in,
    )  # fmt: skip


def _channels(text: str) -> list[int]:
    """1-4 or 1,3,2,4 or 1-2,5-6"""
    channels: list[int] = []
    for part in text.split(","):
        ends = part.split("-")
        if len(ends) > 2 or not all(end.isdigit() for end in ends):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of channel numbers such as 1-4 or 1,3,2,4")
        channels += range(int(ends[0]), int(ends[-1]) + 1)
    return channels


# ---- live ----


def _add_live(commands: Any) -> None:
    p = commands.add_parser("live", help="enhance what a sound card hears, until q or Ctrl-C")
    p.add_argument("--list", action="store_true", help="list the sound devices, and stop")
    p.add_argument("--in", dest="input", metavar="DEV", help="part of a device's name, or its number")
    p.add_argument("--out", dest="output", metavar="DEV", help="default: the input's device")
    p.add_argument("--array", default="mono", metavar="NAME|FILE.toml", help="what the microphones are (default: mono)")
    _add_settings(p, ceiling="-6")
    _add_noise(p, "NAME|SECONDS")
    p.add_argument("--look", type=float, default=0.0, metavar="DEG", help="talker's direction; 0 front, 90 left")
    p.add_argument("--channels", type=_channels, metavar="1-4|1,3,2,4", help="card inputs in the array's order")
    p.add_argument("--block", type=_positive, metavar="N", help="frames per callback (default: a hop)")
    p.add_argument("--rate", type=_positive, metavar="HZ", help="of the card (default: 16000, or what it offers)")
    p.add_argument("--agc", type=float, metavar="DBFS", help="bring speech slowly to this level (default: off)")
    p.add_argument("--soft-start", type=float, default=1.0, metavar="S", help="seconds of fading in (default: 1)")
    p.add_argument("--record", metavar="DIR", help="write microphones and ears into sound files")
    p.add_argument("--stats", metavar="FILE", help="append a line of JSON every 10 s")
    p.add_argument("--seconds", type=float, metavar="S", help="stop by itself")
    p.set_defaults(run=_live, ceiling=-6.0)


def _live(args: argparse.Namespace) -> None:
    from .devices import devices

    if args.list:
        rows = [(d.index, d.name, d.host_api, d.inputs, d.outputs, d.default_rate) for d in devices()]
        print(table(("no.", "device", "host API", "in", "out", "Hz"), rows, left=3))
        return
    from .live import LiveEnhancer
    from .screen import show, summary

    if isinstance(args.noise, Path):
        raise ValueError(f"live takes --noise {', '.join(ESTIMATORS)} or a number of seconds, got {args.noise}")

    names = (
        "input", "output", "profile", "beamformer", "model", "noise", "strength", "ears", "cues", "look", "channels",
        "block", "ceiling", "agc", "soft_start", "record", "stats",
    )  # fmt: skip
    settings = {name: getattr(args, name) for name in names}
    with LiveEnhancer(args.array, sample_rate=args.rate, **settings) as live:
        print(f"{live.enhancer}, limiter {args.ceiling:g} dBFS", flush=True)
        try:
            show(live, args.seconds)
        except KeyboardInterrupt:  # the way to end it
            pass
        print(summary(live))


# ---- simulate ----


def _add_simulate(commands: Any) -> None:
    p = commands.add_parser("simulate", help="simulate scenes, or a bank of impulse responses for training")
    p.add_argument("scene", metavar="SCENE.toml")
    p.add_argument("-o", "--output", required=True, metavar="DIR")
    p.add_argument("--seed", type=int, metavar="N", help="what is drawn (default: the scene file's)")
    p.add_argument("--count", type=_positive, default=1, metavar="N", help="scenes to draw and render (default: 1)")
    p.add_argument("--bank", type=_positive, metavar="N", help="write impulse responses of N scenes instead of sound")
    p.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes; results do not depend on them")
    p.add_argument("--speech", metavar="DIR", help="recordings of talkers; synthesized without")
    p.add_argument("--noise", metavar="DIR", help="recordings of noises; synthesized without")
    p.set_defaults(run=_simulate)


def _simulate(args: argparse.Namespace) -> None:
    from .simulation.simulate import run_simulate

    names = ("seed", "count", "workers", "speech", "noise")
    settings = {name: getattr(args, name) for name in names}
    run_simulate(args.scene, args.output, bank=args.bank or 0, **settings)


# ---- evaluate ----


def _add_evaluate(commands: Any) -> None:
    p = commands.add_parser("evaluate", help="measure systems on simulated scenes or on recordings, with a report")
    p.add_argument("suite", nargs="?", metavar="SUITE.toml", help="name or file; see edgeenhance.simulation.plan")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="report folder; a stopped run goes on there")
    p.add_argument("--input", metavar="NOISY.wav|DIR", help="recordings instead of a suite")
    p.add_argument("--reference", metavar="CLEAN.wav|DIR", help="their clean targets, if there are any")
    p.add_argument("--array", default="mono", metavar="NAME|FILE.toml", help="what recorded them (default: mono)")
    p.add_argument("--look", type=float, default=0.0, metavar="DEG", help="the talker's direction in them")
    p.add_argument("--systems", type=_words, metavar="A,B,...", help="with --input; default: noisy,mvdr+assist-m")
    p.add_argument("--metrics", type=_words, default=(), metavar="A,B,...", help="with --input")
    p.add_argument("--speech", metavar="DIR", help="recordings of talkers for scenes; synthesized without")
    p.add_argument("--noise", metavar="DIR", help="recordings of noises for scenes; synthesized without")
    p.add_argument("--peers", metavar="DIR", help="folder of the DTLN and GTCRN files")
    p.add_argument("--cache", metavar="DIR", help="keep what systems make of recordings there, for other runs")
    p.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes; results do not depend on them")
    p.add_argument("--scheduler", metavar="ADDRESS", help="of a dask cluster, or: local")
    p.add_argument("--no-report", action="store_true", help="numbers only: no sounds, pictures, index.html")
    p.add_argument("--list-metrics", nargs=0, action=_ListMetrics, help="names, units, ranges and needs, and stop")
    p.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
    from .simulation.evaluate import Settings, evaluate, summary_text
    from .simulation.plan import Plan

    if (args.suite is None) == (args.input is None):
        raise ValueError("give either a suite (edgeenhance evaluate SUITE.toml -o DIR) or --input")
    if args.input is None:
        plan = Plan.load(args.suite)
    else:
        default = ("noisy", "none+assist-m" if args.array == "mono" else "mvdr+assist-m")
        plan = Plan.of_files(
            args.input, args.reference, array=args.array, look=args.look, systems=args.systems or default,
            measures=args.metrics,
        )  # fmt: skip
    shown = not args.no_report
    settings = Settings(args.speech, args.noise, args.peers, sounds=shown, pictures=shown, cache=args.cache)
    content = evaluate(
        plan, args.output, settings, workers=args.workers, scheduler=args.scheduler, command=_command_line()
    )
    print(summary_text(content))
    if shown:
        from .simulation.report import write_report

        print(f"\nreport: {write_report(args.output)}")
    return 0 if content["passed"] else 1


class _ListMetrics(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from .simulation.measures import MEASURES

        rows = [
            (m.name, m.title, m.unit, f"{m.low:g} .. {m.high:g}", m.better, ", ".join(m.needs))
            for m in MEASURES.values()
        ]
        print(table(("metric", "title", "unit", "scale", "better", "needs"), rows))
        parser.exit()


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _command_line() -> str:
    """This command as it was given, folders by their last names."""
    return " ".join(["edgeenhance", *(Path(word).name if "/" in word else word for word in sys.argv[1:])])


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


# ---- arrays, models, info ----


def _add_arrays(commands: Any) -> None:
    p = commands.add_parser("arrays", help="list the array presets, or describe one")
    p.add_argument("name", nargs="?", metavar="NAME|FILE.toml")
    p.add_argument("--plot", metavar="FILE", help="draw the array into a .png, .svg or .pdf")
    p.set_defaults(run=_arrays)


def _arrays(args: argparse.Namespace) -> None:
    if args.name is None:
        if args.plot:
            raise ValueError("--plot draws one array; name it, e.g. edgeenhance arrays bte-2x2 --plot bte.png")
        print(_array_list())
        return
    array = MicArray.load(args.name)
    print(_array_text(array))
    if args.plot:
        _save_figure(array, args.plot)


def _array_list() -> str:
    arrays = [MicArray.load(name) for name in preset_names()]
    rows = [(a.name, a.mics, a.mount, " ".join(a.ears), _hertz(a.aliasing_frequency)) for a in arrays]
    return table(("array", "mics", "mount", "ears", "aliasing above"), rows)


def _array_text(array: MicArray) -> str:
    mount = f"on a head of radius {1000 * array.head_radius:g} mm" if array.mount == "head" else "in open air"
    ears = {mic: [] for mic in range(array.mics)}
    for ear in array.ears:
        ears[array.ear(ear)].append(ear)
    millimetres = 1000 * array.positions + 0.0
    rows = [(m, *(f"{v:.1f}" for v in millimetres[m]), " ".join(ears[m])) for m in range(array.mics)]
    parts = [f"{array.name}: {array.mics} microphones {mount}; x front, y left, z up, in mm"]
    parts.append(table(("mic", "x", "y", "z", "reference of"), rows))
    if array.mics > 1:
        parts += [_spacing_text(array), _directivity_text(array)]
    return "\n\n".join(parts)


def _spacing_text(array: MicArray) -> str:
    distance = np.linalg.norm(array.positions[:, None] - array.positions[None], axis=-1)
    distance = 1000 * distance[np.triu_indices(array.mics, 1)]
    return (
        f"spacing {distance.min():.1f} to {distance.max():.1f} mm; "
        f"spatial aliasing of the nearest pair above {_hertz(array.aliasing_frequency)}"
    )


def _directivity_text(array: MicArray) -> str:
    """What beams towards the front add to the reference microphone in diffuse noise, dB."""
    freqs = np.array([250.0, 500.0, 1000.0, 2000.0, 4000.0])
    reference = array.ear(array.ears[0])
    rows = []
    for name in ("delay-and-sum", "superdirective"):
        w = beamformer(name).weights(array, 0.0, freqs, reference)
        index = directivity_index(w, array, 0.0, freqs, reference)
        rows.append((name, *(f"{value:.1f}" for value in index)))
    header = ("gain in diffuse noise, dB", *(_hertz(f) for f in freqs))
    return table(header, rows)


def _save_figure(array: MicArray, path: str) -> None:
    figure = array.plot()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _add_models(commands: Any) -> None:
    commands.add_parser("models", help="list the models there are").set_defaults(run=_models)


def _models(args: argparse.Namespace) -> None:
    print(_model_list())
    print(f"\nwithout a network: {', '.join(METHODS)} (classical), none (the beam alone)")


def _model_list() -> str:
    from . import masknet

    keys = ("profile", "bands", "quantization", "parameters", "licence")
    rows = []
    for name in masknet.zoo_names():
        path = masknet.zoo_path(name)
        _, facts = masknet.read_model(path)
        rows.append([name, f"{path.stat().st_size / 1000:.0f}", *(facts.get(key, "") for key in keys)])
    return table(("model", "kB", *keys), rows) if rows else "no models in this installation"


def _add_info(commands: Any) -> None:
    commands.add_parser("info", help="versions, runtime, CPU, latency").set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    facts = [
        ("edgeenhance", metadata.version("edgeenhance")),
        ("Python", f"{platform.python_version()} on {platform.platform()}"),
        ("NumPy", np.__version__),
        ("kernel", f"{lib.EE_VERSION_MAJOR}.{lib.EE_VERSION_MINOR}"),
        ("backends", _backends()),
        ("CPU", f"{machine.cpu_name()}, {os.cpu_count()} cores; {' '.join(machine.cpu_features())}"),
        ("arrays", ", ".join(preset_names())),
    ]
    print(table(("", ""), facts, left=2).split("\n", 2)[2])
    print("\n" + _latency_table())
    print("\n" + _model_list())


def _latency_table() -> str:
    rows = []
    for profile in PROFILES.values():
        ms = 1000 / profile.sample_rate
        windows = f"{profile.analysis * ms:g} / {profile.synthesis * ms:g} / {profile.hop * ms:g}"
        stream, hop = (profile.synthesis - profile.hop) * ms, profile.hop * ms
        aligned = f"{stream:g} + {hop:g} = {stream + hop:g}"
        rows.append((profile.name, windows, f"{profile.synthesis * ms:g} + block", aligned))
    header = ("latency, ms", "analysis / synthesis / hop", "blocks of any size", "stream + block of one hop")
    return table(header, rows)


def _backends() -> str:
    from . import masknet

    runtime = masknet.runtime_name()
    return "native; litert: " + (runtime or "no TFLite runtime, pip install 'edgeenhance[litert]'")


def _hertz(value: float) -> str:
    if np.isinf(value):
        return "-"
    return f"{value:.0f} Hz" if value < 1000 else f"{value / 1000:.3g} kHz"


# ---- bench, doctor ----


def _add_bench(commands: Any) -> None:
    p = commands.add_parser("bench", help="what enhancement costs on this machine: models x backends x arrays")
    p.add_argument("--model", type=_words, metavar="A,B,...", help="names or files, none: the beam (default: all)")
    p.add_argument("--backend", type=_words, metavar="A,B", help="native, litert (default: what is installed)")
    p.add_argument("--array", type=_words, metavar="A,B,...", help="names or files (default: all presets)")
    p.add_argument("--seconds", type=_seconds, metavar="S", help="for each combination (default: 0.4)")
    p.add_argument("--json", action="store_true", help="JSON instead of a Markdown table")
    p.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> None:
    from . import bench

    if slow := machine.slow_governors():
        sentence = f"the processor is governed by {', '.join(slow)}: its frequency follows the load, and figures differ"
        warnings.warn(
            f"{sentence} from run to run; until the next boot: {machine.GOVERN}", RuntimeWarning, stacklevel=1
        )
    todo = bench.combinations(args.model, args.backend, args.array)
    with _line() as show:
        costs = []
        for number, (array, model, backend) in enumerate(todo, 1):
            show(f"{number} of {len(todo)}: {array}, {model}, {backend}")
            costs.append(bench.measure(array, model, backend, args.seconds or bench.SECONDS))
    print(json.dumps(bench.as_json(costs), indent=2) if args.json else bench.report(costs))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from 0 to 3600 seconds")
    return value


def _add_doctor(commands: Any) -> None:
    p = commands.add_parser("doctor", help="what works here, what does not, and what to do about it")
    p.add_argument("--json", action="store_true", help="JSON instead of lines")
    p.set_defaults(run=_doctor)


def _doctor(args: argparse.Namespace) -> int:
    from . import doctor

    findings = doctor.examine()
    print(json.dumps(doctor.as_json(findings), indent=2) if args.json else doctor.report(findings))
    return 0 if doctor.works(findings) else 1


# ---- train, quantize, compile, verify ----


def _add_train(commands: Any) -> None:
    p = commands.add_parser("train", help="train a network from a recipe")
    p.add_argument("recipe", metavar="RECIPE.toml")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="run folder: checkpoints, log, curves, weights")
    _add_training_data(p)
    p.add_argument("--valid-bank", required=True, metavar="DIR", help="impulse-response bank to validate on")
    p.add_argument("--resume", action="store_true", help="go on from the run folder's checkpoint")
    p.add_argument("--weights", metavar="FILE.npz", help="weights to begin with, to fine-tune a trained network")
    p.add_argument("--minutes", type=float, metavar="N", help="save and stop after so long")
    p.add_argument("--workers", type=_positive, default=1, metavar="N", help="mixing processes (default: 1)")
    p.add_argument("--threads", type=_positive, metavar="N", help="threads of the network's arithmetic")
    p.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default) or cuda")
    p.set_defaults(run=_train)


def _add_training_data(p: argparse.ArgumentParser) -> None:
    p.add_argument("--data", required=True, metavar="DIR", help="folder with speech/ and noise/")
    p.add_argument("--bank", required=True, metavar="DIR", help="impulse responses, of edgeenhance simulate --bank")
    p.add_argument("--cache", metavar="DIR", help="folder for decoded audio and designed beams")


def _train(args: argparse.Namespace) -> None:
    import torch

    from .models.train import print_record, train

    if args.threads:
        torch.set_num_threads(args.threads)
    names = ("valid_bank", "minutes", "resume", "weights", "workers", "cache", "device")
    settings = {name: getattr(args, name) for name in names}
    train(args.recipe, data_dir=args.data, bank_dir=args.bank, out=args.output, report=print_record, **settings)


def _add_data(commands: Any) -> None:
    p = commands.add_parser("data", help="prepare, mix, list and check training data")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    verify = actions.add_parser("check", help="compare a data folder with a list: SHA-256 of every file")
    verify.add_argument("data", metavar="DIR", help="folder with speech/ and noise/")
    verify.add_argument("--manifest", default="train-1", metavar="NAME|FILE", help="default: train-1, the zoo's")
    verify.set_defaults(run=_data_check)
    listing = actions.add_parser("manifest", help="list the files of a recipe's sources")
    listing.add_argument("data", metavar="DIR", help="folder with speech/ and noise/")
    listing.add_argument("recipe", metavar="RECIPE.toml")
    listing.add_argument("-o", "--output", required=True, metavar="FILE.txt.gz")
    listing.set_defaults(run=_data_manifest)
    synthetic = actions.add_parser("synthesize", help="make a small set of talkers and noises, to try training with")
    synthetic.add_argument("data", metavar="DIR", help="folder for speech/ and noise/")
    synthetic.add_argument("--talkers", type=_positive, default=12, metavar="N", help="default: 12")
    synthetic.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of each recording (default: 8)")
    synthetic.set_defaults(run=_data_synthesize)
    _add_data_prepare(actions)
    _add_data_mix(actions)


def _add_data_prepare(actions: Any) -> None:
    p = actions.add_parser("prepare", help="check, convert and split the corpora in DIR/raw; docs/data.md")
    p.add_argument("data", metavar="DIR", help="folder with raw/, one corpus per folder in it")
    p.add_argument("--rate", type=_positive, default=16000, metavar="HZ", help="default: 16000")
    p.add_argument("--channel", type=_positive, default=0, metavar="N", help="default: the mean of all")
    p.add_argument("--trim", action="store_true", help="cut silence off both ends")
    p.add_argument("--highpass", type=float, default=0.0, metavar="HZ", help="Butterworth, no delay")
    p.add_argument("--lowpass", type=float, default=0.0, metavar="HZ")
    p.add_argument("--loudness", type=float, metavar="LUFS", dest="loudness_lufs", help="level to bring all to")
    p.add_argument("--peak", type=float, metavar="DBFS", dest="peak_dbfs", help="level to bring all to, instead")
    p.add_argument("--clipped", type=float, default=0.001, metavar="SHARE", help="of samples at most (default: 0.001)")
    p.add_argument("--min-seconds", type=float, default=0.3, metavar="S", help="of sound at least (default: 0.3)")
    p.add_argument("--split", type=float, nargs=3, default=(80.0, 10.0, 10.0), metavar="SHARE",
                   help="of talkers to train, valid, test (default: 80 10 10)")  # fmt: skip
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the split (default: 1)")
    p.add_argument("--resplit", action="store_true", help="forget the splits that corpora come with")
    p.add_argument("--layout", action="append", default=[], metavar="CORPUS=LAYOUT", help="of what is not recognised")
    p.add_argument("--talker", metavar="REGEX", help="finds the talker in paths of plain folders, as its first group")
    p.add_argument(
        "--features", type=_words, default=(), metavar="A,B,...", help="log-magnitude, mel, mfcc, erb, cochleagram"
    )
    p.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes; results do not depend on them")
    p.set_defaults(run=_data_prepare)


def _data_prepare(args: argparse.Namespace) -> None:
    from .simulation.datasets.conditions import Conditions
    from .simulation.datasets.prepare import prepare

    conditions = Conditions(**{field.name: getattr(args, field.name) for field in fields(Conditions)})
    if bad := [pair for pair in args.layout if "=" not in pair]:
        raise ValueError(f"--layout takes CORPUS=LAYOUT, such as --layout recordings=folders, got {bad[0]}")
    report = prepare(
        Path(args.data), conditions, shares=args.split, seed=args.seed, resplit=args.resplit, talker=args.talker,
        layouts=dict(pair.split("=", 1) for pair in args.layout), features=args.features, workers=args.workers,
    )  # fmt: skip
    print(report)


def _add_data_mix(actions: Any) -> None:
    p = actions.add_parser("mix", help="mix speech and noise to noisy and clean pairs at given SNRs, as MS-SNSD does")
    p.add_argument("data", metavar="DIR", help="folder with speech/ and noise/, such as data/processed/train")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="for noisy/, clean/, noise/ and pairs.jsonl")
    amount = p.add_mutually_exclusive_group(required=True)
    amount.add_argument("--hours", type=float, metavar="H", help="of noisy speech")
    amount.add_argument("--count", type=_positive, metavar="N", help="pairs")
    p.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each pair (default: 10)")
    p.add_argument(
        "--snr",
        type=float,
        nargs="+",
        default=[0.0, 10.0, 20.0, 30.0, 40.0],
        metavar="DB",
        help="default: 0 10 20 30 40",
    )
    p.add_argument("--level", type=float, nargs=2, default=(-35.0, -15.0), metavar="DBFS", help="default: -35 to -15")
    p.add_argument("--silence", type=float, default=0.2, metavar="S", help="between two clips (default: 0.2)")
    p.add_argument("--rate", type=_positive, default=16000, metavar="HZ", help="of all recordings (default: 16000)")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="default: 1")
    p.add_argument("--workers", type=_positive, default=1, metavar="N", help="processes; results do not depend on them")
    p.set_defaults(run=_data_mix)


def _data_mix(args: argparse.Namespace) -> None:
    from .simulation.datasets.mix import Mix, mix

    settings = Mix(args.seconds, tuple(args.snr), tuple(args.level), args.silence, args.rate, args.seed)
    if args.hours is not None and not 0 < args.hours <= 10000:
        raise ValueError(f"--hours takes a number above 0, up to 10000, got {args.hours:g}")
    count = args.count or max(1, round(3600 * args.hours / args.seconds))
    start = time.perf_counter()
    pairs, unfit, new = mix(Path(args.data), Path(args.output), settings, count, args.workers)
    seconds = time.perf_counter() - start
    for sentence in unfit:
        print(f"left out: {sentence}")
    speed = f", {new} of them now, at {new * args.seconds / seconds:.0f} x real time" if new else ""
    print(f"{args.output}: {len(pairs)} pairs of {args.seconds:g} s{speed}")


def _data_check(args: argparse.Namespace) -> None:
    from .models.manifest import check, digest

    doubts = check(Path(args.data), args.manifest)
    for sentence in doubts[:10]:
        print(sentence)
    if doubts:
        raise EdgeEnhanceError(
            f"{len(doubts)} files differ from the list {args.manifest}; docs/data.md says where they are"
        )
    print(f"{args.data} has every file of {args.manifest}, list {digest(args.manifest)}")


def _data_manifest(args: argparse.Namespace) -> None:
    from .models.manifest import write_manifest
    from .models.recipe import Recipe

    recipe = Recipe.load(args.recipe)
    count = write_manifest(Path(args.data), recipe.speech, recipe.noise, args.output)
    print(f"{args.output}: {count} files")


def _data_synthesize(args: argparse.Namespace) -> None:
    from .simulation.synth import write_recordings

    count = write_recordings(Path(args.data), args.talkers, args.seconds)
    print(f"{args.data}: {count} recordings")


def _add_quantize(commands: Any) -> None:
    p = commands.add_parser("quantize", help="turn a trained checkpoint into a .tflite file")
    p.add_argument("checkpoint", metavar="CKPT", help="best.pt or checkpoint.pt of a run folder")
    p.add_argument("-o", "--output", required=True, metavar="model.tflite")
    _add_training_data(p)
    p.add_argument("--quantization", default="16x8", metavar="KIND", help="16x8 (default), int8 or float32")
    p.set_defaults(run=_quantize)


def _quantize(args: argparse.Namespace) -> None:
    from .models.quantize import run_quantize

    settings = {"quantization": args.quantization, "cache": args.cache}
    report = run_quantize(args.checkpoint, args.output, data_dir=args.data, bank_dir=args.bank, **settings)
    print(_verified(args.output, report))


def _verified(name: str, report: dict[str, Any]) -> str:
    """What models/verify.py found, the network stage by stage."""
    stages = [(stage, f"{snr:.1f}") for stage, snr in report["stages"].items()]
    sentence = (
        f"{name}: {report['snr_db']:.1f} dB from the float network, largest error of a gain {report['worst']:.4f}"
    )
    return f"{sentence}\n\n{table(('stage', 'SNR, dB'), stages)}"


def _add_onnx(commands: Any) -> None:
    p = commands.add_parser("onnx", help="turn a causal network into an .onnx file with explicit states")
    p.add_argument("model", metavar="CKPT|NAME", help="best.pt or checkpoint.pt of a run folder, or a zoo model")
    p.add_argument("-o", "--output", required=True, metavar="model.onnx")
    p.set_defaults(run=_onnx)


def _onnx(args: argparse.Namespace) -> None:
    from .models.onnx_export import run_onnx

    facts = run_onnx(args.model, args.output)
    size = f"{facts['parameters']} parameters, {facts['hop']} samples per call"
    print(f"{args.output}: {size}, {facts['error']:.1e} of the loudest sample from PyTorch")


def _add_compile(commands: Any) -> None:
    p = commands.add_parser("compile", help="turn a model into a program of the C engine, for firmware")
    p.add_argument("model", metavar="NAME|FILE.tflite", help="of edgeenhance models (NAME:int8 too), or a file")
    p.add_argument("-o", "--output", metavar="model.eebin")
    p.add_argument("--c", metavar="model.c", help="the same bytes as a C array, named after the file")
    p.set_defaults(run=_compile)


def _compile(args: argparse.Namespace) -> None:
    from .nativenet import NativeNet
    from .program import write_c, write_program

    if not (args.output or args.c):
        raise ValueError("name an output: -o model.eebin, --c model.c, or both")
    net = NativeNet(args.model)
    size = f"{len(net.program)} bytes, and {net.memory} bytes of memory to run"
    if args.output:
        write_program(net.program, args.output)
        print(f"{args.output}: {size}")
    if args.c:
        print(f"{args.c}: {write_c(net.program, args.c)}, {size}")


def _add_export(commands: Any) -> None:
    p = commands.add_parser("export", help="write an enhancer as C source: network, tables of the array, settings")
    p.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for NAME.h and NAME.c")
    p.add_argument("--name", default="ee_setup", metavar="NAME", help="of the files and in them (default: ee_setup)")
    p.add_argument("--array", default="mono", metavar="NAME|FILE.toml", help="default: mono")
    _add_settings(p)
    p.add_argument(
        "--look", type=float, nargs="+", default=[0.0], metavar="DEG",
        help="directions to choose from, the first one at the start; 0 front (default), 90 left",
    )  # fmt: skip
    p.add_argument("--block", type=_positive, metavar="N", help="blocks are multiples of the hop; default: any size")
    p.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> None:
    from .enhancer import Enhancer
    from .export import write_setup

    names = ("profile", "beamformer", "model", "strength", "ears", "cues", "ceiling", "block")
    settings = {name: getattr(args, name) for name in names}
    enhancer = Enhancer(args.array, look=args.look[0], **settings)
    for path in write_setup(enhancer, args.output, args.look, args.name):
        print(f"{path}: {path.stat().st_size} bytes")


def _add_firmware(commands: Any) -> None:
    from .firmware.boards import BOARDS

    p = commands.add_parser("firmware", help="an enhancer on a microcontroller: new, build, run, flash")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    new = actions.add_parser("new", help="write a CMake project")
    new.add_argument("folder", metavar="DIR", help="a new folder")
    new.add_argument("--board", required=True, metavar="NAME", help=", ".join(BOARDS))
    new.add_argument("--array", default="mono", metavar="NAME|FILE.toml", help="default: mono")
    new.add_argument("--look", type=float, default=0.0, metavar="DEG", help="talker's direction; 0 front, 90 left")
    _add_settings(new, ceiling="-1")
    new.set_defaults(run=_firmware_new)
    build = actions.add_parser("build", help="compile, and say what it costs")
    build.add_argument("--exact", action="store_true", help="bit-equal to Python; default: fused multiply-add")
    build.add_argument("--clock", type=float, metavar="MHZ", help="of the core (default: the board's)")
    build.set_defaults(run=_firmware_build)
    run = actions.add_parser("run", help="a recording through the emulated board, compared with Python")
    run.add_argument("recording", metavar="IN.wav", help="at the profile's rate, with the array's channels")
    run.add_argument("-o", "--output", metavar="OUT.wav")
    run.set_defaults(run=_firmware_run)
    flash = actions.add_parser("flash", help="write to a board and verify; exit code 3 without a probe")
    flash.add_argument("--model", metavar="NAME|FILE", help="write this model's region alone")
    flash.add_argument("--probe", metavar="METHOD:ID", help="pyocd, openocd, dfu-util, uf2:DRIVE, gdb:HOST:PORT")
    flash.set_defaults(run=_firmware_flash)
    for action in (build, run, flash):
        action.add_argument("-C", dest="folder", default=".", metavar="DIR", help="the project (default: here)")


def _firmware_new(args: argparse.Namespace) -> None:
    from .firmware.project import DEFAULTS, new

    settings = {name: getattr(args, name) for name in DEFAULTS}
    print(f"{new(args.folder, args.board, args.array, args.model, **settings)}: README.md says how to go on")


def _firmware_build(args: argparse.Namespace) -> None:
    from .firmware.build import build, costs_text
    from .firmware.project import Project

    project = Project.load(args.folder)
    if args.clock is not None and not args.clock > 0:
        raise ValueError(f"got --clock {args.clock:g}; pass the core's clock in MHz")
    files, costs = build(project, exact=args.exact)
    for path in files:
        print(f"{path}: {path.stat().st_size} bytes")
    print("\n" + costs_text(project, costs, args.clock))


def _firmware_run(args: argparse.Namespace) -> int:
    from .firmware.project import Project
    from .firmware.run import run

    comparison = run(Project.load(args.folder), args.recording, args.output)
    print(comparison.report.boot)
    print(comparison)
    return 0 if comparison.passed else 1


def _firmware_flash(args: argparse.Namespace) -> int:
    from .firmware.flash import NoProbeError, flash
    from .firmware.project import Project

    try:
        print(flash(Project.load(args.folder), model=args.model, probe=args.probe))
    except NoProbeError as error:
        print(f"edgeenhance: {error}", file=sys.stderr)
        return 3
    return 0


def _add_verify(commands: Any) -> None:
    p = commands.add_parser("verify", help="compare a model with its float network on a recording, stage by stage")
    p.add_argument("model", metavar="NAME|FILE", help="of edgeenhance models (NAME:int8 too), or a .tflite file")
    p.add_argument("recording", metavar="IN.wav", help="what the model hears: the first 10 s")
    p.add_argument("--array", metavar="NAME|FILE.toml", help="where the recording is from; default: mono")
    p.add_argument("--weights", metavar="FILE", help=".npz or checkpoint of the float network (default: beside it)")
    p.set_defaults(run=_verify)


def _verify(args: argparse.Namespace) -> None:
    from .models.verify import run_verify

    print(_verified(args.model, run_verify(args.model, args.recording, array=args.array, weights=args.weights)))


# ---- sentences, signals, progress ----


def _fail(sentence: str) -> int:
    print(f"edgeenhance: {sentence}", file=sys.stderr)
    return 2


def _missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    extra = EXTRAS.get(package)
    cure = f"pip install 'edgeenhance[{extra}]'" if extra else f"pip install {package}"
    return f"this command needs the package {package}, which is not installed: {cure}"


@contextmanager
def _sentences() -> Iterator[None]:
    """Warnings of this package as sentences on standard error; those of other packages are not for users."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=RuntimeWarning, module="edgeenhance")
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
        yield


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that half-written files are removed."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread: nobody sends us signals there
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is being done; it goes away at the end."""
    shown = sys.stderr.isatty()

    def show(text: str) -> None:
        if shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


@contextmanager
def _progress(title: str, unit: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar for (done, total) on a terminal, if tqdm is installed; otherwise None."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        yield None
        return
    bars: list[Any] = []

    def update(done: int, total: int) -> None:
        if not bars:  # not before the first block: warnings are printed until then
            quiet = not sys.stderr.isatty()
            bars.append(tqdm(desc=title, total=total, unit=unit, unit_scale=True, disable=quiet, leave=False))
        bars[0].update(done - bars[0].n)

    try:
        yield update
    finally:
        for bar in bars:
            bar.close()
