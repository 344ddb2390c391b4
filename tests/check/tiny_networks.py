"""Every textbook network, small, on synthesized talkers: it learns, those that are causal become ONNX files, those that
the device runs become model files. Prints what `edgeenhance evaluate` may score.   tiny_networks.py FOLDER

FOLDER : holds data/ and bank/, as tests/check/tiny_networks.sh makes them
"""

import sys
import time
from pathlib import Path

import tomli_w

from edgeenhance._toml import load_toml
from edgeenhance.models.networks import FAMILIES, load
from edgeenhance.models.onnx_export import run_onnx
from edgeenhance.models.quantize import run_quantize
from edgeenhance.models.recipe import load_recipe_table
from edgeenhance.models.train import train

SIZES = {
    "dnn_0": {"width": 128},
    "dnn_1": {"bands": 32},
    "cnn_0": {"bands": 24, "filters": [10, 6]},
    "cnn_1": {"bands": 32},
    "unet_mel": {"channels": [8, 12, 16]},
    "unet_irm": {"channels": [6, 8, 12]},
    "unet_causal": {"channels": [8, 12, 16, 16]},
    "blstm_mask": {"hidden": 48},
    "lstm_mask": {"bands": 32, "hidden": 32},
    "crnn": {"channels": [8, 8, 12, 12], "hidden": 48},
    "conv_tasnet": {"filters": 64, "width": 24, "hidden": 48, "skip": 24, "blocks": 4, "repeats": 1},
    "conv_tasnet_causal": {"filters": 64, "width": 24, "hidden": 48, "skip": 24, "blocks": 4, "repeats": 1},
    "attention_mask": {"bands": 32, "width": 32, "layers": 2, "past": 20},
}
FALL = 0.9  # of the validation loss, from the first validation (after 4 of 40 steps) to the lowest
FALL_DB = 6.0  # where it is SI-SNR


def main(folder: Path) -> None:
    assert SIZES.keys() == FAMILIES.keys()
    data = {"data_dir": folder / "data", "bank_dir": folder / "bank", "cache": folder / "cache"}
    failed, systems = [], ["noisy", "wiener", "none+log-mmse"]
    for name in SIZES:
        begin, records = time.monotonic(), []
        recipe, checkpoint = small_recipe(name, folder), folder / name / "best.pt"
        train(recipe, **data, valid_bank=folder / "bank", out=folder / name, workers=0, report=records.append)
        losses = [record["loss"] for record in records if record["event"] == "valid"]
        enough = min(losses) < (losses[0] - FALL_DB if "tasnet" in name else FALL * losses[0])
        failed += [] if enough else [name]
        seconds = time.monotonic() - begin
        print(f"{name:20s} validation loss {losses[0]:8.4f} to {min(losses):8.4f}, {seconds:.0f} s", file=sys.stderr)
        systems.append(checkpoint)
        if load(checkpoint).causal:
            systems.append(folder / f"{name}.onnx")
            run_onnx(checkpoint, systems[-1])
        if name in ("dnn_1", "lstm_mask"):
            run_quantize(checkpoint, folder / f"{name}.tflite", **data)
            systems.append(f"none+{folder / name}.tflite")
    if failed:
        sys.exit(f"NOT OK, did not learn: {', '.join(failed)}")
    print(",".join(map(str, systems)))


def small_recipe(name: str, folder: Path) -> Path:
    """The family's recipe with small sizes, few steps and synthesized data."""
    tiny, table = load_toml("models/recipes/tiny.toml"), load_recipe_table(f"models/recipes/networks/{name}.toml")
    table |= {"speech": tiny["speech"], "noise": tiny["noise"]}
    table["network"] |= SIZES[name]
    table["training"] |= {"steps": 40, "batch": 4, "warmup": 5, "ema": 0.5, "learning_rate": 5e-3}
    table["mixing"] |= {"seconds": 1.0}
    table["validation"] = {"items": 2, "seconds": 2.0, "every_steps": 4, "held_out": 0.25}
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(table))
    return path


main(Path(sys.argv[1]))
