#!/bin/sh
# SPDX-License-Identifier: MIT
# Every .c file is what clang-format makes of it (`make format`; headers align their comments by hand). Run by `make lint`.
set -u
cd "$(dirname "$0")/../.."
command -v clang-format >/dev/null || { echo "skip formatting: no clang-format"; exit 0; }
wrong=$(git ls-files '*.c' | while read -r f; do
    clang-format --dry-run -Werror "$f" 2>/dev/null || echo "$f"; done)
if [ -z "$wrong" ]; then
    echo "ok clang-format"
else
    echo "$wrong" | sed 's/^/    /'
    echo "not ok clang-format"
    exit 1
fi
