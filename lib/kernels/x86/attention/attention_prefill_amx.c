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
 * while the scores of a step become weights, the products of its neighbours are computed, a few
 * tile instructions between two rows: weights times values of the step before, scores of the step
 * after. The running maximum of a query is a bound: it moves only when a score exceeds it by 8
 * octaves (weights up to 2^8 do no harm), so sums are rarely rescaled. All this depends on the
 * query's own position alone, so its result does not depend on the company it is in. */
#include <float.h>
#include <math.h>

#include "kernels/x86/attention/attention_amx.h"

/* ---- softmax --------------------------------------------------------------------------------- */

/* 2^x, relative error below 2^-13. x = n + f with f in [0, 1), minimax polynomial of degree 3 for
 * 2^f. Below -126 it is 2^-126, NaN stays NaN. */
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

/* A score above the bound plus 8 octaves: the bound moves up to the largest score, and what was
 * summed shrinks. */
static __attribute__((noinline)) void raise_bound(const job *j, uint32_t i, float top)
{
    float old = j->bound[i], by = (old - top) * (1.0f / 128);
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
    return (__mmask16)(from >= 16 ? 0 : mask >> from << from);
}

/* Scores relative to the bound, in 128ths of octaves, become bf16 powers of 2 by integer arithmetic
 * (after Schraudolph, "A fast, compact approximation of the exponential function", 1999): the sum
 * of 127 * 128 and the score has the bits of 2^n (1 + f), and what the mantissa is off from 2^f is
 * in a table by the upper 5 bits of f. Relative error below 1.1 %, 0.35 % in the mean square. Below
 * 2^-126 it is 0, and so are -infinity and NaN. */
NIB_INLINE __m512i weights_of(__m512 x0, __m512 x1, __m512 from)
{
    static const int16_t off[32] = {0,   -2,  -3,  -4,  -5,  -6,  -7,  -7,  -8,  -9,  -9,
                                    -10, -10, -10, -11, -11, -11, -11, -11, -11, -10, -10,
                                    -10, -9,  -8,  -8,  -7,  -6,  -5,  -4,  -2,  -1};
    __m512i a = _mm512_cvtps_epi32(_mm512_sub_ps(x0, from));
    __m512i b = _mm512_cvtps_epi32(_mm512_sub_ps(x1, from));
    __m512i w = _mm512_packus_epi32(a, b);
    __m512i by = _mm512_permutexvar_epi16(_mm512_srli_epi16(w, 2), _mm512_loadu_si512(off));
    return _mm512_add_epi16(w, by);
}

/* What makes a row special: keys it does not see, biases, numbers that are no numbers. */
static __attribute__((noinline)) void adjust(const job *j, const step *t, uint32_t i, float *s)
{
    const nib__attention *a = j->a;
    uint32_t pos = j->pos[i], low = nib__first_key(a, pos), end = nib__end_key(a, pos);
    float bias[KEYS];
    if (a->bias != NULL) {
        uint32_t head = (j->first + i) % a->n_group;
        nib__key_biases(a, head, pos, t->key0, KEYS, bias);
    }
    __mmask16 bad = 0;
    for (uint32_t b = 0; b < KEYS / 16; b++) {
        __mmask16 mask = visible(t->key0 + 16 * b, low, end);
        if (b >= 2 * t->units) mask = 0;
        __m512 x = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), mask, s + 16 * b);
        bad |=
            _mm512_mask_cmp_ps_mask(mask, _mm512_abs_ps(x), _mm512_set1_ps(FLT_MAX), _CMP_NLE_UQ);
        if (a->bias != NULL) {
            const __m512 parts = _mm512_set1_ps(octave_parts);
            x = _mm512_fmadd_ps(_mm512_loadu_ps(bias + 16 * b), parts, x);
        }
        _mm512_storeu_ps(s + 16 * b, x);
    }
    if (bad == 0) return;
    _mm512_store_ps(j->sum + (size_t)i * 16, _mm512_set1_ps(NAN));
    for (uint32_t b = 0; b < KEYS; b++) s[b] = -INFINITY;
}

/* Scores of the step's row r become weights. */
static __attribute__((noinline)) void soften(const job *j, const step *t, float *scores, uint32_t r)
{
    uint32_t i = t->query + r;
    if (i >= j->count) return;
    float *s = scores + (size_t)r * KEYS;
    uint16_t *p = j->p[0] + (size_t)r * KEYS;
    fetch_ahead(j, t->key0 + KEYS, i);
    if (!t->whole || j->a->bias != NULL || t->huge) adjust(j, t, i, s);
    __m512 x[KEYS / 16], top;
    NIB_UNROLL
    for (uint32_t b = 0; b < KEYS / 16; b++) {
        x[b] = _mm512_load_ps(s + 16 * b);
        top = b == 0 ? x[0] : _mm512_max_ps(top, x[b]);
    }
    float bound = j->bound[i];
    /* True if the bound is still -infinity and something is visible. */
    if (_mm512_cmp_ps_mask(top, _mm512_set1_ps(bound + 8 * 128.0f), _CMP_GT_OQ) != 0) {
        bound = _mm512_reduce_max_ps(top);
        raise_bound(j, i, bound);
    }
    const __m512 from = _mm512_set1_ps(bound - 127 * 128.0f);
    const __m512i one = _mm512_set1_epi16(0x3f80);
    __m512 sum = _mm512_load_ps(j->sum + (size_t)i * 16);
    NIB_UNROLL
    for (uint32_t b = 0; b < KEYS / 16; b += 2) {
        __m512i w = weights_of(x[b], x[b + 1], from);
        sum = _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)one);
        _mm512_store_si512(p + 16 * b, w);
    }
    _mm512_store_ps(j->sum + (size_t)i * 16, sum);
}

