/* SPDX-License-Identifier: MIT
 * Attention of many rows with AMX (after Dao et al., "FlashAttention", 2022): queries of one KV
 * head against blocks of 128 keys, scores and weighted values in bf16 tiles with float32 sums, an
 * online softmax in between.
 *
 * Queries, keys, weights and values are single bf16 numbers, as GPUs compute attention: a second
 * product for what rounding the queries leaves, and a third for the keys, halve the distance from
 * float32 (mean KL of Qwen2.5-Coder-1.5B 0.00009 instead of 0.00018, of SmolLM2-135M 0.00012
 * instead of 0.00018; the gates are 0.0005 and 0.0033), but double the tile instructions.
 *
 * A step takes 32 queries and a block of keys. Tile instructions run beside vector instructions, so
 * the scores of the next step are computed, a few tile products at a time, between the rows of the
 * softmax of this one. The running maximum of a query is a bound: it moves only when a score
 * exceeds it by 8 (weights up to 2^8 do no harm), so sums are rarely rescaled. All this depends on
 * the query's own position alone, so its result does not depend on the company it is in. */
#include <math.h>

#include "kernels/simd.h"
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
    float *s[2];                    /* [STEP][KEYS] scores, of this step and of the next */
    uint16_t *p;                    /* [STEP][KEYS] weights, bf16 */
} job;

/* 32 queries and the keys of one block that any of them sees. */
typedef struct step {
    uint32_t query;       /* the first one's place in the job */
    uint32_t key0, units; /* first key, and how many times 32 keys */
    bool whole;           /* every query sees every key */
} step;

static size_t rows_bytes(uint32_t dim)
{
    size_t k_steps = (dim + 31) / 32, v_tiles = (dim + 15) / 16;
    return QUERIES / 16 * TILE_BYTES * (k_steps + v_tiles) + QUERIES * 17 * sizeof(float);
}

size_t nib__attention_prefill_scratch_amx(uint32_t dim)
{
    size_t k_steps = (dim + 31) / 32, v_tiles = (dim + 15) / 16;
    return rows_bytes(dim) + KEYS / 16 * TILE_BYTES * k_steps + KEYS / 32 * TILE_BYTES * v_tiles +
           2 * STEP * KEYS * sizeof(float) + STEP * KEYS * sizeof(uint16_t);
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
    j->p = (uint16_t *)(void *)(j->s[1] + STEP * KEYS);
    j->sum = (float *)(void *)(j->p + STEP * KEYS);
    j->bound = j->sum + QUERIES * 16;
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

/* Keys key0 .. of `units` units; sub-blocks of 16 from `end` on may not exist and become 0. */
NIB_INLINE void expand_keys(bool q8, const job *j, uint32_t key0, uint32_t units, uint32_t end)
{
    for (uint32_t sub = 0; sub < 2 * units; sub++) {
        size_t tile = (size_t)sub * j->k_steps * TILE_BYTES;
        size_t from = (size_t)(key0 / 16 + sub) * j->dim * 16;
        bool exists = key0 + 16 * sub < end;
        for (uint32_t d = 0; d < j->k_steps * 32; d += 2, tile += 64) {
            __m512 a = _mm512_setzero_ps(), b = a;
            if (exists && d < j->dim) a = load_cached(q8, j->a->kv.k, from + d * 16, 0xffff);
            if (exists && d + 1 < j->dim)
                b = load_cached(q8, j->a->kv.k, from + d * 16 + 16, 0xffff);
            _mm512_store_si512(j->k + tile, pair_up(a, b));
        }
    }
}

/* Values of the same keys, rounded to bf16; rows from `end` on do not exist and become 0. */
NIB_INLINE void expand_values(bool q8, const job *j, uint32_t key0, uint32_t units, uint32_t end)
{
    for (uint32_t row = 0; row < units * 16; row++) {
        uint32_t key = key0 + 2 * row;
        size_t from = (size_t)key * j->dim;
        uint8_t *to = j->v + (size_t)(row / 16) * j->v_tiles * TILE_BYTES + row % 16 * 64;
        for (uint32_t d = 0; d < j->dim; d += 16, to += TILE_BYTES) {
            __mmask16 mask = nib__lanes(j->dim - d);
            __m512 a = _mm512_setzero_ps(), b = a;
            if (key < end) a = load_cached(q8, j->a->kv.v, from + d, mask);
            if (key + 1 < end) b = load_cached(q8, j->a->kv.v, from + j->dim + d, mask);
            _mm512_store_si512(to, pair_up(a, b));
        }
    }
}

static void expand_some(const job *j, uint32_t key0, uint32_t units, uint32_t end, bool values)
{
    bool q8 = j->a->kv.type == NIB_KV_Q8;
    if (values && q8)
        expand_values(true, j, key0, units, end);
    else if (values)
        expand_values(false, j, key0, units, end);
    else if (q8)
        expand_keys(true, j, key0, units, end);
    else
        expand_keys(false, j, key0, units, end);
}

/* Query i of the job, times scale and log2(e), and everything that belongs to it. */
static void start_query(const job *j, uint32_t i)
{
    const nib__attention *a = j->a;
    uint32_t n = j->first + i;
    const float *q = a->q + n / a->n_group * a->q_stride + (size_t)(n % a->n_group) * j->dim;
    const __m512 scale = _mm512_set1_ps(a->scale * 1.44269504f), zero = _mm512_setzero_ps();
    size_t at = (size_t)(i / 16) * j->k_steps * TILE_BYTES + i % 16 * 64;
    for (uint32_t d = 0; d < j->k_steps * 32; d += 32, at += TILE_BYTES) {
        uint32_t left = i < j->count && d < j->dim ? j->dim - d : 0;
        __mmask16 low = nib__lanes(left), high = nib__lanes(left > 16 ? left - 16 : 0);
        __m512 x = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(low, q + d));
        __m512 y = _mm512_mul_ps(scale, _mm512_maskz_loadu_ps(high, q + d + 16));
        _mm512_store_si512(j->q + at, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    }
    float *o = j->o + (size_t)(i / 16) * j->v_tiles * TILE_FLOATS + i % 16 * 16;
    for (uint32_t t = 0; t < j->v_tiles; t++) _mm512_store_ps(o + t * TILE_FLOATS, zero);
    _mm512_store_ps(j->sum + (size_t)i * 16, zero);
    j->bound[i] = -INFINITY;
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

/* ---- softmax --------------------------------------------------------------------------------- */

static uint32_t position_of(const job *j, uint32_t i)
{
    uint32_t last = j->count - 1;
    return j->a->pos0 + (j->first + (i < last ? i : last)) / j->a->n_group;
}

static uint32_t first_key(const nib__attention *a, uint32_t pos)
{
    return a->window != 0 && pos >= a->window ? pos - a->window + 1 : 0;
}

/* 2^x, relative error below 2^-13: weights become bf16 numbers. x = n + f with f in [0, 1), minimax
 * polynomial of degree 3 for 2^f. Below -126 it is 2^-126, NaN stays NaN. */
NIB_INLINE __m512 power_of_2(__m512 x)
{
    x = _mm512_max_ps(_mm512_set1_ps(-126.0f), x);
    const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF);
    __m512 p = _mm512_set1_ps(0.0780245f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.22606716f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.69583354f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.99992522f));
    return _mm512_scalef_ps(p, x);
}

