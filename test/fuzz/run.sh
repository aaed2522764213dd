#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs every libFuzzer target for $1 seconds. New inputs go to the build folder; the committed corpus
# only grows by hand. An input that crashes a target is kept in the build folder and named.
set -u
cd "$(dirname "$0")/../.."
seconds=${1:-60}
BUILD=${BUILD:-build-fuzz}
passed=0 failed=0
for source in test/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    found=$BUILD/corpus/$name
    mkdir -p "$found"
    echo "== fuzz_$name for $seconds s"
    if "$BUILD/test/fuzz/fuzz_$name.libfuzzer" -max_total_time="$seconds" -rss_limit_mb=2048 \
        -timeout=10 -print_final_stats=1 -verbosity=0 -artifact_prefix="$BUILD/corpus/crash-$name-" \
        "$found" "test/fuzz/corpus/$name"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        ls "$BUILD/corpus/crash-$name-"* 2>/dev/null
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
