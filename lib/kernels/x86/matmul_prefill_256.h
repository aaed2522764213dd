/* SPDX-License-Identifier: MIT
 * Prefill with group-32 int8 activations in 256-bit registers. A strip of panels is unpacked once,
 * to byte codes and float32 scales in scratch, and then meets all rows in tiles of 4.
 *
 * Per scale group: the integer sum of (code - zero) * q, then y += (s * sx) * sum and, where the
 * format has mins, y += m * (sx * xsum). A format has mins or a zero point, never both.
 *
 * The two files that include this define how codes and q are multiplied, for `lines` lines from
 * `from` on: see lines_256 in each. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_256_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/rows_avx2.h"

enum { TILE = 4 };

/* One unpacked panel in scratch. Scale groups are of 16 or 32 k. */
typedef struct strip {
    uint8_t *codes; /* [k / 4][16][4] */
    float *scale;   /* [groups][16] */
    float *mins;    /* [groups][16] */
} strip;

static uint32_t strip_panels(uint32_t k)
{
    return k <= 2048 ? 4 : 2; /* a strip should stay in the second-level cache */
}

static size_t panel_scratch(uint32_t k)
{
    return (size_t)k * NIB__PANEL + 2 * ((size_t)k / 16 * NIB__PANEL * sizeof(float));
}

static size_t prefill_scratch(uint32_t k)
{
    return strip_panels(k) * panel_scratch(k);
}

static strip strip_at(void *scratch, uint32_t k, uint32_t index)
{
    strip t;
    t.codes = (uint8_t *)scratch + index * panel_scratch(k);
    t.scale = (float *)(void *)(t.codes + (size_t)k * NIB__PANEL);
    t.mins = t.scale + (size_t)k / 16 * NIB__PANEL;
    return t;
}

NIB_INLINE void expand_codes(code_class c, const nib__packed *w, const uint8_t *codes, uint8_t *to)
{
    const __m256i book = load_book(w->layout);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += w->layout->group_bytes, to += 512) {
        NIB_UNROLL
        for (int j = 0; j < 8; j++) {
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i line = code_line(c, codes, j, h, book);
                if (SIGNED_CODES && (c == CODES_8 || class_has_book(c))) {
                    line = _mm256_sub_epi8(line, _mm256_set1_epi8((char)w->layout->zero));
                }
                _mm256_store_si256((__m256i *)(void *)(to + 64 * j + 32 * h), line);
            }
        }
    }
}

static void expand_panel(const nib__packed *w, uint32_t p, const strip *t)
{
    const uint8_t *panel = nib__panel_at(w, p), *codes = panel + w->code_offset;
    code_class c = code_class_of(w->layout);
    nib__expand_scales_avx2(w->layout, panel, w->k, t->scale, t->mins);
    switch (c) {
    case CODES_TERNARY:
    case CODES_2: expand_codes(CODES_2, w, codes, t->codes); break;
    case CODES_3: expand_codes(CODES_3, w, codes, t->codes); break;
    case CODES_4: expand_codes(CODES_4, w, codes, t->codes); break;
    case CODES_5: expand_codes(CODES_5, w, codes, t->codes); break;
    case CODES_6: expand_codes(CODES_6, w, codes, t->codes); break;
    case CODES_8: expand_codes(CODES_8, w, codes, t->codes); break;
    case CODES_BOOK_16:
    case CODES_BOOK: expand_codes(CODES_BOOK, w, codes, t->codes); break;
    }
}

/* What a scale group adds beside the sum of code * q. */
typedef enum offset { OFFSET_NONE, OFFSET_ZERO, OFFSET_MIN } offset;

/* acc[rows] += one group of 32 k: number g of the weights, number i of the activations. `mode` is
 * passed on to lines_256; `lines` per scale. */
NIB_INLINE void add_group(int mode, int lines, offset o, int rows, __m256i zero, const strip *t,
                          uint32_t g, const row_g32 *x, uint32_t i, __m256 acc[TILE][2])
{
    NIB_UNROLL
    for (int part = 0; part < 8 / lines; part++) {
        const size_t group = (size_t)g * (8 / (uint32_t)lines) + (uint32_t)part;
        const uint32_t at = i * (8 / (uint32_t)lines) + (uint32_t)part;
        const float *scale = t->scale + group * NIB__PANEL, *mins = t->mins + group * NIB__PANEL;
        __m256i sum[TILE][2];
        lines_256(mode, lines, rows, t->codes + (size_t)g * 512 + 64 * (size_t)(part * lines), x,
                  i * NIB__GROUP + 4 * (uint32_t)(part * lines), sum);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256 sx = _mm256_broadcast_ss(x[r].scale + i);
            const int32_t *xsum = (lines == 8 ? x[r].sum32 : x[r].sum16) + at;
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i s = sum[r][h];
                if (o == OFFSET_ZERO) { /* |xsum| < 2^15: a product of 16-bit numbers */
                    s = _mm256_sub_epi32(s, _mm256_madd_epi16(_mm256_set1_epi32(*xsum), zero));
                }
                __m256 factor = _mm256_mul_ps(_mm256_load_ps(scale + 8 * h), sx);
                acc[r][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(s), factor, acc[r][h]);
                if (o == OFFSET_MIN) {
                    const __m256 xs =
                        _mm256_broadcast_ss((lines == 8 ? x[r].scaled32 : x[r].scaled16) + at);
                    acc[r][h] = _mm256_fmadd_ps(_mm256_load_ps(mins + 8 * h), xs, acc[r][h]);
                }
            }
        }
    }
}

