#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/fixtures/hf/NAME/, tiny random checkpoints of every decoder-only architecture as
Hugging Face directories, and test/fixtures/hf/NAME.ref, what transformers computes from them.

    python3 -m venv --system-site-packages v        (with a system PyTorch)
    v/bin/pip install 'transformers==4.44.2' 'numpy<2' safetensors
    v/bin/python test/oracle/make_hf_fixtures.py [--both] [--only NAME] [--out FOLDER] [--seed N]

Shapes are odd on purpose: head sizes, widths and vocabularies that are no multiples of anything, few
rotated dimensions, one key head, several, as many as query heads. Every parameter is random and large
enough that a wrong operation changes the logits by far more than rounding does.

NAME.ref, little endian: u32 n_tokens, n_vocab, n_rows; u32 ids[n_tokens]; u32 positions[n_rows];
f32 logits[n_rows][n_vocab]; u32 n_greedy; u32 greedy[n_greedy]: what follows the ids if the largest
logit is taken each time. Evaluated in float64 but for what transformers itself does in float32. The
seed is advanced until no greedy choice is a near tie and the text has some variety.

Weights are safetensors for the first shape of an architecture and pytorch_model.bin for the others, some in float16 or bfloat16;
--both writes both kinds for all, into NAME and NAME.bin.

