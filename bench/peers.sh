#!/bin/sh
# SPDX-License-Identifier: MIT
# Speed beside llama.cpp, in one run on one machine: `sh bench/peers.sh [RUNS]` (default 5).
# Fetches the source package llama-cpp-python 0.3.36 by name, builds its llama.cpp for this CPU with
# clang (gcc 12 makes AMX code of it that dies of SIGILL) in build-peers/, then alternates llama-bench
# with `nibble bench` on both models: prompt of 512 tokens, 128 generated, 2 threads. Prints medians
# and ratios; every single run goes to bench/results/peers.csv. Takes about 20 minutes the first
# time; on a busy machine the figures mean little.
set -eu
cd "$(dirname "$0")/.."
runs=${1:-5}
version=0.3.36
BUILD=${BUILD:-build}
folder=build-peers

sh test/setup.sh peers
if ! [ -x "${LLAMA_BENCH:-$folder/llama/bin/llama-bench}" ]; then
    mkdir -p "$folder"
    if ! [ -f "$folder/llama_cpp_python-$version.tar.gz" ]; then
        echo "fetching llama-cpp-python $version"
        [ -x "$folder/venv/bin/python" ] || python3 -m venv "$folder/venv"
        "$folder/venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps \
            --no-binary llama-cpp-python -d "$folder" "llama-cpp-python==$version"
    fi
    tar -xzf "$folder/llama_cpp_python-$version.tar.gz" -C "$folder"
    echo "building llama-bench (log: $folder/log)"
    { cmake -S "$folder/llama_cpp_python-$version/vendor/llama.cpp" -B "$folder/llama" \
        -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
        -DGGML_NATIVE=ON -DGGML_OPENMP=OFF -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF \
        -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DBUILD_SHARED_LIBS=OFF &&
        cmake --build "$folder/llama" -j "$(nproc)" --target llama-bench; } >"$folder/log" 2>&1 ||
        { tail -20 "$folder/log" >&2; exit 1; }
fi
make -s BUILD="$BUILD" all
models=
for name in ${MODELS:-smollm2-135m qwen2.5-coder-1.5b}; do
    models="$models $(sh examples/fetch-model.sh "$name" | tail -1)"
done
mkdir -p bench/results
# shellcheck disable=SC2086  # a list of files
exec python3 bench/peers.py "$runs" "$BUILD/nibble" "${LLAMA_BENCH:-$folder/llama/bin/llama-bench}" \
    bench/results/peers.csv $models
