/* SPDX-License-Identifier: MIT
 * Attention of many rows with products of 16-bit integers, two of which cost what one of float32
 * does with AVX2 and half of it with VNNI. A level's file defines the vectors, then includes this.
 *
 * Lanes are queries. A tile of queries is compared with blocks of KEYS keys, aligned to position 0:
 *   scores    codes of queries times codes of keys; one scale per query and one per key
 *   weights   powers of 2 relative to the row's largest score in this block, times the value's
 *             scale, rounded to 15 bits
 *   values    those weights times codes of values; one scale per value, which is in the weight
 * and the block's sums are added in float32, with the online softmax over blocks. Every scale comes
 * from one query, one key or one value: no row's result depends on another. */
#ifndef NIB_KERNELS_X86_ATTENTION_INT16_H
#define NIB_KERNELS_X86_ATTENTION_INT16_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/simd.h"
#include "kernels/visible.h"

/* Of the including file: LANES; ROWS, rows of a register block; types ints and floats; functions
 * v_*. */
enum {
    VECS = 2, /* vectors of a tile */
    TILE = VECS * LANES,
    QUERIES = 384, /* most queries that share one rounding of a block of keys and values */
    KEYS = 128,
    /* Largest codes of values and weights: KEYS products fit 32 bits. A weight may be 1 % above. */
    V_MAX = 511,
    P_MAX = 32440,
    EXP_ONE = 127 << 23 /* float32 bits of 1; scores are counted in 2^-23 octaves */
};
static const float score_unit = 1.44269504f * 0x1p23f;

typedef struct job {
    const nib__attention *a;
    uint32_t dim, twos, width; /* head size; in twos; rounded up to 16 */
    float most;                /* largest code of queries and keys: dim products fit 32 bits */
    uint32_t first, count;     /* queries, numbered position-major */
    uint32_t key0, end;        /* the block at hand; after the last key */
    bool any_bad;
    const uint8_t *next_k, *next_v; /* of the next block, as the cache has them */
    size_t next_bytes, next_step; /* their size, and what is fetched per register block of scores */
    int16_t *q;                   /* [QUERIES / TILE][twos][TILE][2] */
    int16_t *k;                   /* [KEYS / 16][twos][16][2] */
    int16_t *v;                   /* [KEYS / 2][width][2] */
    float *o;                     /* [QUERIES / TILE][width][TILE] */
    float *s;                     /* [KEYS][TILE] scores */
    int16_t *p;                   /* [KEYS / 2][TILE][2] weights */
    float *q_scale, *top, *sum;   /* [QUERIES]; the largest score so far, the sum of weights */
    int32_t *low, *last;          /* [QUERIES] first and last key that the query sees */
    float k_scale[KEYS], v_scale[KEYS];
    float v_most[KEYS]; /* largest v_scale up to here */
    uint8_t bad[KEYS];  /* a key or value that is no number */
} job;

/* Of a job, with head size dim. */
static size_t job_bytes(uint32_t dim)
{
    size_t twos = (dim + 1) / 2, width = (dim + 15) / 16 * 16;
    return (QUERIES + KEYS) * twos * 4 + KEYS * width * 2 + QUERIES * width * sizeof(float) +
           KEYS * TILE * (sizeof(float) + 2) + 5 * QUERIES * sizeof(float);
}

static void carve(job *j, void *at, uint32_t dim)
{
    j->dim = dim;
    j->twos = (dim + 1) / 2;
    j->width = (dim + 15) / 16 * 16;
    j->most = floorf(sqrtf(0x1p31f / (2.0f * (float)j->twos)) * 0.9999f);
    if (j->most > 32767) j->most = 32767;
    j->q = at;
    j->k = j->q + (size_t)QUERIES * j->twos * 2;
    j->v = j->k + (size_t)KEYS * j->twos * 2;
    j->o = (float *)(void *)(j->v + (size_t)KEYS * j->width);
    j->s = j->o + (size_t)QUERIES * j->width;
    j->p = (int16_t *)(void *)(j->s + (size_t)KEYS * TILE);
    j->q_scale = (float *)(void *)(j->p + (size_t)KEYS * TILE);
    j->top = j->q_scale + QUERIES;
    j->sum = j->top + QUERIES;
    j->low = (int32_t *)(void *)(j->sum + QUERIES);
    j->last = j->low + QUERIES;
}

