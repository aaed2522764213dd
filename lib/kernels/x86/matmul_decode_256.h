/* SPDX-License-Identifier: MIT
 * Decode with 16-bit activations in 256-bit registers. The two files that include this define
 *     __m256i dot_pairs(__m256i sum, __m256i codes, __m256i q)
 * which adds products of 16-bit pairs to 32-bit sums: exact, whatever the codes, so no care for
 * saturation is needed. Even and odd k of a line make two multiplications: (k0, k2) and (k1, k3).
 * Scales are expanded to float32 once per panel; the mins are a separate small pass. */
#ifndef NIB_KERNELS_X86_MATMUL_DECODE_256_H
#define NIB_KERNELS_X86_MATMUL_DECODE_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/rows_avx2.h"

/* Bytes of a group's codes. */
NIB_INLINE size_t class_bytes(code_class c)
{
    switch (c) {
    case CODES_2:
    case CODES_TERNARY: return 128;
    case CODES_3: return 192;
    case CODES_5: return 320;
    case CODES_6: return 384;
    case CODES_8: return 512;
    case CODES_4:
    case CODES_BOOK:
    case CODES_BOOK_16: break;
    }
    return 256;
}

/* Lines j of one group, both halves of the panel, all rows. */
NIB_INLINE void dot_line(code_class c, int rows, const uint8_t *group, int j, __m256i book,
                         const row_q16 *x, uint32_t k, __m256i sum[4][2])
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    __m256i even[2], odd[2];
    NIB_UNROLL
    for (int h = 0; h < 2; h++) {
        __m256i line = code_line(c, group, j, h, book);
        even[h] = _mm256_and_si256(line, byte);
        odd[h] = _mm256_srli_epi16(line, 8);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        __m256i q02 = broadcast4(x[r].q + k + 4 * (uint32_t)j);
        __m256i q13 = broadcast4(x[r].q + k + 4 * (uint32_t)j + 2);
        NIB_UNROLL
        for (int h = 0; h < 2; h++) {
            sum[r][h] = dot_pairs(sum[r][h], even[h], q02);
            sum[r][h] = dot_pairs(sum[r][h], odd[h], q13);
        }
    }
}

/* y[rows][16] = sum over scale groups of s * (sum of (code - zero) * q). `lines` per scale. */
NIB_INLINE void decode_tile(code_class c, int lines, int rows, const nib__packed *w,
                            const uint8_t *codes, const float *s, const row_q16 *x, float y[4][16])
{
    const __m256i book = load_book(w->layout);
    const int32_t zero = w->layout->zero;
    __m256 acc[4][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes) {
        fetch_codes(codes, class_bytes(c));
        NIB_UNROLL
        for (int from = 0; from < 8; from += lines, s += 16) {
            __m256i sum[4][2];
            NIB_UNROLL
            for (int r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
            NIB_UNROLL
            for (int j = from; j < from + lines; j++) {
                dot_line(c, rows, codes, j, book, x, k, sum);
            }
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const int32_t *xsum = x[r].sum + k / 16;
                int32_t total = lines == 8 ? xsum[0] + xsum[1] : xsum[from / 4];
                __m256i bias = _mm256_set1_epi32(zero * total);
                NIB_UNROLL
                for (int h = 0; h < 2; h++) {
                    __m256 f = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum[r][h], bias));
                    acc[r][h] = _mm256_fmadd_ps(_mm256_loadu_ps(s + 8 * h), f, acc[r][h]);
                }
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(y[r], acc[r][0]);
        _mm256_storeu_ps(y[r] + 8, acc[r][1]);
    }
}

/* Others have no kernel for two rows: each takes two kilobytes. */
NIB_INLINE bool often_met(code_class c)
{
    return c == CODES_4 || c == CODES_5 || c == CODES_6 || c == CODES_8;
}

