/* SPDX-License-Identifier: MIT
 * Attention and the KV cache, for every level this CPU has: the cache holds the same bytes as
 * scalar C writes, results match float64, and a row gives the same bits alone and in company. */
#define _GNU_SOURCE
#include "levels.h"

#include <math.h>
#include <time.h>

#include "base/half.h"
#include "guard.h"
#include "matrices.h"

typedef struct cache {
    nib__kv_head head;
    size_t bytes, scale_bytes;
} cache;

static void cache_make(cache *c, uint32_t dim, uint32_t type, uint32_t n_pos)
{
    uint32_t capacity = (n_pos + 15) / 16 * 16;
    c->bytes = (size_t)capacity * dim * (type == NIB_KV_Q8 ? 1 : type == NIB__KV_F32 ? 4 : 2);
    c->scale_bytes = type == NIB_KV_Q8 ? capacity * sizeof(float) : 0;
    c->head = (nib__kv_head){.dim = dim, .type = type};
    c->head.k = guard_alloc(c->bytes);
    c->head.v = guard_alloc(c->bytes);
    c->head.k_scale = guard_alloc(c->scale_bytes);
    c->head.v_scale = guard_alloc(c->scale_bytes);
}

static void cache_free(cache *c)
{
    guard_free(c->head.k, c->bytes);
    guard_free(c->head.v, c->bytes);
    guard_free(c->head.k_scale, c->scale_bytes);
    guard_free(c->head.v_scale, c->scale_bytes);
}

/* Fills positions 0..n_pos-1 with both tables and compares the bytes. */
static void fill(cache *c, const nib__kernels *level, const nib__kernels *scalar, uint32_t n_pos,
                 float spread, rng *r)
{
    cache want;
    float k[256], v[256];
    uint32_t dim = c->head.dim;
    cache_make(&want, dim, c->head.type, n_pos);
    for (uint32_t pos = 0; pos < n_pos; pos++) {
        for (uint32_t i = 0; i < dim; i++) {
            k[i] = rng_float(r) * spread;
            v[i] = pos % 7 == 3 ? 0.0f : rng_float(r) * (pos % 5 == 0 ? 1e-6f : 3.0f);
        }
        if (pos % 9 == 1) k[pos % dim] = spread * 40.0f;
        level->kv_store(&c->head, pos, k, v);
        scalar->kv_store(&want.head, pos, k, v);
    }
    assert_memory_equal(c->head.k, want.head.k, c->bytes);
    assert_memory_equal(c->head.v, want.head.v, c->bytes);
    if (c->scale_bytes != 0) {
        assert_memory_equal(c->head.k_scale, want.head.k_scale, c->scale_bytes);
        assert_memory_equal(c->head.v_scale, want.head.v_scale, c->scale_bytes);
    }
    cache_free(&want);
}

static double cached(const nib__kv_head *kv, const void *data, const float *scale, uint32_t pos,
                     size_t at)
{
    if (kv->type == NIB_KV_Q8) return (double)((const int8_t *)data)[at] * (double)scale[pos];
    if (kv->type == NIB__KV_F32) return (double)((const float *)data)[at];
    return (double)nib__f32_of_f16(((const uint16_t *)data)[at]);
}

/* What a kernel may err, relative to the sum of a score's terms and to the largest value. */
typedef struct bounds {
    double score, value;
} bounds;

