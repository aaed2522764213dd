#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Alternates two benchmark programs so that both see the same moods of a shared machine.

    python3 peers.py RUNS NIBBLE LLAMA_BENCH CSV MODEL...
"""
import csv
import datetime
import json
import os
import statistics
import subprocess
import sys

PROMPT, GENERATE, THREADS = "512", "128", os.environ.get("THREADS", "2")


def cpu_name():
    with open("/proc/cpuinfo") as f:
        text = f.read()
    name = next((l.split(":")[1].strip() for l in text.splitlines() if l.startswith("model name")), "?")
    return name + (" (AMX)" if " amx_tile" in text else "")


def run_nibble(program, model):
    out = subprocess.run([program, "bench", "-m", model, "-p", PROMPT, "-n", GENERATE, "-t", THREADS,
                          "-r", "1", "--json"], check=True, capture_output=True, text=True).stdout
    r = json.loads(out)
    return r["prefill_tok_s"], r["decode_tok_s"], r["isa"]


def run_llama(program, model):
    out = subprocess.run([program, "-m", model, "-p", PROMPT, "-n", GENERATE, "-t", THREADS, "-r", "1",
                          "-o", "json"], check=True, capture_output=True, text=True).stdout
    by_kind = {bool(r["n_prompt"]): r["avg_ts"] for r in json.loads(out)}
    return by_kind[True], by_kind[False], "native"


def main(runs, nibble, llama, path, models):
    engines = {"nibble": (run_nibble, nibble), "llama.cpp": (run_llama, llama)}
    fresh = not os.path.exists(path)
    with open(path, "a", newline="") as f:
        out = csv.writer(f)
        if fresh:
            out.writerow(["time", "cpu", "threads", "model", "engine", "isa", "run", "load",
                          "prefill_tok_s", "decode_tok_s"])
        for model in models:
            name = os.path.basename(model)
            got = {e: [] for e in engines}
            for run in range(runs):
                for engine, (measure, program) in engines.items():
                    load = os.getloadavg()[0]
                    prefill, decode, isa = measure(program, model)
                    got[engine].append((prefill, decode))
                    out.writerow([datetime.datetime.now().isoformat("T", "seconds"), cpu_name(),
                                  THREADS, name, engine, isa, run, f"{load:.2f}", f"{prefill:.2f}",
                                  f"{decode:.2f}"])
                    f.flush()
                    print(f"{name} run {run + 1}/{runs} {engine}: prompt {prefill:.1f} tok/s, "
                          f"generate {decode:.1f} tok/s (load {load:.1f})", flush=True)
            medians = {e: [statistics.median(x) for x in zip(*v)] for e, v in got.items()}
            ours, theirs = medians["nibble"], medians["llama.cpp"]
            for i, kind in enumerate(("prompt", "generate")):
                print(f"{name}: {kind} {ours[i]:.1f} against {theirs[i]:.1f} tok/s, "
                      f"ratio {ours[i] / theirs[i]:.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
