#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a keystroke costs: types a line into a real file, asking for a suggestion after every key.

The prompt is about 1,000 tokens before and 256 after the cursor, in one session that reuses what it
can. Reported for both layouts: cold time to the first text, then per key the median and the 90th
percentile of the time to the first text, and how many tokens were evaluated.

    python3 bench/keystrokes.py --model models/qwen2.5-coder-1.5b.gguf
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples" / "python"))

import nibble  # noqa: E402


def window(model, lines, i, n_before, n_after):
    """Whole lines around line i with at most that many tokens."""
    first, last = i, i + 1
    while first > 0 and len(model.tokenize("\n".join(lines[first - 1:i]))) <= n_before:
        first -= 1
    while last < len(lines) and len(model.tokenize("\n".join(lines[i + 1:last + 1]))) <= n_after:
        last += 1
    return "\n".join(lines[first:i]) + "\n", "\n" + "\n".join(lines[i + 1:last]) + "\n"


def first_text(session, prefix, suffix, layout):
    """Seconds until the first new text, and prompt tokens evaluated."""
    earlier, start = session.stats.n_prefill, time.monotonic()
    with session.fill(prefix, suffix, layout=layout, max_tokens=1, ignore_end=1) as pieces:
        next(pieces, None)
    return time.monotonic() - start, session.stats.n_prefill - earlier


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--file", default=str(ROOT / "lib" / "decode" / "fim.c"))
    parser.add_argument("--line", type=int, default=300)
    parser.add_argument("--threads", type=int, default=None)
    arguments = parser.parse_args()
    lines = Path(arguments.file).read_text(encoding="utf-8").split("\n")
    i = arguments.line - 1
    while len(lines[i].strip()) < 30:
        i += 1
    with nibble.Model(arguments.model, threads=arguments.threads) as model:
        before, after = window(model, lines, i, 1000, 256)
        indent = len(lines[i]) - len(lines[i].lstrip())
        print(f"{model.info.isa}, {Path(arguments.file).name}:{i + 1}")
        for layout in ("line", "prefix"):
            with model.session(ctx=2048, threads=arguments.threads) as session:
                cold, n_cold = first_text(session, before + lines[i][:indent], after, layout)
                keys = [first_text(session, before + lines[i][:column], after, layout)
                        for column in range(indent + 1, indent + 25)]
            times = sorted(seconds for seconds, _ in keys)
            print(f"{layout:7} cold {cold:6.2f} s ({n_cold} tokens); per key median "
                  f"{1e3 * statistics.median(times):5.0f} ms, p90 {1e3 * times[21]:5.0f} ms, "
                  f"{statistics.mean(n for _, n in keys):.1f} prompt tokens evaluated")


if __name__ == "__main__":
    main()
