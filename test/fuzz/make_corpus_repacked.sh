#!/bin/sh
# SPDX-License-Identifier: MIT
# Writes test/fuzz/corpus/repacked/ from the models of test/fuzz/corpus/model/; to be run again after
# NIB__LAYOUT_VERSION changed.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p test/fuzz/corpus/repacked
for model in test/fuzz/corpus/model/*.gguf; do
    name=$(basename "$model" .gguf)
    "${BUILD:-build}/nibble" quantize -m "$model" -o "test/fuzz/corpus/repacked/$name.nib" --scheme repack
done
