#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/tokenizer/: see fuzz_tokenizer.c for what the first byte means.

    python3 test/fuzz/make_corpus_tokenizer.py
"""
import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tokenizer")
FAMILIES = 12
TEXTS = {
    "code": b"def f(x):\n    return x['a'] + 12345 # it's\r\n\t\tdone  \n",
    "unicode": "na\u00efve \u4e2d\u6587 \u0e01\u0e33 \U0001f600\u200d \u00bd\u00b2 \u2581 e\u0301\u3000x".encode(),
    "bytes": bytes(range(256)),
    "special": b"a<|fim_prefix|>b<|endoftext|><s></s><0x41>[CLS]<|user|>",
    "run": b"a" * 100 + b" " * 70 + b"!" * 66 + b"\n" * 65,
}


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def array(kind, items):
    pack = {8: text, 5: lambda v: struct.pack("<i", v), 6: lambda v: struct.pack("<f", v),
            0: lambda v: bytes([v])}[kind]
    return struct.pack("<IQ", kind, len(items)) + b"".join(map(pack, items))


def gguf(keys):
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    for key, kind, value in keys:
        out += text("tokenizer.ggml." + key) + struct.pack("<I", kind) + value
    return out


def vocabularies():
    tokens = ["<unk>", "<s>", "</s>", "\u2581", "a", "r", "e", "t", "re", "\u2581re", "ret", "\u0120", "x",
              "<x>", "<0x41>", "d", "f"]
    types = [2, 3, 3] + [1] * 10 + [4, 6, 1, 1]
    scores = [-float(i) for i in range(len(tokens))]
    common = [("tokens", 9, array(8, tokens)), ("token_type", 9, array(5, types))]
    charsmap = struct.pack("<I", 16) + struct.pack("<4I", 0x400, 0x161, 1 << 31, 0) + b"b\0"
    yield "bpe", [("model", 8, text("gpt2")), ("pre", 8, text("qwen2"))] + common + [
        ("merges", 9, array(8, ["r e", "re t"])), ("eos_token_id", 4, struct.pack("<I", 2))]
    yield "gemma", [("model", 8, text("gemma4"))] + common + [
        ("merges", 9, array(8, ["r e", "\u2581 re"])), ("add_bos_token", 7, b"\1")]
    yield "spm", [("model", 8, text("llama"))] + common + [("scores", 9, array(6, scores)),
                                                           ("add_space_prefix", 7, b"\1")]
    yield "unigram", [("model", 8, text("t5"))] + common + [
        ("scores", 9, array(6, scores)), ("precompiled_charsmap", 9, array(0, list(charsmap))),
        ("remove_extra_whitespaces", 7, b"\1"), ("unknown_token_id", 4, struct.pack("<I", 0))]
    yield "wpm", [("model", 8, text("bert"))] + common + [
        ("unknown_token_id", 4, struct.pack("<I", 0)), ("cls_token_id", 4, struct.pack("<I", 1)),
        ("seperator_token_id", 4, struct.pack("<I", 2))]


def put(name, data):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)


def main():
    os.makedirs(OUT, exist_ok=True)
    for number, (name, data) in enumerate((n, d) for n, d in TEXTS.items()):
        for family in range(number % 2, FAMILIES, 2):
            put(f"text_{name}_{family:02}", bytes([family]) + data)
    for name, keys in vocabularies():
        put(f"metadata_{name}", b"\x10" + gguf(keys))


if __name__ == "__main__":
    main()
