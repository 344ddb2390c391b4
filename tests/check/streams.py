"""Every command and program of docs/streams.md runs, on ALSA devices that are files. Run by `make check`.

The microphones are one second of sound; what reaches the ear is what the same recording gives.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edgeenhance import enhance

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/streams.md").read_text()
COMMANDS = re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", PAGE, flags=re.S), re.M)
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
ALSA = """
pcm.mics {{ type file; slave.pcm null; file /dev/null; infile "{0}/mics.raw"; format raw }}
pcm.ear {{ type file; slave.pcm null; file "{0}/ear.raw"; format raw }}
"""
# These devices never end, and do not wait for time to pass: recorders are stopped after a second of sound.
RECORDERS = {
    "arecord": 'exec {} -d 1 "$@"',
    "gst-launch-1.0": 'for word; do set -- "$@" "$1"; [ "$1" != alsasrc ] || set -- "$@" num-buffers=100; shift; done\n'
    'exec {} "$@"',
}


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "alsa.conf").write_text(ALSA.format(folder))
    for name, script in RECORDERS.items():
        path = folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script.format(shutil.which(name))}\n")
        path.chmod(0o755)
    os.environ["PATH"] = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["ALSA_CONFIG_PATH"] = f"/usr/share/alsa/alsa.conf:{folder}/alsa.conf"
    os.chdir(folder)
    x = sound()
    x.tofile("mics.raw")
    shell("ffmpeg -y -v error -f f32le -ar 16000 -ac 4 -i mics.raw -ar 48000 -c:v none -c:a alac -f mp4 meeting.mp4")
    for command in COMMANDS:
        check_command(command, enhance(x, 16000, "bte-2x2"))
    check_programs(x)
    print("OK")


def sound() -> np.ndarray:
    """Bursts at all microphones, and noise of their own : (16000, 4) float32."""
    rng = np.random.default_rng(0)
    common = 0.1 * rng.standard_normal(16000) * (np.sin(np.arange(16000) / 800) > 0)
    return (common[:, None] + 0.005 * rng.standard_normal((16000, 4))).astype("<f4")


def shell(command: str) -> None:
    subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], check=True, timeout=60, stdin=subprocess.DEVNULL)


def check_command(command: str, expected: np.ndarray) -> None:
    print(command, flush=True)
    for name in ("ear.raw", "clean.flac"):
        Path(name).unlink(missing_ok=True)
    shell(command)
    if "meeting.mp4" in command:
        shell("ffmpeg -v error -i clean.flac -f f32le -ar 16000 ear.raw")
    y = np.fromfile("ear.raw", "<f4")[: len(expected)]  # players go on with whatever is in their buffers
    assert len(y) >= 15000 and np.isfinite(y).all() and np.std(y) > 1e-3, f"NOT OK: {len(y)} samples"
    if command == COMMANDS[0]:
        np.testing.assert_array_equal(y, expected)


def check_programs(x: np.ndarray) -> None:
    """The loop and the server give the stream, delayed."""
    for number, text in enumerate(PROGRAMS):
        Path(f"program{number}.py").write_text(text)
    loop = subprocess.run([sys.executable, "program0.py"], input=x.tobytes(), capture_output=True, check=True)
    server = subprocess.Popen([sys.executable, "program1.py"])
    try:
        served = talk(x.tobytes())
    finally:
        server.terminate()
        server.wait()
    expected = enhance(x, 16000, "bte-2x2")
    for data in (loop.stdout, served):
        y = np.frombuffer(data, "<f4")
        assert len(y) == len(x)
        np.testing.assert_array_equal(y[128:], expected[:-128])


def talk(data: bytes) -> bytes:
    with connection() as talker:
        talker.sendall(data)
        talker.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: talker.recv(1 << 16), b""))


def connection() -> socket.socket:
    for _ in range(100):
        try:
            return socket.create_connection(("127.0.0.1", 4816), timeout=60)
        except ConnectionRefusedError:
            time.sleep(0.1)
    raise SystemExit("NOT OK: the server of docs/streams.md does not answer")


if __name__ == "__main__":
    main()
