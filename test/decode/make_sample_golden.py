#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes sample_golden.h: tokens that a sampler written independently, with numpy in float64, draws
from seeded logits. The logits are integers / 8, so that both programs hold the same numbers."""
import numpy as np

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
    return z ^ (z >> 31)


def uniform(seed, position):
    return (mix((mix((seed + GOLDEN) & M64) + (position + 1) * GOLDEN) & M64) >> 11) * 2.0**-53


def logits_of(case, n):
    """The generator of the C test: one splitmix64 number per logit."""
    out = []
    for i in range(n):
        r = mix((case * 1000003 + i + 1) * GOLDEN & M64)
        out.append(((r >> 20) % 97 - 60) / 8.0)
    return np.array(out)


def draw(logits, temperature, top_k, typical, top_p, min_p, seed, position):
    x = np.float32((logits - logits.max()) * (1.0 / float(np.float32(temperature)))).astype(float)
    ids = sorted(range(len(x)), key=lambda i: (-x[i], i))
    if top_k:
        ids = ids[:top_k]

    def law():
        w = np.exp(np.array([x[i] for i in ids]))
        return w / w.sum()

    if typical < 1:
        p = law()
        entropy = -(p * np.log(p)).sum()
        distance = {i: float(np.float32(abs(-np.log(q) - entropy))) for i, q in zip(ids, p)}
        mass = dict(zip(ids, p))
        kept, total = [], 0.0
        for i in sorted(ids, key=lambda i: (distance[i], i)):
            kept.append(i)
            total += mass[i]
            if total > typical:
                break
        ids = sorted(kept, key=lambda i: (-x[i], i))
    if top_p < 1:
        p = law()
        ids = ids[: int(np.searchsorted(np.cumsum(p), top_p)) + 1]
    if min_p > 0:
        p = law()
        ids = [i for i, q in zip(ids, p) if q >= min_p * p[0] * (1 - 1e-12)]
    p = law()
    return ids[min(int(np.searchsorted(np.cumsum(p), uniform(seed, position), side="right")),
                   len(ids) - 1)]


def main():
    rows = []
    settings = [
        (1.0, 0, 1.0, 1.0, 0.0), (0.8, 40, 1.0, 0.95, 0.05), (0.2, 0, 1.0, 1.0, 0.0),
        (1.5, 5, 1.0, 1.0, 0.0), (1.0, 0, 1.0, 0.9, 0.0), (1.0, 0, 1.0, 1.0, 0.1),
        (1.0, 0, 0.7, 1.0, 0.0), (2.0, 20, 0.9, 0.8, 0.02),
    ]
    for case in range(160):
        t, k, typ, p, m = settings[case % len(settings)]
        n = [16, 100, 1000][case % 3]
        seed = mix(case)
        position = case * 7 % 50
        token = draw(logits_of(case, n), t, k, np.float32(typ).astype(float),
                     np.float32(p).astype(float), np.float32(m).astype(float), seed, position)
        rows.append(f"    {{{n}, {t}f, {k}, {typ}f, {p}f, {m}f, {seed}u, {position}, {token}}},")
    print("/* SPDX-License-Identifier: MIT\n * Written by make_sample_golden.py; do not edit. */")
    print("static const struct golden {\n    uint32_t n_vocab;\n    float temperature;\n"
          "    uint32_t top_k;\n    float typical_p, top_p, min_p;\n    uint64_t seed;\n"
          "    uint32_t position;\n    int32_t token;\n} golden[] = {")
    print("\n".join(rows))
    print("};\n")
    print("static const struct {\n    uint64_t seed, position;\n    double value;\n"
          "} golden_uniform[] = {")
    for seed, position in [(0, 0), (0, 1), (1, 0), (42, 1000), (M64, M64 - 1), (12345678901, 7)]:
        print(f"    {{{seed}u, {position}u, {uniform(seed, position).hex()}}},")
    print("};")


main()
