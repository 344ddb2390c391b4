"""Room-simulation evaluations: every case of a plan, enhanced by every system, measured, judged and reported.

    evaluate(plan, folder)            all cases, resumable: what is in the folder is not computed again
    run_case                          one case: its measurements, sounds and pictures, as files' contents

The folder holds `run.json` (what was run), `cases/NAME/` (result.json, sounds, pictures), and at the end results.json,
results.csv, gate.json, junit.xml and index.html. A case that fails is reported and does not stop the rest. The numbers
do not depend on the number of workers; only `real_time_factor` is a matter of the machine.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shlex
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .._files import atomic_path
from .._text import table as text_table
from ..arrays import MicArray
from ..beamform import plot_beampattern
from ..cache import Cache
from ..cache import key as cache_key
from ..classical import METHODS
from ..enhancer import Enhancer
from ..errors import EdgeEnhanceError
from ..profiles import PROFILES, Profile
from . import metrics
from .gate import COSTS, described, junit, nan_to_none
from .jobs import results
from .listeners import embedder, transcriber
from .measures import MEASURES, Clip, measure
from .plan import CLEAN, Case, FileCase, Plan, at_number
from .render import at_16_khz, open_sound
from .room_measures import Beam, drr
from .scene import Scene
from .shadow import estimated_shadow, shadow_filter
from .systems import (
    SAMPLE_RATE,
    backend_of,
    beam_and_model,
    ear,
    is_chain,
    latency_ms,
    model_file,
    network_files,
    profile_of,
    system,
    write_floats,
)

RESULT, RUN, CASES = "result.json", "run.json", "cases"
_LOUDEST = 0.5  # of the sounds in the report: one gain for all of a case
_OVERHEAD = 3.0  # an external program may take so many times the recording's length, and a minute more


@dataclass(frozen=True)
class Settings:
    """What is not in the suite file. speech, noise : folders of recordings, None synthesizes · peers : the folder of
    DTLN and GTCRN · floats : of `systems.write_floats` · sounds, pictures : keep them for the report
    cache : folder for what systems make of recordings (`edgeenhance.cache`), with the computing times of then"""

    speech: str | None = None
    noise: str | None = None
    peers: str | None = None
    floats: str | None = None
    sounds: bool = True
    pictures: bool = True
    cache: str | None = None


@dataclass(frozen=True)
class Recording:
    """What systems are given: (n, M) at 16 kHz from an array, steered to `look` degrees, for one ear.

    parts : speech and noise (n, M) each, or None where they are not known · warm : (m, M) heard before
    target : (n,) the talker's direct and early sound at the reference microphone, or None
    ears : (n, 2) the same at both ears, left first, or None
    """

    name: str
    mix: np.ndarray
    array: MicArray
    reference: int
    look: float
    parts: tuple[np.ndarray, np.ndarray] | None = None
    warm: np.ndarray | None = None
    target: np.ndarray | None = None
    ears: np.ndarray | None = None

    @property
    def noisy(self) -> np.ndarray:
        """The reference microphone."""
        return self.mix[:, self.reference]


@dataclass(frozen=True)
class Output:
    """What a system makes of a recording. parts : speech and noise alone through what it did, or None
    seconds : of computing, per second of sound · latency_ms : None where nobody knows · of our own: gains : (hops, F)
    of the network in `profile`, or None · beam : as it was at the end · ears : (n, 2) of both ears, where asked for
    cached : was it in the cache? None: no cache was asked"""

    y: np.ndarray
    parts: tuple[np.ndarray, np.ndarray] | None
    seconds: float | None = None
    latency_ms: float | None = None
    model_kb: float | None = None
    gains: np.ndarray | None = None
    profile: Profile | None = None
    beam: Beam | None = None
    ears: np.ndarray | None = None
    cached: bool | None = None


# ---- systems ----


def enhance_recording(name: str, recording: Recording, plan: Plan, settings: Settings) -> Output:
    """The named system of a plan over a recording; raises what the system raises.

    With a cache, not computed again if the same model heard the same samples; programs and files are not cached.
    """
    make = partial(_enhance, name, recording, plan, settings)
    if not settings.cache or name in (*plan.folders, *plan.commands, CLEAN, "noisy"):
        return make()
    networks = _networks_key(name, settings.peers, settings.floats)
    heard = cache_key(name, networks, replace(recording, name=""), _both(plan, recording))
    cache = _cache(settings.cache)
    hits = cache.statistics.hits
    output = cache.get(heard, make)
    return replace(output, cached=cache.statistics.hits > hits)


@lru_cache(maxsize=64)
def _networks_key(name: str, peers: str | None, floats: str | None) -> str:
    """Of the files that a system runs."""
    model, files = beam_and_model(name)[1], network_files(name)
    if peers and not is_chain(name):
        files += sorted(path for path in Path(peers).rglob("*") if path.is_file())
    if model.endswith(":float"):
        files.append(Path(model_file(model, floats)))
    return cache_key(files)


@lru_cache(maxsize=1)
def _cache(folder: str) -> Cache:
    """One per process."""
    return Cache(folder=folder)


def _both(plan: Plan, recording: Recording) -> bool:
    """Are both ears asked for?"""
    return recording.ears is not None and bool({"interaural_level_error", "interaural_time_error"} & set(plan.measured))


def _enhance(name: str, recording: Recording, plan: Plan, settings: Settings) -> Output:
    if name in plan.folders:
        return _finished(Path(plan.folders[name]) / f"{recording.name}.wav", recording)
    if name in plan.commands:
        return _command(plan.commands[name], recording)
    if name == CLEAN:
        return _clean(recording)
    beam, model = beam_and_model(name)
    if not is_chain(name):
        return _peer(name, recording, settings)
    return _chain(beam, model_file(model, settings.floats), recording, _both(plan, recording), backend_of(name))


def _clean(recording: Recording) -> Output:
    if recording.target is None:
        raise EdgeEnhanceError(f"system {CLEAN!r} needs a reference; give one, or leave the system out")
    parts = None if recording.parts is None else (recording.parts[0][:, recording.reference], 0 * recording.target)
    return Output(recording.target, parts, ears=recording.ears)


def _chain(beam: str, model: str, recording: Recording, both: bool, backend: str) -> Output:
    """Our own: parts are what its weights and gains let through. both : both ears too, in a second run"""
    profile = PROFILES[profile_of(model)]
    new = partial(
        Enhancer, recording.array, profile=profile.name, beamformer=beam, model=model, look=recording.look,
        block=profile.hop, backend=backend,
    )  # fmt: skip
    enhancer = new(ears=ear(recording))
    warm = np.zeros((0, recording.array.mics), np.float32) if recording.warm is None else recording.warm
    warm = warm[: len(warm) // profile.hop * profile.hop]
    enhancer.process(warm)
    start = time.perf_counter()
    shadow = shadow_filter(enhancer, recording.mix, recording.parts or ())
    seconds = (time.perf_counter() - start) / (len(shadow.y) / SAMPLE_RATE)
    return Output(
        shadow.y, tuple(shadow.parts) or None, seconds, enhancer.latency_ms(),
        model_kb=None if model in ("none", *METHODS) else os.path.getsize(model) / 1024,
        gains=None if model == "none" else shadow.gains, profile=profile,
        beam=Beam(shadow.weights, profile.freqs, recording.array, recording.look, recording.reference),
        ears=_both_ears(new(ears="both"), warm, recording.mix) if both else None,
    )  # fmt: skip


def _both_ears(enhancer: Enhancer, warm: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """(n, 2), delay compensated."""
    hop, n = enhancer.profile.hop, len(mix)
    enhancer.process(warm)
    end = np.zeros((enhancer.latency + -(n + enhancer.latency) % hop, mix.shape[1]), np.float32)
    return enhancer.process(np.concatenate([mix, end]))[enhancer.latency :][:n]


def _peer(name: str, recording: Recording, settings: Settings) -> Output:
    """Of others, and the microphone itself. Their latency is the window's, after that of the beam before them."""
    run = system(name, settings.peers, settings.floats)
    x = recording.mix if recording.warm is None else np.concatenate([recording.warm, recording.mix])
    start = time.perf_counter()
    y = run(x, recording, recording.look)
    seconds = (time.perf_counter() - start) / (len(x) / SAMPLE_RATE)
    y = y[len(x) - len(recording.mix) :]
    return Output(y, _estimated(recording, y), seconds, latency_ms(name, settings.peers))


