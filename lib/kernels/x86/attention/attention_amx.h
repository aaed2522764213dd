/* SPDX-License-Identifier: MIT
 * What attention_prefill_amx.c works on: its memory, and queries, keys and values as tiles. */
#ifndef NIB_KERNELS_X86_ATTENTION_AMX_H
#define NIB_KERNELS_X86_ATTENTION_AMX_H

#include <math.h>

#include "kernels/simd.h"
#include "kernels/visible.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/avx512.h"

enum {
    KEYS = 128,       /* keys per block */
    UNIT = 32,        /* keys per tile step */
    STEP = 32,        /* queries per step: two tiles */
    QUERIES = 384,    /* most queries that share one expansion of a block of keys */
    TILE_FLOATS = 256 /* 16 x 16 */
};

typedef struct job {
    const nib__attention *a;
    uint32_t dim, k_steps, v_tiles; /* head size; in steps of 32 and in tiles of 16 */
    uint32_t first, count;          /* queries, numbered position-major */
    uint8_t *q;                     /* [count / 16][k_steps] tiles [16 queries][32 dims] */
    uint8_t *k;                     /* [KEYS / 16][k_steps] tiles [16 dim pairs][16 keys][2] */
    uint8_t *v;                     /* [KEYS / 32][v_tiles] tiles [16 key pairs][16 dims][2] */
    float *o;                       /* [count / 16][v_tiles] tiles of weighted sums */
    float *sum;                     /* [QUERIES][16] sums of weights, by key modulo 16 */
    float *bound;                   /* [QUERIES] what scores are relative to */
    uint32_t *pos;                  /* [QUERIES] positions */
    float *s[2];                    /* [STEP][KEYS] scores, of this step and of the next */
    uint16_t *p[2];                 /* [STEP][KEYS] bf16 weights, of this step and the one before */
    uint32_t k_key0, v_key0, end;   /* the blocks that k and v hold; after the last key */
    uint32_t ahead;                 /* cache lines of k, and of v, that a query fetches */
    bool k_huge, q_huge;            /* k or q have numbers that are none, or too large */
} job;

/* 32 queries and the keys of one block that any of them sees. */
typedef struct step {
    uint32_t query;       /* the first one's place in the job */
    uint32_t key0, units; /* first key, and how many times 32 keys */
    bool whole;           /* every query sees every key */
    bool huge;            /* scores may be no numbers */
} step;

/* Scores are counted in parts of octaves: 128 log2(e). */
static const float octave_parts = 184.66496523f;

/* Times 32 keys, of the block at key0 before `end`. */
NIB_INLINE uint32_t units_of(uint32_t key0, uint32_t end)
{
    return end - key0 < KEYS ? (end - key0 + UNIT - 1) / UNIT : KEYS / UNIT;
}

static size_t rows_bytes(uint32_t dim)
{
    size_t k_steps = (dim + 31) / 32, v_tiles = (dim + 15) / 16;
    return QUERIES / 16 * TILE_BYTES * (k_steps + v_tiles) + QUERIES * 18 * sizeof(float);
}

static size_t job_bytes(uint32_t dim)
{
    size_t k_steps = (dim + 31) / 32, v_tiles = (dim + 15) / 16;
    return rows_bytes(dim) + KEYS / 16 * TILE_BYTES * k_steps + KEYS / 32 * TILE_BYTES * v_tiles +
           2 * STEP * KEYS * (sizeof(float) + sizeof(uint16_t));
}

static void carve(job *j, uint8_t *at)
{
    size_t q_bytes = (size_t)QUERIES / 16 * TILE_BYTES * j->k_steps;
    size_t k_bytes = (size_t)KEYS / 16 * TILE_BYTES * j->k_steps;
    j->q = at;
    j->k = at += q_bytes;
    j->v = at += k_bytes;
    j->o = (float *)(void *)(at += (size_t)KEYS / 32 * TILE_BYTES * j->v_tiles);
    j->s[0] = j->o + (size_t)QUERIES / 16 * TILE_FLOATS * j->v_tiles;
    j->s[1] = j->s[0] + STEP * KEYS;
    j->p[0] = (uint16_t *)(void *)(j->s[1] + STEP * KEYS);
    j->p[1] = j->p[0] + STEP * KEYS;
    j->sum = (float *)(void *)(j->p[1] + STEP * KEYS);
    j->bound = j->sum + QUERIES * 16;
    j->pos = (uint32_t *)(void *)(j->bound + QUERIES);
}

