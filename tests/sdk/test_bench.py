"""What `edgeenhance bench` measures, of what, and how it shows it. No test depends on how fast this machine is."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

from edgeenhance import Enhancer, bench, cli, machine
from edgeenhance.arrays import preset_names
from edgeenhance.masknet import zoo_names, zoo_path
from edgeenhance.nativenet import NativeNet
from edgeenhance.profiles import PROFILES
from edgeenhance.program import write_program

QUICK = 0.01  # s
pytestmark = pytest.mark.skipif("assist-s" not in zoo_names(), reason="no models in this installation")


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `edgeenhance bench` quickly, on a machine with these governors; returns (exit code, stdout, stderr)."""

    def command(*words, governors=("performance",)):
        monkeypatch.setattr(machine, "governors", lambda: {name: [0] for name in governors})
        try:
            code = cli.main(["bench", "--seconds", str(QUICK), *words])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return command


def test_durations_are_those_of_the_calls(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def work(seconds):
        def call():
            clock[0] += seconds

        return call

    def calls():
        for seconds in (1.0, 2.0, 0.5):
            clock[0] += 10.0  # between calls
            yield work(seconds)

    np.testing.assert_array_equal(bench.durations(calls()), [1.0, 2.0, 0.5])


def test_every_model_meets_every_backend_and_array(monkeypatch):
    monkeypatch.setattr(bench, "runtime_name", lambda: "ai_edge_litert")
    found = bench.combinations()
    assert len(found) == len(set(found)) == len(preset_names()) * (1 + 2 * len(zoo_names()))
    assert ("mono", "assist-m", "litert") in found and ("mono", "none", "litert") not in found


def test_without_a_runtime_there_is_one_backend(monkeypatch):
    monkeypatch.setattr(bench, "runtime_name", lambda: None)
    assert {backend for _, _, backend in bench.combinations()} == {"native"}
    assert bench.combinations(["a"], ["b"], ["c"]) == [("c", "a", "b")]


@pytest.mark.parametrize(
    "model, hop_ms", [("none", 4), ("wiener", 4), ("assist-s", 4), ("assist-s:int8", 4), ("comm-m", 16)]
)
def test_a_cost_is_consistent(model, hop_ms):
    cost = bench.measure("linear-4", model, "native", QUICK)
    assert (cost.array, cost.mics, cost.model, cost.backend, cost.hop_ms) == ("linear-4", 4, model, "native", hop_ms)
    assert cost.hops >= 1 and 0 < cost.p50_us <= cost.p95_us <= cost.max_us
    assert 1e-6 < cost.real_time_factor <= cost.max_us / (1000 * hop_ms)
    assert cost.core > 0
    assert cost.model_kb == (0 if model in ("none", "wiener") else zoo_path(model).stat().st_size / 1000)


def test_each_timed_hop_is_one_block(monkeypatch):
    blocks = []
    monkeypatch.setattr(Enhancer, "process", lambda self, x: blocks.append(x.shape))
    cost = bench.measure("linear-4", "comm-m", "native", QUICK)
    assert set(blocks) == {(256, 4)} and len(blocks) == cost.hops + bench.WARM_UP


def test_ram_is_what_chain_and_network_keep():
    alone, cost = (bench.measure("mono", model, "native", QUICK) for model in ("none", "assist-s"))
    chain = Enhancer("mono", model="assist-s", block=64)._chain.memory
    assert cost.ram_kb == (chain + NativeNet("assist-s").memory) / 1000 > alone.ram_kb > 1


def test_a_runtime_does_not_say_its_ram():
    pytest.importorskip("ai_edge_litert")
    assert bench.measure("mono", "assist-s", "litert", QUICK).ram_kb is None


def test_a_program_is_a_model_too(tmp_path):
    write_program(NativeNet("comm-m").program, tmp_path / "mine.eebin")
    cost = bench.measure("mono", str(tmp_path / "mine.eebin"), "native", QUICK)
    assert cost.hop_ms == 16 and cost.model_kb == (tmp_path / "mine.eebin").stat().st_size / 1000


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_the_noise_is_whole_hops(profile):
    x = bench.noise(profile, 3, 0.5)
    assert len(x) % profile.hop == 0 and 0.4 < len(x) / profile.sample_rate <= 0.5
    assert x.shape[1] == 3 and x.dtype == np.float32 and x.std() == pytest.approx(0.1, rel=0.05)


# ---- the command ----


def test_the_table_is_markdown_with_the_machines_name(run):
    code, out, err = run("--model", "none,assist-s", "--backend", "native", "--array", "mono,linear-4")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert (code, err) == (0, "") and out.startswith(f"**{machine.cpu_name()}**")
    assert len(rows) == 2 + 4 and len({row.count("|") for row in rows}) == 1
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["mono", "mono", "linear-4", "linear-4"]


def test_json_has_the_machine_and_all_figures(run):
    code, out, _ = run("--model", "none", "--array", "mono", "--json")
    content = json.loads(out)
    assert code == 0 and content["machine"]["cpu"] == machine.cpu_name()
    (cost,) = content["costs"]
    assert bench.Cost(**cost).array == "mono"


def test_a_governor_that_saves_power_is_a_warning(run):
    code, out, err = run("--model", "none", "--array", "mono", governors=("performance", "powersave"))
    assert code == 0 and "governor performance, powersave" in out
    assert err.startswith("warning: the processor is governed by powersave") and machine.GOVERN in err


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("--model", "no-such"), "unknown model"),
        (("--array", "no-such"), "unknown array"),
        (("--backend", "no-such", "--model", "assist-s"), "native, litert"),
        (("--seconds", "0"), "0 to 3600 seconds"),
        (("--seconds", "x"), "0 to 3600 seconds"),
    ],
)
def test_what_cannot_be_measured_is_explained(run, words, sentence):
    code, out, err = run(*words)
    assert code == 2 and sentence in err and out == ""


def test_progress_is_shown_on_a_terminal_and_goes_away(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with cli._line() as show:
        show("1 of 2")
        assert terminal.getvalue() == "\r\x1b[K1 of 2"
    assert terminal.getvalue().endswith("\r\x1b[K")
