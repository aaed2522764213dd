/* SPDX-License-Identifier: MIT
 * The loops of float weights on x86: float32 activations, fma in ascending k for every output. Sums
 * wait in y between two blocks of k, which loses no bit, so any tiling gives the same results, and
 * decode and prefill are one kernel.
 *
 * Loops, outside in: blocks of rows and of k whose activations stay in the L2 cache, strips of
 * panels, tiles of rows. Few rows take all of k at once: they read the weights in one stream.
 *
 * The file that includes this defines the size of a tile, ROWS x PANELS, and
 *     void tile(format, rows, panels, const float_job *, p, k, len, x, y)
 * for 1, 2, 4 or ROWS rows and 1 or PANELS panels, all constants but the job and what follows. */
#ifndef NIB_KERNELS_X86_MATMUL_FLOAT_H
#define NIB_KERNELS_X86_MATMUL_FLOAT_H

#include "kernels/panel.h"
#include "kernels/ref/ref.h"
#include "kernels/simd.h"

enum { M_BLOCK = 384, K_BLOCK = 640, FEW_ROWS = 2 * NIB__DECODE_ROWS };

typedef struct float_job {
    const nib__packed *w;
    const float *x; /* [m][ldx] */
    float *y;       /* [m][ldy], column 0 of the matrix */
    size_t ldx, ldy;
} float_job;

/* Panels [p, p + panels) times `rows` rows over k [k, k + len). x at the first row's column 0, y at
 * the first row and the first panel's column. */
NIB_INLINE void tile(nib__format f, int rows, int panels, const float_job *job, uint32_t p,
                     uint32_t k, uint32_t len, const float *x, float *y);

NIB_INLINE void strip(nib__format f, int panels, const float_job *job, uint32_t p, uint32_t k,
                      uint32_t len, uint32_t row, uint32_t m)
{
    const float *x = job->x + row * job->ldx;
    float *y = job->y + row * job->ldy + (size_t)p * NIB__PANEL;
    for (uint32_t step; m > 0; m -= step, x += step * job->ldx, y += step * job->ldy) {
        step = m >= ROWS ? ROWS : m >= 4 ? 4 : m >= 2 ? 2 : 1;
        switch (step) {
        case ROWS: tile(f, ROWS, panels, job, p, k, len, x, y); break;
        case 4: tile(f, 4, panels, job, p, k, len, x, y); break;
        case 2: tile(f, 2, panels, job, p, k, len, x, y); break;
        default: tile(f, 1, panels, job, p, k, len, x, y); break;
        }
    }
}

NIB_INLINE void run_format(nib__format f, const float_job *job, uint32_t first, uint32_t count,
                           uint32_t m)
{
    const uint32_t k_all = job->w->k, k_block = m <= FEW_ROWS ? k_all : K_BLOCK;
    for (uint32_t row = 0; row < m; row += M_BLOCK) {
        const uint32_t rows = m - row < M_BLOCK ? m - row : M_BLOCK;
        for (uint32_t k = 0; k < k_all; k += k_block) {
            const uint32_t len = k_all - k < k_block ? k_all - k : k_block;
            uint32_t p = first;
            for (; p + PANELS <= first + count; p += PANELS) {
                strip(f, PANELS, job, p, k, len, row, rows);
            }
            for (; p < first + count; p++) strip(f, 1, job, p, k, len, row, rows);
        }
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    const float_job job = {
        .w = w, .x = rows, .y = y, .ldx = nib__row_f32_bytes(w->k) / sizeof(float), .ldy = ldy};
    switch (w->layout->format) {
    case NIB__F32: run_format(NIB__F32, &job, first, count, m); break;
    case NIB__F16: run_format(NIB__F16, &job, first, count, m); break;
    default: run_format(NIB__BF16, &job, first, count, m); break;
    }
}

#endif
