/* SPDX-License-Identifier: MIT
 * Linear maps by one library or another, through the layers' own code. */
#include "gemm_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/gemm.h"
#include "nn/nn.h"

enum { ROUND_ROWS = 32 }; /* rows per piece of rounding */

struct gemm_place {
    nib__kernels table;
    nib__exec exec;
    nib__linear map;
    nib__input input;
    nib__output output;
    const float *x;
};

static void round_rows(void *arg, uint32_t i, void *scratch)
{
    gemm_place *p = arg;
    const uint32_t first = i * ROUND_ROWS, m = p->input.m;
    const uint32_t end = m - first < ROUND_ROWS ? m : first + ROUND_ROWS;
    (void)scratch;
    for (uint32_t row = first; row < end; row++) {
        const float *x = p->x + (size_t)row * p->input.k;
        nib__input_round(&p->exec, &p->input, &p->output, 1, x, row);
    }
}

void place_run(void *place)
{
    gemm_place *p = place;
    nib__pool_begin(p->exec.pool);
    nib_status status =
        nib__exec_run(&p->exec, (p->input.m + ROUND_ROWS - 1) / ROUND_ROWS, round_rows, p);
    if (status == NIB_OK) status = nib__linear_run(&p->exec, &p->input, &p->output, 1);
    nib__pool_end(p->exec.pool);
    if (status == NIB_OK) return;
    fprintf(stderr, "gemm_bench: a linear map failed\n");
    exit(1);
}

void place_free(gemm_place *p)
{
    if (p == NULL) return;
    for (int kind = 0; kind < NIB__WEIGHT_KINDS; kind++) free(p->input.rows[kind]);
    free(p->exec.scratch);
    free(p);
}

gemm_place *place_new(nib__isa isa, uint32_t precision, uint32_t choice, nib__pool *pool,
                      const nib__packed *w, const float *x, uint32_t m, float *y)
{
    const nib__weight_kind kind = nib__weight_kind_of(w->layout);
    gemm_place *p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    nib__kernels_init(&p->table, isa, precision);
    const char *native = nib__prefill_of(&p->table, kind)->name;
    bool usable = nib__gemm_init(&p->table, choice, precision, NULL) == NIB_OK;
    const nib__matmul *op = nib__prefill_of(&p->table, kind);
    if (!usable || (choice != NIB_GEMM_NATIVE && strcmp(op->name, native) == 0)) {
        place_free(p);
        return NULL;
    }
    const uint32_t threads = nib__pool_threads(pool);
    const size_t slot = nib__align_up(op->scratch_bytes(w->k), NIB_ALIGN);
    p->map.w = *w;
    p->x = x;
    p->input.m = m;
    p->input.k = w->k;
    p->input.rows[kind] = aligned_alloc(
        NIB_ALIGN, nib__align_up(m * nib__input_row_bytes(&p->table, kind, w->k), NIB_ALIGN));
    p->output = (nib__output){&p->map, y, w->n};
    p->exec.kernels = &p->table;
    p->exec.pool = pool;
    p->exec.n_slots = threads;
    p->exec.slot_bytes = slot;
    p->exec.scratch = aligned_alloc(NIB_ALIGN, slot * threads + NIB_ALIGN);
    if (p->input.rows[kind] != NULL && p->exec.scratch != NULL) return p;
    place_free(p);
    return NULL;
}
