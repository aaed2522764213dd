/* SPDX-License-Identifier: MIT
 * Sessions on tiny models: whatever way a stream of tokens came about, its logits are the same
 * bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rng.h"
#include "tiny_model.h"

enum { MAX_VOCAB = 1024 };

static const char *const models[] = {"llama-mixed", "qwen2"};

/* ---- edits ----------------------------------------------------------------------------------- */

/* Replaces a random run of ids[n] by another; returns the new n. */
static size_t random_edit(rng *r, const nib_model *model, int32_t *ids, size_t n)
{
    int32_t fresh[12];
    size_t at = rng_below(r, (uint32_t)n + 1);
    if (rng_below(r, 3) == 0) at = n; /* typing at the end */
    size_t removed = rng_below(r, 10), added = rng_below(r, 12);
    if (removed > n - at) removed = n - at;
    if (n - removed + added > TINY_CTX) added = 0;
    if (rng_below(r, 12) == 0) removed = n - at; /* all that follows */
    tiny_ids(r, model, fresh, added);
    memmove(ids + at + added, ids + at + removed, (n - at - removed) * sizeof *ids);
    memcpy(ids + at, fresh, added * sizeof *ids);
    return n - removed + added;
}

static size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

/* What is kept of the cache gives the same bits as evaluating everything again. */
static void test_edits(void **state)
{
    (void)state;
    for (int trial = 0; trial < 4; trial++) {
        rng r = {20 + (uint64_t)trial};
        nib_model *model = tiny_open(models[trial & 1], NIB_PRECISION_EXACT);
        uint32_t kv_type = trial & 2 ? NIB_KV_Q8 : NIB_KV_F16;
        nib_session *warm = tiny_session(model, 1, 32, kv_type);
        nib_session *cold = tiny_session(model, 1, 0, kv_type);
        int32_t ids[2 * TINY_CTX], before[2 * TINY_CTX];
        size_t n = 60, n_before = 0;
        tiny_ids(&r, model, ids, n);
        for (int edit = 0; edit < 60; edit++) {
            size_t reused = tiny_eval(warm, ids, n);
            assert_int_equal(reused, common_prefix(ids, n, before, n_before));
            assert_int_equal(tiny_eval(cold, NULL, 0), 0);
            assert_int_equal(tiny_eval(cold, ids, n), 0);
            if (n > 0) assert_same_logits(cold, warm, "after an edit");
            memcpy(before, ids, n * sizeof *ids);
            n_before = n;
            n = random_edit(&r, model, ids, n);
        }
        nib_session_free(warm);
        nib_session_free(cold);
        nib_model_free(model);
    }
}

/* Truncate and append, with evaluation at random moments. */
static void test_truncate_append(void **state)
{
    (void)state;
    rng r = {30};
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_EXACT);
    nib_session *warm = tiny_session(model, 1, 16, NIB_KV_F16);
    nib_session *cold = tiny_session(model, 1, 0, NIB_KV_F16);
    int32_t ids[TINY_CTX];
    size_t n = 0;
    for (int edit = 0; edit < 200; edit++) {
        if (rng_below(&r, 2)) {
            size_t added = rng_below(&r, (uint32_t)(TINY_CTX - n) / 4 + 1);
            tiny_ids(&r, model, ids + n, added);
            assert_int_equal(nib_session_append(warm, ids + n, added, NULL), NIB_OK);
            n += added;
        } else {
            n = rng_below(&r, (uint32_t)n + 1);
            assert_int_equal(nib_session_truncate(warm, n, NULL), NIB_OK);
        }
        const int32_t *stream;
        size_t length, evaluated;
        assert_int_equal(nib_session_tokens(warm, &stream, &length, &evaluated), NIB_OK);
        assert_int_equal(length, n);
        assert_true(evaluated <= n);
        assert_memory_equal(stream, ids, n * sizeof *ids);
        if (rng_below(&r, 3)) continue;
        assert_int_equal(nib_session_eval(warm, NULL), NIB_OK);
        tiny_eval(cold, NULL, 0);
        tiny_eval(cold, ids, n);
        if (n > 0) assert_same_logits(cold, warm, "truncate and append");
    }
    assert_int_equal(nib_session_truncate(warm, n + 1, NULL), NIB_ERR_ARGUMENT);
    nib_session_free(warm);
    nib_session_free(cold);
    nib_model_free(model);
}

