/* SPDX-License-Identifier: MIT
 * What attention_int16.h does with vectors: 16 lanes of AVX-512, 16-bit products of VNNI. */
#ifndef NIB_KERNELS_X86_ATTENTION_INT16_512_H
#define NIB_KERNELS_X86_ATTENTION_INT16_512_H

#include <float.h>
#include <math.h>

#include "kernels/x86/attention/attention_sizes.h"
#include "kernels/x86/math_avx512.h"
#include "kernels/x86/vectors_512.h"

enum { ROWS = 8 };

/* sum + two products of 16-bit numbers, per lane. The instruction overwrites its sum; gcc copies
 * all sums of a loop back and forth unless they are hidden from it. */
NIB_INLINE ints v_dot2(ints sum, ints a, ints b)
{
    sum = _mm512_dpwssd_epi32(sum, a, b);
    __asm__("" : "+v"(sum));
    return sum;
}

/* a in the lower half of every lane, b in the upper; both fit 16 bits. */
NIB_INLINE ints v_pair(ints a, ints b)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, a, _mm512_slli_epi32(b, 16));
}

NIB_INLINE ints v_round(floats x)
{
    return _mm512_cvtps_epi32(x);
}

/* The larger magnitude; NaN is larger than any. */
NIB_INLINE floats v_larger_size(floats a, floats b)
{
    const ints size = _mm512_set1_epi32(0x7fffffff);
    ints x = _mm512_and_si512(_mm512_castps_si512(a), size);
    ints y = _mm512_and_si512(_mm512_castps_si512(b), size);
    return _mm512_castsi512_ps(_mm512_max_epi32(x, y));
}

/* x in lanes with low <= key <= last, else -infinity. */
NIB_INLINE floats v_between(ints low, int32_t key, ints last, floats x)
{
    const ints at = _mm512_set1_epi32(key);
    __mmask16 seen = _mm512_mask_cmple_epi32_mask(_mm512_cmple_epi32_mask(low, at), at, last);
    return _mm512_mask_mov_ps(_mm512_set1_ps(-INFINITY), seen, x);
}

/* Numbers of the cache. */
NIB_INLINE floats v_cached(bool q8, const void *data, size_t i)
{
    if (!q8) {
        const void *half = (const uint16_t *)data + i;
        return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)half));
    }
    const void *bytes = (const int8_t *)data + i;
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)bytes)));
}

NIB_INLINE floats v_cached_first(bool q8, const void *data, size_t i, uint32_t n)
{
    const __mmask16 mask = nib__lanes(n);
    if (!q8) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)data + i));
    __m128i bytes = _mm_maskz_loadu_epi8(mask, (const int8_t *)data + i);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* The largest magnitudes of 16 keys, of which each line of the cache has one number: NaN is larger
 * than any. Numbers without their signs compare as integers. */
NIB_INLINE floats v_key_sizes(bool q8, const void *k, size_t from, uint32_t dim)
{
    if (q8) {
        const int8_t *at = (const int8_t *)k + from;
        __m128i most = _mm_setzero_si128();
        for (uint32_t d = 0; d < dim; d++, at += 16) {
            most = _mm_max_epu8(most,
                                _mm_abs_epi8(_mm_loadu_si128((const __m128i *)(const void *)at)));
        }
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(most));
    }
    const uint16_t *at = (const uint16_t *)k + from;
    const __m256i size = _mm256_set1_epi16(0x7fff);
    __m256i most = _mm256_setzero_si256();
    for (uint32_t d = 0; d < dim; d++, at += 16) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)at);
        most = _mm256_max_epu16(most, _mm256_and_si256(x, size));
    }
    return _mm512_cvtph_ps(most);
}

