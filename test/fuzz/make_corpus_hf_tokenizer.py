#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/tokenizer_json/, regex/ and sentencepiece/: tiny files that between
them hold every component that is read. (score_underflow was found by the fuzzer.)

    python3 test/fuzz/make_corpus_hf_tokenizer.py
"""
import base64
import json
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
META = "\u2581"
CHARSMAP = struct.pack("<I", 16) + struct.pack("<4I", 0x400, 0x161, 1 << 31, 0) + b"b\0"


def put(folder, name, data):
    path = os.path.join(HERE, folder)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as f:
        f.write(data)


def bpe(**more):
    tokens = ["<unk>", "<s>", "a", "b", "ab", "\u0120", "\u0120a", META, META + "a", "r", "e", "re", "1",
              "<0x41>", "##a", "a</w>", "a##a", "\u00c3", "\u00a9"]
    model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)},
             "merges": ["a b", ["r", "e"], "\u0120 a", META + " a"]}
    model.update(more)
    return model


def unigram(**more):
    vocab = [["<unk>", 0], ["<s>", 0], [META, -2.5], [META + "a", -3], ["a", -1.5], ["ab", -2], ["\u00e9", -4],
             ["<0xE2>", -9]]
    return dict({"type": "Unigram", "unk_id": 0, "vocab": vocab}, **more)


def words(kind):
    return {"type": kind, "unk_token": "<unk>", "vocab": {"<unk>": 0, "<s>": 1, "a": 2, "##b": 3, "##a": 4, "x": 5},
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 20}


def sequence(kind, *parts):
    return {"type": "Sequence", kind: list(parts)}


def regex(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


ADDED = [{"id": 1, "content": "<s>", "special": True},
         {"id": 30, "content": "<mask>", "lstrip": True, "rstrip": True, "normalized": False, "special": True},
         {"id": 31, "content": "abab", "single_word": True, "normalized": True},
         {"id": 32, "content": "  ", "normalized": False}]
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
SPACES = {"type": "Metaspace", "replacement": META, "prepend_scheme": "first", "split": True}
FILES = {
    "bytes": dict(model=bpe(ignore_merges=True), pre_tokenizer=BYTES, decoder=BYTES,
                  normalizer={"type": "NFC"}, post_processor={"type": "RobertaProcessing", "cls": ["<s>", 1],
                                                              "sep": ["<unk>", 0]}),
    "digits": dict(model=bpe(), pre_tokenizer=sequence("pretokenizers", {"type": "Digits", "individual_digits": True},
                                                       regex("[\\r\\n]"), regex("\\s?[!-/:-~]+"),
                                                       dict(BYTES, use_regex=False)), decoder=BYTES),
    "llama": dict(model=bpe(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
                  normalizer=sequence("normalizers", {"type": "Prepend", "prepend": META},
                                      {"type": "Replace", "pattern": {"String": " "}, "content": META}),
                  decoder=sequence("decoders", {"type": "Replace", "pattern": {"String": META}, "content": " "},
                                   {"type": "ByteFallback"}, {"type": "Fuse"},
                                   {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
                  post_processor={"type": "TemplateProcessing",
                                  "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                                             {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
                                  "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}),
    "suffix": dict(model=bpe(unk_token="<unk>", end_of_word_suffix="</w>", continuing_subword_prefix="##", merges=[]),
                   normalizer=sequence("normalizers", {"type": "NFKC"}, {"type": "Lowercase"},
                                       {"type": "Strip", "strip_left": True, "strip_right": True}),
                   pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "BPEDecoder", "suffix": "</w>"}),
    "unigram": dict(model=unigram(byte_fallback=True), pre_tokenizer=SPACES, decoder=SPACES,
                    normalizer=sequence("normalizers", {"type": "Precompiled", "precompiled_charsmap":
                                                        base64.b64encode(CHARSMAP).decode()},
                                        {"type": "Nmt"}, {"type": "NFKD"}, {"type": "StripAccents"},
                                        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})),
    "split": dict(model=unigram(), pre_tokenizer=sequence("pretokenizers", {"type": "WhitespaceSplit"},
                                                          {"type": "Punctuation", "behavior": "Contiguous"},
                                                          regex("\\p{N}{1,3}", "Removed", True), SPACES)),
    "regex": dict(model=bpe(), normalizer={"type": "Replace", "pattern": {"Regex": "\\s+$|(?i:x)"}, "content": ""},
                  pre_tokenizer=sequence("pretokenizers", regex("(?=[A-Z])"), regex("[^\\W\\d]+|\\d{1,2}", "MergedWithNext")),
                  decoder={"type": "Replace", "pattern": {"Regex": "a+?b"}, "content": " "}),
    "wordpiece": dict(model=words("WordPiece"), normalizer={"type": "BertNormalizer", "clean_text": True,
                                                            "handle_chinese_chars": True, "strip_accents": None,
                                                            "lowercase": True},
                      pre_tokenizer={"type": "Whitespace"}, decoder={"type": "WordPiece", "prefix": "##",
                                                                     "cleanup": True}),
    "wordlevel": dict(model=words("WordLevel"), pre_tokenizer=sequence("pretokenizers", {
        "type": "Split", "pattern": {"String": "a"}, "behavior": "MergedWithNext", "invert": False}, regex(
            "\\s+", "MergedWithPrevious"))),
}


REGEXES = [(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s+(?!\S)|\s+", "It's 12345  ok.\n"),
           (r"(?<=[a-z])(?=[A-Z])|\b\w{2,}?\b|^x*$", "fooBar ab\n"), (r"\d{1,3}(?=(?:\d{3})*(?!\d))", "1234567"),
           (r"(?:a|aa)+?b|\x{e9}\u4e2d\h\W|\p{^Han}\P{M}\p{M}*.\Z", "aab\u00e9\u4e2da!e\u0301\n"),
           (r"(?i)[a-ks-]|[^+--]{,2}\S\A", "Kx+,\u212a"), ("((((((((((((a{9}){9})))))))))))", "a" * 90),
           ("[^(\\s|[.,!?]\\-)]+", "a.b (c)")]


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def message(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field, value):
    return varint(field << 3) + varint(value)


def model(kind, pieces, normalizer=b"", fallback=0):
    out = b""
    for text, score, piece_type in pieces:
        out += message(1, message(1, text.encode()) + b"\x15" + struct.pack("<f", score) + number(3, piece_type))
    return out + message(2, number(3, kind) + number(35, fallback)) + message(3, normalizer)


def main():
    for name, parts in FILES.items():
        data = {"version": "1.0", "added_tokens": ADDED}
        data.update(parts)
        put("tokenizer_json", name, json.dumps(data, ensure_ascii=False).encode())
    for i, (pattern, text) in enumerate(REGEXES):
        put("regex", f"pattern_{i}", pattern.encode() + b"\0" + text.encode())
    vocab = json.dumps({"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "b": 5, "ab": 6, "\u0120": 7}).encode()
    config = json.dumps({"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True, "added_tokens_decoder": {
        "9": {"content": "<mask>", "lstrip": True, "special": True}}}).encode()
    put("tokenizer_json", "slow", b"v" + vocab + b"\0#version: 0.2\na b\n\0" + config)
    put("tokenizer_json", "slow_gpt2", b"v" + vocab + b"\0a b\n")
    special = json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>", "special": True}, "mask_token": "<mask>",
                          "additional_special_tokens": ["<x>"]}).encode()
    ids = json.dumps({"bos_token_id": 0, "eos_token_id": [2, 3], "pad_token_id": None, "vocab_size": 40}).encode()
    others = b"\0".join([config, special, json.dumps({"<x>": 8, "<mask>": 9}).encode(), ids, ids])
    put("tokenizer_json", "slow_all", b"v" + vocab + b"\0a b\n\0" + others)
    modern = json.dumps(dict(version="1.0", added_tokens=ADDED, **FILES["bytes"]), ensure_ascii=False).encode()
    put("tokenizer_json", "modern_all", b"T" + modern + b"\0" + others)
    pieces = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), (META, -1, 1), ("a", -2, 1), (META + "a", -3, 1),
              ("ab", -2.5, 1), ("b", -2, 1), ("<x>", 0, 4), ("r", -4, 5), ("<0xFF>", 0, 6)]
    rules = message(2, CHARSMAP) + number(3, 1) + number(4, 1)
    for which in range(5):
        put("sentencepiece", f"unigram_{which}", bytes([which]) + model(1, pieces, rules, which & 1))
        if which == 0:
            put("sentencepiece", "char", bytes([which]) + model(4, pieces, rules, 1))
        put("sentencepiece", f"bpe_{which}", bytes([which]) + model(2, pieces, number(4, 0), which & 1))


if __name__ == "__main__":
    main()
