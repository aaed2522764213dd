#!/bin/sh
# SPDX-License-Identifier: MIT
# The command `nibble`: what it prints, where, and with which exit status, on a tiny model of
# test/fixtures and on the small real one.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
nibble=$BUILD/nibble
tiny=test/fixtures/tiny/qwen2.gguf
model=${NIBBLE_TEST_MODEL:-models/smollm2-135m.gguf}
dir=$BUILD/test/cli
mkdir -p "$dir"
out=$dir/out err=$dir/err

ok() { echo "ok $1"; }
not_ok() {
    echo "not ok $1: $2"
    sed 's/^/    /' "$err" | head -n 5
}

# run STATUS NAME PATTERN ARGUMENTS...: the status, nothing on stdout, one line on stderr that matches
fails() {
    expected=$1 name=$2 pattern=$3
    shift 3
    "$nibble" "$@" >"$out" 2>"$err" </dev/null
    status=$?
    if [ "$status" -ne "$expected" ]; then not_ok "$name" "status $status, expected $expected"
    elif [ -s "$out" ]; then not_ok "$name" "something on standard output"
    elif [ "$(wc -l <"$err")" -ne 1 ]; then not_ok "$name" "$(wc -l <"$err") lines on standard error"
    elif ! grep -q -e "$pattern" "$err"; then not_ok "$name" "message does not match \"$pattern\""
    else ok "$name"
    fi
}

# works NAME ARGUMENTS...: status 0, nothing on stderr; standard output is in $out
works() {
    name=$1
    shift
    if "$nibble" "$@" >"$out" 2>"$err" && [ ! -s "$err" ]; then return 0; fi
    not_ok "$name" "status $?"
    return 1
}

same() { # same NAME EXPECTED-FILE
    if cmp -s "$2" "$out"; then ok "$1"; else not_ok "$1" "other output than $2"; fi
}

fails 2 "no command" "no command"
fails 2 "unknown command" "frobnicate" frobnicate
fails 2 "planned command" "eval" eval
fails 2 "quantize without an output" "-o FILE" quantize -m "$model" --scheme repack
fails 2 "quantize: unknown scheme" "q7" quantize -m "$model" -o "$dir/none" --scheme q7
fails 1 "quantize: no such folder" "/nonexistent/x: .*no such file" \
    quantize -m "$model" -o /nonexistent/x --scheme repack
# A limit on the size of files, which would end the process by a signal.
rm -rf "$dir/limited"
mkdir "$dir/limited"
(ulimit -f 20 && exec "$nibble" quantize -m "$tiny" -o "$dir/limited/out" --scheme repack) 2>"$err"
status=$?
if [ "$status" -ne 1 ] || ! grep -q 'too large' "$err"; then not_ok "quantize: no room" "status $status"
elif [ -n "$(ls "$dir/limited")" ]; then not_ok "quantize: no room" "left $(ls "$dir/limited")"
else ok "quantize: no room"
fi
fails 2 "unknown option" "--frob" complete --frob
fails 2 "missing value" "needs a value" complete -m
fails 2 "no model" "-m FILE" complete -p x
fails 2 "no prompt" "-p TEXT or -f FILE" complete -m "$tiny"
fails 2 "left-over argument" "stray" complete -m "$tiny" -p x stray
fails 2 "number out of range" "--max-tokens" complete -m "$tiny" -p x -n 0
fails 2 "number with a tail" "--max-tokens" complete -m "$tiny" -p x -n 5x
fails 2 "temperature not a number" "--temp" complete -m "$tiny" -p x --temp nan
fails 2 "unknown instruction set" "z80" complete -m "$tiny" -p x --isa z80
fails 2 "cursor without file" "--cursor" complete -m "$tiny" -p x --cursor 1:1
fails 2 "cursor without column" "LINE:COL" complete -m "$tiny" -f "$0" --cursor 5
fails 2 "cursor beyond the file" "lines" complete -m "$tiny" -f "$0" --cursor 100000:0
fails 2 "cursor beyond the line" "beyond" complete -m "$tiny" -f "$0" --cursor 1:500
fails 2 "encoder ids" "--encoder-ids" logits -m "$tiny" --ids 1 --encoder-ids 2 -o "$dir/x"
fails 2 "ids that are none" "token ids" logits -m "$tiny" --ids 1,two -o "$dir/x"
fails 2 "id out of range" "999999" logits -m "$tiny" --ids 999999 -o "$dir/x"
fails 1 "missing model" "no/such.gguf" complete -m no/such.gguf -p x
fails 1 "missing file" "no/such.txt" complete -m "$tiny" -f no/such.txt
fails 1 "a model that is none" "check_cli.sh" info -m "$0"
works "info of a directory" info -m test/fixtures/hf/codegen &&
    if grep -q '^architecture *codegen' "$out"; then ok "info of a directory"
    else not_ok "info of a directory" "another architecture"; fi
