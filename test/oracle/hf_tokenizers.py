# SPDX-License-Identifier: MIT
"""Tokenizers of every kind that a tokenizer.json can describe, trained on the spot with Hugging Face
`tokenizers`: what make_hf_golden.py records and compare_hf_tokenizer.py compares. FAMILIES maps a
name to a function that takes a corpus (a list of texts) and a size and returns a Tokenizer.

    pip install tokenizers sentencepiece protobuf
"""
import base64
import io
import json

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        processors, trainers)
from tokenizers.pre_tokenizers import (BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation,
                                       Sequence, Split, Whitespace, WhitespaceSplit)

import tokenizer_oracle as published

FAMILIES = {}


def family(function):
    FAMILIES[function.__name__] = function
    return function


def chunks(corpus, size=60):
    """Short documents, so that pairs across every boundary are seen."""
    return [text[i:i + size] for text in corpus for i in range(0, len(text), size)]


def edit(tokenizer, change):
    """The same tokenizer after a change of its JSON."""
    data = json.loads(tokenizer.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data))


def byte_bpe(corpus, size, pre, special=(), added=(), options=None, **train):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=size, max_token_length=12, show_progress=False,
                                  special_tokens=list(special),
                                  initial_alphabet=ByteLevel.alphabet(), **train)
    tokenizer.train_from_iterator(chunks(corpus), trainer)
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    if options:
        tokenizer = edit(tokenizer, lambda d: d["model"].update(options))
    if added:
        tokenizer.add_tokens(list(added))
    return tokenizer


FIM = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]


@family
def gpt2(corpus, size):
    return byte_bpe(corpus, size, ByteLevel(add_prefix_space=False), FIM[:1])


@family
def codegen(corpus, size):
    """GPT-2 with runs of white space as added tokens."""
    runs = [AddedToken(" " * n, normalized=True) for n in range(31, 1, -1)]
    runs += [AddedToken("\t" * n, normalized=True) for n in range(9, 1, -1)]
    return byte_bpe(corpus, size, ByteLevel(add_prefix_space=False), FIM[:1], runs)


@family
def neox(corpus, size):
    runs = [AddedToken(" " * n, normalized=False) for n in range(24, 1, -1)]
    tokenizer = byte_bpe(corpus, size, ByteLevel(add_prefix_space=False), ["<|endoftext|>", "<|padding|>"],
                         runs)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


@family
def starcoder(corpus, size):
    return byte_bpe(corpus, size, Sequence([Digits(individual_digits=True),
                                            ByteLevel(add_prefix_space=False)]),
                    FIM + ["<filename>", "<gh_stars>"])


@family
def qwen2(corpus, size):
    tokenizer = byte_bpe(corpus, size, published.pre_tokenizer("qwen2"), FIM)
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


@family
def llama3(corpus, size):
    tokenizer = byte_bpe(corpus, size, published.pre_tokenizer("llama-bpe"), ["<|begin_of_text|>"],
                         options={"ignore_merges": True})
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A $B",
                                      special_tokens=[("<|begin_of_text|>", 0)])])
    return tokenizer


def _published(name):
    def make(corpus, size):
        return byte_bpe(corpus, size, published.pre_tokenizer(name), FIM)
    FAMILIES[name.replace("-", "_")] = make


for _name in ("deepseek-coder", "deepseek-llm", "deepseek-v3", "gpt-4o", "tekken", "falcon", "qwen35",
              "seed-coder"):
    _published(_name)


@family
def roberta(corpus, size):
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer = byte_bpe(corpus, size, ByteLevel(add_prefix_space=False), special)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, rstrip=False, normalized=False,
                                             special=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


@family
def bart_prefix_space(corpus, size):
    tokenizer = roberta(corpus, size)
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=True)
    return tokenizer


