"""How the usual corpora lie on disk: each reader yields the recordings below a folder, and what is known of them.

A corpus is recognised by its folders and files (`find_layout`), also where it lies one folder deeper, as in archives.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".aiff", ".aif")
PLAIN = "folders"


@dataclass(frozen=True)
class Item:
    """One recording. kind : "speech" or "noise"
    talker : who speaks, or the original recording that a noise was cut from; None where the corpus does not tell
    split : "train", "valid" or "test" where the corpus has splits · text : the words said, where they are known
    """

    path: Path
    kind: str
    talker: str | None = None
    split: str | None = None
    text: str | None = None


@dataclass(frozen=True)
class Layout:
    """read : folder -> items · marks : file patterns, of which one or more exist below the corpus's folder"""

    read: Callable[[Path], Iterator[Item]]
    marks: tuple[str, ...]


def find_layout(root: Path) -> tuple[str, Path] | None:
    """Name of the layout, and the folder where it begins: root, or one below it; None for none of `LAYOUTS`."""
    for base in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        for name, layout in LAYOUTS.items():
            if any(next(base.glob(mark), None) for mark in layout.marks):
                return name, base
    return None


def recordings(folder: Path) -> list[Path]:
    """The sound files in a folder and its subfolders, sorted; none if there is no such folder."""
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def ms_snsd(root: Path) -> Iterator[Item]:
    """clean_train/clnsp1.wav, noise_train/AirConditioner_1.wav, the same with _test (github.com/microsoft/MS-SNSD)."""
    for folder, kind in (("clean", "speech"), ("noise", "noise")):
        for split in ("train", "test"):
            yield from (Item(path, kind, split=split) for path in recordings(root / f"{folder}_{split}"))


def voicebank_demand(root: Path) -> Iterator[Item]:
    """clean_trainset_28spk_wav/p226_001.wav, clean_testset_wav, trainset_28spk_txt (Valentini-Botinhao 2017).

    The noisy twins are no recordings to mix from; `edgeenhance evaluate --input noisy_testset_wav` takes them.
    """
    for folder in sorted(root.glob("clean_*set*_wav")):
        name = folder.name.removeprefix("clean_").removesuffix("_wav")
        for path in recordings(folder):
            text = _text(root / f"{name}_txt" / f"{path.stem}.txt")
            yield Item(path, "speech", path.stem.partition("_")[0], "test" if "test" in name else "train", text)


def dns_challenge(root: Path) -> Iterator[Item]:
    """datasets/clean and datasets/noise, or datasets_fullband/clean_fullband and noise_fullband, with any subfolders.

    Talkers are those in names such as ..._reader_06709_... and p226_001_mic1 (github.com/microsoft/DNS-Challenge).
    """
    for suffix in ("", "_fullband"):
        for path in recordings(root / f"datasets{suffix}" / f"clean{suffix}"):
            talker = re.search(r"reader_\d+|^p\d{3}(?=_)", path.stem)
            yield Item(path, "speech", talker and talker.group())
        yield from (Item(path, "noise") for path in recordings(root / f"datasets{suffix}" / f"noise{suffix}"))


def librispeech(root: Path) -> Iterator[Item]:
    """dev-clean/1272/128104/1272-128104-0000.flac and 1272-128104.trans.txt beside it (openslr.org/12)."""
    splits = {"train": "train", "dev": "valid", "test": "test"}
    for listing in sorted(root.glob("*/*/*/*.trans.txt")):
        texts = dict(line.split(" ", 1) for line in (_text(listing) or "").splitlines() if " " in line)
        subset, talker = listing.relative_to(root).parts[:2]
        for path in recordings(listing.parent):
            yield Item(path, "speech", talker, splits.get(subset.partition("-")[0]), texts.get(path.stem))


def ljspeech(root: Path) -> Iterator[Item]:
    """wavs/LJ001-0001.wav and metadata.csv, ID|text|normalised text: one talker (keithito.com/LJ-Speech-Dataset)."""
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        texts = {row[0]: row[-1] for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE) if row}
    yield from (Item(path, "speech", "LJ", text=texts.get(path.stem)) for path in recordings(root / "wavs"))


def timit(root: Path) -> Iterator[Item]:
    """TRAIN/DR1/FCJF0/SA1.WAV (NIST SPHERE) and SA1.TXT beside it, in capitals or not (LDC93S1)."""
    for path in recordings(root):
        parts = [part.lower() for part in path.relative_to(root).parts]
        if parts[0] in ("train", "test") and len(parts) == 4:
            stem = path.name.partition(".")[0]
            text = _text(path.with_name(f"{stem}.TXT")) or _text(path.with_name(f"{stem}.txt"))
            yield Item(
                path, "speech", parts[2], parts[0], text and text.split(maxsplit=2)[-1]
            )  # after two sample numbers


def musan(root: Path) -> Iterator[Item]:
    """speech/librivox, music/fma, noise/free-sound and more: long recordings (openslr.org/17); music is noise here."""
    for folder in ("speech", "music", "noise"):
        kind = "speech" if folder == "speech" else "noise"
        yield from (Item(path, kind) for path in recordings(root / folder))


def esc50(root: Path) -> Iterator[Item]:
    """audio/1-100032-A-0.wav: fold, Freesound clip, take, class (github.com/karolpiczak/ESC-50)."""
    yield from (Item(path, "noise", path.stem.split("-")[1]) for path in recordings(root / "audio"))


def wham(root: Path) -> Iterator[Item]:
    """tr, cv, tt: two-channel noise between talkers in cafés and the like (wham.whisper.ai, wham_noise)."""
    for folder, split in (("tr", "train"), ("cv", "valid"), ("tt", "test")):
        yield from (Item(path, "noise", split=split) for path in recordings(root / folder))


def folders(root: Path, talker: str | None = None) -> Iterator[Item]:
    """speech/TALKER/... and noise/RECORDING/...: the folder that a file lies in names the talker, if it is not speech.

    talker : regular expression instead, whose first group in the path below root names the talker
    """
    for kind in ("speech", "noise"):
        for path in recordings(root / kind):
            within = path.parent.relative_to(root / kind).as_posix()
            name = None if within == "." else within
            if talker:
                found = re.search(talker, path.relative_to(root).as_posix())
                name = found and found.group(1)
            yield Item(path, kind, name)


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else None


LAYOUTS = {
    "ms-snsd": Layout(ms_snsd, ("clean_train", "clean_test")),
    "voicebank-demand": Layout(voicebank_demand, ("clean_*set*_wav",)),
    "dns-challenge": Layout(dns_challenge, ("datasets/clean", "datasets_fullband/clean_fullband", "datasets*/noise*")),
    "librispeech": Layout(librispeech, ("*/*/*/*.trans.txt",)),
    "ljspeech": Layout(ljspeech, ("wavs/LJ*.wav",)),
    "timit": Layout(timit, ("[Tt][Rr][Aa][Ii][Nn]/[Dd][Rr][1-8]", "[Tt][Ee][Ss][Tt]/[Dd][Rr][1-8]")),
    "musan": Layout(musan, ("speech/librivox", "music/fma", "noise/free-sound")),
    "esc-50": Layout(esc50, ("meta/esc50.csv",)),
    "wham": Layout(wham, ("tr/*.wav", "cv/*.wav", "tt/*.wav")),
    PLAIN: Layout(folders, ("speech", "noise")),
}
