/* SPDX-License-Identifier: MIT
 * Attention with AVX2: the online softmax of attention_ref.c over blocks of 64 keys, for tiles of
 * queries (position, head) that share one KV head. A block of keys and values is expanded to
 * float32 once per tile; then a micro-kernel of up to 6 queries by 16 lanes makes scores (lanes are
 * keys) and weighted sums of values (lanes are dimensions). Every query's operations and their
 * order depend on its own position only, so its result does not depend on the company it is in. */
#include <math.h>

#include "kernels/visible.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/exp_avx2.h"

enum {
    KEYS = 64, /* keys per block */
    TILE = 24, /* queries per tile */
    ROWS = 6   /* queries per micro-kernel */
};

typedef struct tile {
    const nib__attention *a;
    uint32_t dim, width;   /* head size, and rounded up to 16 */
    uint32_t first, count; /* queries, numbered position-major */
    float *q;              /* [TILE][dim], times the scale */
    float *acc;            /* [TILE][width] */
    float *weight;         /* [TILE][KEYS] scores, then weights */
    float *k;              /* [KEYS / 16][dim][16] */
    float *v;              /* [KEYS][width] */
    float top[TILE], sum[TILE], shrink[TILE];
} tile;

size_t nib__attention_scratch_avx2(uint32_t dim)
{
    size_t width = nib__align_up(dim, 16);
    return sizeof(float) * (TILE * (2 * width + KEYS) + 2 * KEYS * width);
}

NIB_INLINE __m256 load_cached(uint32_t type, const void *base, size_t i)
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

/* Keys and values [key0, key0 + n_keys) to float32; keys in whole sub-blocks of 16. */
NIB_INLINE void expand(uint32_t type, const tile *t, uint32_t key0, uint32_t n_keys)
{
    const nib__kv_head *kv = &t->a->kv;
    size_t n = (size_t)(n_keys + 15) / 16 * 16 * t->dim;
    for (size_t i = 0; i < n; i += 8) {
        _mm256_storeu_ps(t->k + i, load_cached(type, kv->k, (size_t)key0 * t->dim + i));
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        size_t from = ((size_t)key0 + key) * t->dim;
        float *to = t->v + (size_t)key * t->width;
        uint32_t d = 0;
        for (; d + 8 <= t->dim; d += 8) {
            _mm256_storeu_ps(to + d, load_cached(type, kv->v, from + d));
        }
        for (; d < t->dim; d++) { /* head sizes that are no multiple of 8 */
            if (type == NIB__KV_F32)
                to[d] = ((const float *)kv->v)[from + d];
            else if (type == NIB_KV_Q8)
                to[d] = (float)((const int8_t *)kv->v)[from + d];
            else
                to[d] = _cvtsh_ss(((const uint16_t *)kv->v)[from + d]);
        }
    }
}

static uint32_t position_of(const tile *t, uint32_t r)
{
    return t->a->pos0 + (t->first + r) / t->a->n_group;
}

NIB_INLINE float max_8(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_movehdup_ps(m));
    return _mm_cvtss_f32(m);
}

NIB_INLINE float sum_8(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_movehdup_ps(s));
    return _mm_cvtss_f32(s);
}

/* Lanes of keys key, key + 1, ... that lie in [low, high). */
NIB_INLINE __m256 visible(uint32_t key, uint32_t low, uint32_t high)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    __m256i at = _mm256_add_epi32(_mm256_set1_epi32((int32_t)key), lane);
    __m256i below = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)low), at);
    __m256i inside = _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)high), at);
    return _mm256_castsi256_ps(_mm256_andnot_si256(below, inside));
}

/* Scores of query r with the block at key0 become weights; keys it does not see get weight 0. */
static void softmax_row(tile *t, uint32_t r, uint32_t key0)
{
    const nib__attention *a = t->a;
    uint32_t pos = position_of(t, r), low = nib__first_key(a, pos), high = nib__end_key(a, pos);
    float *weight = t->weight + (size_t)r * KEYS;
    const __m256 none = _mm256_set1_ps(-INFINITY);
    t->shrink[r] = 1.0f;
    if (high <= key0 || low >= key0 + KEYS) { /* nothing to see in this block */
        for (uint32_t i = 0; i < KEYS; i += 8) {
            _mm256_storeu_ps(weight + i, _mm256_setzero_ps());
        }
        return;
    }
    __m256 top = none;
    float bias[KEYS];
    if (a->bias != NULL) nib__key_biases(a, (t->first + r) % a->n_group, pos, key0, KEYS, bias);
    for (uint32_t i = 0; i < KEYS; i += 8) {
        __m256 mask = visible(key0 + i, low, high), s = _mm256_loadu_ps(weight + i);
        if (a->kv.type == NIB_KV_Q8 && key0 + i < high) {
            s = _mm256_mul_ps(s, _mm256_loadu_ps(a->kv.k_scale + key0 + i));
        }
        if (a->bias != NULL) s = _mm256_add_ps(s, _mm256_loadu_ps(bias + i));
        s = _mm256_blendv_ps(none, s, mask);
        _mm256_storeu_ps(weight + i, s);
        top = _mm256_max_ps(top, s);
    }
    float old = t->top[r], max = max_8(top);
    if (old > max) max = old;
    const __m256 max8 = _mm256_set1_ps(max);
    __m256 sum = _mm256_setzero_ps();
    for (uint32_t i = 0; i < KEYS; i += 8) {
        __m256 mask = visible(key0 + i, low, high);
        __m256 p = exp_256(_mm256_sub_ps(_mm256_loadu_ps(weight + i), max8));
        p = _mm256_and_ps(p, mask);
        sum = _mm256_add_ps(sum, p);
        if (a->kv.type == NIB_KV_Q8 && key0 + i < high) {
            __m256 scale = _mm256_and_ps(_mm256_loadu_ps(a->kv.v_scale + key0 + i), mask);
            p = _mm256_mul_ps(p, scale);
        }
        _mm256_storeu_ps(weight + i, p);
    }
    t->shrink[r] = _mm256_cvtss_f32(exp_256(_mm256_set1_ps(old - max)));
    t->top[r] = max;
    t->sum[r] = t->sum[r] * t->shrink[r] + sum_8(sum);
}

