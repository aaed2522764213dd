#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/state/: changes to a saved session, in the form that fuzz_state.c reads."""
import os
import struct

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "state")


def changes(kind, edits=(), growth=0, wrong_checksum=False):
    head = struct.pack("<BH", kind | 4 * wrong_checksum, 32768 + growth)
    return head + b"".join(struct.pack("<HB", at, value) for at, value in edits)


def word(at, value):
    return [(at + i, value >> 8 * i & 255) for i in range(4)]


FILES = {f"whole_{kind}": changes(kind) for kind in range(4)}
FILES |= {
    "no_checksum": changes(0, [(60, 1)], wrong_checksum=True),
    "magic": changes(0, [(0, 0)]),
    "version": changes(0, [(8, 2)]),
    "other_cache": changes(0, word(12, 1)),
    "other_model": changes(0, [(16, 1), (17, 2)]),
    "layers": changes(0, word(24, 1000)),
    "tokens_many": changes(0, word(40, 33)),
    "tokens_huge": changes(1, word(40, 2**32 - 1) + word(44, 2**32 - 1)),
    "evaluated_more": changes(2, word(44, 6)),
    "evaluated_less": changes(2, word(44, 4)),
    "logits_flag": changes(2, word(48, 2)),
    "logits_dropped": changes(2, word(48, 0)),
    "token_range": changes(3, word(56, 70000)),
    "token_negative": changes(3, word(60, 2**32 - 1)),
    "nan_logits": changes(2, [(76 + i, 255) for i in range(64)]),
    "nan_cache": changes(0, [(80 + i, 255) for i in range(64)]),
    "shorter": changes(0, growth=-1),
    "longer": changes(0, growth=1),
    "header_only": changes(0, growth=-(2**15)),
}

OVER = 8  # an encoder-decoder: 5 tokens, 3 of a source
FILES |= {f"source_whole_{kind}": changes(kind | OVER) for kind in range(4)}
FILES |= {
    "source_version": changes(OVER, word(8, 1)),
    "source_none": changes(OVER, word(52, 0)),
    "source_none_evaluated": changes(OVER, word(52, 0) + word(44, 0)),
    "source_more": changes(OVER, word(52, 4), growth=4),
    "source_full": changes(OVER, word(52, 33), growth=120),
    "source_huge": changes(OVER, word(52, 2**32 - 1)),
    "source_range": changes(OVER, word(76, 59)),
    "source_other": changes(OVER | 2, word(76, 58)),
    "source_of_decoder": changes(0, word(52, 1), growth=4),
}

os.makedirs(HERE, exist_ok=True)
for name, content in FILES.items():
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(content)