/* ---- rounding -------------------------------------------------------------------------------- */

/* 1 / (largest / most), 0 for a row of zeros; *scale = largest / most. false: not finite. */
static bool row_scale(float largest, float most, float *scale, float *inverse)
{
    bool good = largest <= FLT_MAX && most / largest != 0.0f;
    *scale = good ? largest / most : 0.0f;
    *inverse = good && largest > 1e-30f ? most / largest : 0.0f;
    return good;
}

/* LANES queries of the job from `at` on, and what belongs to them. The last one is repeated. */
static void start_queries(const job *j, uint32_t at)
{
    const nib__attention *a = j->a;
    float *o = j->o + (size_t)(at / TILE) * j->width * TILE + at % TILE;
    int16_t *to = j->q + ((size_t)(at / TILE) * j->twos * TILE + at % TILE) * 2;
    const float *q[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        uint32_t n = j->first + (at + i < j->count ? at + i : j->count - 1);
        uint32_t row = n / a->n_group, pos = a->pos0 + row;
        q[i] = a->q + row * a->q_stride + (size_t)(n - row * a->n_group) * j->dim;
        j->low[at + i] = (int32_t)nib__first_key(a, pos);
        j->last[at + i] = (int32_t)nib__end_key(a, pos) - 1;
        j->top[at + i] = -1e30f;
    }
    floats largest = v_set(0);
    for (uint32_t d = 0; d < j->dim; d += LANES) {
        floats x[LANES];
        for (uint32_t i = 0; i < LANES; i++) x[i] = v_load_first(q[i] + d, j->dim - d);
        v_transpose(x);
        for (uint32_t i = 0; i < LANES; i++) {
            largest = v_larger_size(largest, x[i]);
            v_store(o + (size_t)(d + i) * TILE, x[i]);
        }
    }
    float sizes[LANES], inverses[LANES];
    v_store(sizes, largest);
    for (uint32_t i = 0; i < LANES; i++) {
        bool good = row_scale(sizes[i], j->most, &j->q_scale[at + i], &inverses[i]);
        j->q_scale[at + i] *= a->scale * score_unit;
        j->sum[at + i] = good ? 0.0f : NAN;
    }
    floats inverse = v_load(inverses);
    for (uint32_t d = 0; d < j->dim; d += 2, o += 2 * TILE, to += 2 * TILE) {
        ints x = v_round(v_mul(inverse, v_load(o))), y = v_round(v_mul(inverse, v_load(o + TILE)));
        v_store_ints(to, v_pair(x, y));
    }
    o = j->o + (size_t)(at / TILE) * j->width * TILE + at % TILE;
    for (uint32_t d = 0; d < j->width; d++) v_store(o + (size_t)d * TILE, v_set(0));
}

/* The scales of LANES keys or values and what their numbers are multiplied with: `most` stands for
 * the largest number, of zeros too. *sizes: the largest magnitudes as they lie in the cache;
 * `cached`: the cache's own scales, or NULL. What is no number becomes 0 and is marked as bad. */
NIB_INLINE floats cached_scales(job *j, uint32_t key, floats sizes, const float *cached, float most,
                                float times, float *scale)
{
    const floats own = cached != NULL ? v_load(cached + j->key0 + key) : v_set(1.0f);
    const floats product = v_mul(v_mul(sizes, v_set(times / most)), own);
    floats inverse = v_div(v_set(most), v_max(sizes, v_set(1e-30f)));
    v_store(scale + key, product);
    if (v_all_finite(product)) return inverse;
    float inverses[LANES];
    v_store(inverses, inverse);
    for (uint32_t i = 0; i < LANES; i++) {
        if (fabsf(scale[key + i]) <= FLT_MAX) continue;
        j->bad[key + i] = 1;
        scale[key + i] = inverses[i] = 0.0f;
    }
    return v_load(inverses);
}

