"""The examples in C against `enhance`: the same recording, the same samples. Run by `make check`.

c_library.py FOLDER               writes FOLDER/setup
c_library.py FOLDER PROGRAM...    runs programs built of examples/c/enhance_wav with that setup
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

from edgeenhance import Enhancer, MicArray, enhance
from edgeenhance.export import write_setup
from edgeenhance.simulation.synth import noise, speech

SETTINGS = {"ears": "both", "look": 20.0, "cues": 0.2}


def recording(array: MicArray) -> np.ndarray:
    """A talker at 20 degrees in noise that differs between microphones : (n, mics) float32."""
    voice = speech(4.0, 1, espeak=False)
    paths = array.steering(20.0, np.fft.rfftfreq(len(voice), 1 / 16000))
    mixture = np.fft.irfft(np.fft.rfft(voice)[:, None] * paths, len(voice), axis=0)
    for mic in range(array.mics):
        mixture[:, mic] += 0.5 * noise("pink", 4.0, 10 + mic)
    return mixture.astype(np.float32)


def compare(program: str, folder: Path, kind: str, subtype: str, x: np.ndarray, array: MicArray) -> None:
    source, target = folder / "in.wav", folder / "out.wav"
    soundfile.write(source, x, 16000, subtype=subtype, format=kind)
    subprocess.run([program, source, target], check=True)
    heard, _ = soundfile.read(source, dtype="float32")
    expected = enhance(heard, 16000, array, **SETTINGS)
    got, rate = soundfile.read(target, dtype="float32")
    assert (rate, got.shape, soundfile.info(target).subtype) == (16000, expected.shape, subtype)
    assert np.abs(expected - heard[:, [0, 2]]).max() > 0.01  # something was done
    error = float(np.abs(got - expected).max())
    bound = 0.0 if subtype == "FLOAT" else 0.5 / 32768  # half a step
    print(f"{program}: {kind} {subtype}: largest difference {error:.3g}, allowed {bound:.3g}")
    assert error <= bound


def main() -> None:
    folder, programs = Path(sys.argv[1]), sys.argv[2:]
    array = MicArray.load("bte-2x2")
    if not programs:
        write_setup(Enhancer(array, **SETTINGS), folder / "setup", [20.0, -60.0])
    for program in programs:
        x = recording(array)
        for kind, subtype in (("WAV", "FLOAT"), ("WAV", "PCM_16"), ("WAVEX", "FLOAT")):
            compare(program, folder, kind, subtype, x, array)


if __name__ == "__main__":
    main()
