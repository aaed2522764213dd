/* SPDX-License-Identifier: MIT
 * Activations of an MLP for 16 numbers: the formulas of kernels/exp.h and kernels/gelu.h. */
#ifndef NIB_KERNELS_X86_ACTIVATE_AVX512_H
#define NIB_KERNELS_X86_ACTIVATE_AVX512_H

#include "kernels/gelu.h"
#include "kernels/x86/exp_avx512.h"

NIB_INLINE __m512 gelu_16(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(NIB__GELU_SQRT_HALF));
    __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(_mm512_set1_ps(NIB__GELU_P), z, one));
    __m512 p = _mm512_set1_ps(NIB__GELU_A5);
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(NIB__GELU_A4));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(NIB__GELU_A3));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(NIB__GELU_A2));
    p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(NIB__GELU_A1));
    __m512 e = exp_512(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
    __m512 half = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(0.5f), _mm512_mul_ps(p, t)), e);
    __mmask16 below = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mul_ps(x, _mm512_mask_mov_ps(_mm512_sub_ps(one, half), below, half));
}

/* x / (1 + e^y) */
NIB_INLINE __m512 divided(__m512 x, __m512 y)
{
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), exp_512(y)));
}

NIB_INLINE __m512 activate_16(nib__act act, __m512 x)
{
    const __m512 zero = _mm512_setzero_ps();
    if (act == NIB__ACT_SILU) return divided(x, _mm512_sub_ps(zero, x));
    if (act == NIB__ACT_GELU) return gelu_16(x);
    if (act == NIB__ACT_RELU) return _mm512_max_ps(zero, x);
    __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
    __m512 u = _mm512_fmadd_ps(_mm512_set1_ps(NIB__GELU_CUBE), cube, x);
    return divided(x, _mm512_mul_ps(_mm512_set1_ps(NIB__GELU_MINUS_2C), u));
}

#endif