def _estimated(recording: Recording, y: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    if recording.parts is None:
        return None
    parts = [part[:, recording.reference] for part in recording.parts]
    if np.array_equal(y, recording.noisy):
        return tuple(parts)
    return tuple(estimated_shadow(recording.noisy, y, parts))


def _finished(path: Path, recording: Recording) -> Output:
    y = _read(path, len(recording.mix))
    return Output(y, _estimated(recording, y))


def _command(entry: Mapping[str, Any], recording: Recording) -> Output:
    """An external program, its command's words filled in; nothing goes through a shell."""
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        paths = {name: os.path.join(folder, f"{name}.wav") for name in ("input", "reference", "output")}
        soundfile.write(paths["input"], recording.mix, SAMPLE_RATE, subtype="FLOAT")
        soundfile.write(paths["reference"], recording.noisy, SAMPLE_RATE, subtype="FLOAT")
        words = [word.format(**paths) for word in shlex.split(entry["command"])]
        start, limit = time.perf_counter(), 60 + _OVERHEAD * len(recording.mix) / SAMPLE_RATE
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=limit)
        except FileNotFoundError:
            raise EdgeEnhanceError(f"{entry['name']}: there is no program {words[0]!r}") from None
        except subprocess.TimeoutExpired:
            raise EdgeEnhanceError(f"{entry['name']} took longer than {limit:.0f} s") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise EdgeEnhanceError(f"{entry['name']} ended with code {error.returncode}: {' '.join(said)}") from None
        seconds = (time.perf_counter() - start) / (len(recording.mix) / SAMPLE_RATE)
        delay = int(entry.get("delay", 0))
        y = _read(Path(paths["output"]), len(recording.mix), delay)
    return Output(y, _estimated(recording, y), seconds, None)