fails 1 "a directory without a model" "config.json: no such file" info -m test
fails 1 "a directory of unknown architecture" "config.json: .*model_type" \
    info -m test/fixtures/checkpoints/torch
fails 1 "PyTorch's old format" "legacy.bin: .*before version 1.6.*save it again" \
    complete -m test/fixtures/checkpoints/refused/legacy.bin -p x
fails 1 "prompt longer than the context" "8" complete -m "$tiny" -p "one two three four five six" --ctx 8
fails 1 "output folder missing" "no/such/dir" logits -m "$tiny" --ids 1 -o no/such/dir/x
head -c 3000 "$tiny" >"$dir/cut.gguf"
fails 1 "truncated model" "cut.gguf" complete -m "$dir/cut.gguf" -p x
fails 1 "fill-in without markers" "fill-in-the-middle" complete -m models/smollm2-135m.gguf \
    -p a --suffix b

infill=test/fixtures/infill/codet5
printf ' delta' >"$dir/hole"
works "a hole in an encoder-decoder's text" complete -m "$infill" --suffix ' + width' \
    -p 'def run(delta, width):
    return' && same "a hole in an encoder-decoder's text" "$dir/hole"
fails 2 "a language that the model lacks" "no language 'python'" complete -m "$infill" -p a \
    --suffix b --lang python

for command in complete tokenize logits info bench; do
    name="help of $command"
    works "$name" $command --help && if grep -q -- "-m, --model" "$out"; then ok "$name"
    else not_ok "$name" "no word of -m"; fi
done

# ---- tokenize: any bytes survive, in both forms ----
printf 'int main(void)\n{\n\treturn 0; /* na\303\257ve \377\200 \000 <|endoftext|> */\n}\n' >"$dir/text"
if "$nibble" tokenize -m "$tiny" <"$dir/text" >"$dir/ids" 2>"$err" &&
    "$nibble" tokenize -m "$tiny" --decode <"$dir/ids" >"$out" 2>>"$err"; then
    same "tokenize and back" "$dir/text"
else
    not_ok "tokenize and back" "failed"
fi
[ "$(wc -l <"$dir/ids")" -eq 1 ] && ok "ids on one line" || not_ok "ids on one line" "are not"
plain=$(printf '<|endoftext|>' | "$nibble" tokenize -m "$tiny" | wc -w)
special=$(printf '<|endoftext|>' | "$nibble" tokenize -m "$tiny" --special | wc -w)
if [ "$plain" -gt 1 ] && [ "$special" -eq 1 ]; then ok "--special"
else not_ok "--special" "$plain and $special ids"; fi
cat >"$dir/lines" <<'LINES'
{"text":"a\"b\\c\n\td"}
{"other": [1, {"x": "]"}], "text": "\u00e9\ud83d\ude42 \udcff\u0000"}
{"text":""}
LINES
if "$nibble" tokenize -m "$tiny" --jsonl <"$dir/lines" 2>"$err" | tee "$dir/ids.jsonl" |
    "$nibble" tokenize -m "$tiny" --jsonl --decode >"$out" 2>>"$err"; then
    printf '%s\n' '{"text":"a\"b\\c\n\td"}' '{"text":"é🙂 \udcff\u0000"}' '{"text":""}' >"$dir/expected"
    same "tokenize --jsonl and back" "$dir/expected"
else
    not_ok "tokenize --jsonl and back" "failed"
