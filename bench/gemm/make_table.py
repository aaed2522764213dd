#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes lib/kernels/gemm_table.c, and the table of docs/kernels.md, from `make bench-gemm`'s figures.

    python3 bench/gemm/make_table.py bench/results/gemm.csv [more.csv ...]

gemm_table.c: for every instruction set and kind of weights, the library that serves a linear map
fastest in the place of our kernels, as the geometric mean over shapes, numbers of threads and planes
of activations; ours unless that mean is above MARGIN, because another library costs memory and
start-up time. Float weights always stay ours: see docs/kernels.md.
"""
import csv
import math
import sys

MARGIN = 1.05
KINDS = {"int8": "INT8", "bf16": "HALF", "f32": "F32"}
CHOICES = {"oneDNN": "ONEDNN", "OpenBLAS": "OPENBLAS"}
LEVELS = ["avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx", "neon", "dotprod", "i8mm"]
PRODUCTS = [("int8", "1", "int8, one plane"), ("int8", "2", "int8, two planes"),
            ("int8", "32", "int8, a scale for 32"), ("bf16", "1", "bf16"), ("f32", "1", "f32")]
PLACE = " in place"
TABLE = "lib/kernels/gemm_table.c"
DOCS = "docs/kernels.md"
BEGIN, END = "<!-- make bench-gemm: begin -->\n", "<!-- make bench-gemm: end -->\n"


def read(paths):
    """{(isa, type, planes): {library: {(m, k, n): {threads: (ms, share of peak)}}}}"""
    figures = {}
    for path in paths:
        with open(path, newline="") as f:
            for row in csv.DictReader(f):
                key = (row["isa"], row["type"], "1" if row["type"] != "int8" else row["planes"])
                name = row["library"]
                if name not in CHOICES and not name.endswith(PLACE):
                    name = "ours"
                shape = (int(row["m"]), int(row["k"]), int(row["n"]))
                figure = (float(row["ms"]), float(row["tops"]) / float(row["peak_tops"]))
                cell = figures.setdefault(key, {}).setdefault(name, {}).setdefault(shape, {})
                cell[int(row["threads"])] = figure
    return figures


def ratios(libraries, over, under):
    """{(shape, threads): how many times faster `over` is}"""
    return {(shape, t): ms / libraries[over][shape][t][0]
            for shape, cell in libraries.get(under, {}).items()
            for t, (ms, _) in cell.items() if t in libraries.get(over, {}).get(shape, {})}


def mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def keys(figures):
    return [(isa, kind, planes) for isa in LEVELS for kind, planes, _ in PRODUCTS
            if (isa, kind, planes) in figures]


def rules(figures):
    found_rules = []
    for isa, kind in dict.fromkeys(key[:2] for key in keys(figures)):
        best, most, notes = "NATIVE", MARGIN, []
        for library, choice in CHOICES.items():
            found = [r for key in keys(figures) if key[:2] == (isa, kind)
                     for r in ratios(figures[key], library + PLACE, "native" + PLACE).values()]
            if not found:
                continue
            notes.append(f"{library} {mean(found):.2f}")
            if kind == "int8" and mean(found) > most:
                best, most = choice, mean(found)
        rule = f"    {{NIB__ISA_{isa.upper()}, NIB__WEIGHTS_{KINDS[kind]}, NIB_GEMM_{best}}},"
        found_rules.append((rule, f"/* {', '.join(notes) or 'nothing else'} */"))
    width = max(len(rule) for rule, _ in found_rules)
    return [f"{rule:{width}} {note}" for rule, note in found_rules]


def write_table(figures):
    with open(TABLE, "w") as f:
        f.write(f"""/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows fastest, by instruction set and kind of weights: written by
 * bench/gemm/make_table.py from the figures of `make bench-gemm`. Behind each rule stands how fast
 * others are in our kernels' place, ours being 1: the geometric mean of all shapes. One is named
 * only for int8 weights, whose results have the same bits, and where it is {MARGIN - 1:.0%} faster; what is
 * not named is ours. */
#include "kernels/gemm.h"

const nib__gemm_rule nib__gemm_rules[] = {{
""")
        f.write("\n".join(rules(figures)))
        f.write("""
};

const uint32_t nib__gemm_rule_count = sizeof nib__gemm_rules / sizeof nib__gemm_rules[0];
""")


def cell(libraries, found, shape):
    """Our speed over oneDNN's with one thread, two threads, ...; our share of the peak with one."""
    of_shape = [f"{r:.2f}" for (s, t), r in sorted(found.items()) if s == shape]
    return f"{' / '.join(of_shape) or '-'} ({100 * libraries['ours'][shape][1][1]:.0f} %)"


def document(figures):
    shapes = list(dict.fromkeys(s for key in keys(figures) for s in figures[key]["ours"]))
    heads = ["x".join(map(str, shape)) for shape in shapes]
    lines = ["| level | product | " + " | ".join(heads) + " | in place |",
             "|---|---" + "|---" * len(shapes) + "|---|"]
    for isa, kind, planes in keys(figures):
        libraries = figures[isa, kind, planes]
        found = ratios(libraries, "ours", "oneDNN")
        places = []
        for library in CHOICES:
            other = ratios(libraries, "native" + PLACE, library + PLACE)
            if other:
                places.append(f"{library} {mean(other.values()):.2f}")
        name = next(n for k, p, n in PRODUCTS if (k, p) == (kind, planes))
        lines.append(f"| {isa} | {name} | " + " | ".join(cell(libraries, found, s) for s in shapes)
                     + f" | {', '.join(places) or '-'} |")
    with open(DOCS) as f:
        before, rest = f.read().split(BEGIN)
    after = rest.split(END)[1]
    with open(DOCS, "w") as f:
        f.write(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def main():
    figures = read(sys.argv[1:])
    write_table(figures)
    document(figures)


if __name__ == "__main__":
    main()