/* A score above the bound plus 8: the bound moves up to the largest score, and what was summed
 * shrinks. */
static __attribute__((noinline)) void raise_bound(const job *j, uint32_t i, float top)
{
    float old = j->bound[i], by = old - top;
    __m512 shrink = _mm512_setzero_ps();
    if (by >= -126.0f) shrink = power_of_2(_mm512_set1_ps(by));
    float *o = j->o + (size_t)(i / 16) * j->v_tiles * TILE_FLOATS + i % 16 * 16;
    for (uint32_t t = 0; t < j->v_tiles; t++, o += TILE_FLOATS) {
        _mm512_store_ps(o, _mm512_mul_ps(_mm512_load_ps(o), shrink));
    }
    float *sum = j->sum + (size_t)i * 16;
    _mm512_store_ps(sum, _mm512_mul_ps(_mm512_load_ps(sum), shrink));
    j->bound[i] = top;
}

/* Lanes of the 16 keys from `key` on that lie in [low, high). */
NIB_INLINE __mmask16 visible(uint32_t key, uint32_t low, uint32_t high)
{
    uint32_t from = low > key ? low - key : 0;
    __mmask16 mask = high > key ? nib__lanes(high - key) : 0;
    return from >= 16 ? 0 : (__mmask16)(mask >> from << from);
}

