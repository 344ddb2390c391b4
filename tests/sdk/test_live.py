"""Live without a sound card: the callback in C is fed by hand. tests/check/live.py does it through JACK."""

import json
import sys
import time
import types

import numpy as np
import pytest

from edgeenhance import EdgeEnhanceError, Enhancer, LiveEnhancer, cli, devices, live, screen
from edgeenhance.bands import band_centers
from edgeenhance.devices import Card, Device
from edgeenhance.kernel import ffi, lib
from edgeenhance.meters import measure
from edgeenhance.profiles import PROFILES
from tests.conftest import level_db

CARD = Device(3, "USB Array", "ALSA", 8, 2, 16000)
XRUN = 2  # PortAudio's flag for an input overflow


class Stream:
    """What PortAudio would be: calls the callback, with as many frames as the block has."""

    latency = (0.004, 0.008)
    active = True

    def __init__(self, card, block, callback):
        self.card, self.block, self.callback = card, block, callback

    def start(self):
        pass

    def feed(self, x, flags=0):
        """x : (n, inputs) -> (n, outputs)"""
        x = np.ascontiguousarray(x, np.float32)
        out = np.full((len(x), self.card.outputs), np.nan, np.float32)
        user = ffi.cast("void *", self.callback.user)
        for at in range(0, len(x) - len(x) % self.block, self.block):
            block = slice(at, at + self.block)
            ends = ffi.from_buffer(x[block]), ffi.from_buffer(out[block])
            assert lib.ee_live_callback(*ends, self.block, ffi.NULL, flags, user) == 0
        return out[: len(x) - len(x) % self.block]


@pytest.fixture
def card(monkeypatch):
    """A sound card to plug and unplug: `there`; the rates it takes; the streams that were opened."""
    state = types.SimpleNamespace(there=True, streams=[], outputs=2)

    def choose(input, output, channels, ears, rate=None):
        if not state.there:
            raise EdgeEnhanceError("no device")
        return Card(CARD, CARD, rate or 16000, max(channels), state.outputs)

    def open_stream(card, block, callback):
        state.streams.append(Stream(card, block, callback))
        return state.streams[-1]

    monkeypatch.setattr(devices, "choose", choose)
    monkeypatch.setattr(devices, "open_stream", open_stream)
    monkeypatch.setattr(devices, "close_stream", lambda stream, card: None)
    monkeypatch.setattr(devices, "rescan", lambda: None)
    return state


@pytest.fixture
def start(card):
    """start(...) : (LiveEnhancer, its stream); stopped in the end."""
    running = []

    def begin(*args, **settings):
        running.append(LiveEnhancer(*args, **{"model": "none", "soft_start": 0, **settings}).start())
        return running[-1], card.streams[-1]

    yield begin
    for one in running:
        one.stop()


def noise(rng, seconds, channels, level=0.03, rate=16000):
    return (level * rng.standard_normal((int(seconds * rate), channels))).astype(np.float32)


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


class Failing:
    """A mask that works, fails, or takes its time."""

    profile, centers = "assist", band_centers(64, PROFILES["assist"])
    fails, seconds = False, 0.0

    def reset(self):
        pass

    def step(self, features, gains):
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            pass
        if self.fails:
            raise RuntimeError("out of order")
        gains[:] = 8000


# ---- sound ----


@pytest.mark.parametrize("rate, block", [(16000, None), (16000, 100), (48000, None), (44100, None), (44100, 882)])
@pytest.mark.parametrize("ears", ["left", "both"])
def test_what_is_heard_equals_the_enhancer(start, rng, rate, block, ears):
    stream, sound = start("bte-2x2", ears=ears, sample_rate=rate, block=block)
    x = noise(rng, 1, 4, rate=rate)
    y = sound.feed(x)
    expected = Enhancer(
        "bte-2x2", ears=ears, model="none", sample_rate=rate, block=stream.enhancer.block
    ).process(x[: len(y)])  # fmt: skip
    np.testing.assert_array_equal(y, expected.reshape(len(y), -1) * np.ones((1, 2), np.float32))


def test_channels_are_taken_in_the_arrays_order(start, rng):
    x = noise(rng, 0.5, 6)
    _, sound = start("bte-2x2", channels=[6, 1, 3, 2])
    expected = Enhancer("bte-2x2", model="none", block=64).process(x[:, [5, 0, 2, 1]])
    np.testing.assert_array_equal(sound.feed(x)[:, 0], expected)


@pytest.mark.parametrize("rate, block", [(16000, 64), (48000, 192), (44100, 128), (32000, 128)])
def test_block_is_a_hop_or_the_largest_power_of_two_within_one(start, rate, block):
    assert start(sample_rate=rate)[0].block == block


