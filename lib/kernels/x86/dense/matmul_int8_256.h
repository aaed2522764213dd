/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row in 256-bit registers: decode and prefill are one kernel. Codes
 * are widened to 16 bits as they are read, and meet 16-bit activations in pairs: even and odd k of a
 * line make two multiplications. The 32-bit sums of up to 512 k are exact; they are added up in
 * float64, exactly, and rounded to float32 once (kernels.h).
 *
 * The files that include this define
 *     __m256i dot_pairs(__m256i sum, __m256i codes, __m256i q) */
#ifndef NIB_KERNELS_X86_MATMUL_INT8_256_H
#define NIB_KERNELS_X86_MATMUL_INT8_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/dense/rows_int8_avx2.h"

enum { TILE = 4, SUM_LINES = 512 / 4, AHEAD = 4096 };

NIB_INLINE void add_lines(int rows, const uint8_t *codes, uint32_t lines, const int16_t *const *q,
                          __m256i sum[TILE][2])
{
    NIB_UNROLL
    for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
    for (uint32_t j = 0; j < lines; j++, codes += 64) {
        __m256i even[2], odd[2];
        if (rows == 1) _mm_prefetch((const char *)codes + AHEAD, _MM_HINT_T0);
        NIB_UNROLL
        for (int h = 0; h < 2; h++) {
            const __m256i line = load_256(codes + 32 * h);
            even[h] = _mm256_srai_epi16(_mm256_slli_epi16(line, 8), 8);
            odd[h] = _mm256_srai_epi16(line, 8);
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256i q02 = broadcast4(q[r] + 4 * j), q13 = broadcast4(q[r] + 4 * j + 2);
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                sum[r][h] = dot_pairs(sum[r][h], even[h], q02);
                sum[r][h] = dot_pairs(sum[r][h], odd[h], q13);
            }
        }
    }
}

/* total[16] += sum */
NIB_INLINE void add_total(const __m256i sum[2], double total[16])
{
    NIB_UNROLL
    for (int i = 0; i < 4; i++) {
        __m128i four = i % 2 == 0 ? _mm256_castsi256_si128(sum[i / 2])
                                  : _mm256_extracti128_si256(sum[i / 2], 1);
        __m256d t = _mm256_add_pd(_mm256_loadu_pd(total + 4 * i), _mm256_cvtepi32_pd(four));
        _mm256_storeu_pd(total + 4 * i, t);
    }
}

NIB_INLINE __m256 eight_totals(const double *total)
{
    __m128 low = _mm256_cvtpd_ps(_mm256_loadu_pd(total));
    return _mm256_insertf128_ps(_mm256_castps128_ps256(low),
                                _mm256_cvtpd_ps(_mm256_loadu_pd(total + 4)), 1);
}

/* Panel p times `rows` rows (a constant); y at the panel's first column. */
NIB_INLINE void tile(int rows, const nib__packed *w, uint32_t p, const uint8_t *row,
                     size_t row_bytes, float *y, size_t ldy)
{
    const uint8_t *panel = nib__panel_at(w, p), *codes = panel + w->code_offset;
    const nib__int8_head *head = (const nib__int8_head *)(const void *)panel;
    const uint32_t lines = (uint32_t)(nib__align_up(w->k, NIB_ALIGN) / 4);
    const uint32_t n = nib__panel_rows(w, p);
    double total[TILE][16];
    memset(total, 0, sizeof total);
    for (uint32_t j = 0; j < lines; j += SUM_LINES) {
        const int16_t *q[TILE];
        __m256i sum[TILE][2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            q[r] = (const int16_t *)(const void *)(row + (size_t)r * row_bytes + NIB_ALIGN) + 4 * j;
        }
        add_lines(rows, codes + (size_t)j * 64, lines - j < SUM_LINES ? lines - j : SUM_LINES, q,
                  sum);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) add_total(sum[r], total[r]);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        const __m256 a = _mm256_broadcast_ss((const float *)(const void *)(row + r * row_bytes));
        NIB_UNROLL
        for (uint32_t h = 0; h < 16; h += 8) {
            __m256 v = _mm256_mul_ps(eight_totals(total[r] + h), _mm256_load_ps(head->scale + h));
            if (n > h) store_first(y + (size_t)r * ldy + h, _mm256_mul_ps(v, a), n - h);
        }
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    const size_t row_bytes = nib__row_i8q16_bytes_avx2(w->k);
    for (uint32_t p = first; p < first + count; p++) {
        for (uint32_t at = 0, step; at < m; at += step) {
            const uint8_t *row = (const uint8_t *)rows + at * row_bytes;
            float *out = y + at * ldy + (size_t)p * NIB__PANEL;
            step = m - at >= 4 ? 4 : m - at >= 2 ? 2 : 1;
            switch (step) {
            case 4: tile(4, w, p, row, row_bytes, out, ldy); break;
            case 2: tile(2, w, p, row, row_bytes, out, ldy); break;
            default: tile(1, w, p, row, row_bytes, out, ldy); break;
            }
        }
    }
}

#endif