def _read(path: Path, n: int, delay: int = 0) -> np.ndarray:
    """A result (n,), without its delay, the end filled up with zeros; EdgeEnhanceError for what is none."""
    import soundfile

    try:
        y, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise EdgeEnhanceError(f"cannot read {path.name}: {error}") from error
    if rate != SAMPLE_RATE or y.shape[1] != 1:
        raise EdgeEnhanceError(f"{path.name} must be mono at {SAMPLE_RATE} Hz, got {y.shape[1]} channels at {rate} Hz")
    y = y[delay:, 0][:n]
    if len(y) < n - SAMPLE_RATE // 10:
        raise EdgeEnhanceError(f"{path.name} has {len(y)} samples, expected {n}; results are as long as the recording")
    return np.pad(y, (0, n - len(y)))


# ---- one case ----


def run_case(plan: Plan, settings: Settings, index: int) -> dict[str, bytes]:
    """Files of case number `index` by name, RESULT among them; what goes wrong is told in it."""
    case = plan.cases[index]
    result: dict[str, Any] = {"name": case.name, "facts": {}, "error": None, "rows": {}, "reasons": [], "cached": {}}
    files: dict[str, bytes] = {}
    heard: dict[str, np.ndarray] = {}
    try:
        recording, result["facts"], scene = _heard(plan, case, settings)
        given = _Given.of(plan, case, recording)
        result["facts"] |= given.facts
        outputs = {}
        for name in plan.systems:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", RuntimeWarning)  # dead microphones and the like: told in the report
                outputs[name] = enhance_recording(name, recording, plan, settings)
            said = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, RuntimeWarning))
            result["reasons"] += [f"{name}: {sentence}" for sentence in said]
        for name, output in outputs.items():
            result["rows"][name], reasons = _measured(plan, recording, given, output)
            result["reasons"] += [f"{name}: {reason}" for reason in reasons]
        result["cached"] = {name: output.cached for name, output in outputs.items() if output.cached is not None}
        heard = {} if recording.target is None else {CLEAN: recording.target}
        heard |= {"noisy": recording.noisy}
        heard |= {name: output.y for name, output in outputs.items() if name not in heard}
        if settings.sounds:
            files |= _sounds(heard)
        if settings.pictures:
            files |= _pictures(heard, scene, recording, outputs)
    except Exception as error:  # of any kind: the other cases go on, and this one is computed again next time
        result["error"] = f"{type(error).__name__}: {error}"
    result["audio"] = dict(zip(heard, (name for name in files if name.endswith(".ogg"))))
    result["pictures"] = {Path(name).stem: name for name in files if not name.endswith(".ogg")}
    files[RESULT] = json.dumps(result, indent=1).encode()
    return files


