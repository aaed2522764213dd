/* SPDX-License-Identifier: MIT
 * One panel of coded weights times a few rows with 512-bit registers. A group is unpacked as a
 * whole first, so that what is read from memory comes early. Integer sums are exact and the float
 * tail follows kernels.h step by step: the bits of the scalar reference. */
#ifndef NIB_KERNELS_X86_DECODE_PANEL_512_H
#define NIB_KERNELS_X86_DECODE_PANEL_512_H

#include "kernels/x86/avx512.h"
#include "kernels/x86/decode/row_block.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/unpack_avx512.h"

/* Defined by the including file: the sum of products of `lines` lines of codes with 256 * hi + lo
 * of row r, or with hi alone, as rows are rounded; `how` and r are constants. hi and lo: of the
 * first line and row. */
NIB_INLINE __m512i sum_lines(row_rounding how, nib__format f, int lines, const __m512i *line,
                             const int8_t *hi, const int8_t *lo, const row_block *x, int r);

/* acc and acc_min += what a scale group of the place r gives. sum: of codes times q; group: the
 * scale of 32 k, with ROWS_G32. */
NIB_INLINE void add_scaled(row_rounding how, nib__format f, __m512i sum, __m512 s, __m512 m,
                           const group_sum *of, const row_block *x, const float *group, int r,
                           __m512 *acc, __m512 *acc_min)
{
    if (how == ROWS_G32) s = _mm512_mul_ps(s, _mm512_set1_ps(scale_at(x, group, r)));
    *acc = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), *acc);
    if (has_min(f)) *acc_min = _mm512_fmadd_ps(m, _mm512_set1_ps(of->sum), *acc_min);
}

/* Groups of a panel times a block of `rows` rows (a constant, up to 4), whose numbers begin at the
 * first group. */
