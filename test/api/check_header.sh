#!/bin/sh
# SPDX-License-Identifier: MIT
# include/nibble.h compiles on its own as C11 and as C++17, with all warnings, and its preprocessed
# text is accepted by LuaJIT's ffi.cdef, which knows plain C declarations only.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
CC=${CC:-gcc}
CXX=${CXX:-g++}
dir=$BUILD/test/api
mkdir -p "$dir"

try() { # try NAME COMMAND...
    name=$1
    shift
    if "$@" >"$dir/log" 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        sed 's/^/    /' "$dir/log"
    fi
}

echo '#include "nibble.h"' >"$dir/header.c"
cp "$dir/header.c" "$dir/header.cc"
warnings="-Wall -Wextra -Wpedantic -Werror"
# shellcheck disable=SC2086  # a list of options on purpose
try "header as C11" $CC -std=c11 $warnings -Wstrict-prototypes -Iinclude -c "$dir/header.c" \
    -o "$dir/header_c.o"
# shellcheck disable=SC2086
try "header as C++17" "$CXX" -std=c++17 $warnings -Iinclude -c "$dir/header.cc" -o "$dir/header_cc.o"

grep -v '^#include' include/nibble.h | $CC -E -P - >"$dir/nibble.cdef"
cat >"$dir/cdef.lua" <<'LUA'
local ffi = require("ffi")
local file = assert(io.open(arg[1]))
ffi.cdef(file:read("*a"))
assert(ffi.sizeof("nib_error") == 272, "nib_error has another layout than in C")
assert(ffi.offsetof("nib_complete_options", "seed") == 48)
local options = ffi.new("nib_session_options")
options.n_ctx = 4096
assert(options.n_ctx == 4096)
LUA
try "header as ffi.cdef of LuaJIT" luajit "$dir/cdef.lua" "$dir/nibble.cdef"
