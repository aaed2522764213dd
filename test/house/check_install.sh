#!/bin/sh
# SPDX-License-Identifier: MIT
# `make install` into an empty folder gives a header, libraries and nibble.pc from which a stranger's
# program builds and runs; `make uninstall` leaves nothing behind.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
CC=${CC:-gcc}
status=0
check() {
    name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "not ok $name"; status=1; fi
}
# A relative path: the flags of nibble.pc are words, and the folder of the tree may have a space.
root=$(mktemp -d "$BUILD/install-XXXXXX")
trap 'rm -rf "$root"' EXIT
prefix=$root/usr
# MAKEFLAGS: no job server of a make that called this one
install() { MAKEFLAGS='' make -s BUILD="$BUILD" PREFIX="$prefix" "$1" >/dev/null; }
check "make install" install install
cat >"$root/program.c" <<'END'
#include <nibble.h>
int main(void)
{
    return nib_version() == (NIB_VERSION_MAJOR << 16 | NIB_VERSION_MINOR << 8 | NIB_VERSION_PATCH) ? 0 : 1;
}
END
flags=$(sed -n 's/^Cflags: //p; s/^Libs: //p' "$prefix/lib/pkgconfig/nibble.pc" |
    sed "s|\${includedir}|$prefix/include|; s|\${libdir}|$prefix/lib|")
# shellcheck disable=SC2086  # flags and compiler are words
check "a program builds with the flags of nibble.pc" \
    $CC "$root/program.c" -o "$root/shared" $flags
sed -n '/^```c$/,/^```$/p' README.md | grep -v '^```' >"$root/readme.c"
# shellcheck disable=SC2086
check "and so does the README's" $CC "$root/readme.c" -o "$root/readme" $flags
check "it runs with the shared library" env LD_LIBRARY_PATH="$prefix/lib" "$root/shared"
check "a program links the static library" \
    $CC "$root/program.c" -I"$prefix/include" -o "$root/static" "$prefix/lib/libnibble.a" -lm -pthread
check "it runs" "$root/static"
check "the installed command runs" sh -c "LD_LIBRARY_PATH= '$prefix/bin/nibble' --help >/dev/null"
check "make uninstall" install uninstall
check "nothing is left" test -z "$(find "$prefix" -type f -o -type l)"
exit $status
