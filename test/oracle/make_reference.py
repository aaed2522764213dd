#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes test/accuracy/<model>.ref: what an independent float32 evaluation says about real code.

    python make_reference.py MODEL.gguf OUT.ref TEXT...       (needs gguf, torch, transformers)

The weights of the GGUF file are dequantized to float32 by the `gguf` package, put into the model
class of Hugging Face transformers (an implementation we share nothing with) and evaluated by PyTorch
in float32. TEXTs are source files; the first nine give 128 tokens each, the tenth 512, from their
first line of code on, so that first positions and longer contexts are both there: 1,664 positions.
Only token ids and log probabilities are written, no text.

Layout, little-endian:
    "NIBREF1\\0"  u32 n_vocab, n_texts, n_top, n_full
    per text     u32 n_tokens, i32 ids[n_tokens]
    per position of every text (distribution after that token), most likely first:
                 u16 id[n_top] (low 16 bits), u8 id_high[n_top] (only if n_vocab > 65536),
                 u16 neg_logprob[n_top] in units of 1/2048
    per full row u32 text, u32 position, i24 logit[n_vocab] in units of 2^-16
The error of a log probability is at most 1/4096. After renormalization its influence on a KL
divergence is of second order, below 1e-7.
"""
import re
import struct
import sys

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from gguf.quants import dequantize

N_TOP, SHORT, LONG = 256, 128, 512
FULL = [(0, 0), (0, 127), (9, 300), (9, 511)]  # (text, position) of rows kept whole; the last two
# only for small vocabularies, because a row of Qwen's has 456 KB

# The split patterns of the two tokenizers, as their authors publish them.
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def field(reader, key, default=None):
    f = reader.get_field(key)
    if f is None:
        return default
    if f.types[0] == gguf.GGUFValueType.ARRAY:
        if f.types[1] == gguf.GGUFValueType.STRING:
            return [bytes(f.parts[i]).decode("utf-8") for i in f.data]
        return [f.parts[i][0] for i in f.data]
    part = f.parts[f.data[0]]
    return bytes(part).decode("utf-8") if f.types[0] == gguf.GGUFValueType.STRING else part[0].item()


def make_tokenizer(reader):
    vocab = {t: i for i, t in enumerate(field(reader, "tokenizer.ggml.tokens"))}
    merges = [tuple(m.split(" ", 1)) for m in field(reader, "tokenizer.ggml.merges")]
    tok = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges))
    pre = field(reader, "tokenizer.ggml.pre")
    pt = tokenizers.pre_tokenizers
    if pre == "qwen2":
        steps = [pt.Split(tokenizers.Regex(QWEN2), "isolated"),
                 pt.ByteLevel(add_prefix_space=False, use_regex=False)]
    elif pre == "smollm":
        steps = [pt.Digits(individual_digits=True), pt.ByteLevel(add_prefix_space=False)]
    else:
        sys.exit(f"no pattern for the pre-tokenizer {pre}")
    tok.pre_tokenizer = pt.Sequence(steps)
    return tok


def unpermute(w, n_head):
    """GGUF files of Llama interleave the halves of each head for rotary pairs; undo that."""
    return w.reshape(n_head, w.shape[0] // n_head // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


LAYER = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def load(reader):
    arch = field(reader, "general.architecture")
    get = lambda key, default=None: field(reader, f"{arch}.{key}", default)
    tensors = {t.name: t for t in reader.tensors}
    n_head = get("attention.head_count")
    config_of = {"llama": transformers.LlamaConfig, "qwen2": transformers.Qwen2Config}[arch]
    config = config_of(
        vocab_size=int(tensors["token_embd.weight"].shape[1]), hidden_size=get("embedding_length"),
        intermediate_size=get("feed_forward_length"), num_hidden_layers=get("block_count"),
        num_attention_heads=n_head, num_key_value_heads=get("attention.head_count_kv", n_head),
        max_position_embeddings=get("context_length"), rope_theta=get("rope.freq_base", 10000.0),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"),
        tie_word_embeddings="output.weight" not in tensors)
    model_of = {"llama": transformers.LlamaForCausalLM, "qwen2": transformers.Qwen2ForCausalLM}[arch]
    with transformers.modeling_utils.no_init_weights():
        model = model_of(config).eval()
    model.tie_weights()
    params = dict(model.named_parameters())
    left = set(params)
    for name, t in tensors.items():
        match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", name)
        layer, role, kind = match.groups()
        target = f"model.layers.{layer}.{LAYER[role]}.{kind}" if layer else f"{TOP[role]}.{kind}"
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        if arch == "llama" and role in ("attn_q", "attn_k"):
            w = unpermute(w, n_head if role == "attn_q" else config.num_key_value_heads)
        assert tuple(params[target].shape) == w.shape, (name, params[target].shape, w.shape)
        with torch.no_grad():
            params[target].copy_(torch.from_numpy(np.ascontiguousarray(w)))
        left.discard(target)
    assert not left, f"parameters that the file did not fill: {sorted(left)}"
    return model


def main(path, out, texts):
    torch.set_num_threads(2)
    reader = gguf.GGUFReader(path)
    tok = make_tokenizer(reader)
    model = load(reader)
    ids = []
    for i, name in enumerate(texts):
        with open(name, encoding="utf-8") as f:
            code = f.read()
        start = re.search(r"^(?!\s*(#|//|/\*|\*|--|\"\"\"|'''))\S", code, re.M).start()
        n = LONG if i == 9 else SHORT
        found = tok.encode(code[start:start + 8 * n], add_special_tokens=False).ids[:n]
        assert len(found) == n, f"{name}: {len(found)} tokens"
        ids.append(found)
    body, full, n_vocab = [], [], 0
    for t, text in enumerate(ids):
        with torch.no_grad():
            logits = model(torch.tensor([text])).logits[0].float()
        n_vocab = logits.shape[1]
        logp = torch.log_softmax(logits.double(), -1)
        top = torch.topk(logp, N_TOP, -1)
        for p in range(len(text)):
            index = top.indices[p].numpy().astype(np.uint32)
            value = np.rint(-top.values[p].numpy() * 2048).clip(0, 65535).astype("<u2")
            body.append((index & 0xffff).astype("<u2").tobytes())
            if n_vocab > 65536:
                body.append((index >> 16).astype(np.uint8).tobytes())
            body.append(value.tobytes())
        for text_index, p in FULL if n_vocab < 65536 else FULL[:2]:
            if text_index == t:
                fixed = np.rint(logits[p].double().numpy() * 65536).astype("<i4")
                assert np.abs(fixed).max() < 1 << 23
                raw = fixed.view(np.uint8).reshape(-1, 4)[:, :3]
                full.append(struct.pack("<II", t, p) + np.ascontiguousarray(raw).tobytes())
        nll = -logp[torch.arange(len(text) - 1), torch.tensor(text[1:])].mean().item()
        rest = (1 - top.values.exp().sum(-1)).mean().item()
        print(f"text {t}: {len(text)} tokens, mean loss {nll:.3f}, mass outside the top {rest:.5f}")
    with open(out, "wb") as f:
        f.write(b"NIBREF1\0" + struct.pack("<IIII", n_vocab, len(ids), N_TOP, len(full)))
        for text in ids:
            f.write(struct.pack("<I", len(text)) + np.array(text, "<i4").tobytes())
        for piece in body + full:
            f.write(piece)
        print(f"{out}: {f.tell()} bytes")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