NIB_INLINE void decode_whole_groups(row_rounding how, nib__format f, int rows, const nib__packed *w,
                                    uint32_t panel, group_range range, fetch_steps fetch,
                                    const row_block *x, float *y, size_t ldy)
{
    const int parts = group_scales(f), lines = 8 / parts;
    const uint8_t *entry = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *codes = entry + w->code_offset + range.from * group_bytes(f);
    const __m512i book = load_book(f, w->layout);
    const int8_t *hi = x->hi, *lo = x->lo;
    const group_sum *sums = x->sums;
    const float *group = x->scales;
    __m512 acc[4], acc_min[4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = acc_min[r] = _mm512_setzero_ps();
    entry += range.from / block_groups(f) * scale_bytes(f);
    for (uint32_t k = range.from; k < range.end; entry += scale_bytes(f)) {
        fetch_at_group(&fetch, k);
        const block_scale scales = load_block_scale(f, w->layout->unit, entry);
        fetch_scales(&fetch, entry, scale_bytes(f));
        uint32_t g = 0, end = block_groups(f);
        if (how == ROWS_G32 && range.end - k < end) { /* one group of a second plane */
            g = k % end;
            end = g + range.end - k;
        }
        for (; g < end; g++, k++, codes += group_bytes(f), group++) {
            __m512i line[8];
            fetch_codes(&fetch, codes, group_bytes(f));
            if (rows == 1) fetch_again(codes, group_bytes(f));
            unpack_group(f, codes, book, line);
            NIB_UNROLL
            for (int part = 0; part < parts; part++, sums++) {
                __m512 s, m = _mm512_setzero_ps();
                group_scale(f, &scales, g * (uint32_t)parts + (uint32_t)part, &s, &m);
                NIB_UNROLL
                for (int r = 0; r < rows; r++) {
                    __m512i sum = sum_lines(how, f, lines, line + part * lines, hi, lo, x, r);
                    const group_sum *of = sums_at(x, sums, r);
                    if (code_zero(f) != 0)
                        sum = _mm512_add_epi32(sum, _mm512_set1_epi32(of->start));
                    add_scaled(how, f, sum, s, m, of, x, group, r, &acc[r], &acc_min[r]);
                }
                hi += 4 * lines;
                lo += 4 * lines;
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512 sum =
            _mm512_mul_ps(_mm512_add_ps(acc[r], acc_min[r]), _mm512_set1_ps(x->scale[r]));
        _mm512_mask_storeu_ps(y + row_of(x, (uint32_t)r) * ldy, panel_mask(w, panel), sum);
    }
}

/* Defined by the including file: a panel times a block of any number of rows. y: of the panel. */
NIB_INLINE void decode_block(row_rounding how, nib__format f, const nib__packed *w, uint32_t panel,
                             group_range range, fetch_steps fetch, const row_block *x, float *y,
                             size_t ldy);

/* Defined by the including file: places of the next block, when `left` rows are left. */
static uint32_t rows_at_once(row_rounding how, nib__format f, uint32_t left);

/* Rows that meet a panel one block after the other. */
typedef struct call_rows {
    row_block block[NIB__DECODE_ROWS];
    uint32_t blocks;
    rest_walk rest; /* ROWS_G32 */
} call_rows;

/* The rows of `rows` [m] from `at` on, at most NIB__DECODE_ROWS. */
static inline void lay_rows(row_rounding how, const nib__packed *w, const void *rows, uint32_t m,
                            uint32_t at, uint8_t *scratch, call_rows *x)
{
    const int32_t zero = layout_zero(w->layout);
    const size_t bytes = how == ROWS_G32 ? nib__row_g32_bytes_avx2(w->k) : nib__row16_bytes(w->k);
    const uint8_t *from = (const uint8_t *)rows + at * bytes;
    uint32_t left = m - at < NIB__DECODE_ROWS ? m - at : NIB__DECODE_ROWS;
    if (how == ROWS_G32) x->rest = rest_of_rows(from, left, zero);
    x->blocks = 0;
    for (uint32_t there; left > 0; left -= there, from += there * bytes, scratch += there * bytes) {
        const uint32_t step = rows_at_once(how, panel_twin(w->layout->format), left);
        there = step < left ? step : left;
        x->block[x->blocks++] =
            how == ROWS_G32
                ? nib__block_of_g32_avx2(w->layout, zero, from, step, there, w->k, scratch)
                : block_of_rows(w->layout, zero, from, step, there, w->k, scratch);
    }
}

/* All panels times all rows; the first block of rows brings a panel into the cache. */
NIB_INLINE void decode_run(row_rounding how, nib__format f, const nib__packed *w, uint32_t first,
                           uint32_t count, const call_rows *x, float *y, size_t ldy)
{
    const fetch_steps fetch = fetch_steps_of(w);
    const group_range all = {0, w->k / NIB__GROUP};
    for (uint32_t p = first; p < first + count; p++) {
        float *to = y + (size_t)p * NIB__PANEL, *out = to;
        rest_walk walk = {0};
        if (how == ROWS_G32) walk = x->rest;
        for (uint32_t i = 0; i < x->blocks || (how == ROWS_G32 && nib__rest_next_avx2(&walk, w));
             i++) {
            const bool second = how == ROWS_G32 && i >= x->blocks;
            const row_block *block = second ? &walk.block : &x->block[i];
            const group_range one = {walk.group, walk.group + 1};
            float part[NIB__PANEL];
            decode_block(how, f, w, p, second ? one : all, fetch, block, second ? part : out, ldy);
            out += block->rows * ldy;
            if (!second) continue;
            out = to + walk.row * ldy;
            const __mmask16 mask = panel_mask(w, p);
            const __m512 more = _mm512_maskz_loadu_ps(mask, part);
            const __m512 before = _mm512_maskz_loadu_ps(mask, out);
            _mm512_mask_storeu_ps(out, mask, _mm512_add_ps(before, more));
        }
    }
}

#endif
