#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fixtures/archs/NAME.gguf and NAME.ref: one tiny random model for each decoder-only
architecture that GGUF has besides llama and qwen2, with the names that gguf-py gives to the tensors of
transformers, and the reference of make_hf_fixtures.py (whose .ref format and installation apply, plus
the package gguf). What a converter must do besides renaming is done here as the GGUF specification
says: GPT-2's matrices are turned, GPT-NeoX's fused rows sorted, Gemma's norms stored plus 1."""
import os
import struct

import gguf
import numpy as np
import torch

import make_hf_fixtures as hf

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "archs")

# our name: (architecture in GGUF, model of make_hf_fixtures)
MODELS = {
    "gpt2": ("gpt2", "gpt2"), "starcoder": ("starcoder", "bigcode"),
    "starcoder2": ("starcoder2", "starcoder2"), "gptneox": ("gptneox", "neox"),
    "phi2": ("phi2", "phi"), "qwen3": ("qwen3", "qwen3"), "gemma": ("gemma", "gemma"),
    "gemma3": ("gemma3", "gemma3"),
}


def state_of(model):
    if isinstance(model, hf.Numpy):
        return dict(model.weights)
    return {n: t.detach().float().numpy() for n, t in model.model.state_dict().items()}


def convert(name, value, arch, config):
    """The names and values that one tensor becomes."""
    if arch == "gpt2" and value.ndim == 2 and ".c_" in name:
        value = value.T
    if arch == "gptneox" and "query_key_value" in name:
        heads = config["num_attention_heads"]
        parts = value.reshape(heads, 3, -1, *value.shape[1:]).swapaxes(0, 1)
        value = parts.reshape(value.shape)
    if arch in ("gemma", "gemma3") and name.endswith("norm.weight"):
        value = value + 1
    return np.ascontiguousarray(value)


def first(config, *keys):
    return next(config[k] for k in keys if config.get(k) is not None)


def write(path, arch, model, fields):
    config = dict(fields) if isinstance(model, hf.Numpy) else model.model.config.to_dict()
    w = gguf.GGUFWriter(path, arch)
    n_layer = first(config, "num_hidden_layers", "n_layer")
    d = first(config, "hidden_size", "n_embd")
    heads = first(config, "num_attention_heads", "n_head")
    kv = 1 if arch == "starcoder" else config.get("num_key_value_heads", heads)
    w.add_block_count(n_layer)
    w.add_context_length(first(config, "max_position_embeddings", "n_positions"))
    w.add_embedding_length(d)
    w.add_feed_forward_length(config.get("intermediate_size") or config.get("n_inner") or 4 * d)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    if arch in ("qwen3", "gemma", "gemma3"):
        w.add_key_length(config["head_dim"])
        w.add_value_length(config["head_dim"])
        w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    else:
        w.add_layer_norm_eps(first(config, "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon"))
    if arch in ("gptneox", "phi2"):
        part = first(config, "rotary_pct", "partial_rotary_factor")
        w.add_rope_dimension_count(int(d // heads * part))
    if arch == "gptneox":
        w.add_parallel_residual(config["use_parallel_residual"])
    if "rope_theta" in config:
        w.add_rope_freq_base(config["rope_theta"])
    if arch == "gemma3":
        w.add_sliding_window(config["sliding_window"])
        w.add_uint32("gemma3.attention.sliding_window_pattern", config["sliding_window_pattern"])
        w.add_float32("gemma3.rope.freq_base_swa", config["rope_local_base_freq"])
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(config["rope_scaling"]["factor"])
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(["t", "1", "t1"] + [f"x{i}" for i in range(3, model.n_vocab)])
    w.add_token_types([1] * model.n_vocab)
    w.add_token_merges(["t 1"])
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, arch.upper()), n_layer)
    for name, value in state_of(model).items():
        if name == "lm_head.weight" and config.get("tie_word_embeddings", True):
            continue
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None:
            raise SystemExit(f"{arch}: no name for {name}")
        w.add_tensor(new, convert(name, value, arch, config).astype(np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    os.makedirs(HERE, exist_ok=True)
    for name, (arch, source) in MODELS.items():
        family, fields = hf.MODELS[source]
        fields = dict(fields)
        if arch == "gemma3":
            fields["query_pre_attn_scalar"] = fields["head_dim"]  # what GGUF takes for granted
        if "n_layer" in fields:
            fields["n_layer"] = 1
        elif arch != "gemma3":
            fields["num_hidden_layers"] = 1
        rng = np.random.default_rng(3)
        model = hf.Transformers(family, fields, torch.float32, rng) if family else hf.Numpy(
            fields, torch.float32, rng)
        write(os.path.join(HERE, name + ".gguf"), arch, model, fields)
        ids = [int(i) for i in rng.integers(3, model.n_vocab, hf.N_TOKENS)]
        logits = model.logits(ids)
        with open(os.path.join(HERE, name + ".ref"), "wb") as f:
            f.write(struct.pack("<3I", len(ids), model.n_vocab, len(ids)))
            f.write(np.array(ids + list(range(len(ids))), "<u4").tobytes())
            f.write(logits.astype("<f4").tobytes())
        print(name, f"largest logit {np.abs(logits).max():.1f}")


main()