/* y[rows][n <= 16] = start + one panel times rows. */
NIB_INLINE void prefill_tile(int mode, int lines, offset o, int rows, const nib__packed *w,
                             const strip *t, const row_g32 *x, float start[TILE][16], uint32_t n,
                             float *y, size_t ldy)
{
    const __m256i zero = _mm256_set1_epi32(w->layout->zero);
    __m256 acc[TILE][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        acc[r][0] = _mm256_loadu_ps(start[r]);
        acc[r][1] = _mm256_loadu_ps(start[r] + 8);
    }
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        add_group(mode, lines, o, rows, zero, t, g, x, g, acc);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        store_first(y + (size_t)r * ldy, acc[r][0], n);
        if (n > 8) store_first(y + (size_t)r * ldy + 8, acc[r][1], n - 8);
    }
}

/* sums[16] = what the second plane of the row's large groups adds. */
NIB_INLINE void rest_of_row(int mode, int lines, offset o, const nib__packed *w, const strip *t,
                            const row_g32_rest *rest, float sums[16])
{
    const __m256i zero = _mm256_set1_epi32(w->layout->zero);
    __m256 acc[TILE][2];
    acc[0][0] = acc[0][1] = _mm256_setzero_ps();
    for (uint32_t i = 0; i < rest->count; i++) {
        add_group(mode, lines, o, 1, zero, t, rest->groups[i], &rest->plane, i, acc);
    }
    _mm256_storeu_ps(sums, acc[0][0]);
    _mm256_storeu_ps(sums + 8, acc[0][1]);
}

NIB_INLINE void prefill_mode(int mode, int lines, offset o, uint32_t rows, const nib__packed *w,
                             const strip *t, const row_g32 *x, const row_g32_rest *rest, uint32_t n,
                             float *y, size_t ldy)
{
    float start[TILE][16];
    for (uint32_t r = 0; r < rows; r++) rest_of_row(mode, lines, o, w, t, &rest[r], start[r]);
    if (rows == TILE) {
        prefill_tile(mode, lines, o, TILE, w, t, x, start, n, y, ldy);
        return;
    }
    for (uint32_t r = 0; r < rows; r++) {
        prefill_tile(mode, lines, o, 1, w, t, x + r, start + r, n, y + r * ldy, ldy);
    }
}

/* Defined by the including file: picks mode and lines for the format. */
static void prefill_panel(const nib__packed *w, uint32_t rows, const strip *t, const row_g32 *x,
                          const row_g32_rest *rest, uint32_t n, float *y, size_t ldy);

static void prefill_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                        uint32_t m, float *y, size_t ldy, void *scratch)
{
    size_t row_bytes = nib__row_g32_bytes_avx2(w->k);
    for (uint32_t p = first, panels; p < first + count; p += panels) {
        panels = strip_panels(w->k);
        if (panels > first + count - p) panels = first + count - p;
        strip strips[4];
        for (uint32_t i = 0; i < panels; i++) {
            strips[i] = strip_at(scratch, w->k, i);
            expand_panel(w, p + i, &strips[i]);
        }
        for (uint32_t at = 0; at < m; at += TILE) {
            uint32_t n_rows = m - at < TILE ? m - at : TILE;
            row_g32 x[TILE];
            row_g32_rest rest[TILE];
            for (uint32_t r = 0; r < n_rows; r++) {
                nib__row_g32_view_avx2((const uint8_t *)rows + (at + r) * row_bytes, w->k, &x[r],
                                       &rest[r]);
            }
            for (uint32_t i = 0; i < panels; i++) {
                prefill_panel(w, n_rows, &strips[i], x, rest, nib__panel_rows(w, p + i),
                              y + at * ldy + (size_t)(p + i) * NIB__PANEL, ldy);
            }
        }
    }
}

#endif
