#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Trains SentencePiece models with many option sets and compares ids and decoded text of nibble with
`sentencepiece`; then folders without tokenizer.json with the tokenizers of `transformers` that read
them (PLBART, XGLM, T5, Llama, ByT5, GPT-2, RoBERTa), if that is installed.

    pip install tokenizers sentencepiece protobuf transformers==4.44.2
    make lib && python3 test/oracle/compare_sentencepiece.py [NAME ... | random:COUNT:SEED]

TOKENIZERS=folder is where codet5/ (vocab.json, merges.txt) and plbart/ (sentencepiece.bpe.model) of the
published models are; without it they are skipped, and that is said. CODE, BYTES, SIZE as in
compare_hf_tokenizer.py.
"""
import io
import json
import os
import random
import shutil
import sys
import tempfile

import compare_hf_tokenizer as base
import hf_tokenizers
import make_token_golden

MODELS = {
    "sp_bpe": dict(model_type="bpe"),
    "sp_bpe_identity": dict(model_type="bpe", normalization_rule_name="identity", byte_fallback=True,
                            remove_extra_whitespaces=False, character_coverage=0.98),
    "sp_bpe_llama": dict(model_type="bpe", normalization_rule_name="identity", byte_fallback=True,
                         split_digits=True, allow_whitespace_only_pieces=True, remove_extra_whitespaces=False,
                         character_coverage=0.98),
    "sp_bpe_gemma": dict(model_type="bpe", normalization_rule_name="identity", byte_fallback=True,
                         add_dummy_prefix=False, remove_extra_whitespaces=False, character_coverage=0.98,
                         user_defined_symbols=["<mask>", "\n\n", "self.", "return"], control_symbols=["<2mass>"]),
    "sp_bpe_user": dict(model_type="bpe", user_defined_symbols=["<sep>", "def", "(x", "\u4e2d"]),
    "sp_unigram": dict(model_type="unigram"),
    "sp_unigram_bytes": dict(model_type="unigram", byte_fallback=True, character_coverage=0.98),
    "sp_unigram_cf": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf", add_dummy_prefix=False),
    "sp_unigram_spaces": dict(model_type="unigram", remove_extra_whitespaces=False,
                              normalization_rule_name="nfkc", user_defined_symbols=["<sep>", "def", "return"],
                              allow_whitespace_only_pieces=True),
    "sp_char": dict(model_type="char", user_defined_symbols=["<sep>", "def", "12"]),
    "sp_char_bytes": dict(model_type="char", byte_fallback=True, character_coverage=0.98, remove_extra_whitespaces=False),
    "sp_word": dict(model_type="word", user_defined_symbols=["<sep>", "def"]),
    "sp_word_bytes": dict(model_type="word", byte_fallback=True, remove_extra_whitespaces=False),
    "sp_unigram_pad": dict(model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, split_digits=True),
}


def random_options(r):
    """What a model may be trained with, but what nibble refuses."""
    options = dict(
        model_type=r.choice(["bpe", "unigram", "bpe", "unigram", "char", "word"]), byte_fallback=r.random() < 0.4,
        normalization_rule_name=r.choice(["nmt_nfkc", "nfkc", "nmt_nfkc_cf", "nfkc_cf", "identity"]),
        split_digits=r.random() < 0.4, add_dummy_prefix=r.random() < 0.7,
        remove_extra_whitespaces=r.random() < 0.5, split_by_unicode_script=r.random() < 0.7,
        split_by_number=r.random() < 0.7, split_by_whitespace=r.random() < 0.8,
        allow_whitespace_only_pieces=r.random() < 0.4, max_sentencepiece_length=r.choice([16, 16, 5]),
        character_coverage=r.choice([0.9995, 0.99, 0.98]))
    if r.random() < 0.4:
        words = ["<sep>", "def", "(x", "\u4e2d", "\n\n", "return", "  ", "self.", "\u2581in", "12"]
        options["user_defined_symbols"] = r.sample(words, r.randrange(1, 5))
    if r.random() < 0.2:
        options["control_symbols"] = ["<2mass>"]
    if r.random() < 0.3:
        options.update(r.choice([dict(pad_id=0, eos_id=1, unk_id=2, bos_id=-1), dict(pad_id=3),
                                 dict(bos_id=-1, eos_id=-1, unk_id=0)]))
    return options


RULE = {}  # make_hf_golden.py: normalization rules of small size


def train(corpus, size, **options):
    options = {**options, **RULE}
    import sentencepiece
    out = io.BytesIO()
    lines = [line for text in corpus for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, vocab_size=size,
                                             num_threads=1, hard_vocab_limit=False, minloglevel=2, **options)
    return out.getvalue()


class Result:
    """What compare() reads of an encoding."""
    def __init__(self, ids):
        self.ids = ids


class SentencePiece:
    def __init__(self, path):
        import sentencepiece
        self.sp = sentencepiece.SentencePieceProcessor(model_file=path)

    def encode(self, text):
        return self.sp.encode(text)

    def decode(self, ids):
        return self.sp.decode(ids)


def compare_plain(name, ours, sp, texts):
    """No special tokens in play: nibble does not make them of text."""
    bad = 0
    for text in texts:
        got, want = ours.encode(text), sp.encode(text)
        ok = got == want
        if ok and sp.sp.unk_id() not in want:
            back = sp.decode(want)
            ok = "\ufffd" in back or base.lossy(ours.decode(got)) == back
            ok = ok and ours.decode(got, stream=True) == ours.decode(got)
        if ok:
            continue
        bad += 1
        if bad <= int(os.environ.get("REPORT", "3")):
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            print(f"  {name}: {text[:80]!r}\n    at {at}: got {got[max(0, at - 2):at + 6]} want "
                  f"{want[max(0, at - 2):at + 6]}")
            if got == want:
                print(f"    decoded {base.lossy(ours.decode(got))[:100]!r}\n    want    {sp.decode(want)[:100]!r}")
    return bad


def compare_slow(name, ours, slow, texts):
    bad = 0
    for text in texts:
        for flags in (base.SPECIAL, base.SPECIAL | base.BOS):
            want = slow(text, add_special_tokens=bool(flags & base.BOS))["input_ids"]
            got = ours.encode(text, flags)
            if got == want:
                continue
            bad += 1
            if bad <= int(os.environ.get("REPORT", "3")):
                at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
                print(f"  {name} flags {flags}: {text[:80]!r}\n    at {at}: got {got[max(0, at - 2):at + 6]} want "
                      f"{want[max(0, at - 2):at + 6]}")
    return bad


def put(folder, name, data):
    with open(os.path.join(folder, name), "wb" if isinstance(data, bytes) else "w") as f:
        f.write(data)


def slow_folders(corpus, size):
    """(name, function that fills a folder, class of transformers, its arguments)"""
    published = os.environ.get("TOKENIZERS")

    def config(folder, **fields):
        put(folder, "tokenizer_config.json", json.dumps(fields))

    def sentencepiece_folder(name, model_type="unigram", options={}, **fields):
        def fill(folder):
            put(folder, name, train(corpus, size, model_type=model_type, **options))
            config(folder, **fields)
        return fill

    def bpe_folder(family, **fields):
        def fill(folder):
            model = json.loads(hf_tokenizers.FAMILIES[family](corpus, size).to_str())["model"]
            put(folder, "vocab.json", json.dumps(model["vocab"], ensure_ascii=False))
            put(folder, "merges.txt", "#version: 0.2\n" + "\n".join(
                m if isinstance(m, str) else " ".join(m) for m in model["merges"]) + "\n")
            config(folder, **fields)
        return fill

    def copied(*names, **fields):
        def fill(folder):
            for name in names:
                shutil.copy(os.path.join(published, name), folder)
            config(folder, **fields)
        return fill
    runs = {str(5000 + n): {"content": " " * n, "special": False, "lstrip": False, "rstrip": False,
                            "single_word": False, "normalized": True} for n in range(2, 12)}
    llama = {"options": {k: v for k, v in MODELS["sp_bpe_llama"].items() if k != "model_type"}}
    jobs = [
        ("plbart_unigram", sentencepiece_folder("sentencepiece.bpe.model", tokenizer_class="PLBartTokenizer"),
         "PLBartTokenizer", {}),
        ("plbart_java", sentencepiece_folder("sentencepiece.bpe.model", "bpe", tokenizer_class="PLBartTokenizer",
                                             src_lang="java", tgt_lang="en_XX"), "PLBartTokenizer", {}),
        ("plbart_multi", sentencepiece_folder("sentencepiece.bpe.model", tokenizer_class="PLBartTokenizer",
                                              language_codes="multi", src_lang="python"), "PLBartTokenizer", {}),
        ("xglm_slow", sentencepiece_folder("sentencepiece.bpe.model", tokenizer_class="XGLMTokenizer"),
         "XGLMTokenizer", {}),
        ("t5_slow", sentencepiece_folder("spiece.model", tokenizer_class="T5Tokenizer"), "T5Tokenizer", {}),
        ("t5_20", sentencepiece_folder("spiece.model", tokenizer_class="T5Tokenizer", extra_ids=20),
         "T5Tokenizer", {}),
        ("t5_new", sentencepiece_folder("spiece.model", tokenizer_class="T5Tokenizer", legacy=False),
         "T5Tokenizer", {}),
        ("llama_slow", sentencepiece_folder("tokenizer.model", "bpe", **llama, tokenizer_class="LlamaTokenizer"),
         "LlamaTokenizer", {}),
        ("llama_new", sentencepiece_folder("tokenizer.model", "bpe", **llama, tokenizer_class="LlamaTokenizer",
                                           legacy=False), "LlamaTokenizer", {}),
        ("llama_bare", sentencepiece_folder("tokenizer.model", "bpe", **llama, tokenizer_class="LlamaTokenizer",
                                            legacy=False, add_prefix_space=False), "LlamaTokenizer", {}),
        ("byt5_slow", lambda folder: config(folder, tokenizer_class="ByT5Tokenizer"), "ByT5Tokenizer", {}),
        ("gpt2_slow", bpe_folder("gpt2", tokenizer_class="GPT2Tokenizer"), "GPT2Tokenizer", {}),
        ("opt_slow", bpe_folder("roberta", tokenizer_class="GPT2Tokenizer", add_bos_token=True, bos_token="</s>",
                                eos_token="</s>", unk_token="</s>", pad_token="<pad>"), "GPT2Tokenizer", {}),
        ("codegen_slow", bpe_folder("gpt2", tokenizer_class="CodeGenTokenizer", added_tokens_decoder=runs),
         "CodeGenTokenizer", {}),
        ("roberta_slow", bpe_folder("roberta", tokenizer_class="RobertaTokenizer"), "RobertaTokenizer", {}),
        ("roberta_space", bpe_folder("roberta", tokenizer_class="RobertaTokenizer", add_prefix_space=True,
                                     additional_special_tokens=["<extra_id_%d>" % i for i in range(9, -1, -1)]),
         "RobertaTokenizer", {}),
        ("bart_slow", bpe_folder("roberta", tokenizer_class="BartTokenizer"), "BartTokenizer", {}),
        ("roberta_mask", bpe_folder("roberta", tokenizer_class="RobertaTokenizer", mask_token="<mask>"),
         "RobertaTokenizer", {}),
        ("qwen2_slow", bpe_folder("gpt2", tokenizer_class="Qwen2Tokenizer", added_tokens_decoder=runs),
         "Qwen2Tokenizer", {}),
    ]
    if published:
        jobs += [("codet5", copied("codet5/vocab.json", "codet5/merges.txt", tokenizer_class="RobertaTokenizer"),
                  "RobertaTokenizer", {}),
                 ("plbart", copied("plbart/sentencepiece.bpe.model", tokenizer_class="PLBartTokenizer",
                                   src_lang="java"), "PLBartTokenizer", {})]
    else:
        print("TOKENIZERS is not set: the published codet5 and plbart are skipped")
    return jobs


def main():
    code = base.source_code(int(os.environ.get("BYTES", "1000000")))
    corpus = make_token_golden.source_code() + make_token_golden.texts()
    size, wanted, failed = int(os.environ.get("SIZE", "1000")), sys.argv[1:], []
    hostile = make_token_golden.texts() + base.extra_texts()
    special = ("<s>", "</s>", "<unk>", "<2mass>", "<extra_id", "<pad>")
    plain = [t for t in hostile if not any(s in t for s in special)] + code
    with tempfile.TemporaryDirectory() as top:
        shim = base.build_shim(top)

        def report(name, bad):
            print(f"{name}: {bad} differ", flush=True)
            if bad:
                failed.append(name)

        def folder_of(name):
            path = os.path.join(top, name)
            os.mkdir(path)
            return path
        for text in [w for w in wanted if w.startswith("random")]:  # random:COUNT:SEED
            count, seed = map(int, text.split(":")[1:])
            wanted += ["sp_random_%d" % i for i in range(seed, seed + count)]
            MODELS.update(("sp_random_%d" % i, random_options(random.Random(i))) for i in range(seed, seed + count))
        for name, options in MODELS.items():
            if wanted and name not in wanted:
                continue
            folder = folder_of(name)
            put(folder, "tokenizer.model", train(corpus, size, **options))
            sp = SentencePiece(os.path.join(folder, "tokenizer.model"))
            report(name, compare_plain(name, base.Ours(shim, folder), sp, plain))
            if failed and failed[-1] == name:
                print(f"    {options}")
        try:
            import transformers
        except ImportError:
            print("transformers is not installed: the folders that it reads are skipped")
            return bool(failed)
        from transformers.models.llama import tokenization_llama
        from transformers.models.t5 import tokenization_t5
        for module in (tokenization_llama, tokenization_t5):  # their copy has the name of ours
            module.import_protobuf = lambda *_: make_token_golden.pb
        for name, fill, kind, arguments in slow_folders(corpus, size):
            if wanted and name not in wanted:
                continue
            folder = folder_of(name)
            fill(folder)
            slow = getattr(transformers, kind).from_pretrained(folder, **arguments)
            report(name, compare_slow(name, base.Ours(shim, folder), slow, plain + [
                "a <mask> b", "<s>a</s>", "x<extra_id_1> y", "<extra_id_0>", "__java__ x"]))
    print("all agree" if not failed else "differ: " + " ".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