@family
def byte_bpe_unknown(corpus, size):
    """An alphabet that lacks bytes, and an unknown token for them."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(chunks(corpus), trainers.BpeTrainer(
        vocab_size=size, show_progress=False, special_tokens=["<unk>"]))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@family
def bpe_no_regex(corpus, size):
    return byte_bpe(corpus, size, ByteLevel(add_prefix_space=True, use_regex=False))


# ---- SentencePiece-like BPE ------------------------------------------------------------------------

def char_bpe(corpus, size, fallback=True, fuse=True, escape=True, **options):
    special = ["<unk>", "<s>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if fallback else [])
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback, **options))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"),
                                                 normalizers.Replace(" ", "\u2581")])
    tokenizer.train_from_iterator(chunks(corpus, 200), trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False, max_token_length=12,
        limit_alphabet=80))
    tokenizer = edit(tokenizer, lambda d: d.update(added_tokens=d["added_tokens"][:3]))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tokenizer


@family
def llama(corpus, size):
    return char_bpe(corpus, size)


@family
def codellama(corpus, size):
    tokenizer = char_bpe(corpus, size)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True, rstrip=True, lstrip=True)
                                  for t in ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>", "\u2581<EOT>")])
    return tokenizer


@family
def llama_metaspace(corpus, size):
    tokenizer = char_bpe(corpus, size)
    tokenizer = edit(tokenizer, lambda d: d.update(normalizer=None))
    tokenizer.pre_tokenizer = Metaspace(prepend_scheme="first", split=False)
    return tokenizer


@family
def gemma(corpus, size):
    tokenizer = char_bpe(corpus, size)
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(),
                                           decoders.Fuse()])
    tokenizer.add_tokens([AddedToken("\n" * n, normalized=False) for n in range(2, 8)] +
                         [AddedToken("\u2581" * n, normalized=False) for n in range(2, 8)])
    return tokenizer


@family
def bpe_unknown_fused(corpus, size):
    return char_bpe(corpus, size, fallback=False, fuse=True)


@family
def bpe_unknown_alone(corpus, size):
    return char_bpe(corpus, size, fallback=False, fuse=False)


@family
def bpe_suffix(corpus, size):
    """GPT-1 and CLIP: the end of a word is marked."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False))
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return tokenizer


@family
def bpe_prefix(corpus, size):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<unk>"], continuing_subword_prefix="##", show_progress=False))
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return tokenizer


@family
def metaspace_never(corpus, size):
    tokenizer = char_bpe(corpus, size)
    tokenizer = edit(tokenizer, lambda d: d.update(normalizer=None))
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=False), Punctuation("merged_with_previous"),
                                        Metaspace(prepend_scheme="never")])
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return tokenizer


# ---- unigram ---------------------------------------------------------------------------------------

