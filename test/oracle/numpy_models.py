# SPDX-License-Identifier: MIT
"""Qwen 3 and Gemma 3 (text) in numpy, float64, written from their published descriptions: the Qwen 3
technical report (2025), section 2: Qwen 2 without biases, RMS norms of each query and key head before
rotation; the Gemma 3 report (2025), section 2: norms before and after each block that multiply by
1 + weight, norms of query and key heads, layers of local attention with a base of their own and every
n-th one global, embeddings times the square root of the width, and the fields of their config.json.
Used where the installed transformers has no implementation."""
import numpy as np


def local_layers(c):
    """Which layers see a window only."""
    n, listed = c["num_hidden_layers"], c.get("layer_types")
    if c["model_type"] == "qwen3" and not c.get("use_sliding_window"):
        return [False] * n
    if listed:
        return [kind == "sliding_attention" for kind in listed]
    if c["model_type"] == "qwen3":
        return [i >= c["max_window_layers"] for i in range(n)]
    return [(i + 1) % c["sliding_window_pattern"] != 0 for i in range(n)]


def shapes(c):
    d, ff, hd = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    gemma = c["model_type"] == "gemma3_text"
    out = {"model.embed_tokens.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}
    if not c.get("tie_word_embeddings", gemma):
        out["lm_head.weight"] = (c["vocab_size"], d)
    norms = ["input_layernorm", "post_attention_layernorm"]
    if gemma:
        norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        for norm in norms:
            out[p + norm + ".weight"] = (d,)
        for name, rows, cols in (("q_proj", q, d), ("k_proj", kv, d), ("v_proj", kv, d),
                                 ("o_proj", d, q)):
            out[p + f"self_attn.{name}.weight"] = (rows, cols)
            if c.get("attention_bias"):
                out[p + f"self_attn.{name}.bias"] = (rows,)
        out[p + "self_attn.q_norm.weight"] = out[p + "self_attn.k_norm.weight"] = (hd,)
        out[p + "mlp.gate_proj.weight"] = out[p + "mlp.up_proj.weight"] = (ff, d)
        out[p + "mlp.down_proj.weight"] = (d, ff)
    return out


def rotate(x, base, factor):
    """x [tokens][heads][dim]: dimension i turns with dimension i + dim/2."""
    n, _, dim = x.shape
    inv = base ** (-np.arange(0, dim, 2) / dim) / factor
    angle = np.arange(n)[:, None] * inv[None, :]
    c, s = np.cos(angle)[:, None, :], np.sin(angle)[:, None, :]
    a, b = x[..., :dim // 2], x[..., dim // 2:]
    return np.concatenate([a * c - b * s, b * c + a * s], -1)


def logits(c, weights, ids):
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    gemma = c["model_type"] == "gemma3_text"
    eps, hd = c["rms_norm_eps"], c["head_dim"]
    n_head, n_kv = c["num_attention_heads"], c["num_key_value_heads"]
    scale = c["query_pre_attn_scalar"] ** -0.5 if gemma else hd ** -0.5

    def norm(x, name):
        g = w[name + ".weight"] + (1 if gemma else 0)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * g

    def linear(x, name):
        y = x @ w[name + ".weight"].T
        return y + w[name + ".bias"] if name + ".bias" in w else y

    def activation(x):
        if gemma:
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))
        return x / (1 + np.exp(-x))

    n = len(ids)
    far = np.arange(n)[:, None] - np.arange(n)[None, :]
    x = w["model.embed_tokens.weight"][ids]
    if gemma:
        x = x * np.sqrt(c["hidden_size"])
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        local = local_layers(c)[i]
        base = c["rope_local_base_freq"] if gemma and local else c["rope_theta"]
        scaling = c.get("rope_scaling")
        factor = scaling["factor"] if scaling and not (gemma and local) else 1.0
        h = norm(x, p + "input_layernorm")
        q = linear(h, p + "self_attn.q_proj").reshape(n, n_head, hd)
        k = linear(h, p + "self_attn.k_proj").reshape(n, n_kv, hd)
        v = linear(h, p + "self_attn.v_proj").reshape(n, n_kv, hd)
        q = rotate(norm(q, p + "self_attn.q_norm"), base, factor)
        k = rotate(norm(k, p + "self_attn.k_norm"), base, factor)
        seen = (far >= 0) & ((far < c["sliding_window"]) if local else True)
        heads = []
        for head in range(n_head):
            kv = head // (n_head // n_kv)
            s = np.where(seen, q[:, head] @ k[:, kv].T * scale, -np.inf)
            s = np.exp(s - s.max(-1, keepdims=True))
            heads.append(s / s.sum(-1, keepdims=True) @ v[:, kv])
        a = linear(np.concatenate(heads, -1), p + "self_attn.o_proj")
        if gemma:
            x = x + norm(a, p + "post_attention_layernorm")
            h = norm(x, p + "pre_feedforward_layernorm")
        else:
            x = x + a
            h = norm(x, p + "post_attention_layernorm")
        inner = activation(linear(h, p + "mlp.gate_proj")) * linear(h, p + "mlp.up_proj")
        m = linear(inner, p + "mlp.down_proj")
        x = x + (norm(m, p + "post_feedforward_layernorm") if gemma else m)
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return norm(x, "model.norm") @ head.T