/* ---- keys, values and queries as tiles ------------------------------------------------------- */

/* Both rounded to bf16, side by side: a0 b0 a1 b1 ... */
NIB_INLINE __m512i pair_up(__m512 a, __m512 b)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(b, a));
}

NIB_INLINE __m512 load_cached(bool q8, const void *data, size_t i, __mmask16 mask)
{
    if (q8) {
        __m128i bytes = _mm_maskz_loadu_epi8(mask, (const int8_t *)data + i);
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)data + i));
}

/* True if any of 32 bf16 numbers is NaN, infinite or so large that products might become it. */
NIB_INLINE bool any_huge(__m512i pairs)
{
    const __m512i limit = _mm512_set1_epi16((int16_t)0xe000); /* 2^97, the sign shifted out */
    return _mm512_cmpge_epu16_mask(_mm512_slli_epi16(pairs, 1), limit) != 0;
}

/* Keys [key0, min(key0 + KEYS, end)); what is missing to a whole number of units becomes 0. */
NIB_INLINE void expand_keys(bool q8, job *j, uint32_t key0, uint32_t end)
{
    const nib__kv_head *kv = &j->a->kv;
    j->k_huge = false;
    for (uint32_t sub = 0; sub < 2 * units_of(key0, end); sub++) {
        size_t tile = (size_t)sub * j->k_steps * TILE_BYTES;
        size_t from = (size_t)(key0 / 16 + sub) * j->dim * 16;
        bool exists = key0 + 16 * sub < end;
        __m512 scale = _mm512_setzero_ps();
        if (q8 && exists) scale = _mm512_loadu_ps(kv->k_scale + key0 + 16 * sub);
        for (uint32_t d = 0; d < j->k_steps * 32; d += 2, tile += 64) {
            __m512 a = _mm512_setzero_ps(), b = a;
            if (exists && d < j->dim) a = load_cached(q8, kv->k, from + d * 16, 0xffff);
            if (exists && d + 1 < j->dim) b = load_cached(q8, kv->k, from + d * 16 + 16, 0xffff);
            if (q8) {
                a = _mm512_mul_ps(a, scale);
                b = _mm512_mul_ps(b, scale);
            }
            __m512i both = pair_up(a, b);
            j->k_huge |= any_huge(both);
            _mm512_store_si512(j->k + tile, both);
        }
    }
}

/* Where pair `pair` of 16 in a unit lies: softmax_row leaves the weights of keys 0..3 and 16..19
 * side by side, then 4..7 and 20..23, and so on. */
NIB_INLINE uint32_t place_of_pair(uint32_t pair)
{
    return pair % 8 / 2 * 4 + pair / 8 * 2 + pair % 2;
}

/* Values of the same keys, rounded to bf16; rows from `end` on do not exist and become 0. */
NIB_INLINE void expand_values(bool q8, const job *j, uint32_t key0, uint32_t end)
{
    const nib__kv_head *kv = &j->a->kv;
    for (uint32_t row = 0; row < 16 * units_of(key0, end); row++) {
        uint32_t key = key0 + 2 * row;
        size_t from = (size_t)key * j->dim;
        size_t tile = (size_t)(row / 16) * j->v_tiles * TILE_BYTES;
        uint8_t *to = j->v + tile + place_of_pair(row % 16) * 64;
        __m512 scale0 = _mm512_set1_ps(q8 && key < end ? kv->v_scale[key] : 0);
        __m512 scale1 = _mm512_set1_ps(q8 && key + 1 < end ? kv->v_scale[key + 1] : 0);
        for (uint32_t d = 0; d < j->dim; d += 16, to += TILE_BYTES) {
            __mmask16 mask = nib__lanes(j->dim - d);
            __m512 a = _mm512_setzero_ps(), b = a;
            if (key < end) a = load_cached(q8, kv->v, from + d, mask);
            if (key + 1 < end) b = load_cached(q8, kv->v, from + j->dim + d, mask);
            if (q8) {
                a = _mm512_mul_ps(a, scale0);
                b = _mm512_mul_ps(b, scale1);
            }
            _mm512_store_si512(to, pair_up(a, b));
        }
    }
}

