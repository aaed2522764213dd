#!/bin/sh
# SPDX-License-Identifier: MIT
# The public header compiles alone as C11 and C++17, pedantically, and LuaJIT can declare it.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
status=0
check() { # check NAME COMMAND...
    name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "not ok $name"; status=1; fi
}
compile() { # compile COMPILER STANDARD LANGUAGE
    echo '#include "nibble.h"' |
        "$1" "-std=$2" -Wall -Wextra -Werror -pedantic -Iinclude -fsyntax-only -x "$3" -
}
for cc in gcc clang; do
    if command -v $cc >/dev/null; then check "header alone: $cc, C11" compile $cc c11 c
    else echo "skip header alone: $cc, C11 (no $cc)"; fi
done
for cxx in g++ clang++; do
    if command -v $cxx >/dev/null; then check "header alone: $cxx, C++17" compile $cxx c++17 c++
    else echo "skip header alone: $cxx, C++17 (no $cxx)"; fi
done
if command -v luajit >/dev/null; then
    check "header as ffi.cdef of LuaJIT" luajit test/house/load.lua "./$BUILD/libnibble.so"
else
    echo "skip header as ffi.cdef of LuaJIT (no luajit)"
fi
exit $status