def test_latency_is_told_part_by_part(start):
    stream, _ = start(sample_rate=48000)
    assert str(stream.latency) == "4.0 window + 4.0 block + 2.0 resampler + 12.0 driver = 22.0 ms"
    assert stream.latency.total == pytest.approx(stream.enhancer.latency_ms() + 12)


def test_sound_starts_softly(start):
    _, sound = start(soft_start=0.5, strength=0)
    y = sound.feed(np.full((16000, 1), 0.1))[64:, 0]
    np.testing.assert_allclose(y[:7000], 0.1 * (np.arange(65, 7065) / 8000) ** 2, atol=2e-4)
    np.testing.assert_allclose(y[8000:], 0.1, atol=1e-5)


@pytest.mark.parametrize("strength", [0, 1])
def test_nothing_is_louder_than_the_ceiling(start, rng, strength):
    _, sound = start("bte-2x2", ceiling=-20, strength=strength, agc=-30)
    peak = np.abs(sound.feed(noise(rng, 2, 4, level=0.8))).max()
    assert 0.09 < peak <= np.float32(0.1)


@pytest.mark.parametrize("level", [0.005, 0.1])
def test_agc_brings_speech_slowly_to_its_level(start, rng, level):
    _, sound = start(agc=-30, ceiling=0, strength=0)
    x = noise(rng, 40, 1, level=level)
    speech = np.sin(2 * np.pi * 1.5 * np.arange(len(x)) / 16000) > 0
    x[~speech] *= 0.01
    y = sound.feed(x)[64:, 0]
    seconds = [slice(at, at + 16000) for at in range(0, 39 * 16000, 16000)]
    gain = [level_db(y[second], x[second]) for second in seconds]
    assert np.abs(np.diff(gain)).max() <= 3.2
    assert 10 * np.log10(np.mean(y[seconds[-1]][speech[seconds[-1]]] ** 2)) == pytest.approx(-30, abs=1)


def test_without_agc_the_gain_stays(start, rng):
    _, sound = start(strength=0)
    x = noise(rng, 5, 1, level=0.01)
    assert level_db(sound.feed(x)[64:, 0] - x[:-64, 0], x) <= -100


def test_bad_samples_are_muted_and_counted(start, rng):
    stream, sound = start("bte-2x2")
    x = noise(rng, 1, 4)
    x[8000:8100] = 0
    zeros = sound.feed(x)
    broken, sound = start("bte-2x2")
    x[8000:8100, 1] = np.nan
    np.testing.assert_array_equal(sound.feed(x), zeros)
    assert broken.status.bad_frames == 100 and stream.status.bad_frames == 0


# ---- failing safely ----


def test_a_failing_enhancer_gives_way_to_the_delayed_microphone_and_comes_back(start, rng):
    mask = Failing()
    stream, sound = start("bte-2x2", model=mask)
    t = np.arange(16000 * 5) / 16000
    x = np.repeat(0.1 * np.sin(2 * np.pi * 200 * t)[:, None], 4, axis=1).astype(np.float32)
    heard = [sound.feed(x[:16000])]
    mask.fails = True
    heard.append(sound.feed(x[16000:24000]))
    mask.fails = False
    assert (stream.status.state, stream.status.faults, stream.status.fault) == ("dry", 1, "out of order")
    heard.append(sound.feed(x[24000:]))
    assert (stream.status.state, stream.status.faults) == ("enhancing", 1)
    y = np.concatenate(heard)[:, 0]
    np.testing.assert_array_equal(y[17000:30000], x[17000 - 64 : 30000 - 64, 0])
    assert np.abs(np.diff(y)).max() <= 1.1 * 2 * np.pi * 200 / 16000 * 0.1
    assert level_db(y[-16000:], x[-16000:, 0]) < -3  # enhanced again


def test_an_enhancer_that_fails_again_rests_twice_as_long(start, rng):
    mask = Failing()
    mask.fails = True
    stream, sound = start(model=mask)
    sound.feed(noise(rng, 1.2, 1))
    assert stream.status.faults == 2
    sound.feed(noise(rng, 1.7, 1))
    assert stream.status.faults == 2
    sound.feed(noise(rng, 0.5, 1))
    assert stream.status.faults == 3


def test_an_enhancer_that_is_too_slow_is_an_overload(start, rng):
    mask = Failing()
    mask.seconds = 0.005  # per hop of 4 ms
    stream, sound = start(model=mask)
    x = noise(rng, 0.6, 1)
    y = sound.feed(x)
    assert (stream.status.state, stream.status.faults, stream.status.fault) == ("dry", 1, "overload")
    np.testing.assert_array_equal(y[-1600:, 0], x[-1664:-64, 0])
    assert stream.meters.load > 0.3 and stream.meters.us_max > 5000


