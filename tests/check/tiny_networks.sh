#!/usr/bin/env bash
# Every textbook network, small: trained, exported, scored, and the page of all methods. Run by `make check`.   tiny_networks.sh FOLDER
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
.venv/bin/python -m edgeenhance.simulation.methods --networks "$out" --scenes 2 --rounds 2 --run "$out/methods" -o "$out/methods.md"
rows=$(sed -n '/^## Cost/,$p' "$out/methods.md" | grep -c "| textbook network")
[ "$rows" = 15 ] || { echo "NOT OK, methods.md has $rows textbook networks, expected 13 and two model files"; exit 1; }
