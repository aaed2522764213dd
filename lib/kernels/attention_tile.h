/* SPDX-License-Identifier: MIT
 * Attention in float32 with vectors of 4 or 8: the online softmax of attention_ref.c over blocks of
 * 64 keys, for tiles of queries (position, head) that share one KV head. A block of keys and values
 * is expanded to float32 once per tile; then a micro-kernel of a few queries by 16 lanes makes
 * scores (lanes are keys) and weighted sums of values (lanes are dimensions). Every query's
 * operations and their order depend on its own position only, so its result does not depend on the
 * company it is in. A level's file defines the vectors, then includes this. */
#ifndef NIB_KERNELS_ATTENTION_TILE_H
#define NIB_KERNELS_ATTENTION_TILE_H

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/simd.h"
#include "kernels/visible.h"

/* Of the including file: LANES; types floats and lanes (all or no bits of each lane); functions
 * v_*, load_cached, store_first, micro_rows, next_rows. */
enum {
    KEYS = 64, /* keys per block */
    TILE = 24  /* queries per tile */
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

static size_t tile_bytes(uint32_t dim)
{
    size_t width = nib__align_up(dim, 16);
    return sizeof(float) * (TILE * (2 * width + KEYS) + 2 * KEYS * width);
}

/* Keys and values [key0, key0 + n_keys) to float32; keys in whole sub-blocks of 16. */
NIB_INLINE void expand(uint32_t type, const tile *t, uint32_t key0, uint32_t n_keys)
{
    const nib__kv_head *kv = &t->a->kv;
    size_t n = (size_t)(n_keys + 15) / 16 * 16 * t->dim;
    for (size_t i = 0; i < n; i += LANES) {
        v_store(t->k + i, load_cached(type, kv->k, (size_t)key0 * t->dim + i));
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        size_t from = ((size_t)key0 + key) * t->dim;
        float *to = t->v + (size_t)key * t->width;
        uint32_t d = 0;
        for (; d + LANES <= t->dim; d += LANES) {
            v_store(to + d, load_cached(type, kv->v, from + d));
        }
        for (; d < t->dim; d++) { /* head sizes that are no multiple of LANES */
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

/* Scores of query r with the block at key0 become weights; keys it does not see get weight 0. */
static void softmax_row(tile *t, uint32_t r, uint32_t key0)
{
    const nib__attention *a = t->a;
    uint32_t pos = position_of(t, r), low = nib__first_key(a, pos), high = nib__end_key(a, pos);
    float *weight = t->weight + (size_t)r * KEYS;
    const bool scaled = a->kv.type == NIB_KV_Q8;
    t->shrink[r] = 1.0f;
    if (high <= key0 || low >= key0 + KEYS) { /* nothing to see in this block */
        memset(weight, 0, KEYS * sizeof *weight);
        return;
    }
    const floats none = v_set(-INFINITY);
    floats top = none;
    float bias[KEYS];
    if (a->bias != NULL) nib__key_biases(a, (t->first + r) % a->n_group, pos, key0, KEYS, bias);
    for (uint32_t i = 0; i < KEYS; i += LANES) {
        floats s = v_load(weight + i);
        if (scaled && key0 + i < high) s = v_mul(s, v_load(a->kv.k_scale + key0 + i));
        if (a->bias != NULL) s = v_add(s, v_load(bias + i));
        s = v_choose(visible(key0 + i, low, high), s, none);
        v_store(weight + i, s);
        top = v_max(top, s);
    }
    float old = t->top[r], max = v_largest(top);
    if (old > max) max = old;
    floats sum = v_set(0.0f);
    for (uint32_t i = 0; i < KEYS; i += LANES) {
        lanes seen = visible(key0 + i, low, high);
        floats p = v_where(seen, v_exp(v_sub(v_load(weight + i), v_set(max))));
        sum = v_add(sum, p);
        if (scaled && key0 + i < high)
            p = v_mul(p, v_where(seen, v_load(a->kv.v_scale + key0 + i)));
        v_store(weight + i, p);
    }
    t->shrink[r] = v_first(v_exp(v_set(old - max)));
    t->top[r] = max;
    t->sum[r] = t->sum[r] * t->shrink[r] + v_total(sum);
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
        const floats factor = v_set(1.0f / t->sum[r]);
        for (uint32_t d = 0; d < t->dim; d += LANES) {
            floats v = v_load(t->acc + (size_t)r * t->width + d);
            store_first(out + d, v_mul(v, factor), t->dim - d);
        }
    }
}

static void attend(const nib__attention *a)
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

#endif
