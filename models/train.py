"""Training from a recipe: dynamic mixing, the recipe's loss and optimizer, checkpoints that resume exactly.

    train               the whole run; `edgeenhance train` on the command line
    Trainer             network, optimizer and progress, saved and restored as one
    load_checkpoint     what a run left behind

The run folder holds checkpoint.pt (all state), best.pt (the same at the lowest validation loss), log.jsonl (one record
per line), curves.png and, at the end, weights.npz. Items are numbered and mixed from their number, and dropout is drawn
from the step's, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError

from .corpus import default_cache
from .curves import plot_curves
from .data import batches
from .features import Bands
from .losses import loss
from .manifest import check
from .network import hear, make_network, parameter_count
from .optimize import Average, Progress, learning_rate, make_optimizer
from .parallel import Ranks, local_device
from .recipe import Recipe
from .rounding import rounded
from .validate import ValidationSet

CHECKPOINT, BEST, LOG, CURVES, WEIGHTS = "checkpoint.pt", "best.pt", "log.jsonl", "curves.png", "weights.npz"
BOARD = "tensorboard"
FORMAT = 1
_SAVE_SECONDS = 120.0
_LOG_STEPS = 10
_SEED_STRIDE = 1_000_003  # between the seeds of runs: theirs plus the step seeds dropout

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """Network and optimizer of a recipe, and how far they have come. device : torch device · ranks : who takes part"""

    def __init__(self, recipe: Recipe, device: torch.device, ranks: Ranks | None = None) -> None:
        training = recipe.training
        self.ranks = ranks or Ranks()
        self.ranks.share(training.batch)
        torch.manual_seed(training.seed)
        self.recipe, self.device, self.done = recipe, device, 0
        self.progress, self.recent = Progress(), []  # losses since the last record of the log
        dropout = {"dropout": training.dropout} if training.dropout else {}
        self.network = make_network(**recipe.network, profile=recipe.profile, **dropout).to(device)
        if training.rounding and not hasattr(self.network, "weight_rows"):
            raise EdgeEnhanceError(f"{recipe.network['name']} cannot be trained rounded; leave `rounded` out")
        self._bands = Bands(recipe.centers, recipe.profile)
        self._loss = loss(training.loss, recipe.profile)
        self._optimizer = make_optimizer(training, self.network.parameters())
        self._average = Average(self.network, training.ema) if training.ema else None

    @property
    def result(self) -> torch.nn.Module:
        """The network to judge and to keep: with averaged weights where the recipe has `ema`."""
        return self._average.network if self._average else self.network.eval()

    @property
    def finished(self) -> bool:
        """All steps are done, or the validation loss has not fallen for `early_stop` validations."""
        training = self.recipe.training
        return self.done >= training.steps or 0 < training.early_stop <= self.progress.stale

    def rate(self, step: int) -> float:
        """Learning rate of a step, as far as validation has reduced it by now."""
        return learning_rate(self.recipe.training, step, self.progress.reductions)

    def step(self, batch: dict[str, torch.Tensor]) -> float:
        """One update; the batch's loss before it. EdgeEnhanceError where the loss is no longer finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate(self.done)
        torch.manual_seed(self.recipe.training.seed * _SEED_STRIDE + self.done)
        self.network.train()
        features, beam, target = (batch[name].to(self.device) for name in ("features", "beam", "target"))
        self._optimizer.zero_grad(set_to_none=True)
        rounding = self.recipe.training.rounding
        with rounded(self.network, rounding) if rounding else nullcontext():
            value = self._loss(*hear(self.network, self._bands, features, beam), target)
            if self.ranks.any(not torch.isfinite(value)):
                raise EdgeEnhanceError(f"the loss is not finite at step {self.done}; lower learning_rate in the recipe")
            value.backward()
        self.ranks.average_gradients(self.network.parameters())
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.training.clip)
        self._optimizer.step()
        self.done += 1
        if self._average:
            self._average.update(self.network, self.done)
        self.recent.append(self.ranks.mean(float(value.detach())))
        return self.recent[-1]

    def begin_with(self, path: str | os.PathLike[str]) -> None:
        """Start from the weights of an .npz; EdgeEnhanceError where they are not this network's."""
        try:
            with np.load(path) as arrays:
                weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
            if hasattr(self.network, "widened"):
                weights = self.network.widened(weights)
            self.network.load_state_dict(weights)
            if self._average:
                self._average.network.load_state_dict(weights)
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0]
            raise EdgeEnhanceError(f"{path} does not hold weights of the recipe's network: {reason}") from error

    def save(self, path: Path) -> None:
        """Write network, averaged weights, optimizer and progress, whole or not at all; the first process does."""
        if not self.ranks.first:
            return
        state = {
            "format": FORMAT,
            "recipe": self.recipe.as_table(),
            "sources": self.recipe.sources(),
            "centers": self.recipe.centers.tolist(),
            "done": self.done,
            "progress": asdict(self.progress),
            "recent": self.recent,
            "network": self.network.state_dict(),
            "average": self._average.network.state_dict() if self._average else None,
            "optimizer": self._optimizer.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of the same recipe; EdgeEnhanceError where it is another's."""
        state = load_checkpoint(path, self.device)
        if Recipe.from_table(state["recipe"], f"the recipe in {path}") != self.recipe:
            raise EdgeEnhanceError(f"{path} belongs to another recipe; use that one, or start in a new folder")
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average:
            self._average.network.load_state_dict(state["average"])
        self.done, self.recent = state["done"], state.get("recent", [])
        self.progress = Progress(**state.get("progress", {}))


def load_checkpoint(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint (tensors and plain values only); EdgeEnhanceError where it is none."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except OSError as error:
        raise EdgeEnhanceError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # torch raises whatever unpickling or unzipping meets
        raise EdgeEnhanceError(f"{path} is not a checkpoint of edgeenhance train") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise EdgeEnhanceError(f"{path} is not a checkpoint of format {FORMAT}; train again with this version")
    return state


def network_from_checkpoint(state: dict[str, Any]) -> torch.nn.Module:
    """The trained network of a checkpoint, on the CPU, with averaged weights where it has them."""
    network = make_network(**state["recipe"]["network"], profile=state["recipe"]["profile"])
    weights = state.get("average") or state["network"]
    network.load_state_dict({name: value.cpu() for name, value in weights.items()})
    return network.eval()


def train(
    recipe_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str],
    bank_dir: str | os.PathLike[str],
    valid_bank: str | os.PathLike[str],
    out: str | os.PathLike[str],
    minutes: float | None = None,
    resume: bool = False,
    weights: str | os.PathLike[str] | None = None,
    workers: int = 1,
    cache: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    report: Report | None = None,
) -> bool:
    """Train a recipe's network; True when it is done, by its steps or by `early_stop`, False when stopped before.

    data_dir : holds speech/ and noise/ with the recipe's folders · bank_dir, valid_bank : impulse-response banks
    out : run folder · minutes : stop and save after so long · resume : go on from out/checkpoint.pt
    weights : an .npz of `save_weights` to begin with, for fine-tuning
    workers : mixing processes (0: mix in this one; the items are the same) · cache : decoded audio and designed beams
    report : called with every record of the log. SIGINT and SIGTERM save a checkpoint and stop.
    """
    recipe, folder = Recipe.load(recipe_path), Path(out)
    if recipe.files:
        _check_files(Path(data_dir), recipe.files)
    where = local_device(device)
    trainer = _trainer(recipe, folder / CHECKPOINT, where, resume, weights)
    store = Path(cache) if cache else default_cache()
    data = recipe.mixtures(Path(data_dir), Path(bank_dir), store)
    unheard = recipe.mixtures(Path(data_dir), Path(valid_bank), store, "valid")
    folder.mkdir(parents=True, exist_ok=True)
    log = _Log(folder / LOG, trainer.done, report) if trainer.ranks.first else _NoLog()
    log.write({"event": "start", "step": trainer.done, "parameters": parameter_count(trainer.network)})
    validation = None  # the first process validates for all
    if trainer.ranks.first:
        validation = ValidationSet(unheard, recipe.validation.items, loss(recipe.training.loss, recipe.profile))
    with _stop_signals() as stop:
        _run(trainer, data, validation, folder, log, workers, _deadline(minutes), stop)
    if trainer.finished and trainer.ranks.first:
        save_weights(_final(trainer, folder), folder / WEIGHTS)
    log.write({"event": "finished" if trainer.finished else "stopped", "step": trainer.done})
    return trainer.finished


def _check_files(data: Path, files: str) -> None:
    """EdgeEnhanceError unless all listed files are there, by size; `edgeenhance data check` compares contents."""
    if doubts := check(data, files, contents=False):
        raise EdgeEnhanceError(
            f"{data} is not the data of this recipe: {doubts[0]}, and {len(doubts) - 1} more; see docs/data.md, "
            "or leave `files` out of the recipe"
        )


def _trainer(recipe: Recipe, checkpoint: Path, device: torch.device, resume: bool, weights: Any) -> Trainer:
    """A new trainer, or the one that a checkpoint holds; EdgeEnhanceError rather than overwriting one."""
    trainer = Trainer(recipe, device, Ranks.join(device))
    if weights is not None:
        trainer.begin_with(weights)
    if checkpoint.exists():
        if not resume:
            raise EdgeEnhanceError(f"{checkpoint} exists; pass --resume to go on with it, or choose another folder")
        trainer.restore(checkpoint)
    return trainer


def _run(trainer, data, validation, folder, log, workers, deadline, stop) -> None:
    """Steps until the recipe's end, the deadline or a signal, then a checkpoint."""
    training, saved = trainer.recipe.training, time.monotonic()
    first, last = trainer.done * training.batch, 0 if trainer.finished else training.steps * training.batch
    items, own = trainer.ranks.items(first, last, training.batch), trainer.ranks.share(training.batch)
    for batch in batches(data, items, own, workers):
        trainer.step(batch)
        at_end = trainer.done == training.steps
        if trainer.done % _LOG_STEPS == 0 or at_end:
            _log_training(trainer, log)
        if trainer.done % trainer.recipe.validation.every_steps == 0 or at_end:
            _validate(trainer, validation, folder, log)
        if time.monotonic() - saved > _SAVE_SECONDS:
            trainer.save(folder / CHECKPOINT)
            saved = time.monotonic()
        if trainer.finished or trainer.ranks.any(bool(stop) or time.monotonic() > deadline):
            break
    trainer.save(folder / CHECKPOINT)


def _log_training(trainer: Trainer, log: _Log) -> None:
    """Mean loss since the last record, and the last step's learning rate."""
    mean, rate = float(np.mean(trainer.recent)), trainer.rate(trainer.done - 1)
    log.write({"event": "train", "step": trainer.done, "loss": round(mean, 6), "rate": float(f"{rate:.4g}")})
    trainer.recent.clear()


def _validate(trainer: Trainer, validation: ValidationSet | None, folder: Path, log: _Log) -> None:
    """Scores into the log and the curves; best.pt where the loss is a new lowest."""
    ranks = trainer.ranks
    scores = ranks.from_first(validation.scores(trainer.result) if ranks.first else None)
    log.write({"event": "valid", "step": trainer.done, **scores})
    if trainer.progress.update(scores["loss"], trainer.recipe.training.patience):
        trainer.save(folder / BEST)
    if not ranks.first:
        return
    try:
        figure = plot_curves(log.records())
    except EdgeEnhanceError as error:
        log.notice(trainer.done, f"no {CURVES}: {error}")
    else:
        with atomic_path(folder / CURVES) as temporary:
            figure.savefig(temporary, dpi=120)


def _final(trainer: Trainer, folder: Path) -> torch.nn.Module:
    """The network at the lowest validation loss where the recipe stops early, else the last."""
    if trainer.recipe.training.early_stop and (folder / BEST).exists():
        return network_from_checkpoint(load_checkpoint(folder / BEST))
    return trainer.result


def save_weights(network: torch.nn.Module, path: Path) -> None:
    """Float32 weights by name, for fine-tuning: an .npz."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **{name: value.cpu().numpy() for name, value in network.state_dict().items()})


def _deadline(minutes: float | None) -> float:
    return math.inf if minutes is None else time.monotonic() + 60 * minutes


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM arrives; a second signal acts as usual."""
    stop: list[int] = []
    before = {}

    def note(number: int, _: Any) -> None:
        stop.append(number)
        signal.signal(number, before[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.getsignal(number)
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Log:
    """Records as JSON lines; a resumed run drops what lies after its checkpoint, and a line that was never finished."""

    def __init__(self, path: Path, done: int, report: Report | None) -> None:
        self._path, self._report, self._begin = path, report, time.monotonic()
        self._noticed: set[str] = set()
        self._board = _board(path.parent / BOARD, done)
        kept = [record for record in self.records() if record["step"] <= done] if done else []
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{json.dumps(record)}\n" for record in kept), encoding="utf-8")

    def records(self) -> list[dict[str, Any]]:
        """All whole records so far."""
        lines = self._path.read_text(encoding="utf-8").splitlines(True) if self._path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def notice(self, step: int, text: str) -> None:
        """Say something once."""
        if text not in self._noticed:
            self._noticed.add(text)
            self.write({"event": "notice", "step": step, "text": text})

    def write(self, record: dict[str, Any]) -> None:
        record["seconds"] = round(time.monotonic() - self._begin, 1)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._board:
            for name in record.keys() - {"event", "step", "seconds", "text"}:
                if record[name] is not None:
                    self._board.add_scalar(f"{record['event']}/{name}", record[name], record["step"])
            self._board.flush()
        if self._report:
            self._report(record)


class _NoLog(_Log):
    """Of the processes that are not the first."""

    def __init__(self) -> None:
        pass

    def write(self, record: dict[str, Any]) -> None:
        pass

    def notice(self, step: int, text: str) -> None:
        pass


def _board(folder: Path, done: int) -> Any:
    """A TensorBoard writer that goes on after step `done`, None without the tensorboard package."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)


def print_record(record: dict[str, Any]) -> None:
    """One line per log record."""
    values = "  ".join(f"{name} {value}" for name, value in record.items() if name != "event")
    print(f"{record['event']:8s} {values}", flush=True)