def _heard(plan: Plan, case: Case | FileCase, settings: Settings) -> tuple[Recording, dict[str, Any], Scene | None]:
    """What systems get, facts, and the scene where there is one."""
    if isinstance(case, FileCase):
        return _from_files(case)
    scene = case.scene(plan.folder)
    sound = case.condition.render(scene, settings.speech, settings.noise)
    look = (scene.look_deg if plan.look == "talker" else 0.0) + case.condition.look_error_deg
    recording = Recording(
        case.name, sound.mix, scene.array, scene.reference, look, (sound.reverberant, sound.noise), target=sound.early,
        ears=sound.target if sound.meta["ears"] == ["left", "right"] else None,
    )  # fmt: skip
    times = int(case.condition.repeat_s * SAMPLE_RATE / len(sound.mix))
    if times:
        recording = replace(recording, warm=np.tile(sound.mix, (times, 1)))
    return recording, _facts(scene, case), scene


def _from_files(case: FileCase) -> tuple[Recording, dict[str, Any], None]:
    mix = read_sound(case.input)
    if not len(mix):
        raise ValueError(f"{Path(case.input).name} has zero length")
    array = MicArray.load(case.array)
    if mix.shape[1] != array.mics:
        raise ValueError(
            f"{Path(case.input).name} has {mix.shape[1]} channels, the array {array.name!r} has {array.mics}; "
            "name the array that recorded it"
        )
    target = None
    if case.reference:
        target = read_sound(case.reference)[:, 0]
        if abs(len(target) - len(mix)) > SAMPLE_RATE // 10:
            raise ValueError(f"{Path(case.reference).name} is not as long as {Path(case.input).name}; align the two")
        target = np.pad(target, (0, max(0, len(mix) - len(target))))[: len(mix)]
    facts = {"array": array.name, "seconds": round(len(mix) / SAMPLE_RATE, 2)}
    return Recording(case.name, mix, array, array.ear(array.ears[0]), case.look_deg, target=target), facts, None


@dataclass(frozen=True)
class _Given:
    """What recognizer and talker model find in the target, where their metrics are asked for."""

    words: str | None = None
    voice: np.ndarray | None = None
    facts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, case: Case | FileCase, recording: Recording) -> _Given:
        words, voice, facts = None, None, {}
        text = case.text if isinstance(case, FileCase) else None
        if "wer" in plan.measured and (text or recording.target is not None):
            words = text or transcriber(plan.transcribe)(recording.target, SAMPLE_RATE)
            facts["words"] = f"{'given' if text else f'as {plan.transcribe} hears the clean recording'}: {words}"
        if "talker_similarity" in plan.measured and recording.target is not None:
            voice = embedder(plan.embed)(recording.target, SAMPLE_RATE)
        return cls(words, voice, facts)


def read_sound(path: str | os.PathLike[str]) -> np.ndarray:
    """A sound file (n, channels) float32 at 16 kHz; EdgeEnhanceError where it cannot be read."""
    return at_16_khz(*open_sound(path)).astype(np.float32)


def _facts(scene: Scene, case: Case) -> dict[str, Any]:
    interferers = scene.sources[1:]
    return {
        "snr_db": scene.snr_db,
        "rt60_s": scene.room.rt60,
        "drr_db": round(drr(scene.responses().point[0][scene.reference]), 1),
        "distance_m": round(scene.sources[0].distance_m, 2),
        "look_deg": round(scene.look_deg, 1),
        "interferers": len(interferers),
        "competing": any(source.kind == "speech" for source in interferers),
        "array": scene.array.name,
        "mount": scene.array.mount,
        "level_dbfs": scene.level_dbfs,
        **case.axes,
    }