def charsmap(rule):
    """The compiled rules of sentencepiece, as they stand in a tokenizer.json."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a b c"] * 10), model_writer=out, vocab_size=8, minloglevel=2,
        normalization_rule_name=rule, hard_vocab_limit=False)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def unigram_model(corpus, size, normalizer, pre, special=("<pad>", "</s>", "<unk>"), **options):
    tokenizer = Tokenizer(models.Unigram())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=list(special), unk_token="<unk>", show_progress=False))
    tokenizer.decoder = decoders.Metaspace()
    if options:
        tokenizer = edit(tokenizer, lambda d: d["model"].update(options))
    return tokenizer


@family
def t5(corpus, size):
    tokenizer = unigram_model(corpus, size, normalizers.Precompiled(charsmap("nmt_nfkc")),
                              Sequence([WhitespaceSplit(), Metaspace()]))
    tokenizer.add_special_tokens(["<extra_id_%d>" % i for i in range(5)])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                             special_tokens=[("</s>", 1)])
    return tokenizer


@family
def xglm(corpus, size):
    normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap("nmt_nfkc")),
                                       normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer = unigram_model(corpus, size, normalizer, Metaspace(), ("<s>", "<pad>", "</s>", "<unk>"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A </s> </s> $B", special_tokens=[("</s>", 2)])
    return tokenizer


@family
def unigram_new(corpus, size):
    normalizer = normalizers.Sequence([
        normalizers.Precompiled(charsmap("nmt_nfkc_cf")), normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "\u2581")])
    return unigram_model(corpus, size, normalizer, Metaspace(prepend_scheme="first"))


@family
def unigram_bytes(corpus, size):
    special = ["<pad>", "</s>", "<unk>"] + ["<0x%02X>" % b for b in range(256)]
    tokenizer = unigram_model(corpus, size, None, Metaspace(prepend_scheme="always", split=False), special,
                              byte_fallback=True)
    tokenizer = edit(tokenizer, lambda d: d.update(added_tokens=d["added_tokens"][:3]))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    return tokenizer


@family
def unigram_nmt(corpus, size):
    normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.StripAccents()])
    return unigram_model(corpus, size, normalizer, Sequence([Whitespace(), Metaspace()]))


# ---- words -----------------------------------------------------------------------------------------

def wordpiece_model(corpus, size, normalizer, pre, **options):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
        show_progress=False))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


@family
def bert(corpus, size):
    return wordpiece_model(corpus, size, normalizers.BertNormalizer(), BertPreTokenizer())


@family
def bert_cased(corpus, size):
    normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=None,
                                            lowercase=False)
    tokenizer = wordpiece_model(corpus, size, normalizer, BertPreTokenizer(), max_input_chars_per_word=11)
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


@family
def wordlevel(corpus, size):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(),
                                                 normalizers.StripAccents()])
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[UNK]"], show_progress=False))
    return tokenizer


@family
def wordlevel_split(corpus, size):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKD()
    tokenizer.pre_tokenizer = Sequence([
        Split("\n", "merged_with_next"), Split(Regex(r"\p{N}{1,3}"), "removed", invert=False),
        Punctuation("contiguous"), Split(Regex(r"\s+"), "merged_with_previous"),
        Split("e", "contiguous"), Split(Regex(r"\d"), "isolated", invert=True)])
    tokenizer.train_from_iterator(corpus, trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[UNK]"], show_progress=False))
    return tokenizer


@family
def byte_splits(corpus, size):
    """Expressions that have no family of their own."""
    return byte_bpe(corpus, size, Sequence([
        Split(Regex(r"\n"), "isolated"), Split(Regex(r"\p{P}"), "isolated"), Split(Regex("[a-c\u00e9x-z]+"), "isolated"),
        Split(Regex("lf"), "merged_with_next"), ByteLevel(add_prefix_space=False, use_regex=False)]), FIM)


@family
def cl100k_possessive(corpus, size):
    pattern = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"
               r"\s*[\r\n]|\s+(?!\S)|\s+")
    return byte_bpe(corpus, size, Sequence([Split(Regex(pattern), "removed", invert=True),
                                            ByteLevel(add_prefix_space=False, use_regex=False)]), FIM)


# ---- added tokens ----------------------------------------------------------------------------------

@family
def added(corpus, size):
    tokenizer = byte_bpe(corpus, size, ByteLevel(add_prefix_space=True), FIM[:1])
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.add_tokens([
        AddedToken("return", single_word=True), AddedToken("def ", lstrip=True), AddedToken("[X]", rstrip=True),
        AddedToken("<both>", lstrip=True, rstrip=True, normalized=False), AddedToken("IF", normalized=True),
        AddedToken("IN", normalized=False), AddedToken("self", single_word=True, lstrip=True, rstrip=True),
        AddedToken("   "), AddedToken("\n\n", rstrip=True), AddedToken("(x", normalized=False),
        AddedToken("\u4e2d\u6587"), AddedToken("e\u0301", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True),
                                  AddedToken("<sep>", rstrip=True, single_word=True, special=True)])
    return tokenizer


@family
def added_metaspace(corpus, size):
    tokenizer = unigram_model(corpus, size, normalizers.Strip(), Metaspace(prepend_scheme="first"))
    tokenizer.add_tokens([AddedToken("return", single_word=True), AddedToken("  ", normalized=False),
                          AddedToken("in", single_word=True, lstrip=True, normalized=False)])
    return tokenizer
