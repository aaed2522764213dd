/* SPDX-License-Identifier: MIT
 * Attention with an online softmax over blocks of 64 keys (Milakov and Gimelshein, "Online
 * normalizer calculation for softmax", 2018), for all query heads that share one KV head.
 *
 * Queries (position, head) are taken in tiles. For every block of keys a tile computes scores
 * [tile][64] (lanes are keys), the softmax update, and the weighted sum of values (lanes are
 * dimensions), both products in register blocks of up to 6 queries by 64 lanes. Large tiles first
 * expand the block of keys and values to float32; small ones (decode) convert while they load.
 * Every query's operations and their order depend on its own position only. */
#include "kernels/visible.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/math_avx512.h"
#include "kernels/x86/unpack_avx512.h"

enum {
    KEYS = 64, /* keys per block */
    SUB = KEYS / 16,
    TILE = 48, /* queries per tile */
    DIRECT = 6 /* tiles up to this size convert keys and values while loading */
};

static const float log2_e = 1.44269504f;

/* Numbers of keys and values as they lie in the cache, or expanded. */
typedef enum source { SOURCE_F32, SOURCE_F16, SOURCE_Q8 } source;

typedef struct tile {
    const nib__attention *a;
    uint32_t dim, dim16;   /* head size, and rounded up to 16 */
    uint32_t first, count; /* queries, numbered position-major */
    float *q;              /* [TILE][dim], scaled by scale * log2(e) */
    float *o;              /* [TILE][dim16] */
    float *s;              /* [TILE][KEYS] scores, then weights */
    float *m, *l, *alpha;  /* [TILE] running maximum and sum; factor for the old sum */
    float *k;              /* [SUB][dim][16] expanded keys */
    float *v;              /* [KEYS][dim16] expanded values */
} tile;

size_t nib__attention_scratch_avx512(uint32_t dim)
{
    size_t dim16 = nib__align_up(dim, 16);
    return sizeof(float) * (TILE * (2 * dim16 + KEYS + 3) + 2 * KEYS * dim16);
}

NIB_INLINE __m512 load_lanes(source src, const void *base, size_t i)
{
    if (src == SOURCE_F32) return _mm512_loadu_ps((const float *)base + i);
    if (src == SOURCE_F16) return load_f16((const uint8_t *)base + 2 * i);
    return load_i8((const uint8_t *)base + i);
}

/* s[rows][16 * subs] = q . k for `subs` sub-blocks; rows and subs are constants. */
NIB_INLINE void score_rows(source src, int rows, int subs, const void *k, size_t k_first,
                           uint32_t dim, const float *q, float *s)
{
    __m512 acc[6][SUB];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int b = 0; b < subs; b++) acc[r][b] = _mm512_setzero_ps();
    }
    for (uint32_t d = 0; d < dim; d++) {
        __m512 keys[SUB];
        NIB_UNROLL
        for (int b = 0; b < subs; b++) {
            keys[b] = load_lanes(src, k, k_first + ((size_t)b * dim + d) * 16);
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512 x = _mm512_set1_ps(q[(size_t)r * dim + d]);
            NIB_UNROLL
            for (int b = 0; b < subs; b++) acc[r][b] = _mm512_fmadd_ps(x, keys[b], acc[r][b]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int b = 0; b < subs; b++) _mm512_storeu_ps(s + r * KEYS + 16 * b, acc[r][b]);
    }
}

NIB_INLINE void score_block(source src, int rows, const void *k, size_t k_first, uint32_t subs,
                            uint32_t dim, const float *q, float *s)
{
    if (subs == SUB) {
        score_rows(src, rows, SUB, k, k_first, dim, q, s);
        return;
    }
    for (uint32_t b = 0; b < subs; b++) {
        score_rows(src, rows, 1, k, k_first + (size_t)b * dim * 16, dim, q, s + 16 * b);
    }
}

NIB_INLINE void score_tile(source src, const tile *t, const void *k, size_t k_first, uint32_t subs)
{
    for (uint32_t r = 0, step; r < t->count; r += step) {
        const float *q = t->q + (size_t)r * t->dim;
        float *s = t->s + (size_t)r * KEYS;
        uint32_t left = t->count - r;
        step = left >= 6 ? 6 : left >= 3 ? 3 : left;
        switch (step) {
        case 6: score_block(src, 6, k, k_first, subs, t->dim, q, s); break;
        case 3: score_block(src, 3, k, k_first, subs, t->dim, q, s); break;
        case 2: score_block(src, 2, k, k_first, subs, t->dim, q, s); break;
        default: score_block(src, 1, k, k_first, subs, t->dim, q, s); break;
        }
    }
}

