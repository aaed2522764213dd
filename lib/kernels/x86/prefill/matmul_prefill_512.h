/* SPDX-License-Identifier: MIT
 * What matmul_prefill_g32.h does with vectors: 16 outputs, a panel, in 512 bits. */
#ifndef NIB_KERNELS_X86_MATMUL_PREFILL_512_H
#define NIB_KERNELS_X86_MATMUL_PREFILL_512_H

#include "kernels/x86/vectors_512.h"

/* Rows: three sums of each fit in 32 registers. One register has the outputs of a panel. */
enum { TILE = 8, HALVES = 1, TOGETHER = 4 };

NIB_INLINE ints v_add_ints(ints a, ints b)
{
    return _mm512_add_epi32(a, b);
}

NIB_INLINE ints v_sub_ints(ints a, ints b)
{
    return _mm512_sub_epi32(a, b);
}

NIB_INLINE ints v_add16(ints a, ints b)
{
    return _mm512_add_epi16(a, b);
}

NIB_INLINE ints v_madd16(ints a, ints b)
{
    return _mm512_madd_epi16(a, b);
}

/* Products of unsigned a and signed b, pairs added. */
NIB_INLINE ints v_maddubs(ints a, ints b)
{
    return _mm512_maddubs_epi16(a, b);
}

/* The same for signed a and b; |b| < 128. */
NIB_INLINE ints v_maddbs(ints a, ints b)
{
    b = _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(a), _mm512_setzero_si512(), b);
    return _mm512_maddubs_epi16(_mm512_abs_epi8(a), b);
}

/* As keep_sum (avx2.h). */
NIB_INLINE ints v_keep(ints v)
{
    __asm__("" : "+v"(v));
    return v;
}

NIB_INLINE floats v_bits(ints x)
{
    return _mm512_castsi512_ps(x);
}

#endif
