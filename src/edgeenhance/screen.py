"""The terminal around a live stream: a few lines that are drawn anew, and keys. Lines one after the other elsewhere."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from .live import LiveEnhancer
from .meters import Meters

REDRAW_SECONDS = 0.25
LINE_SECONDS = 5.0  # between the lines where there is no terminal
BAR_DB = 60  # range of a level's bar, down from full scale
BAR = 30  # characters
KEYS = "space compare   up/down strength   left/right look   q quit"
ESCAPES = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left", " ": "space", "q": "q"}


def show(live: LiveEnhancer, seconds: float | None = None, out: TextIO | None = None) -> None:
    """Show what a started stream does, and obey keys, until q, Ctrl-C or so many seconds. out : standard output"""
    out = out or sys.stdout
    end = time.monotonic() + seconds if seconds else float("inf")
    if out.isatty() and sys.stdin.isatty():
        _draw(live, end, out)
    else:
        _print_lines(live, end, out)


def _draw(live: LiveEnhancer, end: float, out: TextIO) -> None:
    with _keys() as keys:
        lines: list[str] = []
        while time.monotonic() < end:
            up = f"\x1b[{len(lines)}A" if lines else ""
            lines = screen(live)
            out.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines))
            out.flush()
            if any(obey(live, key) for key in keys(REDRAW_SECONDS)):
                return


def _print_lines(live: LiveEnhancer, end: float, out: TextIO) -> None:
    print(f"latency {live.latency}", file=out, flush=True)
    while time.monotonic() < end:
        live.wait(min(LINE_SECONDS, end - time.monotonic()))
        print(line(live), file=out, flush=True)


def screen(live: LiveEnhancer) -> list[str]:
    """The lines of the screen."""
    meters, status = live.meters, live.status
    compare = "compare: the microphone" if live.bypass else "enhanced"
    return [
        f"{live.card.input.name}, {live.array.name}, {live.card.rate} Hz, block {live.block}",
        f"latency  {live.latency}",
        f"in       {_bar(meters.input)}",
        f"out      {_bar(meters.output)}   {compare}",
        f"noise    {_signed(meters.noise_reduction)} dB less   SNR {_signed(meters.snr_in)} -> "
        f"{_signed(meters.snr_out)} dB",
        f"strength {live.strength:.1f}   look {live.look:+.0f}°",
        f"block    {_microseconds(meters)} µs (p50/p95/max)   load {100 * meters.load:.1f} %",
        _health(live),
        f"{_clock(status.seconds)}  {KEYS}",
    ]


def line(live: LiveEnhancer) -> str:
    """The same as one line."""
    meters, status = live.meters, live.status
    return (
        f"{_clock(status.seconds)} {status.state}: in {_signed(meters.input)} dBFS, out {_signed(meters.output)} dBFS, "
        f"noise {_signed(meters.noise_reduction)} dB less, {_microseconds(meters)} µs, load {100 * meters.load:.1f} %, "
        f"xruns {status.xruns}, faults {status.faults}"
    )


def summary(live: LiveEnhancer) -> str:
    """What to say at the end; before `stop`."""
    meters, status = live.meters, live.status
    return (
        f"{_clock(status.seconds)} on {live.card.input.name!r}: {status.xruns} xruns, {status.faults} faults, "
        f"{status.reconnects} reconnects, {status.bad_frames} bad frames, "
        f"{status.dropped} frames missing in recordings; "
        f"{_microseconds(meters)} µs per block (p50/p95/max), load {100 * meters.load:.1f} %, "
        f"noise {_signed(meters.noise_reduction)} dB less"
    )


def obey(live: LiveEnhancer, key: str) -> bool:
    """Do what a key says; True: end."""
    if key == "space":
        live.bypass = not live.bypass
    elif key in ("up", "down"):
        live.strength = round(min(1.0, max(0.0, live.strength + (0.1 if key == "up" else -0.1))), 1)
    elif key in ("left", "right"):
        live.look = (live.look + (10 if key == "left" else -10) + 180) % 360 - 180
    return key == "q"


@contextmanager
def _keys() -> Iterator:
    """Yield a function that waits so many seconds for keys, and returns their names."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def pressed(seconds: float) -> list[str]:
        if not select.select([terminal], [], [], seconds)[0]:
            return []
        typed = os.read(terminal, 64).decode(errors="ignore")
        return [name for code, name in ESCAPES.items() for _ in range(typed.count(code))]

    try:
        tty.setcbreak(terminal)
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _health(live: LiveEnhancer) -> str:
    status = live.status
    parts = [status.state, f"xruns {status.xruns}", f"faults {status.faults}", f"reconnects {status.reconnects}"]
    if status.fault:
        parts.append(f"last fault: {status.fault}")
    if status.dead_mics:
        parts.append("silent microphones: " + ", ".join(str(mic) for mic in status.dead_mics))
    if status.dropped:
        parts.append(f"recording misses {status.dropped} frames")
    return "state    " + "   ".join(parts)


def _bar(level: float | None) -> str:
    filled = 0 if level is None else round(BAR * max(0.0, 1 + level / BAR_DB))
    return f"{'#' * filled:.<{BAR}} {_signed(level)} dBFS"


def _signed(value: float | None) -> str:
    return "   - " if value is None else f"{value:5.1f}"


def _microseconds(meters: Meters) -> str:
    return f"{meters.us_p50:.0f}/{meters.us_p95:.0f}/{meters.us_max:.0f}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
