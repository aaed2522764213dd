/* SPDX-License-Identifier: MIT
 * Measured peaks, by name. */
#ifndef NIB_BENCH_PEAKS_H
#define NIB_BENCH_PEAKS_H

#include "base/cpu.h"
#include "base/pool.h"
#include "peak.h"

typedef struct peak_kind {
    const char *name;        /* "vnni512" */
    const char *instruction;
    nib__isa needs;
    peak_loop loop;
} peak_kind;

const peak_kind *peak_at(int i); /* NULL after the last one */
const peak_kind *peak_find(const char *name);
/* The peak that bounds a strategy such as "g32_avx512vnni"; NULL: none. */
const peak_kind *peak_of_strategy(const char *name);

/* Operations per second of all threads of the pool: the best of several runs. */
double peak_ops(const peak_kind *kind, nib__pool *pool);
/* Bytes per second read by all threads from `data`: the best of several runs. Below the size of a
 * cache this is that cache's speed. */
double peak_read(const uint8_t *data, size_t bytes, nib__pool *pool);

#endif
