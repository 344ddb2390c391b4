#!/usr/bin/env bash
# The tutorial's way to a model: synthesize data, simulate rooms, train, interrupt with Ctrl-C and resume to the same
# curve, quantize, verify, enhance. Run by `make check`.   tiny_training.sh FOLDER
set -euo pipefail
export OMP_NUM_THREADS=1
ee=.venv/bin/edgeenhance; out=$1
rm -rf "$out"; mkdir -p "$out"
$ee data synthesize "$out/data"
$ee simulate simulation/suites/train.toml -o "$out/bank" --bank 12 --seed 1 --workers 2
train="$ee train models/recipes/tiny.toml --data $out/data --bank $out/bank --valid-bank $out/bank --cache $out/cache"
$train -o "$out/whole"

$train -o "$out/parts" & run=$! # the process itself, so that it is it who hears the signal
until grep -q '"step": 20, ' "$out/parts/log.jsonl" 2>/dev/null; do sleep 0.2; kill -0 $run; done
kill -INT "$run"
wait $run || true
grep -q '"stopped"' "$out/parts/log.jsonl" || { echo "NOT OK: Ctrl-C came too late, or was not heard"; exit 1; }
[ ! -e "$out/parts/weights.npz" ]
$train -o "$out/parts" --resume
.venv/bin/python - "$out" <<'PY'
import json, sys
from pathlib import Path
import numpy as np
curves = [[(r["event"], r["step"], r["loss"]) for r in map(json.loads, (Path(sys.argv[1]) / run / "log.jsonl").open()) if "loss" in r]
          for run in ("whole", "parts")]
assert curves[0] == curves[1], "the resumed curve is another"
whole, parts = (np.load(Path(sys.argv[1]) / run / "weights.npz") for run in ("whole", "parts"))
assert all(np.array_equal(whole[name], parts[name]) for name in whole.files), "the resumed weights are others"
first, last = (np.mean([loss for event, _, loss in curves[0] if event == "train"][part]) for part in (slice(2), slice(-2, None)))
assert last < first, f"the loss did not fall: {first} to {last}"
print(f"resumed to the same curve and weights; loss {first:.3f} to {last:.3f}")
PY
$ee simulate simulation/scenes/restaurant.toml -o "$out/scene" --count 1
for kind in 16x8 int8; do
    $ee quantize "$out/parts/best.pt" -o "$out/$kind.tflite" --data "$out/data" --bank "$out/bank" --cache "$out/cache" --quantization $kind
done
mix=$(find "$out/scene" -name '*mix*.wav' | head -1)
$ee verify "$out/int8.tflite" "$mix" --array bte-2x2 --weights "$out/parts/weights.npz"
$ee enhance "$mix" -o "$out/clean.wav" --array bte-2x2 --model "$out/int8.tflite"