/* Keys of the block: 16 at a time as they lie in the cache. */
NIB_INLINE void round_keys(bool q8, job *j, uint32_t n_keys)
{
    const nib__kv_head *kv = &j->a->kv;
    for (uint32_t key = 0; key < n_keys; key += LANES) {
        size_t from = (size_t)((j->key0 + key) / 16) * j->dim * 16 + key % 16;
        int16_t *to = j->k + ((size_t)(key / 16) * j->twos * 16 + key % 16) * 2;
        const floats sizes = v_key_sizes(q8, kv->k, from, j->dim);
        const floats inverse =
            cached_scales(j, key, sizes, q8 ? kv->k_scale : NULL, j->most, 1.0f, j->k_scale);
        for (uint32_t d = 0; d < j->dim; d += 2, to += 32) {
            ints x = v_round(v_mul(inverse, v_cached(q8, kv->k, from + d * 16))), y = v_int(0);
            if (d + 1 < j->dim)
                y = v_round(v_mul(inverse, v_cached(q8, kv->k, from + d * 16 + 16)));
            v_store_ints(to, v_pair(x, y));
        }
    }
}

/* Scales of the block's values, those of weights: the largest number of each value. What their
 * numbers are multiplied with goes to inverses[KEYS]. */
NIB_INLINE void scale_values(bool q8, job *j, uint32_t n_keys, float *inverses)
{
    const nib__kv_head *kv = &j->a->kv;
    for (uint32_t key = 0; key < n_keys; key += LANES) {
        uint16_t sizes[LANES] = {0};
        for (uint32_t i = 0; i < LANES && key + i < n_keys; i++) {
            sizes[i] = v_value_size(q8, kv->v, (size_t)(j->key0 + key + i) * j->dim, j->dim);
        }
        const float *cached = q8 ? kv->v_scale : NULL;
        v_store(inverses + key,
                cached_scales(j, key, v_sizes(q8, sizes), cached, V_MAX, V_MAX, j->v_scale));
    }
    float most = 0.0f;
    for (uint32_t key = 0; key < KEYS; key++) {
        if (key >= n_keys) j->v_scale[key] = inverses[key] = 0.0f;
        if (j->v_scale[key] > most) most = j->v_scale[key];
        j->v_most[key] = most;
    }
}

NIB_INLINE void round_values(bool q8, job *j, uint32_t n_keys)
{
    const nib__kv_head *kv = &j->a->kv;
    float inverses[KEYS];
    scale_values(q8, j, n_keys, inverses);
    for (uint32_t key = 0; key < n_keys; key += 2) {
        const floats inverse0 = v_set(inverses[key]), inverse1 = v_set(inverses[key + 1]);
        size_t from = (size_t)(j->key0 + key) * j->dim;
        int16_t *to = j->v + (size_t)key * j->width;
        for (uint32_t d = 0; d < j->dim; d += LANES, to += 2 * LANES) {
            uint32_t left = j->dim - d;
            ints x = v_round(v_mul(inverse0, v_cached_first(q8, kv->v, from + d, left)));
            ints y = v_int(0);
            if (key + 1 < n_keys)
                y = v_round(v_mul(inverse1, v_cached_first(q8, kv->v, from + j->dim + d, left)));
            v_store_ints(to, v_pair(x, y));
        }
    }
}

static void round_block(job *j)
{
    uint32_t n_keys = j->end - j->key0 < KEYS ? j->end - j->key0 : KEYS;
    memset(j->bad, 0, sizeof j->bad);
    if (j->a->kv.type == NIB_KV_Q8) {
        round_keys(true, j, n_keys);
        round_values(true, j, n_keys);
    } else {
        round_keys(false, j, n_keys);
        round_values(false, j, n_keys);
    }
    j->any_bad = memchr(j->bad, 1, sizeof j->bad) != NULL;
}

/* ---- products -------------------------------------------------------------------------------- */