transformers 4.44.2 has neither Qwen 3 nor Gemma 3: these are computed by numpy_models.py, written from
their published descriptions.
"""
import argparse
import copy
import json
import os
import shutil
import struct
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import numpy_models

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "hf")
N_TOKENS, N_GREEDY = 20, 64

# name: (class of the configuration or None, model_type, fields)
MODELS = {
    "codegen": ("CodeGen", dict(
        vocab_size=53, n_positions=96, n_embd=20, n_layer=2, n_head=4, rotary_dim=2, n_inner=None,
        tie_word_embeddings=False)),
    "codegen-2": ("CodeGen", dict(
        vocab_size=40, n_positions=128, n_embd=24, n_layer=1, n_head=8, rotary_dim=2, n_inner=31,
        activation_function="gelu", layer_norm_epsilon=1e-3, tie_word_embeddings=False)),
    "codegen2": ("CodeGen", dict(  # saved in CodeGen 2's eight shards
        vocab_size=43, n_positions=96, n_embd=32, n_layer=2, n_head=8, rotary_dim=4, n_inner=37,
        tie_word_embeddings=False)),
    "codegen2-2": ("CodeGen", dict(
        vocab_size=40, n_positions=96, n_embd=96, n_layer=1, n_head=16, rotary_dim=2, n_inner=29,
        tie_word_embeddings=False)),
    "gpt2": ("GPT2", dict(
        vocab_size=37, n_positions=90, n_embd=15, n_layer=2, n_head=3, n_inner=None)),
    "gpt2-2": ("GPT2", dict(
        vocab_size=50, n_positions=100, n_embd=20, n_layer=1, n_head=2, n_inner=27,
        activation_function="relu", scale_attn_by_inverse_layer_idx=True,
        tie_word_embeddings=False)),
    "gpt2-old": ("GPT2", dict(  # saved as in 2019: no prefix, masks among the weights
        vocab_size=37, n_positions=90, n_embd=12, n_layer=1, n_head=2, n_inner=None)),
    "bigcode": ("GPTBigCode", dict(
        vocab_size=45, n_positions=90, n_embd=18, n_layer=2, n_head=3, n_inner=29,
        multi_query=True)),
    "bigcode-2": ("GPTBigCode", dict(
        vocab_size=33, n_positions=84, n_embd=20, n_layer=1, n_head=4, n_inner=None,
        multi_query=False, activation_function="gelu")),
    "santacoder": ("GPTBigCode", dict(  # saved as SantaCoder's own code does
        vocab_size=41, n_positions=88, n_embd=21, n_layer=2, n_head=3, n_inner=None,
        activation_function="gelu_fast", multi_query=True)),
    "santacoder-2": ("GPTBigCode", dict(
        vocab_size=37, n_positions=84, n_embd=28, n_layer=1, n_head=7, n_inner=33,
        multi_query=True, tie_word_embeddings=False)),
    "gptj": ("GPTJ", dict(
        vocab_size=39, n_positions=96, n_embd=21, n_layer=2, n_head=3, rotary_dim=4, n_inner=None,
        tie_word_embeddings=False)),
    "gptj-2": ("GPTJ", dict(
        vocab_size=50, n_positions=96, n_embd=16, n_layer=1, n_head=2, rotary_dim=8, n_inner=35,
        tie_word_embeddings=False)),
    "gptneo": ("GPTNeo", dict(
        vocab_size=43, max_position_embeddings=90, hidden_size=21, num_layers=3, num_heads=3,
        attention_types=[[["global", "local"], 1], [["global"], 1]], window_size=6)),
    "gptneo-2": ("GPTNeo", dict(
        vocab_size=50, max_position_embeddings=96, hidden_size=20, num_layers=2, num_heads=2,
        attention_types=[[["global", "local"], 1]], window_size=9, intermediate_size=27,
        activation_function="relu", tie_word_embeddings=False)),
    "gptneo-3": ("GPTNeo", dict(  # layers in no order
        vocab_size=38, max_position_embeddings=90, hidden_size=15, num_layers=4, num_heads=3,
        attention_types=[[["local", "global"], 1], [["global"], 1], [["local"], 1]],
        window_size=5, intermediate_size=21)),
    "neox": ("GPTNeoX", dict(
        vocab_size=41, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=37, rotary_pct=0.25)),
    "neox-2": ("GPTNeoX", dict(
        vocab_size=50, max_position_embeddings=96, hidden_size=20, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=30, rotary_pct=0.4, rotary_emb_base=500,
        use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new")),
    "starcoder2": ("Starcoder2", dict(
        vocab_size=43, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=35)),
    "starcoder2-2": ("Starcoder2", dict(
        vocab_size=50, max_position_embeddings=96, hidden_size=18, num_hidden_layers=1,
        num_attention_heads=3, num_key_value_heads=1, intermediate_size=31, use_bias=False,
        rope_theta=999.0, tie_word_embeddings=False)),
    "xglm": ("XGLM", dict(
        vocab_size=47, max_position_embeddings=96, d_model=20, num_layers=2, attention_heads=4,
        ffn_dim=33)),
    "xglm-2": ("XGLM", dict(
        vocab_size=36, max_position_embeddings=96, d_model=15, num_layers=1, attention_heads=3,
        ffn_dim=40, scale_embedding=False, activation_function="relu",
        tie_word_embeddings=False)),
    "llama": ("Llama", dict(
        vocab_size=51, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=33)),
    "llama-2": ("Llama", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=18, num_hidden_layers=1,
        num_attention_heads=3, num_key_value_heads=1, intermediate_size=37, attention_bias=True,
        mlp_bias=True, tie_word_embeddings=True,
        rope_scaling=dict(rope_type="linear", factor=4.0))),
    "llama-3": ("Llama", dict(
        vocab_size=38, max_position_embeddings=256, hidden_size=20, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, intermediate_size=21, rope_theta=50.0,
        rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                          high_freq_factor=4.0, original_max_position_embeddings=32))),
    "mistral": ("Mistral", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=20, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, intermediate_size=31, sliding_window=7)),
    "qwen2": ("Qwen2", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=31)),
    "qwen2-2": ("Qwen2", dict(
        vocab_size=35, max_position_embeddings=96, hidden_size=18, num_hidden_layers=1,
        num_attention_heads=3, num_key_value_heads=3, intermediate_size=25,
        tie_word_embeddings=True)),
    "gemma": ("Gemma", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=18, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, head_dim=10, intermediate_size=31)),
    "gemma-2": ("Gemma", dict(
        vocab_size=45, max_position_embeddings=96, hidden_size=20, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=4, head_dim=6, intermediate_size=25,
        hidden_activation="gelu")),
    "phi": ("Phi", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=3, intermediate_size=31,
        partial_rotary_factor=0.5)),
    "phi-2": ("Phi", dict(
        vocab_size=45, max_position_embeddings=96, hidden_size=28, num_hidden_layers=1,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=25,
        partial_rotary_factor=0.6)),
    "opt": ("OPT", dict(
        vocab_size=38, max_position_embeddings=90, hidden_size=20, num_hidden_layers=2,
        num_attention_heads=4, ffn_dim=31, word_embed_proj_dim=20)),
    "opt-2": ("OPT", dict(
        vocab_size=45, max_position_embeddings=96, hidden_size=15, num_hidden_layers=1,
        num_attention_heads=3, ffn_dim=40, word_embed_proj_dim=15, enable_bias=False,
        activation_function="gelu", tie_word_embeddings=False)),
    "opt_350m": ("OPT", dict(  # as that model: norms behind the blocks, narrow embeddings
        vocab_size=38, max_position_embeddings=90, hidden_size=20, num_hidden_layers=2,
        num_attention_heads=4, ffn_dim=17, word_embed_proj_dim=11, do_layer_norm_before=False)),
    "opt-wide": ("OPT", dict(
        vocab_size=45, max_position_embeddings=96, hidden_size=15, num_hidden_layers=1,
        num_attention_heads=3, ffn_dim=40, word_embed_proj_dim=23, enable_bias=False,
        tie_word_embeddings=False)),
    "phi_norms": ("Phi", dict(
        vocab_size=38, max_position_embeddings=96, hidden_size=28, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, intermediate_size=25,
        partial_rotary_factor=0.6, qk_layernorm=True)),
    "stablelm": ("StableLm", dict(
        vocab_size=41, max_position_embeddings=96, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=3, num_key_value_heads=1, intermediate_size=31, use_qkv_bias=True,
        partial_rotary_factor=0.25)),
    "stablelm-2": ("StableLm", dict(
        vocab_size=45, max_position_embeddings=96, hidden_size=20, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, intermediate_size=25,
        partial_rotary_factor=0.4, use_parallel_residual=True)),
    "qwen3": (None, dict(
        model_type="qwen3", vocab_size=38, max_position_embeddings=96, hidden_size=20,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
        intermediate_size=31, rms_norm_eps=1e-6, rope_theta=1000.0, hidden_act="silu",
        attention_bias=False, use_sliding_window=False, sliding_window=None,
        max_window_layers=2, tie_word_embeddings=True)),
    "qwen3-2": (None, dict(
        model_type="qwen3", vocab_size=45, max_position_embeddings=96, hidden_size=18,
        num_hidden_layers=1, num_attention_heads=3, num_key_value_heads=3, head_dim=8,
        intermediate_size=25, rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu",
        attention_bias=True, use_sliding_window=False, tie_word_embeddings=False)),
    "gemma3": (None, dict(
        model_type="gemma3_text", vocab_size=38, max_position_embeddings=96, hidden_size=18,
        num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, head_dim=10,
        intermediate_size=27, rms_norm_eps=1e-6, rope_theta=100000.0, rope_local_base_freq=500.0,
        sliding_window=6, sliding_window_pattern=3, query_pre_attn_scalar=14,
        hidden_activation="gelu_pytorch_tanh", attn_logit_softcapping=None,
        final_logit_softcapping=None, rope_scaling=dict(rope_type="linear", factor=8.0))),
    "gemma3-2": (None, dict(
        model_type="gemma3_text", vocab_size=45, max_position_embeddings=96, hidden_size=20,
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
        intermediate_size=25, rms_norm_eps=1e-6, rope_theta=1000.0, rope_local_base_freq=100.0,
        sliding_window=4, sliding_window_pattern=2, query_pre_attn_scalar=6,
        hidden_activation="gelu_pytorch_tanh")),
    "gemma3-3": (None, dict(
        model_type="gemma3_text", vocab_size=38, max_position_embeddings=96, hidden_size=14,
        num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=2, head_dim=6,
        intermediate_size=19, rms_norm_eps=1e-6, rope_theta=1000.0, rope_local_base_freq=100.0,
        sliding_window=5, query_pre_attn_scalar=6, hidden_activation="gelu_pytorch_tanh",
        layer_types=["full_attention", "full_attention", "sliding_attention",
                     "full_attention"])),
    "gemma3_images": (None, dict(  # what a 4B model has is not written
        model_type="gemma3_text", vocab_size=43, max_position_embeddings=96, hidden_size=12,
        num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=4, head_dim=4,
        intermediate_size=15, rms_norm_eps=1e-6, rope_theta=1e6, rope_local_base_freq=10000.0,
        sliding_window=7, sliding_window_pattern=6, query_pre_attn_scalar=256,
        rope_scaling=dict(rope_type="linear", factor=8.0))),
    "gemma3_images-2": (None, dict(
        model_type="gemma3_text", vocab_size=40, max_position_embeddings=96, hidden_size=15,
        num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=6,
        intermediate_size=22, rms_norm_eps=1e-5, rope_theta=5000.0, rope_local_base_freq=100.0,
        sliding_window=5, query_pre_attn_scalar=11, hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=False, layer_types=["full_attention", "sliding_attention"])),
}


# Weights are float32 unless the shape is listed here.
HALF = {name: torch.float16 for name in (
    "bigcode-2", "gptj-2", "starcoder2-2", "xglm-2", "qwen2-2", "phi-2", "opt-2", "stablelm-2",
    "opt-wide", "gptneo-2")}
HALF.update({name: torch.bfloat16 for name in (
    "llama-2", "llama-3", "mistral", "gemma-2", "qwen3-2", "gemma3-2", "gemma3_images")})


def randomize(name, tensor, rng, embedding):
    """Norms around 1 (Gemma stores them minus 1), biases of half a unit, maps that keep the size."""
    shape = tuple(tensor.shape)
    value = rng.standard_normal(shape)
    if name.endswith("bias"):
        return 0.5 * value
    if len(shape) == 1:
        return 0.3 * value
    if "embed_in" in name or "wte" in name or "wpe" in name or "embed_tokens" in name or \
            "embed_positions" in name:
        return embedding * value
    fan_in = shape[0] if "Conv1D" in name else shape[1]
    gain = 3.0 if "lm_head" in name or "embed_out" in name else 1.6
    return gain / np.sqrt(fan_in) * value


def fill_model(model, gemma, embedding, dtype, rng):
    kinds = {id(m): type(m).__name__ for m in model.modules()}
    with torch.no_grad():
        for module in model.modules():
            for name, p in module.named_parameters(recurse=False):
                full = [n for n, q in model.named_parameters() if q is p][0]
                value = randomize(kinds[id(module)] + "." + full, p, rng, embedding)
                if p.dim() == 1 and not name.endswith("bias") and not gemma:
                    value = value + 1
                p.copy_(torch.from_numpy(value.astype(np.float32)).to(dtype))


class NormOfHeads(torch.nn.LayerNorm):
    """Phi's norms of q and k. transformers 4.44.2 applies them before it splits the heads apart, which
    fits one head only; later versions apply them to each head."""

    def forward(self, x):
        heads = x.reshape(*x.shape[:-1], -1, self.normalized_shape[0])
        return super().forward(heads).reshape(x.shape)

    @staticmethod
    def mend(model):
        for module in model.modules():
            if getattr(module, "qk_layernorm", False) and hasattr(module, "q_layernorm"):
                module.q_layernorm.__class__ = module.k_layernorm.__class__ = NormOfHeads


class Transformers:
    """A model of transformers with random weights."""

    def __init__(self, family, fields, dtype, rng):
        config = getattr(transformers, family + "Config")(
            **fields, torch_dtype="float32", attn_implementation="eager",
            bos_token_id=1, eos_token_id=2, pad_token_id=0)
        self.model = getattr(transformers, family + (
            "LMHeadModel" if family == "GPT2" else "ForCausalLM"))(config).eval()
        NormOfHeads.mend(self.model)
        scaled = family in ("Gemma", "XGLM")  # they multiply embeddings by the root of the width
        fill_model(self.model, family == "Gemma", 0.2 if scaled else 1.0, dtype, rng)
        self.n_vocab, self.dtype = config.vocab_size, dtype
        self.double = copy.deepcopy(self.model).double()

    def logits(self, ids):
        """float64 where transformers can; its masks of GPT-NeoX, Phi, OPT ... are float32 only."""
        with torch.no_grad():
            try:
                rows = self.double(torch.tensor([ids]), use_cache=False).logits
            except RuntimeError:
                self.double = self.model
                rows = self.model(torch.tensor([ids]), use_cache=False).logits
        return rows[0].double().numpy()

    def save(self, folder, safe):
        self.model.to(self.dtype).save_pretrained(folder, safe_serialization=safe)

    def save_shards(self, folder, safe):
        """As CodeGen 2 stores q, v, k: in eight parts, where transformers has four."""
        state = self.model.state_dict()
        for name, w in state.items():
            if "qkv_proj" in name:
                whole = w.reshape(4, 3, -1, w.shape[1]).transpose(0, 1).reshape(3, -1, w.shape[1])
                parts = whole.reshape(3, 8, -1, w.shape[1]).transpose(0, 1)
                state[name] = parts.reshape(w.shape).clone()
        self.model.to(self.dtype).save_pretrained(folder, state_dict=state,
                                                  safe_serialization=safe)
        path = os.path.join(folder, "config.json")
        with open(path) as f:
            config = json.load(f)
        config["head_dim"] = config["n_embd"] // config["n_head"]
        with open(path, "w") as f:
            json.dump(config, f, indent=2)

    def save_santacoder(self, folder, safe):
        """As the code beside SantaCoder does: GPT-2's turned matrices, q apart from k and v."""
        state = {}
        for name, w in self.model.state_dict().items():
            w = w.t() if w.dim() == 2 and ".h." in name else w
            if ".c_attn." in name:
                n = self.model.config.n_embd
                state[name.replace("c_attn", "q_attn")] = w[..., :n].contiguous()
                state[name.replace("c_attn", "kv_attn")] = w[..., n:].contiguous()
            elif name != "lm_head.weight" or not self.model.config.tie_word_embeddings:
                state[name] = w.contiguous()
        config = self.model.config.to_diff_dict()
        del config["multi_query"]
        config.update(model_type="gpt2", architectures=["GPT2LMHeadCustomModel"],
                      attention_head_type="multiquery", reorder_and_upcast_attn=False,
                      auto_map={"AutoConfig": "configuration_gpt2_mq.GPT2CustomConfig"})
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f, indent=1)
        for i in range(self.model.config.n_layer):
            state[f"transformer.h.{i}.attn.bias"] = torch.ones(1, 9, 9, dtype=torch.uint8)
        if safe:
            save_file(state, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        else:
            torch.save(state, os.path.join(folder, "pytorch_model.bin"))

    def save_old(self, folder):
        self.model.config.save_pretrained(folder)
        state = self.model.transformer.state_dict()
        n = self.model.config.n_positions
        for i in range(self.model.config.n_layer):
            mask = torch.tril(torch.ones(n, n, dtype=torch.uint8)).view(1, 1, n, n)
            state[f"h.{i}.attn.bias"] = mask
            state[f"h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
        torch.save(state, os.path.join(folder, "pytorch_model.bin"))


class Numpy:
    """A model of numpy_models.py with random weights."""

    def __init__(self, fields, dtype, rng):
        self.fields, self.dtype = fields, dtype
        self.n_vocab = fields["vocab_size"]
        self.weights = {}
        embedding = 0.2 if fields["model_type"] == "gemma3_text" else 1.0
        for name, shape in numpy_models.shapes(fields).items():
            value = randomize(name, np.zeros(shape), rng, embedding)
            if len(shape) == 1 and not name.endswith("bias") and fields["model_type"] == "qwen3":
                value = value + 1
            rounded = torch.from_numpy(value.astype(np.float32)).to(dtype)
            self.weights[name] = rounded.float().numpy()

    def logits(self, ids):
        return numpy_models.logits(self.fields, self.weights, ids)

    def save_images(self, folder, safe):
        """As Gemma 3 that sees images: the text is a part of it, without what is as in its 4B model."""
        usual = {"num_attention_heads": 8, "num_key_value_heads": 4, "rope_theta": 1e6, "rms_norm_eps": 1e-6,
                 "rope_local_base_freq": 10000.0, "query_pre_attn_scalar": 256, "sliding_window_pattern": 6}
        text = {k: v for k, v in self.fields.items() if usual.get(k) != v}
        state = {}
        for name, w in self.weights.items():
            new = "language_model." + name if safe else name.replace("model.", "model.language_model.", 1)
            state[new] = torch.from_numpy(w).to(self.dtype)
        before = "" if safe else "model."
        state[before + "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight"] = torch.ones(4, 4)
        state[before + "vision_tower.vision_model.embeddings.patch_embedding.weight"] = torch.ones(4, 3, 2, 2)
        state[before + "multi_modal_projector.mm_input_projection_weight"] = torch.ones(4, 5)
        if safe:
            save_file(state, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        else:
            torch.save(state, os.path.join(folder, "pytorch_model.bin"))
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump({"architectures": ["Gemma3ForConditionalGeneration"], "boi_token_index": 5, "eos_token_id": [1, 7],
                       "image_token_index": 6, "mm_tokens_per_image": 4, "model_type": "gemma3", "text_config": text,
                       "vision_config": {"hidden_size": 4, "model_type": "siglip_vision_model", "num_hidden_layers": 1,
                                         "vision_use_head": False}}, f, indent=1)

    def save(self, folder, safe):
        state = {n: torch.from_numpy(w).to(self.dtype) for n, w in self.weights.items()}
        if safe:
            save_file(state, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        else:
            torch.save(state, os.path.join(folder, "pytorch_model.bin"))
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(dict(self.fields, bos_token_id=1, eos_token_id=2), f, indent=1)


def near_tie(row):
    top = np.sort(row)[-2:]
    return top[1] - top[0] < 2e-3 * np.abs(row).max()


def reference(model, rng):
    """ids, logits after each, greedy continuation; None if that hangs on a near
    tie or only repeats itself."""
    ids = [int(i) for i in rng.integers(3, model.n_vocab, N_TOKENS)]
    stream, logits = list(ids), None
    for _ in range(N_GREEDY):
        rows = model.logits(stream)
        if logits is None:
            logits = rows
        if near_tie(rows[-1]):
            return None
        stream.append(int(np.argmax(rows[-1])))
    greedy = stream[N_TOKENS:]
    return (ids, logits, greedy) if len(set(greedy)) >= 4 else None


def make(name, out, both, first_seed):
    family, fields = MODELS[name]
    for seed in range(first_seed, first_seed + 200):
        rng = np.random.default_rng(seed)
        dtype = HALF.get(name, torch.float32)
        model = Transformers(family, fields, dtype, rng) if family else Numpy(fields, dtype, rng)
        found = reference(model, rng)
        if found is not None:
            break
    if found is None:
        sys.exit(f"{name}: no seed is good")
    ids, logits, greedy = found
    print(f"{name}: seed {seed}, largest logit {np.abs(logits).max():.1f}, "
          f"{len(set(greedy))} different tokens")
    first = "-" not in name
    for folder, safe in [(name, first)] + ([(name + ".bin", False)] if both and first else []) + (
            [(name + ".safe", True)] if both and not first else []):
        path = os.path.join(out, folder)
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path)
        if name == "gpt2-old":
            model.save_old(path)
        elif name.startswith("gemma3_images"):
            model.save_images(path, safe)
        elif name.startswith("santacoder"):
            model.save_santacoder(path, safe)
        elif name.startswith("codegen2"):
            model.save_shards(path, safe)
        else:
            model.save(path, safe)
        with open(os.path.join(out, folder + ".ref"), "wb") as f:
            f.write(struct.pack("<3I", len(ids), model.n_vocab, len(ids)))
            f.write(np.array(ids + list(range(len(ids))), "<u4").tobytes())
            f.write(logits.astype("<f4").tobytes())
            f.write(np.array([len(greedy)] + greedy, "<u4").tobytes())


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--both", action="store_true")
    args.add_argument("--only", nargs="*")
    args.add_argument("--out", default=HERE)
    args.add_argument("--seed", type=int, default=1)
    args = args.parse_args()
    transformers.logging.set_verbosity_error()
    os.makedirs(args.out, exist_ok=True)
    for name in args.only or MODELS:
        make(name, args.out, args.both, args.seed)


if __name__ == "__main__":
    sys.exit(main())
