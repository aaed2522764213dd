#!/bin/sh
# SPDX-License-Identifier: MIT
# The library of `make minimal`: at most 1 MB, stripped, needs libc and libm only, and works.
set -u
cd "$(dirname "$0")/../.."
library=${MINIMAL:-build-minimal}/libnibble.so
status=0
result() { # result NAME CONDITION...
    name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "not ok $name"; status=1; fi
}
size=$(stat -L -c %s "$library")
result "$library has $size bytes, at most 1000000" test "$size" -le 1000000
result "it is stripped" test -z "$(nm "$library" 2>/dev/null)"
needed=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
echo "    needs: $needed"
result "it needs libc and libm only" \
    test -z "$(echo "$needed" | tr ' ' '\n' | grep -vE '^(libc\.so\.6|libm\.so\.6|)$')"
if command -v luajit >/dev/null; then
    result "it loads and knows its version" luajit test/house/load.lua "./$library"
else
    echo "skip it loads: no luajit"
fi
exit $status
