/* SPDX-License-Identifier: MIT
 * Attention with NEON: the online softmax of attention_ref.c over blocks of 64 keys, for tiles of
 * queries (position, head) that share one KV head. A block of keys and values is expanded to
 * float32 once per tile; then a micro-kernel of up to 4 queries by 16 lanes makes scores (lanes are
 * keys) and weighted sums of values (lanes are dimensions). Every query's operations and their
 * order depend on its own position only, so its result does not depend on the company it is in. */
#include <math.h>

#include "base/half.h"
#include "kernels/arm/exp_neon.h"
#include "kernels/arm/neon.h"
#include "kernels/visible.h"

enum {
    KEYS = 64, /* keys per block */
    TILE = 24, /* queries per tile */
    ROWS = 4   /* queries per micro-kernel */
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

size_t nib__attention_scratch_neon(uint32_t dim)
{
    size_t width = nib__align_up(dim, 16);
    return sizeof(float) * (TILE * (2 * width + KEYS) + 2 * KEYS * width);
}

NIB_INLINE float32x4_t load_cached(uint32_t type, const void *base, size_t i)
{
    if (type == NIB__KV_F32) return vld1q_f32((const float *)base + i);
    if (type == NIB_KV_Q8) return load_i8((const int8_t *)base + i);
    return load_f16((const uint16_t *)base + i);
}

/* c[rows][ldc], 16 lanes = c * factor + sum over n of a[rows][lda] x b[n][ldb]; factor NULL: 0. */
NIB_INLINE void micro(int rows, uint32_t n, const float *a, size_t lda, const float *b, size_t ldb,
                      const float *factor, float *c, size_t ldc)
{
    float32x4_t acc[ROWS][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            acc[r][h] = vdupq_n_f32(0.0f);
            if (factor == NULL) continue;
            acc[r][h] = vmulq_n_f32(vld1q_f32(c + (size_t)r * ldc + 4 * h), factor[r]);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const float32x4_t lanes = vld1q_f32(b + i * ldb + 4 * h);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                acc[r][h] = vfmaq_n_f32(acc[r][h], lanes, a[(size_t)r * lda + i]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) vst1q_f32(c + (size_t)r * ldc + 4 * h, acc[r][h]);
    }
}

static void micro_rows(uint32_t rows, uint32_t n, const float *a, size_t lda, const float *b,
                       size_t ldb, const float *factor, float *c, size_t ldc)
{
    switch (rows) {
    case 4: micro(4, n, a, lda, b, ldb, factor, c, ldc); break;
    case 3: micro(3, n, a, lda, b, ldb, factor, c, ldc); break;
    case 2: micro(2, n, a, lda, b, ldb, factor, c, ldc); break;
    default: micro(1, n, a, lda, b, ldb, factor, c, ldc); break;
    }
}

static uint32_t next_rows(uint32_t left)
{
    return left >= 4 ? 4 : left;
}

/* Keys and values [key0, key0 + n_keys) to float32; keys in whole sub-blocks of 16. */
NIB_INLINE void expand(uint32_t type, const tile *t, uint32_t key0, uint32_t n_keys)
{
    const nib__kv_head *kv = &t->a->kv;
    size_t n = (size_t)(n_keys + 15) / 16 * 16 * t->dim;
    for (size_t i = 0; i < n; i += 4) {
        vst1q_f32(t->k + i, load_cached(type, kv->k, (size_t)key0 * t->dim + i));
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        size_t from = ((size_t)key0 + key) * t->dim;
        float *to = t->v + (size_t)key * t->width;
        uint32_t d = 0;
        for (; d + 4 <= t->dim; d += 4) {
            vst1q_f32(to + d, load_cached(type, kv->v, from + d));
        }
        for (; d < t->dim; d++) { /* head sizes that are no multiple of 4 */
            if (type == NIB__KV_F32)
                to[d] = ((const float *)kv->v)[from + d];
            else if (type == NIB_KV_Q8)
                to[d] = (float)((const int8_t *)kv->v)[from + d];
            else
                to[d] = nib__f32_of_f16(((const uint16_t *)kv->v)[from + d]);
        }
    }
}

static uint32_t position_of(const tile *t, uint32_t r)
{
    return t->a->pos0 + (t->first + r) / t->a->n_group;
}

/* Lanes of keys key, key + 1, ... that lie in [low, high). */
NIB_INLINE uint32x4_t visible(uint32_t key, uint32_t low, uint32_t high)
{
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    uint32x4_t at = vaddq_u32(vdupq_n_u32(key), vld1q_u32(lanes));
    return vandq_u32(vcgeq_u32(at, vdupq_n_u32(low)), vcltq_u32(at, vdupq_n_u32(high)));
}

NIB_INLINE float32x4_t where(uint32x4_t mask, float32x4_t v)
{
    return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(v)));
}

/* Scores of query r with the block at key0 become weights; keys it does not see get weight 0. */
static void softmax_row(tile *t, uint32_t r, uint32_t key0)
{
    const nib__attention *a = t->a;
    uint32_t pos = position_of(t, r), low = nib__first_key(a, pos), high = nib__end_key(a, pos);
    float *weight = t->weight + (size_t)r * KEYS;
    t->shrink[r] = 1.0f;
    if (high <= key0 || low >= key0 + KEYS) { /* nothing to see in this block */
        memset(weight, 0, KEYS * sizeof *weight);
        return;
    }
    float32x4_t top = vdupq_n_f32(-INFINITY);
    float bias[KEYS];
    if (a->bias != NULL) nib__key_biases(a, (t->first + r) % a->n_group, pos, key0, KEYS, bias);
    for (uint32_t i = 0; i < KEYS; i += 4) {
        uint32x4_t mask = visible(key0 + i, low, high);
        float32x4_t s = vld1q_f32(weight + i);
        if (a->kv.type == NIB_KV_Q8 && key0 + i < high) {
            s = vmulq_f32(s, vld1q_f32(a->kv.k_scale + key0 + i));
        }
        if (a->bias != NULL) s = vaddq_f32(s, vld1q_f32(bias + i));
        s = vbslq_f32(mask, s, vdupq_n_f32(-INFINITY));
        vst1q_f32(weight + i, s);
        top = vmaxq_f32(top, s);
    }
    float old = t->top[r], max = vmaxvq_f32(top);
    if (old > max) max = old;
    float32x4_t sum = vdupq_n_f32(0.0f);
    for (uint32_t i = 0; i < KEYS; i += 4) {
        uint32x4_t mask = visible(key0 + i, low, high);
        float32x4_t p = exp_128(vsubq_f32(vld1q_f32(weight + i), vdupq_n_f32(max)));
        p = where(mask, p);
        sum = vaddq_f32(sum, p);
        if (a->kv.type == NIB_KV_Q8 && key0 + i < high) {
            p = vmulq_f32(p, where(mask, vld1q_f32(a->kv.v_scale + key0 + i)));
        }
        vst1q_f32(weight + i, p);
    }
    t->shrink[r] = vgetq_lane_f32(exp_128(vdupq_n_f32(old - max)), 0);
    t->top[r] = max;
    t->sum[r] = t->sum[r] * t->shrink[r] + vaddvq_f32(sum);
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
        for (uint32_t d = 0; d < t->dim; d += 4) {
            float32x4_t v = vld1q_f32(t->acc + (size_t)r * t->width + d);
            store_first(out + d, vmulq_n_f32(v, 1.0f / t->sum[r]), t->dim - d);
        }
    }
}

void nib__attention_neon(const nib__attention *a)
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
