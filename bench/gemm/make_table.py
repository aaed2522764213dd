#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes lib/kernels/gemm_table.c from the figures of `make bench-gemm`.

    python3 bench/gemm/make_table.py bench/results/gemm.csv [more.csv ...] > lib/kernels/gemm_table.c

For every instruction set and kind of weights, the library with the largest geometric mean of speed
over ours, over all shapes and numbers of threads; ours unless that mean is above MARGIN, because
another library costs memory and start-up time. Our int8 figure is that of one plane, which is what
the others multiply.
"""
import csv
import math
import sys

MARGIN = 1.05
KINDS = {"int8": "INT8", "bf16": "HALF", "f32": "F32"}
CHOICES = {"oneDNN": "ONEDNN", "OpenBLAS": "OPENBLAS"}
LEVELS = ["avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "dotprod", "i8mm"]


def read(paths):
    """{(isa, type): {library: {shape and threads: ms}}}; the faster of two figures of ours."""
    figures = {}
    for path in paths:
        with open(path, newline="") as f:
            for row in csv.DictReader(f):
                library = row["library"] if row["library"] in CHOICES else "ours"
                shape = (row["m"], row["k"], row["n"], row["threads"])
                cell = figures.setdefault((row["isa"], row["type"]), {}).setdefault(library, {})
                cell[shape] = min(float(row["ms"]), cell.get(shape, math.inf))
    return figures


def speed(libraries, library):
    """Geometric mean of the library's speed over ours."""
    shared = [s for s in libraries[library] if s in libraries["ours"]]
    logs = [math.log(libraries["ours"][s] / libraries[library][s]) for s in shared]
    return math.exp(sum(logs) / len(logs))


def main():
    figures = read(sys.argv[1:])
    rules = []
    for (isa, kind), libraries in sorted(figures.items(), key=lambda f: LEVELS.index(f[0][0])):
        best, ratio = "NATIVE", MARGIN
        notes = []
        for library in sorted(set(libraries) - {"ours"}):
            r = speed(libraries, library)
            notes.append(f"{library} {r:.2f}")
            if r > ratio:
                best, ratio = CHOICES[library], r
        rules.append(f"    {{NIB__ISA_{isa.upper()}, NIB__WEIGHTS_{KINDS[kind]}, NIB_GEMM_{best}}},"
                     f" /* {', '.join(notes)} */")
    print(f"""/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows fastest, by instruction set and kind of weights: written by
 * bench/gemm/make_table.py from the figures of `make bench-gemm`. A library is named only where it
 * beats our kernels by {MARGIN - 1:.0%} on the geometric mean of all shapes (its speed over ours is behind each
 * rule); what is not named is ours. */
#include "kernels/gemm.h"

const nib__gemm_rule nib__gemm_rules[] = {{""")
    print("\n".join(rules))
    print("""};

const uint32_t nib__gemm_rule_count = sizeof nib__gemm_rules / sizeof nib__gemm_rules[0];""")


if __name__ == "__main__":
    main()
