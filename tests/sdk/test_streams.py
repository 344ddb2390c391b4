"""Streams without a sound card: iterators, asyncio, and raw PCM through pipes that break and deliver odd pieces."""

import asyncio
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from edgeenhance import EdgeEnhanceError, Enhancer, enhance
from edgeenhance.streams import pipe

RATE = 16000
COMMAND = [sys.executable, "-m", "edgeenhance", "enhance", "-", "-o", "-"]
BEAM = ["--array", "bte-2x2", "--model", "none"]


def noise(rng, seconds=0.5, mics=4):
    """The same sound everywhere, and little sensor noise : (n, mics) float32."""
    n = int(RATE * seconds)
    x = rng.standard_normal((n, 1)) + 0.1 * rng.standard_normal((n, mics))
    return (0.05 * x).astype("<f4")


def cut(x, rng):
    """Blocks of random sizes, empty ones too."""
    return np.split(x, np.sort(rng.integers(0, len(x), 20)))


# ---- iterators ----


def test_a_stream_gives_what_process_gives_block_by_block(rng):
    blocks = cut(noise(rng), rng)
    expected = Enhancer("bte-2x2", ears="both").process(np.concatenate(blocks))
    found = list(Enhancer("bte-2x2", ears="both").stream(blocks))
    assert [len(y) for y in found] == [len(x) for x in blocks]
    np.testing.assert_array_equal(np.concatenate(found), expected)


def test_a_stream_takes_a_block_when_its_result_is_asked_for(rng):
    taken = []
    blocks = (taken.append(x) or x for x in noise(rng).reshape(-1, 80, 4))
    stream = Enhancer("bte-2x2", model="none").stream(blocks)
    assert not taken
    next(stream)
    assert len(taken) == 1


def test_a_stream_goes_on_in_another_call(rng):
    x = noise(rng)
    enhancer, whole = Enhancer("bte-2x2", model="none"), Enhancer("bte-2x2", model="none")
    found = [*enhancer.stream([x[:1000], x[1000:3000]]), *enhancer.stream([x[3000:]])]
    np.testing.assert_array_equal(np.concatenate(found), whole.process(x))


def test_an_async_stream_gives_the_same_samples(rng):
    blocks = noise(rng).reshape(-1, 100, 4)

    async def microphone():
        for x in blocks:
            await asyncio.sleep(0)
            yield x

    async def collect():
        return [y async for y in Enhancer("bte-2x2").stream(microphone())]

    np.testing.assert_array_equal(asyncio.run(collect()), list(Enhancer("bte-2x2").stream(blocks)))


def test_other_tasks_have_their_turn_between_blocks_that_are_all_there(rng):
    turns = []

    async def ready():
        for x in noise(rng).reshape(-1, 80, 4):
            yield x

    async def other():
        while True:
            turns.append(len(done))
            await asyncio.sleep(0)

    async def both():
        task = asyncio.create_task(other())
        async for y in Enhancer("bte-2x2", model="none").stream(ready()):
            done.append(y)
        task.cancel()

    done = []
    asyncio.run(both())
    assert len(done) == 100 and set(turns) >= set(range(1, 100))


def test_what_is_no_stream_of_blocks_is_refused(rng):
    enhancer = Enhancer("bte-2x2", model="none")
    with pytest.raises(TypeError, match="iterable"):
        enhancer.stream(5)
    with pytest.raises(ValueError, match=r"takes \(n, 4\)"):
        next(enhancer.stream(noise(rng)))  # its rows are no blocks


# ---- raw PCM, in this process ----


def piped(data, enhancer, sizes=None, **settings):
    """Bytes that `pipe` makes of bytes, which arrive in pieces of these sizes (default: all at once)."""
    source, feed = os.pipe()
    drain, sink = os.pipe()
    received = []

    def write():
        at = 0
        for size in [*(sizes or []), len(data)]:
            os.write(feed, data[at : at + size])
            at += size
        os.close(feed)

    def read():
        while chunk := os.read(drain, 1 << 16):
            received.append(chunk)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        pipe(source, sink, enhancer, **settings)
    finally:
        os.close(source)  # a writer that is still at it stops
        os.close(sink)
        for thread in threads:
            thread.join()
        os.close(drain)
    return b"".join(received)


def floats(data):
    return np.frombuffer(data, "<f4")


@pytest.mark.parametrize("model", ["default", "none"])
def test_a_pipe_gives_the_samples_that_the_recording_gets(rng, model):
    x = noise(rng)
    found = floats(piped(x.tobytes(), Enhancer("bte-2x2", model=model)))
    np.testing.assert_array_equal(found, enhance(x, RATE, "bte-2x2", model=model))


