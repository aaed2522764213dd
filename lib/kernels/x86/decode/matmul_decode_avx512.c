/* SPDX-License-Identifier: MIT
 * Decode for coded weights with AVX-512 that lacks VNNI. vpmaddubsw adds products of bytes in 16
 * bits, where codes of up to 6 bits leave room for two lines or more. Formats that are met most;
 * the others stay with 256 bits. Integer sums are exact and the float tail follows kernels.h step
 * by step: the bits of the scalar reference. */
#include "kernels/x86/decode/decode_panel_512.h"

/* Lines whose products by a plane, 2 * 128 * (largest code) each, fit 16 bits. */
NIB_INLINE int lines_in_16_bits(nib__format f)
{
    return code_bits(f) == 6 ? 2 : code_bits(f) == 5 ? 4 : 8;
}

NIB_INLINE __m512i sum_lines(nib__format f, int lines, const __m512i *line, const int8_t *hi,
                             const int8_t *lo, const row_block *x, int r)
{
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

static uint32_t rows_at_once(nib__format f, uint32_t left)
{
    return !often_met(f) ? 1 : left > 2 ? 4 : left;
}

/* All panels times all rows; the first block of rows brings a panel into the cache. */
NIB_INLINE void decode_run(nib__format f, const nib__packed *w, uint32_t first, uint32_t count,
                           const row_block *x, uint32_t n, float *y, size_t ldy)
{
    const fetch_steps fetch = fetch_steps_of(w);
    for (uint32_t p = first; p < first + count; p++) {
        float *out = y;
        for (uint32_t i = 0; i < n; out += x[i].rows * ldy, i++) {
            if (often_met(f) && x[i].step == 4)
                decode_whole_groups(f, 4, w, p, fetch, &x[i], out, ldy);
            else if (often_met(f) && x[i].step == 2)
                decode_whole_groups(f, 2, w, p, fetch, &x[i], out, ldy);
            else
                decode_whole_groups(f, 1, w, p, fetch, &x[i], out, ldy);
        }
    }
}

/* False: not one of the formats. */
static bool decode_rows(const nib__packed *w, uint32_t first, uint32_t count, const row_block *x,
                        uint32_t n, float *y, size_t ldy)
{
    switch (w->layout->format) {
    case NIB__Q4_0: decode_run(NIB__Q4_0, w, first, count, x, n, y, ldy); break;
    case NIB__Q4_1: decode_run(NIB__Q4_1, w, first, count, x, n, y, ldy); break;
    case NIB__Q4_K: decode_run(NIB__Q4_K, w, first, count, x, n, y, ldy); break;
    case NIB__Q5_K: decode_run(NIB__Q5_K, w, first, count, x, n, y, ldy); break;
    case NIB__Q6_K: decode_run(NIB__Q6_K, w, first, count, x, n, y, ldy); break;
    default: return false;
    }
    return true;
}

bool nib__decode_coded_avx512(const nib__packed *w, uint32_t first, uint32_t count,
                              const void *rows, uint32_t m, float *y, size_t ldy, void *scratch)
{
    const uint8_t *from = rows;
    const size_t row_bytes = nib__row16_bytes(w->k);
    bool known = true;
    for (uint32_t begin = 0, at = 0; known && at < m; begin = at) {
        row_block x[NIB__DECODE_ROWS];
        const uint32_t end = m - at < NIB__DECODE_ROWS ? m : at + NIB__DECODE_ROWS;
        uint32_t n = 0;
        for (uint8_t *to = scratch; at < end; n++) {
            const uint32_t step = rows_at_once(w->layout->format, end - at);
            const uint32_t there = step < end - at ? step : end - at;
            x[n] = block_of_rows(w->layout, w->layout->zero, from + at * row_bytes, step, there,
                                 w->k, to);
            to += there * row_bytes;
            at += there;
        }
        known = decode_rows(w, first, count, x, n, y + begin * ldy, ldy);
    }
    return known;
}

size_t nib__decode_coded_scratch_avx512(uint32_t k)
{
    return NIB__DECODE_ROWS * nib__row16_bytes(k);
}
