"""What `edgeenhance doctor` finds on machines that lack something, and what it says to do about it."""

import importlib.util
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edgeenhance import Enhancer, cli, devices, doctor, machine
from edgeenhance.masknet import zoo_names

pytestmark = pytest.mark.skipif("assist-m" not in zoo_names(), reason="no models in this installation")


def about(topic):
    """Findings on a topic."""
    return [finding for finding in doctor.examine() if finding.topic == topic]


def the(topic):
    (finding,) = about(topic)
    return finding


@pytest.fixture
def without(monkeypatch):
    """Let packages not be installed."""
    found = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else found(name))

    return hide


@pytest.fixture
def sounddevice(monkeypatch):
    """Stand in for the package sounddevice, with these devices: (name, inputs, outputs)."""

    def install(*listed):
        module = SimpleNamespace(
            query_hostapis=lambda: [{"name": "ALSA"}],
            query_devices=lambda: [
                {
                    "index": n, "name": name, "hostapi": 0, "max_input_channels": inputs,
                    "max_output_channels": outputs, "default_samplerate": 48000.0,
                }
                for n, (name, inputs, outputs) in enumerate(listed)
            ],
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        found = importlib.util.find_spec
        spec = SimpleNamespace(name="sounddevice")
        monkeypatch.setattr(importlib.util, "find_spec", lambda n: spec if n == "sounddevice" else found(n))

    return install


def test_this_machine_enhances(capsys):
    assert cli.main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert "enhancement works here" in out and "WRONG" not in out and err == ""
    for topic in ("Python", "edgeenhance", "libraries", "processor", "kernel", "models", "speed", "[files]"):
        assert f"OK       {topic}" in out


def test_json_has_the_same_findings(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["works"] is True
    assert {finding["topic"] for finding in content["findings"]} >= {"Python", "kernel", "models"}


def test_a_cure_stands_below_what_is_not_right():
    text = doctor.report([doctor.Finding("kernel", "wrong", "is ill", "sleep"), doctor.Finding("x", "warning", "y")])
    assert text.splitlines()[:2] == ["WRONG    kernel       is ill", f"{'':21} do: sleep"]
    assert text.endswith("does not work here; 1 warning")


# ---- the main job ----


def test_a_kernel_that_changes_the_sound_is_wrong(monkeypatch, capsys):
    whole = Enhancer.process
    monkeypatch.setattr(Enhancer, "process", lambda self, x: 0.99 * whole(self, x))
    assert the("kernel").state == "wrong" and "--force-reinstall" in the("kernel").cure
    assert cli.main(["doctor"]) == 1
    assert "enhancement does not work here" in capsys.readouterr().out


def test_a_kernel_that_is_late_is_wrong(monkeypatch):
    monkeypatch.setattr(Enhancer, "latency", 127)
    assert the("kernel").state == "wrong"


def test_a_kernel_of_another_version_is_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "lib", SimpleNamespace(EE_VERSION_MAJOR=9, EE_VERSION_MINOR=3))
    assert the("edgeenhance").state == "wrong" and "version 9.3" in the("edgeenhance").text


def test_a_kernel_that_cannot_be_loaded_is_a_sentence():
    code = "import sys; sys.modules['edgeenhance._kernel'] = None; import edgeenhance"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install --force-reinstall" in done.stderr.splitlines()[-1]


def test_missing_models_are_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "zoo_names", lambda: ["assist-m"])
    assert the("models").state == "wrong" and "comm-m not in this installation" in the("models").text


def test_models_that_leave_the_noise_are_wrong(monkeypatch):
    monkeypatch.setattr(doctor, "_noise_taken", lambda profile: 3.0 if profile == "comm" else 30.0)
    assert [finding.state for finding in about("models")] == ["ok", "wrong"]


def test_vector_instructions_that_lie_idle_are_a_warning(monkeypatch):
    monkeypatch.setattr(machine, "cpu_features", lambda: ["avx2"])
    monkeypatch.setattr(doctor, "NativeNet", lambda name: SimpleNamespace(simd="sse2"))
    warning = about("models")[0]
    assert warning.state == "warning" and "networks run on sse2" in warning.text


