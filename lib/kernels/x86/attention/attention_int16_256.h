/* SPDX-License-Identifier: MIT
 * What attention_int16.h does with vectors: 8 lanes of AVX2. The including file has v_dot2. */
#ifndef NIB_KERNELS_X86_ATTENTION_INT16_256_H
#define NIB_KERNELS_X86_ATTENTION_INT16_256_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/x86/attention/attention_sizes.h"
#include "kernels/x86/exp_avx2.h"
#include "kernels/x86/vectors_256.h"

enum { ROWS = 4 };

/* a in the lower half of every lane, b in the upper; both fit 16 bits. */
NIB_INLINE ints v_pair(ints a, ints b)
{
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}

NIB_INLINE ints v_round(floats x)
{
    return _mm256_cvtps_epi32(x);
}

/* The larger magnitude; NaN is larger than any. */
NIB_INLINE floats v_larger_size(floats a, floats b)
{
    const ints size = _mm256_set1_epi32(0x7fffffff);
    ints x = _mm256_and_si256(_mm256_castps_si256(a), size);
    ints y = _mm256_and_si256(_mm256_castps_si256(b), size);
    return _mm256_castsi256_ps(_mm256_max_epi32(x, y));
}

/* x in lanes with low <= key <= last, else -infinity. */
NIB_INLINE floats v_between(ints low, int32_t key, ints last, floats x)
{
    const ints at = _mm256_set1_epi32(key);
    ints hidden = _mm256_or_si256(_mm256_cmpgt_epi32(low, at), _mm256_cmpgt_epi32(at, last));
    return _mm256_blendv_ps(x, _mm256_set1_ps(-INFINITY), _mm256_castsi256_ps(hidden));
}

/* Numbers of the cache. */
NIB_INLINE floats v_cached(bool q8, const void *data, size_t i)
{
    if (q8) return load_i8((const int8_t *)data + i);
    return load_f16((const uint16_t *)data + i);
}

NIB_INLINE floats v_cached_first(bool q8, const void *data, size_t i, uint32_t n)
{
    if (n >= LANES) return v_cached(q8, data, i);
    uint16_t first[LANES] = {0};
    size_t bytes = q8 ? 1 : 2;
    memcpy(first, (const uint8_t *)data + i * bytes, n * bytes);
    return v_cached(q8, first, 0);
}

/* The largest magnitudes of 8 of 16 keys, of which each line of the cache has one number: NaN is
 * larger than any. Numbers without their signs compare as integers. */
NIB_INLINE floats v_key_sizes(bool q8, const void *k, size_t from, uint32_t dim)
{
    __m128i most = _mm_setzero_si128();
    if (q8) {
        const int8_t *at = (const int8_t *)k + from;
        for (uint32_t d = 0; d < dim; d++, at += 16) {
            most = _mm_max_epu8(most,
                                _mm_abs_epi8(_mm_loadl_epi64((const __m128i *)(const void *)at)));
        }
        return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(most));
    }
    const uint16_t *at = (const uint16_t *)k + from;
    const __m128i size = _mm_set1_epi16(0x7fff);
    for (uint32_t d = 0; d < dim; d++, at += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)at);
        most = _mm_max_epu16(most, _mm_and_si128(x, size));
    }
    return _mm256_cvtph_ps(most);
}

/* Magnitudes of 16 numbers of the cache. */
NIB_INLINE __m256i magnitudes(bool q8, const void *at)
{
    if (q8) return _mm256_abs_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)at)));
    return _mm256_and_si256(load_256(at), _mm256_set1_epi16(0x7fff));
}

/* The largest magnitude of a value's numbers, without converting it. */
NIB_INLINE uint16_t v_value_size(bool q8, const void *v, size_t from, uint32_t dim)
{
    const size_t bytes = q8 ? 1 : 2;
    const uint8_t *at = (const uint8_t *)v + from * bytes;
    __m256i most = _mm256_setzero_si256();
    uint32_t d = 0;
    for (; d + 16 <= dim; d += 16) {
        most = _mm256_max_epu16(most, magnitudes(q8, at + d * bytes));
    }
    if (d < dim) {
        uint16_t last[16] = {0};
        memcpy(last, at + d * bytes, (dim - d) * bytes);
        most = _mm256_max_epu16(most, magnitudes(q8, last));
    }
    return largest_of_16(most);
}

/* Sizes as v_value_size gives them. */
NIB_INLINE floats v_sizes(bool q8, const uint16_t sizes[LANES])
{
    const __m128i x = _mm_loadu_si128((const __m128i *)(const void *)sizes);
    return q8 ? _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(x)) : _mm256_cvtph_ps(x);
}

NIB_INLINE bool v_all_finite(floats x)
{
    const floats size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
    return _mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(FLT_MAX), _CMP_LE_OQ)) == 0xff;
}

/* 2^x, close to float32's precision; at least 2^-126 or so. */
NIB_INLINE floats v_pow2(floats x)
{
    return exp_256(_mm256_mul_ps(_mm256_max_ps(x, _mm256_set1_ps(-126.0f)), v_set(0.69314718f)));
}

/* y is a power of two's float32 bits as if mantissas were logarithms (Schraudolph, "A fast, compact
 * approximation of the exponential function", 1999): 2^n t, t in [1, 2), where it should be 2^n
 * times 2^(t - 1). A polynomial has their quotient. Relative error below 0.35 %. At least 2^-100.
 */
NIB_INLINE floats v_weight(floats y)
{
    ints bits = _mm256_max_epi32(_mm256_cvtps_epi32(y), _mm256_set1_epi32(27 << 23));
    const ints mantissa = _mm256_set1_epi32(0x7fffff), one = _mm256_set1_epi32(127 << 23);
    floats t = _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(bits, mantissa), one));
    floats p = v_fma(v_set(0.2337f), t, v_set(-0.69421165f));
    return v_mul(_mm256_castsi256_ps(bits), v_fma(p, t, v_set(1.4570675f)));
}

/* x[i] lane j becomes x[j] lane i. */
NIB_INLINE void v_transpose(floats x[8])
{
    floats y[8];
    NIB_UNROLL
    for (int i = 0; i < 8; i += 4) { /* pairs, then fours, within 128 bits */
        floats a = _mm256_unpacklo_ps(x[i], x[i + 1]), b = _mm256_unpackhi_ps(x[i], x[i + 1]);
        floats c = _mm256_unpacklo_ps(x[i + 2], x[i + 3]);
        floats d = _mm256_unpackhi_ps(x[i + 2], x[i + 3]);
        y[i] = _mm256_shuffle_ps(a, c, 0x44);
        y[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        y[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        y[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    NIB_UNROLL
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x20);
        x[i + 4] = _mm256_permute2f128_ps(y[i], y[i + 4], 0x31);
    }
}

#endif
