#!/bin/sh
# SPDX-License-Identifier: MIT
# make bench: the matrix kernels of every instruction set, then whole models. MODEL=name or path.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
MODEL=${MODEL:-qwen2.5-coder-1.5b}
echo "== kernels"
"$BUILD/test/kernels/test_matmul" --bench
if [ -f "$MODEL" ]; then model=$MODEL; else model=$(sh examples/fetch-model.sh "$MODEL" | tail -1); fi
echo "== $model"
"$BUILD/nibble" bench -m "$model" -t "$(nproc)"
