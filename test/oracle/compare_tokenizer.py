#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares `nibble tokenize` with Hugging Face tokenizers (or sentencepiece) on the same vocabulary:
the texts of make_token_golden.py, every Unicode code point, and source files from the folders named.

    pip install gguf tokenizers sentencepiece protobuf
    python3 test/oracle/compare_tokenizer.py --mb 5 models/smollm2-135m.gguf /usr/lib/python3 /usr/include

Prints how many texts and ids were compared and the first differences; status 1 if there are any.
"""
import argparse
import json
import os
import subprocess
import sys

import make_token_golden
import tokenizer_oracle

SUFFIXES = (".py", ".c", ".h", ".hpp", ".js", ".pl", ".pm", ".sh", ".txt", ".md", ".rs", ".go")


def code_points():
    for start in range(0, 0x110000, 64):
        if not 0xD800 <= start < 0xE000:
            yield " ".join(f"{chr(c)} {chr(c)}a1" for c in range(start, start + 64))


def source_files(folders, limit):
    total = 0
    for folder in folders:
        for path, dirs, files in os.walk(folder):
            dirs.sort()
            for name in sorted(files):
                if total >= limit or not name.endswith(SUFFIXES):
                    continue
                try:
                    with open(os.path.join(path, name), encoding="utf-8", newline="") as f:
                        text = f.read()
                except (OSError, UnicodeDecodeError):
                    continue
                total += len(text.encode())
                yield text


def nibble(model, lines, *options):
    command = [os.environ.get("NIBBLE", "build/nibble"), "tokenize", "-m", model, "--jsonl", *options]
    done = subprocess.run(command, input="".join(json.dumps(line) + "\n" for line in lines),
                          capture_output=True, encoding="utf-8", check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--mb", type=float, default=5)
    options = parser.parse_args()
    name, encode = tokenizer_oracle.from_gguf(options.model)
    sources = list(source_files(options.folders, options.mb * 1e6))
    texts = make_token_golden.texts() + list(code_points()) + sources
    got = [answer["ids"] for answer in nibble(options.model, [{"text": text} for text in texts])]
    assert len(got) == len(texts), "one line of ids for each text"
    back = [answer["text"] for answer in nibble(options.model, [{"ids": ids} for ids in got], "--decode")]
    n_ids = different = changed = 0
    for text, ids, again in zip(texts, got, back):
        want = encode(text)
        n_ids += len(want)
        changed += text != again
        if ids != want:
            different += 1
            if different <= 3:
                at = next((i for i, (a, b) in enumerate(zip(want, ids)) if a != b), len(want))
                print(f"{text[:60]!r}: id {at}: expected {want[at:at + 8]}, got {ids[at:at + 8]}")
    print(f"{name}: {len(texts)} texts, {sum(len(s.encode()) for s in sources) / 1e6:.1f} MB of source, "
          f"{n_ids} ids: {different} texts differ; {changed} do not decode to the same text")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
