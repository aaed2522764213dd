/* SPDX-License-Identifier: MIT
 * 8 lanes in 256 bits, by the names that kernels written once for several widths use
 * (matmul_prefill_g32.h, attention_int16.h, attention_tile.h). Addresses need no alignment. */
#ifndef NIB_KERNELS_X86_VECTORS_256_H
#define NIB_KERNELS_X86_VECTORS_256_H

#include "kernels/x86/avx2.h"

enum { LANES = 8 };
typedef __m256i ints;
typedef __m256 floats;

NIB_INLINE floats v_set(float x)
{
    return _mm256_set1_ps(x);
}

NIB_INLINE floats v_load(const float *at)
{
    return _mm256_loadu_ps(at);
}

NIB_INLINE void v_store(float *to, floats x)
{
    _mm256_storeu_ps(to, x);
}

/* The first `count` lanes, or all; the others are 0 and are not touched. */
NIB_INLINE floats v_load_first(const float *at, uint32_t count)
{
    return load_first(at, count);
}

NIB_INLINE void v_store_first(float *to, floats x, uint32_t count)
{
    store_first(to, x, count);
}

NIB_INLINE floats v_add(floats a, floats b)
{
    return _mm256_add_ps(a, b);
}

NIB_INLINE floats v_sub(floats a, floats b)
{
    return _mm256_sub_ps(a, b);
}

NIB_INLINE floats v_mul(floats a, floats b)
{
    return _mm256_mul_ps(a, b);
}

NIB_INLINE floats v_div(floats a, floats b)
{
    return _mm256_div_ps(a, b);
}

NIB_INLINE floats v_fma(floats a, floats b, floats c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* b where a is no number. */
NIB_INLINE floats v_max(floats a, floats b)
{
    return _mm256_max_ps(a, b);
}

NIB_INLINE ints v_int(int32_t x)
{
    return _mm256_set1_epi32(x);
}

/* The same four bytes in every lane. */
NIB_INLINE ints v_four(const void *at)
{
    return broadcast4(at);
}

NIB_INLINE ints v_load_ints(const void *at)
{
    return load_256(at);
}

NIB_INLINE void v_store_ints(void *to, ints x)
{
    _mm256_storeu_si256((__m256i *)to, x);
}

NIB_INLINE floats v_float(ints x)
{
    return _mm256_cvtepi32_ps(x);
}

#endif