@pytest.mark.parametrize("milliseconds, state", [(0.1, "ok"), (2.5, "warning"), (4.5, "wrong")])
def test_a_machine_that_is_too_slow_is_told_what_is_faster(monkeypatch, milliseconds, state):
    monkeypatch.setattr(doctor, "durations", lambda calls: np.full(len(list(calls)), milliseconds / 1000))
    finding = the("speed")
    assert finding.state == state and ("assist-s" in finding.cure) == (state != "ok")


def test_a_check_that_fails_itself_does_not_stop_the_others(monkeypatch):
    def fail(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(doctor, "_noise_taken", fail)
    assert the("models").state == "wrong" and "RuntimeError: out of order" in the("models").text
    assert the("speed").state == "ok"


def test_what_is_not_needed_may_fail(monkeypatch):
    def fail(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr(machine, "cpu_name", fail)
    assert the("processor").state == "warning" and doctor.works(doctor.examine())


# ---- what is installed ----


def test_a_missing_extra_is_optional_and_names_the_pip_line(without):
    without("soundfile")
    finding = the("[files]")
    assert (finding.state, finding.cure) == ("optional", "pip install 'edgeenhance[files]'")


def test_without_a_runtime_there_is_nothing_to_compare(without):
    without(*doctor.RUNTIMES)
    assert about("litert") == [] and the("[litert]").state == "optional"


def test_a_runtime_is_compared_with_the_native_engine(monkeypatch):
    pytest.importorskip("ai_edge_litert")
    assert the("litert").state == "ok" and "ai_edge_litert " in the("litert").text

    class Deaf(doctor.MaskNet):
        def step(self, features, gains):
            super().step(0 * features, gains)

    monkeypatch.setattr(doctor, "MaskNet", Deaf)
    assert the("litert").state == "warning" and "other gains" in the("litert").text


def test_a_runtime_that_does_not_start_is_a_warning(monkeypatch):
    pytest.importorskip("ai_edge_litert")

    def fail(*_):
        raise AttributeError("_ARRAY_API not found\nlong story")

    monkeypatch.setattr(doctor, "MaskNet", fail)
    finding = the("litert")
    assert (
        finding.state == "warning" and finding.text.endswith("_ARRAY_API not found") and "pip install" in finding.cure
    )


# ---- the machine ----


def test_a_governor_that_saves_power_is_a_warning(monkeypatch):
    monkeypatch.setattr(machine, "governors", lambda: {"ondemand": [0, 1, 2, 3], "performance": [5]})
    finding = the("governor")
    assert finding.state == "warning" and finding.cure == machine.GOVERN
    assert finding.text.startswith("ondemand on cores 0-3, performance on cores 5: ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_no_real_time_priority_is_a_warning_with_the_limits_to_set(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    finding = the("real time")
    assert finding.state == "warning" and "rtprio " in finding.text and "@audio - rtprio 95" in finding.cure


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="schedulers of Linux")
def test_trying_real_time_priority_leaves_none():
    before = os.sched_getscheduler(0)
    the("real time")
    assert os.sched_getscheduler(0) == before


def test_devices_are_listed(sounddevice):
    sounddevice(("USB array", 6, 0), ("Headphones", 0, 2))
    assert devices.devices()[0] == devices.Device(0, "USB array", "ALSA", 6, 0, 48000)
    lines = [finding.text for finding in about("sound") if finding.state == "ok"]
    assert lines == ["USB array: 6 in, 0 out, 48000 Hz (ALSA)", "Headphones: 0 in, 2 out, 48000 Hz (ALSA)"]


def test_without_portaudio_the_package_to_install_is_named(sounddevice, monkeypatch, tmp_path):
    sounddevice()
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    warning = next(finding for finding in about("sound") if finding.state == "warning")
    assert "apt-get install libportaudio2" in warning.text


@pytest.mark.parametrize("files, allowed, state", [((), True, "optional"), (("pcmC0D0c",), False, "warning")])
def test_sound_cards_out_of_reach_are_told_from_none(monkeypatch, tmp_path, files, allowed, state):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "access", lambda *_: allowed)
    (finding,) = doctor._sound_files(tmp_path)
    assert finding.state == state and ("usermod" in finding.cure) == (state == "warning")


def test_a_sound_card_within_reach_is_no_finding(tmp_path):
    (tmp_path / "pcmC0D0c").touch()
    assert list(doctor._sound_files(tmp_path)) == []