def _measured(
    plan: Plan, recording: Recording, given: _Given, output: Output
) -> tuple[dict[str, float | None], list[str]]:
    parts, target = recording.parts, recording.target
    clip = Clip(
        sample_rate=SAMPLE_RATE,
        degraded=np.asarray(output.y, np.float64),
        noisy=np.asarray(recording.noisy, np.float64),
        reference=None if target is None else np.asarray(target, np.float64),
        speech_out=output.parts[0] if output.parts else None,
        noise_out=output.parts[1] if output.parts else None,
        speech_in=parts[0][:, recording.reference].astype(np.float64) if parts else None,
        noise_in=parts[1][:, recording.reference].astype(np.float64) if parts else None,
        degraded_ears=output.ears,
        reference_ears=recording.ears,
        words=given.words,
        heard=None if given.words is None else transcriber(plan.transcribe)(output.y, SAMPLE_RATE),
        voice=given.voice,
        voice_out=None if given.voice is None else embedder(plan.embed)(output.y, SAMPLE_RATE),
        beam=output.beam,
    )
    values, reasons = measure(clip, plan.measured)
    row = {name: nan_to_none(value) for name, value in values.items()}
    costs = {
        "real_time_factor": output.seconds, "latency_ms": output.latency_ms, "model_kb": output.model_kb
    }  # fmt: skip
    return {**row, **costs}, reasons


def _sounds(heard: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """Opus files, all of a case with one gain."""
    import soundfile

    gain = _LOUDEST / max(float(np.abs(heard["noisy"]).max()), 1e-9)
    files = {}
    for number, x in enumerate(heard.values()):
        memory = io.BytesIO()
        loud = np.clip(gain * np.asarray(x, np.float32), -1, 1)
        soundfile.write(memory, loud, SAMPLE_RATE, format="OGG", subtype="OPUS")
        files[f"{number:02d}.ogg"] = memory.getvalue()
    return files


def _pictures(
    heard: Mapping[str, np.ndarray], scene: Scene | None, recording: Recording, outputs: Mapping[str, Output]
) -> dict[str, bytes]:
    """Of our own systems the gains, in the last one's profile, and the last one's beam."""
    from . import pictures, spectrum

    drawn = {
        "waveforms": pictures.waveforms(heard, SAMPLE_RATE),
        "spectrograms": pictures.spectrograms(heard, SAMPLE_RATE),
        "spectra": spectrum.compare_spectra(heard, SAMPLE_RATE),
    }
    for output in outputs.values():
        if output.beam is not None and output.beam.array.mics > 1:
            b = output.beam
            drawn["beampattern"] = plot_beampattern(b.weights, b.array, b.look, b.freqs, "at the end")
    if gains := _gains(recording, outputs):
        drawn["mask"] = pictures.masks(*gains)
    if scene is not None:
        drawn["room"] = pictures.room_plan(scene)
    files = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, figure in drawn.items():
            path = pictures.save_picture(figure, Path(folder) / f"{name}.webp")
            files[path.name] = path.read_bytes()
    return files


def _gains(recording: Recording, outputs: Mapping[str, Output]) -> tuple[dict[str, np.ndarray], Profile] | None:
    """Of all networks in the last one's profile, the ideal ones first where speech and noise are known."""
    from .pictures import ideal_ratio_mask

    own = {name: output for name, output in outputs.items() if output.gains is not None}
    if not own:
        return None
    profile = list(own.values())[-1].profile
    found = {name: output.gains for name, output in own.items() if output.profile == profile}
    if recording.parts is None:
        return found, profile
    speech, noise = (part[:, recording.reference] for part in recording.parts)
    return {"ideal, at the reference microphone": ideal_ratio_mask(speech, noise, profile), **found}, profile


# ---- all cases ----


def evaluate(
    plan: Plan,
    folder: str | os.PathLike[str],
    settings: Settings | None = None,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Run what is missing of a plan, write the folder's result files, return what results.json holds.

    scheduler : address of a dask.distributed scheduler, or "local"; None: processes of our own
    command : how to run this again, for the report
    Raises EdgeEnhanceError where the folder holds another evaluation or cannot be written.
    """
    settings, folder = settings or Settings(), Path(folder)
    _claim(folder, plan, settings)
    missing = [index for index, case in enumerate(plan.cases) if not _is_done(folder, case)]
    with tempfile.TemporaryDirectory() as floats:
        write_floats(plan.systems, floats)
        job = partial(run_case, plan, replace(settings, floats=floats))
        for index, files in results(job, missing, workers, "evaluate", scheduler):
            _write_case(folder, plan.cases[index], files)
    content = summarize(plan, [_read_case(folder, case) for case in plan.cases], command)
    _write_results(folder, plan, content)
    return content


def _claim(folder: Path, plan: Plan, settings: Settings) -> None:
    """Make the folder, or check that it is this plan's."""
    models = {name: _digest(name) for name in plan.systems if name not in (*plan.commands, *plan.folders)}
    key = plan.key(settings.speech, settings.noise, settings.sounds, settings.pictures, models)
    path = folder / RUN
    if path.exists():
        if json.loads(path.read_text())["key"] != key:
            raise EdgeEnhanceError(f"{folder} holds another evaluation; choose another folder, or remove this one")
        return
    if folder.exists() and any(folder.iterdir()):
        raise EdgeEnhanceError(f"{folder} is not empty and holds no evaluation; choose a new folder")
    (folder / CASES).mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"key": key, "version": metadata.version("edgeenhance")}, indent=1))


