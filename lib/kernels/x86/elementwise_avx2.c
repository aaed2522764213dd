/* SPDX-License-Identifier: MIT
 * Operations on single rows with AVX2. Tails are loaded and stored under a mask. */
#include <math.h>

#include "base/half.h"
#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"

NIB_INLINE float sum_8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* Sum of squares in 16 partial sums, which keeps the rounding error of long rows small. */
static float sum_of_squares(const float *x, uint32_t n)
{
    __m256 a = _mm256_setzero_ps(), b = a;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256 v = _mm256_loadu_ps(x + i), w = _mm256_loadu_ps(x + i + 8);
        a = _mm256_fmadd_ps(v, v, a);
        b = _mm256_fmadd_ps(w, w, b);
    }
    for (; i < n; i += 8) {
        __m256 v = load_first(x + i, n - i);
        a = _mm256_fmadd_ps(v, v, a);
    }
    return sum_8(_mm256_add_ps(a, b));
}

void nib__rmsnorm_avx2(const float *x, const float *w, uint32_t n, float eps, float *out)
{
    float factor = 1.0f / sqrtf(sum_of_squares(x, n) / (float)n + eps);
    const __m256 scale = _mm256_set1_ps(factor);
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(load_first(x + i, n - i), scale);
        store_first(out + i, _mm256_mul_ps(v, load_first(w + i, n - i)), n - i);
    }
}

void nib__layernorm_avx2(const float *x, const float *w, const float *b, uint32_t n, float eps,
                         float *out)
{
    const __m256 lane = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    __m256 sum = _mm256_setzero_ps(), squares = sum;
    for (uint32_t i = 0; i < n; i += 8) sum = _mm256_add_ps(sum, load_first(x + i, n - i));
    const __m256 mean = _mm256_set1_ps(sum_8(sum) / (float)n);
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 d = _mm256_sub_ps(load_first(x + i, n - i), mean);
        if (n - i < 8) { /* lanes behind the end must not count as -mean */
            __m256 end = _mm256_set1_ps((float)(n - i));
            d = _mm256_and_ps(d, _mm256_cmp_ps(lane, end, _CMP_LT_OQ));
        }
        squares = _mm256_fmadd_ps(d, d, squares);
    }
    const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(sum_8(squares) / (float)n + eps));
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 v = _mm256_mul_ps(_mm256_sub_ps(load_first(x + i, n - i), mean), scale);
        v = _mm256_mul_ps(v, load_first(w + i, n - i));
        if (b != NULL) v = _mm256_add_ps(v, load_first(b + i, n - i));
        store_first(out + i, v, n - i);
    }
}

void nib__add_avx2(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i += 8) {
        __m256 sum = _mm256_add_ps(load_first(x + i, n - i), load_first(y + i, n - i));
        store_first(y + i, sum, n - i);
    }
}

/* Pairs (i, i + half), eight at a time; returns how many pairs are done. */
static uint32_t rope_halves(float *head, const float *cos_sin, uint32_t half)
{
    uint32_t i = 0;
    for (; i + 8 <= half; i += 8) {
        /* c0 s0 c1 s1 | c2 s2 c3 s3 and the next four: shuffled apart, then lanes put in order. */
        __m256 low = _mm256_loadu_ps(cos_sin + 2 * i), high = _mm256_loadu_ps(cos_sin + 2 * i + 8);
        __m256 c = _mm256_shuffle_ps(low, high, 0x88), s = _mm256_shuffle_ps(low, high, 0xdd);
        c = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(c), 0xd8));
        s = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), 0xd8));
        __m256 x = _mm256_loadu_ps(head + i), y = _mm256_loadu_ps(head + half + i);
        _mm256_storeu_ps(head + i, _mm256_fmsub_ps(x, c, _mm256_mul_ps(y, s)));
        _mm256_storeu_ps(head + half + i, _mm256_fmadd_ps(x, s, _mm256_mul_ps(y, c)));
    }
    return i;
}

/* Pairs (2i, 2i + 1), four at a time; returns how many pairs are done. */
static uint32_t rope_pairs(float *head, const float *cos_sin, uint32_t half)
{
    uint32_t i = 0;
    for (; i + 4 <= half; i += 4) {
        __m256 cs = _mm256_loadu_ps(cos_sin + 2 * i), v = _mm256_loadu_ps(head + 2 * i);
        __m256 c = _mm256_moveldup_ps(cs), s = _mm256_movehdup_ps(cs);
        __m256 swapped = _mm256_permute_ps(v, 0xb1);
        __m256 r = _mm256_fmaddsub_ps(v, c, _mm256_mul_ps(swapped, s));
        _mm256_storeu_ps(head + 2 * i, r);
    }
    return i;
}

void nib__rope_avx2(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved)
{
    uint32_t half = n_rot / 2;
    uint32_t i = interleaved ? rope_pairs(head, cos_sin, half) : rope_halves(head, cos_sin, half);
    for (; i < half; i++) {
        float *a = head + (interleaved ? 2 * i : i), *b = interleaved ? a + 1 : a + half;
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], x = *a, y = *b;
        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}

/* Values lie in a row and take vectors; keys are scattered 16 elements apart and stay scalar. */
static void store_f16(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v)
{
    uint32_t dim = kv->dim;
    uint16_t *keys = (uint16_t *)kv->k + (size_t)(pos / 16) * 16 * dim + pos % 16;
    uint16_t *values = (uint16_t *)kv->v + (size_t)pos * dim;
    for (uint32_t i = 0; i < dim; i += 8) {
        uint32_t count = dim - i < 8 ? dim - i : 8;
        uint16_t key[8], value[8];
        _mm_storeu_si128((__m128i *)(void *)key, _mm256_cvtps_ph(load_first(k + i, count), 0));
        _mm_storeu_si128((__m128i *)(void *)value, _mm256_cvtps_ph(load_first(v + i, count), 0));
        for (uint32_t j = 0; j < count; j++) keys[(size_t)(i + j) * 16] = key[j];
        memcpy(values + i, value, count * sizeof *value);
    }
}

void nib__kv_store_avx2(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v)
{
    if (kv->type == NIB_KV_F16)
        store_f16(kv, pos, k, v);
    else
        nib__kv_store_ref(kv, pos, k, v);
}

/* Two passes: the largest number, then the first place that holds it. */
uint32_t nib__argmax_avx2(const float *x, uint32_t n)
{
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    __m256 a = lowest, b = lowest;
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) { /* max(value, top) keeps top where value is NaN */
        a = _mm256_max_ps(_mm256_loadu_ps(x + i), a);
        b = _mm256_max_ps(_mm256_loadu_ps(x + i + 8), b);
    }
    float lanes[8], top = -INFINITY;
    _mm256_storeu_ps(lanes, _mm256_max_ps(a, b));
    for (int j = 0; j < 8; j++) top = lanes[j] > top ? lanes[j] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    const __m256 wanted = _mm256_set1_ps(top);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 equal = _mm256_cmp_ps(_mm256_loadu_ps(x + i), wanted, _CMP_EQ_OQ);
        int mask = _mm256_movemask_ps(equal);
        if (mask != 0) return i + (uint32_t)__builtin_ctz((unsigned)mask);
    }
    for (; i < n; i++) {
        if (x[i] == top) return i;
    }
    return 0; /* all NaN */
}
