#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fixtures/archs/t5*.gguf and .ref: tiny random models of T5's kind, with the names that
gguf-py gives to the tensors of transformers and the keys that its converter writes, and the reference of
make_seq2seq_fixtures.py (whose .ref format and installation apply, plus the package gguf).

    python3 test/oracle/make_gguf_t5.py

Of coded weights the reference is computed from what they decode to.
"""
import os

import gguf
import numpy as np
import torch
from transformers import T5EncoderModel

import make_seq2seq_fixtures as seq2seq

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "archs")
Q = gguf.GGMLQuantizationType

# name: (fields of the configuration, format of the matrices, encoder alone)
MODELS = {
    "t5": (dict(vocab_size=61, d_model=20, d_kv=6, num_heads=3, d_ff=37, num_layers=3,
                num_decoder_layers=2, feed_forward_proj="relu"), Q.F32, False),
    "t5_gated": (dict(vocab_size=59, d_model=24, d_kv=8, num_heads=4, d_ff=28, num_layers=2,
                      num_decoder_layers=2, relative_attention_num_buckets=16,
                      feed_forward_proj="gated-gelu", tie_word_embeddings=False), Q.F16, False),
    "t5_q8": (dict(vocab_size=64, d_model=64, d_kv=16, num_heads=2, d_ff=96, num_layers=1,
                   num_decoder_layers=1, feed_forward_proj="gated-gelu",
                   tie_word_embeddings=False), Q.Q8_0, False),
    "t5_q5": (dict(vocab_size=53, d_model=32, d_kv=32, num_heads=2, d_ff=64, num_layers=2,
                   num_decoder_layers=1, feed_forward_proj="relu"), Q.Q5_0, False),
    "t5encoder": (dict(vocab_size=45, d_model=22, d_kv=5, num_heads=2, d_ff=31, num_layers=2,
                       feed_forward_proj="gated-gelu"), Q.F32, True),
}


def coded(name, value, kind):
    """Bytes as the file has them, and the numbers they stand for; vectors and biases stay float32."""
    if value.ndim == 1 or "rel_b" in name or kind == Q.F32:
        return value, value, None
    data = gguf.quants.quantize(value, kind)
    return data, gguf.quants.dequantize(data, kind), kind


def pieces(n):
    """A unigram vocabulary with T5's special tokens, and sentinels at its end."""
    texts = ["<pad>", "</s>", "<unk>"] + [f"\u2581w{i}" for i in range(n - 5)]
    return texts + ["<extra_id_1>", "<extra_id_0>"], [3, 3, 2] + [1] * (n - 5) + [4, 4]


def write(path, arch, model, kind, config):
    w = gguf.GGUFWriter(path, arch)
    w.add_context_length(512)
    w.add_embedding_length(config.d_model)
    w.add_feed_forward_length(config.d_ff)
    w.add_block_count(config.num_layers)
    if config.num_decoder_layers != config.num_layers:
        w.add_decoder_block_count(config.num_decoder_layers)
    w.add_head_count(config.num_heads)
    w.add_key_length(config.d_kv)
    w.add_value_length(config.d_kv)
    w.add_layer_norm_eps(config.layer_norm_epsilon)
    w.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    w.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    w.add_decoder_start_token_id(config.decoder_start_token_id)
    texts, types = pieces(config.vocab_size)
    w.add_tokenizer_model("t5")
    w.add_token_list(texts)
    w.add_token_scores([-0.01 * i for i in range(len(texts))])
    w.add_token_types(types)
    w.add_eos_token_id(1)
    w.add_pad_token_id(0)
    w.add_unk_token_id(2)
    w.add_add_eos_token(True)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()),
                                     max(config.num_layers, config.num_decoder_layers))
    written, state = set(), model.state_dict()
    for name, value in state.items():
        if name.endswith("embed_tokens.weight") or (
                name == "lm_head.weight" and config.tie_word_embeddings):
            continue  # the embedding again
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise SystemExit(f"{arch}: no name for {name}")
        data, numbers, code = coded(new, value.numpy(), kind)
        state[name] = torch.from_numpy(numbers)
        if new not in written:
            w.add_tensor(new, np.ascontiguousarray(data), raw_dtype=code)
        written.add(new)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    model.load_state_dict(state)
    model.tie_weights()


def hidden(model, generator):
    tokens = torch.randint(3, model.config.vocab_size, (1, 25), generator=generator)
    with torch.no_grad():
        return {"ids": tokens[0].tolist()}, model.double()(input_ids=tokens).last_hidden_state[0]


def main():
    for name, (fields, kind, alone) in MODELS.items():
        for seed in range(200):
            generator = torch.Generator().manual_seed(seed)
            model = seq2seq.t5(**fields).eval()
            if alone:
                model = T5EncoderModel(model.config).eval()
            seq2seq.randomize(model, generator)
            model.tie_weights()
            path = os.path.join(HERE, name + ".gguf")
            write(path, "t5encoder" if alone else "t5", model, kind, model.config)
            lists, matrix = hidden(model, generator) if alone else seq2seq.reference(
                model, generator)
            if alone or seq2seq.varied(lists):
                break
        seq2seq.write_reference(os.path.join(HERE, name + ".ref"), lists, matrix)
        print(name, "seed", seed, "largest %.2f" % matrix.abs().max(), lists.get("greedy"))


main()
