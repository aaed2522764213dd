/* SPDX-License-Identifier: MIT
 * Decode with 16-bit activations, as two int8 planes, or with 8-bit ones (row_rounding), in 256-bit
 * registers. The two files that include this define dot_lines: AVX2 has no product of bytes that is
 * always exact.
 *
 * Scales are expanded to float32 once per panel; the mins are a separate small pass. */
#ifndef NIB_KERNELS_X86_MATMUL_DECODE_256_H
#define NIB_KERNELS_X86_MATMUL_DECODE_256_H

#include "kernels/panel.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/decode/row_block.h"
#include "kernels/x86/fetch.h"

/* Rows of a call that are multiplied together. */
typedef struct rows_256 {
    row_block block;
    const int16_t *pairs; /* [step][k] 256 * hi + lo, per 4 k (k0, k2), (k1, k3); see needs_pairs.
                             ROWS_G32: hi */
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
NIB_INLINE void dot_lines(row_rounding how, code_class c, int rows, int first, int halves,
                          const uint8_t *group, int from, int lines, __m256i book,
                          const rows_256 *x, uint32_t k, __m256i sum[4][2]);

/* Whether dot_lines reads `pairs` of that many rows. */
NIB_INLINE bool needs_pairs(row_rounding how, code_class c, uint32_t rows);

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

/* y[rows][16] = sum over scale groups of s * (sum of (code - zero) * q), where the numbers of the
 * rows begin at the first group. `lines` per scale. Rows that have the registers take both halves
 * of the panel together: up to two, or four of one plane, if 16 bits hold all sums of 4-bit codes.
 */
NIB_INLINE void decode_tile(row_rounding how, code_class c, int lines, int rows,
                            const nib__packed *w, const uint8_t *codes, const float *s,
                            group_range range, const rows_256 *x, float y[4][16])
{
    const __m256i book = load_book(w->layout);
    const group_sum *sums = x->block.sums;
    const float *group = x->block.scales;
    const int halves = rows <= 2 || (how == ROWS_G32 && c == CODES_4) ? 2 : 1;
    const size_t panel_scales = w->code_offset / (w->k / NIB__GROUP);
    const uint8_t *next_scales = codes - w->code_offset + w->panel_bytes;
    fetch_steps fetch = x->fetch;
    __m256 acc[4][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    codes += range.from * class_bytes(c);
    s += range.from * NIB__PANEL * (8 / (uint32_t)lines);
    for (uint32_t g = range.from, k = 0; g < range.end; g++, k += NIB__GROUP, group++) {
        fetch_at_group(&fetch, g);
        fetch_codes(&fetch, codes, class_bytes(c));
        fetch_far(next_scales);
        next_scales += panel_scales;
        NIB_UNROLL
        for (int from = 0; from < 8; from += lines, s += 16, sums++) {
            __m256i sum[4][2];
            dot_lines(how, c, rows, 0, halves, codes, from, lines, book, x, k, sum);
            if (halves == 1) {
                forget_loads();
                dot_lines(how, c, rows, 1, 1, codes, from, lines, book, x, k, sum);
                forget_loads();
            }
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256i bias = _mm256_set1_epi32(sums_at(&x->block, sums, r)->start);
                __m256 row_scale = _mm256_setzero_ps();
                if (how == ROWS_G32) row_scale = _mm256_set1_ps(scale_at(&x->block, group, r));
                NIB_UNROLL
                for (int h = 0; h < 2; h++) {
                    __m256 f = _mm256_cvtepi32_ps(_mm256_add_epi32(sum[r][h], bias));
                    __m256 scale = _mm256_loadu_ps(s + 8 * h);
                    if (how == ROWS_G32) scale = _mm256_mul_ps(scale, row_scale);
                    acc[r][h] = _mm256_fmadd_ps(scale, f, acc[r][h]);
                }
            }
        }
        codes += class_bytes(c);
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(y[r], acc[r][0]);
        _mm256_storeu_ps(y[r] + 8, acc[r][1]);
    }
}

/* Others have no kernel for two rows: each takes two kilobytes. */
NIB_INLINE bool often_met(row_rounding how, code_class c)
{
    if (c == CODES_4 || c == CODES_6) return true;
    return how == ROWS_Q16 && (c == CODES_5 || c == CODES_8);
}

/* What is multiplied with a block of rows: groups of a panel. s: of the whole panel. */
typedef struct panel_part {
    const nib__packed *w;
    const uint8_t *codes; /* of the whole panel */
    const float *s;
    group_range range;
} panel_part;

NIB_INLINE void decode_class(row_rounding how, code_class c, int lines, const panel_part *p,
                             const rows_256 *x, float y[4][16])
{
    if (x->block.step == 4)
        decode_tile(how, c, lines, 4, p->w, p->codes, p->s, p->range, x, y);
    else if (x->block.step == 2 && often_met(how, c))
        decode_tile(how, c, lines, 2, p->w, p->codes, p->s, p->range, x, y);
    else
        decode_tile(how, c, lines, 1, p->w, p->codes, p->s, p->range, x, y);
}

static void decode_q16(const panel_part *p, const rows_256 *x, float y[4][16])
{
    switch (code_class_of(p->w->layout)) {
    case CODES_2: decode_class(ROWS_Q16, CODES_2, 4, p, x, y); break;
    case CODES_TERNARY: decode_class(ROWS_Q16, CODES_TERNARY, 8, p, x, y); break;
    case CODES_3: decode_class(ROWS_Q16, CODES_3, 4, p, x, y); break;
    case CODES_4: decode_class(ROWS_Q16, CODES_4, 8, p, x, y); break;
    case CODES_5: decode_class(ROWS_Q16, CODES_5, 8, p, x, y); break;
    case CODES_6: decode_class(ROWS_Q16, CODES_6, 4, p, x, y); break;
    case CODES_8: decode_class(ROWS_Q16, CODES_8, 8, p, x, y); break;
    case CODES_BOOK: decode_class(ROWS_Q16, CODES_BOOK, 8, p, x, y); break;
    case CODES_BOOK_16: decode_class(ROWS_Q16, CODES_BOOK, 4, p, x, y); break;
    }
}

/* Of NIB__WEIGHTS_USUAL. */
static void decode_g32(const panel_part *p, const rows_256 *x, float y[4][16])
{
    switch (code_class_of(p->w->layout)) {
    case CODES_4: decode_class(ROWS_G32, CODES_4, 8, p, x, y); break;
    case CODES_6: decode_class(ROWS_G32, CODES_6, 4, p, x, y); break;
    default: break;
    }
}

/* out[16] = (y + sum over groups of m * sum of q) * scale, the first n of them, of row r. `count`
 * groups of 32 k. */
static void finish_row(const nib__layout *layout, uint32_t count, const float *m,
                       const row_block *x, uint32_t r, const float *y, uint32_t n, float *out)
{
    const uint32_t groups = count * (NIB__GROUP / layout->scale_group);
    const group_sum *sums = sums_at(x, x->sums, (int)r);
    __m256 low = _mm256_setzero_ps(), high = low;
    for (uint32_t g = 0; layout->has_min && g < groups; g++, m += 16) {
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

static size_t row_bytes(row_rounding how, uint32_t k)
{
    return how == ROWS_G32 ? nib__row_g32_bytes_avx2(k) : nib__row16_bytes(k);
}

/* Those of a second plane come last. */
static size_t scratch_bytes(row_rounding how, uint32_t k)
{
    const size_t pairs = (NIB__DECODE_ROWS * (size_t)k + NIB__GROUP) * sizeof(int16_t);
    return scales_bytes(k) + NIB__DECODE_ROWS * row_bytes(how, k) + pairs;
}

static size_t decode_scratch(uint32_t k)
{
    return scratch_bytes(ROWS_Q16, k);
}

/* lo: NULL for rows of one plane. */
static void make_pairs(const int8_t *hi_at, const int8_t *lo_at, uint32_t k, int16_t *pairs)
{
    for (uint32_t i = 0; i < k; i += 16) {
        /* Within 4 values: k0 k1 k2 k3 becomes k0 k2 k1 k3. */
        const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
        __m128i hi = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(hi_at + i)), order);
        __m256i q = _mm256_cvtepi8_epi16(hi);
        if (lo_at != NULL) {
            __m128i lo = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(lo_at + i)), order);
            q = _mm256_add_epi16(_mm256_slli_epi16(q, 8), _mm256_cvtepi8_epi16(lo));
        }
        _mm256_storeu_si256((__m256i *)(void *)(pairs + i), q);
    }
}

