/* SPDX-License-Identifier: MIT
 * exp of eight float32 with AVX2; the algorithm of kernels/exp.h with fused multiply-adds. */
#ifndef NIB_KERNELS_X86_EXP_AVX2_H
#define NIB_KERNELS_X86_EXP_AVX2_H

#include "kernels/exp.h"
#include "kernels/x86/avx2.h"

NIB_INLINE __m256 exp_256(__m256 x)
{
    /* min and max return their second operand where one is NaN, so NaN goes through. */
    x = _mm256_max_ps(_mm256_set1_ps(NIB__EXP_MIN), x);
    x = _mm256_min_ps(_mm256_set1_ps(NIB__EXP_MAX), x);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(NIB__EXP_LOG2E)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(NIB__EXP_LN2_HIGH), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(NIB__EXP_LN2_LOW), r);
    __m256 p = _mm256_set1_ps(NIB__EXP_P0);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NIB__EXP_P1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NIB__EXP_P2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NIB__EXP_P3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NIB__EXP_P4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(NIB__EXP_P5));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
    __m256i power = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(power, 23)));
}

#endif