/* Logits are given only if they belong to the last token, and then without evaluating anything. */
static void test_stale_logits(void **state)
{
    (void)state;
    rng r = {31};
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_EXACT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_session_stats stats = {.struct_size = sizeof stats};
    const float *logits;
    int32_t ids[40];
    tiny_ids(&r, model, ids, 40);
    assert_int_equal(nib_session_logits(s, &logits, NULL, NULL), NIB_ERR_STATE);
    tiny_eval(s, ids, 40);
    assert_int_equal(tiny_eval(s, ids, 40), 40);
    assert_int_equal(nib_session_get_stats(s, &stats), NIB_OK);
    assert_int_equal(stats.n_prefill, 40);
    assert_int_equal(stats.n_decode, 0); /* the second time nothing had to be done */
    assert_int_equal(nib_session_truncate(s, 30, NULL), NIB_OK);
    assert_int_equal(nib_session_logits(s, &logits, NULL, NULL), NIB_ERR_STATE);
    assert_int_equal(nib_session_eval(s, NULL), NIB_OK);
    assert_int_equal(nib_session_get_stats(s, &stats), NIB_OK);
    assert_int_equal(stats.n_decode, 1); /* token 29 once more */
    assert_int_equal(stats.n_reused, 40);
    nib_session_free(s);
    nib_model_free(model);
}

static void test_fork(void **state)
{
    (void)state;
    rng r = {32};
    for (int trial = 0; trial < 4; trial++) {
        nib_model *model = tiny_open(models[trial & 1], NIB_PRECISION_EXACT);
        uint32_t kv_type = trial & 2 ? NIB_KV_Q8 : NIB_KV_F16;
        nib_session *s = tiny_session(model, 1, 0, kv_type);
        nib_session *cold = tiny_session(model, 1, 0, kv_type);
        nib_session *fork = NULL;
        int32_t ids[TINY_CTX], other[TINY_CTX];
        tiny_ids(&r, model, ids, 90);
        memcpy(other, ids, sizeof ids);
        tiny_ids(&r, model, other + 50, 40);
        tiny_eval(s, ids, 50);
        assert_int_equal(nib_session_fork(s, &fork, NULL), NIB_OK);
        assert_same_logits(s, fork, "right after the fork");
        assert_int_equal(tiny_eval(s, ids, 90), 50);
        assert_int_equal(tiny_eval(fork, other, 77), 50);
        tiny_eval(cold, ids, 90);
        assert_same_logits(cold, s, "the original");
        tiny_eval(cold, other, 77);
        assert_same_logits(cold, fork, "the fork");
        nib_session_free(s); /* the fork lives on */
        tiny_eval(fork, ids, 60);
        tiny_eval(cold, ids, 60);
        assert_same_logits(cold, fork, "the fork alone");
        nib_session_free(fork);
        nib_session_free(cold);
        nib_model_free(model);
    }
}

/* ---- how the work is cut --------------------------------------------------------------------- */

/* With EXACT any size of pass; else any that leaves no tail to the decode kernels. */
static void test_pass_sizes(void **state)
{
    (void)state;
    static const uint32_t exact[] = {1, 2, 3, 7, 15, 16, 17, 33, 64, 100, 191};
    static const uint32_t fast[] = {34, 35, 50, 64, 99, 170};
    rng r = {33};
    int32_t ids[TINY_CTX];
    for (int trial = 0; trial < 4; trial++) {
        int is_exact = trial & 2;
        nib_model *model =
            tiny_open(models[trial & 1], is_exact ? NIB_PRECISION_EXACT : NIB_PRECISION_DEFAULT);
        nib_session *whole = tiny_session(model, 1, TINY_CTX, NIB_KV_F16);
        tiny_ids(&r, model, ids, TINY_CTX);
        for (size_t n = is_exact ? 1 : 40; n <= TINY_CTX; n += 37) {
            tiny_eval(whole, NULL, 0);
            tiny_eval(whole, ids, n);
            for (size_t b = 0; b < (is_exact ? 11u : 6u); b++) {
                nib_session *s = tiny_session(model, 1, is_exact ? exact[b] : fast[b], NIB_KV_F16);
                tiny_eval(s, ids, n);
                assert_same_logits(whole, s, "size of a pass");
                nib_session_free(s);
            }
        }
        nib_session_free(whole);
        nib_model_free(model);
    }
}

