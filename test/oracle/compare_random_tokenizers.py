#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts tokenizers together at random from every model, normalizer, pre-tokenizer, decoder, post-processor
and kind of added token that nibble reads, and compares ids and decoded text with Hugging Face
`tokenizers`.

    pip install tokenizers sentencepiece protobuf
    make lib && python3 test/oracle/compare_random_tokenizers.py [--count N] [--seed S]

A combination that nibble refuses is counted, with its reason; an examiner reads the list at the end.
The last line says how many differ; the exit status is 1 if any does. `--seed S --count 1` makes one
again and shows its tokenizer.json.
"""
import argparse
import collections
import json
import os
import random
import re
import resource
import sys
import tempfile
import traceback

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)

import compare_hf_tokenizer as base
import compare_regexes
import hf_tokenizers
import make_token_golden
import tokenizer_oracle as published

MARK = "\u2581"
SPECIAL = ["<s>", "</s>", "<unk>", "<mask>"]
REGEXES = [published.CL100K % "", published.CL100K % "{1,3}", published.QWEN35, published.SEED,
           published.o200k("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}"), published.o200k("", ""),
           published.DEEPSEEK3, published.CJK, r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\p{N}{1,3}", r"\p{N}",
           r"\s+$", r"\s+", r"\d", "[a-z]+", "[A-Za-z0-9_]+", r"\s?[!-/:-@]+", "[0-9][0-9][0-9]", "lf", r"\n"]
BEHAVIORS = ["isolated", "removed", "contiguous", "merged_with_previous", "merged_with_next"]
CHARSMAPS = {}


def charsmap(rule):
    if rule not in CHARSMAPS:
        CHARSMAPS[rule] = hf_tokenizers.charsmap(rule)
    return normalizers.Precompiled(CHARSMAPS[rule])


def train(kind, corpus, size):
    """The model of a small tokenizer as JSON; its tokens cross the boundaries that others draw."""
    if kind == "bytes":
        return json.loads(hf_tokenizers.byte_bpe(corpus, size, pre_tokenizers.ByteLevel(), SPECIAL).to_str())
    if kind == "chars":
        return json.loads(hf_tokenizers.char_bpe(corpus, size).to_str())
    if kind == "unigram":
        special = SPECIAL + ["<0x%02X>" % b for b in range(256)]
        data = json.loads(hf_tokenizers.unigram_model(
            corpus, size + 1200, None, pre_tokenizers.Metaspace(split=False), special).to_str())
        data["added_tokens"] = data["added_tokens"][:4]
        return data
    if kind in ("suffix", "prefix"):
        return json.loads(hf_tokenizers.FAMILIES["bpe_" + kind](corpus, size).to_str())
    if kind == "wordpiece":
        return json.loads(hf_tokenizers.wordpiece_model(
            corpus, size, normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()).to_str())
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=SPECIAL, show_progress=False))
    return json.loads(tokenizer.to_str())


def normalizer(r):
    one = [normalizers.NFC, normalizers.NFD, normalizers.NFKC, normalizers.NFKD, normalizers.Lowercase,
           normalizers.StripAccents, normalizers.Nmt,
           lambda: normalizers.Strip(left=r.random() < 0.5, right=r.random() < 0.5),
           lambda: normalizers.Prepend(r.choice([MARK, " ", "x", "\u00e9"])),
           lambda: normalizers.Replace(*r.choice([(" ", MARK), ("a", "bb"), ("  ", " "), ("\n", ""), ("\u00e9", "e"),
                                                  ("''", '"'), (Regex(" {2,}"), " "), (Regex(" {2,}"), MARK),
                                                  (regex(r), r.choice(["", " ", "x", MARK]))])),
           lambda: charsmap(r.choice(["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf"])),
           lambda: normalizers.BertNormalizer(clean_text=r.random() < 0.7, handle_chinese_chars=r.random() < 0.7,
                                              strip_accents=r.choice([None, True, False]),
                                              lowercase=r.random() < 0.5)]
    n = r.choice([0, 0, 1, 1, 2, 3])
    if n == 0:
        return None
    parts, seen = [], False
    for _ in range(n):
        part = r.choice(one)()
        if isinstance(part, normalizers.Precompiled):
            if seen:
                continue
            seen = True
        parts.append(part)
    return parts[0] if len(parts) == 1 and r.random() < 0.7 else normalizers.Sequence(parts)


def regex(r):
    """A published pattern, or any that Oniguruma reads."""
    while True:
        text = r.choice(compare_regexes.PUBLISHED) if r.random() < 0.3 else compare_regexes.pattern(r)
        try:
            return Regex(text)
        except Exception:
            continue


def split(r):
    pattern = r.choice([" ", "e", "\n", MARK, "ab", "->"]) if r.random() < 0.25 else \
        Regex(r.choice(REGEXES)) if r.random() < 0.5 else regex(r)
    behavior = r.choice(BEHAVIORS + ["isolated"] * 4)
    return pre_tokenizers.Split(pattern, behavior, invert=r.random() < 0.15)


def pre_tokenizer(r, kind, schemes):
    one = [lambda: split(r), lambda: split(r), lambda: split(r),
           lambda: pre_tokenizers.CharDelimiterSplit(r.choice("e (\n")),
           lambda: pre_tokenizers.Digits(individual_digits=r.random() < 0.5),
           lambda: pre_tokenizers.Punctuation(r.choice(BEHAVIORS)), pre_tokenizers.Whitespace,
           pre_tokenizers.WhitespaceSplit, pre_tokenizers.BertPreTokenizer]
    parts = [r.choice(one)() for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]
    if kind == "bytes":
        parts.append(pre_tokenizers.ByteLevel(add_prefix_space=r.random() < 0.4, use_regex=r.random() < 0.5))
    elif kind in ("chars", "unigram"):
        parts.append(pre_tokenizers.Metaspace(prepend_scheme=r.choice(schemes),
                                              split=r.random() < 0.6))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else pre_tokenizers.Sequence(parts)


def any_decoder(r):
    """Steps that no published tokenizer has in this order."""
    one = [lambda: decoders.Replace(*r.choice([(MARK, " "), ("e", ""), (" ", MARK), ("##", ""), ("a", "bc")])),
           lambda: decoders.Replace(regex(r), r.choice(["", " ", "x"])),
           lambda: decoders.Strip(r.choice([" ", MARK, "e", "\n"]), r.randrange(3), r.randrange(3)),
           decoders.ByteFallback, lambda: decoders.WordPiece(prefix=r.choice(["##", "e"]), cleanup=r.random() < 0.5),
           lambda: decoders.Metaspace(prepend_scheme=r.choice(["always", "first", "never"])),
           lambda: decoders.BPEDecoder(suffix="</w>")]
    steps = [r.choice(one)() for _ in range(r.choice([1, 1, 2, 3]))]
    return steps[0] if len(steps) == 1 else decoders.Sequence(steps)


def decoder(r, kind):
    if r.random() < 0.1:
        return None
    if r.random() < 0.2 and kind != "bytes":
        return any_decoder(r)
    if kind == "bytes":
        return decoders.ByteLevel()
    if kind == "suffix":
        return decoders.BPEDecoder(suffix="</w>")
    if kind in ("prefix", "wordpiece"):
        return decoders.WordPiece(prefix="##", cleanup=r.random() < 0.5)
    if kind == "words":
        return None
    if r.random() < 0.4:
        return decoders.Metaspace(prepend_scheme=r.choice(["always", "first", "never"]))
    steps = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    if r.random() < 0.2:
        steps.insert(r.choice([0, 1]), decoders.Replace(regex(r), r.choice(["", " ", "x"])))
    if r.random() < 0.5:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def post_processor(r, kind):
    if kind == "wordpiece":
        return r.choice([None, processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)), processors.TemplateProcessing(
            single=r.choice(["[CLS] $A [SEP]:1", "[CLS]:0 [CLS] $0 [SEP]", "$A:1 [SEP]"]), pair="$A $B",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)])])
    if kind not in ("bytes", "unigram", "words"):
        return r.choice([None, processors.ByteLevel(trim_offsets=r.random() < 0.5)])
    template = r.choice(["<s> $A </s>", "$A </s>", "<s> $A", "<s> <s> $A </s>", "$A"])
    template = processors.TemplateProcessing(single=template, pair="$A $B",
                                             special_tokens=[("<s>", 0), ("</s>", 1)])
    byte_level = processors.ByteLevel(trim_offsets=r.random() < 0.5)
    roberta = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=r.random() < 0.5,
                                           add_prefix_space=r.random() < 0.5)
    return r.choice([None, template, roberta, byte_level, processors.Sequence([byte_level, template]),
                     processors.Sequence([template, byte_level]), processors.BertProcessing(("</s>", 1), ("<s>", 0))])


def model_options(r, kind, model):
    if kind == "bytes":
        model["ignore_merges"] = r.random() < 0.3
    if kind == "chars":
        model["byte_fallback"] = r.random() < 0.6
        model["fuse_unk"] = r.random() < 0.5
        model["ignore_merges"] = r.random() < 0.2
        if r.random() < 0.15:
            model["unk_token"] = None
    if kind == "unigram":
        model["byte_fallback"] = r.random() < 0.5
    if kind == "wordpiece":
        model["max_input_chars_per_word"] = r.choice([100, 100, 5])
    if kind in ("bytes", "chars") and r.random() < 0.5:
        model["merges"] = [" ".join(m) if isinstance(m, list) else m for m in model["merges"]] \
            if all(" " not in "".join(m) for m in model["merges"]) else model["merges"]


def added_tokens(r, kind, tokenizer):
    """Left out: what the library itself gets wrong (special tokens that a normalizer changes are shown
    in a text without them, one that becomes empty cuts a text into characters), and letters that stand
    for bytes, which docs/tokenizers.md says are shown otherwise."""
    texts = ["return", "def ", "[X]", "<both>", "IF", "self", "   ", "\n\n", "(x", "\u4e2d\u6587", "e\u0301", " a",
             "aa", "a", "<|x|>", "'s", "12", "\u00c9", MARK + "in", "<extra_id_1>"]
    for text in r.sample(texts, r.choice([0, 0, 1, 3, 7])):
        # Ordinary text is no marker: nibble keeps the two apart on purpose.
        special = text[0] in "<[" and r.random() < 0.5
        empty = tokenizer.normalizer is not None and not tokenizer.normalizer.normalize_str(text).strip()
        if text == "\u00c9" and kind == "bytes":
            continue
        token = AddedToken(text, single_word=r.random() < 0.2, lstrip=r.random() < 0.2, rstrip=r.random() < 0.2,
                           normalized=not special and not empty and r.random() < 0.5)
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([token])


def make(r, kinds):
    kind = r.choice(sorted(kinds))
    data = json.loads(json.dumps(kinds[kind]))
    model_options(r, kind, data["model"])
    data.update(normalizer=None, pre_tokenizer=None, decoder=None, post_processor=None)
    tokenizer = Tokenizer.from_str(json.dumps(data))
    # None is no value for these: they are None already.
    first = normalizer(r)
    # What a normalizer makes of the first character starts the text, each piece of it, for "first".
    schemes = ["always", "never"] if re.search("Prepend|Bert|NFK|NFD|Precompiled", str(first)) else ["always", "first", "never"]
    for part, value in (("normalizer", first), ("pre_tokenizer", pre_tokenizer(r, kind, schemes)),
                        ("decoder", decoder(r, kind)), ("post_processor", post_processor(r, kind))):
        if value is not None:
            setattr(tokenizer, part, value)
    added_tokens(r, kind, tokenizer)
    return kind, tokenizer


def texts(r, hostile, code):
    out = r.sample(hostile, 90) + [c[at:at + 400] for c in r.sample(code, 8) for at in [r.randrange(1 + len(c) // 2)]]
    for _ in range(25):
        low, high = r.choice([(0x20, 0x7F), (0x20, 0x250), (0x2B0, 0x1200), (0x2000, 0x3100), (0xA000, 0xD7FF),
                              (0xF900, 0xFFFE), (0x1D000, 0x1F700)])
        out.append("".join(r.choice([" ", chr(r.randrange(low, high)), chr(r.randrange(low, high))])
                           for _ in range(r.randrange(1, 24))))
    return out


def survives(tokenizer, text):
    """The library itself panics over some added tokens."""
    try:
        tokenizer.encode(text)
    except BaseException as error:  # PanicException is no Exception
        if type(error).__name__ != "PanicException":
            raise
        return False
    return True


def compare_one(seed, kinds, shim, folder, hostile, code, show):
    """{"refused": message} or {"kind": ..., "bad": texts that differ}"""
    r = random.Random(seed)
    kind, theirs = make(r, kinds)
    parts = json.loads(theirs.to_str())
    kept = {k: parts[k] for k in ("normalizer", "pre_tokenizer", "post_processor", "decoder")}
    rules = re.sub(r"'[A-Za-z0-9+/=]{400,}'", "...", str(kept))
    added = [{k: v for k, v in t.items() if v and k != "id"} for t in parts["added_tokens"]]
    if show:
        print(f"seed {seed} {kind}\n    {rules}\n    {added[:20]}", flush=True)
    theirs.save(os.path.join(folder, "tokenizer.json"))
    try:
        ours = base.Ours(shim, folder)
    except ValueError as error:
        return {"refused": str(error)}
    used = [text for text in texts(r, hostile, code) if survives(theirs, text)]
    bad = base.compare(f"seed {seed}", ours, theirs, used, 1)
    if bad:
        print(f"not ok seed {seed} {kind}: {bad} texts\n    {rules}\n    {added[:20]}", flush=True)
    return {"kind": kind, "bad": bad}


def in_child(function):
    """What it returns; None if the library aborts, for want of memory among others."""
    read, write = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        try:
            os.write(write, json.dumps(function()).encode())
        except BaseException:  # must not leave by the parent's way, which removes the folder
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as f:
        data = f.read()
    os.waitpid(child, 0)
    return json.loads(data) if data else None


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=100)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--show", action="store_true")
    args = args.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # of children
    corpus = make_token_golden.source_code() + make_token_golden.texts()
    hostile, code = make_token_golden.texts() + base.extra_texts(), base.source_code(200000)
    kinds = {kind: train(kind, corpus, 500)
             for kind in ("bytes", "chars", "unigram", "suffix", "prefix", "wordpiece", "words")}
    differ, died, refused, seen = 0, 0, collections.Counter(), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        shim = base.build_shim(folder)
        for seed in range(args.seed, args.seed + args.count):
            result = in_child(lambda: compare_one(seed, kinds, shim, folder, hostile, code, args.show))
            if result is None:
                died += 1
            elif "refused" in result:
                refused[result["refused"]] += 1
            else:
                seen[result["kind"]] += 1
                differ += result["bad"] != 0
    for message, n in refused.most_common():
        print(f"{n} refused: {message}")
    print(", ".join(f"{n} {kind}" for kind, n in sorted(seen.items())))
    print(f"{args.count} tokenizers, {sum(refused.values())} refused by name, {died} that end the library, "
          f"{differ} differ")
    return differ != 0 or not seen


if __name__ == "__main__":
    sys.exit(main())
