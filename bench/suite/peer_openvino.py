# SPDX-License-Identifier: MIT
"""Prompt and generation speed of OpenVINO GenAI, which opens the same GGUF file. Its reader converts
the weights to its own formats (4 and 8 bits); activations are rounded to int8, as is its default.
One figure a line: name, x, value, unit."""

import numpy
import openvino
import openvino_genai
from peer_common import RUNS, arguments, prompt_ids


def main():
    a = arguments()
    pipeline = openvino_genai.LLMPipeline(a.model, "CPU", INFERENCE_NUM_THREADS=a.threads)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = config.min_new_tokens = a.generate
    config.ignore_eos = True
    config.apply_chat_template = False
    for run in range(RUNS + 1):  # the first one compiles kernels
        ids = numpy.array([prompt_ids(a.prompt, run)], dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids),
                                                openvino.Tensor(numpy.ones_like(ids)))
        metrics = pipeline.generate(inputs, config).perf_metrics
        if run > 0:
            print(f"prompt\t{a.prompt}\t{a.prompt / metrics.get_ttft().mean * 1e3:.3f}\ttokens/s")
            print(f"generate\t{a.generate}\t{1e3 / metrics.get_tpot().mean:.3f}\ttokens/s")


if __name__ == "__main__":
    main()
