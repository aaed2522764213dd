#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares nibble with transformers on random tiny checkpoints of every family.

    python3 test/oracle/compare_models.py [--count N] [--seed S] [--only FAMILY...] [--keep FOLDER]

Needs transformers 4.44.2 with a PyTorch; random_models.py draws the configurations. For each: logits
of every position within 2e-4 of the largest one (hidden states of an encoder; or 4 times as far as
transformers is off in float32, if that is more), in one pass and step by step;
16-bit checkpoints with NIB_PRECISION_F32, and by default within 2e-2, or as far as transformers is off
in bfloat16, if that is more; and what follows the prompt if the largest logit is taken 64 times is the same. A directory
with a feature that nibble lacks must be refused with a message that names the field. Anything else
is shown with its seed and counts as a difference: the last line says how many, and the exit status
is 1 if there are any. `--seed S --count 1` makes one case again.
"""
import argparse
import collections
import copy
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers

import make_hf_fixtures
import make_seq2seq_fixtures
import numpy_models
import random_models

TOOL = os.path.join(os.environ.get("BUILD", "build"), "nibble")
PROMPT, GREEDY, SOURCE = 14, 64, 19
TOLERANCE = 2e-4
TWO_STACKS = ("T5", "Bart", "PLBart")


def make_model(cls, family, fields, dtype, seed):
    """Random weights that `dtype` holds exactly."""
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
    if family in ("XGLM", "OPT", "Bart", "PLBart", "Roberta"):
        ids = dict(bos_token_id=0, eos_token_id=2, pad_token_id=1)
    if family in ("Bart",):
        ids.update(decoder_start_token_id=2)
    config = getattr(transformers, family + "Config")(
        **dict(ids, **fields), attn_implementation="eager", torch_dtype="float32")
    model = getattr(transformers, cls)(config).eval()
    make_hf_fixtures.NormOfHeads.mend(model)
    if family in TWO_STACKS + ("Roberta",):
        make_seq2seq_fixtures.randomize(model, torch.Generator().manual_seed(seed))
    else:
        rng = np.random.default_rng(seed)
        scaled = family == "Gemma" or fields.get("scale_embedding", False)
        make_hf_fixtures.fill_model(model, family == "Gemma", 0.2 if scaled else 1.0, dtype, rng)
    with torch.no_grad():
        stored = model.state_dict().values()  # no frequencies of rotations
        for value in stored:
            if value.is_floating_point():
                value.copy_(value.to(dtype).float())
    model.tie_weights()
    return model


def windows_of(family, config):
    """How far each layer looks back, where transformers has that in kernels for GPUs only."""
    if family == "Starcoder2" and config.sliding_window is not None:
        return [config.sliding_window] * config.num_hidden_layers
    if family == "Qwen2" and config.use_sliding_window:
        return [config.sliding_window if i >= config.max_window_layers else None
                for i in range(config.num_hidden_layers)]
    return None


class Windows:
    """Gives every layer of a model its own mask, for the time of one pass."""

    def __init__(self, model, windows, n, dtype):
        self.layers, self.masks = model.model.layers if windows else [], []
        for window in windows or []:
            seen = torch.ones(n, n).tril()
            if window is not None:
                seen -= torch.ones(n, n).tril(-window)
            mask = torch.zeros(n, n, dtype=dtype)
            self.masks.append(mask.masked_fill(seen == 0, torch.finfo(dtype).min)[None, None])

    def __enter__(self):
        for layer, mask in zip(self.layers, self.masks):
            layer.forward = functools.partial(self.run, layer, mask)

    @staticmethod
    def run(layer, mask, *args, **named):
        return type(layer).forward(layer, *args, **dict(named, attention_mask=mask))

    def __exit__(self, *_):
        for layer in self.layers:
            del layer.forward


class Oracle:
    """Logits of a model, in float64 where transformers can compute in it."""

    def __init__(self, model, family, source):
        self.model, self.source = model, source
        self.windows = windows_of(family, model.config)
        self.double = copy.deepcopy(model).double()

    def run(self, model, ids, dtype):
        inputs = dict(input_ids=torch.tensor([ids]))
        if self.source is not None:
            inputs = dict(input_ids=torch.tensor([self.source]),
                          decoder_input_ids=torch.tensor([ids]))
        if hasattr(self.model, "lm_head") and not hasattr(self.model, "roberta") or \
                hasattr(self.model, "embed_out"):
            with Windows(model, self.windows, len(ids), dtype):
                return model(**inputs, use_cache=False).logits[0]
        base = getattr(model, "roberta", model)
        rows = base(**inputs).last_hidden_state[0]
        if model.config.is_decoder:  # UniXcoder: the embedding is the head
            return rows @ model.embeddings.word_embeddings.weight.T
        return rows

    def rounding(self, ids, want, dtype=torch.float32):
        """How far transformers itself is off in this type: models that magnify rounding."""
        with torch.no_grad():
            model = copy.deepcopy(self.model).to(dtype)
            rows = self.run(model, ids, dtype).double().numpy()
            off = np.abs(rows - want).max()
            if dtype == torch.float32:  # one rounding may be lucky: others, of the weights
                for seed in range(4):
                    other = copy.deepcopy(model)
                    noise = torch.Generator().manual_seed(seed)
                    for p in other.parameters():
                        p.mul_(1 + 1.2e-7 * torch.randn(p.shape, generator=noise))
                    rows = self.run(other, ids, dtype).double().numpy()
                    off = max(off, np.abs(rows - want).max())
        return off / np.abs(want).max()

    def rows(self, ids):
        with torch.no_grad():
            try:
                torch.set_default_dtype(torch.float64)
                return self.run(self.double, ids, torch.float64).double().numpy()
            except RuntimeError:  # masks in float32
                torch.set_default_dtype(torch.float32)
                return self.run(self.model, ids, torch.float32).double().numpy()
            finally:
                torch.set_default_dtype(torch.float32)


class NumpyOracle:
    """The same for what transformers lacks."""

    def __init__(self, fields, dtype, rng):
        self.model = make_hf_fixtures.Numpy(fields, dtype, rng)
        self.model.fields = dict(fields)

    def rows(self, ids):
        return self.model.logits(ids)

    def rounding(self, ids, want, dtype=torch.float32):
        return 5e-5 if dtype == torch.float32 else 0.1


def nibble(folder, ids, source, step, isa, precision):
    with tempfile.NamedTemporaryFile() as out:
        command = [TOOL, "logits", "-m", folder, "--ids", ",".join(map(str, ids)), "-o", out.name,
                   "-t", "1", "--isa", isa]
        if source is not None:
            command += ["--encoder-ids", ",".join(map(str, source))]
        command += ["--step"] * step + ["--precision", precision] * (precision != "")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            return done.stderr.strip() or "status %d" % done.returncode
        return np.fromfile(out.name, "<f4").astype(np.float64).reshape(len(ids), -1)


def greedy(oracle, ids, count):
    stream = list(ids)
    for _ in range(count):
        stream.append(int(np.argmax(oracle.rows(stream)[-1])))
    return stream


def check_rows(got, want, stream, prompt, tolerance):
    """None, or what is wrong."""
    if isinstance(got, str):
        return "refused: " + got
    if got.shape != want.shape:
        return f"{got.shape} rows and columns, not {want.shape}"
    largest = np.abs(want).max()
    off = np.abs(got - want).max() / largest
    if not off <= tolerance:
        return f"off by {off:.2g}"
    for at in range(prompt - 1, len(stream) - 1):
        top = np.sort(want[at])[-2:]
        if top[1] - top[0] > 2 * tolerance * largest and np.argmax(got[at]) != stream[at + 1]:
            return f"another token after {at} positions"
    return None


def make_case(d, name, dtype, seed, source):
    """(name of the class, family, fields, oracle, config.json, tensors in float32)"""
    cls, family, fields = random_models.FAMILIES[name](d, name, PROMPT + GREEDY)
    if cls is None:
        oracle = NumpyOracle(fields, dtype, np.random.default_rng(seed))
        weights = {n: torch.from_numpy(w) for n, w in oracle.model.weights.items()}
        return family, family, fields, oracle, dict(fields, bos_token_id=1, eos_token_id=2), weights
    model = make_model(cls, family, fields, dtype, seed)
    if family in TWO_STACKS:
        source += [int(i) for i in d.rng.integers(d.of(0, 3), fields["vocab_size"], SOURCE)]
    with tempfile.TemporaryDirectory() as folder:  # what it writes says what model it is
        model.config.architectures = [cls]
        model.config.save_pretrained(folder)
        with open(os.path.join(folder, "config.json")) as f:
            config = json.load(f)
    config["tie_word_embeddings"] = model.config.tie_word_embeddings
    oracle = Oracle(model, family, source if family in TWO_STACKS else None)
    return cls, family, fields, oracle, config, dict(model.state_dict())


def case(seed, only, keep):
    """(family, description, None or what is wrong, worst deviation by default of 16-bit files)"""
    rng = np.random.default_rng(seed)
    d = random_models.Draw(rng)
    name = d.of(*(only or sorted(random_models.FAMILIES)))
    total = PROMPT + GREEDY
    dtype = d.of(torch.float32, torch.float32, torch.float16, torch.bfloat16)
    source, lowest = [], d.of(0, 3)  # with padding and markers, or without
    try:
        cls, family, fields, oracle, config, state = make_case(d, name, dtype, seed, source)
    except (ValueError, RuntimeError, KeyError, TypeError, ZeroDivisionError) as error:
        return name, f"transformers: {error}"[:90], None, 0, True
    n_vocab = fields["vocab_size"]
    only_states = name == "Roberta"
    prompt = [int(i) for i in rng.integers(lowest, n_vocab, total if only_states else PROMPT)]
    source = source or None
    if source is not None:
        prompt[0] = 0 if family == "T5" else 2
    if name == "UniXcoder":  # padding takes no position there
        prompt = [i if i != fields["pad_token_id"] else 2 for i in prompt]
    try:
        stream = prompt if only_states else greedy(oracle, prompt, GREEDY)
        want = oracle.rows(stream)
        if name == "UniXcoder" and fields["pad_token_id"] in stream[PROMPT:]:
            raise KeyError("what follows padding stands elsewhere in each of its two ways to evaluate")
    except (RuntimeError, IndexError, KeyError) as error:
        return name, f"transformers: {error}"[:90], None, 0, True
    folder = keep or tempfile.mkdtemp()
    os.makedirs(folder, exist_ok=True)
    try:
        prefixes = {"GPT2LMHeadModel": ["transformer."], "GPTNeoXForCausalLM": ["gpt_neox."],
                    "RobertaForMaskedLM": ["roberta."]}.get(
                        cls, ["transformer.", "model.decoder.", "model."] if source is None else ["model."])
        done = random_models.save(d, config, state, folder, dtype, prefixes)
        usual = {}
        if hasattr(transformers, family + "Config"):
            usual = getattr(transformers, family + "Config")().to_dict()
        done += random_models.edit_config(d, config, os.path.join(folder, "config.json"), usual)
        isa = d.of("scalar", "avx2", "avx512vnni", "avx512bf16", "amx")
        step = d.chance(0.4)
        description = f"{cls} {fields} {done} {isa}{' step' * step}"
        got = nibble(folder, stream, source, step, isa, "" if dtype == torch.float32 else "f32")
        if isinstance(got, str) and d.refused:
            named = any(name in got for name in d.refused)
            return name, description, None if named else "refused, but: " + got, 0, True
        if d.refused:
            return name, description, f"not refused in spite of {d.refused}", 0, True
        bad = check_rows(got, want, stream, len(prompt), TOLERANCE)
        if bad is not None and bad.startswith("off by"):
            tolerance = 4 * oracle.rounding(stream, want)
            bad = check_rows(got, want, stream, len(prompt), max(TOLERANCE, tolerance))
        off = 0
        if bad is None and dtype != torch.float32:
            usual = nibble(folder, stream, source, step, isa, "")
            bad = check_rows(usual, want, [], 0, 0.02)
            if bad is not None:
                tolerance = oracle.rounding(stream, want, torch.bfloat16)
                bad = check_rows(usual, want, [], 0, tolerance)
            off = np.abs(usual - want).max() / np.abs(want).max() if bad is None else 0
        return name, description, bad, off, False
    finally:
        if keep is None:
            shutil.rmtree(folder)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--count", type=int, default=50)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--only", nargs="*")
    args.add_argument("--keep")
    args = args.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    seen, refused, bad_count, worst = collections.Counter(), 0, 0, 0
    for seed in range(args.seed, args.seed + args.count):
        family, description, bad, off, out = case(seed, args.only, args.keep)
        seen[family] += 1
        refused += out
        worst = max(worst, off)
        if bad is not None:
            bad_count += 1
            print(f"not ok seed {seed} {family}: {bad}\n    {description}", flush=True)
    print(", ".join(f"{n} {name}" for name, n in sorted(seen.items())))
    print(f"16-bit checkpoints by default: off by {worst:.2g} at most")
    print(f"{args.count} models, {refused} of them refused by name or no model, {bad_count} differences")
    return bad_count != 0


if __name__ == "__main__":
    sys.exit(main())
