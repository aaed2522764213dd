/* SPDX-License-Identifier: MIT
 * Float weights with AVX2: float32 activations, fma in ascending k for every output, so any tile of
 * rows gives the same bits and decode and prefill are one kernel. */
#include "kernels/panel.h"
#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"

enum { TILE = 6 }; /* 6 rows x 2 registers of sums, 2 of weights, 1 broadcast */

NIB_INLINE __m256 load_weights(nib__format f, const uint8_t *panel, size_t i)
{
    if (f == NIB__F32) return _mm256_loadu_ps((const float *)(const void *)panel + i);
    if (f == NIB__F16) return load_f16(panel + 2 * i);
    __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)(panel + 2 * i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

NIB_INLINE void tile(nib__format f, int rows, const uint8_t *panel, uint32_t k, const float *x,
                     size_t ldx, uint32_t n, float *y, size_t ldy)
{
    __m256 acc[TILE][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    for (uint32_t i = 0; i < k; i++) {
        __m256 low = load_weights(f, panel, (size_t)i * NIB__PANEL);
        __m256 high = load_weights(f, panel, (size_t)i * NIB__PANEL + 8);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256 value = _mm256_broadcast_ss(x + (size_t)r * ldx + i);
            acc[r][0] = _mm256_fmadd_ps(low, value, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(high, value, acc[r][1]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        store_first(y + (size_t)r * ldy, acc[r][0], n);
        if (n > 8) store_first(y + (size_t)r * ldy + 8, acc[r][1], n - 8);
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
    for (; at + 2 <= m; at += 2) tile(f, 2, panel, w->k, x + at * ldx, ldx, n, y + at * ldy, ldy);
    if (at < m) tile(f, 1, panel, w->k, x + at * ldx, ldx, n, y + at * ldy, ldy);
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

const nib__matmul nib__matmul_float_avx2 = {
    .name = "f32_avx2",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