/* Query head h of the group at pos in float64, and how far a result may be from it. */
static void exact(const nib__attention *a, uint32_t h, const float *q, uint32_t pos, bounds err,
                  double *out, double *allowed)
{
    uint32_t dim = a->kv.dim, from = a->window != 0 && pos >= a->window ? pos - a->window + 1 : 0;
    uint32_t end = a->n_keys != 0 ? a->n_keys : pos + 1;
    double *scores = calloc(end, sizeof *scores), top = -INFINITY, sum = 0, size = 0, max_v = 0;
    for (uint32_t p = from; p < end; p++) {
        double terms = 0;
        if (a->bias != NULL) {
            int reach = (int)a->bias_reach, distance = (int)p - (int)pos;
            distance = distance < -reach ? -reach : distance > reach ? reach : distance;
            scores[p] = (double)a->bias[h * (2 * a->bias_reach + 1) + (uint32_t)(distance + reach)];
            terms += fabs(scores[p]);
        }
        for (uint32_t i = 0; i < dim; i++) {
            size_t at = ((size_t)(p / 16) * dim + i) * 16 + p % 16;
            double term = (double)q[i] * cached(&a->kv, a->kv.k, a->kv.k_scale, p, at);
            scores[p] += term * (double)a->scale;
            terms += fabs(term) * (double)a->scale;
        }
        if (terms > size) size = terms;
        if (scores[p] > top) top = scores[p];
    }
    for (uint32_t i = 0; i < dim; i++) out[i] = 0;
    for (uint32_t p = from; p < end; p++) {
        double weight = exp(scores[p] - top);
        sum += weight;
        for (uint32_t i = 0; i < dim; i++) {
            double v = cached(&a->kv, a->kv.v, a->kv.v_scale, p, (size_t)p * dim + i);
            out[i] += weight * v;
            if (fabs(v) > max_v) max_v = fabs(v);
        }
    }
    for (uint32_t i = 0; i < dim; i++) out[i] /= sum;
    double score = err.score + 2 * 0x1p-24 * (dim + 4.0);
    double value = err.value + 0x1p-24 * (end - from + 20.0);
    *allowed = (score * size + value) * max_v * 2;
    free(scores);
}

static void check_exact(const nib__attention *a, bounds err, const char *what)
{
    for (uint32_t row = 0; row < a->n_rows; row++) {
        for (uint32_t h = 0; h < a->n_group; h++) {
            double want[256], allowed;
            const float *got = a->out + row * a->out_stride + (size_t)h * a->kv.dim;
            exact(a, h, a->q + row * a->q_stride + (size_t)h * a->kv.dim, a->pos0 + row, err, want,
                  &allowed);
            for (uint32_t i = 0; i < a->kv.dim; i++) {
                if (!(fabs((double)got[i] - want[i]) <= allowed)) {
                    fail_msg("%s: position %u head %u [%u] = %.9g, exact %.9g, allowed %.3g", what,
                             a->pos0 + row, h, i, (double)got[i], want[i], allowed);
                }
            }
        }
    }
}

typedef void attention_fn(const nib__attention *a);

static void check_rows_alone(attention_fn *run, const nib__attention *all, const char *what)
{
    size_t width = (size_t)all->n_group * all->kv.dim;
    float *out = guard_alloc(width * sizeof(float));
    for (uint32_t row = 0; row<all->n_rows; row += all->n_rows> 9 ? 9 : 1) {
        nib__attention one = *all;
        one.q = all->q + row * all->q_stride;
        one.out = out;
        one.n_rows = 1;
        one.pos0 = all->pos0 + row;
        run(&one);
        if (memcmp(one.out, all->out + row * all->out_stride, width * sizeof(float)) != 0) {
            fail_msg("%s: position %u differs when evaluated alone", what, one.pos0);
        }
    }
    guard_free(out, width * sizeof(float));
}

typedef struct shape {
    uint32_t dim, n_group, pos0, n_rows, window;
    uint32_t n_keys, reach; /* the encoder's look in both directions; biases by distance */
} shape;

