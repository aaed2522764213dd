/* SPDX-License-Identifier: MIT
 * The outer loops of prefill on ARM with group-32 int8 activations: a panel is unpacked once, to
 * signed bytes and float32 scales in scratch, and meets all rows in tiles of 4. Per scale group the
 * exact sum of (code - zero) * q, then y += (s * sx) * sum and y += m * (sx * xsum).
 *
 * The files that include this define
 *     void store_pair(int8_t *to, int8x16_t even, int8x16_t odd, int quarter)
 * which keeps one quarter of the lines 2t and 2t + 1 in a pair of lines of 128 bytes, and
 *     void dot_lines(lines, rows, codes, activations, k, sums)
 * which multiplies what it kept. */
#ifndef NIB_KERNELS_ARM_PREFILL_NEON_H
#define NIB_KERNELS_ARM_PREFILL_NEON_H

#include "kernels/arm/neon.h"
#include "kernels/panel.h"

NIB_INLINE void expand_codes(code_class c, const nib__packed *w, const uint8_t *codes, int8_t *to)
{
    const int8x16_t book = load_book(w->layout);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes, to += 512) {
        NIB_UNROLL
        for (int j = 0; j < 8; j += 2) {
            NIB_UNROLL
            for (int h = 0; h < 4; h++) {
                store_pair(to + 64 * j, code_line(c, codes, j, h, book),
                           code_line(c, codes, j + 1, h, book), h);
            }
        }
    }
}

static void expand_panel(const nib__packed *w, const uint8_t *codes, int8_t *to)
{
    switch (code_class_of(w->layout)) {
    case CODES_TERNARY:
    case CODES_2: expand_codes(CODES_2, w, codes, to); break;
    case CODES_3: expand_codes(CODES_3, w, codes, to); break;
    case CODES_4: expand_codes(CODES_4, w, codes, to); break;
    case CODES_5: expand_codes(CODES_5, w, codes, to); break;
    case CODES_6: expand_codes(CODES_6, w, codes, to); break;
    case CODES_8: expand_codes(CODES_8, w, codes, to); break;
    case CODES_BOOK_16:
    case CODES_BOOK: expand_codes(CODES_BOOK, w, codes, to); break;
    }
}

typedef struct strip {
    const int8_t *codes; /* [k / 8][128], in the order of store_pair */
    const float *scale;  /* [groups][16] */
    const float *mins;   /* [groups][16] */
} strip;

/* acc[rows] += one group of 32 k: number g of the weights, number i of the activations. `lines` per
 * scale; `mins`: the format has them. */
NIB_INLINE void add_group(int lines, int mins, int rows, int32_t zero, const strip *t, uint32_t g,
                          const row_g32 *x, uint32_t i, float32x4_t acc[TILE][4])
{
    NIB_UNROLL
    for (int from = 0; from < 8; from += lines) {
        const size_t group = ((size_t)g * 8 + (size_t)from) / (size_t)lines;
        const float *s = t->scale + group * NIB__PANEL, *m = t->mins + group * NIB__PANEL;
        int32x4_t sum[TILE][4];
        dot_lines(lines, rows, t->codes + (size_t)g * 512 + 64 * (size_t)from, x,
                  i * NIB__GROUP + 4 * (uint32_t)from, sum);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const int32_t *xs = x[r].sum16 + 2 * i + (uint32_t)from / 4;
            const int32_t xsum = lines == 8 ? xs[0] + xs[1] : xs[0];
            const float sx = x[r].scale[i];
            NIB_UNROLL
            for (int h = 0; h < 4; h++) {
                int32x4_t exact = sum[r][h];
                if (!mins) exact = vsubq_s32(exact, vdupq_n_s32(zero * xsum));
                acc[r][h] = vfmaq_f32(acc[r][h], vcvtq_f32_s32(exact),
                                      vmulq_n_f32(vld1q_f32(s + 4 * h), sx));
                if (mins) {
                    acc[r][h] = vfmaq_n_f32(acc[r][h], vld1q_f32(m + 4 * h), sx * (float)xsum);
                }
            }
        }
    }
}