fi
echo '{"text":"a"' | "$nibble" tokenize -m "$tiny" --jsonl >"$out" 2>"$err" && status=0 || status=$?
echo '{"txt":"a"}' | "$nibble" tokenize -m "$tiny" --jsonl >>"$out" 2>"$err" && status=0$status ||
    status=$?$status
if [ "$status" = 10 ] && grep -q 'line 1.*"text"' "$err"; then ok "a line without text"
else not_ok "a line without text" "statuses $status"; fi

# ---- logits: shape, and the file appears only when complete ----
rm -f "$dir/a.f32" "$dir/b.f32"
if works "logits" logits -m "$tiny" --ids 5,6,7 -o "$dir/a.f32" &&
    works "logits" logits -m "$tiny" --ids '5 6 7' --step -o "$dir/b.f32"; then
    vocabulary=$("$nibble" info -m "$tiny" --json | sed 's/.*"vocabulary":\([0-9]*\).*/\1/')
    if [ "$(wc -c <"$dir/a.f32")" -eq $((3 * vocabulary * 4)) ]; then ok "logits"
    else not_ok "logits" "$(wc -c <"$dir/a.f32") bytes"; fi
    if cmp -s "$dir/a.f32" "$dir/b.f32"; then ok "logits --step has the bits of three rows at once"
    else not_ok "logits --step has the bits of three rows at once" "differs"; fi
fi

# ---- complete ----
works "complete" complete -m "$model" -p "int add(int a, int b) {" -n 12 && cp "$out" "$dir/text12" &&
    if [ -s "$out" ]; then ok "complete"; else not_ok "complete" "nothing"; fi
works "one thread" complete -m "$model" -p "int add(int a, int b) {" -n 12 -t 1 &&
    same "one thread gives the same text" "$dir/text12"
printf 'int add(int a, int b) {' >"$dir/prompt"
works "from a file" complete -m "$model" -f "$dir/prompt" -n 12 && same "from a file" "$dir/text12"
"$nibble" complete -m "$model" -f - -n 12 <"$dir/prompt" >"$out" 2>"$err"
same "from standard input" "$dir/text12"
works "--single-line" complete -m "$model" -p "int x" -n 40 --single-line &&
    if [ "$(wc -l <"$out")" -eq 0 ]; then ok "--single-line"
    else not_ok "--single-line" "$(wc -l <"$out") newlines"; fi
"$nibble" complete -m "$model" -p "x = 1" -n 4 --stats >"$out" 2>"$err"
if grep -q 'tok/s' "$err" && grep -q 'first token' "$err"; then ok "--stats"
else not_ok "--stats" "no figures"; fi
printf 'def f(self):\n    return se\n\nx = 1\n' >"$dir/fill"
works "--cursor" complete -m "$tiny" -f "$dir/fill" --cursor 2:13 -n 4 && cp "$out" "$dir/filled" &&
    works "--cursor" complete -m "$tiny" -p "$(head -n 2 "$dir/fill")" -n 4 --suffix '

x = 1
' && same "--cursor and --suffix agree" "$dir/filled"
if "$nibble" complete -m "$model" -p x -n 4 >/dev/full 2>"$err"; then
    not_ok "a full disk is an error" "status 0"
else ok "a full disk is an error"; fi

# Interrupted: what was written stays, the status says so. A shell starts background programs with
# interrupts ignored, and nibble sets its own handler.
rm -f "$out" "$err"
"$nibble" complete -m "$model" -p "int x" -n 3000 --ctx 4096 >"$out" 2>"$err" &
pid=$!
i=0
while [ ! -s "$out" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 130 ] && [ ! -s "$err" ]; then ok "interrupt"
else not_ok "interrupt" "status $status"; fi

fails 2 "suggestions without a temperature" "--temp" \
    complete -m "$model" -p x --n-suggestions 3
works "--n-suggestions" complete -m "$model" -p "int add(int a, int b) {" -n 8 --temp 1 --seed 5 \
    --n-suggestions 3 && cp "$out" "$dir/three" &&
    if [ "$(wc -l <"$out")" -eq 3 ]; then ok "--n-suggestions"; else not_ok "--n-suggestions" ""; fi
for i in 0 1 2; do
    works "--seed" complete -m "$model" -p "int add(int a, int b) {" -n 8 --temp 1 \
        --seed $((5 + i)) --n-suggestions 1 && sed -n "$((i + 1))p" "$dir/three" >"$dir/one" &&
        same "suggestion $i is that of its seed" "$dir/one"
