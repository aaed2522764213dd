#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures nibble, alone or beside others: `make bench`, `make bench-peers`, `make bench-results`.

    python3 bench/run.py ours                    everything about nibble, about ten minutes
    python3 bench/run.py ours --only kernels,speed --models smollm2-135m --isa avx2
    python3 bench/run.py peers                   nibble and its peers by turns
    python3 bench/run.py results                 both, then plots and the tables of docs/results.md
    python3 bench/run.py report                  plots and tables from what bench/results/ holds

Python's standard library only; gnuplot draws. See bench/README.md.
"""

import argparse
import sys
import time
from pathlib import Path

from suite import build_peers, checkpoints, machine, parts, plots, tables, turns
from suite.engines import Nibble
from suite.programs import BUILD, Failed, say
from suite.results import Results

MODELS = ["smollm2-135m", "qwen2.5-coder-1.5b"]


def words(text):
    return [word for word in text.split(",") if word]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, add_help=True,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ours", "peers", "results", "report"))
    parser.add_argument("--only", type=words, help="parts: " + ",".join(parts.ALL))
    parser.add_argument("--models", type=words, default=MODELS, help="names or paths of GGUF files")
    parser.add_argument("--checkpoints", type=words, default=list(turns.TIMED),
                        help="shapes of the part checkpoints: " + ",".join(checkpoints.SHAPES))
    parser.add_argument("--isa", type=words, help="instruction sets: " + ",".join(machine.levels()))
    parser.add_argument("--threads", type=int, default=machine.threads())
    parser.add_argument("--runs", type=int, help="runs of which the median counts")
    parser.add_argument("--peers", type=words, help="peers: " + ",".join(build_peers.NAMES))
    parser.add_argument("--precision", type=words, default=["default"],
                        help="of nibble, by turns: default,fast; the second is the engine \"nibble, fast\"")
    parser.add_argument("--short", action="store_true",
                        help="a trial: few runs, short texts; figures go to build/bench/trial")
    parser.add_argument("--out", help="folder for CSV files and plots; bench/results and docs/ stay as they are")
    parser.add_argument("--page", type=Path, default=machine.ROOT / "docs" / "results.md",
                        help="whose tables are filled; plots go to docs/plots/, those of another page "
                        "than results.md to a folder of its name there")
    chosen = parser.parse_args()
    if chosen.short and not chosen.out:
        chosen.out = BUILD / "bench" / "trial"  # figures of a trial replace no measured ones
    for names, known in ((chosen.only, parts.ALL), (chosen.checkpoints, checkpoints.SHAPES),
                         (chosen.isa, machine.levels()),
                         (chosen.peers, build_peers.NAMES),
                         (chosen.precision, ("default", "exact", "fast", "f32"))):
        for name in names or []:
            if name not in known:
                parser.error(f"unknown: {name} (this machine has: {', '.join(known)})")
    return chosen


def main():
    chosen = arguments()
    results = Results(chosen.out) if chosen.out else Results()
    say(f"{machine.cpu()}, {machine.threads()} CPUs, {', '.join(machine.levels())}; "
        f"commit {results.facts['commit']}")
    if chosen.what != "report":
        engines, levels = [Nibble(precision) for precision in chosen.precision], chosen.isa or machine.levels()
        if chosen.what != "ours":
            few = list(turns.PEERS) if chosen.only == ["checkpoints"] else None
            engines += build_peers.all_peers(levels, chosen.peers or few)
        plan = parts.Plan(results, engines, chosen.models, chosen.checkpoints, levels,
                          chosen.threads)
        plan.short = chosen.short
        plan.runs = chosen.runs or (1 if plan.short else 5 if plan.peers else 3)
        started = time.monotonic()
        before = started
        for name in chosen.only or (parts.WITH_PEERS if chosen.what == "peers" else parts.ALL):
            say(f"== {name}: {parts.ALL[name].__doc__.splitlines()[0]}")
            try:
                parts.ALL[name](plan)
            except Failed as error:  # the other parts are worth having
                say(f"  {name} is not complete: {error}")
            finally:
                results.save(name)
            now = time.monotonic()
            say(f"   ({name} took {now - before:.0f} s; {now - started:.0f} s so far)")
            before = now
    if chosen.what in ("results", "report"):
        if chosen.out:
            plots.draw_all(results, results.folder / "plots")
        else:
            main_page = chosen.page.name == "results.md"
            plots.draw_all(results, plots.FOLDER / ("" if main_page else chosen.page.stem))
            tables.update(results, chosen.page.resolve())
    tables.show(results)


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(f"bench: {error}")
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(130)
