#!/bin/sh
# SPDX-License-Identifier: MIT
# What the built libraries export, import and keep: only nib_* leaves them, nothing that ends the
# process or prints comes in, and there is no writable global.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
archive=$BUILD/libnibble.a shared=$BUILD/libnibble.so

# report NAME OFFENDERS: a check passes if the list of offenders is empty
report() {
    if [ -z "$2" ]; then
        echo "ok $1"
    else
        echo "$2" | sed 's/^/    /'
        echo "not ok $1"
        status=1
    fi
}
status=0

exported=$(nm -D --defined-only "$shared" | awk '$2 != "A" { print $NF }')
report "libnibble.so exports only nib_*" "$(echo "$exported" | grep -vE '^nib_[a-z]' )"
declared=$(grep -oE '\bnib_[a-z0-9_]+\(' include/nibble.h | tr -d '(' | sort -u)
[ -n "$declared" ] || report "the header declares functions" "none found"
# Names that the header uses in prose or as types are told from functions by NIB_API.
functions=$(sed -n '/^NIB_API/,/;/p' include/nibble.h | grep -oE '\bnib_[a-z0-9_]+\(' | tr -d '(' | sort -u)
report "libnibble.so exports every function of the header" \
    "$(echo "$functions" | while read -r f; do echo "$exported" | sed 's/@.*//' | grep -qx "$f" || echo "$f"; done)"
report "libnibble.so exports nothing that the header does not declare" \
    "$(echo "$exported" | sed 's/@.*//' | while read -r f; do echo "$functions" | grep -qx "$f" || echo "$f"; done)"
report "libnibble.a defines only nib_* globals" \
    "$(nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | grep -vE '^nib_')"

imported=$(nm -D --undefined-only "$shared" | awk '{ print $NF }' | sed 's/@.*//' | sort -u)
allowed=$(grep -v '^#' test/house/allowed_symbols.txt)
report "libnibble.so imports only what allowed_symbols.txt lists" \
    "$(echo "$imported" | while read -r f; do echo "$allowed" | grep -qx "$f" || echo "$f"; done)"
callers=$(find "$BUILD/lib" -name '*.o' | while read -r o; do
    nm -u "$o" | grep -qwE 'getenv|secure_getenv' && echo "$o"; done)
report "getenv is called from one file at most" "$(echo "$callers" | sed 1d)"

# Writable sections of every object; .data.rel.ro is made read-only by the dynamic loader. The one
# exception that the design allows is a CPU word written once, in cpu.o.
report "no writable globals" "$(find "$BUILD/lib" -name '*.o' | while read -r o; do
    readelf -SW "$o" | sed 's/^ *\[ *[0-9]*\] *//' | awk -v o="$o" '
        $1 ~ /^\.(data|bss|tdata|tbss)(\.|$)/ && $1 !~ /^\.data\.rel\.ro/ && $5 !~ /^0+$/ {
            if (!(o ~ /base\/cpu\.o$/ && $5 ~ /^0+[1-8]$/)) print o ": " $1 " of 0x" $5 " bytes" }'
done)"
report "no executable stack" "$(readelf -lW "$shared" | grep GNU_STACK | grep -E 'RWE')"
report "SONAME is libnibble.so.0" \
    "$(readelf -dW "$shared" | grep SONAME | grep -vF '[libnibble.so.0]')"
exit $status
