# SPDX-License-Identifier: MIT
"""What the peers' scripts that take turns share (turns.py is the other side, bench/programs/turns.c is
nibble's counterpart). They run inside the peer's virtual environment."""

import argparse
import sys
import time

from peer_common import prompt_ids, report, seconds


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, help="folder")
    parser.add_argument("--load", required=True, choices=("f32", "int8"))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--generate", type=int, required=True)
    return parser.parse_args()


def serve(a, opened, generate):
    """generate(ids, count) evaluates a prompt, or encodes it, and generates so many tokens."""
    print(f"open\t0\t{time.monotonic() - opened:.3f}\ts")
    generate(prompt_ids(a.prompt, 0, 30000), 2)
    print("ready", flush=True)
    for run, _ in enumerate(sys.stdin):
        ids = prompt_ids(a.prompt, run + 1, 30000)
        first = seconds(lambda: generate(ids, 1))
        report(a, first, seconds(lambda: generate(ids, a.generate)))
        print("done", flush=True)
