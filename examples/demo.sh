#!/bin/sh
# SPDX-License-Identifier: MIT
# make demo: builds, fetches a model, and fills in the middle of a function in examples/demo/search.c,
# printing the file with the completion marked, then speed and memory.
#   MODEL=smollm2-135m make demo      a small model, which continues the text instead
#   MODEL=path/to/model.gguf make demo
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
MODEL=${MODEL:-qwen2.5-coder-1.5b}
MAKE=${MAKE:-make}
file=examples/demo/search.c

sh test/setup.sh build
if ! "$MAKE" -q all >/dev/null 2>&1; then
    echo "building nibble ..."
    "$MAKE" -s --no-print-directory -j "$(nproc)" all
fi
if [ -f "$MODEL" ]; then
    model=$MODEL
else
    case $MODEL in
    */* | *.gguf)
        echo "demo: $MODEL: no such file" >&2
        exit 1
        ;;
    esac
    echo "model $MODEL"
    model=$(sh examples/fetch-model.sh "$MODEL")
fi
"$BUILD/nibble" info -m "$model" --json >"$BUILD/demo.json"

# The file without the mark, and where the mark was.
mark='/[*] <cursor> [*]/$'
sed "s:$mark::" "$file" >"$BUILD/demo.c"
line=$(sed -n "\\:$mark:=" "$file")
column=$(sed -n "s:$mark::p" "$file" | tr -d '\n' | wc -c)

if [ -t 1 ]; then
    open=$(printf '\033[1;32m') close=$(printf '\033[0m')
else
    open='>>>' close='<<<'
fi
trap 'printf "%s" "$close"' EXIT
head -n $((line - 1)) "$BUILD/demo.c" | tee "$BUILD/demo.prefix"
if grep -q '"fim":"none"' "$BUILD/demo.json"; then
    # Left to right, from the start of the line: the model writes the indentation as well.
    printf '%s' "$open"
    "$BUILD/nibble" complete -m "$model" -f "$BUILD/demo.prefix" -n 96 --stop-indent 1 --stats \
        2>"$BUILD/demo.stats" || { cat "$BUILD/demo.stats" >&2; exit 1; }
    note="This model has no fill-in-the-middle format: it continued the text before the cursor."
else
    printf '%*s%s' "$column" '' "$open"
    "$BUILD/nibble" complete -m "$model" -f "$BUILD/demo.c" --cursor "$line:$column" -n 128 \
        --stop-suffix --stats 2>"$BUILD/demo.stats" || { cat "$BUILD/demo.stats" >&2; exit 1; }
    note="Between the marks: filled in by the model, which saw the text on both sides."
fi
trap - EXIT
printf '%s\n' "$close"
tail -n +$((line + 1)) "$BUILD/demo.c"
echo
echo "$note"
cat "$BUILD/demo.stats"
