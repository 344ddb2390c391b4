"""The demo runs everywhere: with and without espeak-ng, with and without a network."""

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics")
pytest.importorskip("pesq")
pytest.importorskip("matplotlib")
sf = pytest.importorskip("soundfile")

from edgeenhance.simulation import bench, demo  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The demo without espeak-ng and without a network: (folder, text)."""
    folder = tmp_path_factory.mktemp("demo") / "new"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        return folder, demo.make_demo(folder, "none")


def test_the_demo_needs_no_espeak_and_no_network(made):
    folder, _ = made
    names = {path.name for path in folder.iterdir()}
    assert names == {"noisy.wav", "enhanced.wav", "target.wav", "microphones.wav", "before-after.png"}


def test_all_files_of_the_demo_fit_together(made):
    folder, _ = made
    noisy, enhanced, target = (sf.read(folder / f"{name}.wav")[0] for name in ("noisy", "enhanced", "target"))
    microphones, rate = sf.read(folder / "microphones.wav")
    assert rate == 16000 and len(noisy) == len(enhanced) == len(target) == len(microphones) > 4 * rate
    assert microphones.shape[1] == 4
    np.testing.assert_array_equal(noisy, microphones[:, 0])
    assert np.abs(microphones).max() < 1


def test_the_demo_says_what_was_gained_and_what_it_costs(made):
    _, text = made
    for words in ("PESQ", "ESTOI", "reference microphone", "beamformer (MVDR)", "8.0 ms", "µs per hop"):
        assert words in text


def test_the_demo_can_be_made_again_in_the_same_folder(made, monkeypatch):
    folder, text = made
    monkeypatch.setenv("PATH", "")
    again = demo.make_demo(folder, "none")
    assert again.splitlines()[:4] == text.splitlines()[:4]


@pytest.mark.parametrize("name", demo.SENTENCES)
def test_every_sentence_has_a_clip_in_the_package(name):
    path = demo.CLIPS / f"{name}.ogg"
    assert path.stat().st_size < 100_000
    x, rate = sf.read(path)
    assert rate == 16000 and 3 < len(x) / rate < 8 and 0.1 < np.abs(x).max() < 1


def test_the_demo_refuses_a_folder_it_cannot_write(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert demo.main(["-o", str(tmp_path / "file"), "--model", "none"]) == 2
    assert "demo: " in capsys.readouterr().err


def test_stages_of_the_bench_add_up_to_the_chain():
    names = ("fixed beam", "mvdr", "features", "network", "chain")
    us = {name: 10.0 * (index + 1) ** 1.5 for index, name in enumerate((*names, "chain, hop by hop"))}
    *rows, total = bench.stages(us)
    assert sum(value for _, value in rows) == pytest.approx(total[1])


def test_the_bench_prints_all_stages_without_a_network(capsys):
    assert bench.main(["--model", "none", "--rounds", "1", "--array", "linear-4"]) == 0
    out = capsys.readouterr().out
    assert "noise covariance, MVDR solve" in out and "Python: a call per hop" in out and "NumPy" in out