/* sums[ROWS][VECS] += products of n pairs: left[n][TILE][2], right[n][step], of ROWS pairs each. */
NIB_INLINE void multiply(ints sums[ROWS][VECS], uint32_t n, const int16_t *left,
                         const int16_t *right, size_t step)
{
    for (uint32_t i = 0; i < n; i++, left += TILE * 2, right += step) {
        ints u[VECS];
        NIB_UNROLL
        for (int t = 0; t < VECS; t++) u[t] = v_load_ints(left + (size_t)t * LANES * 2);
        NIB_UNROLL
        for (int r = 0; r < ROWS; r++) {
            const ints s = v_four(right + 2 * (size_t)r);
            NIB_UNROLL
            for (int t = 0; t < VECS; t++) sums[r][t] = v_dot2(sums[r][t], u[t], s);
        }
    }
}

/* Fetches what belongs to register block number i of the scores of all tiles. */
NIB_INLINE void fetch_next(const job *j, size_t i)
{
    size_t at = i * j->next_step, end = at + j->next_step;
    for (end = end < j->next_bytes ? end : j->next_bytes; at < end; at += 64) {
        __builtin_prefetch(j->next_k + at, 0, 2);
        __builtin_prefetch(j->next_v + at, 0, 2);
    }
}

/* Scores of a tile with n keys; top becomes the largest of each query. `whole`: a constant. */
NIB_INLINE void score(bool whole, const job *j, uint32_t tile, uint32_t n, floats top[VECS])
{
    const int16_t *q = j->q + (size_t)tile * j->twos * TILE * 2;
    ints low[VECS], last[VECS];
    NIB_UNROLL
    for (uint32_t t = 0; t < VECS; t++) {
        top[t] = v_set(-INFINITY);
        low[t] = v_load_ints(j->low + tile * TILE + t * LANES);
        last[t] = v_load_ints(j->last + tile * TILE + t * LANES);
    }
    for (uint32_t key = 0; key < n; key += ROWS) {
        ints sums[ROWS][VECS];
        fetch_next(j, ((size_t)tile * KEYS + key) / ROWS);
        NIB_UNROLL
        for (uint32_t r = 0; r < ROWS; r++) {
            NIB_UNROLL
            for (int t = 0; t < VECS; t++) sums[r][t] = v_int(0);
        }
        const int16_t *k = j->k + ((size_t)(key / 16) * j->twos * 16 + key % 16) * 2;
        multiply(sums, j->twos, q, k, 32);
        NIB_UNROLL
        for (uint32_t r = 0; r < ROWS; r++) {
            const floats scale = v_set(j->k_scale[key + r]);
            NIB_UNROLL
            for (uint32_t t = 0; t < VECS; t++) {
                floats x = v_mul(v_float(sums[r][t]), scale);
                if (!whole) x = v_between(low[t], (int32_t)(j->key0 + key + r), last[t], x);
                top[t] = v_max(top[t], x);
                v_store(j->s + (size_t)(key + r) * TILE + t * LANES, x);
            }
        }
    }
}

/* ---- softmax --------------------------------------------------------------------------------- */

/* What scores become, per query: weight = 2^(score * scale + start), in 2^-23 octaves. */
typedef struct exponents {
    floats scale[VECS], start[VECS];
    floats shrink[VECS]; /* factor of what was summed before this block */
    floats part[VECS];   /* factor of what is summed in it */
} exponents;

/* The largest v_scale among keys low .. last of the block; 0 if there are none. */
static float largest_value(const job *j, int32_t low, int32_t last)
{
    int32_t from = low - (int32_t)j->key0, to = last - (int32_t)j->key0;
    if (to >= KEYS) to = KEYS - 1;
    if (to < 0) return 0.0f;
    if (from <= 0) return j->v_most[to];
    float most = 0.0f;
    for (; from <= to; from++) {
        if (j->v_scale[from] > most) most = j->v_scale[from];
    }
    return most;
}

/* Weights are as large as their codes may be, P_MAX / the largest v_scale that the query sees. Its
 * logarithm need not be exact: what is taken is divided out again, to full precision. */
