"""data/raw -> data/processed, data/splits, data/features: corpora of any layout to one, checked and split by talker.

    raw/NAME/...                                   a corpus as it was published, or a link to it
    processed/SPLIT/KIND/NAME/TALKER-FILE.flac     16 bit, one channel, one rate; KIND is speech or noise
    splits/SPLIT.jsonl                             path, kind, source, talker, seconds, text and origin of every file
    splits/SPLIT.txt.gz                            SHA-256, bytes and path, for `edgeenhance data check` and recipes
    features/FEATURE/SPLIT/KIND/NAME/....npy       (T, F) float32, where asked for
    report.json                                    what was kept, what was refused, and why

`processed/train` is what `edgeenhance train --data` takes. Names without a known talker have no hyphen. What is there
already is not computed again; files below processed that no longer belong there are removed.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ... import spectrograms
from ..._text import table
from ...errors import EdgeEnhanceError
from ...models.manifest import write_list
from ..jobs import results
from .conditions import Conditions, conditioned, examine
from .layouts import LAYOUTS, PLAIN, Item, find_layout
from .splits import SHARES, SPLITS, Source, assign, given
from .store import Journal, claim, read_sound, write_bytes, write_lines, write_sound

RAW, PROCESSED, FEATURES, LISTS = "raw", "processed", "features", "splits"
EXTRACTORS = {  # (n,), rate -> (T, F)
    "log-magnitude": lambda x, rate: spectrograms.log_magnitudes(x),
    "mel": lambda x, rate: spectrograms.decibels(spectrograms.mel_spectrogram(x, rate)),
    "mfcc": spectrograms.mfcc,
    "erb": lambda x, rate: spectrograms.decibels(spectrograms.erb_spectrogram(x, rate)),
    "cochleagram": lambda x, rate: spectrograms.decibels(spectrograms.cochleagram(x, rate)),
}


@dataclass(frozen=True)
class Entry:
    """One recording on its way. key : path below raw · target : path below processed"""

    key: str
    item: Item
    source: str
    split: str
    target: str


@dataclass
class Report:
    """What became of the recordings. refused : reason by path below raw · notes : sentences on whole corpora"""

    found: Counter[str] = field(default_factory=Counter)
    kept: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    removed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "sources": {name: self._summary(name) for name in sorted(self.found)},
            "refused": [{"path": path, "reason": reason} for path, reason in sorted(self.refused.items())],
            "notes": self.notes,
        }

    def _summary(self, name: str) -> dict[str, Any]:
        kept = [record for record in self.kept if record["source"] == name]
        refused = [reason for path, reason in self.refused.items() if path.split("/")[0] == name]
        hours = {split: sum(r["seconds"] for r in kept if r["split"] == split) / 3600 for split in SPLITS}
        return {
            "found": self.found[name], "kept": len(kept), "hours": {s: round(h, 4) for s, h in hours.items()},
            "talkers": len({record["talker"] for record in kept} - {None}),
            "refused": dict(Counter(reason.partition(":")[0] for reason in refused)),
        }  # fmt: skip

    def __str__(self) -> str:
        """For the terminal: a table of the sources, notes, the first refused files."""
        rows = []
        for name, facts in self.to_dict()["sources"].items():
            reasons = ", ".join(f"{count} {reason}" for reason, count in facts["refused"].items())
            hours = (f"{facts['hours'][split]:.2f}" for split in SPLITS)
            rows.append((name, facts["found"], facts["kept"], facts["talkers"], *hours, reasons or "none"))
        header = ("source", "found", "kept", "talkers", *(f"{split} / h" for split in SPLITS), "refused")
        lines = [table(header, rows), *(f"note: {note}" for note in self.notes)]
        lines += [f"refused: {path}: {reason}" for path, reason in sorted(self.refused.items())[:10]]
        if len(self.refused) > 10:
            lines.append(f"and {len(self.refused) - 10} more in report.json")
        return "\n".join(lines)


def prepare(
    data: Path,
    conditions: Conditions,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 1,
    resplit: bool = False,
    layouts: Mapping[str, str] | None = None,
    talker: str | None = None,
    features: Sequence[str] = (),
    workers: int = 1,
) -> Report:
    """Prepare the corpora in data/raw.

    shares, seed : of `splits.assign` · resplit : forget the corpora's own splits · layouts : by source, for what is not
    recognised · talker : of `layouts.folders` · features : names of EXTRACTORS · workers : processes
    Refused recordings are in the report and in data/report.json; they stop nothing. ValueError for wrong settings,
    EdgeEnhanceError where nothing is there to prepare, nothing is left, or nothing can be written.
    """
    if unknown := set(features) - EXTRACTORS.keys():
        raise ValueError(f"there is no feature {', '.join(sorted(unknown))}; choose from {', '.join(EXTRACTORS)}")
    if talker is not None:
        _check_pattern(talker)
    report = Report()
    sources = _sources(data / RAW, layouts or {}, talker, resplit, report)
    found = assign(sources, shares, seed)
    entries = _entries(sources, found, report)
    claim(data / PROCESSED / "settings.json", asdict(conditions))
    facts = _examined(data, entries, conditions, workers)
    entries = _without_copies(_fit(entries, facts, report), facts, report)
    _remove_others(data, entries, report)
    _convert(data, entries, conditions, workers, report)
    _extract(data, entries, features, workers)
    _note_rates(entries, facts, conditions, report)
    _finish(data, entries, report)
    return report


# ---- what there is ----


def _check_pattern(talker: str) -> None:
    try:
        groups = re.compile(talker).groups
    except re.error:
        groups = 0
    if not groups:
        raise ValueError(f"talker is a regular expression with a group, such as '/(\\d+)-', got {talker!r}")


def _sources(raw: Path, layouts: Mapping[str, str], talker: str | None, resplit: bool, report: Report) -> list[Source]:
    if not raw.is_dir():
        raise EdgeEnhanceError(
            f"there is no folder {raw}; put each corpus in a folder of its own there, or a link to it"
        )
    folders = sorted(path for path in raw.iterdir() if path.is_dir())
    if unknown := set(layouts) - {path.name for path in folders}:
        raise EdgeEnhanceError(f"there is no corpus {', '.join(sorted(unknown))} in {raw}")
    sources = [_source(path, layouts.get(path.name), talker, report) for path in folders]
    sources = [source for source in sources if source.items]
    if not sources:
        raise EdgeEnhanceError("; ".join([f"no recordings in {raw}", *report.notes]))
    return [_without_splits(source) for source in sources] if resplit else sources


def _source(folder: Path, layout: str | None, talker: str | None, report: Report) -> Source:
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"there is no layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    name, base = (layout, folder) if layout else find_layout(folder) or (PLAIN, folder)
    read = partial(LAYOUTS[name].read, talker=talker) if name == PLAIN else LAYOUTS[name].read
    items = tuple(read(base))
    report.found[folder.name] = len(items)
    if not items:
        report.notes.append(f"{folder.name} holds no recordings in the layout {name}; docs/data.md has the layouts")
    return Source(folder, name, items)


def _without_splits(source: Source) -> Source:
    items = (replace(item, split=None) for item in source.items)
    return replace(source, items=tuple(items))


def _entries(sources: Iterable[Source], found: Mapping[str, str], report: Report) -> list[Entry]:
    """Where each recording goes. Recordings are refused whose talker is in a later split of a corpus, too."""
    fixed, targets, entries = given(sources), set(), []
    for source in sources:
        for item in source.items:
            key, talker = source.key(item), source.talker(item)
            split, target = found[talker], _target(source, item, found[talker])
            if item.split and fixed[talker] != item.split:
                report.refused[key] = f"talker in two splits: {item.talker} is in {fixed[talker]}, too"
            elif target in targets:
                report.refused[key] = f"same name as another: {target}"
            else:
                targets.add(target)
                entries.append(Entry(key, item, source.name, split, target))
    return entries


def _target(source: Source, item: Item, split: str) -> str:
    name = _plain("_".join(Path(source.key(item)).with_suffix("").parts[1:]))
    if item.talker:
        name = f"{_plain(item.talker)}-{name}"
    return f"{split}/{item.kind}/{source.name}/{name}.flac"


def _plain(text: str) -> str:
    return re.sub(r"[^\w.]+", "_", text)


# ---- what is fit for use ----


def _examined(data: Path, entries: list[Entry], conditions: Conditions, workers: int) -> dict[str, dict[str, Any]]:
    """Facts by key; what was examined before, in this state, is not opened again."""
    journal = Journal(data / PROCESSED / "examined.jsonl")
    states = {entry.key: _state(entry) for entry in entries}
    new = [entry for entry in entries if states[entry.key] not in journal.records]
    for entry, facts in results(partial(_examine, conditions), new, workers, "examine", unit="file"):
        journal.add(states[entry.key], facts)
    return {key: journal.records[state] for key, state in states.items()}


def _state(entry: Entry) -> str:
    try:
        stat = entry.item.path.stat()
    except OSError as error:  # a link to nowhere
        return f"{entry.key} {error.strerror}"
    return f"{entry.key} {stat.st_size} {stat.st_mtime_ns}"


def _examine(conditions: Conditions, entry: Entry) -> dict[str, Any]:
    return examine(entry.item.path, conditions)


def _fit(entries: list[Entry], facts: Mapping[str, Mapping[str, Any]], report: Report) -> list[Entry]:
    report.refused |= {entry.key: facts[entry.key]["reason"] for entry in entries if "reason" in facts[entry.key]}
    return [entry for entry in entries if entry.key not in report.refused]


def _without_copies(entries: list[Entry], facts: Mapping[str, Mapping[str, Any]], report: Report) -> list[Entry]:
    """Of recordings with the same samples one stays, that of the latest split."""
    first: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: -SPLITS.index(entry.split)):
        kept = first.setdefault(facts[entry.key]["sha256"], entry)
        if kept is not entry:
            report.refused[entry.key] = f"same sound as another: {kept.key}"
    return [entry for entry in entries if entry.key not in report.refused]


def _note_rates(
    entries: list[Entry], facts: Mapping[str, Mapping[str, Any]], conditions: Conditions, report: Report
) -> None:
    for source in sorted({entry.source for entry in entries}):
        rates = Counter(facts[entry.key]["rate"] for entry in entries if entry.source == source)
        if len(rates) > 1:
            listed = ", ".join(f"{count} at {rate} Hz" for rate, count in sorted(rates.items()))
            report.notes.append(f"{source} mixes sample rates ({listed}); all are at {conditions.rate} Hz now")
    for split in SPLITS:
        for kind in ("speech", "noise"):
            if not any(entry.split == split and entry.item.kind == kind for entry in entries):
                report.notes.append(f"{split} has no {kind}")


# ---- what is made of it ----


def _remove_others(data: Path, entries: list[Entry], report: Report) -> None:
    """Files that another seed, other shares or other corpora have left: their talkers may be on another side now."""
    wanted = {data / PROCESSED / entry.target for entry in entries}
    for split in SPLITS:
        for path in (data / PROCESSED / split).rglob("*.flac"):
            if path not in wanted:
                path.unlink()
                report.removed += 1
    if report.removed:
        report.notes.append(f"{report.removed} files of an earlier run did not belong there any more and were removed")


def _convert(data: Path, entries: list[Entry], conditions: Conditions, workers: int, report: Report) -> None:
    missing = [e for e in entries if not _is_newer(data / PROCESSED / e.target, e.item.path)]
    job = partial(_convert_one, data / PROCESSED, conditions)
    for entry, reason in results(job, missing, workers, "convert", unit="file"):
        if reason:
            report.refused[entry.key] = reason
    entries[:] = [entry for entry in entries if entry.key not in report.refused]


def _is_newer(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _convert_one(processed: Path, conditions: Conditions, entry: Entry) -> str | None:
    """Write one recording, or say why not."""
    try:
        y = conditioned(*read_sound(entry.item.path), conditions)
    except EdgeEnhanceError as error:
        return str(error)
    write_sound(processed / entry.target, y, conditions.rate)
    return None


def _extract(data: Path, entries: list[Entry], features: Sequence[str], workers: int) -> None:
    for feature in features:
        targets = [_feature_path(data, feature, entry) for entry in entries]
        pairs = [(data / PROCESSED / entry.target, path) for entry, path in zip(entries, targets)]
        missing = [(source, target) for source, target in pairs if not _is_newer(target, source)]
        for _ in results(partial(_extract_one, feature), missing, workers, feature, unit="file"):
            pass
        for path in set((data / FEATURES / feature).rglob("*.npy")) - set(targets):
            path.unlink()


def _feature_path(data: Path, feature: str, entry: Entry) -> Path:
    return (data / FEATURES / feature / entry.target).with_suffix(".npy")


def _extract_one(feature: str, pair: tuple[Path, Path]) -> None:
    source, target = pair
    x, rate = read_sound(source)
    memory = io.BytesIO()
    np.save(memory, EXTRACTORS[feature](x[:, 0], rate).astype(np.float32))
    write_bytes(target, memory.getvalue())


def _finish(data: Path, entries: list[Entry], report: Report) -> None:
    """Lists and report."""
    if not entries:
        raise EdgeEnhanceError(f"nothing is left of the recordings in {data / RAW}:\n{report}")
    for split in SPLITS:
        inside = [entry for entry in entries if entry.split == split]
        records = [_record(data, entry) for entry in inside]
        report.kept += [{**record, "split": split} for record in records]
        write_lines(data / LISTS / f"{split}.jsonl", records)
        names = [entry.target.removeprefix(f"{split}/") for entry in inside]
        write_list(data / PROCESSED / split, names, data / LISTS / f"{split}.txt.gz")
    write_bytes(data / "report.json", json.dumps(report.to_dict(), indent=1, ensure_ascii=False).encode())


def _record(data: Path, entry: Entry) -> dict[str, Any]:
    import soundfile

    path = data / PROCESSED / entry.target
    return {
        "path": f"{PROCESSED}/{entry.target}", "kind": entry.item.kind, "source": entry.source,
        "talker": entry.item.talker, "seconds": round(soundfile.info(path).duration, 3), "text": entry.item.text,
        "origin": f"{RAW}/{entry.key}",
    }  # fmt: skip