/* sums[16] = what the second plane of the row's large groups adds. */
NIB_INLINE void rest_of_row(int lines, int mins, const nib__packed *w, const strip *t,
                            const row_g32_rest *rest, float sums[16])
{
    float32x4_t acc[TILE][4];
    NIB_UNROLL
    for (int h = 0; h < 4; h++) acc[0][h] = vdupq_n_f32(0.0f);
    for (uint32_t i = 0; i < rest->count; i++) {
        add_group(lines, mins, 1, signed_zero(w->layout), t, rest->groups[i], &rest->plane, i, acc);
    }
    NIB_UNROLL
    for (int h = 0; h < 4; h++) vst1q_f32(sums + 4 * h, acc[0][h]);
}

/* y[rows][n <= 16] = start + one panel times rows. */
NIB_INLINE void prefill_tile(int lines, int mins, int rows, const nib__packed *w, const strip *t,
                             const row_g32 *x, float start[TILE][16], uint32_t n, float *y,
                             size_t ldy)
{
    const int32_t zero = signed_zero(w->layout);
    float32x4_t acc[TILE][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) acc[r][h] = vld1q_f32(start[r] + 4 * h);
    }
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        add_group(lines, mins, rows, zero, t, g, x, g, acc);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const uint32_t at = 4 * (uint32_t)h;
            if (at < n) store_first(y + (size_t)r * ldy + at, acc[r][h], n - at);
        }
    }
}

NIB_INLINE void prefill_rows(int lines, int mins, uint32_t rows, const nib__packed *w,
                             const strip *t, const row_g32 *x, const row_g32_rest *rest, uint32_t n,
                             float *y, size_t ldy)
{
    float start[TILE][16];
    for (uint32_t r = 0; r < rows; r++) rest_of_row(lines, mins, w, t, &rest[r], start[r]);
    if (rows == TILE) {
        prefill_tile(lines, mins, TILE, w, t, x, start, n, y, ldy);
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        prefill_tile(lines, mins, 1, w, t, x + r, start + r, n, y + r * ldy, ldy);
    }
}

static void prefill_panel(const nib__packed *w, uint32_t rows, const strip *t, const row_g32 *x,
                          const row_g32_rest *rest, uint32_t n, float *y, size_t ldy)
{
    bool mins = w->layout->has_min;
    if (w->layout->scale_group == 16) {
        if (mins)
            prefill_rows(4, 1, rows, w, t, x, rest, n, y, ldy);
        else
            prefill_rows(4, 0, rows, w, t, x, rest, n, y, ldy);
    } else {
        if (mins)
            prefill_rows(8, 1, rows, w, t, x, rest, n, y, ldy);
        else
            prefill_rows(8, 0, rows, w, t, x, rest, n, y, ldy);
    }
}

static size_t prefill_scratch(uint32_t k)
{
    return (size_t)k * NIB__PANEL + 2 * ((size_t)k / 16 * NIB__PANEL * sizeof(float));
}

static void prefill_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                        uint32_t m, float *y, size_t ldy, void *scratch)
{
    size_t row_bytes = nib__row_g32_bytes_neon(w->k);
    int8_t *codes = scratch;
    float *scale = (float *)(void *)(codes + (size_t)w->k * NIB__PANEL);
    float *mins = scale + (size_t)w->k / 16 * NIB__PANEL;
    const strip t = {codes, scale, mins};
    for (uint32_t p = first; p < first + count; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        nib__expand_scales_neon(w->layout, panel, w->k, scale, mins);
        expand_panel(w, panel + w->code_offset, codes);
        for (uint32_t at = 0; at < m; at += TILE) {
            row_g32 x[TILE];
            row_g32_rest rest[TILE];
            uint32_t n_rows = m - at < TILE ? m - at : TILE;
            for (uint32_t r = 0; r < n_rows; r++) {
                nib__row_g32_view_neon((const uint8_t *)rows + (at + r) * row_bytes, w->k, &x[r],
                                       &rest[r]);
            }
            prefill_panel(w, n_rows, &t, x, rest, nib__panel_rows(w, p),
                          y + at * ldy + (size_t)p * NIB__PANEL, ldy);
        }
    }
}

#endif
