#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Folders without tokenizer.json, put together at random: a vocabulary trained on the spot, random
tokenizer_config.json, special_tokens_map.json and added_tokens.json; ids and decoded text of nibble beside
those of the slow tokenizers of transformers.

    pip install tokenizers sentencepiece protobuf transformers==4.44.2
    make lib && python3 test/oracle/compare_random_folders.py [--count N] [--seed S]

TOKENIZERS=folder is where the published codet5/ and plbart/ are; they take part if it is set.
"""
import argparse
import collections
import json
import os
import random
import shutil
import sys
import tempfile

import compare_hf_tokenizer as base
import compare_sentencepiece as sp
import hf_tokenizers
import make_token_golden

BYTES = ["GPT2", "CodeGen", "Qwen2", "Roberta", "Bart"]
PIECES = ["PLBart", "T5", "XGLM", "Llama"]


def added(r, text, special):
    """Without single_word: transformers' Python and the tokenizers library disagree on it."""
    return {"content": text, "lstrip": r.random() < 0.25, "rstrip": r.random() < 0.25, "normalized": r.random() < 0.5,
            "single_word": False, "special": special}


def save(folder, name, data):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(data, f)


def vocabulary(r, kind, folder, trained):
    """The trained files; how many ids they hold."""
    published = os.environ.get("TOKENIZERS")
    if kind in BYTES:
        if published and kind == "Roberta" and r.random() < 0.2:
            for name in ("vocab.json", "merges.txt"):
                shutil.copy(os.path.join(published, "codet5", name), folder)
        else:
            vocab, merges = trained["roberta" if kind in ("Roberta", "Bart") else "gpt2"]
            save(folder, "vocab.json", vocab)
            with open(os.path.join(folder, "merges.txt"), "w") as f:
                f.write(("#version: 0.2\n" if r.random() < 0.9 else "") + merges[:-1 if r.random() < 0.1 else None])
        with open(os.path.join(folder, "vocab.json")) as f:
            return len(json.load(f))
    name = {"PLBart": "sentencepiece.bpe.model", "XGLM": "sentencepiece.bpe.model", "T5": "spiece.model",
            "Llama": "tokenizer.model"}[kind]
    if published and kind == "PLBart" and r.random() < 0.2:
        shutil.copy(os.path.join(published, "plbart", name), folder)
        return 50000
    data, size = trained[r.choice(["bpe", "unigram"] if kind != "Llama" else ["llama", "llama", "bpe"])]
    sp.put(folder, name, data)
    return size


def configuration(r, kind, folder, size):
    config = {"tokenizer_class": kind + "Tokenizer"}
    words = ["<mask>", "<sep>", "return x", "   ", "\n\n", "  ", "<|x|>", "(x y", "\u4e2d\u6587", "<extra_id_1>", "a b", "self.x", "\t\t"]
    if kind in BYTES and r.random() < 0.5:
        config["add_prefix_space"] = r.random() < 0.6
    if kind in ("GPT2", "CodeGen") and r.random() < 0.4:
        config["add_bos_token"] = r.random() < 0.7
    if kind == "Llama":
        for key in ("add_bos_token", "add_eos_token", "legacy", "add_prefix_space"):
            if r.random() < 0.5:
                config[key] = r.random() < 0.5
    if kind == "T5":
        if r.random() < 0.5:
            config["legacy"] = r.random() < 0.5
        if r.random() < 0.4:
            config["extra_ids"] = r.choice([0, 5, 100])
    if kind == "PLBart" and r.random() < 0.7:
        config["src_lang"] = r.choice(["java", "python", "en_XX", "__java__"])
        if r.random() < 0.3:
            config["language_codes"] = r.choice(["base", "multi"])
    if r.random() < 0.2:
        config["clean_up_tokenization_spaces"] = r.random() < 0.5
    if r.random() < 0.2:
        config["errors"] = "replace"
    if kind in ("Roberta", "Bart"):  # there <mask> with lstrip swallows an added token of white space
        words = [w for w in words if not w.isspace()]
    where, next_id = r.choice(["none", "decoder", "files"]), size
    if kind in ("PLBart", "XGLM", "T5"):  # ids behind the pieces are the class's own
        where = r.choice(["none", "map"])
    if where == "map":
        save(folder, "special_tokens_map.json", {"additional_special_tokens": ["<sep>", "<|x|>"]} if kind != "T5" else
             {"pad_token": "<pad>", "bos_token": "<start>"})
    if where == "decoder":
        config["added_tokens_decoder"] = {}
        for text in r.sample(words, r.randrange(1, 6)):
            config["added_tokens_decoder"][str(next_id)] = added(r, text, text[0] == "<" and r.random() < 0.6)
            next_id += 1
        tokens = config["added_tokens_decoder"].values()
        if any(t["content"].isspace() for t in tokens):
            for t in tokens:
                t["lstrip"] = t["rstrip"] = False
        # Python hides what is listed here, Rust what is special.
        config["additional_special_tokens"] = [t["content"] for t in tokens if t["special"]]
    if where == "files":
        some = r.sample(words, r.randrange(1, 5))
        save(folder, "added_tokens.json", {text: next_id + i for i, text in enumerate(some)})
        names = [text for text in some if text[0] == "<"]
        if names and r.random() < 0.7:
            save(folder, "special_tokens_map.json", {"additional_special_tokens": names})
    if r.random() < 0.25 and kind in BYTES:
        text = r.choice(["<|x|>", "<end>", "</s>", "<|endoftext|>"])
        config[r.choice(["eos_token", "bos_token", "pad_token"])] = text if r.random() < 0.5 else \
            dict(added(r, text, True), __type="AddedToken")
    if kind in ("Roberta", "Bart") and r.random() < 0.3:
        config["mask_token"] = "<mask>"
    if r.random() < 0.2 and kind in BYTES and where != "decoder":
        config["additional_special_tokens"] = r.sample(["<a>", "<b>", "<|x|>", "<extra_id_1>"], 2)
    save(folder, "tokenizer_config.json", config)
    return config