def _digest(system: str) -> str | None:
    """Of the model file in a system's name."""
    content = b"".join(path.read_bytes() for path in network_files(system))
    return hashlib.sha256(content).hexdigest() if content else None


def _case_path(folder: Path, case: Case | FileCase) -> Path:
    return folder / CASES / case.name


def _is_done(folder: Path, case: Case | FileCase) -> bool:
    path = _case_path(folder, case) / RESULT
    return path.exists() and json.loads(path.read_text())["error"] is None


def _write_case(folder: Path, case: Case | FileCase, files: Mapping[str, bytes]) -> None:
    """The result last: where it is, all else is."""
    place = _case_path(folder, case)
    place.mkdir(exist_ok=True)
    for name in sorted(files, key=lambda name: name == RESULT):
        with atomic_path(place / name) as temporary:
            temporary.write_bytes(files[name])


def _read_case(folder: Path, case: Case | FileCase) -> dict[str, Any]:
    result = json.loads((_case_path(folder, case) / RESULT).read_text())
    for group in ("audio", "pictures"):
        result[group] = {name: f"{CASES}/{case.name}/{file}" for name, file in result[group].items()}
    return result


# ---- what it says ----


def summarize(plan: Plan, scenes: Sequence[dict[str, Any]], command: str = "") -> dict[str, Any]:
    """What results.json holds: cases, means, paired differences, sweeps, the gate's verdicts."""
    names = [*plan.measured, *COSTS]
    known = {metric for scene in scenes for row in scene["rows"].values() for metric in row if row[metric] is not None}
    names = [name for name in names if name in known]
    verdicts = plan.gate.judge(scenes)
    return {
        "title": plan.title,
        "command": command,
        "version": metadata.version("edgeenhance"),
        "systems": list(plan.systems),
        "baseline": plan.baseline,
        "metrics": {name: _described(name) for name in names},
        "scenes": list(scenes),
        "summary": [_interval(scenes, s, m) for s in plan.systems for m in names],
        "differences": [_interval(scenes, s, m, plan.baseline) for s in plan.systems for m in names
                        if s != plan.baseline and m not in COSTS],
        "sweeps": _sweeps(plan, scenes, [name for name in names if name not in COSTS]),
        "latency": _latencies(plan, scenes),
        "gate": [verdict.to_dict() for verdict in verdicts],
        "passed": all(v.passed for v in verdicts) and not any(s["error"] for s in scenes),
    }  # fmt: skip


def _described(name: str) -> dict[str, Any]:
    title, unit, digits = described(name)
    better = MEASURES[name].better if name in MEASURES else "lower"
    return {"title": title, "unit": unit, "better": better, "digits": digits}


def _value(scene: Mapping[str, Any], system: str, metric: str) -> float | None:
    return scene["rows"].get(system, {}).get(metric)


def interval(
    scenes: Iterable[Mapping[str, Any]], system: str, metric: str, baseline: str | None = None
) -> metrics.Interval:
    """Of a system's values, or of their paired differences to the baseline's, where both are known."""
    values = []
    for scene in scenes:
        own, other = _value(scene, system, metric), 0.0 if baseline is None else _value(scene, baseline, metric)
        if own is not None and other is not None:
            values.append(own - other)
    return metrics.paired_interval(values)


