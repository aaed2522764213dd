#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes regular expressions at random, and takes those of published tokenizers, and compares where they
match with Oniguruma inside Hugging Face `tokenizers`.

    pip install tokenizers
    make lib && python3 test/oracle/compare_regexes.py [--count N] [--seed S]

What either side refuses is counted. The last line says how many differ.
"""
import argparse
import collections
import ctypes
import random
import sys
import tempfile

from tokenizers import Regex, pre_tokenizers

import compare_hf_tokenizer as base
import make_token_golden

PUBLISHED = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"\d{1,3}(?=(?:\d{3})*\b)", r"(?=(\d{3})+(?!\d))", r"(?<=[a-z])(?=[A-Z])", r"[\p{Han}]+|[^\p{Han}\s]+",
    r" ?[^(\s|[.,!?…。，、।۔،])]+", r"\p{Z}+|\p{Cc}|\p{Pc}+", r"(?<!\w)'\w+'(?!\w)", r"\b\w+\b", r"^\s+|\s+$",
    r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", r"(?:\r?\n)+|[^\r\n]+", r"\$\{\w+\}|\$\w+", r"[^\S\n]+\n?",
    r"//[^\n]*|/\*(?:[^*]|\*[^/])*\*/", r"\"(?:[^\"\\]|\\.)*\"", r"0[xX][\dA-Fa-f]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?",
    r"(?i)for|while|if|else", r"[\u0900-\u097F]+|\X", r"\p{Lu}\p{Ll}+|\p{Lt}|\p{Lm}|\p{Lo}", r"\p{Mn}+|\P{M}\p{M}*"]

CHARACTERS = ["a", "b", "e", "s", "S", "x", "1", "0", " ", r"\.", r"\(", "'", "_", "-", "é", "中", "\u2581", r"\n", r"\t", ",", ":"]
CLASSES = [r"\s", r"\S", r"\d", r"\D", r"\w", r"\W", r"\p{L}", r"\p{N}", r"\p{P}", r"\p{Lu}", r"\p{Ll}", r"\p{M}", r"\P{L}",
           r"\p{S}", r"\h", r"\p{Lo}", r"\p{^N}", r"\p{Z}", r"\p{Cc}", r"\p{Han}"]
MEMBERS = ["a", "b", "e", "s", "x", "A", "0-9", "a-z", "A-Z", "a-f", r"\r", r"\n", r"\s", r"\d", r"\w", r"\p{L}", r"\p{N}",
           r"\p{P}", r"\S", r"\-", r"\]", r"\\", "_", " ", "'", ".", "(", "*", "é", "一-龥", "!-/", r"\p{M}", r"\P{L}"]
EDGES = ["^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z"]


def brackets(r):
    inner = r.sample(MEMBERS, r.randrange(1, 5))
    if r.random() < 0.1:
        inner.append("[" + "".join(r.sample(MEMBERS, r.randrange(1, 3))) + "]")
    return "[" + ("^" if r.random() < 0.4 else "") + "".join(inner) + "]"


def single(r):
    k = r.random()
    return r.choice(CHARACTERS) if k < 0.4 else r.choice(CLASSES) if k < 0.7 else brackets(r) if k < 0.95 else "."


def quantifier(r):
    return r.choice(["?", "*", "+", "+", "+", "{2}", "{1,3}", "{2,}", "{,2}", "{0,2}", "{3,4}"])


def piece(r, depth):
    k = r.random()
    if k < 0.06:
        return r.choice(EDGES)
    if k < 0.16:
        look = r.choice(["(?=", "(?!", "(?<=", "(?<!"])
        inner = single(r) if look[2] == "<" or depth == 0 or r.random() < 0.7 else pattern(r, 0)
        return look + inner + ")"
    if k < 0.36 and depth > 0:
        text = r.choice(["(?:", "(", "(?:", "(?i:"]) + pattern(r, depth - 1) + ")"
        possessive = ""
    else:
        text, possessive = single(r), "+"
    if r.random() < 0.5:
        q = quantifier(r)
        text += q + ("?" if r.random() < 0.12 else possessive if r.random() < 0.12 and q in "?*+" else "")
    return text


def pattern(r, depth=2):
    n = r.choice([1, 1, 2, 3] if depth > 0 else [1, 1, 2])
    return "|".join("".join(piece(r, depth) for _ in range(r.choice([1, 1, 2, 2, 3]))) for _ in range(n))


def texts(r):
    letters = list("aabeessxSAZ10  '_-.,:()\n\t\r") + ["é", "中", "\u2581", "\u0301", "٣", "ſ", "K", "²", "\u00a0", "ß", "  ", "\n\n"]
    out = ["".join(r.choice(letters) for _ in range(r.randrange(0, 40))) for _ in range(12)]
    return out + r.sample(make_token_golden.texts(), 6) + ["", "\n", "a\n", "foo.barBaz(1234567, 'x')  \n\n\treturn 0\n"]


class Ours:
    def __init__(self, shim):
        self.lib = ctypes.CDLL(shim)
        self.lib.shim_matches.restype = ctypes.c_long

    def matches(self, pattern, text):
        """Pairs of characters; None: given up."""
        p, t = pattern.encode(), text.encode()
        out = (ctypes.c_long * (4 * len(t) + 8))()
        message = ctypes.create_string_buffer(400)
        n = self.lib.shim_matches(p, ctypes.c_size_t(len(p)), t, ctypes.c_size_t(len(t)), out,
                                  ctypes.c_size_t(len(out)), message, 400)
        if n == -1:
            raise ValueError(message.value.decode(errors="replace"))
        if n == -2:
            return None
        place, at = {}, 0
        for i, c in enumerate(text + "\0"):
            place[at] = i
            at += len(c.encode())
        return [(place[out[i]], place[out[i + 1]]) for i in range(0, n, 2)]


def cut(matches, n, removed):
    pieces, at = [], 0
    for begin, end in matches:
        if begin > at:
            pieces.append((at, begin))
        if end > begin and not removed:
            pieces.append((begin, end))
        at = end
    return pieces + ([(at, n)] if at < n else [])


def compare(ours, pattern, texts):
    """Texts that differ; raises ValueError if we, KeyError if they refuse it."""
    bad = []
    for text in texts:
        got = ours.matches(pattern, text)
        for behavior in ("isolated", "removed"):
            try:
                want = pre_tokenizers.Split(Regex(pattern), behavior).pre_tokenize_str(text) if text else []
            except BaseException as error:  # Oniguruma gives up by a panic, which is no Exception
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise KeyError(str(error))
            want = [span for _, span in want]
            if got is None or cut(got, len(text), behavior == "removed") != want:
                bad.append((text, got, want))
                break
    return bad


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=300)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--pattern", action="append", help="this one instead")
    args = args.parse_args()
    refused, differ, agreed, theirs = collections.Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(base.build_shim(folder))
        r = random.Random(args.seed)
        patterns = args.pattern or PUBLISHED + [pattern(r) for _ in range(args.count)]
        for p in patterns:
            try:
                bad = compare(ours, p, texts(r))
            except ValueError as error:
                refused[str(error).rsplit("': ", 1)[-1]] += 1
                continue
            except KeyError as error:
                theirs += 1
                continue
            agreed += not bad
            differ += bool(bad)
            for text, got, want in bad[:1]:
                print(f"not ok {p!r}\n    {text!r}\n    matches {got}\n    pieces  {want}")
    for message, n in refused.most_common():
        print(f"{n} refused: {message}")
    print(f"{agreed} agree, {sum(refused.values())} refused by name, {theirs} refused by Oniguruma, {differ} differ")
    return differ != 0 or agreed == 0


if __name__ == "__main__":
    sys.exit(main())
