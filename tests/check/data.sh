#!/usr/bin/env bash
# docs/data.md's way from corpora to pairs, small: prepare, prepare again, check, mix with one process and with two, stop and
# go on: the same bits. Run by `make check`.   data.sh FOLDER
set -euo pipefail
export OMP_NUM_THREADS=1
ee=.venv/bin/edgeenhance; out=$1
rm -rf "$out"; mkdir -p "$out"
$ee data synthesize "$out/data/raw/made" --talkers 12 --seconds 4
: >"$out/data/raw/made/speech/empty.wav"
prepare="$ee data prepare $out/data --talker (\\w+)-\\d --trim --loudness -26 --highpass 60 --features mel"
$prepare --workers 2 | tee "$out/report.txt"
grep -q 'refused: made/speech/empty.wav: zero length' "$out/report.txt"
find "$out/data/processed" -name '*.flac' -exec sha256sum {} + | sort >"$out/first"
$prepare >/dev/null
find "$out/data/processed" -name '*.flac' -exec sha256sum {} + | sort | cmp - "$out/first"
for split in train valid test; do
    $ee data check "$out/data/processed/$split" --manifest "$out/data/splits/$split.txt.gz"
done

mix="$ee data mix $out/data/processed/train --snr 0 10 20"
$mix -o "$out/mixed" --count 360 --workers 2
$mix -o "$out/parts" --count 5
$mix -o "$out/parts" --count 12 --workers 2
for path in "$out"/parts/*/*.flac; do
    cmp "$path" "$out/mixed/$(basename "$(dirname "$path")")/$(basename "$path")"
done
