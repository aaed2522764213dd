# SPDX-License-Identifier: MIT
"""Speed of PyTorch's dynamic int8 quantization, through transformers, on a model of the
same shape. Each engine that PyTorch has for it is tried, the faster one counts. One figure a line:
name, x, value, unit."""

import torch
from peer_common import RUNS, arguments, prompt_ids, report, same_shape, seconds
from transformers import AutoModelForCausalLM


def quantized(folder, engine):
    torch.backends.quantized.engine = engine
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    return torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)


def generate(model, a, run, count):
    """Greedy, with transformers' own KV cache."""
    ids, cache = torch.tensor([prompt_ids(a.prompt, run)]), None
    for _ in range(count):
        out = model(ids, past_key_values=cache, use_cache=True)
        cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    folder = same_shape(a.model)
    with torch.inference_mode():
        models = {}
        for engine in ("onednn", "fbgemm", "qnnpack"):
            if engine in torch.backends.quantized.supported_engines:
                torch.backends.quantized.engine = engine
                model = quantized(folder, engine)
                generate(model, a, 0, 2)
                models[engine] = seconds(lambda: generate(model, a, 0, 8))
                del model
        best = min(models, key=models.get)
        model = quantized(folder, best)
        generate(model, a, 0, 2)
        for run in range(RUNS):
            first = seconds(lambda: generate(model, a, run, 1))
            report(a, first, seconds(lambda: generate(model, a, run, a.generate)))


if __name__ == "__main__":
    main()