/* A budget of one microsecond interrupts wherever a pass can be interrupted. */
static void test_steps(void **state)
{
    (void)state;
    static const uint64_t budgets[] = {1, 20, 100, 1000, 0, UINT64_MAX};
    rng r = {34};
    int32_t ids[TINY_CTX];
    for (int trial = 0; trial < 12; trial++) {
        nib_model *model = tiny_open(models[trial & 1], NIB_PRECISION_DEFAULT);
        nib_session *whole = tiny_session(model, 1, 0, NIB_KV_F16);
        nib_session *stepped = tiny_session(model, 1, 0, NIB_KV_F16);
        tiny_ids(&r, model, ids, 150);
        tiny_eval(whole, ids, 150);
        assert_int_equal(nib_session_set_tokens(stepped, ids, 150, NULL, NULL), NIB_OK);
        nib_step step = {.struct_size = sizeof step};
        uint32_t left = 150, calls = 0;
        do {
            assert_int_equal(nib_session_step(stepped, budgets[trial / 2], &step, NULL), NIB_OK);
            assert_true(step.n_left <= left);
            assert_int_equal(step.done, step.n_left == 0);
            assert_int_equal(step.text_len, 0);
            left = step.n_left;
            assert_true(++calls < 100000);
        } while (!step.done);
        if (budgets[trial / 2] == 1) assert_true(calls > 5);
        if (trial >= 8) assert_int_equal(calls, 1);
        assert_same_logits(whole, stepped, "in steps");
        nib_session_free(whole);
        nib_session_free(stepped);
        nib_model_free(model);
    }
}

