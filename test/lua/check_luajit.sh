#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the LuaJIT smoke test on the shared library with the small model.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
dir=$BUILD/test/lua
mkdir -p "$dir"
grep -v '^#include' include/nibble.h | ${CC:-gcc} -E -P - >"$dir/nibble.cdef"
exec luajit test/lua/smoke.lua "$dir/nibble.cdef" "$BUILD/libnibble.so" \
    "${NIBBLE_TEST_MODEL:-models/smollm2-135m.gguf}"
