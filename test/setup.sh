#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes sure that what a make target needs is there: `sh test/setup.sh build|test|fuzz|arm|bench|peers|lint`.
# Missing Debian packages are installed when this runs as root, else the exact command is printed
# and the status is 1. Model and Python packages come by name from PyPI (`test` only). Prints nothing
# and takes well under a second when all is there.
set -eu
cd "$(dirname "$0")/.."
purpose=${1:-build}
CC=${CC:-gcc} # words: "ccache gcc"

missing=
want() { # want PACKAGE CHECK...: note the package unless the check succeeds
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
# shellcheck disable=SC2086
has_header() { printf '#include <%s>\n' "$1" | $CC -E -x c - ; }
has_sanitizer_of_clang() { ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a ; }

packages_build() {
    # shellcheck disable=SC2086
    want gcc $CC --version
    want libc6-dev has_header stdio.h
    want make command -v make
    want python3-venv python3 -c 'import venv, ensurepip'
}
packages_test() {
    packages_build
    want libcmocka-dev test -e /usr/include/cmocka.h
    want g++ command -v g++
    want luajit command -v luajit
    want binutils command -v readelf
}
case $purpose in
build) packages_build ;;
test) packages_test ;;
fuzz)
    packages_build
    want clang command -v clang
    want libclang-rt-14-dev has_sanitizer_of_clang
    ;;
arm)
    packages_build
    want gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
    want libc6-dev-arm64-cross test -e /usr/aarch64-linux-gnu/lib/libc.so.6
    want qemu-user command -v qemu-aarch64
    ;;
bench)
    packages_build
    want gnuplot-nox command -v gnuplot
    ;;
peers)
    packages_build
    want gnuplot-nox command -v gnuplot
    want clang command -v clang
    want cmake command -v cmake
    want g++ command -v g++
    want python3-torch /usr/bin/python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'
    # without it Debian's PyTorch multiplies with the reference BLAS, tens of times slower
    want libopenblas0-pthread ls /usr/lib/*/openblas-pthread/libblas.so.3
    ;;
lint) want clang-format command -v clang-format ;;
*)
    echo "test/setup.sh: unknown purpose \"$purpose\": expected build, test, fuzz, arm, bench, peers or lint" >&2
    exit 2
    ;;
esac
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        sudo=$(command -v sudo >/dev/null && echo 'sudo ' || true)
        echo "missing packages; as root, install them with:" >&2
        echo "    ${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends$missing" >&2
        exit 1
    fi
    echo "installing:$missing"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # shellcheck disable=SC2086  # a list of words on purpose
    if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "test/setup.sh: apt-get could not install:$missing" >&2
        exit 1
    fi
    rm -f "$log"
fi

if [ "$purpose" = arm ] && ! [ -e build-arm/root/usr/include/cmocka.h ]; then
    # Packages of another architecture, fetched and unpacked without telling dpkg about them.
    mkdir -p build-arm/apt/lists/partial build-arm/apt/cache/archives/partial build-arm/root
    foreign="-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o APT::Sandbox::User=root
        -o Dir::State::Lists=$PWD/build-arm/apt/lists -o Dir::Cache=$PWD/build-arm/apt/cache"
    # shellcheck disable=SC2086  # a list of options on purpose
    (cd build-arm/apt && apt-get $foreign update && apt-get $foreign download libcmocka-dev libcmocka0) \
        >build-arm/apt/log 2>&1 || { cat build-arm/apt/log >&2; exit 1; }
    for package in build-arm/apt/*.deb; do dpkg-deb -x "$package" build-arm/root; done
    rm -rf build-arm/apt
fi

if [ "$purpose" = test ]; then
    if [ -f test/requirements.txt ] && ! cmp -s test/requirements.txt .venv/requirements.txt; then
        echo "setting up .venv for the tests written in Python"
        python3 -m venv .venv
        .venv/bin/python -m pip install -q --disable-pip-version-check -r test/requirements.txt
        cp test/requirements.txt .venv/requirements.txt
    fi
    if [ -f examples/fetch-model.sh ] && ! [ -f models/smollm2-135m.gguf ]; then
        echo "fetching the model smollm2-135m (98 MB)"
        sh examples/fetch-model.sh smollm2-135m
    fi
    if ! ls models/vectors/.complete-* >/dev/null 2>&1; then
        echo "fetching llama.cpp's tokenizer vectors (77 MB)"
        sh test/fetch-vectors.sh
    fi
fi