static const shape shapes[] = {
    {64, 3, 0, 1, 0, 0, 0},     {64, 3, 0, 17, 0, 0, 0},    {64, 3, 62, 5, 0, 0, 0},
    {128, 6, 200, 1, 0, 0, 0},  {128, 6, 0, 80, 0, 0, 0},   {128, 6, 63, 70, 0, 0, 0},
    {32, 1, 300, 9, 0, 0, 0},   {80, 2, 100, 20, 0, 0, 0},  {16, 8, 5, 3, 0, 0, 0},
    {96, 4, 127, 2, 0, 0, 0},   {256, 1, 40, 30, 0, 0, 0},  {64, 1, 500, 40, 64, 0, 0},
    {64, 3, 0, 100, 10, 0, 0},  {128, 6, 150, 30, 1, 0, 0}, {64, 9, 90, 7, 33, 0, 0},
    {128, 2, 700, 1, 0, 0, 0},  {64, 9, 300, 90, 0, 0, 0},  {32, 1, 250, 150, 200, 0, 0},
    {64, 1, 0, 70, 0, 70, 20},  {5, 3, 0, 23, 0, 23, 9},    {24, 1, 9, 1, 0, 130, 0},
    {5, 3, 60, 20, 0, 0, 0},    {7, 1, 0, 40, 9, 0, 0},     {21, 4, 127, 1, 0, 0, 0},
    {1, 2, 0, 5, 0, 0, 0},      {64, 2, 3, 20, 0, 65, 0},   {7, 2, 0, 140, 0, 0, 33},
    {64, 1, 200, 1, 0, 0, 128},
};

/* Decode's attention, or prefill's, which may round queries, weights and values about as bf16 does.
 */
static void check_shape(const nib__kernels *level, const nib__kernels *scalar, shape s,
                        uint32_t type, float spread, bool prefill, rng *r)
{
    char what[160];
    snprintf(what, sizeof what,
             "%s %s %s dim %u group %u rows %u at %u window %u keys %u reach %u spread %g",
             nib__isa_name(level->isa), prefill ? "prefill" : "decode",
             type == NIB_KV_Q8    ? "q8"
             : type == NIB_KV_F16 ? "f16"
                                  : "f32",
             s.dim, s.n_group, s.n_rows, s.pos0, s.window, s.n_keys, s.reach, (double)spread);
    attention_fn *run = prefill ? level->attention_prefill : level->attention;
    bool same = level->attention_prefill == level->attention;
    if (prefill && (same || type == NIB__KV_F32)) return;
    bounds err = prefill ? (bounds){0x1p-8, 0x1p-7} : (bounds){0, 0};
    cache c;
    uint32_t n_pos = s.n_keys > s.pos0 + s.n_rows ? s.n_keys : s.pos0 + s.n_rows;
    cache_make(&c, s.dim, type, n_pos);
    fill(&c, level, scalar, n_pos, spread, r);
    size_t bias_bytes = s.n_group * (2 * s.reach + 1) * sizeof(float);
    float *bias = guard_alloc(bias_bytes);
    for (size_t i = 0; i < bias_bytes / sizeof(float); i++) bias[i] = 3 * rng_float(r);
    size_t stride = (size_t)s.n_group * s.dim + 32, size = stride * s.n_rows * sizeof(float);
    float *q = guard_alloc(size), *out = guard_alloc(size);
    size_t scratch_bytes =
        prefill ? level->attention_prefill_scratch(s.dim) : level->attention_scratch(s.dim);
    nib__attention a = {.kv = c.head,
                        .q = q,
                        .out = out,
                        .q_stride = stride,
                        .out_stride = stride,
                        .n_rows = s.n_rows,
                        .n_group = s.n_group,
                        .pos0 = s.pos0,
                        .window = s.window,
                        .n_keys = s.n_keys,
                        .bias = s.reach != 0 ? bias : NULL,
                        .bias_reach = s.reach,
                        .scale = 1.0f / sqrtf((float)s.dim),
                        .scratch = guard_alloc(scratch_bytes)};
    for (size_t i = 0; i < size / sizeof(float); i++) {
        q[i] = rng_float(r) * spread;
        out[i] = -777.0f;
    }
    memset(a.scratch, 0xff, scratch_bytes); /* NaN */
    run(&a);
    for (uint32_t row = 0; row < s.n_rows; row++) {
        for (size_t i = stride - 32; i < stride; i++) {
            if (out[row * stride + i] != -777.0f) fail_msg("%s: wrote past the row", what);
        }
    }
    check_exact(&a, err, what);
    check_rows_alone(run, &a, what);
    guard_free(bias, bias_bytes);
    guard_free(q, size);
    guard_free(out, size);
    guard_free(a.scratch, scratch_bytes);
    cache_free(&c);
}

