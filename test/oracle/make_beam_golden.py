#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/decode/beam_golden.h: what beam search in transformers makes of committed checkpoints.

    python3 test/oracle/make_beam_golden.py > test/decode/beam_golden.h

Needs transformers 4.44.2 on PyTorch 1.13 (Debian's python3-torch). For each model and setting a prompt
is looked for whose results are the same in float32 and float64, so that no choice hangs on rounding.
End tokens are chosen among those that the model likes, or nothing would ever end.
"""
import os
import sys
import textwrap

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")
MODELS = ["seq2seq/t5_plain", "seq2seq/t5_gated", "seq2seq/bart_gelu", "seq2seq/bart_relu",
          "seq2seq/plbart_base", "seq2seq/plbart_deep", "hf/gpt2", "hf/llama", "hf/mistral"]
EARLY = {False: "NIB_BEAM_STOP_LIKELY", True: "NIB_BEAM_STOP_EARLY", "never": "NIB_BEAM_STOP_NEVER"}

# num_beams, length_penalty, early_stopping, max_new_tokens, num_return_sequences, end tokens
SETTINGS = [
    (4, 1.3, False, 24, 1, 1),
    (4, 0.0, False, 20, 4, 1),
    (4, -1.0, False, 20, 4, 2),
    (2, 2.0, False, 30, 2, 1),
    (5, 1.0, True, 20, 5, 2),
    (5, 1.0, "never", 20, 3, 1),
    (3, -0.7, "never", 16, 3, 3),
    (2, 1.0, True, 1, 2, 1),
    (9, 0.6, False, 28, 9, 2),
    (4, -0.3, "never", 40, 4, 1),
]

# Four models also have rules of a generation_config.json; True stands for an end token, or another.
RULED = ["seq2seq/t5_plain", "seq2seq/bart_relu", "seq2seq/plbart_base", "hf/gpt2"]
RULES = [
    (4, 1.0, False, 20, 3, 1, {"no_repeat_ngram_size": 2}),
    (3, 1.2, False, 18, 3, 2, {"min_new_tokens": 9}),
    (4, 1.0, False, 11, 4, 1, {"forced_eos_token_id": True, "forced_bos_token_id": True}),
    (4, 0.8, "never", 16, 2, 1, {"repetition_penalty": 1.7, "no_repeat_ngram_size": 3}),
    (6, 1.0, True, 14, 4, 1, {"repetition_penalty": 0.6, "min_new_tokens": 5,
                              "forced_eos_token_id": True, "no_repeat_ngram_size": 1}),
]


def rules_of(setting, ends):
    """What is said of a rule, with ids."""
    rules = dict(setting[6]) if len(setting) > 6 else {}
    for name, value in (("forced_eos_token_id", ends[0]), ("forced_bos_token_id", 7)):
        if name in rules:
            rules[name] = value
    return rules


def search(model, prompt, source, setting, ends):
    beams, penalty, early, tokens, results = setting[:5]
    given = dict(rules_of(setting, ends), input_ids=prompt)
    if source is not None:
        given.update(decoder_input_ids=prompt, input_ids=source)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    out = model.generate(**given, num_beams=beams, length_penalty=penalty, early_stopping=early,
                         max_new_tokens=tokens, num_return_sequences=results, do_sample=False,
                         use_cache=source is not None, # 4.44.2 caches a window one token short
                         eos_token_id=ends, pad_token_id=ends[0], return_dict_in_generate=True,
                         output_scores=True)
    found = []
    for row, score in zip(out.sequences[:, prompt.shape[1]:].tolist(),
                          out.sequences_scores.tolist()):
        n = next((i for i, t in enumerate(row) if t in ends), len(row))
        found.append((score, int(n < len(row)), row[:n]))
    return found


def favourites(model, prompt, source, n):
    """Tokens in the middle of what a search without end finds."""
    plain = (4, 1.0, False, 14, 1, 0)
    [(_, _, ids)] = search(model, prompt, source, plain, [model.config.vocab_size - 1])
    middle = list(dict.fromkeys(ids[4:] + ids))
    return middle[:n]


def exact(model):
    copy = type(model)(model.config).double().eval()
    copy.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    copy.tie_weights()
    return copy


def case(model, double, setting, seed):
    config = model.config
    for trial in range(50):
        generator = torch.Generator().manual_seed(1000 * seed + trial)

        def ids(n):
            return torch.randint(3, config.vocab_size, (1, n), generator=generator)

        if config.is_encoder_decoder: # sometimes with a beginning of the answer
            source, prompt = ids(9 + seed), torch.tensor([[config.decoder_start_token_id]])
            if seed % 3 == 2:
                prompt = torch.cat([prompt, ids(4)], 1)
        else:
            source, prompt = None, ids(7 + 2 * seed)
        with torch.no_grad():
            ends = favourites(model, prompt, source, setting[5])
            if len(ends) < setting[5]:
                continue
            found = search(model, prompt, source, setting, ends)
            torch.set_default_dtype(torch.float64)
            again = search(double, prompt, source, setting, ends)
            torch.set_default_dtype(torch.float32)
        same = [f[2] for f in found] == [f[2] for f in again]
        scores = [f[0] for f in found]
        apart = all(a - b > 1e-4 for a, b in zip(scores, scores[1:]))
        if same and apart and (any(f[1] for f in found) or setting[3] == 1):
            return source, prompt, ends, found
    sys.exit("no prompt is clear enough")


def numbers(values):
    return "\n          ".join(textwrap.wrap(", ".join(map(str, values)), 50))


def write_case(name, setting, source, prompt, ends, found):
    beams, penalty, early, tokens, results = setting[:5]
    rules = rules_of(setting, ends)
    print(f'    {{"{name}", {beams}, {penalty}, {EARLY[early]}, {tokens}, {results},')
    for values in (source[0].tolist() if source is not None else [], prompt[0].tolist(), ends):
        print(f"     {len(values)}, {{{numbers(values) or 0}}},")
    names = ("min_new_tokens", "no_repeat_ngram_size", "forced_bos_token_id", "forced_eos_token_id",
             "repetition_penalty")
    told = (rules.get(name, -1 if name.startswith("forced") else 0) for name in names)
    print(f"     {', '.join(map(str, told))},")
    print("     {")
    for score, ended, ids in found:
        print(f"         {{{score:.8g}, {ended}, {len(ids)}, {{{numbers(ids) or 0}}}}},")
    print("     }},")


def write_cases(names, settings):
    settings = list(settings)
    for name in names:
        kind = AutoModelForSeq2SeqLM if "seq2seq" in name else AutoModelForCausalLM
        model = kind.from_pretrained(os.path.join(FIXTURES, name), torch_dtype=torch.float32).eval()
        model.generation_config.forced_eos_token_id = None
        double = exact(model)
        double.generation_config = model.generation_config
        for i, setting in settings:
            write_case(name, setting, *case(model, double, setting, i))


def main():
    print("/* SPDX-License-Identifier: MIT\n"
          " * Written by test/oracle/make_beam_golden.py: beam search in transformers 4.44.2. */\n"
          "static const beam_case beam_cases[] = {\n/* clang-format off */")
    write_cases(MODELS, enumerate(SETTINGS))
    write_cases(RULED, enumerate(RULES, len(SETTINGS)))
    print("/* clang-format on */\n};")


if __name__ == "__main__":
    main()