/* Query i's share of fetching the cached keys and values of the block at key0 into the L2 cache.
 * All queries of a job together fetch one block ahead; at once, it would be waited for. */
NIB_INLINE void fetch_ahead(const job *j, uint32_t key0, uint32_t i)
{
    if (key0 >= j->end) return;
    const nib__kv_head *kv = &j->a->kv;
    size_t row = (size_t)j->dim * (kv->type == NIB_KV_Q8 ? 1 : 2), at = (size_t)i * j->ahead * 64;
    size_t end = (j->end - key0 < KEYS ? j->end - key0 : KEYS) * row;
    for (uint32_t b = 0; b < j->ahead && at < end; b++, at += 64) {
        _mm_prefetch((const char *)kv->k + key0 * row + at, _MM_HINT_T1);
        _mm_prefetch((const char *)kv->v + key0 * row + at, _MM_HINT_T1);
    }
}

/* Makes k hold the keys of the block at key0; v the values. */
static void need_keys(job *j, uint32_t key0)
{
    if (j->k_key0 == key0) return;
    j->k_key0 = key0;
    if (j->a->kv.type == NIB_KV_Q8)
        expand_keys(true, j, key0, j->end);
    else
        expand_keys(false, j, key0, j->end);
}

static void need_values(job *j, uint32_t key0)
{
    if (j->v_key0 == key0) return;
    j->v_key0 = key0;
    if (j->a->kv.type == NIB_KV_Q8)
        expand_values(true, j, key0, j->end);
    else
        expand_values(false, j, key0, j->end);
}

/* Query i of the job, and everything that belongs to it. Beyond the last one are zeros. */
static void start_query(job *j, uint32_t i)
{
    const nib__attention *a = j->a;
    uint32_t n = j->first + (i < j->count ? i : j->count - 1);
    const float *q = a->q + n / a->n_group * a->q_stride + (size_t)(n % a->n_group) * j->dim;
    const __m512 scale = _mm512_set1_ps(a->scale * octave_parts), zero = _mm512_setzero_ps();
    size_t at = (size_t)(i / 16) * j->k_steps * TILE_BYTES + i % 16 * 64;
    for (uint32_t d = 0; d < j->k_steps * 32; d += 32, at += TILE_BYTES) {
        uint32_t left = i < j->count && d < j->dim ? j->dim - d : 0;
        __mmask16 low = nib__lanes(left), high = nib__lanes(left > 16 ? left - 16 : 0);
        __m512 x = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(low, q + d));
        __m512 y = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(high, q + d + 16));
        __m512i both = (__m512i)_mm512_cvtne2ps_pbh(y, x);
        j->q_huge |= any_huge(both);
        _mm512_store_si512(j->q + at, both);
    }
    float *o = j->o + (size_t)(i / 16) * j->v_tiles * TILE_FLOATS + i % 16 * 16;
    for (uint32_t t = 0; t < j->v_tiles; t++) _mm512_store_ps(o + t * TILE_FLOATS, zero);
    _mm512_store_ps(j->sum + (size_t)i * 16, zero);
    j->bound[i] = -INFINITY;
    j->pos[i] = a->pos0 + n / a->n_group;
}

static void finish_query(const job *j, uint32_t i)
{
    const nib__attention *a = j->a;
    uint32_t n = j->first + i;
    float *out = a->out + n / a->n_group * a->out_stride + (size_t)(n % a->n_group) * j->dim;
    const float *o = j->o + (size_t)(i / 16) * j->v_tiles * TILE_FLOATS + i % 16 * 16;
    float sum = _mm512_reduce_add_ps(_mm512_load_ps(j->sum + (size_t)i * 16));
    const __m512 factor = _mm512_set1_ps(1.0f / sum);
    for (uint32_t d = 0; d < j->dim; d += 16, o += TILE_FLOATS) {
        __m512 x = _mm512_mul_ps(factor, _mm512_load_ps(o));
        _mm512_mask_storeu_ps(out + d, nib__lanes(j->dim - d), x);
    }
}

#endif
