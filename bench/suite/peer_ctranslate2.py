# SPDX-License-Identifier: MIT
"""Speed of CTranslate2 with int8 weights and activations, on a converted model of the same shape.
One figure a line: name, x, value, unit."""

import json

import ctranslate2
from peer_common import RUNS, arguments, prompt_ids, report, same_shape, seconds


def main():
    a = arguments()
    source = same_shape(a.model)
    folder = source.with_name(source.name + "-ct2")
    if not (folder / "model.bin").exists():
        converter = ctranslate2.converters.TransformersConverter(str(source))
        converter.convert(str(folder), quantization="int8", force=True)
    generator = ctranslate2.Generator(str(folder), device="cpu", compute_type="int8",
                                      intra_threads=a.threads, inter_threads=1)
    words = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))

    def generate(run, count):
        tokens = [words[i] for i in prompt_ids(a.prompt, run)]
        result = generator.generate_batch([tokens], max_length=count, min_length=count, beam_size=1,
                                          include_prompt_in_result=False, sampling_topk=1)
        assert len(result[0].sequences_ids[0]) == count

    generate(0, 2)
    for run in range(1, RUNS + 1):
        first = seconds(lambda: generate(2 * run, 1))
        report(a, first, seconds(lambda: generate(2 * run + 1, a.generate)))


if __name__ == "__main__":
    main()