/* o[rows][16 * vecs] = o * alpha + sum over keys of s * v; rows and vecs are constants. */
NIB_INLINE void value_rows(source src, int rows, int vecs, const tile *t, uint32_t row, uint32_t d,
                           const void *v, size_t v_first, size_t v_stride, uint32_t n_keys)
{
    float *o = t->o + (size_t)row * t->dim16 + d;
    const float *s = t->s + (size_t)row * KEYS;
    __m512 acc[6][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        __m512 alpha = _mm512_set1_ps(t->alpha[row + (uint32_t)r]);
        NIB_UNROLL
        for (int i = 0; i < vecs; i++) {
            acc[r][i] = _mm512_mul_ps(alpha, _mm512_loadu_ps(o + r * (size_t)t->dim16 + 16 * i));
        }
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        __m512 values[4];
        NIB_UNROLL
        for (int i = 0; i < vecs; i++) {
            values[i] = load_lanes(src, v, v_first + key * v_stride + d + 16 * (size_t)i);
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            __m512 weight = _mm512_set1_ps(s[r * KEYS + key]);
            NIB_UNROLL
            for (int i = 0; i < vecs; i++) {
                acc[r][i] = _mm512_fmadd_ps(weight, values[i], acc[r][i]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int i = 0; i < vecs; i++) {
            _mm512_storeu_ps(o + r * (size_t)t->dim16 + 16 * i, acc[r][i]);
        }
    }
}

NIB_INLINE void value_block(source src, int rows, const tile *t, uint32_t row, const void *v,
                            size_t v_first, size_t v_stride, uint32_t n_keys)
{
    uint32_t d = 0;
    for (; d + 64 <= t->dim16; d += 64) {
        value_rows(src, rows, 4, t, row, d, v, v_first, v_stride, n_keys);
    }
    for (; d < t->dim16; d += 16) {
        value_rows(src, rows, 1, t, row, d, v, v_first, v_stride, n_keys);
    }
}

NIB_INLINE void value_tile(source src, const tile *t, const void *v, size_t v_first,
                           size_t v_stride, uint32_t n_keys)
{
    for (uint32_t r = 0, step; r < t->count; r += step) {
        uint32_t left = t->count - r;
        step = left >= 6 ? 6 : left >= 3 ? 3 : left;
        switch (step) {
        case 6: value_block(src, 6, t, r, v, v_first, v_stride, n_keys); break;
        case 3: value_block(src, 3, t, r, v, v_first, v_stride, n_keys); break;
        case 2: value_block(src, 2, t, r, v, v_first, v_stride, n_keys); break;
        default: value_block(src, 1, t, r, v, v_first, v_stride, n_keys); break;
        }
    }
}

/* Scores of the tile with the first `subs` sub-blocks of keys at element k_first of k. One copy of
 * each source serves direct and expanded blocks, for each takes 6 KB. */
static void score_any(source src, const tile *t, const void *k, size_t k_first, uint32_t subs)
{
    switch (src) {
    case SOURCE_F32: score_tile(SOURCE_F32, t, k, k_first, subs); break;
    case SOURCE_F16: score_tile(SOURCE_F16, t, k, k_first, subs); break;
    case SOURCE_Q8: score_tile(SOURCE_Q8, t, k, k_first, subs); break;
    }
}

static void value_any(source src, const tile *t, const void *v, size_t v_first, size_t v_stride,
                      uint32_t n_keys)
{
    switch (src) {
    case SOURCE_F32: value_tile(SOURCE_F32, t, v, v_first, v_stride, n_keys); break;
    case SOURCE_F16: value_tile(SOURCE_F16, t, v, v_first, v_stride, n_keys); break;
    case SOURCE_Q8: value_tile(SOURCE_Q8, t, v, v_first, v_stride, n_keys); break;
    }
}

static uint32_t position_of(const tile *t, uint32_t r)
{
    return t->a->pos0 + (t->first + r) / t->a->n_group;
}

/* Turns the scores of query r with keys [key0, key0 + KEYS) into weights and updates its running
 * maximum and sum. Keys outside the query's range get weight 0. */
static void softmax_row(const tile *t, uint32_t r, uint32_t key0)
{
    const nib__attention *a = t->a;
    uint32_t pos = position_of(t, r), low = nib__first_key(a, pos), end = nib__end_key(a, pos);
    uint64_t visible = ~(uint64_t)0;
    if (low > key0) visible = low - key0 >= KEYS ? 0 : visible << (low - key0);
    if (end <= key0)
        visible = 0;
    else if (end - key0 < KEYS)
        visible &= ((uint64_t)1 << (end - key0)) - 1;
    float bias[KEYS];
    if (a->bias != NULL) nib__key_biases(a, (t->first + r) % a->n_group, pos, key0, KEYS, bias);

    float *s = t->s + (size_t)r * KEYS;
    const __m512 none = _mm512_set1_ps(-1e30f);
    __m512 score[SUB], top = none;
    NIB_UNROLL
    for (int b = 0; b < SUB; b++) {
        __mmask16 mask = (__mmask16)(visible >> 16 * b);
        score[b] = _mm512_mask_loadu_ps(none, mask, s + 16 * b);
        if (a->kv.type == NIB_KV_Q8) {
            __m512 scale = _mm512_maskz_loadu_ps(mask, a->kv.k_scale + key0 + 16 * b);
            score[b] = _mm512_mask_mul_ps(none, mask, score[b], scale);
        }
        if (a->bias != NULL) { /* scores are times log2(e) */
            __m512 add = _mm512_mul_ps(_mm512_loadu_ps(bias + 16 * b), _mm512_set1_ps(log2_e));
            score[b] = _mm512_mask_add_ps(none, mask, score[b], add);
        }
        top = _mm512_max_ps(top, score[b]);
    }
    float old = t->m[r], max = _mm512_reduce_max_ps(top);
    if (old > max) max = old;
    const __m512 max16 = _mm512_set1_ps(max), floor = _mm512_set1_ps(-200.0f);
    __m512 sum = _mm512_setzero_ps();
    NIB_UNROLL
    for (int b = 0; b < SUB; b++) {
        __mmask16 mask = (__mmask16)(visible >> 16 * b);
        __m512 x = _mm512_max_ps(floor, _mm512_sub_ps(score[b], max16));
        __m512 p = _mm512_maskz_mov_ps(mask, nib__exp2_avx512(x));
        sum = _mm512_add_ps(sum, p);
        if (a->kv.type == NIB_KV_Q8) {
            p = _mm512_mul_ps(p, _mm512_maskz_loadu_ps(mask, a->kv.v_scale + key0 + 16 * b));
        }
        _mm512_storeu_ps(s + 16 * b, p);
    }
    float alpha = 1.0f; /* mostly: the maximum is found early */
    if (old != max) {
        __m512 change = _mm512_max_ps(floor, _mm512_set1_ps(old - max));
        alpha = _mm512_cvtss_f32(nib__exp2_avx512(change));
    }
    t->m[r] = max;
    t->l[r] = t->l[r] * alpha + _mm512_reduce_add_ps(sum);
    t->alpha[r] = alpha;
}

/* Keys and values of one block to float32, once for the whole tile. */
NIB_INLINE void expand(source src, const tile *t, uint32_t key0, uint32_t subs, uint32_t n_keys)
{
    size_t n = (size_t)subs * t->dim * 16;
    for (size_t i = 0; i < n; i += 16) {
        _mm512_storeu_ps(t->k + i, load_lanes(src, t->a->kv.k, (size_t)key0 * t->dim + i));
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        size_t from = ((size_t)key0 + key) * t->dim;
        float *to = t->v + (size_t)key * t->dim16;
        uint32_t d = 0;
        for (; d + 16 <= t->dim; d += 16) {
            _mm512_storeu_ps(to + d, load_lanes(src, t->a->kv.v, from + d));
        }
        if (d == t->dim) continue;
        __mmask16 mask = nib__lanes(t->dim - d);
        if (src == SOURCE_F32) {
            const float *plain = (const float *)t->a->kv.v + from + d;
            _mm512_storeu_ps(to + d, _mm512_maskz_loadu_ps(mask, plain));
        } else if (src == SOURCE_F16) {
            __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)t->a->kv.v + from + d);
            _mm512_storeu_ps(to + d, _mm512_cvtph_ps(half));
        } else {
            __m128i byte = _mm_maskz_loadu_epi8(mask, (const int8_t *)t->a->kv.v + from + d);
            _mm512_storeu_ps(to + d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(byte)));
        }
    }
}

