# SPDX-License-Identifier: MIT
"""Random configurations of every family, as widely as transformers 4.44.2 accepts them, and the
forms in which a checkpoint of one can lie in a directory. Used by compare_models.py.

A family is a function of a random generator that gives (class of the model, class of the
configuration, fields, names). `names` are fields whose value nibble does not implement: such a
directory has to be refused with a message that has one of these names in it.
"""
import json
import os

import torch

# What transformers 4 does not say in words of its own: activations that nibble has, and others.
ACTIVATIONS = ["gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python",
               "gelu_accurate", "relu", "silu", "swish"]
STRANGE = ["gelu_10", "quick_gelu", "relu2", "relu6", "tanh", "sigmoid", "mish", "linear"]


class Draw:
    """Random choices with a memory of what nibble may refuse."""

    def __init__(self, rng):
        self.rng, self.refused = rng, []

    def of(self, *values):
        return values[self.rng.integers(len(values))]

    def between(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def chance(self, share):
        return self.rng.random() < share

    def refuse(self, *names):
        self.refused += names

    def activation(self, field):
        if self.chance(0.06):
            self.refuse(field)
            return self.of(*STRANGE)
        return self.of(*ACTIVATIONS)

    def eps(self):
        return self.of(1e-5, 1e-6, 1e-12, 1e-3, 3e-4)

    def heads(self, even=True, kv=True, least=2):
        """(query heads, key heads, head size)"""
        n = self.of(1, 2, 3, 4, 5, 7, 12)
        size = self.of(2, 4, 6, 8, 10, 14, 18, 32) if even else self.between(least, 13)
        size = max(size, least)
        divisors = [d for d in range(1, n + 1) if n % d == 0]
        return n, self.of(*divisors) if kv else n, size

    def base(self):
        return self.of(10000.0, 10000.0, 500.0, 999.5, 1e6, 50.0, 5e5)

    def positions(self, least):
        return self.of(least, least + 1, 200, 2048)

    def scaling(self, kinds):
        kind = self.of(None, None, *kinds)
        if kind is None:
            return None
        word = "rope_type" if "llama3" in kinds else "type"
        scaling = {word: kind, "factor": self.of(2.0, 1.5, 8.0)}
        if kind == "yarn" and self.chance(0.5):
            scaling.update(beta_fast=self.of(32.0, 8.0), beta_slow=self.of(1.0, 2.0))
        if kind == "yarn" and self.chance(0.3):
            scaling.update(attention_factor=0.7)
        if kind == "llama3":
            scaling.update(low_freq_factor=1.0, high_freq_factor=self.of(4.0, 2.5),
                           original_max_position_embeddings=self.of(16, 40, 100))
        return scaling


def gpt2(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    fields = dict(vocab_size=d.between(11, 90), n_positions=d.positions(length), n_embd=n * size,
                  n_layer=d.between(1, 3), n_head=n, n_inner=d.of(None, d.between(3, 70)),
                  activation_function=d.activation("activation_function"),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.chance(0.6),
                  scale_attn_weights=d.chance(0.8))
    if family == "GPT2":
        fields.update(scale_attn_by_inverse_layer_idx=d.chance(0.3),
                      reorder_and_upcast_attn=d.chance(0.2))
        return "GPT2LMHeadModel", family, fields
    fields.update(multi_query=d.chance(0.6), attention_softmax_in_fp32=d.chance(0.5),
                  scale_attention_softmax_in_fp32=d.chance(0.5))
    return "GPTBigCodeForCausalLM", family, fields


def gptj(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    if family == "CodeGen":
        n = d.of(4, 8, 12)
    rotary = 2 * d.between(1, size // 2)
    fields = dict(vocab_size=d.between(11, 90), n_positions=d.positions(length), n_embd=n * size,
                  n_layer=d.between(1, 3), n_head=n, n_inner=d.of(None, d.between(3, 70)),
                  rotary_dim=rotary, activation_function=d.activation("activation_function"),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.chance(0.2))
    return family + "ForCausalLM", family, fields


def gptneo(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    layers = d.between(1, 4)
    types = [[["global", "local"], layers // 2]] + [[["global"], 1]] * (layers % 2)
    if d.chance(0.4):
        types = [[[d.of("global", "local")], 1] for _ in range(layers)]
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=d.positions(length),
                  hidden_size=n * size, num_layers=layers, num_heads=n, attention_types=types,
                  intermediate_size=d.of(None, d.between(3, 70)), window_size=d.between(1, 40),
                  activation_function=d.activation("activation_function"),
                  layer_norm_epsilon=d.eps(), tie_word_embeddings=d.chance(0.6))
    return "GPTNeoForCausalLM", family, fields


def neox(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    rotated = 2 * d.between(1, size // 2)
    pos = d.positions(length)
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=pos, hidden_size=n * size,
                  num_hidden_layers=d.between(1, 3), num_attention_heads=n,
                  intermediate_size=d.between(3, 70), rotary_pct=(rotated + d.of(0, 0.4)) / size,
                  rotary_emb_base=d.base(), layer_norm_eps=d.eps(),
                  use_parallel_residual=d.chance(0.5), attention_bias=d.chance(0.7),
                  hidden_act=d.activation("hidden_act"), tie_word_embeddings=d.chance(0.3),
                  rope_scaling=d.scaling(["linear", "dynamic"]) if d.chance(0.3) else None)
    if fields["rotary_pct"] > 1:
        fields["rotary_pct"] = 1.0 if size % 2 == 0 else rotated / size
    return "GPTNeoXForCausalLM", family, fields


def llama(d, family, length):
    n, kv, size = d.heads()
    pos = d.positions(length)
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=pos, hidden_size=n * size,
                  num_hidden_layers=d.between(1, 3), num_attention_heads=n, num_key_value_heads=kv,
                  intermediate_size=d.between(3, 70), rope_theta=d.base(),
                  tie_word_embeddings=d.chance(0.4))
    if family == "Starcoder2":
        fields.update(norm_epsilon=d.eps(), use_bias=d.chance(0.6),
                      hidden_act=d.activation("hidden_act"),
                      sliding_window=d.of(None, None, d.between(1, 30), 4096))
        return "Starcoder2ForCausalLM", family, fields
    fields.update(rms_norm_eps=d.eps())
    if family == "Gemma":
        fields.update(head_dim=d.of(2, 4, 6, 10, 16), hidden_size=d.between(5, 40),
                      hidden_activation=d.of(None, d.activation("hidden_activation")),
                      attention_bias=d.chance(0.3))
        return "GemmaForCausalLM", family, fields
    fields.update(hidden_act=d.activation("hidden_act"))
    if family == "Llama":
        fields.update(attention_bias=d.chance(0.3), mlp_bias=d.chance(0.3),
                      rope_scaling=d.scaling(["linear", "dynamic", "yarn", "llama3"]))
    elif family == "Mistral":
        fields.update(sliding_window=d.of(None, d.between(1, 30), 4096))
        if d.chance(0.5):
            fields.update(head_dim=d.of(2, 4, 6, 10, 16), hidden_size=d.between(5, 40))
        else:
            fields.update(head_dim=size)
    elif family == "Qwen2":
        fields.update(use_sliding_window=d.chance(0.4), sliding_window=d.of(d.between(1, 30), 4096),
                      max_window_layers=d.between(0, 3))
    return family + "ForCausalLM", family, fields


def phi(d, family, length):
    n, kv, size = d.heads()
    rotated = 2 * d.between(1, size // 2)
    pos = d.positions(length)
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=pos, hidden_size=n * size,
                  num_hidden_layers=d.between(1, 3), num_attention_heads=n, num_key_value_heads=kv,
                  intermediate_size=d.between(3, 70), rope_theta=d.base(), layer_norm_eps=d.eps(),
                  partial_rotary_factor=rotated / size, hidden_act=d.activation("hidden_act"),
                  tie_word_embeddings=d.chance(0.2),
                  rope_scaling=d.scaling(["linear", "dynamic"]) if d.chance(0.3) else None)
    fields["qk_layernorm"] = family == "Phi" and d.chance(0.3)
    if family == "StableLm":
        fields.update(use_qkv_bias=d.chance(0.5), use_parallel_residual=d.chance(0.5),
                      tie_word_embeddings=d.chance(0.3))
    return family + "ForCausalLM", family, fields


def fairseq(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=d.positions(length),
                  activation_function=d.activation("activation_function"),
                  tie_word_embeddings=d.chance(0.6), ffn_dim=d.between(3, 70))
    if family == "XGLM":
        fields.update(d_model=n * max(size, 4),
                      num_layers=d.between(1, 3), attention_heads=n,
                      scale_embedding=d.chance(0.6), pad_token_id=d.of(0, 1, 1, 5, 9))
        return "XGLMForCausalLM", family, fields
    fields.update(hidden_size=n * size, num_hidden_layers=d.between(1, 3), num_attention_heads=n,
                  word_embed_proj_dim=n * size, enable_bias=d.chance(0.7))
    if d.chance(0.3):
        fields.update(do_layer_norm_before=False)
    if d.chance(0.4):
        fields.update(word_embed_proj_dim=d.between(1, 2 * n * size))
    if d.chance(0.08):
        fields.update(layer_norm_elementwise_affine=False)
        d.refuse("layer_norm_elementwise_affine", "norm")
    if d.chance(0.15):
        fields.update(_remove_final_layer_norm=True)
    return "OPTForCausalLM", family, fields


def t5(d, family, length):
    buckets = d.between(5, 40)
    mlp = d.of("relu", "gated-gelu", "gated-silu", "gelu", "gelu_new", "silu", "gated-relu",
               "gated-gelu_new")
    if d.chance(0.05):
        mlp = d.of("tanh", "gated-tanh", "quick_gelu")
        d.refuse("feed_forward_proj", "dense_act_fn")
    fields = dict(vocab_size=d.between(11, 90), d_model=d.between(5, 40), d_kv=d.between(2, 13),
                  num_heads=d.of(1, 2, 3, 5, 8), d_ff=d.between(3, 70), num_layers=d.between(1, 3),
                  num_decoder_layers=d.between(1, 3), relative_attention_num_buckets=buckets,
                  relative_attention_max_distance=buckets // 2 + d.between(1, 90),
                  layer_norm_epsilon=d.eps(), feed_forward_proj=mlp,
                  tie_word_embeddings=d.chance(0.5), decoder_start_token_id=0)
    return "T5ForConditionalGeneration", family, fields


def bart(d, family, length):
    n = d.of(1, 2, 3, 4)
    m = d.of(1, n, 2 * n)
    width = n * m * d.between(2, 5)
    fields = dict(vocab_size=d.between(11, 90), max_position_embeddings=d.positions(length),
                  d_model=width, encoder_layers=d.between(1, 3), decoder_layers=d.between(1, 3),
                  encoder_attention_heads=n, decoder_attention_heads=m,
                  encoder_ffn_dim=d.between(3, 60), decoder_ffn_dim=d.between(3, 60),
                  activation_function=d.activation("activation_function"),
                  scale_embedding=d.chance(0.5), tie_word_embeddings=d.chance(0.7))
    return family + "ForConditionalGeneration", family, fields


def roberta(d, family, length):
    n, _, size = d.heads(even=False, kv=False)
    pad = d.of(0, 1, 1, 1, 4)
    fields = dict(vocab_size=d.between(11, 90), hidden_size=n * size,
                  num_hidden_layers=d.between(1, 3), num_attention_heads=n,
                  intermediate_size=d.between(3, 70), pad_token_id=pad,
                  max_position_embeddings=d.positions(length) + 1 + pad, layer_norm_eps=d.eps(),
                  type_vocab_size=d.between(1, 3), hidden_act=d.activation("hidden_act"))
    return d.of("RobertaModel", "RobertaForMaskedLM"), family, fields


def numpy_only(d, family, length):
    """What transformers 4.44.2 lacks: numpy_models.py computes them."""
    n, kv, _ = d.heads()
    layers, gemma = d.between(1, 4), family == "Gemma3"
    fields = dict(model_type="gemma3_text" if gemma else "qwen3", vocab_size=d.between(11, 90),
                  max_position_embeddings=d.positions(length), hidden_size=d.between(5, 40),
                  num_hidden_layers=layers, num_attention_heads=n, num_key_value_heads=kv,
                  head_dim=d.of(2, 4, 6, 10, 16), intermediate_size=d.between(3, 70),
                  rms_norm_eps=d.eps(), rope_theta=d.base(), tie_word_embeddings=d.chance(0.5),
                  attention_bias=d.chance(0.3), sliding_window=d.between(1, 30))
    fields["rope_scaling"] = d.of(None, dict(rope_type="linear", factor=d.of(2.0, 8.0)))
    listed = [d.of("full_attention", "sliding_attention") for _ in range(layers)]
    if gemma:
        fields.update(rope_local_base_freq=d.base(), sliding_window_pattern=d.between(1, 4),
                      query_pre_attn_scalar=d.of(256, 7, 14.5),
                      hidden_activation="gelu_pytorch_tanh")
    else:
        fields.update(hidden_act="silu", use_sliding_window=d.chance(0.4),
                      max_window_layers=d.between(0, 3))
    if d.chance(0.4):
        fields["layer_types"] = listed
    return None, family, fields


def unixcoder(d, family, length):
    """RoBERTa that looks back only, with the embedding as its head."""
    _, _, fields = roberta(d, family, length)
    return "RobertaModel", "Roberta", dict(fields, is_decoder=True)


FAMILIES = {
    "Qwen3": numpy_only, "Gemma3": numpy_only, "UniXcoder": unixcoder,
    "CodeGen": gptj, "GPTJ": gptj, "GPT2": gpt2, "GPTBigCode": gpt2, "GPTNeoX": neox,
    "GPTNeo": gptneo,
    "Starcoder2": llama, "XGLM": fairseq, "Llama": llama, "Mistral": llama, "Qwen2": llama,
    "Gemma": llama, "Phi": phi, "StableLm": phi, "OPT": fairseq, "T5": t5, "Bart": bart,
    "PLBart": bart, "Roberta": roberta,
}

# ---- forms of a directory ---------------------------------------------------------------------

# Not guessed: a directory without them is refused.
SIZES = {"model_type", "num_attention_heads", "num_key_value_heads", "num_layers", "vocab_size",
         "num_decoder_layers", "num_hidden_layers", "n_head", "n_layer", "attention_heads",
         "decoder_attention_heads", "encoder_attention_heads", "encoder_layers", "decoder_layers",
         "max_position_embeddings", "n_positions", "num_heads", "d_kv", "hidden_size", "n_embd",
         "ffn_dim", "d_ff", "intermediate_size", "d_model", "rotary_dim", "head_dim",
         "word_embed_proj_dim"}


def edit_config(d, config, path, defaults):
    """Writes config.json as other versions of transformers, and people, write it."""
    done = []
    if d.chance(0.4):  # fields that say what is usual anyway
        for key in [k for k, v in config.items() if k in defaults and defaults[k] == v]:
            if key not in SIZES and d.chance(0.7):
                del config[key]
        done.append("defaults left out")
    if d.chance(0.3) and "torch_dtype" in config:
        config["dtype"] = config.pop("torch_dtype")
        done.append("dtype")
    if d.chance(0.25) and ("rope_theta" in config or "rotary_emb_base" in config):
        rope = dict(config.pop("rope_scaling", None) or {})
        rope["rope_type"] = rope.pop("type", rope.get("rope_type", "default"))
        rope["rope_theta"] = config.pop("rope_theta", None) or config.pop("rotary_emb_base")
        for name in ("partial_rotary_factor", "rotary_pct"):
            if name in config:
                rope["partial_rotary_factor"] = config.pop(name)
        config["rope_parameters"] = rope
        done.append("rope_parameters")
    if config["model_type"] == "mistral" and config.get("sliding_window", 0) is None and \
            d.chance(0.5):
        config.update(model_type="llama", mlp_bias=False)  # with a head_dim of its own
        done.append("as llama")
    if config.get("num_key_value_heads") == config.get("num_attention_heads", -1) and d.chance(0.3):
        config["num_key_value_heads"] = None
        done.append("no num_key_value_heads")
    if d.chance(0.4):
        config.update({"auto_map": {"AutoConfig": "a.B"}, "zebra": [1, {"x": None}], "n_zebra": 7,
                       "use_cache": False, "gradient_checkpointing": False, "_name": "x/y",
                       "task_specific_params": {"a": {"b": [1.5, True]}}})
        done.append("unknown fields")
    with open(path, "w") as f:
        json.dump(config, f, indent=d.of(None, 2), sort_keys=d.chance(0.5))
    return done


# Masks, frequencies and versions that older programs saved with the weights, and a bias of T5's of
# 2019 that nothing uses: (family, name, shape or None for a number); {} is a layer.
LEFT_OVERS = [
    ("gpt2", "transformer.h.{}.attn.bias", (1, 1, 9, 9)),
    ("gpt2", "transformer.h.{}.attn.masked_bias", None),
    ("gptj", "transformer.h.{}.attn.bias", (1, 1, 9, 9)),
    ("codegen", "transformer.h.{}.attn.causal_mask", (1, 1, 9, 9)),
    ("gpt_neo", "transformer.h.{}.attn.attention.bias", (1, 1, 9, 9)),
    ("gpt_neox", "gpt_neox.layers.{}.attention.rotary_emb.inv_freq", (3,)),
    ("gpt_neox", "gpt_neox.layers.{}.attention.masked_bias", None),
    ("llama", "model.layers.{}.self_attn.rotary_emb.inv_freq", (5,)),
    ("xglm", "model.embed_positions.weights", (7, 3)),
    ("opt", "model.decoder.version", (1,)),
    ("bart", "model.encoder.version", (1,)),
    ("bart", "model.decoder.version", (1,)),
    ("t5", "decoder.block.{}.layer.1.EncDecAttention.relative_attention_bias.weight", (5, 3)),
    ("roberta", "roberta.embeddings.position_ids", (1, 40)),
]


def add_left_overs(d, config, state):
    family = config["model_type"]
    layers = config.get("num_decoder_layers") or config.get("num_layers") or \
        config.get("n_layer") or config.get("num_hidden_layers") or 0
    for owner, name, shape in LEFT_OVERS:
        for layer in range(layers if "{}" in name and owner == family else owner == family):
            value = torch.tensor(-1e4) if shape is None else torch.ones(shape)
            if name.endswith((".bias", "mask")):
                value = value.to(d.of(torch.uint8, torch.bool))
            if name.endswith("position_ids"):
                value = value.to(torch.int64)
            state[name.format(layer)] = value


def spread(d, state):
    """The same tensors where a program that saves them may have left them in memory: turned, with
    gaps, in one storage for all, as parameters."""
    flat = torch.cat([v.reshape(-1) for v in state.values() if v.dtype == torch.float32] or
                     [torch.zeros(0)])
    out, at, one = {}, 0, d.chance(0.4)
    for name, value in state.items():
        if one and value.dtype == torch.float32:
            n = value.numel()
            out[name] = flat[at:at + n].view(value.shape)
            at += n
            continue
        kind = d.of("as it is", "turned", "gaps", "parameter", "behind others")
        if kind == "turned" and value.dim() == 2:
            value = value.t().contiguous().t()
        elif kind == "gaps" and value.dim() >= 1:
            wide = torch.zeros(value.shape[:-1] + (2 * value.shape[-1],), dtype=value.dtype)
            wide[..., ::2] = value
            value = wide[..., ::2]
        elif kind == "parameter" and value.is_floating_point():
            value = torch.nn.Parameter(value)
        elif kind == "behind others":
            rest = torch.zeros(value.numel() + 3, dtype=value.dtype)
            rest[3:] = value.reshape(-1)
            value = rest[3:].view(value.shape)
        out[name] = value
    return out


def write_shards(d, state, folder, kind):
    """One file, or several with an index."""
    n = d.of(1, 1, 2, 5)
    stem, end = ("model", "safetensors") if kind == "safetensors" else ("pytorch_model", "bin")
    parts = [{} for _ in range(n)]
    for name, value in state.items():
        parts[d.between(0, n - 1)][name] = value
    where = {}
    for i, part in enumerate(parts):
        file = f"{stem}.{end}" if n == 1 else f"{stem}-{i + 1:05d}-of-{n:05d}.{end}"
        where.update({name: file for name in part})
        if kind == "safetensors":
            from safetensors.torch import save_file
            save_file({k: v.clone().contiguous() for k, v in part.items()},
                      os.path.join(folder, file), {"format": "pt"} if d.chance(0.5) else None)
        else:
            torch.save(part, os.path.join(folder, file))
    if n > 1:
        with open(os.path.join(folder, f"{stem}.{end}.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": 1}, "weight_map": where}, f)
    return [f"{n} files"]


def save(d, config, state, folder, dtype, prefixes):
    """Writes the weights in one of the forms of a checkpoint; returns its description."""
    kind = d.of("safetensors", "bin")
    done = [kind, str(dtype)[6:]]
    strip = d.chance(0.3)
    out = {}
    if d.chance(0.4):
        add_left_overs(d, config, state)
        done.append("left-overs")
    tied = config.get("tie_word_embeddings", False)
    copies = [n for n in state if n.endswith(("lm_head.weight", "embed_out.weight",
                                               "coder.embed_tokens.weight"))]
    if tied and d.chance(0.4):  # a head that is tied needs no tensor of its own
        for name in copies:
            if "shared.weight" in state or "model.shared.weight" in state or "coder." not in name:
                del state[name]
        done.append("no head")
    elif tied and d.chance(0.4):
        for name in copies:
            if "coder." not in name:
                state[name] = torch.ones_like(state[name])
        done.append("another head")
    for name, value in state.items():
        for prefix in prefixes if strip else ():
            if name.startswith(prefix):
                name = name[len(prefix):]
                break
        kept = d.chance(0.2) and value.dim() == 1 and dtype != torch.float32
        out[name] = value if kept or not value.is_floating_point() else value.to(dtype)
    if strip:
        done.append("no prefix")
    if kind == "bin" and d.chance(0.5):
        out = spread(d, out)
        done.append("spread")
    if kind == "bin" and d.chance(0.1):
        torch.save({"state_dict": out, "epoch": 3},
                   os.path.join(folder, "pytorch_model.bin"))
        return done + ["a trainer's"]
    return done + write_shards(d, out, folder, kind)
