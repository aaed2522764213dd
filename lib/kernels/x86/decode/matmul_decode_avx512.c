/* SPDX-License-Identifier: MIT
 * Decode for coded weights with AVX-512 that lacks VNNI. vpmaddubsw adds products of bytes in 16
 * bits, where codes of up to 6 bits leave room for two lines or more. Formats that are met most;
 * the others stay with 256 bits, and all of them with two planes. Integer sums are exact and the
 * float tail follows kernels.h step by step: the bits of the scalar reference. */
#include "kernels/x86/decode/decode_panel_512.h"

/* Lines whose products by a plane, 2 * 128 * (largest code) each, fit 16 bits. */
NIB_INLINE int lines_in_16_bits(nib__format f)
{
    return code_bits(f) == 6 ? 2 : code_bits(f) == 5 ? 4 : 8;
}

NIB_INLINE __m512i sum_lines(row_rounding how, nib__format f, int lines, const __m512i *line,
                             const int8_t *hi, const int8_t *lo, const row_block *x, int r)
{
    (void)how;
    const __m512i one = _mm512_set1_epi16(1), high = _mm512_set1_epi16(256);
    const int most = lines < lines_in_16_bits(f) ? lines : lines_in_16_bits(f);
    __m512i sum = _mm512_setzero_si512();
    NIB_UNROLL
    for (int from = 0; from < lines; from += most) {
        __m512i a = _mm512_setzero_si512(), b = a;
        NIB_UNROLL
        for (int j = from; j < from + most; j++) {
            const size_t at = row_at(x, r) + 4 * (size_t)j;
            a = _mm512_add_epi16(a, _mm512_maddubs_epi16(line[j], broadcast4_512(hi + at)));
            b = _mm512_add_epi16(b, _mm512_maddubs_epi16(line[j], broadcast4_512(lo + at)));
        }
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(a, high));
        sum = _mm512_add_epi32(sum, _mm512_madd_epi16(b, one));
    }
    return sum;
}

/* Formats compiled for two and four rows, too: each takes three kilobytes. */
NIB_INLINE bool often_met(nib__format f)
{
    return f == NIB__Q4_K || f == NIB__Q6_K;
}

static uint32_t rows_at_once(row_rounding how, nib__format f, uint32_t left)
{
    (void)how;
    return !often_met(f) ? 1 : left > 2 ? 4 : left;
}

NIB_INLINE void decode_block(row_rounding how, nib__format f, const nib__packed *w, uint32_t panel,
                             group_range range, fetch_steps fetch, const row_block *x, float *y,
                             size_t ldy)
{
    if (often_met(f) && x->step == 4)
        decode_whole_groups(how, f, 4, w, panel, range, fetch, x, y, ldy);
    else if (often_met(f) && x->step == 2)
        decode_whole_groups(how, f, 2, w, panel, range, fetch, x, y, ldy);
    else
        decode_whole_groups(how, f, 1, w, panel, range, fetch, x, y, ldy);
}

/* False: not one of the formats. */
static bool decode_rows(const nib__packed *w, uint32_t first, uint32_t count, const call_rows *x,
                        float *y, size_t ldy)
{
    switch (w->layout->format) {
    case NIB__Q4_0: decode_run(ROWS_Q16, NIB__Q4_0, w, first, count, x, y, ldy); break;
    case NIB__Q4_1: decode_run(ROWS_Q16, NIB__Q4_1, w, first, count, x, y, ldy); break;
    case NIB__Q4_K: decode_run(ROWS_Q16, NIB__Q4_K, w, first, count, x, y, ldy); break;
    case NIB__Q5_K: decode_run(ROWS_Q16, NIB__Q5_K, w, first, count, x, y, ldy); break;
    case NIB__Q6_K: decode_run(ROWS_Q16, NIB__Q6_K, w, first, count, x, y, ldy); break;
    default: return false;
    }
    return true;
}

bool nib__decode_coded_avx512(const nib__packed *w, uint32_t first, uint32_t count,
                              const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    bool known = true;
    for (uint32_t at = 0; known && at < m; at += NIB__DECODE_ROWS) {
        call_rows x;
        lay_rows(ROWS_Q16, w, rows, m, at, scratch, &x);
        known = decode_rows(w, first, count, &x, y + at * ldy, ldy);
    }
    return known;
}

size_t nib__decode_coded_scratch_avx512(uint32_t k)
{
    return NIB__DECODE_ROWS * nib__row16_bytes(k);
}
