/* SPDX-License-Identifier: MIT
 * Float weights with NEON: float32 activations, fma in ascending k for every output, so any tile of
 * rows gives the same bits and decode and prefill are one kernel. */
#include "kernels/arm/neon.h"
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

enum { TILE = 4 }; /* 4 rows x 4 registers of sums, 4 of weights, 4 of activations */

NIB_INLINE float32x4_t load_weights(nib__format f, const uint8_t *panel, size_t i)
{
    if (f == NIB__F32) return vld1q_f32((const float *)(const void *)panel + i);
    return f == NIB__F16 ? load_f16(panel + 2 * i) : load_bf16(panel + 2 * i);
}

NIB_INLINE void tile(nib__format f, int rows, const uint8_t *panel, uint32_t k, const float *x,
                     size_t ldx, uint32_t n, float *y, size_t ldy)
{
    float32x4_t acc[TILE][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) acc[r][h] = vdupq_n_f32(0.0f);
    }
    for (uint32_t i = 0; i < k; i++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const float32x4_t w = load_weights(f, panel, (size_t)i * NIB__PANEL + 4 * (size_t)h);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                acc[r][h] = vfmaq_n_f32(acc[r][h], w, x[(size_t)r * ldx + i]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        for (uint32_t h = 0; 4 * h < n; h++) {
            store_first(y + (size_t)r * ldy + 4 * h, acc[r][h], n - 4 * h);
        }
    }
}

NIB_INLINE void panel_rows(nib__format f, const nib__packed *w, uint32_t p, const float *x,
                           size_t ldx, uint32_t m, float *y, size_t ldy)
{
    const uint8_t *panel = nib__panel_at(w, p);
    uint32_t n = nib__panel_rows(w, p), at = 0;
    for (; at + TILE <= m; at += TILE) {
        tile(f, TILE, panel, w->k, x + at * ldx, ldx, n, y + at * ldy, ldy);
    }
    for (; at < m; at++) tile(f, 1, panel, w->k, x + at * ldx, ldx, n, y + at * ldy, ldy);
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    const float *x = rows;
    size_t ldx = nib__row_f32_bytes(w->k) / sizeof(float);
    for (uint32_t p = first; p < first + count; p++) {
        float *to = y + (size_t)p * NIB__PANEL;
        switch (w->layout->format) {
        case NIB__F32: panel_rows(NIB__F32, w, p, x, ldx, m, to, ldy); break;
        case NIB__F16: panel_rows(NIB__F16, w, p, x, ldx, m, to, ldy); break;
        default: panel_rows(NIB__BF16, w, p, x, ldx, m, to, ldy); break;
        }
    }
}

const nib__matmul nib__matmul_float_neon = {
    .name = "f32_neon",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
