/* SPDX-License-Identifier: MIT
 * Decode with 16-bit activations, as two int8 planes, in 256-bit registers. The two files that
 * include this define dot_lines: AVX2 has no product of bytes that is always exact.
 *
 * Scales are expanded to float32 once per panel; the mins are a separate small pass. */
#ifndef NIB_KERNELS_X86_MATMUL_DECODE_256_H
#define NIB_KERNELS_X86_MATMUL_DECODE_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/decode/row_block.h"

/* Rows of a call that are multiplied together. */
typedef struct rows_256 {
    row_block block;
    const int16_t *pairs; /* [step][k] 256 * hi + lo, per 4 k (k0, k2), (k1, k3); see needs_pairs */
    uint32_t k;
    fetch_steps fetch; /* of the weights that the rows are multiplied with */
} rows_256;

/* Four bytes of row r for line j of the group at k; r and j are constants. */
NIB_INLINE __m256i high_bytes(const rows_256 *x, int r, uint32_t k, int j)
{
    return broadcast4(x->block.hi + k + row_at(&x->block, r) + 4 * j);
}

NIB_INLINE __m256i low_bytes(const rows_256 *x, int r, uint32_t k, int j)
{
    return broadcast4(x->block.lo + k + row_at(&x->block, r) + 4 * j);
}

/* sum[rows][halves] = exact sums of (unsigned code) * q over lines [from, from + lines) of a group
 * that begins at input k: halves [first, first + halves) of the panel. All but the pointers, the
 * book and k are constants. */
NIB_INLINE void dot_lines(code_class c, int rows, int first, int halves, const uint8_t *group,
                          int from, int lines, __m256i book, const rows_256 *x, uint32_t k,
                          __m256i sum[4][2]);

/* Whether dot_lines reads `pairs` of that many rows. */
NIB_INLINE bool needs_pairs(code_class c, uint32_t rows);

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

/* Otherwise compilers keep what both halves need, and registers do not suffice for that. */
NIB_INLINE void forget_loads(void)
{
    __asm__ volatile("" ::: "memory");
}

/* y[rows][16] = sum over scale groups of s * (sum of (code - zero) * q). `lines` per scale. Up to
 * two rows take both halves of the panel together, more have not the registers. */
NIB_INLINE void decode_tile(code_class c, int lines, int rows, const nib__packed *w,
                            const uint8_t *codes, const float *s, const rows_256 *x, float y[4][16])
{
    const __m256i book = load_book(w->layout);
    const group_sum *sums = x->block.sums;
    const int halves = rows <= 2 ? 2 : 1;
    const size_t panel_scales = w->code_offset / (w->k / NIB__GROUP);
    const uint8_t *next_scales = codes - w->code_offset + w->panel_bytes;
    fetch_steps fetch = x->fetch;
    __m256 acc[4][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP, codes += class_bytes(c)) {
        fetch_at_group(&fetch, k / NIB__GROUP);
        fetch_codes(&fetch, codes, class_bytes(c));
        fetch_far(next_scales);
        next_scales += panel_scales;
        NIB_UNROLL
        for (int from = 0; from < 8; from += lines, s += 16, sums++) {
            __m256i sum[4][2];
            dot_lines(c, rows, 0, halves, codes, from, lines, book, x, k, sum);
            if (halves == 1) {
                forget_loads();
                dot_lines(c, rows, 1, 1, codes, from, lines, book, x, k, sum);
                forget_loads();
            }
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256i bias = _mm256_set1_epi32(sums_at(&x->block, sums, r)->start);
                NIB_UNROLL
                for (int h = 0; h < 2; h++) {
                    __m256 f = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[r][h], bias));
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
                             const uint8_t *codes, const float *s, const rows_256 *x,
                             float y[4][16])
{
    if (rows == 4)
        decode_tile(c, lines, 4, w, codes, s, x, y);
    else if (rows == 2 && often_met(c))
        decode_tile(c, lines, 2, w, codes, s, x, y);
    else
        decode_tile(c, lines, 1, w, codes, s, x, y);
}

static void decode_any(uint32_t rows, const nib__packed *w, const uint8_t *codes, const float *s,
                       const rows_256 *x, float y[4][16])
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

/* out[16] = (y + sum over groups of m * sum of q) * scale, the first n of them, of row r. */
static void finish_row(const nib__layout *layout, uint32_t k, const float *m, const row_block *x,
                       uint32_t r, const float *y, uint32_t n, float *out)
{
    const group_sum *sums = sums_at(x, x->sums, (int)r);
    __m256 low = _mm256_setzero_ps(), high = low;
    for (uint32_t g = 0; layout->has_min && g < k / layout->scale_group; g++, m += 16) {
        const __m256 xsum = _mm256_set1_ps(sums[g].sum);
        low = _mm256_fmadd_ps(_mm256_loadu_ps(m), xsum, low);
        high = _mm256_fmadd_ps(_mm256_loadu_ps(m + 8), xsum, high);
    }
    const __m256 scale = _mm256_set1_ps(x->scale[r]);
    low = _mm256_mul_ps(_mm256_add_ps(_mm256_loadu_ps(y), low), scale);
    high = _mm256_mul_ps(_mm256_add_ps(_mm256_loadu_ps(y + 8), high), scale);
    store_first(out, low, n);
    if (n > 8) store_first(out + 8, high, n - 8);
}

/* float32 scales and mins of a panel, and behind them sums of the rows, and the rows as pairs. */
static size_t scales_bytes(uint32_t k)
{
    return (size_t)k / 16 * NIB__PANEL * sizeof(float) * 2;
}

static size_t decode_scratch(uint32_t k)
{
    return scales_bytes(k) + NIB__DECODE_ROWS * (nib__row16_bytes(k) + (size_t)k * sizeof(int16_t));
}

static void make_pairs(const void *rounded, uint32_t k, int16_t *pairs)
{
    const nib__row16 from = nib__row16_view(rounded, k);
    for (uint32_t i = 0; i < k; i += 16) {
        /* Within 4 values: k0 k1 k2 k3 becomes k0 k2 k1 k3. */
        const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
        __m128i hi = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(from.hi + i)), order);
        __m128i lo = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(from.lo + i)), order);
        __m256i q = _mm256_slli_epi16(_mm256_cvtepi8_epi16(hi), 8);
        q = _mm256_add_epi16(q, _mm256_cvtepi8_epi16(lo));
        _mm256_storeu_si256((__m256i *)(void *)(pairs + i), q);
    }
}

