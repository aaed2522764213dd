#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs what was built and ends with one line `N passed, N failed, N skipped`; status 1 on a failure.
#   sh test/run.sh all        every cmocka program, check script and Python test
#   sh test/run.sh programs   the cmocka programs only (sanitizers, other architectures)
#   sh test/run.sh threads    the cmocka programs that use threads
# Counting: cmocka's own summary lines; `ok`, `not ok` and `skip` lines of check_*.sh; unittest's
# summary of test_*.py. A program that ends badly without naming a failure counts as one failure, and
# so does one that reports no test at all. RUNNER is put before a program (an emulator).
set -u
cd "$(dirname "$0")/.."
mode=${1:-all}
BUILD=${BUILD:-build}
export BUILD
logs=$BUILD/test/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 culprits= times=

# add NAME STATUS PASSED FAILED SKIPPED
add() {
    bad=$4
    if [ "$2" -ne 0 ] && [ "$bad" -eq 0 ]; then
        echo "not ok $1: ended with status $2 without naming a failed test"
        bad=1
    elif [ "$(($3 + bad + $5))" -eq 0 ]; then
        echo "not ok $1: reported no test"
        bad=1
    fi
    passed=$((passed + $3)) failed=$((failed + bad)) skipped=$((skipped + $5))
    [ "$bad" -eq 0 ] || culprits="$culprits $1"
}

# sum FILE PATTERN: the numbers that follow the pattern, added up
sum() { sed -n "s/^$2\([0-9][0-9]*\).*/\1/p" "$1" | awk '{ n += $1 } END { print n + 0 }'; }
count() { grep -c "$2" "$1" || true; }

# run NAME COMMAND...: shows and keeps the output; sets `status`
run() {
    log=$logs/$1.txt
    started=$(date +%s) program=$1
    echo
    echo "== $1"
    shift
    { timeout "${TEST_TIMEOUT:-900}" "$@" </dev/null 2>&1; echo $? >"$log.status"; } | tee "$log"
    status=$(cat "$log.status")
    rm -f "$log.status"
    times="$times$(($(date +%s) - started)) $program
"
}

run_cmocka() {
    name=$(basename "$1")
    # shellcheck disable=SC2086  # RUNNER is a command with arguments
    run "$name" ${RUNNER:-} "$1"
    add "$name" "$status" "$(sum "$log" '\[  PASSED  \] ')" "$(sum "$log" '\[  FAILED  \] ')" \
        "$(sum "$log" '\[  SKIPPED \] ')"
}

run_check() {
    name=$(basename "$1" .sh)
    run "$name" sh "$1"
    add "$name" "$status" "$(count "$log" '^ok ')" "$(count "$log" '^not ok ')" \
        "$(count "$log" '^skip ')"
}

run_python() {
    name=$(basename "$1" .py)
    python=python3
    [ -x .venv/bin/python ] && python=.venv/bin/python
    run "$name" "$python" -B "$1"
    ran=$(sed -n 's/^Ran \([0-9]*\) test.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    bad=$(grep -oE '^FAILED \(.*\)' "$log" | grep -oE '(failures|errors)=[0-9]+' | cut -d= -f2 |
        awk '{ n += $1 } END { print n + 0 }')
    skip=$(grep -oE '^(OK|FAILED) \(.*\)' "$log" | grep -oE 'skipped=[0-9]+' | cut -d= -f2 |
        awk '{ n += $1 } END { print n + 0 }')
    good=$((ran - bad - skip))
    [ "$good" -ge 0 ] || good=0
    add "$name" "$status" "$good" "$bad" "$skip"
}

for source in test/*/test_*.c; do
    # test_token_limits uses a thread for its small stack only; nothing is shared
    if [ "$mode" = threads ] && { [ "$source" = test/token/test_token_limits.c ] ||
        ! grep -qE 'pthread_create|nib__pool_new|on_small_stack' "$source"; }; then
        continue
    fi
    run_cmocka "$BUILD/${source%.c}"
done
if [ "$mode" != threads ]; then
    for source in test/fuzz/fuzz_*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        run_cmocka "$BUILD/test/fuzz/replay_${name#fuzz_}"
    done
fi
if [ "$mode" = all ]; then
    for script in test/*/check_*.sh; do
        [ -e "$script" ] && run_check "$script"
    done
    for script in test/*/test_*.py examples/python/tests/test_*.py; do
        [ -e "$script" ] && run_python "$script"
    done
fi

echo
echo "longest (seconds): $(printf %s "$times" | sort -rn | head -6 | awk '{ printf "%s %s  ", $2, $1 }')"
[ -z "$culprits" ] || echo "failed:$culprits"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