static void start_weights(const job *j, uint32_t tile, const floats top[VECS], exponents *e)
{
    for (uint32_t t = 0; t < VECS; t++) {
        uint32_t at = tile * TILE + t * LANES;
        float room[LANES];
        for (uint32_t i = 0; i < LANES; i++) {
            float most = largest_value(j, j->low[at + i], j->last[at + i]);
            float times = P_MAX / (most > 1e-30f ? most : 1e-30f);
            int32_t bits;
            memcpy(&bits, &times, sizeof bits);
            room[i] = (float)(bits - EXP_ONE);
        }
        e->scale[t] = v_load(j->q_scale + at);
        floats best = v_max(v_mul(top[t], e->scale[t]), v_set(-1e30f));
        floats old = v_load(j->top + at), now = v_max(old, best), more = v_load(room);
        e->start[t] = v_add(v_sub(v_set((float)EXP_ONE), best), more);
        e->shrink[t] = v_pow2(v_mul(v_sub(old, now), v_set(0x1p-23f)));
        e->part[t] = v_pow2(v_mul(v_sub(v_sub(best, now), more), v_set(0x1p-23f)));
        v_store(j->top + at, now);
    }
}

static void make_weights(const job *j, uint32_t tile, uint32_t n, const exponents *e)
{
    for (uint32_t t = 0; t < VECS; t++) {
        const floats scale = e->scale[t], start = e->start[t];
        floats sum = v_set(0);
        const float *s = j->s + t * LANES;
        int16_t *p = j->p + t * LANES * 2;
        for (uint32_t key = 0; key < n; key += 2, s += 2 * TILE, p += 2 * TILE) {
            floats w0 = v_weight(v_fma(v_load(s), scale, start));
            floats w1 = v_weight(v_fma(v_load(s + TILE), scale, start));
            sum = v_add(sum, v_add(w0, w1));
            ints c0 = v_round(v_mul(w0, v_set(j->v_scale[key])));
            ints c1 = v_round(v_mul(w1, v_set(j->v_scale[key + 1])));
            v_store_ints(p, v_pair(c0, c1));
        }
        float *to = j->sum + tile * TILE + t * LANES;
        v_store(to, v_fma(sum, e->part[t], v_mul(v_load(to), e->shrink[t])));
    }
}

/* Queries that see a key or value that is no number. */
static void spoil(const job *j, uint32_t tile)
{
    for (uint32_t key = 0; key < KEYS; key++) {
        int32_t pos = (int32_t)(j->key0 + key);
        for (uint32_t i = tile * TILE; j->bad[key] != 0 && i < (tile + 1) * TILE; i++) {
            if (j->low[i] <= pos && pos <= j->last[i]) j->sum[i] = NAN;
        }
    }
}

static void add_values(const job *j, uint32_t tile, uint32_t n, const exponents *e)
{
    float *o = j->o + (size_t)tile * j->width * TILE;
    for (uint32_t d = 0; d < j->dim; d += ROWS) {
        ints sums[ROWS][VECS];
        NIB_UNROLL
        for (int r = 0; r < ROWS; r++) {
            NIB_UNROLL
            for (int t = 0; t < VECS; t++) sums[r][t] = v_int(0);
        }
        multiply(sums, (n + 1) / 2, j->p, j->v + 2 * (size_t)d, 2 * (size_t)j->width);
        NIB_UNROLL
        for (int r = 0; r < ROWS; r++) {
            NIB_UNROLL
            for (int t = 0; t < VECS; t++, o += LANES) {
                floats old = v_mul(v_load(o), e->shrink[t]);
                v_store(o, v_fma(v_float(sums[r][t]), e->part[t], old));
            }
        }
    }
}

/* ---- tiles and blocks ------------------------------------------------------------------------ */