static void attend_block(tile *t, uint32_t key0, uint32_t n_keys)
{
    if (t->a->kv.type == NIB_KV_Q8)
        expand(NIB_KV_Q8, t, key0, n_keys);
    else if (t->a->kv.type == NIB__KV_F32)
        expand(NIB__KV_F32, t, key0, n_keys);
    else
        expand(NIB_KV_F16, t, key0, n_keys);
    for (uint32_t r = 0, rows; r < t->count; r += rows) {
        rows = next_rows(t->count - r);
        for (uint32_t sub = 0; sub < n_keys; sub += 16) {
            micro_rows(rows, t->dim, t->q + (size_t)r * t->dim, t->dim, t->k + (size_t)sub * t->dim,
                       16, NULL, t->weight + (size_t)r * KEYS + sub, KEYS);
        }
    }
    for (uint32_t r = 0; r < t->count; r++) softmax_row(t, r, key0);
    for (uint32_t r = 0, rows; r < t->count; r += rows) {
        rows = next_rows(t->count - r);
        for (uint32_t d = 0; d < t->width; d += 16) {
            micro_rows(rows, n_keys, t->weight + (size_t)r * KEYS, KEYS, t->v + d, t->width,
                       t->shrink + r, t->acc + (size_t)r * t->width + d, t->width);
        }
    }
}

static void start_tile(tile *t)
{
    const nib__attention *a = t->a;
    for (uint32_t r = 0; r < t->count; r++) {
        uint32_t i = t->first + r;
        const float *q = a->q + i / a->n_group * a->q_stride + (size_t)(i % a->n_group) * t->dim;
        for (uint32_t d = 0; d < t->dim; d++) t->q[(size_t)r * t->dim + d] = q[d] * a->scale;
        memset(t->acc + (size_t)r * t->width, 0, t->width * sizeof(float));
        t->top[r] = -INFINITY;
        t->sum[r] = 0.0f;
    }
    /* Lanes of values past the head size and keys past the last are read, never used. */
    memset(t->weight, 0, TILE * KEYS * sizeof(float));
    if (t->width != t->dim) memset(t->v, 0, (size_t)KEYS * t->width * sizeof(float));
}

static void finish_tile(const tile *t)
{
    const nib__attention *a = t->a;
    for (uint32_t r = 0; r < t->count; r++) {
        uint32_t i = t->first + r;
        float *out = a->out + i / a->n_group * a->out_stride + (size_t)(i % a->n_group) * t->dim;
        const __m256 factor = _mm256_set1_ps(1.0f / t->sum[r]);
        for (uint32_t d = 0; d < t->dim; d += 8) {
            __m256 v = _mm256_loadu_ps(t->acc + (size_t)r * t->width + d);
            store_first(out + d, _mm256_mul_ps(v, factor), t->dim - d);
        }
    }
}

void nib__attention_avx2(const nib__attention *a)
{
    uint32_t dim = a->kv.dim, width = (dim + 15) & ~15u, n = a->n_rows * a->n_group;
    tile t = {.a = a, .dim = dim, .width = width};
    t.k = a->scratch;
    t.v = t.k + (size_t)KEYS * width;
    t.weight = t.v + (size_t)KEYS * width;
    t.q = t.weight + TILE * KEYS;
    t.acc = t.q + (size_t)TILE * width;
    for (t.first = 0; t.first < n; t.first += TILE) {
        t.count = n - t.first < TILE ? n - t.first : TILE;
        uint32_t end = nib__end_key(a, position_of(&t, t.count - 1));
        start_tile(&t);
        uint32_t key0 = nib__first_key(a, position_of(&t, 0)) / KEYS * KEYS;
        for (; key0 < end; key0 += KEYS) {
            attend_block(&t, key0, end - key0 < KEYS ? end - key0 : KEYS);
        }
        finish_tile(&t);
    }
}