/* Blocks of all m rows, at most NIB__DECODE_ROWS; returns their number. */
static uint32_t lay_all(const nib__packed *w, const uint8_t *from, uint32_t m, uint8_t *scratch,
                        rows_256 *x)
{
    const code_class c = code_class_of(w->layout);
    const size_t row_bytes = nib__row16_bytes(w->k);
    int16_t *pairs = (int16_t *)(void *)(scratch + NIB__DECODE_ROWS * row_bytes);
    uint32_t n = 0;
    for (uint32_t at = 0, step; at < m; at += step, n++) {
        step = m - at >= 4 ? 4 : m - at >= 2 && often_met(c) ? 2 : 1;
        x[n].block = block_of_rows(w->layout, w->layout->zero, from + at * row_bytes, step, step,
                                   w->k, scratch);
        x[n].pairs = pairs;
        x[n].k = w->k;
        x[n].fetch = fetch_steps_of(w);
        scratch += step * row_bytes;
        for (uint32_t r = 0; needs_pairs(c, step) && r < step; r++, pairs += w->k) {
            make_pairs(from + (at + r) * row_bytes, w->k, pairs);
        }
    }
    return n;
}

/* `n` blocks of rows. */
static void decode_few(const nib__packed *w, uint32_t first, uint32_t count, const rows_256 *x,
                       uint32_t n, float *y, size_t ldy, float *s)
{
    float *mins = s + (size_t)w->k / 16 * NIB__PANEL;
    for (uint32_t p = first; p < first + count; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        float *to = y + (size_t)p * NIB__PANEL;
        nib__expand_scales_avx2(w->layout, panel, w->k, s, mins);
        for (uint32_t i = 0; i < n; i++) {
            float sums[4][16];
            decode_any(x[i].block.step, w, panel + w->code_offset, s, x + i, sums);
            for (uint32_t r = 0; r < x[i].block.rows; r++, to += ldy) {
                finish_row(w->layout, w->k, mins, &x[i].block, r, sums[r], nib__panel_rows(w, p),
                           to);
            }
        }
    }
}

static void decode_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                       uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        rows_256 x[NIB__DECODE_ROWS];
        const uint8_t *from = (const uint8_t *)rows + at * nib__row16_bytes(w->k);
        uint32_t n = m - at < NIB__DECODE_ROWS ? m - at : NIB__DECODE_ROWS;
        n = lay_all(w, from, n, (uint8_t *)scratch + scales_bytes(w->k), x);
        decode_few(w, first, count, x, n, y + at * ldy, ldy, scratch);
    }
}

#endif
