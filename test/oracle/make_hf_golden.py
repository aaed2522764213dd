#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fixtures/hf_tokenizers/: a folder for each small tokenizer, texts made to break them
(texts.bin), and what Hugging Face tokenizers, sentencepiece or transformers make of these texts
(FOLDER/golden.bin). test/token/test_token_hf.c reads all of it.

    pip install tokenizers sentencepiece protobuf gguf       the newest `tokenizers`
    python3 test/oracle/make_hf_golden.py json sentencepiece
    pip install transformers==4.44.2                         in another environment: it wants an older one
    TOKENIZERS=folder python3 test/oracle/make_hf_golden.py folders

With TOKENIZERS (see compare_sentencepiece.py) the last one also records the published CodeT5 and PLBART
vocabularies, which are not in the repository: published/NAME.bin; their test skips without them.

texts.bin: u32 count; then u32 length and bytes of each. golden.bin, for each text: u16 n and u16 ids[n]
with special tokens cut out of the text; then the decoded text, u16 length and bytes, where 0xFFFF says
that it is the text itself and 0xFFFE that it is not compared (bytes that are no UTF-8). At the end the
ids of the empty text with special tokens around it. All little endian.
"""
import io
import json
import os
import struct
import sys
import tempfile

import compare_hf_tokenizer as base
import compare_sentencepiece as spm
import hf_tokenizers
import make_token_golden

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "hf_tokenizers")
JSON = ["codegen", "starcoder", "llama3", "roberta", "byte_bpe_unknown", "llama", "codellama", "llama_metaspace",
        "gemma", "bpe_unknown_alone", "bpe_suffix", "bpe_prefix", "metaspace_never", "t5", "xglm", "unigram_bytes",
        "unigram_nmt", "bert", "bert_cased", "wordlevel", "wordlevel_split", "added", "added_metaspace"]
SP = ["sp_bpe_llama", "sp_bpe_gemma", "sp_unigram_bytes", "sp_unigram_spaces"]
SLOW = ["plbart_java", "xglm_slow", "t5_20", "byt5_slow", "opt_slow", "codegen_slow", "roberta_space", "roberta_mask",
        "qwen2_slow"]
PUBLISHED = ["codet5", "plbart"]
SIZE = 460


def texts():
    extra = base.extra_texts()
    return make_token_golden.texts()[::8] + extra[:46] + extra[46:110]


def small_charsmap(_):
    """nmt_nfkc has 300 kB; these few rules have combining marks, several characters, and nothing."""
    path = os.path.join(OUT, "rules.tsv")
    rules = [("FB01", "66 69"), ("FF01", "21"), ("2126", "3A9"), ("65 301", "E9"), ("BD", "31 2044 32"),
             ("200B", ""), ("B2", "32"), ("D", "20"), ("A", "20"), ("9", "20"), ("A0", "20"), ("212B 327", "41"),
             ("7F", "")]
    with open(path, "w") as f:
        f.writelines(f"{old}\t{new}\n" for old, new in rules)
    out = io.BytesIO()
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c"] * 10), model_writer=out,
                                             vocab_size=8, minloglevel=2, normalization_rule_tsv=path,
                                             hard_vocab_limit=False)
    os.remove(path)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    return model.normalizer_spec.precompiled_charsmap


def put_golden(folder, encode, decode, frame):
    out = bytearray()
    for text in texts():
        ids = encode(text)
        back = decode(ids)
        out += struct.pack("<H%dH" % len(ids), len(ids), *ids)
        if back is None or "\ufffd" in back:
            out += struct.pack("<H", 0xFFFE)
        elif back == text:
            out += struct.pack("<H", 0xFFFF)
        else:
            out += struct.pack("<H", len(back.encode())) + back.encode()
    ids = frame()
    out += struct.pack("<H%dH" % len(ids), len(ids), *ids)
    with open(os.path.join(folder, "golden.bin"), "wb") as f:
        f.write(out)


def main():
    corpus = make_token_golden.source_code()
    hf_tokenizers.charsmap = small_charsmap
    spm.RULE = {"normalization_rule_name": "identity"}
    os.makedirs(OUT, exist_ok=True)

    def folder_of(name):
        path = os.path.join(OUT, name)
        os.makedirs(path, exist_ok=True)
        return path
    with open(os.path.join(OUT, "texts.bin"), "wb") as f:
        data = [t.encode() for t in texts()]
        f.write(struct.pack("<I", len(data)) + b"".join(struct.pack("<I", len(t)) + t for t in data))
    for name in JSON if "json" in sys.argv else []:
        folder = folder_of(name)
        tokenizer = hf_tokenizers.FAMILIES[name](corpus, SIZE)
        with open(os.path.join(folder, "tokenizer.json"), "w") as f:
            json.dump(json.loads(tokenizer.to_str()), f, ensure_ascii=False, separators=(",", ":"))
        put_golden(folder, lambda t: tokenizer.encode(t, add_special_tokens=False).ids,
                   lambda ids: tokenizer.decode(ids), lambda: tokenizer.encode("").ids)
    for name in SP if "sentencepiece" in sys.argv else []:
        folder = folder_of(name)
        model = os.path.join(folder, "tokenizer.model")
        spm.put(folder, "tokenizer.model", spm.train(corpus, SIZE, **spm.MODELS[name]))
        sp = spm.SentencePiece(model)
        marks = {i for i in range(sp.sp.get_piece_size()) if sp.sp.is_control(i) or sp.sp.is_unknown(i)}
        names = [sp.sp.id_to_piece(i) for i in marks]

        def encode(text):
            # What is cut out of the text first is nibble's; sentencepiece does not know it.
            return [] if any(n in text for n in names) else sp.encode(text)
        put_golden(folder, encode, lambda ids: None if marks & set(ids) or not ids else sp.decode(ids), lambda: [])
    if "folders" not in sys.argv:
        return
    import transformers
    for name, fill, kind, arguments in spm.slow_folders(corpus, SIZE):
        if name in PUBLISHED:
            folder = os.path.join(OUT, "published")
            with tempfile.TemporaryDirectory() as files:
                fill(files)
                os.makedirs(folder, exist_ok=True)
                slow = getattr(transformers, kind).from_pretrained(files, **arguments)
            put_golden(folder, lambda t: slow(t, add_special_tokens=False)["input_ids"], lambda ids: None,
                       lambda: slow("")["input_ids"])
            os.rename(os.path.join(folder, "golden.bin"), os.path.join(folder, name + ".bin"))
        if name not in SLOW:
            continue
        folder = folder_of(name)
        fill(folder)
        slow = getattr(transformers, kind).from_pretrained(folder, **arguments)
        put_golden(folder, lambda t: slow(t, add_special_tokens=False)["input_ids"], lambda ids: None,
                   lambda: slow("")["input_ids"])


if __name__ == "__main__":
    main()
