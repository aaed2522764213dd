#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes test/decode/fim_golden.h: fill-in-the-middle prompts of published vocabularies as token ids.
Texts are encoded by Hugging Face `tokenizers` (tokenizer_oracle.py); markers are looked up by name and
put around them as the model cards show it.

    python3 test/oracle/make_fim_golden.py > test/decode/fim_golden.h

needs models/qwen2.5-coder-1.5b.gguf and models/vectors (test/fetch-vectors.sh), and pip install gguf
tokenizers.
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from gguf import GGUFReader  # noqa: E402
from tokenizer_oracle import from_gguf  # noqa: E402

BEFORE = "import math\n\n\ndef area(radius):\n    \"\"\"Of a <circle>.\"\"\"\n    "
LINE = "return math.pi * rad"
AFTER = "\n\n\nprint(area(2.5))  # naïve £ 🙂\n"
BAR, BLOCK = "\uff5c", "\u2581"

# name, file, NIB_FIM_*, begin, prefix, suffix and middle marker
VOCABULARIES = [
    ("qwen", "models/qwen2.5-coder-1.5b.gguf", "NIB_FIM_QWEN", None,
     "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("starcoder2", "models/vectors/ggml-vocab-starcoder.gguf", "NIB_FIM_STARCODER2", None,
     "<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("refact", "models/vectors/ggml-vocab-refact.gguf", "NIB_FIM_STARCODER", None,
     "<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("deepseek", "models/vectors/ggml-vocab-deepseek-coder.gguf", "NIB_FIM_DEEPSEEK",
     f"<{BAR}begin{BLOCK}of{BLOCK}sentence{BAR}>", f"<{BAR}fim{BLOCK}begin{BAR}>",
     f"<{BAR}fim{BLOCK}hole{BAR}>", f"<{BAR}fim{BLOCK}end{BAR}>"),
]


def c_string(text):
    out = ""
    for byte in text.encode():
        out += {10: "\\n", 34: '\\"', 92: "\\\\"}.get(byte) or (
            chr(byte) if 32 <= byte < 127 else "\\%03o" % byte)
    return f'"{out}"'


def emit(name, layout, ids):
    print(f"static const int32_t fim_{name}_{layout}[] = {{")
    line = "   "
    for i in ids:
        if len(line) + len(f" {i},") > 100:
            print(line)
            line = "   "
        line += f" {i},"
    print(line.rstrip(",") + "};")


def main():
    print("/* SPDX-License-Identifier: MIT\n * Made by test/oracle/make_fim_golden.py. */")
    print("/* clang-format off */")
    for name, text in (("before", BEFORE), ("line", LINE), ("after", AFTER)):
        print(f"static const char fim_{name}[] =\n    {c_string(text)};")
    rows = []
    for name, path, family, begin, *markers in VOCABULARIES:
        tokens = GGUFReader(path).fields["tokenizer.ggml.tokens"].contents()
        prefix, suffix, middle = ([tokens.index(m)] for m in markers)
        start = [tokens.index(begin)] if begin else []
        encode = from_gguf(path)[1]
        emit(name, "line_last", start + prefix + encode(BEFORE) + suffix + encode(AFTER) + middle +
             encode(LINE))
        emit(name, "prefix", start + prefix + encode(BEFORE + LINE) + suffix + encode(AFTER) +
             middle)
        rows.append(f'    {{"{path}", {family},\n     fim_{name}_line_last, '
                    f"sizeof fim_{name}_line_last / 4,\n     fim_{name}_prefix, "
                    f"sizeof fim_{name}_prefix / 4}},")
    print("static const struct {\n    const char *path;\n    uint32_t family;")
    print("    const int32_t *line_last;\n    size_t n_line_last;")
    print("    const int32_t *prefix;\n    size_t n_prefix;\n} fim_golden[] = {")
    print("\n".join(rows))
    print("};\n/* clang-format on */")


if __name__ == "__main__":
    main()
