/* SPDX-License-Identifier: MIT
 * The outer loops of decode on ARM, for 16-bit activations. The files that include this define
 *     row_view (a type), view_row(row, k), row_sum16(view), row_scale(view)
 *     group_dot(class, from, lines, rows, group, book, rows of activations, k, sums)
 * the last one giving exact 32-bit sums of code * q over `lines` lines for 16 outputs. */
#ifndef NIB_KERNELS_ARM_DECODE_NEON_H
#define NIB_KERNELS_ARM_DECODE_NEON_H

#include "kernels/arm/neon.h"
#include "kernels/panel.h"

/* y[rows][16] = sum over scale groups of s * (sum of (code - zero) * q). `lines` per scale. */
NIB_INLINE void decode_tile(code_class c, int lines, int rows, const nib__packed *w,
                            const uint8_t *codes, const float *s, const row_view *x, float y[2][16])
{
    const int8x16_t book = load_book(w->layout);
    const int32_t zero = signed_zero(w->layout);
    float32x4_t acc[2][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) acc[r][h] = vdupq_n_f32(0.0f);
    }
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes) {
        NIB_UNROLL
        for (int from = 0; from < 8; from += lines, s += NIB__PANEL) {
            int32x4_t sum[2][4];
            group_dot(c, from, lines, rows, codes, book, x, k, sum);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const int32_t *xsum = row_sum16(&x[r]) + k / 16;
                int32_t total = lines == 8 ? xsum[0] + xsum[1] : xsum[from / 4];
                int32x4_t bias = vdupq_n_s32(zero * total);
                NIB_UNROLL
                for (int h = 0; h < 4; h++) {
                    float32x4_t f = vcvtq_f32_s32(vsubq_s32(sum[r][h], bias));
                    acc[r][h] = vfmaq_f32(acc[r][h], vld1q_f32(s + 4 * h), f);
                }
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) vst1q_f32(y[r] + 4 * h, acc[r][h]);
    }
}

NIB_INLINE void decode_class(code_class c, int lines, uint32_t rows, const nib__packed *w,
                             const uint8_t *codes, const float *s, const row_view *x,
                             float y[2][16])
{
    if (rows == 2)
        decode_tile(c, lines, 2, w, codes, s, x, y);
    else
        decode_tile(c, lines, 1, w, codes, s, x, y);
}

static void decode_any(uint32_t rows, const nib__packed *w, const uint8_t *codes, const float *s,
                       const row_view *x, float y[2][16])
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

static size_t decode_scratch(uint32_t k)
{
    return (size_t)k / 16 * NIB__PANEL * sizeof(float) * 2;
}

NIB_INLINE void decode_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                           size_t row_bytes, uint32_t m, float *y, size_t ldy, void *scratch)
{
    float *s = scratch, *mins = s + (size_t)w->k / 16 * NIB__PANEL;
    for (uint32_t p = first; p < first + count; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        nib__expand_scales_neon(w->layout, panel, w->k, s, mins);
        for (uint32_t at = 0, step; at < m; at += step) {
            row_view x[2];
            float sums[2][16];
            step = m - at >= 2 ? 2 : 1;
            for (uint32_t r = 0; r < step; r++) {
                x[r] = view_row((const uint8_t *)rows + (at + r) * row_bytes, w->k);
            }
            decode_any(step, w, panel + w->code_offset, s, x, sums);
            for (uint32_t r = 0; r < step; r++) {
                nib__finish_row_neon(w->layout, w->k, mins, row_sum16(&x[r]), row_scale(&x[r]),
                                     sums[r], nib__panel_rows(w, p),
                                     y + (at + r) * ldy + (size_t)p * NIB__PANEL);
            }
        }
    }
}

#endif
