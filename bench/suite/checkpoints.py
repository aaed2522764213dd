# SPDX-License-Identifier: MIT
"""Checkpoints of published shapes with random weights: what a model costs depends on its shape only.
Run as a program it writes one:

    python3 bench/suite/checkpoints.py codegen-350m FOLDER [--dtype f16]

Weights are drawn and written one tensor after the other, so memory stays small; the same name and
number format give the same bytes. Needs numpy. A directory holds config.json and safetensors of at
most two gigabytes each; no tokenizer, for none of the measurements reads text."""

import argparse
import json
import os
from math import prod
from pathlib import Path

SHARD = 2 << 30
BYTES = {"f32": 4, "f16": 2}

# The numbers of the config.json that was published with each model.
SHAPES = {
    "codegen-350m": dict(model_type="codegen", n_layer=20, n_embd=1024, n_head=16, rotary_dim=32),
    "codegen-2b": dict(model_type="codegen", n_layer=32, n_embd=2560, n_head=32, rotary_dim=64),
    "codet5-base": dict(model_type="t5", num_layers=12, d_model=768, num_heads=12, d_ff=3072),
    "codet5-large": dict(model_type="t5", num_layers=24, d_model=1024, num_heads=16, d_ff=4096),
    "plbart-base": dict(model_type="plbart", encoder_layers=6, decoder_layers=6),
    "incoder-1.3b": dict(model_type="xglm", num_layers=24, d_model=2048, attention_heads=32,
                         ffn_dim=8192),
}
COMMON = {
    "codegen": dict(architectures=["CodeGenForCausalLM"], vocab_size=51200, n_positions=2048,
                    n_ctx=2048, activation_function="gelu_new", layer_norm_epsilon=1e-5,
                    tie_word_embeddings=False, bos_token_id=1, eos_token_id=50256),
    "t5": dict(architectures=["T5ForConditionalGeneration"], vocab_size=32100, d_kv=64,
               n_positions=512, relative_attention_num_buckets=32, feed_forward_proj="relu",
               layer_norm_epsilon=1e-6, is_encoder_decoder=True, tie_word_embeddings=True,
               pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=0),
    "plbart": dict(architectures=["PLBartForConditionalGeneration"], vocab_size=50005, d_model=768,
                   encoder_attention_heads=12, decoder_attention_heads=12, encoder_ffn_dim=3072,
                   decoder_ffn_dim=3072, max_position_embeddings=1024, scale_embedding=True,
                   activation_function="gelu", is_encoder_decoder=True, pad_token_id=1,
                   bos_token_id=0, eos_token_id=2, decoder_start_token_id=2,
                   forced_eos_token_id=None),
    "xglm": dict(architectures=["XGLMForCausalLM"], vocab_size=50518, max_position_embeddings=2048,
                 scale_embedding=True, activation_function="gelu", tie_word_embeddings=True,
                 pad_token_id=1, bos_token_id=0, eos_token_id=2),
}


# ---- tensors: (name, shape) in transformers' names ------------------------------------------------

def norm(name, n, bias=True):
    yield f"{name}.weight", (n,)
    if bias:
        yield f"{name}.bias", (n,)


def linear(name, n_out, n_in, bias=True):
    yield f"{name}.weight", (n_out, n_in)
    if bias:
        yield f"{name}.bias", (n_out,)


def codegen(c):
    n = c["n_embd"]
    yield "transformer.wte.weight", (c["vocab_size"], n)
    for i in range(c["n_layer"]):
        layer = f"transformer.h.{i}"
        yield from norm(f"{layer}.ln_1", n)
        yield from linear(f"{layer}.attn.qkv_proj", 3 * n, n, False)
        yield from linear(f"{layer}.attn.out_proj", n, n, False)
        yield from linear(f"{layer}.mlp.fc_in", 4 * n, n)
        yield from linear(f"{layer}.mlp.fc_out", n, 4 * n)
    yield from norm("transformer.ln_f", n)
    yield from linear("lm_head", c["vocab_size"], n)


def t5(c):
    n, ff, inner = c["d_model"], c["d_ff"], c["num_heads"] * c["d_kv"]
    yield "shared.weight", (c["vocab_size"], n)
    for stack, blocks in (("encoder", ("SelfAttention",)),
                          ("decoder", ("SelfAttention", "EncDecAttention"))):
        for i in range(c["num_layers"]):
            layer = f"{stack}.block.{i}.layer"
            for place, attention in enumerate(blocks):
                for part in "qkv":
                    yield f"{layer}.{place}.{attention}.{part}.weight", (inner, n)
                yield f"{layer}.{place}.{attention}.o.weight", (n, inner)
                yield from norm(f"{layer}.{place}.layer_norm", n, False)
            mlp = f"{layer}.{len(blocks)}"
            yield f"{mlp}.DenseReluDense.wi.weight", (ff, n)
            yield f"{mlp}.DenseReluDense.wo.weight", (n, ff)
            yield from norm(f"{mlp}.layer_norm", n, False)
        yield (f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
               (c["relative_attention_num_buckets"], c["num_heads"]))
        yield from norm(f"{stack}.final_layer_norm", n, False)