static void expand_any(source src, const tile *t, uint32_t key0, uint32_t subs, uint32_t n_keys)
{
    switch (src) {
    case SOURCE_F32: expand(SOURCE_F32, t, key0, subs, n_keys); break;
    case SOURCE_F16: expand(SOURCE_F16, t, key0, subs, n_keys); break;
    case SOURCE_Q8: expand(SOURCE_Q8, t, key0, subs, n_keys); break;
    }
}

static source source_of(const nib__kv_head *kv)
{
    if (kv->type == NIB_KV_Q8) return SOURCE_Q8;
    return kv->type == NIB__KV_F32 ? SOURCE_F32 : SOURCE_F16;
}

static void attend_block(source src, const tile *t, uint32_t key0, uint32_t n_keys)
{
    const nib__kv_head *kv = &t->a->kv;
    uint32_t subs = (n_keys + 15) / 16;
    size_t first = (size_t)key0 * t->dim;
    bool direct = t->count <= DIRECT && t->dim == t->dim16;
    if (direct) {
        score_any(src, t, kv->k, first, subs);
    } else {
        expand_any(src, t, key0, subs, n_keys);
        score_any(SOURCE_F32, t, t->k, 0, subs);
    }
    for (uint32_t r = 0; r < t->count; r++) softmax_row(t, r, key0);
    if (direct) {
        value_any(src, t, kv->v, first, t->dim, n_keys);
    } else {
        value_any(SOURCE_F32, t, t->v, 0, t->dim16, n_keys);
    }
}