done

fails 2 "--n-best without beams" "--beams" complete -m "$tiny" -p x --n-best 2
fails 2 "more texts than beams" "--n-best" complete -m "$tiny" -p x --beams 2 --n-best 3
fails 2 "beams and a temperature" "--beams" complete -m "$tiny" -p x --beams 2 --temp 1
fails 2 "beams and a suffix" "--beams" complete -m "$tiny" -p x --beams 2 --suffix y
fails 2 "too many beams" "--beams" complete -m "$tiny" -p x --beams 17
works "--n-best" complete -m "$model" -p "int add(int a, int b) {" -n 8 --beams 4 --n-best 3 \
    --length-penalty 0.5 --early-stopping &&
    if [ "$(grep -c '^{"text":".*","score":-[0-9.]*}$' "$out")" -eq 3 ]; then ok "--n-best"
    else not_ok "--n-best" "not three texts with scores"; fi
works "one beam" complete -m "$model" -p "int add(int a, int b) {" -n 12 --beams 1 &&
    same "one beam is greedy" "$dir/text12"

# ---- files that hold a tokenizer only ----
vocab=test/fixtures/token/spm.gguf
printf 'hello world' >"$dir/hello"
"$nibble" tokenize -m $vocab <"$dir/hello" >"$dir/ids" 2>"$err" &&
    "$nibble" tokenize -m $vocab --decode <"$dir/ids" >"$out" 2>"$err"
same "tokenize with a vocabulary only" "$dir/hello"
works "info of a vocabulary" info -m $vocab --json && if grep -q '"tokenizer":"spm"' "$out"; then
    ok "info of a vocabulary"; else not_ok "info of a vocabulary" ""; fi
fails 1 "complete with a vocabulary only" "block_count" complete -m $vocab -p x
fails 1 "quantize a vocabulary" "tokenizer only" quantize -m $vocab -o "$dir/none" --scheme repack

# ---- quantize ----
works "quantize" quantize -m "$model" -o "$dir/repacked" --scheme repack &&
    works "complete from a repacked file" complete -m "$dir/repacked" \
        -p "int add(int a, int b) {" -n 12 && same "a repacked file gives the same text" "$dir/text12"
works "info --verify" info -m "$dir/repacked" --verify &&
    if grep -q repacked "$out"; then ok "info says repacked"; else not_ok "info says repacked" ""; fi
fails 1 "info --verify of another file" "no checksums" info -m "$model" --verify

# ---- cache ----
rm -rf "$dir/cache"
for turn in written used; do
    works "complete, cache $turn" complete -m "$model" --cache "$dir/cache" \
        -p "int add(int a, int b) {" -n 12 && same "the same text, cache $turn" "$dir/text12"
done
works "info of the kept file" info -m "$dir"/cache/*.nib --verify && ok "the kept file is whole"
rm -rf "$dir/cache"
"$nibble" complete -m "$tiny" --cache /proc/none -p x -n 1 >"$out" 2>"$err"
if [ $? -eq 0 ] && grep -q "not kept.*/proc/none" "$err"; then ok "no room for a cache"
else not_ok "no room for a cache" "status or message"; fi

# ---- info and bench: the keys that scripts rely on ----
has_keys() { # has_keys NAME KEY...
    name=$1
    shift
    for key in "$@"; do
        if ! grep -q "\"$key\":" "$out"; then
            not_ok "$name" "no \"$key\""
            return
        fi
    done
    if python3 -c 'import json, sys; json.load(sys.stdin)' <"$out" 2>"$err"; then ok "$name"
    else not_ok "$name" "not JSON"; fi
}
works "info" info -m "$model" && if grep -q '^architecture' "$out"; then ok "info"
else not_ok "info" "no architecture"; fi
works "info --json" info -m "$model" --json &&
    has_keys "info --json" architecture parameters formats context bytes_to_run
works "bench --json" bench -m "$tiny" -p 32 -n 8 -r 2 --json &&
    has_keys "bench --json" prefill_tok_s decode_tok_s ttft_ms load_ms peak_rss_bytes isa threads