/* The rows of a call, at most NIB__DECODE_ROWS. */
typedef struct call_rows {
    rows_256 x[NIB__DECODE_ROWS];
    uint32_t n;
    rest_walk rest;      /* ROWS_G32 */
    int16_t *rest_pairs; /* room for those of a group */
} call_rows;

static void lay_all(row_rounding how, const nib__packed *w, const uint8_t *from, uint32_t m,
                    uint8_t *scratch, call_rows *rows)
{
    const code_class c = code_class_of(w->layout);
    const size_t bytes = row_bytes(how, w->k);
    const int32_t zero = w->layout->zero;
    int16_t *pairs = (int16_t *)(void *)(scratch + NIB__DECODE_ROWS * bytes);
    rows->n = 0;
    if (how == ROWS_G32) rows->rest = rest_of_rows(from, m, zero);
    for (uint32_t step; m > 0; m -= step, from += step * bytes, scratch += step * bytes) {
        rows_256 *x = &rows->x[rows->n++];
        step = m >= 4 ? 4 : m >= 2 && often_met(how, c) ? 2 : 1;
        x->block = how == ROWS_G32
                       ? nib__block_of_g32_avx2(w->layout, zero, from, step, step, w->k, scratch)
                       : block_of_rows(w->layout, zero, from, step, step, w->k, scratch);
        x->pairs = pairs;
        x->k = w->k;
        x->fetch = fetch_steps_of(w);
        for (uint32_t r = 0; needs_pairs(how, c, step) && r < step; r++, pairs += w->k) {
            const size_t at = r * x->block.stride;
            make_pairs(x->block.hi + at, how == ROWS_G32 ? NULL : x->block.lo + at, w->k, pairs);
        }
    }
    rows->rest_pairs = pairs;
}

