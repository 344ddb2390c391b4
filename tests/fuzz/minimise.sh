#!/usr/bin/env bash
# The corpus of a harness anew, from what `make fuzz` has found: bash tests/fuzz/minimise.sh NAME (make fuzz-corpus). Files
# above 1 kB are left out: seeds.py makes long ones.
set -euo pipefail
cd "$(dirname "$0")/../.."
at=build/fuzz small=build/fuzz/small-$1
rm -rf "$small" && mkdir -p "$small"
find "$at/corpus/$1" "tests/fuzz/corpus/$1" -type f -size -3 -exec cp {} "$small" \;
rm -rf "tests/fuzz/corpus/$1" && mkdir -p "tests/fuzz/corpus/$1"
"$at/fuzz_$1" -set_cover_merge=1 "tests/fuzz/corpus/$1" "$small" 2>&1 | tail -1
