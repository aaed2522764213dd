#!/bin/sh
# SPDX-License-Identifier: MIT
# Fetches llama.cpp's tokenizer test vectors, which the source package of llama-cpp-python carries,
# into models/vectors/ (git-ignored): vocabularies without weights (ggml-vocab-*.gguf), texts (.inp)
# and the ids that Hugging Face's tokenizers gave for them (.out). 77 MB to download, once.
# NIB_VECTORS_SDIST may name a copy of the package that is there already.
set -eu
cd "$(dirname "$0")/.."
version=0.3.36
sdist=llama_cpp_python-$version.tar.gz
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
into=models/vectors

if [ -f "$into/.complete-$version" ]; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${NIB_VECTORS_SDIST:-}" ]; then
    cp "$NIB_VECTORS_SDIST" "$work/$sdist"
else
    python=python3
    [ -x .venv/bin/python ] && python=.venv/bin/python
    if ! "$python" -m pip --version >/dev/null 2>&1; then # Debian's python3 comes without pip
        python3 -m venv "$work/venv"
        python=$work/venv/bin/python
    fi
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
        --no-binary llama-cpp-python --dest "$work" "llama-cpp-python==$version"
fi
got=$(sha256sum "$work/$sdist" | cut -d' ' -f1)
if [ "$got" != "$sha256" ]; then
    echo "test/fetch-vectors.sh: $sdist: expected SHA-256 $sha256, got $got" >&2
    exit 1
fi
mkdir -p "$into"
tar -xzf "$work/$sdist" -C "$work" --wildcards '*/vendor/llama.cpp/models/ggml-vocab-*.gguf*'
mv "$work"/*/vendor/llama.cpp/models/ggml-vocab-* "$into/"
touch "$into/.complete-$version"