/* Adds the second planes of all rows to their results, which are at y. */
static void add_rest(const panel_part *all, const float *mins, const call_rows *rows, uint32_t n,
                     float *y, size_t ldy)
{
    const nib__packed *w = all->w;
    const uint32_t parts = NIB__GROUP / w->layout->scale_group;
    rest_walk walk = rows->rest;
    panel_part p = *all;
    while (nib__rest_next_avx2(&walk, w)) {
        const rows_256 x = {walk.block, rows->rest_pairs, NIB__GROUP, rows->x[0].fetch};
        float sums[4][16], part[16];
        p.range = (group_range){walk.group, walk.group + 1};
        if (needs_pairs(ROWS_G32, code_class_of(w->layout), 1))
            make_pairs(walk.block.hi, NULL, NIB__GROUP, rows->rest_pairs);
        decode_g32(&p, &x, sums);
        finish_row(w->layout, 1, mins + walk.group * parts * NIB__PANEL, &x.block, 0, sums[0],
                   NIB__PANEL, part);
        for (uint32_t i = 0; i < n; i++) y[walk.row * ldy + i] += part[i];
    }
}

static void decode_few(row_rounding how, const nib__packed *w, uint32_t first, uint32_t count,
                       const call_rows *rows, float *y, size_t ldy, float *s)
{
    float *mins = s + (size_t)w->k / 16 * NIB__PANEL;
    const uint32_t groups = w->k / NIB__GROUP;
    for (uint32_t p = first; p < first + count; p++) {
        const uint8_t *panel = nib__panel_at(w, p);
        const panel_part all = {w, panel + w->code_offset, s, {0, groups}};
        const uint32_t n = nib__panel_rows(w, p);
        float *to = y + (size_t)p * NIB__PANEL;
        nib__expand_scales_avx2(w->layout, panel, w->k, s, mins);
        for (uint32_t i = 0; i < rows->n; i++) {
            const rows_256 *x = &rows->x[i];
            float sums[4][16];
            if (how == ROWS_G32)
                decode_g32(&all, x, sums);
            else
                decode_q16(&all, x, sums);
            for (uint32_t r = 0; r < x->block.rows; r++, to += ldy) {
                finish_row(w->layout, groups, mins, &x->block, r, sums[r], n, to);
            }
        }
        if (how == ROWS_G32) add_rest(&all, mins, rows, n, y + (size_t)p * NIB__PANEL, ldy);
    }
}

static void decode_rows(row_rounding how, const nib__packed *w, uint32_t first, uint32_t count,
                        const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    for (uint32_t at = 0; at < m; at += NIB__DECODE_ROWS) {
        call_rows x;
        const uint8_t *from = (const uint8_t *)rows + at * row_bytes(how, w->k);
        const uint32_t n = m - at < NIB__DECODE_ROWS ? m - at : NIB__DECODE_ROWS;
        lay_all(how, w, from, n, (uint8_t *)scratch + scales_bytes(w->k), &x);
        decode_few(how, w, first, count, &x, y + at * ldy, ldy, scratch);
    }
}

static void decode_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                       uint32_t m, float *y, size_t ldy, void *scratch)
{
    decode_rows(ROWS_Q16, w, first, count, rows, m, y, ldy, scratch);
}

#endif