def _interval(
    scenes: Iterable[Mapping[str, Any]], system: str, metric: str, baseline: str | None = None
) -> dict[str, Any]:
    found = interval(scenes, system, metric, baseline)
    numbers = {key: nan_to_none(getattr(found, key)) for key in ("mean", "low", "high")}
    return {"system": system, "metric": metric, **numbers, "count": found.count}


def _sweeps(plan: Plan, scenes: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Curves over every axis that has more than one value; words in the order of the suite."""
    out = []
    for axis in plan.axes:
        values = [scene["facts"].get(axis) for scene in scenes]
        known = [value for value in values if value is not None]
        at_words = any(at_number(value) is None for value in known)
        at = [value if value is None else str(value) if at_words else at_number(value) for value in values]
        places = list(dict.fromkeys(place for place in at if place is not None))
        places = places if at_words else sorted(places)
        for metric in names if len(places) > 1 else ():
            points = [
                {**_interval([s for s, here in zip(scenes, at) if here == place], name, metric), "at": place}
                for name in plan.systems
                for place in places
            ]
            out.append({"axis": axis, "metric": metric, "points": points})
    return out


def _latencies(plan: Plan, scenes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of our own chains, what their latency is made of."""
    out = []
    for name in plan.systems:
        beam, model = beam_and_model(name)
        if name in (*plan.folders, *plan.commands, CLEAN) or not is_chain(name):
            continue
        profile = PROFILES[profile_of(model if ":float" not in model else model.split(":")[0])]
        ms = 1000 / profile.sample_rate
        parts = [
            {"name": "window", "ms": (profile.synthesis - profile.hop) * ms},
            {"name": "block", "ms": profile.hop * ms},
        ]
        factor = _interval(scenes, name, "real_time_factor")["mean"]
        out.append({"system": name, "parts": parts, "us_per_10ms": None if factor is None else 1e4 * factor})
    return out


def _write_results(folder: Path, plan: Plan, content: dict[str, Any]) -> None:
    rows = [
        {"case": scene["name"], **scene["facts"], "system": system, **values}
        for scene in content["scenes"]
        for system, values in scene["rows"].items()
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    errors = {scene["name"]: scene["error"] for scene in content["scenes"] if scene["error"]}
    gate = {"passed": content["passed"], "verdicts": content["gate"], "errors": errors}
    files: dict[str, bytes] = {
        "results.json": json.dumps(content, indent=1).encode(),
        "results.csv": text.getvalue().encode(),
        "gate.json": json.dumps(gate, indent=1).encode(),
        "junit.xml": junit(plan.title, content["gate"], errors),
    }
    for name, data in files.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(data)


def summary_text(content: Mapping[str, Any]) -> str:
    """Means with intervals, the gate, what was in the cache, and failed cases, for the terminal."""
    found = {(row["system"], row["metric"]): row for row in content["summary"]}
    header = ["system", *(_headed(described) for described in content["metrics"].values())]
    rows = [
        [system, *(_cell(found[system, metric], described) for metric, described in content["metrics"].items())]
        for system in content["systems"]
    ]
    failed = [scene for scene in content["scenes"] if scene["error"]]
    parts = [f"{content['title']}: {len(content['scenes'])} cases, {len(failed)} failed", text_table(header, rows)]
    if content["gate"]:
        lines = [[v["what"], v["bound"], v["measured"], "PASS" if v["passed"] else "FAIL"] for v in content["gate"]]
        parts.append(text_table(("gate", "asked", "measured", ""), lines))
    if asked := [found for scene in content["scenes"] for found in scene.get("cached", {}).values()]:
        parts.append(f"cache: {sum(asked)} of {len(asked)} results were there")
    parts += [f"failed: {scene['name']}: {scene['error']}" for scene in failed[:10]]
    return "\n\n".join(parts)


def _headed(described: Mapping[str, Any]) -> str:
    return f"{described['title']} / {described['unit']}" if described["unit"] else described["title"]


def _cell(row: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return "-"
    low, high = (np.nan if row[key] is None else row[key] for key in ("low", "high"))
    return metrics.Interval(row["mean"], low, high, row["count"]).format(described["digits"], sign="")