/* Scores of the step's row r become weights. `q8` and `whole` are constants. */
NIB_INLINE void softmax_row(bool q8, bool whole, const job *j, const step *t, const float *scores,
                            uint32_t r)
{
    const nib__attention *a = j->a;
    uint32_t i = t->query + r, n = whole ? KEYS / 16 : 2 * t->units;
    uint32_t pos = position_of(j, i), low = first_key(a, pos);
    const float *s = scores + (size_t)r * KEYS;
    uint16_t *p = j->p + (size_t)r * KEYS;
    const __m512 none = _mm512_set1_ps(-INFINITY);
    __m512 x[KEYS / 16], top = none;
    __mmask16 mask[KEYS / 16];
    NIB_UNROLL
    for (uint32_t b = 0; b < KEYS / 16; b++) {
        x[b] = none;
        mask[b] = 0;
        if (b >= n) continue;
        mask[b] = whole ? 0xffff : visible(t->key0 + 16 * b, low, pos + 1);
        x[b] = _mm512_mask_loadu_ps(none, mask[b], s + 16 * b);
        if (q8) {
            __m512 scale = _mm512_maskz_loadu_ps(mask[b], a->kv.k_scale + t->key0 + 16 * b);
            x[b] = _mm512_mask_mul_ps(none, mask[b], x[b], scale);
        }
        top = _mm512_max_ps(top, x[b]);
    }
    float bound = j->bound[i];
    /* True if the bound is still -infinity and something is visible. */
    if (_mm512_cmp_ps_mask(top, _mm512_set1_ps(bound + 8.0f), _CMP_GT_OQ) != 0) {
        bound = _mm512_reduce_max_ps(top);
        raise_bound(j, i, bound);
    }
    const __m512 from = _mm512_set1_ps(bound);
    __m512 sum = _mm512_load_ps(j->sum + (size_t)i * 16);
    NIB_UNROLL
    for (uint32_t b = 0; b < KEYS / 16; b += 2) {
        if (b >= n) break;
        __m512 w[2];
        NIB_UNROLL
        for (int h = 0; h < 2; h++) {
            w[h] = power_of_2(_mm512_sub_ps(x[b + h], from));
            if (!whole) w[h] = _mm512_maskz_mov_ps(mask[b + h], w[h]);
            sum = _mm512_add_ps(sum, w[h]);
            if (!q8) continue;
            const float *scale = a->kv.v_scale + t->key0 + 16 * (b + h);
            w[h] = _mm512_mul_ps(w[h], _mm512_maskz_loadu_ps(mask[b + h], scale));
        }
        _mm512_store_si512(p + 16 * b, (__m512i)_mm512_cvtne2ps_pbh(w[1], w[0]));
    }
    _mm512_store_ps(j->sum + (size_t)i * 16, sum);
}

static __attribute__((noinline)) void soften(const job *j, const step *t, const float *scores,
                                             uint32_t r)
{
    if (t->query + r >= j->count) return;
    bool q8 = j->a->kv.type == NIB_KV_Q8;
    if (q8 && t->whole)
        softmax_row(true, true, j, t, scores, r);
    else if (q8)
        softmax_row(true, false, j, t, scores, r);
    else if (t->whole)
        softmax_row(false, true, j, t, scores, r);
    else
        softmax_row(false, false, j, t, scores, r);
}

/* ---- products -------------------------------------------------------------------------------- */

/* The rows of one step's softmax, dealt out between the products of the next step's scores. */
typedef struct rows_due {
    const step *t; /* NULL: none */
    const float *scores;
    uint32_t done, now, of; /* rows; products so far, of all */
} rows_due;

NIB_INLINE void soften_some(const job *j, rows_due *due)
{
    if (due->t == NULL) return;
    uint32_t until = ++due->now * STEP / due->of;
    while (due->done < until) soften(j, due->t, due->scores, due->done++);
    memory_barrier();
}

/* Two tiles of queries by two of keys: left operands to tiles 4 and 5, right ones to 6 and 7. */
NIB_INLINE void load_left(const uint8_t *at, size_t apart)
{
    _tile_loadd(4, at, 64);
    _tile_loadd(5, at + apart, 64);
}

NIB_INLINE void load_right(const uint8_t *at, size_t apart)
{
    _tile_loadd(6, at, 64);
    _tile_loadd(7, at + apart, 64);
}

