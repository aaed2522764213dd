#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fixtures/token/: four small vocabularies (bpe, spm, unigram, wpm .gguf), texts made to
break tokenizers (texts.bin), and for each family what Hugging Face tokenizers or sentencepiece make
of them (FAMILY.ids). test/token/test_token_golden.c reads all of it.

    pip install gguf tokenizers sentencepiece protobuf
    python3 test/oracle/make_token_golden.py

texts.bin: u32 count; then u32 length and bytes of each. FAMILY.ids: u16 n and u16 ids[n] of each
text (n = 0xFFFF: not compared). All little endian. The BPE vocabulary is trained without a pre-tokenizer, so that it has tokens
across every boundary that a pre-tokenizer draws: a wrong boundary changes the ids.
"""
import inspect
import io
import json
import os
import random
import struct
import textwrap

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

import tokenizer_oracle as oracle

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "token")
BPE_FAMILIES = ["gpt-2", "smollm", "qwen2", "qwen35", "llama-bpe", "seed-coder", "deepseek-coder",
                "deepseek-llm", "deepseek-v3", "gpt-4o", "tekken", "falcon"]
# One or more of every class that some pattern tells apart, and their look-alikes.
CHARACTERS = [
    0x20, 0x20, 0x20, 0x0A, 0x0D, 0x09, 0x0B, 0x0C, 0x1C, 0xA0, 0x85, 0x3000, 0x2003, 0x200B, 0xFEFF,
    0x27, 0x73, 0x53, 0x17F, 0x6C, 0x41, 0x61, 0x7A, 0x31, 0x33, 0x35, 0x663, 0xB2, 0xBD, 0x2460,
    0x5D0, 0x300, 0x301, 0x20DD, 0x903, 0xE9, 0x1E9E, 0x130, 0x131, 0x4E2D, 0x6587, 0x3042, 0xAC00,
    0x1F600, 0x200D, 0xFE0F, 0x1F1E9, 0x21, 0x2E, 0x24, 0x2B, 0x5F, 0x2018, 0x2026, 0xFF01, 0xFFE5,
    0x10FFFF, 0xE000, 0x378, 0x00, 0x01, 0x7F, 0xAD, 0x180E, 0x2028, 0x1D7D8, 0x1E900, 0x10D0, 0x1C90,
    0xFFFD, 0x1C5, 0x2B0, 0x3A3, 0x3C2, 0xDF, 0xFB01, 0x2126]
PIECES = ["'s", "'S", "'LL", "'ll", "'re", "'Re", "'\u017f", "'D", " ", "\n", "\r\n", "\t", "  ", "a",
          "\u00c9", "1", "12", "123456", "!", "!!", "=", "_", "\u4e2d", "\u0301", "def ", "    return",
          "();", "//", "\n\n\n", "x1y", "#include <", "HTTPServer", "iPhone'S", "\u01c5A", "\u4e2dABC", "\u02b0B", "-x", "\u3042",
          "\ud7a3", "\u0e01\u0e33"]


def source_code():
    return [inspect.getsource(module) for module in (textwrap, random, struct, io)]


def texts():
    r = random.Random(20261122)
    out = ["", " ", "  ", "\n", "\r\n\r\n", "a", " a", "a ", " \n a", "\t\tx", "it's", "IT'S", "'", "''"]
    for n in (1, 2, 3, 4, 6, 10, 20):
        out += ["".join(chr(r.choice(CHARACTERS)) for _ in range(n)) for _ in range(40)]
    out += ["".join(r.choice(PIECES) for _ in range(8)) for _ in range(240)]
    planes = [(0x80, 0x800), (0x800, 0xD800), (0xE000, 0x10000), (0x10000, 0x20000)]
    out += ["".join(chr(r.randrange(*r.choice(planes))) for _ in range(10)) for _ in range(80)]
    out += [c * n for c in "a \n!1\u00e9\u4e2d" for n in (63, 64, 65, 130, 300)]
    for code in source_code():
        for _ in range(12):
            at = r.randrange(len(code))
            out.append(code[at:at + r.randrange(40, 400)])
    return [t for t in out if "\u2581" not in t]


def write_gguf(name, model, tokens, types, scores=None, merges=None, extra=()):
    from gguf import GGUFWriter
    w = GGUFWriter(os.path.join(OUT, name + ".gguf"), "llama")
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    w.add_token_types(types)
    if scores is not None:
        w.add_token_scores(scores)
    if merges is not None:
        w.add_token_merges(merges)
    for add in extra:
        add(w)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def make_bpe(corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=1200, max_token_length=12, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    # Short documents, so that pairs at every boundary are seen without one endless word.
    chunks = [text[i:i + 60] for text in corpus for i in range(0, len(text), 60)]
    tokenizer.train_from_iterator(chunks, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    extra = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|user|>"]
    write_gguf("bpe", "gpt2", tokens + extra, [1] * len(tokens) + [3, 3, 3, 4, 4], merges=merges,
               extra=[lambda w: w.add_eos_token_id(len(tokens))])
    return {pre: oracle.bpe(tokens, merges, pre) for pre in BPE_FAMILIES}


def train_pieces(corpus, kind, **options):
    out = io.BytesIO()
    lines = [line for text in corpus for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=700, model_type=kind,
        num_threads=1, hard_vocab_limit=False, minloglevel=2, **options)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    pieces = model.pieces
    return ([p.piece for p in pieces], [p.score for p in pieces], [p.type for p in pieces],
            model.normalizer_spec.precompiled_charsmap, out.getvalue())


def make_spm(corpus):
    tokens, scores, types, _, _ = train_pieces(corpus, "bpe", byte_fallback=True,
                                            normalization_rule_name="identity",
                                            remove_extra_whitespaces=False, character_coverage=0.98)
    write_gguf("spm", "llama", tokens, types, scores)
    return {"spm": oracle.sentence_piece(tokens, scores, types)}


def make_unigram(corpus):
    rules = os.path.join(OUT, "rules.tsv")
    # A few rules of NFKC, and all white space to U+0020, which is what the pipeline strips.
    space = [9, 10, 11, 12, 13, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
             0x205F, 0x3000]
    with open(rules, "w") as f:
        for old, new in [("FB01", "66 69"), ("FF01", "21"), ("2126", "3A9"), ("65 301", "E9"),
                         ("BD", "31 2044 32"), ("200B", "")] + [("%X" % c, "20") for c in space]:
            f.write(f"{old}\t{new}\n")
    tokens, scores, types, charsmap, model = train_pieces(corpus, "unigram", normalization_rule_tsv=rules,
                                                   character_coverage=0.98)
    os.remove(rules)
    write_gguf("unigram", "t5", tokens, types, scores, extra=[
        lambda w: w.add_precompiled_charsmap(charsmap),
        lambda w: w.add_remove_extra_whitespaces(True), lambda w: w.add_add_space_prefix(True),
        lambda w: w.add_unk_token_id(0), lambda w: w.add_eos_token_id(2)])
    encode = oracle.unigram(tokens, scores, 0, charsmap)
    # Hugging Face applies the rules to grapheme clusters: of a replaced character with a combining
    # mark it loses the mark. sentencepiece, whose rules they are, does not; such texts are left out.
    hf, own = normalizers.Precompiled(charsmap), sentencepiece.SentencePieceNormalizer(
        model_proto=model, add_dummy_prefix=False, remove_extra_whitespaces=False,
        escape_whitespaces=False)
    return {"unigram": lambda text: encode(text) if hf.normalize_str(text) == own.normalize(text)
            else None}


def make_wpm(corpus):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(
        vocab_size=900, limit_alphabet=150, special_tokens=special, show_progress=False))
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    tokens = [t if t in special else t[2:] if t.startswith("##") else "\u2581" + t for t, _ in vocab]
    types = [3 if t in special else 1 for t in tokens]
    write_gguf("wpm", "bert", tokens, types, extra=[
        lambda w: w.add_unk_token_id(1), lambda w: w.add_bos_token_id(2),
        lambda w: w.add_sep_token_id(3), lambda w: w.add_pad_token_id(0)])
    return {"wpm": oracle.wordpiece(tokens, types, 1)}


def main():
    os.makedirs(OUT, exist_ok=True)
    every = texts()
    corpus = every + source_code()
    with open(os.path.join(OUT, "texts.bin"), "wb") as f:
        f.write(struct.pack("<I", len(every)))
        for text in every:
            data = text.encode()
            f.write(struct.pack("<I", len(data)) + data)
    families = {}
    for make in (make_bpe, make_spm, make_unigram, make_wpm):
        families.update(make(corpus))
    for name, encode in families.items():
        with open(os.path.join(OUT, name + ".ids"), "wb") as f:
            for text in every:
                ids = encode(text)
                if ids is None:
                    f.write(struct.pack("<H", 0xFFFF))
                    continue
                f.write(struct.pack("<%dH" % (len(ids) + 1), len(ids), *ids))
        print(name)


if __name__ == "__main__":
    main()
