#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tiny random checkpoints of encoder-decoders and encoders, and what transformers makes of them; also
of RoBERTa as a decoder, the way UniXcoder uses it.

    python3 test/oracle/make_seq2seq_fixtures.py OUT [NAME...]

Needs transformers 4.44.2 on PyTorch 1.13 (Debian's python3-torch). Writes for each model NAME
    OUT/NAME/config.json, and model.safetensors or pytorch_model.bin
    OUT/NAME.ref    little endian u32 n_ids, n_columns, n_rows; ids[n_ids]; positions[n_rows];
                    f32 [n_rows][n_columns] logits (encoders: hidden states); then three lists, each
                    as a count and its numbers: greedy tokens, source tokens, beam search tokens
Every parameter is random and far from its initial value, so that an operation that is missing or
wrong shows in the result.
"""
import copy
import json
import os
import struct
import sys

import numpy as np
import torch
from transformers import (BartConfig, BartForConditionalGeneration, PLBartConfig,
                          PLBartForConditionalGeneration, RobertaConfig, RobertaModel, T5Config,
                          T5ForConditionalGeneration)

ENCODER_TOKENS, TOKENS, GENERATED = 23, 17, 64


def t5(**kw):
    base = dict(pad_token_id=0, eos_token_id=1, decoder_start_token_id=0, dropout_rate=0.0)
    return T5ForConditionalGeneration(T5Config(**{**base, **kw}))


def bart(config, model, **kw):
    base = dict(max_position_embeddings=80, dropout=0.0, attention_dropout=0.0,
                activation_dropout=0.0, pad_token_id=1, bos_token_id=0, eos_token_id=2,
                decoder_start_token_id=2, forced_eos_token_id=None)
    return model(config(**{**base, **kw}))


MODELS = {
    # Plain MLP, tied head (CodeT5's shape); an odd head size that does not divide the width.
    "t5_plain": lambda: t5(vocab_size=61, d_model=20, d_kv=5, num_heads=3, d_ff=37, num_layers=3,
                           num_decoder_layers=2, relative_attention_num_buckets=8,
                           relative_attention_max_distance=20, feed_forward_proj="relu"),
    # Gated MLP, head of its own (T5 1.1, ByT5, CodeT5+); deep encoder, shallow decoder.
    "t5_gated": lambda: t5(vocab_size=59, d_model=24, d_kv=8, num_heads=4, d_ff=28, num_layers=4,
                           num_decoder_layers=1, relative_attention_num_buckets=10,
                           relative_attention_max_distance=12, feed_forward_proj="gated-gelu",
                           tie_word_embeddings=False),
    # An odd number of buckets, of which the encoder's halves leave one unused.
    "t5_odd": lambda: t5(vocab_size=43, d_model=18, d_kv=7, num_heads=3, d_ff=23, num_layers=1,
                         num_decoder_layers=2, relative_attention_num_buckets=9,
                         relative_attention_max_distance=17, feed_forward_proj="gated-silu"),
    "bart_gelu": lambda: bart(BartConfig, BartForConditionalGeneration, vocab_size=53, d_model=18,
                              encoder_layers=2, decoder_layers=3, encoder_attention_heads=3,
                              decoder_attention_heads=2, encoder_ffn_dim=25, decoder_ffn_dim=31,
                              activation_function="gelu", scale_embedding=False),
    "bart_relu": lambda: bart(BartConfig, BartForConditionalGeneration, vocab_size=47, d_model=28,
                              encoder_layers=3, decoder_layers=1, encoder_attention_heads=4,
                              decoder_attention_heads=4, encoder_ffn_dim=40, decoder_ffn_dim=20,
                              activation_function="relu", scale_embedding=True),
    "plbart_base": lambda: bart(PLBartConfig, PLBartForConditionalGeneration, vocab_size=55,
                                d_model=24, encoder_layers=2, decoder_layers=2,
                                encoder_attention_heads=3, decoder_attention_heads=3,
                                encoder_ffn_dim=33, decoder_ffn_dim=33, activation_function="gelu",
                                scale_embedding=True),
    "plbart_deep": lambda: bart(PLBartConfig, PLBartForConditionalGeneration, vocab_size=49,
                                d_model=20, encoder_layers=1, decoder_layers=3,
                                encoder_attention_heads=5, decoder_attention_heads=2,
                                encoder_ffn_dim=24, decoder_ffn_dim=44, activation_function="gelu",
                                scale_embedding=True),
    "roberta_small": lambda: RobertaModel(
        RobertaConfig(vocab_size=57, hidden_size=24, num_hidden_layers=3, num_attention_heads=4,
                      intermediate_size=35, max_position_embeddings=66, type_vocab_size=1,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5),
        add_pooling_layer=False),
    "roberta_pooled": lambda: RobertaModel(
        RobertaConfig(vocab_size=43, hidden_size=30, num_hidden_layers=2, num_attention_heads=2,
                      intermediate_size=21, max_position_embeddings=90, type_vocab_size=2,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-12)),
    # Tokens of padding among the others, which take no position.
    "roberta_padded": lambda: RobertaModel(
        RobertaConfig(vocab_size=39, hidden_size=21, num_hidden_layers=2, num_attention_heads=3,
                      intermediate_size=26, max_position_embeddings=64, type_vocab_size=1,
                      pad_token_id=7, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5),
        add_pooling_layer=False),
    # UniXcoder's decoder mode, as its unixcoder.py sets it up: is_decoder, the embedding for a head.
    "unixcoder": lambda: RobertaModel(
        RobertaConfig(vocab_size=61, hidden_size=28, num_hidden_layers=3, num_attention_heads=4,
                      intermediate_size=37, max_position_embeddings=100, type_vocab_size=10,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5, is_decoder=True),
        add_pooling_layer=True),
    "unixcoder_wide": lambda: RobertaModel(
        RobertaConfig(vocab_size=50, hidden_size=30, num_hidden_layers=2, num_attention_heads=2,
                      intermediate_size=23, max_position_embeddings=110, type_vocab_size=1,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-6, is_decoder=True),
        add_pooling_layer=False),
}

# UniXcoder's encoder-decoder mode: a checkpoint with a tokenizer, in test/fixtures/joint.
JOINT = {
    "unixcoder": lambda: RobertaModel(
        RobertaConfig(vocab_size=57, hidden_size=36, num_hidden_layers=3, num_attention_heads=4,
                      intermediate_size=41, max_position_embeddings=130, type_vocab_size=10,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-5, is_decoder=True,
                      is_encoder_decoder=True),
        add_pooling_layer=True),
    "unixcoder_odd": lambda: RobertaModel(
        RobertaConfig(vocab_size=44, hidden_size=21, num_hidden_layers=2, num_attention_heads=3,
                      intermediate_size=50, max_position_embeddings=120, type_vocab_size=1,
                      pad_token_id=1, bos_token_id=0, eos_token_id=2, hidden_dropout_prob=0.0,
                      attention_probs_dropout_prob=0.0, layer_norm_eps=1e-6, is_decoder=True,
                      is_encoder_decoder=True),
        add_pooling_layer=False),
}
MARKS = ["<s>", "<pad>", "</s>", "<unk>", "<encoder-only>", "<decoder-only>", "<encoder-decoder>"]

SAFETENSORS = ("t5_plain", "bart_relu", "plbart_base", "roberta_small", "unixcoder")

BEAM = dict(num_beams=4, length_penalty=1.3, early_stopping=False, max_new_tokens=24)


def randomize(model, generator):
    """Matrices outweigh the embedding, or a tied head would repeat its own input for ever."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 1:
                norm = "norm" in name.lower() and name.endswith("weight")
                p.copy_(1.0 + 0.3 * noise if norm else 0.1 * noise)
            elif "embed_positions" in name or "relative_attention_bias" in name:
                p.copy_(1.5 * noise)
            elif "embed" in name or "shared" in name:
                p.copy_(0.5 * noise)
            else: # sharp attention: an average over all positions is the same at every step
                sharp = name.endswith(("q_proj.weight", "k_proj.weight"))
                p.copy_(noise * (3.0 if sharp else 2.0) / p.shape[1] ** 0.5)
        for name, b in model.named_buffers():
            if name == "final_logits_bias":
                b.copy_(0.1 * torch.randn(b.shape, generator=generator))


def ids(n, config, generator):
    first = 3 + 2 * (config.model_type == "roberta")
    return torch.randint(first, config.vocab_size, (1, n), generator=generator)


def decoder_reference(model, exact, tokens):
    """Logits, and greedy tokens behind the first four ids, which stand for <s> <decoder-only> </s>."""
    def logits(ids):
        return exact(input_ids=ids).last_hidden_state[0] @ exact.embeddings.word_embeddings.weight.T
    stream = tokens[:, :4]
    for _ in range(GENERATED):
        stream = torch.cat([stream, logits(stream)[-1].argmax().view(1, 1)], 1)
    return {"ids": tokens[0].tolist(), "greedy": stream[0, 4:].tolist()}, logits(tokens)


def joint_reference(model, generator):
    """Logits of a source whose tokens see each other, as the mask of UniXcoder's own code has it, and of
    tokens behind it that look back; greedy tokens behind the source."""
    exact, rows = copy.deepcopy(model).double(), model.embeddings.word_embeddings.weight.double()
    words = torch.randint(len(MARKS), model.config.vocab_size, (1, ENCODER_TOKENS + TOKENS), generator=generator)
    source = [0, MARKS.index("<encoder-decoder>"), 2] + words[0, :ENCODER_TOKENS].tolist() + [2]

    def logits(ids):
        mask = torch.ones(1, len(ids), len(ids)).tril()
        mask[:, :len(source), :len(source)] = 1
        return exact(input_ids=torch.tensor([ids]), attention_mask=mask).last_hidden_state[0] @ rows.T
    stream = list(source)
    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        for _ in range(GENERATED):
            stream.append(int(logits(stream)[-1].argmax()))
        given = source + words[0, ENCODER_TOKENS:].tolist()
        matrix = logits(given)
    torch.set_default_dtype(torch.float32)
    return {"ids": given, "greedy": stream[len(source):], "source": source}, matrix


def write_words(folder, n):
    """A tokenizer whose word number i is "wi", behind the markers."""
    marks = [{"id": i, "content": m, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, m in enumerate(MARKS[:4])]
    model = {"type": "WordLevel", "unk_token": "<unk>",
             "vocab": {w: i for i, w in enumerate(MARKS + [f"w{i}" for i in range(len(MARKS), n)])}}
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump({"version": "1.0", "added_tokens": marks, "normalizer": None, "decoder": None, "model": model,
                   "pre_tokenizer": {"type": "WhitespaceSplit"},
                   "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                                      "trim_offsets": True, "add_prefix_space": False}}, f)


def make_joint(name, folder):
    for seed in range(2000):
        generator = torch.Generator().manual_seed(seed)
        model = JOINT[name]().eval()
        randomize(model, generator)
        description, result = joint_reference(model, generator)
        greedy = description["greedy"]  # no padding, which takes no position; some text before an end
        if varied(description) and 1 not in greedy and 2 not in greedy[:20]:
            break
    model.save_pretrained(folder, safe_serialization="odd" not in name)
    write_words(folder, model.config.vocab_size)
    write_reference(folder + ".ref", description, result)
    print(name, "seed", seed, tuple(result.shape), "greedy", description["greedy"][:10])


def reference(model, generator):
    """Lists of ids, and a matrix in float64 where transformers can compute in it."""
    config, exact = model.config, copy.deepcopy(model).double()
    with torch.no_grad():
        if config.model_type == "roberta":
            tokens = ids(TOKENS + 8, config, generator)
            if config.pad_token_id != 1:
                tokens[0, [0, 5, 6, 11, -1]] = config.pad_token_id
            if config.is_decoder:
                torch.set_default_dtype(torch.float64)
                found = decoder_reference(model, exact, tokens)
                torch.set_default_dtype(torch.float32)
                return found
            return {"ids": tokens[0].tolist()}, exact(input_ids=tokens).last_hidden_state[0]
        source, target = ids(ENCODER_TOKENS, config, generator), ids(TOKENS, config, generator)
        target[0, 0] = config.decoder_start_token_id
        torch.set_default_dtype(torch.float64)  # of the masks that BART makes
        logits = exact(input_ids=source, decoder_input_ids=target).logits[0]
        torch.set_default_dtype(torch.float32)
        rounded = model(input_ids=source, decoder_input_ids=target).logits[0]
        greedy = model.generate(source, do_sample=False, num_beams=1, max_new_tokens=GENERATED)
        beam = model.generate(source, do_sample=False, **BEAM)
    return {"ids": target[0].tolist(), "greedy": greedy[0, 1:].tolist(),
            "source": source[0].tolist(), "beam": beam[0, 1:].tolist(),
            "rounding": float((rounded - logits).abs().max() / logits.abs().max())}, logits


def write_reference(path, lists, matrix):
    given = lists["ids"]
    with open(path, "wb") as f:
        f.write(struct.pack("<3I", len(given), matrix.shape[1], len(given)))
        f.write(np.array(given + list(range(len(given))), "<u4").tobytes())
        f.write(matrix.contiguous().numpy().astype("<f4").tobytes())
        for name in ("greedy", "source", "beam"):
            numbers = lists.get(name, [])
            f.write(np.array([len(numbers)] + numbers, "<u4").tobytes())


def varied(description):
    """A greedy text of one repeated token would prove little."""
    return all(len(set(description.get(kind, range(99)))) >= least
               for kind, least in (("greedy", 8), ("beam", 6)))


def steady(description):
    """A model that magnifies rounding tells little about whose sums are right."""
    return description.get("rounding", 0) < 2e-5


def make(name, folder):
    for seed in range(2000):
        generator = torch.Generator().manual_seed(seed)
        model = MODELS[name]().eval()
        randomize(model, generator)
        model.tie_weights()
        description, result = reference(model, generator)
        if varied(description) and steady(description):
            break
    model.save_pretrained(folder, safe_serialization=name in SAFETENSORS)
    write_reference(folder + ".ref", description, result)
    print(name, "seed", seed, tuple(result.shape), "largest %.3f" % result.abs().max(),
          "greedy", description.get("greedy", [])[:10], "beam", description.get("beam", [])[:10])


def main():
    out, names = sys.argv[1], sys.argv[2:] or MODELS
    for name in names:
        make(name, os.path.join(out, name))
    for name in JOINT if len(sys.argv) == 2 else []:
        make_joint(name, os.path.join(out, "..", "joint", name))


if __name__ == "__main__":
    main()
