/* SPDX-License-Identifier: MIT
 * What the kernels of bf16 products share, with AMX and without: rows of activations rounded to
 * bf16, and float weights as [pairs of k][16 rows][2 k]. */
#ifndef NIB_KERNELS_X86_BF16_AVX512_H
#define NIB_KERNELS_X86_BF16_AVX512_H

#include <string.h>

#include "kernels/simd.h"
#include "kernels/x86/avx512.h"

/* Groups [first, first + count) of 32 k of a float panel: [count][16 pairs of k][16 rows][2 k], 1 KB
 * each, zero from w->k on. `lines` is 64-byte aligned. */
void nib__expand_float_avx512bf16(const nib__packed *w, uint32_t panel, uint32_t first,
                                  uint32_t count, uint8_t *lines);

/* Order of 32 words that interleaves two halves. */
NIB_INLINE __m512i interleave(void)
{
    static const uint16_t order[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return _mm512_loadu_si512(order);
}

/* An odd number of cache lines, so that the rows of a tile do not share cache sets. */
static size_t bf16_row_bytes(uint32_t k)
{
    size_t lines = ((size_t)k + 31) / 32;
    return (lines | 1) * 64;
}

static inline void bf16_round_row(const float *x, uint32_t k, void *row)
{
    uint16_t *out = row;
    size_t end = bf16_row_bytes(k) / 2;
    for (size_t i = 0; i < end; i += 32) {
        size_t left = i < k ? k - i : 0;
        __mmask16 low = nib__lanes(left), high = nib__lanes(left > 16 ? left - 16 : 0);
        __m512 a = _mm512_maskz_loadu_ps(low, x + i), b = _mm512_maskz_loadu_ps(high, x + i + 16);
        __m512bh both = _mm512_cvtne2ps_pbh(b, a);
        memcpy(out + i, &both, sizeof both);
    }
}

#endif
