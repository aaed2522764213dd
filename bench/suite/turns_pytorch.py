# SPDX-License-Identifier: MIT
"""PyTorch by turns, through transformers: float32, or dynamic int8 of all linear maps."""

import time

import torch
from peer_turns import arguments, serve
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM


ENGINES = ("onednn", "fbgemm", "qnnpack")


def opened_model(a):
    encodes = AutoConfig.from_pretrained(a.model).is_encoder_decoder
    kind = AutoModelForSeq2SeqLM if encodes else AutoModelForCausalLM
    model = kind.from_pretrained(a.model, torch_dtype=torch.float32).eval()
    if a.load == "int8":
        known = torch.backends.quantized.supported_engines  # the fastest one first
        torch.backends.quantized.engine = next(e for e in ENGINES if e in known)
        model = torch.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    return model, encodes


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    opened = time.monotonic()
    model, encodes = opened_model(a)

    def generate(ids, count):
        """Greedy, with transformers' own cache of keys and values."""
        ids, cache, encoded = torch.tensor([ids]), None, None
        if encodes:
            encoded = model.get_encoder()(ids)
            ids = torch.tensor([[model.config.decoder_start_token_id]])
        for _ in range(count):
            more = dict(encoder_outputs=encoded, decoder_input_ids=ids) if encodes else dict(
                input_ids=ids)
            out = model(past_key_values=cache, use_cache=True, **more)
            cache, ids = out.past_key_values, out.logits[:, -1:].argmax(-1)

    with torch.inference_mode():
        serve(a, opened, generate)


if __name__ == "__main__":
    main()
