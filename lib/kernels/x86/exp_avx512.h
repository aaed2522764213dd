/* SPDX-License-Identifier: MIT
 * exp of sixteen float32 with AVX-512; the algorithm of kernels/exp.h with fused multiply-adds. */
#ifndef NIB_KERNELS_X86_EXP_AVX512_H
#define NIB_KERNELS_X86_EXP_AVX512_H

#include "kernels/exp.h"
#include "kernels/simd.h"
#include "kernels/x86/avx512.h"

/* For x in [NIB__EXP_MIN, NIB__EXP_MAX]: p 2^n is exact. */
NIB_INLINE __m512 exp_in_range_512(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(NIB__EXP_LOG2E)),
                                    _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(NIB__EXP_LN2_HIGH), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(NIB__EXP_LN2_LOW), r);
    __m512 p = _mm512_set1_ps(NIB__EXP_P0);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NIB__EXP_P1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NIB__EXP_P2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NIB__EXP_P3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NIB__EXP_P4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(NIB__EXP_P5));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
    return _mm512_scalef_ps(p, n);
}

NIB_INLINE __m512 exp_512(__m512 x)
{
    /* min and max return their second operand where one is NaN, so NaN goes through. */
    x = _mm512_max_ps(_mm512_set1_ps(NIB__EXP_MIN), x);
    return exp_in_range_512(_mm512_min_ps(_mm512_set1_ps(NIB__EXP_MAX), x));
}

#endif