NIB_INLINE void multiply(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

NIB_INLINE void store_sums(float *to, size_t down, size_t stride)
{
    _tile_stored(0, to, stride * sizeof(float));
    _tile_stored(1, to + 16, stride * sizeof(float));
    _tile_stored(2, to + down, stride * sizeof(float));
    _tile_stored(3, to + down + 16, stride * sizeof(float));
}

/* Scores of step t, while the softmax of the step before goes on. */
static void score(const job *j, const step *t, float *scores, rows_due *due)
{
    size_t apart = (size_t)j->k_steps * TILE_BYTES, query = t->query / 16 * apart;
    due->of = t->units * j->k_steps;
    memory_barrier();
    for (uint32_t u = 0; u < t->units; u++) {
        size_t key = 2 * u * apart;
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (uint32_t k = 0; k < j->k_steps; k++) {
            size_t at = (size_t)k * TILE_BYTES;
            load_left(j->q + query + at, apart);
            load_right(j->k + key + at, apart);
            multiply();
            soften_some(j, due);
        }
        store_sums(scores + u * UNIT, 16 * KEYS, KEYS);
    }
    memory_barrier();
}

/* o += p v for the queries of step t. */
static void add_values(const job *j, const step *t)
{
    float *o = j->o + (size_t)(t->query / 16) * j->v_tiles * TILE_FLOATS;
    const size_t down = (size_t)j->v_tiles * TILE_FLOATS, row = KEYS * sizeof *j->p;
    const uint8_t *p = (const uint8_t *)j->p;
    memory_barrier();
    for (uint32_t d = 0; d < j->v_tiles; d += 2, o += 2 * TILE_FLOATS) {
        bool two = d + 1 < j->v_tiles;
        _tile_loadd(0, o, 64);
        if (two) _tile_loadd(1, o + TILE_FLOATS, 64);
        _tile_loadd(2, o + down, 64);
        if (two) _tile_loadd(3, o + down + TILE_FLOATS, 64);
        for (uint32_t u = 0; u < t->units; u++) {
            const uint8_t *v = j->v + ((size_t)u * j->v_tiles + d) * TILE_BYTES;
            _tile_loadd(4, p + u * 64, row);
            _tile_loadd(5, p + 16 * row + u * 64, row);
            _tile_loadd(6, v, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
            if (!two) continue;
            _tile_loadd(7, v + TILE_BYTES, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, o, 64);
        if (two) _tile_stored(1, o + TILE_FLOATS, 64);
        _tile_stored(2, o + down, 64);
        if (two) _tile_stored(3, o + down + TILE_FLOATS, 64);
    }
    memory_barrier();
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What the queries [query, query + STEP) of the job see of the block at key0; false: nothing. */
static bool plan(const job *j, uint32_t key0, uint32_t query, step *t)
{
    uint32_t first = position_of(j, query), last = position_of(j, query + STEP - 1);
    if (last < key0 || first_key(j->a, first) >= key0 + KEYS) return false;
    uint32_t n = last - key0 + 1 < KEYS ? last - key0 + 1 : KEYS;
    *t = (step){.query = query, .key0 = key0, .units = (n + UNIT - 1) / UNIT};
    t->whole = first >= key0 + KEYS - 1 && first_key(j->a, last) <= key0;
    return true;
}

/* The next step after (*key0, *query) that sees something; false at the end. */
static bool advance(const job *j, uint32_t *key0, uint32_t *query, step *t)
{
    uint32_t last = position_of(j, j->count - 1);
    for (; *key0 <= last; *key0 += KEYS, *query = 0) {
        while (*query < j->count) {
            *query += STEP;
            if (plan(j, *key0, *query - STEP, t)) return true;
        }
    }
    return false;
}

/* Finishes step t, the scores of `next` (unless NULL) being computed along the way. */
static void run_step(job *j, const step *t, const step *next)
{
    rows_due due = {.t = t, .scores = j->s[0]};
    uint32_t end = position_of(j, j->count - 1) + 1;
    bool new_keys = next != NULL && next->key0 != t->key0;
    uint32_t units = new_keys ? (end - next->key0 + UNIT - 1) / UNIT : 0;
    if (units > KEYS / UNIT) units = KEYS / UNIT;
    if (new_keys) expand_some(j, next->key0, units, end, false);
    if (next != NULL) score(j, next, j->s[1], &due);
    while (due.done < STEP) soften(j, t, due.scores, due.done++);
    add_values(j, t);
    if (new_keys) expand_some(j, next->key0, units, end, true);
    float *scores = j->s[0];
    j->s[0] = j->s[1];
    j->s[1] = scores;
}

static void run_job(job *j)
{
    uint32_t key0 = first_key(j->a, position_of(j, 0)) / KEYS * KEYS, query = 0;
    uint32_t end = position_of(j, j->count - 1) + 1;
    uint32_t units = end - key0 < KEYS ? (end - key0 + UNIT - 1) / UNIT : KEYS / UNIT;
    for (uint32_t i = 0; i < (j->count + STEP - 1) / STEP * STEP; i++) start_query(j, i);
    expand_some(j, key0, units, end, false);
    expand_some(j, key0, units, end, true);
    step now, next;
    rows_due none = {.t = NULL};
    bool more = advance(j, &key0, &query, &now);
    if (more) score(j, &now, j->s[0], &none);
    while (more) {
        more = advance(j, &key0, &query, &next);
        run_step(j, &now, more ? &next : NULL);
        now = next;
    }
    for (uint32_t i = 0; i < j->count; i++) finish_query(j, i);
}

void nib__attention_prefill_amx(const nib__attention *a)
{
    uint32_t dim = a->kv.dim, n = a->n_rows * a->n_group;
    job j = {.a = a, .dim = dim, .k_steps = (dim + 31) / 32, .v_tiles = (dim + 15) / 16};
    carve(&j, a->scratch);
    memset(j.p, 0, STEP * KEYS * sizeof *j.p);
    configure_tiles(16, 16);
    for (j.first = 0; j.first < n; j.first += QUERIES) {
        j.count = n - j.first < QUERIES ? n - j.first : QUERIES;
        run_job(&j);
    }
    _tile_release();
}