/* Edits while a pass is in progress. */
static void test_edit_during_pass(void **state)
{
    (void)state;
    rng r = {35};
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_EXACT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_session *cold = tiny_session(model, 1, 0, NIB_KV_F16);
    int32_t ids[2 * TINY_CTX];
    size_t n = 80;
    tiny_ids(&r, model, ids, n);
    for (int edit = 0; edit < 150; edit++) {
        nib_step step = {.struct_size = sizeof step};
        assert_int_equal(nib_session_set_tokens(s, ids, n, NULL, NULL), NIB_OK);
        for (uint32_t calls = rng_below(&r, 60); calls > 0; calls--)
            assert_int_equal(nib_session_step(s, 1, &step, NULL), NIB_OK);
        if (edit % 4 == 0) {
            assert_int_equal(nib_session_eval(s, NULL), NIB_OK);
            tiny_eval(cold, NULL, 0);
            tiny_eval(cold, ids, n);
            if (n > 0) assert_same_logits(cold, s, "edited during a pass");
        }
        n = random_edit(&r, model, ids, n);
    }
    nib_session_free(s);
    nib_session_free(cold);
    nib_model_free(model);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* A host's pool that runs its tasks in descending order. */
static void run_backwards(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    *(uint32_t *)user += 1;
    for (uint32_t i = n; i-- > 0;) task(arg, i);
}

static void decode_some(nib_session *s, const int32_t *ids, size_t n, float *logits,
                        uint32_t n_vocab)
{
    const float *last;
    tiny_eval(s, ids, n - 8);
    for (size_t i = n - 8; i < n; i++) {
        assert_int_equal(nib_session_append(s, ids + i, 1, NULL), NIB_OK);
        assert_int_equal(nib_session_eval(s, NULL), NIB_OK);
    }
    assert_int_equal(nib_session_logits(s, &last, NULL, NULL), NIB_OK);
    memcpy(logits, last, n_vocab * sizeof *logits);
}

static void test_threads(void **state)
{
    (void)state;
    rng r = {36};
    int32_t ids[TINY_CTX];
    static float expected[MAX_VOCAB], got[MAX_VOCAB];
    for (int trial = 0; trial < 6; trial++) {
        nib_model *model = tiny_open(models[trial & 1], (uint32_t)trial / 2);
        uint32_t n_vocab = tiny_vocab(model), runs = 0;
        assert_true(n_vocab <= MAX_VOCAB);
        tiny_ids(&r, model, ids, 180);
        nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
        decode_some(s, ids, 180, expected, n_vocab);
        nib_session_free(s);
        for (uint32_t n_threads = 2; n_threads <= 5; n_threads++) {
            if (n_threads < 5) {
                s = tiny_session(model, n_threads, 0, NIB_KV_F16);
            } else {
                nib_parallel host = {run_backwards, &runs, 3};
                nib_session_options options;
                nib_session_options_init(&options, sizeof options);
                options.n_ctx = TINY_CTX;
                options.parallel = &host;
                assert_int_equal(nib_session_new(model, &options, &s, NULL), NIB_OK);
                memset(&host, 0xee, sizeof host); /* it must have made a copy */
            }
            decode_some(s, ids, 180, got, n_vocab);
            assert_memory_equal(got, expected, n_vocab * sizeof *got);
            nib_session_free(s);
        }
        assert_true(runs > 0);
        nib_model_free(model);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Memory full of NaN: nothing may be read before it was written. */
static void *alloc_nan(void *user, size_t size, size_t align)
{
    (void)user;
    void *ptr = aligned_alloc(align, size);
    if (ptr != NULL) memset(ptr, 0xff, size);
    return ptr;
}

static void free_nan(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

static void test_uninitialised_memory(void **state)
{
    (void)state;
    rng r = {37};
    int32_t ids[TINY_CTX];
    for (int trial = 0; trial < 4; trial++) {
        nib_model *model = tiny_open(models[trial & 1], NIB_PRECISION_DEFAULT);
        nib_allocator mem = {alloc_nan, free_nan, NULL};
        nib_session_options options;
        nib_session_options_init(&options, sizeof options);
        options.n_ctx = TINY_CTX;
        options.kv_type = trial & 2 ? NIB_KV_Q8 : NIB_KV_F16;
        options.allocator = &mem;
        nib_session *poisoned = NULL, *s = tiny_session(model, 1, 0, options.kv_type);
        assert_int_equal(nib_session_new(model, &options, &poisoned, NULL), NIB_OK);
        tiny_ids(&r, model, ids, 101);
        for (size_t n = 1; n <= 101; n += 20) {
            tiny_eval(poisoned, ids, n);
            tiny_eval(s, ids, n);
            assert_same_logits(s, poisoned, "on memory full of NaN");
        }
        nib_session_free(poisoned);
        nib_session_free(s);
        nib_model_free(model);
    }
}

/* What nib_session_memory announces is what nib_session_new takes. */
static void test_memory(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    for (uint32_t n_ctx = 1; n_ctx < 5000; n_ctx = n_ctx * 3 + 1) {
        uint64_t bytes = 0;
        nib_session *s = NULL;
        nib_session_stats stats = {.struct_size = sizeof stats};
        options.n_ctx = n_ctx;
        assert_int_equal(nib_session_memory(model, &options, &bytes, NULL), NIB_OK);
        assert_int_equal(nib_session_new(model, &options, &s, NULL), NIB_OK);
        assert_int_equal(nib_session_get_stats(s, &stats), NIB_OK);
        assert_int_equal(stats.memory_bytes, bytes);
        nib_session_free(s);
    }
    nib_model_free(model);
}

/* ---- eval_logits ----------------------------------------------------------------------------- */

static void test_eval_logits(void **state)
{
    (void)state;
    rng r = {38};
    int32_t ids[100];
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_EXACT);
    uint32_t n_vocab = tiny_vocab(model);
    float *all = malloc(100 * n_vocab * sizeof *all), *step = malloc(100 * n_vocab * sizeof *step);
    assert_true(all != NULL && step != NULL);
    nib_session *s = tiny_session(model, 1, 24, NIB_KV_F16);
    nib_session *t = tiny_session(model, 1, 0, NIB_KV_F16);
    tiny_ids(&r, model, ids, 100);
    tiny_eval(s, ids, 10);
    tiny_eval(t, ids, 10);
    assert_int_equal(nib_session_eval_logits(s, ids + 10, 90, 0, all, NULL), NIB_OK);
    assert_int_equal(nib_session_eval_logits(t, ids + 10, 90, NIB_EVAL_STEPWISE, step, NULL),
                     NIB_OK);
    assert_memory_equal(all, step, 90 * n_vocab * sizeof *all);
    assert_logits(s, all + 89 * n_vocab, "last row");
    for (size_t n = 11; n <= 100; n += 13) {
        tiny_eval(t, NULL, 0);
        tiny_eval(t, ids, n);
        assert_logits(t, all + (n - 11) * n_vocab, "a row");
    }
    /* A failure leaves the stream and its logits as they were. */
    nib_session_cancel(s);
    assert_int_equal(nib_session_eval_logits(s, ids, 5, 0, step, NULL), NIB_ERR_CANCELLED);
    assert_int_equal(nib_session_eval_logits(s, ids, 93, 0, step, NULL), NIB_ERR_LIMIT);
    assert_logits(s, all + 89 * n_vocab, "after failures");
    nib_session_free(s);
    nib_session_free(t);
    nib_model_free(model);
    free(all);
    free(step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_truncate_append),
        cmocka_unit_test(test_stale_logits),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_pass_sizes),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_edit_during_pass),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_uninitialised_memory),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_eval_logits),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