static void start_tile(const tile *t)
{
    const nib__attention *a = t->a;
    const __m512 scale = _mm512_set1_ps(a->scale * log2_e);
    for (uint32_t r = 0; r < t->count; r++) {
        uint32_t i = t->first + r;
        const float *q = a->q + i / a->n_group * a->q_stride + (size_t)(i % a->n_group) * t->dim;
        for (uint32_t d = 0; d < t->dim; d += 16) {
            __mmask16 mask = nib__lanes(t->dim - d);
            __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, q + d), scale);
            _mm512_mask_storeu_ps(t->q + (size_t)r * t->dim + d, mask, x);
        }
        for (uint32_t d = 0; d < t->dim16; d += 16) {
            _mm512_storeu_ps(t->o + (size_t)r * t->dim16 + d, _mm512_setzero_ps());
        }
        t->m[r] = -1e30f;
        t->l[r] = 0.0f;
    }
}

static void finish_tile(const tile *t)
{
    const nib__attention *a = t->a;
    for (uint32_t r = 0; r < t->count; r++) {
        uint32_t i = t->first + r;
        float *out = a->out + i / a->n_group * a->out_stride + (size_t)(i % a->n_group) * t->dim;
        __m512 factor = _mm512_set1_ps(1.0f / t->l[r]);
        for (uint32_t d = 0; d < t->dim; d += 16) {
            __mmask16 mask = nib__lanes(t->dim - d);
            __m512 x = _mm512_loadu_ps(t->o + (size_t)r * t->dim16 + d);
            _mm512_mask_storeu_ps(out + d, mask, _mm512_mul_ps(x, factor));
        }
    }
}

void nib__attention_avx512(const nib__attention *a)
{
    tile t = {.a = a, .dim = a->kv.dim, .dim16 = (a->kv.dim + 15) & ~15u};
    t.k = a->scratch;
    t.v = t.k + (size_t)KEYS * t.dim16;
    t.s = t.v + (size_t)KEYS * t.dim16;
    t.q = t.s + TILE * KEYS;
    t.o = t.q + (size_t)TILE * t.dim16;
    t.m = t.o + (size_t)TILE * t.dim16;
    t.l = t.m + TILE;
    t.alpha = t.l + TILE;
    uint32_t n = a->n_rows * a->n_group;
    for (t.first = 0; t.first < n; t.first += TILE) {
        t.count = n - t.first < TILE ? n - t.first : TILE;
        uint32_t end = nib__end_key(a, position_of(&t, t.count - 1));
        uint32_t key0 = nib__first_key(a, position_of(&t, 0)) / KEYS * KEYS;
        start_tile(&t);
        for (; key0 < end; key0 += KEYS) {
            uint32_t n_keys = end - key0 < KEYS ? end - key0 : KEYS;
            attend_block(source_of(&a->kv), &t, key0, n_keys);
        }
        finish_tile(&t);
    }
}
