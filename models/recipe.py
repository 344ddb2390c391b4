"""Recipes: a TOML file that says everything needed to train a network again, but where the data lie."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeenhance._toml import load_toml
from edgeenhance.bands import band_centers
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.profiles import Profile, profile

from .bank import Bank
from .corpus import Corpus, Source
from .data import Mixing, Mixtures
from .features import Bands
from .losses import terms
from .optimize import OPTIMIZERS, SCHEDULES, WITH_MOMENTUM
from .rounding import ROUNDINGS

_VALIDATION_SEED = 1_000_003
BANDS = 64  # of items whose network does not say


@dataclass(frozen=True)
class Training:
    """The [training] table. steps : of `batch` items each · learning_rate : highest · warmup : steps to reach it
    clip : largest norm of the gradients · loss : name, or {name: weight}, see models/losses.py
    optimizer, schedule : names, see models/optimize.py · weight_decay · momentum : of sgd and rmsprop
    factor, patience : plateau's rate falls by `factor` after `patience` validations without a new lowest loss
    dropout : share between layers · ema : decay of the averaged weights, which count in the end (0: the last ones do)
    early_stop : validations without a new lowest loss that end the run (0: none do)
    rounded : "16x8" (or true) or "int8", train with numbers as that file will hold them, see models/rounding.py"""

    steps: int
    batch: int = 24
    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    loss: str | dict[str, float] = "compressed-spectrum"
    seed: int = 1
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    schedule: str = "cosine"
    factor: float = 0.5
    patience: int = 3
    dropout: float = 0.0
    ema: float = 0.0
    early_stop: int = 0
    rounded: bool | str = False

    def __post_init__(self) -> None:
        """ValueError where a name is unknown or a number is out of range."""
        terms(self.loss)
        _check_name("optimizer", self.optimizer, OPTIMIZERS)
        _check_name("schedule", self.schedule, SCHEDULES)
        for key in ("momentum", "dropout", "ema"):
            _check(0 <= getattr(self, key) < 1, key, getattr(self, key), "from 0 to below 1")
        for key in ("weight_decay", "early_stop"):
            _check(getattr(self, key) >= 0, key, getattr(self, key), "0 or above")
        _check(0 < self.factor < 1, "factor", self.factor, "between 0 and 1")
        _check(self.patience >= 1, "patience", self.patience, "1 or above")
        if not isinstance(self.rounded, bool):
            _check_name("rounded", self.rounded, ROUNDINGS)
        if self.rounded == "int8" and self.dropout:
            raise ValueError('rounded = "int8" takes no dropout, which leads beyond what int8 holds; leave one out')
        if self.momentum and self.optimizer not in WITH_MOMENTUM:
            raise ValueError(f"{self.optimizer} takes no momentum; leave it out, or use {' or '.join(WITH_MOMENTUM)}")

    @property
    def rounding(self) -> str | None:
        """What training rounds for, one of models/rounding.py's ROUNDINGS, or None."""
        return "16x8" if self.rounded is True else self.rounded or None


@dataclass(frozen=True)
class Looks:
    """The [bank] table. looks : look directions designed per scene · error_deg : largest look error."""

    looks: int = 4
    error_deg: float = 10.0


