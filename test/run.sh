#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs what was built and ends with one line `N passed, N failed, N skipped`; status 1 on a failure.
#   sh test/run.sh all        every cmocka program, check script and Python test
#   sh test/run.sh programs   the cmocka programs only (sanitizers, other architectures)
#   sh test/run.sh threads    the cmocka programs that use threads
#   sh test/run.sh emulated   those of test/emulate, which "all" includes where the CPU lacks a level
# Counting: cmocka's own summary lines; `ok`, `not ok` and `skip` lines of check_*.sh; unittest's
# summary of test_*.py. A program that ends badly without naming a failure counts as one failure, and
# so does one that reports no test at all. RUNNER is put before a program (an emulator). JOBS programs
# run side by side, else as many as there are CPUs; each one's output is shown when it has ended.
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

# What the program `name`, which ended with `status`, says in `log`.
count_cmocka() {
    add "$name" "$status" "$(sum "$log" '\[  PASSED  \] ')" "$(sum "$log" '\[  FAILED  \] ')" \
        "$(sum "$log" '\[  SKIPPED \] ')"
}

count_check() {
    add "$name" "$status" "$(count "$log" '^ok ')" "$(count "$log" '^not ok ')" \
        "$(count "$log" '^skip ')"
}

count_python() {
    ran=$(sed -n 's/^Ran \([0-9]*\) test.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    bad=$(grep -oE '^FAILED \(.*\)' "$log" | grep -oE '(failures|errors)=[0-9]+' | cut -d= -f2 |
        awk '{ n += $1 } END { print n + 0 }')
    skip=$(grep -oE '^(OK|FAILED) \(.*\)' "$log" | grep -oE 'skipped=[0-9]+' | cut -d= -f2 |
        awk '{ n += $1 } END { print n + 0 }')
    good=$((ran - bad - skip))
    [ "$good" -ge 0 ] || good=0
    add "$name" "$status" "$good" "$bad" "$skip"
}

# plan KIND SOURCE: the line `KIND NAME COMMAND...` of a program
plan() {
    name=$(basename "$2")
    name=${name%.*}
    case $1 in
    cmocka) echo "cmocka $name ${RUNNER:+$RUNNER }$BUILD/${2%.c}" ;;
    replay) echo "cmocka replay_${name#fuzz_} ${RUNNER:+$RUNNER }$BUILD/test/fuzz/replay_${name#fuzz_}" ;;
    check) echo "check $name sh $2" ;;
    python) echo "python $name $python -B $2" ;;
    esac
}

# These use a thread for its small stack only; nothing is shared.
uses_threads() {
    case $1 in */test_regex.c | */test_token_limits.c | */test_small_stack.c) return 1 ;; esac
    grep -qE 'pthread_create|nib__pool_new|on_small_stack' "$1"
}

# Programs with a test for each level run that of the emulated levels only.
plan_emulated() {
    for program in "$BUILD"/emulated/test/*/test_*; do
        name=emulated_$(basename "$program")
        case $program in
        */test_accuracy)
            echo "cmocka ${name}_amx $program *smollm2*_amx_prefill"
            echo "cmocka ${name}_avxvnni $program *smollm2*_avxvnni_*"
            ;;
        */test_matmul | */test_attention)
            for level in amx avxvnni; do echo "cmocka ${name}_$level $program $level"; done
            ;;
        *) echo "cmocka $name $program" ;;
        esac
    done
    echo "cmocka emulated_test_matmul_precisions $BUILD/emulated/test/kernels/test_matmul test_*"
}

python=python3
[ -x .venv/bin/python ] && python=.venv/bin/python
for source in test/*/test_*.c; do
    case $mode-$source in emulated-* | *-test/emulate/*) continue ;; esac
    if [ "$mode" != threads ] || uses_threads "$source"; then plan cmocka "$source"; fi
done >"$logs/plan"
if [ "$mode" = all ] || [ "$mode" = programs ]; then
    for source in test/fuzz/fuzz_*.c; do plan replay "$source"; done
fi >>"$logs/plan"
if [ "$mode" = emulated ] || { [ "$mode" = all ] && sh test/emulate/wanted.sh; }; then
    plan_emulated
fi >>"$logs/plan"
if [ "$mode" = all ]; then
    for script in test/*/check_*.sh; do plan check "$script"; done
    for script in test/*/test_*.py examples/python/tests/test_*.py; do plan python "$script"; done
fi >>"$logs/plan"

# Leaves NAME.txt and NAME.ended, `STATUS SECONDS`; the lock keeps outputs apart.
rm -f "$logs"/*.ended
# shellcheck disable=SC2016  # for the inner shell
xargs -P "${JOBS:-$(nproc)}" -L 1 sh -c '
    log=$0/$2 name=$2 started=$(date +%s)
    shift 2
    timeout "${TEST_TIMEOUT:-900}" "$@" </dev/null >"$log.txt" 2>&1
    echo "$? $(($(date +%s) - started))" >"$log.ended"
    flock "$0/plan" sh -c "echo; echo \"== \$0\"; cat \"\$1\"" "$name" "$log.txt"
    ' "$logs" <"$logs/plan"

echo
while read -r kind name _; do
    log=$logs/$name.txt
    read -r status seconds <"$logs/$name.ended" || status=127 seconds=0
    times="$times$seconds $name
"
    "count_$kind"
done <"$logs/plan"
rm -f "$logs"/*.ended

echo
echo "longest (seconds): $(printf %s "$times" | sort -rn | head -6 | awk '{ printf "%s %s  ", $2, $1 }')"
[ -z "$culprits" ] || echo "failed:$culprits"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
