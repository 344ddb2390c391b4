"""Every command of the tutorial runs, in its order, but those that need a sound card. Run by `make check`.

tutorial.py FOLDER is emptied and worked in.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ("first-enhancement", "own-array", "own-scene", "own-model")
WRITTEN = ("clean.wav", "bar-4.png", "meeting.wav", "tiny.tflite", "evening.wav")


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("examples", "simulation", "models"):
        (folder / name).symlink_to(ROOT / name)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["OMP_NUM_THREADS"] = "1"
    for page in PAGES:
        for command in re.findall(r"^    (edgeenhance .*)$", (ROOT / f"docs/tutorial/{page}.md").read_text(), re.M):
            print(command, flush=True)
            subprocess.run(command, shell=True, check=True, cwd=folder)
    for name in WRITTEN:
        assert (folder / name).stat().st_size > 1000, f"NOT OK: {name} is missing"
    print("OK")


if __name__ == "__main__":
    main()