@dataclass(frozen=True)
class Validation:
    """The [validation] table. items : fixed mixtures of `seconds` of unheard talkers · every_steps : between two"""

    items: int = 16
    seconds: float = 4.0
    every_steps: int = 250
    held_out: float = 0.1
    snr_db: tuple[float, float, float] = (-5.0, 0.0, 5.0)


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. network : {"name": ..., sizes} · speech, noise : data sources with licences
    files : list of their files, see models/manifest.py; empty: whatever lies there"""

    name: str
    licence: str
    profile: Profile
    network: dict[str, Any]
    training: Training
    mixing: Mixing
    bank: Looks
    validation: Validation
    speech: list[Source] = field(default_factory=list)
    noise: list[Source] = field(default_factory=list)
    files: str = ""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe file; EdgeEnhanceError says which key is missing or unknown."""
        return cls.from_table(load_recipe_table(path), str(path))

    @classmethod
    def from_table(cls, table: dict[str, Any], where: str) -> Recipe:
        """A recipe from its table, as `load` and `as_table` give it; `where` stands in errors."""
        _check_keys(table, {entry.name for entry in fields(cls)}, where)
        try:
            return cls(
                name=table["name"],
                licence=table["licence"],
                profile=profile(table["profile"]),
                network=table["network"],
                training=_section(Training, table["training"], f"{where} [training]"),
                mixing=_section(Mixing, table.get("mixing", {}), f"{where} [mixing]"),
                bank=_section(Looks, table.get("bank", {}), f"{where} [bank]"),
                validation=_section(Validation, table.get("validation", {}), f"{where} [validation]"),
                speech=[_section(Source, entry, f"{where} [[speech]]") for entry in table["speech"]],
                noise=[_section(Source, entry, f"{where} [[noise]]") for entry in table["noise"]],
                files=table.get("files", ""),
            )
        except KeyError as error:
            raise EdgeEnhanceError(f"{where} lacks {error}; see the recipes beside the models of the zoo") from error
        except (TypeError, ValueError) as error:
            raise EdgeEnhanceError(f"{where}: {error}") from error

    def as_table(self) -> dict[str, Any]:
        """The recipe as plain values, for checkpoints."""
        return {**asdict(self), "profile": self.profile.name, "mixing": self.mixing.as_table()}

    @property
    def centers(self) -> np.ndarray:
        """Centre bins of the model's bands : (bands,) int16."""
        return band_centers(self.network.get("bands", BANDS), self.profile)

    def mixtures(self, data: Path, bank: Path, cache: Path, split: str = "train") -> Mixtures:
        """The recipe's items. data : holds speech/ and noise/ · bank : impulse responses · split : "train" | "valid"

        Validation mixes other talkers and noises, at its own lengths and SNRs, always with speech and noise, without
        augmentation: recipes that differ in it are scored on the same items.
        """
        share, seed, mixing = self.validation.held_out, self.training.seed, self.mixing
        if split == "valid":
            seed += _VALIDATION_SEED
            own = {"seconds": self.validation.seconds, "snr_db": self.validation.snr_db}
            mixing = replace(mixing.without_augmentation(), clean=0.0, noise_only=0.0, **own)
        speech = Corpus(data / "speech", self.speech, cache, split, share)
        noise = Corpus(data / "noise", self.noise, cache, split, share)
        scenes = Bank(bank, self.profile, cache, self.bank.looks, self.bank.error_deg)
        return Mixtures(mixing, speech, noise, scenes, Bands(self.centers, self.profile), seed)

    def sources(self) -> list[dict[str, str]]:
        """What the weights are made of, for the model's metadata: kind, folder, origin and licence of every source."""
        listed = [("speech", source) for source in self.speech] + [("noise", source) for source in self.noise]
        return [
            {"kind": kind, "folder": source.folder, "origin": source.origin, "licence": source.licence}
            for kind, source in listed
        ]


def load_recipe_table(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A recipe file's table. base : another recipe, beside it, whose keys it replaces; those of tables one by one

    EdgeEnhanceError where the base has a base itself.
    """
    table = load_toml(path)
    if "base" not in table:
        return table
    base = Path(path).parent / table.pop("base")
    under = load_toml(base)
    if "base" in under:
        raise EdgeEnhanceError(f"{base} is the base of {path} and has a base itself; write one of them out")
    joined = {key: {**under.get(key, {}), **value} for key, value in table.items() if isinstance(value, dict)}
    return {**under, **table, **joined}


def _section(kind: type, table: dict[str, Any], where: str) -> Any:
    _check_keys(table, {entry.name for entry in fields(kind)}, where)
    required = {entry.name for entry in fields(kind) if entry.default is MISSING}
    if missing := required - set(table):
        raise EdgeEnhanceError(f"{where} lacks {min(missing)!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def _check_name(key: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown {key} {name!r}; choose one of {', '.join(known)}")


def _check(fits: bool, key: str, value: float, wanted: str) -> None:
    if not fits:
        raise ValueError(f"got {key} = {value}; give a value {wanted}")


def _check_keys(table: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := set(table) - known:
        raise EdgeEnhanceError(f"{where}: unknown key {min(unknown)!r}; the keys are {', '.join(sorted(known))}")
