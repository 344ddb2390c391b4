"""Recipes: a TOML file that says everything needed to train a network again, but where the data lie."""

from __future__ import annotations

import os
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

_VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class Training:
    """The [training] table. steps : of `batch` items each · learning_rate : highest · warmup : steps to reach it
    clip : largest norm of the gradients · loss : see models/losses.py"""

    steps: int
    batch: int = 24
    learning_rate: float = 2e-3
    warmup: int = 100
    clip: float = 1.0
    loss: str = "compressed-spectrum"
    seed: int = 1


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
    """A parsed recipe. network : {"name": ..., sizes} · speech, noise : data sources with licences."""

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

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe file; EdgeEnhanceError says which key is missing or unknown."""
        return cls.from_table(load_toml(path), str(path))

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
        return band_centers(self.network["bands"], self.profile)

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

    def manifest(self) -> list[dict[str, str]]:
        """What the weights are made of, for the model's metadata: kind, folder, origin and licence of every source."""
        listed = [("speech", source) for source in self.speech] + [("noise", source) for source in self.noise]
        return [
            {"kind": kind, "folder": source.folder, "origin": source.origin, "licence": source.licence}
            for kind, source in listed
        ]


def _section(kind: type, table: dict[str, Any], where: str) -> Any:
    _check_keys(table, {entry.name for entry in fields(kind)}, where)
    required = {entry.name for entry in fields(kind) if entry.default is MISSING}
    if missing := required - set(table):
        raise EdgeEnhanceError(f"{where} lacks {min(missing)!r}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def _check_keys(table: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := set(table) - known:
        raise EdgeEnhanceError(f"{where}: unknown key {min(unknown)!r}; the keys are {', '.join(sorted(known))}")
