#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares nibble with transformers on checkpoints as they were published, but small.

    python3 test/oracle/compare_published.py [--seed S] [NAME...]

published.json has, for each, the fields of the published config.json (old ones, null ones, left-out ones)
with small numbers, and how its weights were saved: files, type of numbers, prefix that the names lack,
tensors that are not there, masks and frequencies that are. Both programs open the same directory, with
random weights: logits of every position within 2e-4 of the largest one (hidden states of an encoder), in
one pass and step by step, and 64 greedy tokens equal. Needs transformers 4.44.2 with a PyTorch.
"""
import argparse
import json
import os
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

import compare_models
import make_hf_fixtures
import make_seq2seq_fixtures

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPT, GREEDY, SOURCE, TOLERANCE = 14, 64, 19, 2e-4
TWO_STACKS = ("t5", "bart", "plbart")


def model_class(config):
    name = config.architectures[0]  # what transformers opens a BartModel with to give text
    return getattr(transformers, {"BartModel": "BartForConditionalGeneration"}.get(name, name))


def random_state(folder, saved, seed):
    """Tensors of a model with the directory's config.json."""
    config = transformers.AutoConfig.from_pretrained(folder)
    dtype = getattr(torch, saved.get("dtype", "float32"))
    model = model_class(config)._from_config(config, torch_dtype=torch.float32).eval()
    if config.model_type in TWO_STACKS + ("roberta",):
        make_seq2seq_fixtures.randomize(model, torch.Generator().manual_seed(seed))
    else:
        scaled = config.model_type in ("gemma", "xglm")
        make_hf_fixtures.fill_model(model, config.model_type == "gemma", 0.2 if scaled else 1.0, dtype,
                                    np.random.default_rng(seed))
    state = {}
    for name, value in model.state_dict().items():
        if name not in saved.get("drop", []):
            value = value.to(dtype) if value.is_floating_point() else value
            state[name.removeprefix(saved.get("strip", ""))] = value.clone()
    layers = 1 + max(int(part) for name in state for part in name.split(".") if part.isdigit())
    for name, shape, kind in saved.get("buffers", []):
        for layer in range(layers if "{}" in name else 1):
            state[name.format(layer)] = torch.ones(shape).to(getattr(torch, kind))
    return state


def save(folder, state, kind):
    safe, names = kind.startswith("safetensors"), list(state)
    stem, end = ("model", "safetensors") if safe else ("pytorch_model", "bin")
    half, files = len(names) // 2, {}
    parts = [names[:half], names[half:]] if kind.endswith("shards") else [names]
    for i, part in enumerate(parts):
        file = f"{stem}.{end}" if len(parts) == 1 else f"{stem}-{i + 1:05d}-of-{len(parts):05d}.{end}"
        tensors = {name: state[name] for name in part}
        if safe:
            save_file(tensors, os.path.join(folder, file), {"format": "pt"})
        else:
            torch.save(tensors, os.path.join(folder, file))
        files.update({name: file for name in part})
    if len(parts) > 1:
        with open(os.path.join(folder, f"{stem}.{end}.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": 123456789.0}, "weight_map": files}, f, indent=2)


class Oracle:
    """What transformers makes of the directory."""

    def __init__(self, folder, source):
        config = transformers.AutoConfig.from_pretrained(folder)
        self.model = model_class(config).from_pretrained(folder, torch_dtype=torch.float32).eval()
        self.states = config.model_type == "roberta"
        self.windows = compare_models.windows_of(type(config).__name__[:-len("Config")], config)
        self.source = source

    def rows(self, ids):
        ids = torch.tensor([ids])
        with torch.no_grad():
            if self.states:
                rows = getattr(self.model, "roberta", self.model)(ids).last_hidden_state
            elif self.source is not None:
                rows = self.model(input_ids=torch.tensor([self.source]), decoder_input_ids=ids).logits
            else:
                with compare_models.Windows(self.model, self.windows, ids.shape[1], torch.float32):
                    rows = self.model(ids, use_cache=False).logits
        return rows[0].double().numpy()


def compare(name, entry, seed):
    """None, or what is wrong."""
    config, saved, rng = entry["config"], entry["saved"], np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(config, f, indent=2)
        save(folder, random_state(folder, saved, seed), saved["kind"])
        draw = [int(i) for i in rng.integers(3, config["vocab_size"], PROMPT + GREEDY + SOURCE)]
        source = draw[-SOURCE:] if config["model_type"] in TWO_STACKS else None
        oracle = Oracle(folder, source)
        stream = draw[:PROMPT + GREEDY] if oracle.states else compare_models.greedy(
            oracle, draw[:PROMPT], GREEDY)
        want = oracle.rows(stream)
        for step in (False, True):
            got = compare_models.nibble(folder, stream, source, step, "amx", "f32")
            bad = compare_models.check_rows(got, want, [] if oracle.states else stream, PROMPT, TOLERANCE)
            if bad is not None:
                return bad
    return None


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--seed", type=int, default=7)
    args.add_argument("names", nargs="*")
    args = args.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    with open(os.path.join(HERE, "published.json")) as f:
        published = json.load(f)
    bad_count = 0
    for name in args.names or published:
        bad = compare(name, published[name], args.seed)
        bad_count += bad is not None
        print(f"ok {name}" if bad is None else f"not ok {name}: {bad}", flush=True)
    print(f"{len(args.names or published)} checkpoints, {bad_count} differences")
    return bad_count != 0


if __name__ == "__main__":
    sys.exit(main())