def test_blocks_of_another_size_than_agreed_are_a_fault_not_a_crash(start, rng):
    stream, sound = start(block=64)
    sound.block = 50
    x = noise(rng, 0.5, 1)
    np.testing.assert_array_equal(sound.feed(x)[1000:, 0], x[1000 - 64 : -64, 0])
    assert stream.status.faults == 1 and "multiples of the hop" in stream.status.fault


def test_a_device_that_vanishes_is_waited_for(start, card, rng, monkeypatch):
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.02)
    stream, sound = start("bte-2x2", soft_start=0.1)
    x = noise(rng, 0.5, 4)
    first = sound.feed(x)
    sound.feed(x, flags=XRUN)
    card.there, sound.active = False, False
    wait_for(lambda: stream.status.state == "no device")
    stream.look = 20  # settings count for the next one
    stream.look = 0
    card.there = True
    wait_for(lambda: stream.status.reconnects == 1)
    np.testing.assert_array_equal(card.streams[-1].feed(x), first)  # softly, and nothing remembered
    assert stream.status.state == "enhancing" and stream.status.xruns == len(x) // 64


def test_a_stream_that_stalls_is_a_device_that_vanished(start, card, rng, monkeypatch):
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(live, "LOST_SECONDS", 0.3)
    stream, sound = start()
    sound.feed(noise(rng, 0.1, 1))
    wait_for(lambda: stream.status.reconnects >= 1)


def test_xruns_are_counted(start, rng):
    stream, sound = start()
    sound.feed(noise(rng, 0.1, 1))
    sound.feed(noise(rng, 0.1, 1)[:64], flags=XRUN)
    assert stream.status.xruns == 1


# ---- knobs ----


def test_bypass_is_the_delayed_microphone(start, rng):
    stream, sound = start("bte-2x2")
    x = noise(rng, 2, 4)
    sound.feed(x[:16000])
    stream.bypass = True
    y = sound.feed(x[16000:])
    np.testing.assert_array_equal(y[3200:, 0], x[16000 + 3200 - 64 : -64, 0])
    assert stream.status.state == "bypass"


def test_keys_change_what_is_heard(start):
    stream, _ = start("bte-2x2")
    for key in ("down", "down", "left", "right", "right", "space"):
        assert not screen.obey(stream, key)
    assert (stream.strength, stream.look, stream.bypass) == (0.8, -10, True)
    for _ in range(9):
        screen.obey(stream, "down")
    assert stream.strength == 0
    assert screen.obey(stream, "q")


def test_the_look_goes_round(start):
    stream, _ = start("bte-2x2", look=170)
    screen.obey(stream, "left")
    assert stream.look == -180


# ---- figures ----


def test_screen_line_and_summary_tell_levels_latency_and_load(start, rng):
    stream, sound = start("bte-2x2")
    sound.feed(noise(rng, 2, 4, level=0.1))
    text = "\n".join(screen.screen(stream))
    for words in ("USB Array, bte-2x2, 16000 Hz, block 64", "4.0 window + 4.0 block", "-20.", "p50/p95/max", "xruns 0"):
        assert words in text
    assert "enhancing: in -20." in screen.line(stream) and "0 xruns, 0 faults" in screen.summary(stream)


def test_noise_reduction_is_measured_in_pauses(rng):
    n = 2500
    blocks = np.zeros(n, live.BLOCK)
    speech = np.arange(n) % 250 < 100
    blocks["dry"] = np.where(speech, 1e-2, 1e-5)
    blocks["clean"] = np.where(speech, 1e-2, 1e-7)
    blocks["out"], blocks["in_peak"], blocks["us"] = 1e-3, 0.5, np.linspace(0, 100, n)
    meters = measure(blocks, 0.004)
    assert meters.noise_reduction == pytest.approx(20, abs=0.5)
    assert (meters.snr_in, meters.snr_out) == pytest.approx((30, 50), abs=0.5)
    assert (meters.output, meters.input_peak) == pytest.approx((-30, -6.02), abs=0.01)
    assert (meters.us_p50, meters.us_p95, meters.us_max) == pytest.approx((50, 95, 100))
    assert meters.load == pytest.approx(0.0125)


def test_nothing_heard_is_nothing_measured():
    assert measure(np.zeros(0, live.BLOCK), 0.004).input is None
    meters = measure(np.zeros(100, live.BLOCK), 0.004)
    assert meters.input is meters.noise_reduction is None