def fairseq_layer(layer, n, ff, cross=False):
    for attention in ("self_attn", "encoder_attn") if cross else ("self_attn",):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from linear(f"{layer}.{attention}.{part}", n, n)
        yield from norm(f"{layer}.{attention}_layer_norm", n)
    yield from linear(f"{layer}.fc1", ff, n)
    yield from linear(f"{layer}.fc2", n, ff)
    yield from norm(f"{layer}.final_layer_norm", n)


def plbart(c):
    n = c["d_model"]
    yield "model.shared.weight", (c["vocab_size"], n)
    for stack in ("encoder", "decoder"):
        yield f"model.{stack}.embed_positions.weight", (c["max_position_embeddings"] + 2, n)
        yield from norm(f"model.{stack}.layernorm_embedding", n)
        for i in range(c[f"{stack}_layers"]):
            yield from fairseq_layer(f"model.{stack}.layers.{i}", n, c[f"{stack}_ffn_dim"],
                                     stack == "decoder")
    yield "final_logits_bias", (1, c["vocab_size"])


def xglm(c):
    yield "model.embed_tokens.weight", (c["vocab_size"], c["d_model"])
    for i in range(c["num_layers"]):
        yield from fairseq_layer(f"model.layers.{i}", c["d_model"], c["ffn_dim"])
    yield from norm("model.layer_norm", c["d_model"])


TENSORS = {"codegen": codegen, "t5": t5, "plbart": plbart, "xglm": xglm}


def config_of(name):
    shape = SHAPES[name]
    return COMMON[shape["model_type"]] | shape


def count(name):
    """Numbers in a checkpoint."""
    config = config_of(name)
    return sum(prod(shape) for _, shape in TENSORS[config["model_type"]](config))


# ---- numbers --------------------------------------------------------------------------------------

def draw(random, name, shape):
    """Norms around 1; the rest so small that activations keep their size from layer to layer."""
    import numpy
    if "norm" in name.rpartition(".")[0].rpartition(".")[2] or ".ln_" in name:
        centre, spread = (1, 0.1) if name.endswith("weight") else (0, 0.02)
    elif len(shape) == 1:
        centre, spread = 0, 0.02
    else:
        centre, spread = 0, shape[-1] ** -0.5
    numbers = random.standard_normal(shape, dtype=numpy.float32)
    numbers *= spread
    numbers += centre
    return numbers


# ---- files ----------------------------------------------------------------------------------------

def shards(tensors, width):
    """Runs of tensors of at most SHARD bytes."""
    run, size = [], 0
    for name, shape in tensors:
        end = size + prod(shape) * width
        if run and end > SHARD:
            yield run
            run, size, end = [], 0, prod(shape) * width
        run.append((name, shape, size, end))
        size = end
    yield run


def write_shard(path, run, dtype, random):
    import numpy
    header = {"__metadata__": {"format": "pt"}}
    for name, shape, start, end in run:
        header[name] = {"dtype": dtype.upper(), "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    kind = {"f32": numpy.float32, "f16": numpy.float16}[dtype]
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape, _, _ in run:
            draw(random, name, shape).astype(kind, copy=False).tofile(file)


def write(name, folder, dtype="f32"):
    """Writes the checkpoint unless it is there."""
    import numpy
    folder = Path(folder)
    if folder.exists():
        return folder
    config = config_of(name)
    random = numpy.random.Generator(numpy.random.SFC64(1))
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    runs = list(shards(TENSORS[config["model_type"]](config), BYTES[dtype]))
    places = {}
    for i, run in enumerate(runs):
        file = ("model.safetensors" if len(runs) == 1 else
                f"model-{i + 1:05}-of-{len(runs):05}.safetensors")
        write_shard(partial / file, run, dtype, random)
        places |= {tensor: file for tensor, *_ in run}
    if len(runs) > 1:
        index = {"metadata": {"total_size": sum(run[-1][3] for run in runs)}, "weight_map": places}
        (partial / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    config["torch_dtype"] = {"f32": "float32", "f16": "float16"}[dtype]
    (partial / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    os.replace(partial, folder)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=list(SHAPES))
    parser.add_argument("folder")
    parser.add_argument("--dtype", choices=list(BYTES), default="f32")
    a = parser.parse_args()
    write(a.name, a.folder, a.dtype)


if __name__ == "__main__":
    main()
