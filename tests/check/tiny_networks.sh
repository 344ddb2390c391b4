#!/usr/bin/env bash
# Every textbook network, small: trained, exported, scored. Run by `make check`.   tiny_networks.sh FOLDER
set -euo pipefail
export OMP_NUM_THREADS=1
ee=.venv/bin/edgeenhance; out=$1
rm -rf "$out"; mkdir -p "$out"
$ee data synthesize "$out/data"
$ee simulate simulation/suites/train.toml -o "$out/bank" --bank 12 --seed 1 --workers 2
systems=$(.venv/bin/python tests/check/tiny_networks.py "$out")
$ee simulate simulation/scenes/anechoic.toml -o "$out/scene" --count 1
mix=$(find "$out/scene" -name '*mix*.wav' | head -1)
$ee evaluate --input "$mix" --array bte-2x2 --systems "$systems" -o "$out/evaluation" --no-report
