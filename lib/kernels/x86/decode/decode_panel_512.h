/* SPDX-License-Identifier: MIT
 * One panel of coded weights times a few rows with 512-bit registers. A group is unpacked as a
 * whole first, so that what is read from memory comes early. Integer sums are exact and the float
 * tail follows kernels.h step by step: the bits of the scalar reference. */
#ifndef NIB_KERNELS_X86_DECODE_PANEL_512_H
#define NIB_KERNELS_X86_DECODE_PANEL_512_H

#include "kernels/x86/avx512.h"
#include "kernels/x86/fetch.h"
#include "kernels/x86/decode/row_block.h"
#include "kernels/x86/unpack_avx512.h"

/* Defined by the including file: the sum of products of `lines` lines of codes with 256 * hi + lo
 * of row r, a constant. hi and lo: of the first line and row. */
NIB_INLINE __m512i sum_lines(nib__format f, int lines, const __m512i *line, const int8_t *hi,
                             const int8_t *lo, const row_block *x, int r);

/* One panel times a block of `rows` rows (a constant, up to 4). */
NIB_INLINE void decode_whole_groups(nib__format f, int rows, const nib__packed *w, uint32_t panel,
                                    fetch_steps fetch, const row_block *x, float *y, size_t ldy)
{
    const int parts = group_scales(f), lines = 8 / parts;
    const uint8_t *entry = w->data + (size_t)panel * w->panel_bytes;
    const uint8_t *codes = entry + w->code_offset;
    const __m512i book = load_book(f, w->layout);
    const int8_t *hi = x->hi, *lo = x->lo;
    const group_sum *sums = x->sums;
    __m512 acc[4], acc_min[4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) acc[r] = acc_min[r] = _mm512_setzero_ps();
    for (uint32_t k = 0; k < w->k; entry += scale_bytes(f)) {
        fetch_at_group(&fetch, k / NIB__GROUP);
        const block_scale scales = load_block_scale(f, w->layout->unit, entry);
        fetch_scales(&fetch, entry, scale_bytes(f));
        for (uint32_t g = 0; g < block_groups(f); g++, k += NIB__GROUP, codes += group_bytes(f)) {
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
                    __m512i sum =
                        sum_lines(f, lines, line + part * lines, hi, lo, x, r);
                    const group_sum *of = sums_at(x, sums, r);
                    if (code_zero(f) != 0)
                        sum = _mm512_add_epi32(sum, _mm512_set1_epi32(of->start));
                    acc[r] = _mm512_fmadd_ps(s, _mm512_cvtepi32_ps(sum), acc[r]);
                    if (has_min(f))
                        acc_min[r] = _mm512_fmadd_ps(m, _mm512_set1_ps(of->sum), acc_min[r]);
                }
                hi += 4 * lines;
                lo += 4 * lines;
            }
        }
    }
    y += (size_t)panel * NIB__PANEL;
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        const __m512 sum =
            _mm512_mul_ps(_mm512_add_ps(acc[r], acc_min[r]), _mm512_set1_ps(x->scale[r]));
        _mm512_mask_storeu_ps(y + row_of(x, (uint32_t)r) * ldy, panel_mask(w, panel), sum);
    }
}

#endif
