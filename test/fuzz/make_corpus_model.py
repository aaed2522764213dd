#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fuzz/corpus/model/: whole models of a few KB, one layer of 32 values, with each kind of
tokenizer. Needs the PyPI package `gguf`."""
import os

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter
from gguf.quants import quantize

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "model")
D = 32


def byte_alphabet():
    keep = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    extra = iter(range(256, 512))
    return [chr(b) if b in keep else chr(next(extra)) for b in range(256)]


def bpe(writer, pre):
    tokens = byte_alphabet() + ["de", "def", "Ġf", "<|endoftext|>", "<|fim_prefix|>",
                                "<|fim_middle|>", "<|fim_suffix|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 259 + [3] * 4)
    writer.add_token_merges(["d e", "de f", "Ġ f"])
    writer.add_eos_token_id(259)
    return len(tokens)


def spm(writer):
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{b:02X}>" for b in range(256)], "▁", "d", "e", "f", "(",
              "x", ")", ":", "de", "def", "▁def", "▁f"]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(tokens) - 259)])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    return len(tokens)


def model(name, arch, tokenizer, fmt, extra=None):
    rng = np.random.default_rng(len(name))
    writer = GGUFWriter(os.path.join(HERE, name + ".gguf"), arch)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(D)
    writer.add_feed_forward_length(D)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    n_vocab = tokenizer(writer)
    if extra:
        extra(writer)

    def matrix(tensor, rows):
        data = quantize((rng.standard_normal((rows, D)) / 5).astype(np.float32), fmt)
        writer.add_tensor(tensor, data, raw_dtype=fmt)

    def vector(tensor, n):
        writer.add_tensor(tensor, np.ones(n, np.float32))

    matrix("token_embd.weight", n_vocab)
    vector("output_norm.weight", D)
    for role, rows in (("attn_q", D), ("attn_k", D // 2), ("attn_v", D // 2), ("attn_output", D),
                       ("ffn_gate", D), ("ffn_up", D), ("ffn_down", D)):
        matrix(f"blk.0.{role}.weight", rows)
        if arch == "qwen2" and role in ("attn_q", "attn_k", "attn_v"):
            vector(f"blk.0.{role}.bias", rows)
    vector("blk.0.attn_norm.weight", D)
    vector("blk.0.ffn_norm.weight", D)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def yarn(writer):
    writer.add_string("llama.rope.scaling.type", "yarn")
    writer.add_float32("llama.rope.scaling.factor", 4.0)
    writer.add_uint32("llama.rope.scaling.original_context_length", 16)
    writer.add_float32("llama.rope.freq_base", 500.0)
    writer.add_uint32("llama.rope.dimension_count", D // 2)


os.makedirs(HERE, exist_ok=True)
model("llama_bpe", "llama", lambda w: bpe(w, "smollm"), T.Q4_0, yarn)
model("llama_spm", "llama", spm, T.Q4_1)
model("qwen2_bpe", "qwen2", lambda w: bpe(w, "qwen2"), T.Q4_0)