static void test_level(void **state)
{
    const nib__isa isa = level_here(state);
    nib__kernels level, scalar;
    nib__kernels_init(&level, isa, NIB_PRECISION_DEFAULT);
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    rng r = {42};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int prefill = 0; prefill < 2; prefill++) {
            uint32_t either = i % 2 ? NIB_KV_F16 : NIB_KV_Q8;
            check_shape(&level, &scalar, shapes[i], NIB_KV_F16, 1.0f, prefill, &r);
            check_shape(&level, &scalar, shapes[i], NIB_KV_Q8, 1.0f, prefill, &r);
            check_shape(&level, &scalar, shapes[i], NIB__KV_F32, 1.0f, prefill, &r);
            check_shape(&level, &scalar, shapes[i], either, 30.0f, prefill, &r);
        }
    }
}

static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The thread's own time of `rows` rows behind n_pos - rows positions: best of several. */
static void bench_shape(const nib__kernels *level, uint32_t dim, uint32_t n_group, uint32_t rows,
                        uint32_t n_pos, uint32_t type)
{
    cache c;
    rng r = {3};
    cache_make(&c, dim, type, n_pos);
    fill(&c, level, level, n_pos, 1.0f, &r);
    size_t stride = (size_t)n_group * dim, size = rows * stride * sizeof(float);
    size_t scratch = rows > NIB__DECODE_ROWS ? level->attention_prefill_scratch(dim)
                                             : level->attention_scratch(dim);
    float *q = guard_alloc(size);
    nib__attention a = {.kv = c.head,
                        .q = q,
                        .out = guard_alloc(size),
                        .q_stride = stride,
                        .out_stride = stride,
                        .n_rows = rows,
                        .n_group = n_group,
                        .pos0 = n_pos - rows,
                        .scale = 1.0f / sqrtf((float)dim),
                        .scratch = guard_alloc(scratch)};
    for (size_t i = 0; i < rows * stride; i++) q[i] = rng_float(&r);
    double best = 1e30;
    for (int turn = 0; turn < 9; turn++) {
        uint64_t start = thread_ns();
        (rows > NIB__DECODE_ROWS ? level->attention_prefill : level->attention)(&a);
        double us = (double)(thread_ns() - start) * 1e-3;
        if (us < best) best = us;
    }
    double scores = (double)n_group * rows * (n_pos - (rows - 1) / 2.0);
    printf("%-10s attention %s dim %3u, %3u rows, %u heads, %u positions: %8.1f us, %6.1f GMAC/s, "
           "%5.2f ns per score\n",
           nib__isa_name(level->isa), type == NIB_KV_Q8 ? "q8 " : "f16", dim, rows, n_group, n_pos,
           best, 2e-3 * dim * scores / best, best * 1e3 / scores);
    guard_free(q, size);
    guard_free(a.out, size);
    guard_free(a.scratch, scratch);
    cache_free(&c);
}

/* One decode step and a piece of a long prompt, with the heads of SmolLM2-135M and Qwen-1.5B. */
static int bench(const char *only)
{
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        if (only != NULL && strcmp(only, nib__isa_name((nib__isa)isa)) != 0) continue;
        nib__kernels level;
        nib__kernels_init(&level, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        uint32_t n_pos = isa == NIB__ISA_SCALAR ? 512 : 4096;
        for (uint32_t i = 0; i < 8; i++) {
            uint32_t type = i % 2 ? NIB_KV_Q8 : NIB_KV_F16, many = i / 2 % 2;
            if (i < 4) bench_shape(&level, 64, 3, many ? 128 : 1, n_pos, type);
            if (i >= 4) bench_shape(&level, 128, 6, many ? 64 : 1, n_pos, type);
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench(argc > 2 ? argv[2] : NULL);
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one level by name */
    return levels_run("attention", test_level);
}
