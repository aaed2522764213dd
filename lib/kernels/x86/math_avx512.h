/* SPDX-License-Identifier: MIT
 * Vector exponential for AVX-512 kernels. */
#ifndef NIB_KERNELS_X86_MATH_AVX512_H
#define NIB_KERNELS_X86_MATH_AVX512_H

#include <immintrin.h>

/* 2^x for x in [-200, 128), within 2 units in the last place: x = n + f with |f| <= 1/2, and the
 * Taylor polynomial of e^(f ln 2), whose next term is below 2^-24. */
static inline __m512 nib__exp2_avx512(__m512 x)
{
    __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 f = _mm512_sub_ps(x, n);
    __m512 p = _mm512_set1_ps(1.5252734e-5f); /* (ln 2)^k / k!, k = 7 down to 0 */
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.5403530e-4f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.3333558e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

#endif
