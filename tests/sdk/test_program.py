"""Compiling models: what is refused, and that nothing but an EdgeEnhanceError comes of a damaged file."""

import re
import struct
import time

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="the extra `train` is not installed")
pytest.importorskip("ai_edge_litert", reason="the schema of LiteRT is not installed")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from edgeenhance import cli, program
from edgeenhance._tflite import Table
from edgeenhance.errors import EdgeEnhanceError
from edgeenhance.masknet import read_model, zoo_names
from edgeenhance.nativenet import NativeNet
from edgeenhance.program import OP, compile_flatbuffer, compile_model, program_facts, quantize_multiplier, sign, write_c
from tests.small_nets import hops, small_net


def flatbuffer(tmp_path, seed=0, quantization="16x8"):
    content, facts = small_net(seed, quantization)
    (tmp_path / "small.tflite").write_bytes(content)
    return read_model(tmp_path / "small.tflite")[0], facts


def changed(body: bytes, change) -> bytes:
    """The flatbuffer after change(model, graph)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(body))
    change(model, model.subgraphs[0])
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def kinds(content: bytes) -> list[str]:
    """The ops of a program, by name."""
    ops, count = program.HEADER.unpack_from(content)[-2:]
    return [program.KINDS[OP.unpack_from(content, ops + n * OP.size)[0]] for n in range(count)]


# ---- numbers ----


@pytest.mark.parametrize("real", [0.999999, 0.5, 0.3, 1e-3, 2.0**-31, 1 / 3])
def test_multipliers(real):
    multiplier, shift = quantize_multiplier(real, "it")
    assert 2**30 <= multiplier < 2**31 and 0 <= shift <= 31
    assert abs(multiplier / 2 ** (31 + shift) / real - 1) < 2.0**-31


def test_multipliers_at_the_ends():
    assert quantize_multiplier(0.0, "it") == quantize_multiplier(2.0**-40, "it") == (0, 0)
    for real in (1.0, 1 - 1e-12, 7.0, float("inf"), float("nan")):
        with pytest.raises(EdgeEnhanceError, match="less than 1"):
            quantize_multiplier(real, "it")


# ---- what a program is ----


def test_concatenations_casts_and_repeated_narrowing_are_compiled_away():
    found = kinds(compile_model("assist-s"))
    assert found.count("DENSE") == 10 and found.count("COPY") == 2  # the two states
    found = kinds(compile_model("assist-s:int8"))
    assert found.count("DENSE") == 10 and found.count("COPY") == 2 and found.count("NARROW") == 4


@pytest.mark.parametrize("quantization", ["16x8", "int8", "float32"])
def test_the_program_says_what_the_model_says(tmp_path, quantization):
    facts = small_net(3, quantization)[1]
    content = compile_flatbuffer(*flatbuffer(tmp_path, 3, quantization))
    assert program_facts(content).items() <= facts.items()
    assert len(content) % 4 == 0 and struct.unpack_from("<I", content, 8) == (len(content),)


def test_compiling_twice_gives_the_same_bytes():
    assert compile_model("assist-s") == compile_model("assist-s")


def test_the_c_source_holds_the_same_bytes(tmp_path):
    content = compile_model("assist-s")
    assert write_c(content, tmp_path / "1-net.c") == "_1_net"
    text = (tmp_path / "1-net.c").read_text()
    words = [int(word, 16) for word in re.findall(r"0x([0-9a-f]{8})u", text)]
    assert struct.pack(f"<{len(words)}I", *words) == content
    assert f"const uint32_t _1_net[{len(words)}]" in text


def test_the_command_writes_both(tmp_path, capsys):
    assert cli.main(["compile", "assist-s", "-o", str(tmp_path / "m.eebin"), "--c", str(tmp_path / "m.c")]) == 0
    assert "bytes of memory to run" in capsys.readouterr().out
    assert (tmp_path / "m.eebin").read_bytes() == compile_model("assist-s")
    assert (tmp_path / "m.c").is_file()
    assert cli.main(["compile", "assist-s"]) == 2
    assert cli.main(["compile", "assist-s", "-o", str(tmp_path / "no" / "m.eebin")]) == 2


# ---- what is refused ----


def _codes(model, graph):
    model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 3


def _activation(model, graph):
    graph.operators[0].builtinOptions.fusedActivationFunction = 1


def _pot_scale(model, graph):
    add = next(op for op in graph.operators if isinstance(op.builtinOptions, schema.AddOptionsT))
    add.builtinOptions.potScaleInt16 = True


def _axis(model, graph):
    concat = next(op for op in graph.operators if isinstance(op.builtinOptions, schema.ConcatenationOptionsT))
    concat.builtinOptions.axis = 0


def _zero_point(model, graph):
    graph.tensors[3].quantization.zeroPoint = np.array([5], np.int64)


def _order(model, graph):
    graph.operators.reverse()


def _twice(model, graph):
    graph.operators.append(graph.operators[-1])


def _type(model, graph):
    graph.tensors[5].type = schema.TensorType.INT64


def _long_row(model, graph):
    bias = graph.tensors[graph.operators[0].inputs[2]]
    model.buffers[bias.buffer].data = np.full(bias.shape[0], 2**31 - 1, np.int32).tobytes()


def _two_inputs(model, graph):
    graph.operators[0].inputs = graph.operators[0].inputs[:2]


def _renamed(model, graph):
    graph.tensors[graph.outputs[0]].name = "mask"


def _signature(model, graph):
    model.signatureDefs = []


def _no_gap(model, graph):
    graph.outputs = [graph.outputs[0], graph.inputs[1], graph.outputs[2]]


def _many_operators(model, graph):
    graph.operators = graph.operators[:1] * 600


def _many_inputs(model, graph):
    concat = next(op for op in graph.operators if isinstance(op.builtinOptions, schema.ConcatenationOptionsT))
    concat.inputs = np.full(65, concat.inputs[0], np.int32)


def _long_name(model, graph):
    graph.tensors[5].name = "x" * 300


def _many_scales(model, graph):
    graph.tensors[graph.inputs[0]].quantization.scale = np.ones(5, np.float32)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (_codes, "operator 3, which this version cannot run"),
        (_activation, "FULLY_CONNECTED has an activation"),
        (_pot_scale, "ADD has .* pot_scale_int16"),
        (_axis, "CONCATENATION has another axis"),
        (_zero_point, "zero point"),
        (_order, "before it is written"),
        (_twice, "twice"),
        (_type, "has type 4"),
        (_long_row, "exceed 32 bits"),
        (_two_inputs, "FULLY_CONNECTED has 2 inputs, not 3"),
        (_renamed, "mask"),
        (_signature, "signature 'step'"),
        (_no_gap, "expected"),
        (_many_operators, "a list of 600 tables"),
        (_many_inputs, "a list of 65 numbers"),
        (_long_name, "a list of 300 numbers"),
        (_many_scales, "5 scales; expected one"),
    ],
)
def test_models_that_are_not_as_documented_are_sentences(tmp_path, change, match):
    body, facts = flatbuffer(tmp_path)
    with pytest.raises(EdgeEnhanceError, match=match) as raised:
        compile_flatbuffer(changed(body, change), facts)
    assert "\n" not in str(raised.value)


def test_a_table_of_many_slots_is_a_sentence():
    slots = struct.pack("<HH", 4 + 2 * 65, 4) + bytes(2 * 65)
    with pytest.raises(EdgeEnhanceError, match="a table of 134 bytes of slots"):
        Table(slots + struct.pack("<i", len(slots)), len(slots))


def test_programs_and_arenas_are_bounded(tmp_path, monkeypatch):
    """Operators may share weights, so that a small file asks for a large program."""
    monkeypatch.setattr(program, "_LARGEST", 2000)
    with pytest.raises(EdgeEnhanceError, match="program would be larger"):
        compile_flatbuffer(*flatbuffer(tmp_path))
    monkeypatch.setattr(program._Compiler, "places", lambda compiler: ({}, 1001))
    monkeypatch.setattr(program._Compiler, "_fully_connected", lambda *_: None)
    with pytest.raises(EdgeEnhanceError, match="to run; make it smaller"):
        compile_flatbuffer(*flatbuffer(tmp_path))


@pytest.mark.parametrize("quantization", ["16x8", "int8", "float32"])
def test_damaged_flatbuffers_are_sentences_or_run(tmp_path, quantization):
    body, facts = flatbuffer(tmp_path, 1, quantization)
    rng, run, start = np.random.default_rng(5), 0, time.monotonic()
    for _ in range(600):
        damaged = bytearray(body)
        for at in rng.integers(0, len(body), rng.integers(1, 4)):
            damaged[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        try:
            content = compile_flatbuffer(bytes(damaged), facts)
        except EdgeEnhanceError as error:
            assert "\n" not in str(error)
            continue
        program.write_program(content, tmp_path / "damaged.eebin")
        net = NativeNet(tmp_path / "damaged.eebin")
        net.step(hops(rng, net.bands, 1)[0], np.zeros(net.bands, np.int16))
        run += 1
    assert 0 < run < 600 and time.monotonic() - start < 30


def test_short_flatbuffers_are_sentences(tmp_path):
    body, facts = flatbuffer(tmp_path)
    for length in [*range(0, 64), *range(64, len(body), 97)]:
        with pytest.raises(EdgeEnhanceError):
            compile_flatbuffer(body[:length], facts)


def test_programs_of_another_version_or_profile_are_sentences():
    content = compile_model(zoo_names()[0])
    inside = len(content) - 1
    for at, word, match in (
        (4, 9, "version 9"), (20, 9, "no profile"), (0, 9, "not a program"), (40, inside, "no profile"),
        (44, inside, "no profile"),
    ):  # fmt: skip
        other = sign(content[:at] + struct.pack("<I", word) + content[at + 4 :])
        with pytest.raises(EdgeEnhanceError, match=match):
            program_facts(other)
