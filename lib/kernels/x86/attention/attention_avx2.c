/* SPDX-License-Identifier: MIT
 * Attention with AVX2: the vectors and the micro-kernel of attention_tile.h, up to 6 queries by 16
 * lanes. */
#include "kernels/x86/exp_avx2.h"
#include "kernels/x86/vectors_256.h"

enum { ROWS = 6 }; /* queries per micro-kernel */
typedef __m256 lanes;

NIB_INLINE floats v_exp(floats x)
{
    return exp_256(x);
}

NIB_INLINE floats v_where(lanes mask, floats v)
{
    return _mm256_and_ps(mask, v);
}

NIB_INLINE floats v_choose(lanes mask, floats yes, floats no)
{
    return _mm256_blendv_ps(no, yes, mask);
}

NIB_INLINE float v_first(floats v)
{
    return _mm256_cvtss_f32(v);
}

NIB_INLINE float v_largest(floats v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

NIB_INLINE float v_total(floats v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* Lanes of keys key, key + 1, ... that lie in [low, high). */
NIB_INLINE lanes visible(uint32_t key, uint32_t low, uint32_t high)
{
    const __m256i number = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32((int32_t)key), number);
    __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)low), at);
    __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)high), at);
    return _mm256_castsi256_ps(_mm256_andnot_si256(below, inside));
}

NIB_INLINE floats load_cached(uint32_t type, const void *base, size_t i)
{
    if (type == NIB__KV_F32) return _mm256_loadu_ps((const float *)base + i);
    if (type == NIB_KV_Q8) return load_i8((const int8_t *)base + i);
    return load_f16((const uint16_t *)base + i);
}

/* c[rows][ldc], 16 lanes = c * factor + sum over n of a[rows][lda] x b[n][ldb]; factor NULL: 0. */
NIB_INLINE void micro(int rows, uint32_t n, const float *a, size_t lda, const float *b, size_t ldb,
                      const float *factor, float *c, size_t ldc)
{
    __m256 acc[ROWS][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        acc[r][0] = acc[r][1] = _mm256_setzero_ps();
        if (factor == NULL) continue;
        const __m256 f = _mm256_broadcast_ss(factor + r);
        acc[r][0] = _mm256_mul_ps(f, _mm256_loadu_ps(c + (size_t)r * ldc));
        acc[r][1] = _mm256_mul_ps(f, _mm256_loadu_ps(c + (size_t)r * ldc + 8));
    }
    for (uint32_t i = 0; i < n; i++) {
        const __m256 b0 = _mm256_loadu_ps(b + i * ldb), b1 = _mm256_loadu_ps(b + i * ldb + 8);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256 x = _mm256_broadcast_ss(a + (size_t)r * lda + i);
            acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
            acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(c + (size_t)r * ldc, acc[r][0]);
        _mm256_storeu_ps(c + (size_t)r * ldc + 8, acc[r][1]);
    }
}

static void micro_rows(uint32_t rows, uint32_t n, const float *a, size_t lda, const float *b,
                       size_t ldb, const float *factor, float *c, size_t ldc)
{
    switch (rows) {
    case 6: micro(6, n, a, lda, b, ldb, factor, c, ldc); break;
    case 3: micro(3, n, a, lda, b, ldb, factor, c, ldc); break;
    case 2: micro(2, n, a, lda, b, ldb, factor, c, ldc); break;
    default: micro(1, n, a, lda, b, ldb, factor, c, ldc); break;
    }
}

static uint32_t next_rows(uint32_t left)
{
    return left >= 6 ? 6 : left >= 3 ? 3 : left;
}

#include "kernels/attention_tile.h"

size_t nib__attention_scratch_avx2(uint32_t dim)
{
    return tile_bytes(dim);
}

void nib__attention_avx2(const nib__attention *a)
{
    attend(a);
}