/* ---- products -------------------------------------------------------------------------------- */

/* The rows of one step's softmax, dealt out between the products of its neighbours. */
typedef struct rows_due {
    const step *t; /* NULL: none */
    float *scores;
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

/* Products of 32 queries with 32 keys or values, in score and in add_values. */
static uint32_t score_products(const job *j, const step *t)
{
    return t->units * j->k_steps;
}

static uint32_t value_products(const job *j, const step *t)
{
    return t->units * ((j->v_tiles + 1) / 2);
}

/* Scores of step t. */
static void score(const job *j, const step *t, float *scores, rows_due *due)
{
    size_t apart = (size_t)j->k_steps * TILE_BYTES, query = t->query / 16 * apart;
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
static void add_values(const job *j, const step *t, const uint16_t *weights, rows_due *due)
{
    float *o = j->o + (size_t)(t->query / 16) * j->v_tiles * TILE_FLOATS;
    const size_t down = (size_t)j->v_tiles * TILE_FLOATS, row = KEYS * sizeof *weights;
    const uint8_t *p = (const uint8_t *)weights;
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
            if (two) {
                _tile_loadd(7, v + TILE_BYTES, 64);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(3, 5, 7);
            }
            soften_some(j, due);
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
    uint32_t first = j->pos[query], last = j->pos[query + STEP - 1];
    uint32_t end = nib__end_key(j->a, last);
    if (end <= key0 || nib__first_key(j->a, first) >= key0 + KEYS) return false;
    *t = (step){.query = query, .key0 = key0, .units = units_of(key0, end)};
    t->whole = nib__end_key(j->a, first) >= key0 + KEYS && nib__first_key(j->a, last) <= key0;
    return true;
}

/* The next step after (*key0, *query) that sees something; false at the end. */
static bool advance(const job *j, uint32_t *key0, uint32_t *query, step *t)
{
    for (; *key0 < j->end; *key0 += KEYS, *query = 0) {
        while (*query < j->count) {
            *query += STEP;
            if (plan(j, *key0, *query - STEP, t)) return true;
        }
    }
    return false;
}

/* The weights of step `now`, while values are added for the step before and scores are made for the
 * next one; either may be NULL. */
static void run_step(job *j, const step *before, const step *now, step *next)
{
    rows_due due = {.t = now, .scores = j->s[0]}, none = {.t = NULL};
    /* The softmax may rescale the sums of its own queries only. */
    bool apart = before != NULL && before->query != now->query;
    if (apart) due.of += value_products(j, before);
    if (next != NULL) due.of += score_products(j, next);
    if (before != NULL) {
        need_values(j, before->key0);
        add_values(j, before, j->p[1], apart ? &due : &none);
    }
    if (next != NULL) {
        need_keys(j, next->key0);
        next->huge = j->k_huge || j->q_huge;
        score(j, next, j->s[1], &due);
    }
    while (due.done < STEP) soften(j, now, due.scores, due.done++);
    float *scores = j->s[0];
    j->s[0] = j->s[1];
    j->s[1] = scores;
    uint16_t *weights = j->p[0];
    j->p[0] = j->p[1];
    j->p[1] = weights;
}

static void run_job(job *j)
{
    const uint32_t nothing = UINT32_MAX;
    j->q_huge = false;
    for (uint32_t i = 0; i < (j->count + STEP - 1) / STEP * STEP; i++) start_query(j, i);
    j->end = nib__end_key(j->a, j->pos[j->count - 1]);
    j->k_key0 = j->v_key0 = nothing;
    j->ahead = (j->dim * KEYS * 2 / j->count + 63) / 64;
    uint32_t key0 = nib__first_key(j->a, j->pos[0]) / KEYS * KEYS, query = 0;
    step before, now, next;
    rows_due none = {.t = NULL};
    bool started = false, more = advance(j, &key0, &query, &now);
    if (more) {
        need_keys(j, now.key0);
        now.huge = j->k_huge || j->q_huge;
        score(j, &now, j->s[0], &none);
    }
    while (more) {
        more = advance(j, &key0, &query, &next);
        run_step(j, started ? &before : NULL, &now, more ? &next : NULL);
        before = now;
        now = next;
        started = true;
    }
    if (started) {
        need_values(j, before.key0);
        add_values(j, &before, j->p[1], &none);
    }
    for (uint32_t i = 0; i < j->count; i++) finish_query(j, i);
}

size_t nib__attention_prefill_scratch_amx(uint32_t dim)
{
    return job_bytes(dim);
}

void nib__attention_prefill_amx(const nib__attention *a)
{
    uint32_t dim = a->kv.dim, n = a->n_rows * a->n_group;
    job j = {.a = a, .dim = dim, .k_steps = (dim + 31) / 32, .v_tiles = (dim + 15) / 16};
    carve(&j, a->scratch);
    memset(j.p[0], 0, 2 * STEP * KEYS * sizeof *j.p[0]);
    configure_tiles(16, 16);
    for (j.first = 0; j.first < n; j.first += QUERIES) {
        j.count = n - j.first < QUERIES ? n - j.first : QUERIES;
        run_job(&j);
    }
    _tile_release();
}
