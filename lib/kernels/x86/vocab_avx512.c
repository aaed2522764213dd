/* SPDX-License-Identifier: MIT
 * Passes over the logits of a whole vocabulary with AVX-512; the bits of vocab_ref.c. */
#include <math.h>

#include "kernels/ref/ref.h"
#include "kernels/x86/exp_avx512.h"

enum { LANES = 16, RUN = 64 };

/* e^x for x <= 0; NaN counts as the smallest x. */
NIB_INLINE __m512 exp_below_0(__m512 x)
{
    return exp_in_range_512(_mm512_max_ps(x, _mm512_set1_ps(NIB__EXP_MIN)));
}

double nib__sum_exp_avx512(const float *x, uint32_t n, float max, float scale)
{
    const __m512 m = _mm512_set1_ps(max), s = _mm512_set1_ps(scale);
    __m512d low = _mm512_setzero_pd(), high = low;
    for (uint32_t from = 0; from < n;) {
        uint32_t end = n - from < LANES * RUN ? n : from + LANES * RUN;
        __m512 sum = _mm512_setzero_ps();
        for (; end - from >= LANES; from += LANES) {
            __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + from), m), s);
            sum = _mm512_add_ps(sum, exp_below_0(v));
        }
        if (from < end) {
            __mmask16 real = nib__lanes(end - from);
            __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(real, x + from), m);
            sum = _mm512_mask_add_ps(sum, real, sum, exp_below_0(_mm512_mul_ps(v, s)));
            from = end;
        }
        low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm512_castps512_ps256(sum)));
        high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(sum, 1)));
    }
    double lanes[LANES];
    _mm512_storeu_pd(lanes, low);
    _mm512_storeu_pd(lanes + 8, high);
    return nib__reduce_lanes(lanes);
}

uint32_t nib__filter_above_avx512(const float *x, uint32_t n, float above, int32_t *ids)
{
    const __m512 limit = _mm512_set1_ps(above);
    uint32_t found = 0, i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t mask = 0;
        NIB_UNROLL
        for (int j = 0; j < 4; j++) {
            __m512 v = _mm512_loadu_ps(x + i + 16 * j);
            mask |= (uint64_t)_mm512_cmp_ps_mask(v, limit, _CMP_GT_OQ) << 16 * j;
        }
        for (; mask != 0; mask &= mask - 1) ids[found++] = (int32_t)i + __builtin_ctzll(mask);
    }
    for (; i < n; i++) {
        if (x[i] > above) ids[found++] = (int32_t)i;
    }
    return found;
}

void nib__run_maxima_avx512(const float *x, uint32_t n, float *out)
{
    for (uint32_t from = 0; from < n; from += NIB__MAXIMA_RUN) {
        uint32_t end = n - from < NIB__MAXIMA_RUN ? n : from + NIB__MAXIMA_RUN;
        const __m512 none = _mm512_set1_ps(-INFINITY);
        __m512 top = none; /* max(value, top) keeps top where value is NaN */
        for (uint32_t i = from; i < end; i += 16) {
            top = _mm512_max_ps(_mm512_mask_loadu_ps(none, nib__lanes(end - i), x + i), top);
        }
        *out++ = _mm512_reduce_max_ps(top);
    }
}
