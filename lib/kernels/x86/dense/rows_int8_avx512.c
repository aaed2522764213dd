/* SPDX-License-Identifier: MIT
 * Rounds activations to one or two int8 planes with AVX-512. */
#include <string.h>

#include "kernels/ref/ref.h"
#include "kernels/simd.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/dense/rows_int8.h"

size_t nib__row8_one_bytes(uint32_t k)
{
    return ((1 + nib__row8_plane(k) / 64) | 1) * 64;
}

/* Largest magnitude as float32 bits: infinities and NaN win over numbers. */
static uint32_t max_bits(const float *x, uint32_t k)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i max = _mm512_setzero_si512();
    for (uint32_t i = 0; i < k; i += 16) {
        __m512i v = _mm512_maskz_loadu_epi32(nib__lanes(k - i), x + i);
        max = _mm512_max_epi32(max, _mm512_and_si512(v, magnitude));
    }
    return (uint32_t)_mm512_reduce_max_epi32(max);
}

/* `to` and the scale for values up to +-top. */
static float factors(uint32_t bits, float top, float *scale)
{
    float to;
    *scale = nib__row16_scale(bits, &to);
    if (to == 0.0f || top == 32512.0f) return to;
    float max;
    memcpy(&max, &bits, sizeof max);
    *scale = max / top;
    return top / max;
}

NIB_INLINE void store_bytes(uint8_t *to, __m512i v, bool biased)
{
    if (biased) v = _mm512_add_epi32(v, _mm512_set1_epi32(128));
    _mm_store_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(v));
}

NIB_INLINE void round_row(bool two, bool biased, const float *x, uint32_t k, void *row)
{
    uint8_t *hi = (uint8_t *)row + NIB_ALIGN, *lo = hi + nib__row8_plane(k);
    float scale, to = factors(max_bits(x, k), two ? 32512.0f : 127.0f, &scale);
    memset(row, 0, NIB_ALIGN);
    memcpy(row, &scale, sizeof scale);
    const __m512 factor = _mm512_set1_ps(to);
    for (uint32_t i = 0; i < nib__row8_plane(k); i += 16) {
        __m512i q = _mm512_setzero_si512();
        if (i < k && to != 0.0f) { /* 0 * infinity is no number */
            __m512 v = _mm512_maskz_loadu_ps(nib__lanes(k - i), x + i);
            q = _mm512_cvtps_epi32(_mm512_mul_ps(v, factor));
        }
        if (two) { /* q = 256 * hi + lo */
            __m512i low = _mm512_srai_epi32(_mm512_slli_epi32(q, 24), 24);
            store_bytes(lo + i, low, biased);
            q = _mm512_srai_epi32(_mm512_sub_epi32(q, low), 8);
        }
        store_bytes(hi + i, q, biased);
    }
}

void nib__row8_two_s8(const float *x, uint32_t k, void *row)
{
    round_row(true, false, x, k, row);
}

void nib__row8_two_u8(const float *x, uint32_t k, void *row)
{
    round_row(true, true, x, k, row);
}

void nib__row8_one_s8(const float *x, uint32_t k, void *row)
{
    round_row(false, false, x, k, row);
}

void nib__row8_one_u8(const float *x, uint32_t k, void *row)
{
    round_row(false, true, x, k, row);
}