def decoded(slow, ids, special):
    return slow.decode(ids, skip_special_tokens=not special, clean_up_tokenization_spaces=False,
                       spaces_between_special_tokens=False)


def compare(ours, slow, texts, kind):
    """(text, what, got, want) of the first difference, and how many there are"""
    bad, first = 0, None
    for text in texts:
        for flags in (base.SPECIAL, base.SPECIAL | base.BOS):
            want = slow(text, add_special_tokens=bool(flags & base.BOS))["input_ids"]
            got, what = ours.encode(text, flags), "ids"
            if got == want:
                for what, special in (("text", False), ("shown", True))[:1 if kind in PIECES else 2]:
                    want = decoded(slow, got, special)
                    back = ours.decode(got, base.SPECIAL if special else 0)
                    got_text = base.lossy(back)
                    if kind in ("T5", "PLBart", "XGLM"):  # these strip white space at the ends
                        want, got_text = want.strip(), got_text.strip()
                    if kind == "Llama":  # which strips two spaces, and one behind every added token
                        want, got_text = want.lstrip(), got_text.lstrip()
                    if kind in PIECES and not text.strip() or any(t.content in text for t in slow.added_tokens_decoder.values()
                                                                  if kind in PIECES and not t.special):
                        got_text = want
                    if "\ufffd" in want or (kind in PIECES and slow.unk_token_id in got):
                        got_text = want
                    if got_text != want:
                        got = got_text
                        break
                else:
                    continue
            bad += 1
            first = first or (text, what, got, want)
            break
    return bad, first


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=60)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--only")
    args = args.parse_args()
    import transformers
    transformers.logging.set_verbosity_error()
    from transformers.models.llama import tokenization_llama
    from transformers.models.t5 import tokenization_t5
    for module in (tokenization_llama, tokenization_t5):  # their copy has the name of ours
        module.import_protobuf = lambda *_: make_token_golden.pb
    corpus = make_token_golden.source_code() + make_token_golden.texts()
    trained = {}
    for family in ("gpt2", "roberta"):
        model = json.loads(hf_tokenizers.FAMILIES[family](corpus, 900).to_str())["model"]
        trained[family] = model["vocab"], "\n".join(m if isinstance(m, str) else " ".join(m) for m in model["merges"]) + "\n"
    llama = {k: v for k, v in sp.MODELS["sp_bpe_llama"].items() if k != "model_type"}
    for name, kind, options in (("bpe", "bpe", {}), ("unigram", "unigram", {}), ("llama", "bpe", llama)):
        data = sp.train(corpus, 1000, model_type=kind, **options)
        import sentencepiece
        trained[name] = data, sentencepiece.SentencePieceProcessor(model_proto=data).get_piece_size()
    hostile, code = make_token_golden.texts() + base.extra_texts(), base.source_code(100000)
    refused, seen, differ = collections.Counter(), collections.Counter(), 0
    with tempfile.TemporaryDirectory() as top:
        shim = base.build_shim(top)
        for seed in range(args.seed, args.seed + args.count):
            r = random.Random(seed)
            kind = r.choice(BYTES + PIECES)
            if args.only and kind != args.only:
                continue
            folder = os.path.join(top, str(seed))
            os.mkdir(folder)
            config = configuration(r, kind, folder, vocabulary(r, kind, folder, trained))
            texts = r.sample([t for t in hostile if kind != "Llama" or "\u2581" not in t], 60) + [c[:600] for c in r.sample(code, 3)] + ["a <mask> b", "<s>a</s> x", "", " ", " x"]
            files = {n: open(os.path.join(folder, n)).read()[:300] for n in ("added_tokens.json", "special_tokens_map.json")
                     if os.path.exists(os.path.join(folder, n))}
            try:
                slow = getattr(transformers, kind + "Tokenizer").from_pretrained(folder)
            except Exception as error:
                refused["transformers: " + str(error)[:80]] += 1
                continue
            try:
                ours = base.Ours(shim, folder)
            except ValueError as error:
                refused[str(error)] += 1
                continue
            bad, first = compare(ours, slow, texts, kind)
            seen[kind] += 1
            differ += bad != 0
            if bad:
                print(f"not ok seed {seed} {kind}: {bad} texts\n    {json.dumps(config)[:900]}\n    {files}")
                print(f"    {first[1]} of {first[0][:80]!r}\n    got  {str(first[2])[:160]!r}\n    want {str(first[3])[:160]!r}", flush=True)
            shutil.rmtree(folder)
    for message, n in refused.most_common():
        print(f"{n} refused: {message}")
    print(", ".join(f"{n} {kind}" for kind, n in sorted(seen.items())))
    print(f"{args.count} folders, {sum(refused.values())} refused by name, {differ} differ")
    return differ != 0 or not seen


if __name__ == "__main__":
    sys.exit(main())
