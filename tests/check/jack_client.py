"""Microphones and ears for a sound card that is not there: a JACK client that plays one array and records another.

usage: python jack_client.py NAME EARS PLAY.npy RECORD.npy   PLAY (n, mics), RECORD (n, ears) float32

Its output ports are the microphones, its input ports the ears. Prints "ready", and then obeys lines on standard input:
"play N freewheel" plays the array N times, as fast as the machine goes, "play N realtime" at the speed of sound; each
answers "done" once RECORD, all that was heard, is written. Ears hear a JACK period late: the card's output follows its
input.
"""

import sys
import threading

import jack
import numpy as np


class Ears:
    def __init__(self, name: str, ears: int, x: np.ndarray) -> None:
        self.x, self.at, self.end = x, 0, 0
        self.y = np.zeros((0, ears), np.float32)
        self.done = threading.Event()
        self.client = jack.Client(name, no_start_server=True)
        self.client.set_process_callback(self.process)
        self.microphones = [self.client.outports.register(f"mic_{m + 1}") for m in range(x.shape[1])]
        self.ears = [self.client.inports.register(f"ear_{e + 1}") for e in range(ears)]
        self.client.activate()

    def process(self, frames: int) -> None:
        playing = self.at < self.end
        at = self.at % len(self.x)
        for port, samples in zip(self.microphones, self.x.T):
            port.get_array()[:] = samples[at : at + frames] if playing else 0
        if not playing:
            return
        for port, samples in zip(self.ears, self.y.T):
            samples[self.at : self.at + frames] = port.get_array()
        self.at += frames
        if self.at >= self.end:
            self.done.set()

    def play(self, times: int, freewheel: bool) -> None:
        self.done.clear()
        if freewheel:
            self.client.set_freewheel(True)
        self.y = np.zeros((times * len(self.x), self.y.shape[1]), np.float32)
        self.at, self.end = 0, len(self.y)
        self.done.wait()
        if freewheel:
            self.client.set_freewheel(False)


def main() -> None:
    name, ears, play, record = sys.argv[1:]
    rig = Ears(name, int(ears), np.load(play))
    print("ready", flush=True)
    for line in sys.stdin:
        _, times, how = line.split()
        rig.play(int(times), how == "freewheel")
        np.save(record, rig.y)
        print("done", flush=True)


if __name__ == "__main__":
    main()
