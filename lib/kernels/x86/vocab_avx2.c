/* SPDX-License-Identifier: MIT
 * Passes over the logits of a whole vocabulary with AVX2; the bits of vocab_ref.c. */
#include <math.h>

#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/exp_avx2.h"

enum { LANES = 16, RUN = 64 };

/* Eight terms; lanes from `count` on are 0. NaN counts as the smallest exponent. */
NIB_INLINE __m256 term(const float *x, uint32_t count, __m256 max, __m256 scale)
{
    __m256 v = _mm256_mul_ps(_mm256_sub_ps(load_first(x, count), max), scale);
    v = exp_256(_mm256_max_ps(v, _mm256_set1_ps(NIB__EXP_MIN)));
    if (count >= 8) return v;
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i real = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lane);
    return _mm256_and_ps(v, _mm256_castsi256_ps(real));
}

double nib__sum_exp_avx2(const float *x, uint32_t n, float max, float scale)
{
    const __m256 m = _mm256_set1_ps(max), s = _mm256_set1_ps(scale);
    __m256d total[4];
    for (int j = 0; j < 4; j++) total[j] = _mm256_setzero_pd();
    for (uint32_t from = 0; from < n;) {
        uint32_t end = n - from < LANES * RUN ? n : from + LANES * RUN;
        __m256 a = _mm256_setzero_ps(), b = a;
        for (; end - from >= LANES; from += LANES) {
            a = _mm256_add_ps(a, term(x + from, 8, m, s));
            b = _mm256_add_ps(b, term(x + from + 8, 8, m, s));
        }
        if (from < end) {
            uint32_t left = end - from;
            a = _mm256_add_ps(a, term(x + from, left, m, s));
            if (left > 8) b = _mm256_add_ps(b, term(x + from + 8, left - 8, m, s));
            from = end;
        }
        total[0] = _mm256_add_pd(total[0], _mm256_cvtps_pd(_mm256_castps256_ps128(a)));
        total[1] = _mm256_add_pd(total[1], _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)));
        total[2] = _mm256_add_pd(total[2], _mm256_cvtps_pd(_mm256_castps256_ps128(b)));
        total[3] = _mm256_add_pd(total[3], _mm256_cvtps_pd(_mm256_extractf128_ps(b, 1)));
    }
    double lanes[LANES];
    for (int j = 0; j < 4; j++) _mm256_storeu_pd(lanes + 4 * j, total[j]);
    return nib__reduce_lanes(lanes);
}

uint32_t nib__filter_above_avx2(const float *x, uint32_t n, float above, int32_t *ids)
{
    const __m256 limit = _mm256_set1_ps(above);
    uint32_t found = 0, i = 0;
    for (; i + 32 <= n; i += 32) {
        uint32_t mask = 0;
        for (uint32_t j = 0; j < 4; j++) {
            __m256 over = _mm256_cmp_ps(_mm256_loadu_ps(x + i + 8 * j), limit, _CMP_GT_OQ);
            mask |= (uint32_t)_mm256_movemask_ps(over) << 8 * j;
        }
        for (; mask != 0; mask &= mask - 1) ids[found++] = (int32_t)i + __builtin_ctz(mask);
    }
    for (; i < n; i++) {
        if (x[i] > above) ids[found++] = (int32_t)i;
    }
    return found;
}

void nib__run_maxima_avx2(const float *x, uint32_t n, float *out)
{
    for (uint32_t from = 0; from < n; from += NIB__MAXIMA_RUN) {
        uint32_t end = n - from < NIB__MAXIMA_RUN ? n : from + NIB__MAXIMA_RUN, i = from;
        __m256 top = _mm256_set1_ps(-INFINITY); /* max(value, top) keeps top where value is NaN */
        for (; end - i >= 8; i += 8) top = _mm256_max_ps(_mm256_loadu_ps(x + i), top);
        __m128 m = _mm_max_ps(_mm256_castps256_ps128(top), _mm256_extractf128_ps(top, 1));
        m = _mm_max_ps(m, _mm_movehl_ps(m, m));
        m = _mm_max_ss(m, _mm_movehdup_ps(m));
        float best = _mm_cvtss_f32(m);
        for (; i < end; i++) best = x[i] > best ? x[i] : best;
        *out++ = best;
    }
}
