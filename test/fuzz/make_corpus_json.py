#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/json/: small documents, each with something of its own.

    python3 test/fuzz/make_corpus_json.py
"""
import json
import os

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "json")
DOCUMENTS = {
    "config": json.dumps({
        "architectures": ["GPT2LMHeadModel"], "n_layer": 12, "layer_norm_epsilon": 1e-05, "n_inner": None,
        "rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": True,
        "eos_token_id": [1, 2], "x": float("nan"), "y": -float("inf")}, indent=2).encode(),
    "header": b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}   ',
    "vocab": json.dumps({chr(0x100 + i): i for i in range(40)}, ensure_ascii=False).encode(),
    "escapes": rb'["\"\\\/\b\f\n\r\t\u0000\u00e9\u20ac\ud83d\ude00","' + "\u00e9\u20ac\U0001f600".encode() + b'"]',
    "numbers": b"[0,-0,1.5e-3,9223372036854775807,-9223372036854775808,9223372036854775808,1e999,5e-324,"
               b"0.1000000000000000055511151231257827021181583404541015625,NaN,Infinity,-Infinity]",
    "deep": b"[" * 64 + b"]" * 64,
    "too_deep": b"[" * 65 + b"]" * 65,
    "nested": b'{"a":{"b":[{"c":{}},[],[[]],{"d":[]}]},"e":0}',
    "duplicate": b'{"a":1,"b":2,"\\u0061":3}',
    "duplicate_many": ("{" + ",".join(f'"{i % 19}":{i}' for i in range(20)) + "}").encode(),
    "surrogate": rb'"\ud800"',
    "trailing": b"[1,]",
    "bom": b"\xef\xbb\xbf{}",
    "utf8": b'"\xc0\x80"',
    "scalar": b" true ",
}


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, data in DOCUMENTS.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
