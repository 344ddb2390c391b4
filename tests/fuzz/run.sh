#!/usr/bin/env bash
# All fuzzers, two at a time, each for half of SECONDS: bash tests/fuzz/run.sh SECONDS. `make fuzz` builds them first.
# They start from seeds.py and tests/fuzz/corpus; what they find goes to build/fuzz/corpus, what fails to build/fuzz.
set -uo pipefail
cd "$(dirname "$0")/../.."
PY=.venv/bin/python at=build/fuzz half=$(($1 / 2)) bad=0

kernel() { # kernel NAME LONGEST: a harness in C, inputs of up to LONGEST bytes
    mkdir -p $at/corpus/"$1"
    $at/fuzz_"$1" -max_total_time=$half -max_len="$2" -len_control=0 -timeout=20 -artifact_prefix="$at/$1-" \
        $at/corpus/"$1" $at/seeds/"$1" tests/fuzz/corpus/"$1"
}
program() { kernel program 3072; }
process() { kernel process 1024; }
resample() { kernel resample 1024; }

compile() { # then the programs that came of it, under the sanitizers
    $PY tests/fuzz/fuzz_compile.py $half -o $at || return 1
    find $at/programs -type f -exec $at/fuzz_program {} +
}

report() { # report NAME CODE
    if [ "$2" = 0 ]; then
        echo "$1: $(grep -aE 'DONE|damaged files' $at/"$1".log)"
    else
        tail -40 $at/"$1".log
        echo "NOT OK: $1, see $at/$1.log; the input is in $at"
        bad=1
    fi
}

side_by_side() {
    "$1" >$at/"$1".log 2>&1 & local first=$!
    "$2" >$at/"$2".log 2>&1 & local second=$!
    wait $first; report "$1" $?
    wait $second; report "$2" $?
}

$PY tests/fuzz/seeds.py $at/seeds
side_by_side compile process
side_by_side program resample
exit $bad
