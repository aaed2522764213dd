#!/bin/sh
# SPDX-License-Identifier: MIT
# The Neovim plugin inside a headless Neovim, on a tiny model whose suggestions are nonsense.
set -u
cd "$(dirname "$0")/../.."
if ! command -v nvim >/dev/null; then
    echo "skip Neovim plugin: no nvim here"
    exit 0
fi
NIBBLE_MODEL=$PWD/test/fixtures/tiny/qwen2.gguf NIBBLE_LIBRARY=$PWD/${BUILD:-build}/libnibble.so \
    timeout 120 nvim --headless -u NONE -i NONE -n --cmd "set runtimepath+=examples/nvim" \
    -c "luafile test/nvim/plugin.lua" 2>&1
