/* SPDX-License-Identifier: MIT
 * Float weights with AVX-512, in tiles of 8 rows by 3 panels: 24 sums, 3 registers of weights and a
 * broadcast; two loads suffice for four fma. Few rows are bound by memory: weights are fetched
 * ahead. */
#include <immintrin.h>

#include "kernels/x86/avx512.h"

enum { ROWS = 8, PANELS = 3, AHEAD = 2048 };

#include "kernels/x86/dense/matmul_float.h"

NIB_INLINE __m512 load_weights(nib__format f, const uint8_t *panel, uint32_t k)
{
    if (f == NIB__F32) return _mm512_load_ps((const float *)(const void *)panel + 16 * (size_t)k);
    __m256i bits = _mm256_load_si256((const __m256i *)(const void *)(panel + 32 * (size_t)k));
    if (f == NIB__F16) return _mm512_cvtph_ps(bits);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

NIB_INLINE void tile(nib__format f, int rows, int panels, const float_job *job, uint32_t p,
                     uint32_t k, uint32_t len, const float *x, float *y)
{
    const uint8_t *panel[PANELS];
    __mmask16 mask[PANELS];
    __m512 sum[ROWS][PANELS];
    NIB_UNROLL
    for (int i = 0; i < panels; i++) {
        panel[i] = nib__panel_at(job->w, p + (uint32_t)i);
        mask[i] = nib__lanes(job->w->n - (p + (uint32_t)i) * NIB__PANEL);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            sum[r][i] = _mm512_setzero_ps();
            if (k != 0) sum[r][i] = _mm512_maskz_loadu_ps(mask[i], y + r * job->ldy + 16 * i);
        }
    }
    for (uint32_t at = k; at < k + len; at++) {
        __m512 w[PANELS];
        NIB_UNROLL
        for (int i = 0; i < panels; i++) {
            w[i] = load_weights(f, panel[i], at);
            if (rows <= 2) {
                const size_t line = (f == NIB__F32 ? 64 : 32) * (size_t)at;
                _mm_prefetch((const char *)panel[i] + line + AHEAD, _MM_HINT_T0);
            }
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m512 value = _mm512_set1_ps(x[r * job->ldx + at]);
            NIB_UNROLL
            for (int i = 0; i < panels; i++) sum[r][i] = _mm512_fmadd_ps(w[i], value, sum[r][i]);
        }
    }
    NIB_UNROLL
    for (int i = 0; i < panels; i++) {
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            _mm512_mask_storeu_ps(y + r * job->ldy + 16 * i, mask[i], sum[r][i]);
        }
    }
}

const nib__matmul nib__matmul_float_avx512 = {
    .name = "f32_avx512",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