/* The largest magnitude of a value's numbers, without converting it. */
NIB_INLINE uint16_t v_value_size(bool q8, const void *v, size_t from, uint32_t dim)
{
    __m512i most = _mm512_setzero_si512();
    for (uint32_t d = 0; d < dim; d += 32) {
        const __mmask32 mask = 0xffffffffu >> (dim - d < 32 ? 32 - (dim - d) : 0);
        __m512i x;
        if (q8)
            x = _mm512_abs_epi16(
                _mm512_cvtepi8_epi16(_mm256_maskz_loadu_epi8(mask, (const int8_t *)v + from + d)));
        else
            x = _mm512_and_si512(_mm512_maskz_loadu_epi16(mask, (const uint16_t *)v + from + d),
                                 _mm512_set1_epi16(0x7fff));
        most = _mm512_max_epu16(most, x);
    }
    return largest_of_16(
        _mm256_max_epu16(_mm512_castsi512_si256(most), _mm512_extracti64x4_epi64(most, 1)));
}

/* Sizes as v_value_size gives them. */
NIB_INLINE floats v_sizes(bool q8, const uint16_t sizes[LANES])
{
    const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)sizes);
    return q8 ? _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(x)) : _mm512_cvtph_ps(x);
}

NIB_INLINE bool v_all_finite(floats x)
{
    return _mm512_cmp_ps_mask(_mm512_abs_ps(x), _mm512_set1_ps(FLT_MAX), _CMP_LE_OQ) == 0xffff;
}

/* 2^x, close to float32's precision; 2^-126 for what is below. */
NIB_INLINE floats v_pow2(floats x)
{
    return nib__exp2_avx512(_mm512_max_ps(x, _mm512_set1_ps(-126.0f)));
}

/* y is a power of two's float32 bits as if mantissas were logarithms (Schraudolph, "A fast, compact
 * approximation of the exponential function", 1999); what they are off is in a table by the upper 5
 * bits of the mantissa. Relative error below 0.7 %, 0.25 % in the mean square. At least 2^-100. */
NIB_INLINE floats v_weight(floats y)
{
    /* means of 2^f - 1 - f over 32nds, times 2^23 */
    static const int32_t off[32] = {-39560,  -116014, -188401, -256634, -320620, -380267, -435480,
                                    -486162, -532213, -573533, -610017, -641560, -668053, -689387,
                                    -705447, -716119, -721284, -720822, -714609, -702521, -684428,
                                    -660198, -629697, -592788, -549331, -499183, -442195, -378220,
                                    -307104, -228690, -142819, -49327};
    ints bits = _mm512_max_epi32(_mm512_cvtps_epi32(y), _mm512_set1_epi32(27 << 23));
    ints by = _mm512_permutex2var_epi32(_mm512_loadu_si512(off), _mm512_srli_epi32(bits, 18),
                                        _mm512_loadu_si512(off + 16));
    return _mm512_castsi512_ps(_mm512_add_epi32(bits, by));
}

/* x[i] lane j becomes x[j] lane i. */
NIB_INLINE void v_transpose(floats x[16])
{
    floats y[16];
    NIB_UNROLL
    for (int i = 0; i < 16; i += 4) { /* pairs, then fours, within 128 bits */
        floats a = _mm512_unpacklo_ps(x[i], x[i + 1]), b = _mm512_unpackhi_ps(x[i], x[i + 1]);
        floats c = _mm512_unpacklo_ps(x[i + 2], x[i + 3]);
        floats d = _mm512_unpackhi_ps(x[i + 2], x[i + 3]);
        y[i] = _mm512_shuffle_ps(a, c, 0x44);
        y[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        y[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        y[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    NIB_UNROLL
    for (int i = 0; i < 4; i++) { /* 4 x 4 of 128 bits */
        floats a = _mm512_shuffle_f32x4(y[i], y[i + 4], 0x88);
        floats b = _mm512_shuffle_f32x4(y[i], y[i + 4], 0xdd);
        floats c = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0x88);
        floats d = _mm512_shuffle_f32x4(y[i + 8], y[i + 12], 0xdd);
        x[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        x[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        x[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        x[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#endif
