"""The command line: what it prints, its exit codes, and a sentence instead of a file where the input is bad."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from edgeenhance import cli

sf = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

RATE = 16000


@pytest.fixture
def run(capsys):
    """Run the command in this process; returns (exit code, stdout, stderr)."""

    def command(*words):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as stop:  # argparse's own complaints
            code = stop.code
        return (code, *capsys.readouterr())

    return command


@pytest.fixture
def clip(tmp_path):
    """Write a clip that fits any array (the same sound everywhere, little sensor noise)."""

    def make(name="in.wav", channels=4, seconds=0.5, scale=0.1, rate=RATE, subtype="FLOAT"):
        rng = np.random.default_rng(1)
        n = int(rate * seconds)
        x = rng.standard_normal((n, 1)) + 0.01 * rng.standard_normal((n, channels))
        sf.write(tmp_path / name, scale * x, rate, subtype=subtype)
        return tmp_path / name

    return make


@pytest.fixture
def enhance(run, clip, tmp_path):
    """Run `edgeenhance enhance` on a clip with --model none; returns (exit code, stderr, output or None)."""

    def command(*options, path=None, output="out.wav", model="none"):
        path = path or clip()
        model = ("--model", model) if model else ()
        code, _, err = run("enhance", path, "-o", tmp_path / output, *model, *options)
        done = (tmp_path / output).is_file()
        return code, err, sf.read(tmp_path / output)[0] if done else None

    return command


def bad(result, *words):
    """Exit code 2, one sentence with these words, no output."""
    code, err, output = result
    sentence = err.strip()
    assert code == 2 and output is None, err
    assert sentence.startswith("edgeenhance: ") and "\n" not in sentence and "Traceback" not in sentence
    assert all(word in sentence for word in words), sentence
    return True


# ---- enhance ----


def test_enhance_writes_a_file_of_the_same_length(enhance):
    code, err, output = enhance("--array", "bte-2x2")
    assert code == 0 and err == "" and output.shape == (8000,)


def test_enhance_takes_the_settings_of_the_enhancer(enhance, clip):
    from edgeenhance import enhance as whole

    path = clip()
    options = (
        "--profile comm --beamformer superdirective --look -30 --strength 0.5 --ears both --cues 0.3 --ceiling -30"
    )
    code, _, output = enhance("--array", "bte-2x2", *options.split(), path=path)
    settings = {"profile": "comm", "beamformer": "superdirective", "look": -30.0, "strength": 0.5, "cues": 0.3}
    settings["ceiling"] = -30.0
    expected = whole(sf.read(path)[0], RATE, "bte-2x2", ears="both", model="none", **settings)
    assert code == 0
    np.testing.assert_allclose(output, expected, atol=1e-7)
    assert np.abs(output).max() == np.float32(10 ** (-30 / 20))


def test_enhance_picks_channels_in_the_given_order(enhance, clip, tmp_path):
    path = clip(channels=5)
    code, _, output = enhance("--array", "bte-2x2", "--channels", "5,2,3,1", "--beamformer", "none", path=path)
    expected = sf.read(path)[0][:, 4]
    assert code == 0
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_enhance_takes_an_array_file(enhance, tmp_path):
    from edgeenhance import MicArray

    (tmp_path / "mine.toml").write_text(MicArray.load("linear-4").to_toml())
    assert enhance("--array", tmp_path / "mine.toml")[0] == 0


def test_a_mono_file_needs_no_array(enhance, clip):
    assert enhance(path=clip(channels=1))[0] == 0


def test_a_doubtful_order_of_channels_is_a_warning_not_an_error(enhance, tmp_path):
    left, right = 0.05 * np.random.default_rng(2).standard_normal((2, RATE))
    sf.write(tmp_path / "in.wav", np.stack([left, right, 1.01 * left, 1.01 * right], axis=1), RATE)
    code, err, output = enhance("--array", "bte-2x2", path=tmp_path / "in.wav")
    assert code == 0 and output is not None
    assert err.startswith("warning: ") and "1,3,2,4" in err and err.count("\n") == 1


@pytest.mark.parametrize("kind", ["nan", "silence", "clipped", "dc", "dead"])
def test_bad_samples_give_a_finite_file(enhance, clip, kind):
    path = clip(scale=30.0 if kind == "clipped" else 0.1, subtype="PCM_16" if kind == "clipped" else "FLOAT")
    x = sf.read(path)[0]
    if kind == "nan":
        x[1000:1100] = np.nan
        x[3000, 2] = np.inf
    elif kind == "silence":
        x[:] = 0
    elif kind == "dc":
        x += 0.5
    elif kind == "dead":
        x[:, 2] = 0
    sf.write(path, x, RATE, subtype="FLOAT")
    code, err, output = enhance("--array", "bte-2x2", path=path)
    assert code == 0 and np.isfinite(output).all()
    assert {"nan": "101 frames", "dead": "microphone 2 "}.get(kind, "") in err


# ---- enhance: bad input ----


def test_a_wrong_number_of_channels_is_refused(enhance):
    assert bad(enhance("--array", "glasses-6"), "6 microphones", "bte-2x2")
    assert bad(enhance(), "4 channels", "which array", "bte-2x2")
    assert bad(enhance("--array", "bte-2x2", "--channels", "1,2"), "4 microphones")


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--array", "no-such", ("unknown array", "bte-2x2")),
        ("--array", "no-such.toml", ("no-such.toml",)),
        ("--profile", "no-such", ("unknown profile", "assist")),
        ("--beamformer", "no-such", ("unknown beamformer", "mvdr")),
        ("--channels", "1,2,3,9", ("channels 1 to 4",)),
        ("--channels", "1,2,3,3", ("twice",)),
        ("--strength", "1.5", ("strength", "0 to 1")),
        ("--cues", "-1", ("cues", "0 to 1")),
        ("--ceiling", "1", ("ceiling", "-60 to 0")),
        ("--look", "nan", ("look",)),
    ],
)
def test_a_wrong_option_is_refused(enhance, option, value, words):
    options = {"--array": "bte-2x2", option: value}
    assert bad(enhance(*(word for pair in options.items() for word in pair)), *words)


def test_an_ear_the_array_does_not_have_is_refused(enhance):
    assert bad(enhance("--array", "linear-4", "--ears", "right"), "right", "left")


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_model_file_that_is_none_is_refused(enhance, tmp_path, content):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    assert bad(enhance("--array", "bte-2x2", model=path), "model.tflite")


def test_an_unknown_model_is_refused(enhance):
    assert bad(enhance("--array", "bte-2x2", model="no-such"), "unknown model")
    for name in ("mine.onnx", "run/best.pt"):
        assert bad(enhance("--array", "bte-2x2", model=name), f"{name} is no model of the chain", "OnnxEnhancer")


def test_a_wav_that_is_not_one_is_refused(enhance, tmp_path):
    path = tmp_path / "in.wav"
    path.write_bytes(b"this is no sound")
    assert bad(enhance("--array", "bte-2x2", path=path), "in.wav is not a sound file")


def test_a_missing_input_is_refused(enhance, tmp_path):
    assert bad(enhance("--array", "bte-2x2", path=tmp_path / "no.wav"), "no.wav", "no such file")


def test_an_unwritable_output_is_refused(enhance, clip, run, tmp_path):
    assert bad(enhance("--array", "bte-2x2", output="no-such-folder/out.wav"), "cannot write")
    assert bad(enhance("--array", "bte-2x2", output="out.mp17"), "out.mp17", ".wav")
    folder = tmp_path / "folder.wav"
    folder.mkdir()
    code, _, err = run("enhance", clip(), "-o", folder, "--array", "bte-2x2", "--model", "none")
    assert bad((code, err, None), "cannot write")
    assert list(folder.iterdir()) == []


def test_a_refused_command_leaves_nothing_behind(enhance, clip, tmp_path):
    clip()
    enhance("--array", "bte-2x2", "--beamformer", "no-such")
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize("line", ["", "no-such", "enhance", "enhance a.wav -o b.wav --channels x", "info --no-such"])
def test_a_command_line_that_makes_no_sense_is_explained(run, line):
    code, _, err = run(*line.split())
    assert code == 2 and err.startswith("usage: edgeenhance")


def test_an_interrupted_command_says_so_and_leaves_nothing(run, clip, tmp_path, monkeypatch):
    path = clip()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeenhance.files.wiring.doubts", interrupt)
    code, _, err = run("enhance", path, "-o", tmp_path / "out.wav", "--array", "bte-2x2", "--model", "none")
    assert code == 130 and err == "interrupted\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_a_missing_package_names_the_extra(run, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    code, _, err = run("enhance", tmp_path / "in.wav", "-o", tmp_path / "out.wav")
    assert code == 2 and "edgeenhance[files]" in err


# ---- arrays, models, info ----


def test_arrays_lists_the_presets(run):
    code, out, _ = run("arrays")
    assert code == 0
    for name in ("mono", "bte-2x2", "glasses-6", "respeaker-4"):
        assert re.search(rf"^{name} ", out, re.M)


def test_arrays_describes_one(run):
    code, out, _ = run("arrays", "bte-2x2")
    assert code == 0
    assert "4 microphones on a head of radius 87.5 mm" in out
    assert "superdirective" in out and "spacing 10.1 to 175.0 mm" in out


def test_arrays_plots_into_a_file(run, tmp_path):
    pytest.importorskip("matplotlib")
    assert run("arrays", "linear-4", "--plot", tmp_path / "plot.png")[0] == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [("no-such",), ("--plot", "x.png")])
def test_arrays_refuses_what_it_does_not_know(run, words):
    code, _, err = run("arrays", *words)
    assert code == 2 and "bte-2x2" in err


def test_info_tells_versions_runtime_and_latency(run):
    code, out, _ = run("info")
    assert code == 0
    for words in ("NumPy", np.__version__, "native; litert", "CPU", r"assist .* 4 \+ 4 = 8", r"comm .* 16 \+ 16 = 32"):
        assert re.search(words, out), words


def test_models_lists_the_zoo(run):
    from edgeenhance.masknet import zoo_names

    code, out, _ = run("models")
    assert code == 0
    assert all(name in out for name in zoo_names())


def test_a_reader_that_has_gone_is_not_worth_a_word():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "edgeenhance", "arrays"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_python_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "edgeenhance", "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("edgeenhance ")


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom edgeenhance import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'scipy', 'soundfile', 'matplotlib', 'pyroomacoustics'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "heavy: []" in done.stdout


# ---- simulate, train, quantize ----


def test_simulate_renders_a_scene(run, tmp_path):
    pytest.importorskip("pyroomacoustics")
    scene = tmp_path / "scene.toml"
    scene.write_text(SCENE)
    code, _, err = run("simulate", scene, "-o", tmp_path / "out", "--seed", "3")
    assert code == 0, err
    assert {path.name for path in (tmp_path / "out/scene_00000").iterdir()} >= {"mix.wav", "target.wav", "scene.json"}


SCENE = """
duration_s = 0.5
[room]
dimensions_m = [4.0, 3.0, 2.5]
rt60_s = 0
[array]
name = "linear-4"
position_m = [2.0, 1.5, 1.2]
azimuth_deg = 0.0
[[talkers]]
distance_m = 1.0
[[noises]]
kind = "pink"
azimuth_deg = 90.0
distance_m = 1.0
"""


@pytest.mark.parametrize(
    "change, words",
    [
        (("distance_m = 1.0", "distance_m = 9.0"), ("outside the room",)),
        (('name = "linear-4"', 'name = "no-such"'), ("unknown array",)),
        (("duration_s = 0.5", "duration_s = [[["), ("scene.toml", "TOML")),
        (("duration_s = 0.5", "length_s = 0.5"), ("length_s",)),
    ],
)
def test_simulate_refuses_a_scene_that_cannot_be(run, tmp_path, change, words):
    pytest.importorskip("pyroomacoustics")
    scene = tmp_path / "scene.toml"
    scene.write_text(SCENE.replace(*change))
    code, _, err = run("simulate", scene, "-o", tmp_path / "out")
    assert code == 2 and all(word in err for word in words), err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [("--count", "0"), ("--workers", "x"), ("--bank", "-1")])
def test_simulate_refuses_numbers_that_are_none(run, option):
    code, _, err = run("simulate", "scene.toml", "-o", "out", *option)
    assert code == 2 and "whole number" in err


@pytest.mark.parametrize("command", ["train", "quantize"])
def test_commands_of_the_models_refuse_files_that_are_not_there(run, tmp_path, command):
    pytest.importorskip("torch")
    folders = ("--data", tmp_path, "--bank", tmp_path, *(("--valid-bank", tmp_path) if command == "train" else ()))
    code, _, err = run(command, tmp_path / "no-such", "-o", tmp_path / "out", *folders)
    assert code == 2 and "no-such" in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line, package, extra",
    [
        ("train r.toml -o out --data d --bank b --valid-bank v", "torch", "train"),
        ("simulate scene.toml -o out", "scipy", "sim"),
    ],
)
def test_a_command_without_its_packages_names_the_extra(line, package, extra):
    code = (
        f"import sys\nsys.modules[{package!r}] = None\n"
        f"from edgeenhance.cli import main\nsys.exit(main({line.split()!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2 and f"edgeenhance[{extra}]" in done.stderr
