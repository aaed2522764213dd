/* SPDX-License-Identifier: MIT
 * Activations of an MLP with AVX2: the formulas of kernels/gelu.h. */
#include "kernels/gelu.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/exp_avx2.h"

NIB_INLINE __m256 silu_8(__m256 x)
{
    __m256 below = _mm256_xor_ps(x, _mm256_set1_ps(-0.0f));
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), exp_256(below)));
}

NIB_INLINE __m256 gelu_8(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f), sign = _mm256_set1_ps(-0.0f);
    __m256 z = _mm256_mul_ps(_mm256_andnot_ps(sign, x), _mm256_set1_ps(NIB__GELU_SQRT_HALF));
    __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(_mm256_set1_ps(NIB__GELU_P), z, one));
    __m256 p = _mm256_set1_ps(NIB__GELU_A5);
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(NIB__GELU_A4));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(NIB__GELU_A3));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(NIB__GELU_A2));
    p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(NIB__GELU_A1));
    __m256 e = exp_256(_mm256_xor_ps(_mm256_mul_ps(z, z), sign));
    __m256 half = _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(0.5f), _mm256_mul_ps(p, t)), e);
    /* blendv looks at the sign bit: half for negative x */
    return _mm256_mul_ps(x, _mm256_blendv_ps(_mm256_sub_ps(one, half), half, x));
}

NIB_INLINE __m256 gelu_tanh_8(__m256 x)
{
    __m256 cube = _mm256_mul_ps(_mm256_mul_ps(x, x), x);
    __m256 u = _mm256_fmadd_ps(_mm256_set1_ps(NIB__GELU_CUBE), cube, x);
    __m256 e = exp_256(_mm256_mul_ps(_mm256_set1_ps(NIB__GELU_MINUS_2C), u));
    return _mm256_div_ps(x, _mm256_add_ps(_mm256_set1_ps(1.0f), e));
}

NIB_INLINE __m256 relu_8(__m256 x)
{
    return _mm256_max_ps(_mm256_setzero_ps(), x); /* the second operand where it is NaN */
}

NIB_INLINE void apply(nib__act act, const float *x, const float *up, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = load_first(x + i, n - i);
        __m256 y = act == NIB__ACT_SILU        ? silu_8(v)
                   : act == NIB__ACT_GELU      ? gelu_8(v)
                   : act == NIB__ACT_GELU_TANH ? gelu_tanh_8(v)
                                               : relu_8(v);
        if (up != NULL) y = _mm256_mul_ps(y, load_first(up + i, n - i));
        store_first(out + i, y, n - i);
    }
}

#include "kernels/activate.h"

void nib__activate_init_avx2(nib__kernels *table)
{
    set_activations(table);
}