static void attend_tile(const job *j, uint32_t tile)
{
    int32_t low = j->low[tile * TILE], last = j->last[tile * TILE + TILE - 1];
    int32_t key0 = (int32_t)j->key0;
    if (last < key0 || low >= key0 + KEYS) return;
    uint32_t n = last - key0 < KEYS ? (uint32_t)(last - key0 + 1) : KEYS;
    n = (n + ROWS - 1) / ROWS * ROWS;
    bool whole = j->low[tile * TILE + TILE - 1] <= key0 && j->last[tile * TILE] >= key0 + KEYS - 1;
    floats top[VECS];
    exponents e;
    if (whole)
        score(true, j, tile, n, top);
    else
        score(false, j, tile, n, top);
    start_weights(j, tile, top, &e);
    make_weights(j, tile, n, &e);
    if (j->any_bad) spoil(j, tile);
    add_values(j, tile, n, &e);
}

static void finish_tile(const job *j, uint32_t tile)
{
    const nib__attention *a = j->a;
    const float *o = j->o + (size_t)tile * j->width * TILE;
    for (uint32_t t = 0; t < VECS; t++) {
        uint32_t at = tile * TILE + t * LANES;
        const floats factor = v_div(v_set(1.0f / V_MAX), v_load(j->sum + at));
        for (uint32_t d = 0; d < j->dim; d += LANES) {
            floats x[LANES];
            for (uint32_t i = 0; i < LANES; i++) {
                x[i] = v_mul(factor, v_load(o + (size_t)(d + i) * TILE + t * LANES));
            }
            v_transpose(x);
            for (uint32_t i = 0; i < LANES && at + i < j->count; i++) {
                uint32_t n = j->first + at + i;
                size_t head = (size_t)(n % a->n_group) * j->dim;
                v_store_first(a->out + n / a->n_group * a->out_stride + head + d, x[i], j->dim - d);
            }
        }
    }
}

/* The next block is fetched while tiles work on this one, a few lines at a time: from the third
 * cache or memory each of its lines would be waited for. */
static void plan_next(job *j, uint32_t tiles)
{
    const nib__kv_head *kv = &j->a->kv;
    uint32_t next = j->key0 + KEYS;
    size_t position = j->dim * (kv->type == NIB_KV_Q8 ? 1u : 2u);
    size_t n = next >= j->end ? 0 : j->end - next < KEYS ? j->end - next : KEYS;
    j->next_k = (const uint8_t *)kv->k + (n == 0 ? 0 : next * position);
    j->next_v = (const uint8_t *)kv->v + (n == 0 ? 0 : next * position);
    j->next_bytes = n * position;
    j->next_step = (j->next_bytes / (tiles * (KEYS / ROWS)) + 63) / 64 * 64;
}

static void run_job(job *j)
{
    uint32_t tiles = (j->count + TILE - 1) / TILE;
    for (uint32_t i = 0; i < tiles * TILE; i += LANES) start_queries(j, i);
    j->end = (uint32_t)j->last[j->count - 1] + 1;
    for (j->key0 = (uint32_t)j->low[0] / KEYS * KEYS; j->key0 < j->end; j->key0 += KEYS) {
        round_block(j);
        plan_next(j, tiles);
        for (uint32_t tile = 0; tile < tiles; tile++) attend_tile(j, tile);
    }
    for (uint32_t tile = 0; tile < tiles; tile++) finish_tile(j, tile);
}

/* Without biases. */
static void attend(const nib__attention *a)
{
    job j = {.a = a};
    uint32_t n = a->n_rows * a->n_group;
    carve(&j, a->scratch, a->kv.dim);
    for (; j.first < n; j.first += QUERIES) {
        j.count = n - j.first < QUERIES ? n - j.first : QUERIES;
        run_job(&j);
    }
}

/* Bytes of scratch for these jobs and for the plain kernel, which needs `plain`. */
static size_t scratch_of_both(uint32_t dim, size_t plain)
{
    size_t bytes = job_bytes(dim);
    return bytes > plain ? bytes : plain;
}

/* Biases and float32 caches, which must stay exact, are left to the plain kernel. */
static void attend_or(const nib__attention *a, void (*plain)(const nib__attention *a))
{
    if (a->bias != NULL || a->kv.type == NIB__KV_F32)
        plain(a);
    else
        attend(a);
}

#endif
