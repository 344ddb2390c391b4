"""Tiny trees of files, laid out as the usual corpora are, with sounds nobody could mistake for each other."""

import zlib

import numpy as np
import soundfile

RATE = 16000


def sound(name, seconds=1.0, rate=RATE, level_dbfs=-26.0):
    """Noise in syllables, another one for every name: (n,) float."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    n = round(seconds * rate)
    x = rng.standard_normal(n) * (0.2 + np.sin(np.pi * 4 * np.arange(n) / rate) ** 2)
    return x * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(x**2)) if n else x


def write(path, x=None, rate=RATE, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(path.as_posix(), rate=rate) if x is None else x, rate, **options)


def say(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ms_snsd(root):
    for name in ("clean_train/clnsp1", "clean_test/clnsp2", "noise_train/AirConditioner_1", "noise_test/Babble_1"):
        write(root / f"{name}.wav")


def voicebank_demand(root):
    for name in ("trainset_28spk_wav/p226_001", "testset_wav/p232_001"):
        write(root / f"clean_{name}.wav", rate=48000)
        write(root / f"noisy_{name}.wav", rate=48000)
    say(root / "trainset_28spk_txt/p226_001.txt", "Please call Stella.\n")


def dns_challenge(root):
    write(root / "datasets/clean/book_00000_chp_0009_reader_06709_0_seg_1.wav")
    write(root / "datasets/clean/unnamed.wav")
    write(root / "datasets/noise/door_Freesound_validated_1.wav")
    write(root / "datasets_fullband/clean_fullband/vctk/p226/p226_001_mic1.flac", rate=48000)
    write(root / "datasets_fullband/noise_fullband/siren.wav", rate=48000)


def librispeech(root):
    for subset, talker in (("train-clean-100", 19), ("dev-clean", 84), ("test-clean", 61)):
        folder = root / "LibriSpeech" / subset / str(talker) / "7"
        write(folder / f"{talker}-7-0000.flac")
        say(folder / f"{talker}-7.trans.txt", f"{talker}-7-0000 WORDS OF {talker}\n")


def ljspeech(root):
    write(root / "wavs/LJ001-0001.wav", rate=22050)
    say(root / "metadata.csv", 'LJ001-0001|Printing, "in" 1455|Printing, "in" fourteen fifty-five\n')


def timit(root):
    for path in ("TRAIN/DR1/FCJF0/SA1.WAV", "TEST/DR2/MABC0/SI7.WAV"):
        write(root / path, format="NIST", subtype="PCM_16")
        say((root / path).with_suffix(".TXT"), "0 46797 She had your dark suit.\n")


def musan(root):
    for name in ("speech/librivox/speech-librivox-0000", "music/fma/music-fma-0000", "noise/free-sound/noise-free-0"):
        write(root / f"{name}.wav")
    say(root / "speech/librivox/ANNOTATIONS", "speech-librivox-0000 m\n")


def esc50(root):
    for name in ("1-100032-A-0", "1-100032-B-0", "2-100210-A-36"):
        write(root / f"audio/{name}.wav", rate=44100)
    say(root / "meta/esc50.csv", "filename,fold,target,category,esc10,src_file,take\n")


def wham(root):
    for split in ("tr", "cv", "tt"):
        name = f"wham_noise/{split}/{split}_0.5_x_-0.5.wav"
        write(root / name, np.stack([sound(name), sound(f"{name} right")], axis=1))


def folders(root):
    write(root / "speech/anna/one.wav")
    write(root / "speech/nobody.wav")
    write(root / "noise/street/a.wav")


TREES = {
    "ms-snsd": ms_snsd,
    "voicebank-demand": voicebank_demand,
    "dns-challenge": dns_challenge,
    "librispeech": librispeech,
    "ljspeech": ljspeech,
    "timit": timit,
    "musan": musan,
    "esc-50": esc50,
    "wham": wham,
    "folders": folders,
}
