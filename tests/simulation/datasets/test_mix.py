"""Noisy and clean pairs: levels, reproducible to the bit, resumable, and what becomes of unfit recordings."""

import json
import subprocess
import sys

import numpy as np
import pytest

sf = pytest.importorskip("soundfile")
pytest.importorskip("pyroomacoustics")

from edgeenhance import EdgeEnhanceError  # noqa: E402
from edgeenhance.cli import main  # noqa: E402
from edgeenhance.simulation.datasets.mix import Clips, Mix, mix, pair  # noqa: E402
from edgeenhance.simulation.render import speaking  # noqa: E402

from .trees import RATE, sound, write  # noqa: E402

SHORT = Mix(seconds=2.0, snr_db=(-5.0, 5.0, 20.0))


@pytest.fixture
def data(tmp_path):
    for n in range(4):
        write(tmp_path / f"data/speech/{n}.wav", sound(f"talker {n}", 0.7 + 0.5 * n))
        write(tmp_path / f"data/noise/{n}.wav", sound(f"noise {n}", 0.5 + n))
    return tmp_path / "data"


def read(folder, kind, name):
    return sf.read(folder / kind / name, dtype="int16")[0].astype(int)


def power_db(x):
    return 10 * np.log10(np.mean(np.square(x / 32768)))


def sounds(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.suffix in (".flac", ".jsonl")
    }


def test_pairs_have_their_snr_where_somebody_speaks_and_their_level(data, tmp_path):
    pairs, unfit, new = mix(data, tmp_path / "out", SHORT, 9)
    assert (unfit, new) == ([], 9) and [p["snr_db"] for p in pairs] == [-5, 5, 20] * 3
    for entry in pairs:
        clean, noise, noisy = (read(tmp_path / "out", kind, entry["name"]) for kind in ("clean", "noise", "noisy"))
        np.testing.assert_array_equal(noisy, clean + noise)
        active = speaking(clean.astype(float))
        assert power_db(clean[active]) - power_db(noise[active]) == pytest.approx(entry["snr_db"], abs=0.1)
        assert power_db(noisy) == pytest.approx(entry["level_dbfs"], abs=0.01) and -35.1 < power_db(noisy) < -14.9
        assert len(noisy) == 2 * RATE


def test_each_pair_of_speech_and_noise_is_mixed_at_every_snr(data):
    drawn = [pair(Clips.below(data), SHORT, index)[2] for index in range(6)]
    files = [(entry["speech"], entry["noise"]) for entry in drawn]
    assert files[0] == files[1] == files[2] != files[3] == files[4] == files[5]