NIB_INLINE void decode_class(code_class c, int lines, uint32_t rows, const nib__packed *w,
                             const uint8_t *codes, const float *s, const row_q16 *x, float y[4][16])
{
    if (rows == 4)
        decode_tile(c, lines, 4, w, codes, s, x, y);
    else if (rows == 2 && often_met(c))
        decode_tile(c, lines, 2, w, codes, s, x, y);
    else
        decode_tile(c, lines, 1, w, codes, s, x, y);
}

static void decode_any(uint32_t rows, const nib__packed *w, const uint8_t *codes, const float *s,
                       const row_q16 *x, float y[4][16])
{
    switch (code_class_of(w->layout)) {
    case CODES_2: decode_class(CODES_2, 4, rows, w, codes, s, x, y); break;
    case CODES_TERNARY: decode_class(CODES_TERNARY, 8, rows, w, codes, s, x, y); break;
    case CODES_3: decode_class(CODES_3, 4, rows, w, codes, s, x, y); break;
    case CODES_4: decode_class(CODES_4, 8, rows, w, codes, s, x, y); break;
    case CODES_5: decode_class(CODES_5, 8, rows, w, codes, s, x, y); break;
    case CODES_6: decode_class(CODES_6, 4, rows, w, codes, s, x, y); break;
    case CODES_8: decode_class(CODES_8, 8, rows, w, codes, s, x, y); break;
    case CODES_BOOK: decode_class(CODES_BOOK, 8, rows, w, codes, s, x, y); break;
    case CODES_BOOK_16: decode_class(CODES_BOOK, 4, rows, w, codes, s, x, y); break;
    }
}

/* out[16] = (y + sum over groups of m * xsum) * scale, the first n of them. */
static void finish_row(const nib__layout *layout, uint32_t k, const float *m, const row_q16 *x,
                       const float *y, uint32_t n, float *out)
{
    __m256 low = _mm256_setzero_ps(), high = low;
    if (layout->has_min) {
        uint32_t step = layout->scale_group / 16u;
        for (uint32_t i = 0; i < k / 16; i += step, m += 16) {
            int32_t total = step == 2 ? x->sum[i] + x->sum[i + 1] : x->sum[i];
            __m256 xsum = _mm256_set1_ps((float)total);
            low = _mm256_fmadd_ps(_mm256_loadu_ps(m), xsum, low);
            high = _mm256_fmadd_ps(_mm256_loadu_ps(m + 8), xsum, high);
        }
    }
    const __m256 scale = _mm256_set1_ps(x->scale);
    low = _mm256_mul_ps(_mm256_add_ps(_mm256_loadu_ps(y), low), scale);
    high = _mm256_mul_ps(_mm256_add_ps(_mm256_loadu_ps(y + 8), high), scale);
    store_first(out, low, n);
    if (n > 8) store_first(out + 8, high, n - 8);
}

static size_t decode_scratch(uint32_t k)
{
    return (size_t)k / 16 * NIB__PANEL * sizeof(float) * 2;
}

static void decode_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                       uint32_t m, float *y, size_t ldy, void *scratch)
{
    float *s = scratch, *mins = s + (size_t)w->k / 16 * NIB__PANEL;
    size_t row_bytes = nib__row_q16_bytes_avx2(w->k);
    for (uint32_t p = first; p < first + count; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        nib__expand_scales_avx2(w->layout, panel, w->k, s, mins);
        for (uint32_t at = 0, step; at < m; at += step) {
            row_q16 x[4];
            float sums[4][16];
            bool pairs = often_met(code_class_of(w->layout));
            step = m - at >= 4 ? 4 : m - at >= 2 && pairs ? 2 : 1;
            for (uint32_t r = 0; r < step; r++) {
                x[r] = row_q16_view((const uint8_t *)rows + (at + r) * row_bytes, w->k);
            }
            decode_any(step, w, panel + w->code_offset, s, x, sums);
            for (uint32_t r = 0; r < step; r++) {
                finish_row(w->layout, w->k, mins, &x[r], sums[r], nib__panel_rows(w, p),
                           y + (at + r) * ldy + (size_t)p * NIB__PANEL);
            }
        }
    }
}

#endif