def test_pieces_that_break_frames_and_samples_change_nothing(rng):
    data, sizes = noise(rng, 0.2).tobytes(), rng.integers(1, 150, 400).tolist()
    enhancers = [Enhancer("bte-2x2", model="none") for _ in range(2)]
    assert piped(data, enhancers[0], sizes) == piped(data, enhancers[1])


def test_int16_is_the_same_rounded(rng):
    x = (32768 * noise(rng)).astype("<i2")
    found = np.frombuffer(piped(x.tobytes(), Enhancer("bte-2x2"), format="int16"), "<i2")
    exact = 32768 * enhance(x.astype(np.float32) / 32768, RATE, "bte-2x2")
    assert np.abs(found - exact).max() <= 0.5


def test_int16_is_clipped_where_a_filter_overshoots():
    square = np.where(np.arange(9600) // 240 % 2, 32767, -32768).astype("<i2")
    settings = {"strength": 0.0, "model": "none", "sample_rate": 48000}
    exact = floats(piped((square / np.float32(32768)).astype("<f4").tobytes(), Enhancer(**settings)))
    found = np.frombuffer(piped(square.tobytes(), Enhancer(**settings), format="int16"), "<i2")
    assert exact.max() > 1.01 and exact.min() < -1.01
    np.testing.assert_array_equal(found, np.rint(np.clip(32768 * exact, -32768, 32767)))


def test_two_ears_are_two_channels(rng):
    x = noise(rng, 0.1)
    found = floats(piped(x.tobytes(), Enhancer("bte-2x2", ears="both"))).reshape(-1, 2)
    np.testing.assert_array_equal(found, enhance(x, RATE, "bte-2x2", ears="both"))


def test_channels_are_picked_among_more(rng):
    x = noise(rng, 0.1)
    wide = np.insert(x, [0, 4], 0.7, axis=1)[:, [0, 4, 3, 2, 1, 5]]
    found = piped(wide.tobytes(), Enhancer("bte-2x2", model="none"), channels=[5, 4, 3, 2], channels_in=6)
    np.testing.assert_array_equal(floats(found), enhance(x, RATE, "bte-2x2", model="none"))


def test_a_pipe_at_another_rate_is_in_time(rng):
    x = noise(rng, 0.3, 1)
    enhancer = Enhancer("mono", model="none", sample_rate=48000)
    expected = Enhancer("mono", model="none", sample_rate=48000).process(
        np.concatenate([x, np.zeros((enhancer.latency, 1), "f")])
    )
    np.testing.assert_array_equal(floats(piped(x.tobytes(), enhancer)), expected[enhancer.latency :])


@pytest.mark.parametrize("frames", [0, 1, 127, 129])
def test_short_streams_keep_their_length(rng, frames):
    x = noise(rng)[:frames]
    assert len(piped(x.tobytes(), Enhancer("bte-2x2", model="none"))) == 4 * frames


def test_a_stream_that_ends_within_a_frame_says_so(rng):
    with pytest.raises(EdgeEnhanceError, match="3 bytes into a frame of 16 bytes, 4 x float32"):
        piped(noise(rng).tobytes()[:-13], Enhancer("bte-2x2", model="none"))


def test_a_sound_file_is_no_raw_pcm():
    with pytest.raises(EdgeEnhanceError, match="arecord -t raw"):
        piped(b"RIFF\x00\x00\x00\x00WAVEfmt ", Enhancer(model="none"))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"format": "int24"}, "float32, int16"),
        ({"channels": [1, 2, 3]}, "4 microphones, but 3 of the 4"),
        ({"channels": [2, 3, 4, 5]}, "channels 1 to 4"),
        ({"channels_in": 6}, "6 of the 6"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        piped(b"", Enhancer("bte-2x2", model="none"), **settings)


def test_muted_frames_are_reported(rng):
    x = noise(rng)
    x[1000:1010, 2] = np.nan
    with pytest.warns(RuntimeWarning, match="10 frames"):
        found = floats(piped(x.tobytes(), Enhancer("bte-2x2", model="none")))
    assert np.isfinite(found).all()


# ---- the command ----


def run(data, *options, command=COMMAND):
    done = subprocess.run([*command, *options], input=data, capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def test_the_command_gives_the_same_samples_and_nothing_else(rng):
    x = noise(rng)
    code, out, err = run(x.tobytes(), "--array", "bte-2x2", "--look", "20")
    assert (code, err) == (0, "")
    np.testing.assert_array_equal(floats(out), enhance(x, RATE, "bte-2x2", look=20.0))


def test_warnings_go_to_standard_error(rng):
    x = noise(rng, 2.0)
    x[:, 2] = 0
    code, out, err = run(x.tobytes(), *BEAM)
    assert code == 0 and len(out) == 4 * len(x)
    assert err.startswith("warning: microphone 2 ") and err.count("\n") == 1


def test_each_block_comes_out_before_the_next_goes_in(rng):
    enhancer = Enhancer("bte-2x2", model="none")
    blocks = noise(rng).reshape(-1, 400, 4)
    expected = enhance(np.concatenate(blocks), RATE, "bte-2x2", model="none")
    with subprocess.Popen([*COMMAND, *BEAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        found, late = b"", enhancer.latency
        for x in blocks:
            process.stdin.write(x.tobytes())
            wanted = 4 * (len(x) - late)
            late = 0
            while wanted:  # waits for ever if the command waits for more input
                piece = process.stdout.read(wanted)
                assert piece
                found, wanted = found + piece, wanted - len(piece)
        process.stdin.close()
        found += process.stdout.read()
    np.testing.assert_array_equal(floats(found), expected)
    assert process.returncode == 0


def test_a_recording_of_noise_alone_is_heard_before_the_stream(rng, tmp_path):
    """The same by pipe, by file and in Python; its channels are picked as the recording's are."""
    sf = pytest.importorskip("soundfile")
    x, alone = noise(rng), noise(rng, 0.3)
    sf.write(tmp_path / "noise.wav", alone[:, ::-1], RATE, subtype="FLOAT")
    sf.write(tmp_path / "in.wav", x[:, ::-1], RATE, subtype="FLOAT")
    words = ["--array", "bte-2x2", "--model", "wiener", "--channels", "4,3,2,1", "--noise", "noise.wav"]
    expected = enhance(x, RATE, "bte-2x2", model="wiener", noise=alone)
    done = subprocess.run([*COMMAND, *words], input=x[:, ::-1].tobytes(), capture_output=True, cwd=tmp_path, check=True)
    np.testing.assert_array_equal(floats(done.stdout), expected)
    command = [*COMMAND[:-3], "in.wav", "-o", "out.wav", *words]
    subprocess.run(command, capture_output=True, cwd=tmp_path, check=True)
    np.testing.assert_allclose(sf.read(tmp_path / "out.wav")[0], expected, atol=1e-6)
    assert np.abs(expected - enhance(x, RATE, "bte-2x2", model="wiener")).max() > 1e-3


def test_a_reader_that_goes_away_ends_the_command_quietly(rng):
    x = noise(rng).tobytes()
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen([*COMMAND, *BEAM], **options) as process:
        process.stdin.write(x[:16000])
        assert process.stdout.read(1)
        process.stdout.close()
        with pytest.raises(BrokenPipeError):
            while True:  # as `yes` does
                process.stdin.write(x)
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["-", "-o", "out.wav"], "give - for both"),
        (["in.wav", "-o", "-"], "give - for both"),
        (["in.wav", "-o", "out.wav", "--rate", "48000"], "a sound file says so itself"),
        (["-", "-o", "-", "--format", "S16_LE"], "choose from float32, int16"),
        (["-", "-o", "-", "--channels-in", "4"], "array mono has 1 microphones"),
        (["-", "-o", "-", "--rate", "123"], "4000 to 768000"),
        (["-", "-o", "-", "--channels", "2"], "channels 1 to 1"),
        (["-", "-o", "-", "--noise", "first-seconds"], "other models find it themselves"),
        (["-", "-o", "-", "--noise", "street.wav"], "cannot read street.wav: there is no such file"),
    ],
)
def test_a_command_that_makes_no_sense_is_explained(words, sentence, tmp_path):
    command = [sys.executable, "-m", "edgeenhance", "enhance", *words, "--model", "none"]
    done = subprocess.run(command, input=b"", capture_output=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == b""
    assert sentence in done.stderr.decode().replace("'", "") and not list(tmp_path.iterdir())


def test_a_terminal_is_no_stream():
    pty = pytest.importorskip("pty")
    ends = pty.openpty()
    done = subprocess.run([*COMMAND, "--model", "none"], stdin=ends[1], capture_output=True)
    for end in ends:
        os.close(end)
    assert done.returncode == 2 and b"not a terminal" in done.stderr
