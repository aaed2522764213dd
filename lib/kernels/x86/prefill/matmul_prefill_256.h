/* SPDX-License-Identifier: MIT
 * What matmul_prefill_g32.h does with vectors: 8 outputs, half a panel, in 256 bits. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_256_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_256_H

#include "kernels/x86/vectors_256.h"

/* Rows and registers of outputs, a whole panel: their sums of both kinds take 12 of 16 registers. 6
 * rows and half a panel do, too, but load 60 values of rows where these load 30, and are slower. */
enum { TILE = 3, HALVES = 2, TOGETHER = 3 };

NIB_INLINE ints v_add_ints(ints a, ints b)
{
    return _mm256_add_epi32(a, b);
}

NIB_INLINE ints v_sub_ints(ints a, ints b)
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

NIB_INLINE floats v_bits(ints x)
{
    return _mm256_castsi256_ps(x);
}

#endif
