#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/safetensors/ and test/fuzz/corpus/config/.

    python3 test/fuzz/make_corpus_hf.py
"""
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors(header, n_bytes):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(n_bytes))


GOOD = {"__metadata__": {"format": "pt"}, "a.weight": entry("F32", [2, 3], 0, 24), "b": entry("F16", [4], 24, 32),
        "c": entry("BF16", [], 32, 34), "mask": entry("BOOL", [1, 1, 2, 2], 34, 38), "ids": entry("I64", [1], 38, 46),
        "none": entry("F32", [0, 4], 46, 46)}
SAFETENSORS = {
    "good": safetensors(GOOD, 46),
    "padded": safetensors(json.dumps({"x": entry("F32", [1], 0, 4)}).encode() + b"     ", 4),
    "empty": safetensors({}, 0),
    "overlap": safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, 12),
    "hole": safetensors({"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 12, 20)}, 20),
    "outside": safetensors({"a": entry("F32", [20], 0, 80)}, 8),
    "overflow": safetensors({"a": entry("F32", [1 << 62, 4], 0, 0)}, 0),
    "duplicate": safetensors(b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                             b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}', 2),
    "dtype": safetensors({"a": entry("Q4", [1], 0, 1)}, 1),
    "header_size": struct.pack("<Q", 1 << 40) + b"{}",
}
CONFIGS = {
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_layer": 12, "hidden_act": "gelu_new", "eos_token_id": 50256,
             "rope_scaling": None, "a": [1, 2, 3]},
    "llama": {"n_layer": 2.5, "rope_scaling": {"factor": 8.0, "long_factor": [1.0, 1.5, 1e39], "rope_type": "yarn"},
              "eos_token_id": [1, 2, 4294967295], "a": {"b": {"c": [True, False]}}},
    "arrays": {"a": [[], [1, -2], [1.5, 2], ["x", "\u00e9", ""], [None], [1, "x"], [True], [2147483648], [{}]],
               "k": [], "n_layer": -1, "eos_token_id": 18446744073709551616},
    "array": [1, 2],
    "rules": {"forced_bos_token_id": 3, "forced_eos_token_id": 49, "no_repeat_ngram_size": 2, "min_length": 5,
              "repetition_penalty": 1.5, "suppress_tokens": [1, 2, 49], "begin_suppress_tokens": [0]},
    "rules_wrong": {"suppress_tokens": [50], "min_new_tokens": -1, "bad_words_ids": [[1]], "forced_bos_token_id": 50},
}


def main():
    for folder, files in (("safetensors", SAFETENSORS), ("config", {k: json.dumps(v).encode() for k, v in CONFIGS.items()})):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
        for name, data in files.items():
            with open(os.path.join(HERE, folder, name), "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
