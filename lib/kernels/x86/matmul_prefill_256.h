/* SPDX-License-Identifier: MIT
 * The vectors of matmul_prefill_g32.h: 8 outputs, half a panel, in 256 bits. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_256_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_256_H

#include "kernels/x86/avx2.h"

enum {
    LANES = 8,
    TILE = 6 /* rows; with all 16 outputs of a panel sums would not fit in 16 registers */
};
typedef __m256i ints;
typedef __m256 floats;

NIB_INLINE ints v_load_ints(const void *at)
{
    return load_256(at);
}

/* The same four bytes in every lane. */
NIB_INLINE ints v_four(const void *at)
{
    return broadcast4(at);
}

NIB_INLINE ints v_int(int32_t x)
{
    return _mm256_set1_epi32(x);
}

NIB_INLINE ints v_add(ints a, ints b)
{
    return _mm256_add_epi32(a, b);
}

NIB_INLINE ints v_sub(ints a, ints b)
{
    return _mm256_sub_epi32(a, b);
}

NIB_INLINE ints v_add16(ints a, ints b)
{
    return _mm256_add_epi16(a, b);
}

NIB_INLINE ints v_madd16(ints a, ints b)
{
    return _mm256_madd_epi16(a, b);
}

/* Products of unsigned a and signed b, pairs added. */
NIB_INLINE ints v_maddubs(ints a, ints b)
{
    return _mm256_maddubs_epi16(a, b);
}

/* The same for signed a and b; |b| < 128. */
NIB_INLINE ints v_maddbs(ints a, ints b)
{
    return _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b, a));
}

NIB_INLINE ints v_keep(ints v)
{
    return keep_sum(v);
}

NIB_INLINE floats v_float(ints x)
{
    return _mm256_cvtepi32_ps(x);
}

NIB_INLINE floats v_bits(ints x)
{
    return _mm256_castsi256_ps(x);
}

NIB_INLINE floats v_load(const float *at)
{
    return _mm256_load_ps(at);
}

NIB_INLINE floats v_set(float x)
{
    return _mm256_set1_ps(x);
}

NIB_INLINE floats v_mul(floats a, floats b)
{
    return _mm256_mul_ps(a, b);
}

NIB_INLINE floats v_fma(floats a, floats b, floats c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* The first `count` lanes, or all. */
NIB_INLINE floats v_load_first(const float *at, uint32_t count)
{
    return load_first(at, count);
}

NIB_INLINE void v_store_first(float *to, floats x, uint32_t count)
{
    store_first(to, x, count);
}

#endif