def test_stats_are_lines_of_json(start, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "STATS_SECONDS", 0.05)
    path = tmp_path / "stats.jsonl"
    path.write_text('{"before": 1}\n')
    stream, sound = start("bte-2x2", stats=path)
    sound.feed(noise(rng, 1, 4))
    wait_for(lambda: path.read_text().count("\n") >= 3)
    stream.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0] == {"before": 1}
    assert lines[-1]["input"] == pytest.approx(-30.5, abs=0.5) and lines[-1]["state"] == "enhancing"
    names = "time device seconds xruns faults fault noise_reduction snr_in snr_out us_p95 load clipped dead_mics look"
    assert set(names.split()) <= lines[-1].keys()


def test_recordings_are_what_came_and_went(start, rng, tmp_path):
    stream, sound = start("bte-2x2", ears="both", record=tmp_path / "rec", channels=[2, 1, 3, 4])
    x = noise(rng, 1, 4)
    y = sound.feed(x)
    stream.stop()
    from edgeenhance.files import Reader

    for name, expected in (("input", x[:, [1, 0, 2, 3]]), ("output", y)):
        (path,) = (tmp_path / "rec").glob(f"*-{name}.wav")
        with Reader(path) as reader:
            np.testing.assert_array_equal(np.concatenate(list(reader)), expected)
    assert len(list((tmp_path / "rec").iterdir())) == 2 and stream.status.dropped == 0


def test_a_writer_that_is_late_loses_frames_and_says_so(start, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "RECORD_SECONDS", 40)  # also how seldom the writer comes: every second
    stream, sound = start(record=tmp_path)
    sound.feed(noise(rng, 80, 1, rate=16000))
    lost = stream.status.dropped
    assert lost > 0 and lost % 64 == 0


# ---- what is refused ----


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"channels": [1, 2, 3]}, "takes 4 different ones"),
        ({"channels": [1, 2, 3, 3]}, "takes 4 different ones"),
        ({"channels": [0, 1, 2, 3]}, "counted from 1"),
        ({"block": 0}, "multiple of 64"),
        ({"block": 6.5}, "multiple of 64"),
        ({"ceiling": 3}, "-60 to 0"),
        ({"agc": -3}, "below the ceiling"),
        ({"soft_start": -1}, "0 to 60 s"),
        ({"profile": "fast"}, "choose one of assist, comm"),
    ],
)
def test_wrong_settings_are_refused_with_the_cure(card, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        LiveEnhancer("bte-2x2", **settings)


def test_files_that_cannot_be_written_are_refused(card, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeEnhanceError, match="cannot record"):
        LiveEnhancer(record=tmp_path / "file").start()
    with pytest.raises(EdgeEnhanceError, match="cannot write"):
        LiveEnhancer(stats=tmp_path / "no" / "stats.jsonl").start()


# ---- devices ----


class PortAudioError(Exception):
    pass


@pytest.fixture
def portaudio(monkeypatch):
    """A sounddevice that knows five devices."""
    listed = [
        ("HDA Intel: ALC (hw:0,0)", 0, 2, 2, 48000, (44100, 48000)),
        ("seeed-4mic-voicecard: ac10x (hw:1,0)", 0, 4, 2, 16000, (16000, 48000)),
        ("USB Array: USB Audio (hw:2,0)", 0, 6, 0, 16000, (16000,)),
        ("rig", 1, 4, 1, 16000, (16000,)),
        ("rig two", 1, 4, 2, 16000, (16000,)),
    ]

    def check(device, channels, dtype, samplerate):
        if samplerate not in listed[device][5]:
            raise PortAudioError

    module = types.SimpleNamespace(
        PortAudioError=PortAudioError,
        query_hostapis=lambda: [{"name": "ALSA"}, {"name": devices.JACK}],
        query_devices=lambda: [
            {"index": i, "name": d[0], "hostapi": d[1], "max_input_channels": d[2], "max_output_channels": d[3],
             "default_samplerate": float(d[4])}
            for i, d in enumerate(listed)
        ],
        check_input_settings=check,
        check_output_settings=check,
        default=types.SimpleNamespace(device=[0, 0]),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    monkeypatch.setattr(devices, "_period", lambda card: 256)
    return module


@pytest.mark.parametrize(
    "name, index", [("seeed", 1), ("SEEED voice", 1), (1, 1), ("1", 1), (None, 0), ("alc alsa", 0), ("rig", 3)]
)
def test_a_device_is_found_by_part_of_its_name(portaudio, name, index):
    assert devices.find(name, "input").index == index


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("hw", "input", ("could be several", "0 HDA Intel", "1 seeed", "2 USB Array")),
        ("nothing", "input", ("no device matches 'nothing' as input", "3 rig (JACK")),
        ("USB Array", "output", ("no device matches", "outputs)")),
        ("9", "input", ("no device matches '9'",)),
    ],
)  # fmt: skip
def test_a_name_that_fits_none_or_several_lists_the_devices(portaudio, name, kind, words):
    with pytest.raises(EdgeEnhanceError) as error:
        devices.find(name, kind)
    assert all(word in str(error.value) for word in words)