def test_clips_follow_each_other_after_a_silence(data):
    clean, _, record = pair(Clips.below(data), Mix(seconds=6.0, silence=0.5), 0)
    assert len(record["speech"]) > 1
    first = len(sf.read(data / record["speech"][0])[0])
    assert not clean[first : first + RATE // 2].any() and clean[first + RATE // 2 + 100 :].any()


def test_a_longer_clip_begins_at_a_random_place(data):
    write(data / "noise/long.wav", np.linspace(0.1, 0.2, 20 * RATE))
    one = Clips(data, ("speech/0.wav",), ("noise/long.wav",))
    starts = [pair(one, SHORT, 3 * index)[1][0] for index in range(4)]
    assert len(set(starts)) == 4


def test_nothing_clips(data):
    for index in range(6):
        clean, noise, record = pair(Clips.below(data), Mix(2.0, SHORT.snr_db, level_dbfs=(0.0, 0.0)), index)
        assert np.abs(clean.astype(int) + noise).max() <= 0.991 * 32768 and record["level_dbfs"] < 0


def test_the_same_bits_for_any_number_of_workers_and_after_a_stop(data, tmp_path):
    mix(data, tmp_path / "one", SHORT, 8)
    mix(data, tmp_path / "two", SHORT, 8, workers=2)
    mix(data, tmp_path / "parts", SHORT, 3)
    _, _, new = mix(data, tmp_path / "parts", SHORT, 8, workers=2)
    assert new == 5
    journals = [(tmp_path / name / "mixed.jsonl") for name in ("one", "two", "parts")]
    assert len({tuple(sorted(journal.read_text().splitlines())) for journal in journals}) == 1
    for journal in journals:
        journal.unlink()  # in the order in which they were done
    assert sounds(tmp_path / "one") == sounds(tmp_path / "two") == sounds(tmp_path / "parts")


def test_what_is_missing_of_a_pair_is_made_again(data, tmp_path):
    mix(data, tmp_path / "out", SHORT, 3)
    before = sounds(tmp_path / "out")
    (tmp_path / "out/clean/000001.flac").unlink()
    _, _, new = mix(data, tmp_path / "out", SHORT, 3)
    (tmp_path / "out/mixed.jsonl").unlink(), before.pop("mixed.jsonl")
    assert new == 1 and sounds(tmp_path / "out") == before


def test_another_seed_gives_other_pairs(data):
    a, b = (pair(Clips.below(data), Mix(2.0, seed=seed), 0)[0] for seed in (1, 2))
    assert not np.array_equal(a, b)


def test_a_folder_of_other_mixtures_is_not_gone_on_with(data, tmp_path):
    mix(data, tmp_path / "out", SHORT, 1)
    with pytest.raises(EdgeEnhanceError, match=r"other settings \(snr_db\)"):
        mix(data, tmp_path / "out", Mix(2.0, (0.0,)), 1)
    write(data / "noise/new.wav")
    with pytest.raises(EdgeEnhanceError, match=r"other settings \(recordings\)"):
        mix(data, tmp_path / "out", SHORT, 1)


def test_unfit_clips_are_named_and_replaced(data, tmp_path):
    write(data / "noise/silent.wav", np.zeros(RATE))
    write(data / "noise/empty.wav", np.zeros(0))
    write(data / "speech/telephone.wav", sound("telephone", rate=8000), rate=8000)
    (data / "speech/corrupt.wav").write_bytes(b"RIFF no")
    pairs, unfit, _ = mix(data, tmp_path / "out", Mix(1.0, (0.0,)), 30)
    assert len(pairs) == 30
    assert [sentence.partition(":")[0] for sentence in unfit] == [
        "noise/empty.wav", "noise/silent.wav", "speech/corrupt.wav", "speech/telephone.wav",
    ]  # fmt: skip
    used = {name for entry in pairs for name in entry["speech"] + entry["noise"]}
    assert not used & {"noise/silent.wav", "noise/empty.wav", "speech/telephone.wav", "speech/corrupt.wav"}


def test_nothing_but_silent_noise_is_an_error(data, tmp_path):
    clips = Clips(data, ("speech/0.wav",), ("noise/silent.wav",))
    write(data / "noise/silent.wav", np.zeros(RATE))
    with pytest.raises(EdgeEnhanceError, match="8 recordings in a row were of no use, the last one noise/silent.wav"):
        pair(clips, SHORT, 0)


def test_noise_that_is_silent_while_somebody_speaks_is_an_error(data):
    write(data / "noise/click.wav", np.where(np.arange(2 * RATE) > 1.9 * RATE, 0.1, 0.0) * sound("click", 2.0))
    write(data / "speech/start.wav", np.where(np.arange(2 * RATE) < RATE, 1.0, 0.0) * sound("start", 2.0))
    with pytest.raises(EdgeEnhanceError, match="silent where somebody speaks"):
        pair(Clips(data, ("speech/start.wav",), ("noise/click.wav",)), SHORT, 0)


def test_missing_folders_are_named(tmp_path):
    write(tmp_path / "speech/a.wav")
    with pytest.raises(
        EdgeEnhanceError, match="no recordings in .*noise; mixing takes a folder with speech/ and noise/"
    ):
        mix(tmp_path, tmp_path / "out", SHORT, 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"seconds": 0},
        {"silence": -1},
        {"snr_db": ()},
        {"snr_db": (300.0,)},
        {"snr_db": (0.0, np.nan)},
        {"level_dbfs": (-10.0, -20.0)},
    ],
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValueError):
        Mix(**settings)


def test_the_command(data, tmp_path, capsys):
    words = [
        "data",
        "mix",
        str(data),
        "-o",
        str(tmp_path / "out"),
        "--hours",
        "0.002",
        "--seconds",
        "1.2",
        "--snr",
        "0",
        "6",
    ]
    assert main(words) == 0
    assert "6 pairs of 1.2 s" in capsys.readouterr().out
    pairs = [json.loads(line) for line in (tmp_path / "out/pairs.jsonl").read_text().splitlines()]
    assert [entry["snr_db"] for entry in pairs] == [0, 6] * 3
    assert main(words) == 0 and "now" not in capsys.readouterr().out


@pytest.mark.parametrize("hours", ["0", "-1", "nan", "inf"])
def test_an_amount_that_is_none_is_a_sentence(data, tmp_path, capsys, hours):
    assert main(["data", "mix", str(data), "-o", str(tmp_path / "out"), f"--hours={hours}"]) == 2
    assert "--hours takes a number above 0" in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes as POSIX does")
def test_a_full_disk_is_a_sentence_and_nothing_is_half_written(data, tmp_path):
    """As far as a process can tell, a file that may not grow is a full disk."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000));"
        "from edgeenhance.cli import main\n"
        "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))"
    )
    (tmp_path / "limited.py").write_text(code)
    words = [
        "data",
        "mix",
        str(data),
        "-o",
        str(tmp_path / "out"),
        "--count",
        "3",
        "--seconds",
        "2",
        "--level",
        "-20",
        "-20",
    ]
    done = subprocess.run([sys.executable, tmp_path / "limited.py", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot write" in done.stderr and "make room; what is finished stays" in done.stderr
    assert not [path for path in (tmp_path / "out").rglob("*.flac")]
