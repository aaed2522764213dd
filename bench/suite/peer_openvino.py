# SPDX-License-Identifier: MIT
"""Prompt and generation speed of OpenVINO GenAI, which opens the same GGUF file. Its reader converts
the weights to its own formats (4 and 8 bits); activations are rounded to int8, as is its default.
One figure a line: name, x, value, unit."""

import argparse

import numpy
import openvino
import openvino_genai


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--generate", type=int, required=True)
    a = parser.parse_args()
    pipeline = openvino_genai.LLMPipeline(a.model, "CPU", INFERENCE_NUM_THREADS=a.threads)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = a.generate
    config.ignore_eos = True
    config.apply_chat_template = False
    for run in range(2):  # the first one compiles kernels
        # Any ids do: the work does not depend on them; other ones every time, for it keeps a cache.
        ids = ((numpy.arange(a.prompt, dtype=numpy.int64) + 1) * (7919 + 2 * run) % 40000 + 1000)
        ids = ids.reshape(1, -1)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids),
                                                openvino.Tensor(numpy.ones_like(ids)))
        metrics = pipeline.generate(inputs, config).perf_metrics
    print(f"prompt\t{a.prompt}\t{a.prompt / metrics.get_ttft().mean * 1e3:.3f}\ttokens/s")
    if a.generate > 1:
        print(f"generate\t{a.generate}\t{1e3 / metrics.get_tpot().mean:.3f}\ttokens/s")


if __name__ == "__main__":
    main()
