/* SPDX-License-Identifier: MIT
 * Float weights with AVX2, in tiles of 6 rows by one panel: 12 sums, 2 registers of weights, one
 * broadcast. */
#include "kernels/x86/avx2.h"

enum { ROWS = 6, PANELS = 1 };

#include "kernels/x86/dense/matmul_float.h"

NIB_INLINE __m256 load_weights(nib__format f, const uint8_t *panel, size_t i)
{
    if (f == NIB__F32) return _mm256_loadu_ps((const float *)(const void *)panel + i);
    if (f == NIB__F16) return load_f16(panel + 2 * i);
    __m128i bits = _mm_loadu_si128((const __m128i *)(const void *)(panel + 2 * i));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

NIB_INLINE void tile(nib__format f, int rows, int panels, const float_job *job, uint32_t p,
                     uint32_t k, uint32_t len, const float *x, float *y)
{
    (void)panels;
    const uint8_t *panel = nib__panel_at(job->w, p);
    const uint32_t n = nib__panel_rows(job->w, p);
    __m256 sum[ROWS][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
        if (k == 0) continue;
        sum[r][0] = load_first(y + r * job->ldy, n);
        if (n > 8) sum[r][1] = load_first(y + r * job->ldy + 8, n - 8);
    }
    for (uint32_t at = k; at < k + len; at++) {
        const __m256 low = load_weights(f, panel, (size_t)at * NIB__PANEL);
        const __m256 high = load_weights(f, panel, (size_t)at * NIB__PANEL + 8);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256 value = _mm256_broadcast_ss(x + r * job->ldx + at);
            sum[r][0] = _mm256_fmadd_ps(low, value, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(high, value, sum[r][1]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        store_first(y + r * job->ldy, sum[r][0], n);
        if (n > 8) store_first(y + r * job->ldy + 8, sum[r][1], n - 8);
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
