/* SPDX-License-Identifier: MIT
 * Times matrix products on one thread: GB/s of packed weights and 10^9 multiply-adds per second,
 * the fastest of several runs. Shapes of Qwen2.5-Coder-1.5B and SmolLM2-135M. */
#define _GNU_SOURCE
#include "matmul_bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard.h"
#include "matrices.h"

typedef struct shape {
    uint32_t k, n;
} shape;

static const shape big[] = {{1536, 8960}, {8960, 1536}, {1536, 1536}};
static const shape small[] = {{576, 1536}, {1536, 576}};

/* Time of this thread only: other programs on the machine disturb less. */
static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double fastest(const nib__matmul *op, const nib__packed *w, const void *rows, uint32_t m,
                      float *y, void *scratch)
{
    double best = 1e30, spent = 0;
    for (int i = 0; i < 50 && (i < 3 || spent < 0.15); i++) {
        uint64_t start = thread_ns();
        op->run(w, 0, w->n_panels, rows, m, y, w->n, scratch);
        double seconds = (double)(thread_ns() - start) * 1e-9;
        if (seconds < best) best = seconds;
        spent += seconds;
    }
    return best;
}

static void time_one(const nib__matmul *op, const matrix *mat, const float *x, uint32_t m)
{
    const nib__packed *w = &mat->packed;
    size_t row_bytes = op->row_bytes(w->k), scratch_bytes = op->scratch_bytes(w->k);
    uint8_t *rows = guard_alloc(row_bytes * m);
    void *scratch = guard_alloc(scratch_bytes);
    float *y = guard_alloc((size_t)m * w->n * sizeof(float));
    uint64_t start = thread_ns();
    for (uint32_t i = 0; i < m; i++) {
        op->round_row(x + (size_t)i * w->k, w->k, rows + i * row_bytes);
    }
    double round_us = (double)(thread_ns() - start) * 1e-3 / m;
    double seconds = fastest(op, w, rows, m, y, scratch);
    printf("%-16s %-6s %5u -> %5u %4u rows %8.2f GB/s %8.1f GMAC/s %6.1f us/row to round\n",
           op->name, format_name(w->layout->format), w->k, w->n, m,
           (double)mat->data_bytes / seconds * 1e-9, (double)w->n * w->k * m / seconds * 1e-9,
           round_us);
    guard_free(rows, row_bytes * m);
    guard_free(scratch, scratch_bytes);
    guard_free(y, (size_t)m * w->n * sizeof(float));
}

static void time_shape(const nib__kernels *level, nib__format format, shape s)
{
    enum { ROWS = 256 };
    rng r = {5};
    matrix mat;
    float *x = guard_alloc((size_t)ROWS * s.k * sizeof(float));
    for (uint32_t i = 0; i < ROWS; i++) make_row(0, s.k, &r, x + (size_t)i * s.k);
    matrix_make(&mat, format, s.n, s.k, &weight_kinds[0], &r);
    nib__weight_kind kind = nib__weight_kind_of(mat.packed.layout);
    bool slow = level->isa == NIB__ISA_SCALAR;
    const nib__matmul *decode = nib__decode_of(level, kind);
    for (uint32_t rows = 1; rows <= (slow ? 1 : NIB__DECODE_ROWS); rows *= 2) {
        time_one(decode, &mat, x, rows);
    }
    time_one(nib__prefill_of(level, kind), &mat, x, slow ? 4 : ROWS);
    matrix_free(&mat);
    guard_free(x, (size_t)ROWS * s.k * sizeof(float));
}

static bool wanted(nib__format format, const char *name)
{
    if (name != NULL) return strcmp(name, format_name(format)) == 0;
    return format == NIB__Q4_1 || format == NIB__Q8_0 || format == NIB__Q4_K ||
           format == NIB__Q6_K || format == NIB__F16 || format == NIB__I8R;
}

int matmul_bench(const char *level, const char *format)
{
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (level != NULL && strcmp(level, nib__isa_name((nib__isa)isa)) != 0) continue;
        if (!nib__isa_available((nib__isa)isa)) {
            printf("%s: not run, this CPU lacks it\n", nib__isa_name((nib__isa)isa));
            continue;
        }
        nib__kernels table;
        const char *fast = getenv("NIB_PRECISION");
        bool is_fast = fast != NULL && strcmp(fast, "fast") == 0;
        nib__kernels_init(&table, (nib__isa)isa,
                          is_fast ? NIB_PRECISION_FAST : NIB_PRECISION_DEFAULT);
        for (int f = 0; f < N_FORMATS; f++) {
            if (!wanted(all_formats[f], format)) continue;
            const nib__layout *layout = nib__layout_of(all_formats[f]);
            for (int i = 0; i < 3; i++) time_shape(&table, all_formats[f], big[i]);
            if (layout->block == 256) continue;
            for (int i = 0; i < 2; i++) time_shape(&table, all_formats[f], small[i]);
        }
    }
    return 0;
}