def test_the_first_rate_that_the_card_takes_is_used(portaudio):
    assert devices.choose("seeed", None, [1, 2, 3, 4], 1) == Card(*[devices.find(1, "input")] * 2, 16000, 4, 2)
    assert devices.choose("alc", None, [1], 2).rate == 48000
    assert devices.choose("seeed", None, [1], 1, rate=48000).rate == 48000
    assert devices.choose("rig", None, [1], 1).period == 256


@pytest.mark.parametrize(
    "args, sentence",
    [
        (("seeed", "alc", [1], 1), "two devices, whose clocks drift apart; use one device for both"),
        (("usb array", None, [1], 1), "two devices"),
        (("seeed", None, [5], 1), "channel 5 is asked for; 'seeed.* offers 4 inputs and 2 outputs at 16000, 48000 Hz"),
        (("rig", None, [1], 2), "two ears need two outputs"),
        (("alc", None, [1], 1, 16000), "does not run at 16000 Hz; it offers 2 inputs and 2 outputs at 44100, 48000 Hz"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_do_it_says_what_it_offers(portaudio, args, sentence):
    with pytest.raises(EdgeEnhanceError, match=sentence):
        devices.choose(*args)


def test_two_jack_clients_have_one_clock(portaudio):
    card = devices.choose("rig", "rig two", [1, 2], 2)
    assert (card.input.name, card.output.name) == ("rig", "rig two")


def test_what_the_driver_adds():
    usb = Card(CARD, CARD, 16000, 4, 2)
    assert usb.driver_ms((0.004, 0.008), 64) == pytest.approx(12)
    jack = Card(CARD, CARD, 16000, 4, 2, period=64)
    below_zero = (2**32 - 64) / 16000
    assert jack.driver_ms((below_zero, below_zero), 64) == 0  # JACK clients without latency: the block is all
    assert jack.driver_ms((0.0, 0.004), 64) == pytest.approx(8)  # a card with three periods in all


def test_without_sounddevice_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["live", "--list"]) == 2
    assert "pip install 'edgeenhance[live]'" in capsys.readouterr().err


def test_live_lists_the_devices(portaudio, capsys):
    assert cli.main(["live", "--list"]) == 0
    assert "seeed-4mic-voicecard" in capsys.readouterr().out


@pytest.mark.parametrize("text, channels", [("1-4", [1, 2, 3, 4]), ("1,3,2", [1, 3, 2]), ("1-2,5-6", [1, 2, 5, 6])])
def test_channels_are_ranges(text, channels):
    assert cli._channels(text) == channels


@pytest.mark.parametrize("text", ["", "a", "1-", "-2", "1;2"])
def test_channels_that_are_none_are_refused(capsys, text):
    with pytest.raises(SystemExit):
        cli.main(["live", f"--channels={text}"])
    assert "1-4 or 1,3,2,4" in capsys.readouterr().err


def test_the_command_runs_prints_lines_and_sums_up(card, capsys, monkeypatch):
    monkeypatch.setattr(screen, "LINE_SECONDS", 0.05)
    assert cli.main(["live", "--in", "x", "--model", "none", "--seconds", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "limiter -6 dBFS" in out and "4.0 window + 4.0 block" in out
    assert out.count("enhancing: in") >= 2 and "0 xruns, 0 faults, 0 reconnects" in out


def test_a_classical_model_runs_live_with_the_beginning_as_its_noise(card, capsys):
    words = ["live", "--in", "x", "--model", "wiener", "--noise"]
    assert cli.main([*words, "0.1", "--seconds", "0.2"]) == 0
    assert "model='wiener'" in capsys.readouterr().out
    assert cli.main([*words, "noise.wav", "--seconds", "0.2"]) == 2
    assert "first-seconds or a number of seconds" in capsys.readouterr().err


def test_ctrl_c_ends_it_cleanly(card, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(screen, "line", interrupt)
    monkeypatch.setattr(screen, "LINE_SECONDS", 0.01)
    assert cli.main(["live", "--in", "x", "--model", "none"]) == 0
    assert "0 xruns, 0 faults, 0 reconnects" in capsys.readouterr().out
