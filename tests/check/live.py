"""`edgeenhance live` end to end, on a sound card that is not there: JACK's dummy driver and jack_client.py.

usage: python tests/check/live.py [PART ...]   all parts without; prints figures, and raises where one is missed

Freewheeling JACK runs as fast as the machine goes and loses nothing: what is asserted there is exact. Parts in real
time only report where a busy machine could miss them.
"""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVER = f"edgeenhance-{os.getpid()}"
os.environ.update(JACK_DEFAULT_SERVER=SERVER, JACK_NO_START_SERVER="1", JACK_NO_AUDIO_RESERVATION="1")

import numpy as np  # noqa: E402
import sounddevice  # noqa: E402

import edgeenhance.live  # noqa: E402
from edgeenhance import Enhancer, LiveEnhancer, MicArray  # noqa: E402
from edgeenhance.files import Reader  # noqa: E402

MINUTE = 60


class Rig:
    """A JACK server, and the client whose ports are microphones and ears. A context manager.

    priority : of real time for the audio threads, where this user may have that
    """

    def __init__(
        self, x: np.ndarray, rate: int = 16000, period: int = 64, ears: int = 1, priority: int | None = None
    ) -> None:
        self.rate, self.period, self.ears = rate, period, ears
        self.scheduling = ["--realtime", "-P", str(priority)] if priority and may_run(priority) else ["--no-realtime"]
        self._folder = tempfile.TemporaryDirectory()
        self._play, self._record = (Path(self._folder.name) / f"{name}.npy" for name in ("play", "record"))
        np.save(self._play, whole(x, period))

    def __enter__(self) -> "Rig":
        self.start()
        sounddevice._terminate()
        sounddevice._initialize()
        return self

    def start(self) -> None:
        driver = ["dummy", "-r", self.rate, "-p", self.period, "-C", 0, "-P", 0]
        command = ["jackd", *self.scheduling, "-n", SERVER, "-d", *map(str, driver)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        command = [sys.executable, HERE / "jack_client.py", "rig", str(self.ears), self._play, self._record]
        for _ in range(20):  # until the server is there
            self._client = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            if self._client.stdout.readline():
                return
            time.sleep(0.2)
        raise RuntimeError(f"no JACK: {self._client.stderr.read()}")

    def play(self, how: str = "freewheel", times: int = 1) -> np.ndarray:
        """Play the microphones' signal : what the ears heard the last time, (n, ears)."""
        self.begin(how, times)
        return self.end()

    def begin(self, how: str, times: int = 1) -> None:
        print("play", times, how, file=self._client.stdin, flush=True)

    def end(self) -> np.ndarray:
        assert self._client.stdout.readline() == "done\n", "the JACK client died"
        return np.load(self._record)

    def kill(self) -> None:
        for process in (self._server, self._client):
            process.kill()
            process.wait()

    def __exit__(self, *_: object) -> None:
        sounddevice._terminate()  # before the server goes: PortAudio aborts where it finds it gone
        for process in (self._client, self._server):  # politely: JACK counts servers that were killed as running
            process.terminate()
            process.wait()
        sounddevice._initialize()
        self._folder.cleanup()


def may_run(priority: int) -> bool:
    return subprocess.run(["chrt", "-f", str(priority), "true"], capture_output=True).returncode == 0


def whole(x: np.ndarray, period: int) -> np.ndarray:
    return np.concatenate([x, np.zeros((-len(x) % period, x.shape[1]), np.float32)])


def scene(mics: int, seconds: float, rate: int = 16000) -> np.ndarray:
    """Syllables and noise in all microphones : (n, mics) float32."""
    rng, n = np.random.default_rng(mics), int(seconds * rate)
    talker = rng.standard_normal(n) * (np.sin(2 * np.pi * 3 * np.arange(n) / rate) > 0)
    return (0.03 * talker[:, None] + 0.01 * rng.standard_normal((n, mics))).astype(np.float32)


def file_of(folder: Path, name: str) -> np.ndarray:
    (path,) = folder.glob(f"*-{name}.wav")
    with Reader(path) as reader:
        return np.concatenate(list(reader))


# ---- parts ----


def latency() -> None:
    """An impulse through the card comes out when `latency` says."""
    for rate, period, block in ((16000, 64, None), (16000, 256, 64), (48000, 192, None), (44100, 128, None)):
        x, at = np.zeros((rate // 2, 1), np.float32), 20 * period + 7
        x[at] = 0.25
        with Rig(x, rate, period) as rig:
            with LiveEnhancer(input="rig", block=block, model="none", soft_start=0) as live:
                heard = rig.play()
                stated = live.latency
        measured = int(np.argmax(np.abs(heard[:, 0]))) - at
        print(
            f"{rate} Hz, block {live.block}, JACK period {period}: {stated}; measured {1000 * measured / rate:.3f} ms"
        )
        assert measured == round(stated.total * rate / 1000)


def offline() -> None:
    """What the ears hear equals the enhancer on the recorded microphones, sample for sample."""
    edgeenhance.live.RECORD_SECONDS = 2 * MINUTE  # freewheeling outruns the writer
    for name, rate, period, ears in (
        ("mono", 16000, 64, "left"), ("bte-1x2", 16000, 64, "left"), ("bte-2x2", 16000, 64, "both"),
        ("glasses-6", 16000, 64, "left"), ("bte-2x2", 48000, 192, "both"), ("bte-1x2", 44100, 128, "left"),
    ):  # fmt: skip
        array = MicArray.load(name)
        x = scene(array.mics, MINUTE if rate == 16000 else 10, rate)
        with tempfile.TemporaryDirectory() as folder, Rig(x, rate, period, 2 if ears == "both" else 1) as rig:
            with LiveEnhancer(array, input="rig", ears=ears, soft_start=0, ceiling=0, record=folder) as live:
                start = time.monotonic()
                heard = rig.play()
                took = time.monotonic() - start
            status = live.status
            microphones, recorded = file_of(Path(folder), "input"), file_of(Path(folder), "output")
        aligned = live.enhancer.block
        expected = Enhancer(array, ears=ears, sample_rate=rate, block=aligned).process(microphones)
        np.testing.assert_array_equal(recorded, expected.reshape(len(expected), -1))
        at = find(microphones, x)
        late = period  # the ears' clock: a JACK period behind the microphones'
        np.testing.assert_array_equal(heard[late:], recorded[at : at + len(heard) - late])
        assert status.faults == status.dropped == 0, status
        print(f"{name}, {ears}, {rate} Hz: {len(x) / rate:.0f} s equal, bit for bit; freewheel took {took:.1f} s")


def find(microphones: np.ndarray, x: np.ndarray) -> int:
    """Where in the recording the played signal begins."""
    start = int(np.flatnonzero(microphones.any(axis=1))[0]) - int(np.flatnonzero(x.any(axis=1))[0])
    np.testing.assert_array_equal(microphones[start : start + len(x)], x)
    return start


def realtime() -> None:
    """A minute at block 256. Reported only: a machine that is busy with other work loses samples."""
    x = scene(4, MINUTE)
    with tempfile.TemporaryDirectory() as folder, Rig(x, period=256, priority=70) as rig:
        with LiveEnhancer("bte-2x2", input="rig", record=folder) as live:
            heard = rig.play("realtime")
            meters, status = live.meters, live.status
        played, heard = periods(x), periods(heard)
        through = dict(zip(periods(file_of(Path(folder), "input")), periods(file_of(Path(folder), "output"))))
    lost = sum(block not in through for block in played)
    lost += sum(through[block] not in heard for block in played[:-1] if block in through)
    print(
        f"{MINUTE} s, block 256, {rig.scheduling[0][2:]}: {256 * lost} lost samples, {status.xruns} xruns; "
        f"{meters.us_p50:.0f}/{meters.us_p95:.0f}/{meters.us_max:.0f} µs (p50/p95/max), "
        f"p95 {100 * meters.us_p95 / 16000:.1f} % of the block"
    )


def periods(x: np.ndarray) -> list[bytes]:
    """Blocks of 256 frames, to be compared."""
    return [block.tobytes() for block in np.split(x, len(x) // 256)]


def vanishing() -> None:
    """The server is killed and comes back, twice: so does the sound."""
    with Rig(scene(1, 2), period=256) as rig:
        with LiveEnhancer(input="rig", soft_start=0, strength=0.0, model="none") as live:
            for times in (1, 2):
                rig.kill()
                wait_for(lambda: live.status.state == "no device", 5)
                rig.start()
                start = time.monotonic()
                wait_for(lambda: live.status.state == "enhancing", 20)
                back = time.monotonic() - start
                level = np.sqrt(np.mean(rig.play("realtime") ** 2))
                print(f"JACK server killed: sound is back {back:.1f} s after the device, level {level:.4f}")
                assert level > 0.01 and live.status.reconnects == times


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def clicks() -> None:
    """A tone keeps its slope through 100 toggles of bypass and turns of the look."""
    tone = MicArray.load("bte-2x2").steering(0, np.array([440.0]))[0]
    x = np.real(0.25 * np.exp(2j * np.pi * 440 * np.arange(MINUTE * 16000) / 16000)[:, None] * tone).astype(np.float32)
    settings = {"model": "none", "beamformer": "superdirective", "soft_start": 0}
    with Rig(x, period=256) as rig, LiveEnhancer("bte-2x2", input="rig", **settings) as live:
        rig.begin("freewheel", times=20)
        done = []
        for change in range(100):
            live.bypass = change % 2 == 0
            live.look = (-40, 0, 40, 10)[change % 4]
            time.sleep(0.005)
            done.append(live._callback.status.blocks)
        heard = rig.end()[4096:, 0]
        assert live.status.faults == 0 and done[-1] < live._callback.status.blocks
    step, slope = np.abs(np.diff(heard)).max(), 2 * np.pi * 440 / 16000 * np.abs(heard).max()
    print(
        f"100 bypass toggles and look changes, the last {done[-1] * 0.016:.0f} s into the sound: "
        f"largest step {step:.4f}, the tone's own slope {slope:.4f}"
    )
    assert step <= 1.01 * slope


def memory() -> None:
    """Half an hour of sound: memory stays."""
    with Rig(scene(4, 10 * MINUTE), period=256) as rig, LiveEnhancer("bte-2x2", input="rig") as live:
        used = []
        for _ in range(3):
            rig.play()
            live.stats()
            used.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    print("resident after 10, 20, 30 min of sound: " + ", ".join(f"{mb:.1f} MB" for mb in used))
    assert used[2] - used[0] < 1


def starting() -> None:
    """From the command to the first sound, and a clean end."""
    command = [sys.executable, "-m", "edgeenhance", "live", "--in", "rig", "--array", "bte-2x2", "--soft-start", "0"]
    with Rig(scene(4, 6), period=256) as rig:
        rig.begin("realtime")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        heard = rig.end()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[0]
    first = int(np.flatnonzero(heard)[0]) / 16000
    print(f"first sound {first:.2f} s after the command was given")
    print(said.strip())
    assert process.returncode == 0 and "xruns" in said


def terminal() -> None:
    """The screen on a terminal, with keys; what it shows in the end, and what the log says."""
    keys = {2: " ", 4: " ", 5: "\x1b[B", 6: "\x1b[D", 18: "q"}  # compare twice, strength down, look left
    with tempfile.TemporaryDirectory() as folder, Rig(restaurant(), period=64, priority=70) as rig:
        log = Path(folder) / "stats.jsonl"
        rig.begin("realtime", times=3)
        shown = typed(["--in", "rig", "--array", "bte-2x2", "--block", "64", "--stats", str(log)], keys)
        rig.end()
        print(last_screen(shown) + log.read_text().splitlines()[-1])
    assert "compare: the microphone" in shown and "strength 0.9   look +10°" in shown


def restaurant() -> np.ndarray:
    """Eight seconds of the example scene : (n, 4) float32."""
    from edgeenhance.simulation.simulate import run_simulate

    with tempfile.TemporaryDirectory() as folder:
        run_simulate(HERE.parents[1] / "simulation/scenes/restaurant.toml", folder, seed=1)
        with Reader(Path(folder) / "scene_00000/mix.wav") as reader:
            return np.concatenate(list(reader))


def typed(options: list[str], keys: dict[float, str]) -> str:
    """What `edgeenhance live` shows on a terminal where these keys are pressed after so many seconds."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "edgeenhance", "live", *options], stdin=theirs, stdout=theirs)
    shown, begun = b"", time.monotonic()
    while process.poll() is None:
        assert time.monotonic() - begun < 60, shown
        if select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 65536)
        for at in [at for at in keys if time.monotonic() - begun > at]:
            os.write(ours, keys.pop(at).encode())
    assert process.returncode == 0
    while select.select([ours], [], [], 0)[0]:  # what it said at last
        shown += os.read(ours, 65536)
    os.close(theirs)
    os.close(ours)
    return shown.decode()


def last_screen(shown: str) -> str:
    """What is left on the terminal: the lines drawn last, and what came after them."""
    first, *drawn = re.split(r"\x1b\[\d+A", shown)
    head = first.split("\r\x1b[K")[0]
    return (head + re.sub(r"\r?\x1b\[K|\r", "", drawn[-1])).replace("\r", "")


PARTS = (latency, offline, realtime, vanishing, clicks, memory, starting, terminal)


def main() -> None:
    named = {part.__name__: part for part in PARTS}
    for part in [named[name] for name in sys.argv[1:]] or PARTS:
        print(f"-- {part.__doc__}", flush=True)
        start = time.monotonic()
        part()
        print(f"({time.monotonic() - start:.0f} s)")
    print("OK")


if __name__ == "__main__":
    main()
