"""Training from a recipe: dynamic mixing, Adam with warm-up and cosine, checkpoints that resume exactly.

    train               the whole run; `edgeenhance train` on the command line
    Trainer             network, optimizer and step count, saved and restored as one
    load_checkpoint     what a run left behind

The run folder holds checkpoint.pt (all state), log.jsonl (one record per line) and, at the end, weights.npz. Items are
numbered and mixed from their number, so a resumed run sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeenhance._files import atomic_path
from edgeenhance.errors import EdgeEnhanceError

from .corpus import default_cache
from .data import batches
from .features import Bands, to_float
from .losses import loss
from .network import make_network, parameter_count
from .recipe import Recipe
from .validate import ValidationSet

CHECKPOINT = "checkpoint.pt"
FORMAT = 1
_SAVE_SECONDS = 120.0
_LOG_STEPS = 10

Report = Callable[[dict[str, Any]], None]


class Trainer:
    """Network and optimizer of a recipe, and how far they have come. device : torch device."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        torch.manual_seed(recipe.training.seed)
        self.recipe, self.device, self.done = recipe, device, 0
        sizes = dict(recipe.network)
        self.network = make_network(sizes.pop("name"), **sizes).to(device)
        self._bands = Bands(recipe.centers, recipe.profile)
        self._loss = loss(recipe.training.loss)
        self._optimizer = torch.optim.Adam(self.network.parameters())

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up times a cosine that ends at zero."""
        training = self.recipe.training
        warmup = min(1.0, (step + 1) / max(training.warmup, 1))
        return training.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / training.steps))

    def step(self, batch: dict[str, torch.Tensor]) -> float:
        """One update; the batch's loss before it. EdgeEnhanceError where the loss is no longer finite."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate(self.done)
        features, beam, target = (batch[name].to(self.device) for name in ("features", "beam", "target"))
        gains = self._bands.expand(self.network(to_float(features)))
        value = self._loss(gains, beam, target)
        if not torch.isfinite(value):
            raise EdgeEnhanceError(f"the loss is not finite at step {self.done}; lower learning_rate in the recipe")
        self._optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.training.clip)
        self._optimizer.step()
        self.done += 1
        return float(value.detach())

    def save(self, path: Path) -> None:
        """Write network, optimizer, step and random state, whole or not at all."""
        state = {
            "format": FORMAT,
            "recipe": self.recipe.as_table(),
            "manifest": self.recipe.manifest(),
            "centers": self.recipe.centers.tolist(),
            "done": self.done,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint of the same recipe; EdgeEnhanceError where it is another's."""
        state = load_checkpoint(path, self.device)
        if _comparable(state["recipe"]) != _comparable(self.recipe.as_table()):
            raise EdgeEnhanceError(f"{path} belongs to another recipe; use that one, or start in a new folder")
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"].cpu())
        self.done = state["done"]


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
    """The trained network of a checkpoint, on the CPU."""
    sizes = dict(state["recipe"]["network"])
    network = make_network(sizes.pop("name"), **sizes)
    network.load_state_dict({name: value.cpu() for name, value in state["network"].items()})
    return network.eval()


def _comparable(table: dict[str, Any]) -> str:
    return json.dumps(table, sort_keys=True)


def train(
    recipe_path: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str],
    bank_dir: str | os.PathLike[str],
    valid_bank: str | os.PathLike[str],
    out: str | os.PathLike[str],
    minutes: float | None = None,
    resume: bool = False,
    workers: int = 1,
    cache: str | os.PathLike[str] | None = None,
    device: str = "cpu",
    report: Report | None = None,
) -> bool:
    """Train a recipe's network; True when all its steps are done, False when stopped before.

    data_dir : holds speech/ and noise/ with the recipe's folders · bank_dir, valid_bank : impulse-response banks
    out : run folder · minutes : stop and save after so long · resume : go on from out/checkpoint.pt
    workers : mixing processes (0: mix in this one; the items are the same) · cache : decoded audio and designed beams
    report : called with every record of the log. SIGINT and SIGTERM save a checkpoint and stop.
    """
    recipe, folder = Recipe.load(recipe_path), Path(out)
    checkpoint = folder / CHECKPOINT
    trainer = _trainer(recipe, checkpoint, torch.device(device), resume)
    store = Path(cache) if cache else default_cache()
    data = recipe.mixtures(Path(data_dir), Path(bank_dir), store)
    unheard = recipe.mixtures(Path(data_dir), Path(valid_bank), store, "valid")
    folder.mkdir(parents=True, exist_ok=True)
    log = _Log(folder / "log.jsonl", trainer.done, report)
    log.write({"event": "start", "step": trainer.done, "parameters": parameter_count(trainer.network)})
    validation = ValidationSet(unheard, recipe.validation.items, loss(recipe.training.loss))
    with _stop_signals() as stop:
        _run(trainer, data, validation, checkpoint, log, workers, _deadline(minutes), stop)
    finished = trainer.done >= recipe.training.steps
    if finished:
        save_weights(trainer.network, folder / "weights.npz")
    log.write({"event": "finished" if finished else "stopped", "step": trainer.done})
    return finished


def _trainer(recipe: Recipe, checkpoint: Path, device: torch.device, resume: bool) -> Trainer:
    """A new trainer, or the one that a checkpoint holds; EdgeEnhanceError rather than overwriting one."""
    trainer = Trainer(recipe, device)
    if checkpoint.exists():
        if not resume:
            raise EdgeEnhanceError(f"{checkpoint} exists; pass --resume to go on with it, or choose another folder")
        trainer.restore(checkpoint)
    return trainer


def _run(trainer, data, validation, checkpoint, log, workers, deadline, stop) -> None:
    """Steps until the recipe's end, the deadline or a signal, then a checkpoint."""
    training, losses, saved = trainer.recipe.training, [], time.monotonic()
    first, last = trainer.done * training.batch, training.steps * training.batch
    for batch in batches(data, first, last, training.batch, workers):
        losses.append(trainer.step(batch))
        at_end = trainer.done == training.steps
        if trainer.done % _LOG_STEPS == 0 or at_end:
            log.write({"event": "train", "step": trainer.done, "loss": round(float(np.mean(losses)), 6)})
            losses.clear()
        if trainer.done % trainer.recipe.validation.every_steps == 0 or at_end:
            log.write({"event": "valid", "step": trainer.done, **validation.scores(trainer.network)})
        if time.monotonic() - saved > _SAVE_SECONDS:
            trainer.save(checkpoint)
            saved = time.monotonic()
        if stop or time.monotonic() > deadline:
            break
    trainer.save(checkpoint)


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
    """Records as JSON lines; a resumed run drops what lies after its checkpoint."""

    def __init__(self, path: Path, done: int, report: Report | None) -> None:
        self._path, self._report, self._begin = path, report, time.monotonic()
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() and done else []
        kept = [line for line in lines if json.loads(line)["step"] <= done]
        with atomic_path(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        record["seconds"] = round(time.monotonic() - self._begin, 1)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if self._report:
            self._report(record)


def print_record(record: dict[str, Any]) -> None:
    """One line per log record."""
    values = "  ".join(f"{name} {value}" for name, value in record.items() if name != "event")
    print(f"{record['event']:8s} {values}", flush=True)
