/* SPDX-License-Identifier: MIT
 * Batches: every session gets what it would get alone, bit by bit, whatever the others do.
 * test_batch_faults.c has what is refused, and memory that runs out. */
#include "test.h"

#include <pthread.h>

#include "rng.h"
#include "tiny_model.h"

enum { MOST = 40, TEXT = 4096, TOKENS = 256 };

/* One stream with its own kind of completion, and what came out of it. */
typedef struct stream {
    nib_session *session;
    char text[TEXT];
    size_t len;
    int32_t ids[TOKENS];
    float logprobs[TOKENS];
    size_t n_ids;
    uint32_t reason;
    bool done;
} stream;

/* Prompts of different lengths; samplers, stop rules and lengths that differ from stream to stream.
 */
static void begin(stream *st, nib_model *model, uint32_t number, uint32_t n_threads)
{
    static const nib_text stops[] = {{"e", 1}, {"\n", 1}};
    rng r = {100 + number};
    int32_t prompt[64];
    nib_error err;
    size_t n = 1 + number * 7 % 60;
    memset(st, 0, sizeof *st);
    st->session = tiny_session(model, n_threads, number % 3 == 0 ? 8 : 0,
                               number % 4 == 3 ? NIB_KV_Q8 : NIB_KV_F16);
    tiny_ids(&r, model, prompt, n);
    assert_ok(nib_session_set_tokens(st->session, prompt, n, NULL, &err), err);
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 5 + number % 5 * 6;
    o.temperature = number % 2 == 0 ? 0.0f : 1.0f;
    o.top_k = number % 3 == 1 ? 20 : 0;
    o.seed = number;
    o.n_stops = number % 6 == 5 ? 2 : 0;
    o.stops = stops;
    o.ignore_end = number % 7 != 6;
    assert_ok(nib_complete_begin_tokens(st->session, &o, &err), err);
}

static void take(stream *st, const nib_step *step)
{
    assert_true(st->len + step->text_len < TEXT && st->n_ids + step->n_tokens <= TOKENS);
    memcpy(st->text + st->len, step->text, step->text_len);
    st->len += step->text_len;
    for (size_t i = 0; i < step->n_tokens; i++, st->n_ids++) {
        st->ids[st->n_ids] = step->tokens[i].id;
        st->logprobs[st->n_ids] = step->tokens[i].logprob;
    }
    st->done = step->done != 0;
    st->reason = step->stop_reason;
}

static void run_alone(stream *st)
{
    nib_error err;
    while (!st->done) {
        nib_step step = {.struct_size = sizeof step};
        assert_ok(nib_session_step(st->session, 0, &step, &err), err);
        take(st, &step);
    }
}

static void assert_same_stream(const stream *a, const stream *b, size_t number)
{
    if (a->n_ids != b->n_ids || a->len != b->len || a->reason != b->reason ||
        memcmp(a->ids, b->ids, a->n_ids * sizeof a->ids[0]) != 0 ||
        memcmp(a->logprobs, b->logprobs, a->n_ids * sizeof a->logprobs[0]) != 0 ||
        memcmp(a->text, b->text, a->len) != 0) {
        fail_msg("stream %zu: alone %zu tokens, reason %u; in the batch %zu tokens, reason %u",
                 number, a->n_ids, a->reason, b->n_ids, b->reason);
    }
    if (nib_session_logits(a->session, &(const float *){NULL}, NULL, NULL) == NIB_OK)
        assert_same_logits(a->session, b->session, "after the batch");
}

/* Steps all streams that are not done; returns how many are left. */
static size_t step_all(nib_batch *batch, stream *st, size_t n, uint64_t budget_us)
{
    nib_session *sessions[MOST];
    nib_step steps[MOST];
    nib_status statuses[MOST];
    nib_error errors[MOST], err;
    size_t which[MOST], left = 0, still = 0;
    for (size_t i = 0; i < n; i++) {
        if (st[i].done) continue;
        which[left] = i;
        sessions[left++] = st[i].session;
    }
    if (left == 0) return 0;
    steps[0].struct_size = sizeof steps[0];
    assert_ok(nib_batch_step(batch, sessions, left, budget_us, steps, statuses, errors, &err), err);
    for (size_t k = 0; k < left; k++) {
        assert_ok(statuses[k], errors[k]);
        take(&st[which[k]], &steps[k]);
        still += !st[which[k]].done;
    }
    return still;
}

static void check_equal(const char *name, uint32_t precision, size_t n, uint32_t n_threads,
                        uint32_t max_rows, uint64_t budget_us)
{
    nib_model *model = tiny_open(name, precision);
    nib_batch *batch = tiny_batch(model, n_threads, max_rows);
    static stream alone[MOST], together[MOST];
    for (size_t i = 0; i < n; i++) {
        begin(&alone[i], model, (uint32_t)i, 1 + i % 2);
        run_alone(&alone[i]);
        begin(&together[i], model, (uint32_t)i, 1);
    }
    size_t steps = 0;
    while (step_all(batch, together, n, budget_us) != 0) assert_true(++steps < 1000000);
    for (size_t i = 0; i < n; i++) {
        assert_same_stream(&alone[i], &together[i], i);
        nib_session_free(alone[i].session);
        nib_session_free(together[i].session);
    }
    nib_batch_free(batch);
    nib_model_free(model);
}

static void test_same_as_alone(void **state)
{
    (void)state;
    check_equal("llama-mixed", NIB_PRECISION_DEFAULT, 1, 1, 0, 0);
    check_equal("llama-mixed", NIB_PRECISION_DEFAULT, 7, 2, 0, 0);
    check_equal("llama-mixed", NIB_PRECISION_EXACT, 16, 3, 0, 0);
    check_equal("qwen2", NIB_PRECISION_DEFAULT, 40, 2, 0, 0); /* in groups of 16 */
    check_equal("qwen2", NIB_PRECISION_DEFAULT, 9, 4, 4, 0);
    check_equal("llama-f32", NIB_PRECISION_F32, 8, 2, 0, 0);
    check_equal("llama-yarn", NIB_PRECISION_DEFAULT, 8, 1, 0, 0);
}

/* A budget of a microsecond interrupts every pass many times. */
static void test_budget(void **state)
{
    (void)state;
    check_equal("llama-mixed", NIB_PRECISION_DEFAULT, 20, 1, 0, 1);
    check_equal("qwen2", NIB_PRECISION_DEFAULT, 5, 2, 2, 1);
    check_equal("qwen2", NIB_PRECISION_DEFAULT, 12, 2, 0, 300);
}

/* The set of sessions changes between interrupted steps; some are edited, forked and freed. */
static void test_changing_sets(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0);
    nib_batch *batch = tiny_batch(model, 2, 0);
    static stream alone[MOST], together[MOST];
    enum { N = 12 };
    rng r = {5};
    for (uint32_t i = 0; i < N; i++) {
        begin(&alone[i], model, i, 1);
        run_alone(&alone[i]);
        begin(&together[i], model, i, 1);
    }
    for (size_t trial = 0, left = N; left != 0; trial++) {
        assert_true(trial < 1000000);
        stream some[N];
        size_t which[N], n = 0;
        for (size_t i = 0; i < N; i++) {
            if (together[i].done || rng_below(&r, 3) == 0) continue;
            which[n] = i;
            some[n++] = together[i];
        }
        /* Under a sanitizer the first budgets are too short for any pass. */
        (void)step_all(batch, some, n, 1 + rng_below(&r, 40) + trial / 20);
        for (size_t k = 0; k < n; k++) together[which[k]] = some[k];
        if (trial % 5 ==
            0) { /* a session that comes and goes, maybe at the address of the last one */
            stream guest;
            begin(&guest, model, 20 + (uint32_t)trial % 7, 1);
            (void)step_all(batch, &guest, 1, 1 + rng_below(&r, 200));
            nib_session_free(guest.session);
        }
        left = 0;
        for (size_t i = 0; i < N; i++) left += !together[i].done;
    }
    for (size_t i = 0; i < N; i++) {
        assert_same_stream(&alone[i], &together[i], i);
        nib_session_free(alone[i].session);
        nib_session_free(together[i].session);
    }
    nib_batch_free(batch);
    nib_model_free(model);
}

/* A row in an interrupted pass is forgotten when its session is edited. */
static void test_edited(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_EXACT);
    nib_batch *batch = tiny_batch(model, 1, 0);
    nib_session *s = tiny_session(model, 1, 0, 0), *t = tiny_session(model, 1, 0, 0);
    nib_status status;
    nib_error err, error;
    rng r = {9};
    int32_t ids[30];
    for (int trial = 0; trial < 50; trial++) {
        nib_step step = {.struct_size = sizeof step};
        tiny_ids(&r, model, ids, 30);
        (void)tiny_eval(s, ids, 29);
        assert_ok(nib_session_append(s, ids + 29, 1, &err), err);
        assert_ok(nib_batch_step(batch, &s, 1, 1, &step, &status, &error, &err), err);
        ids[10] ^= 1; /* same length, same last token, another history */
        assert_ok(nib_session_truncate(s, 10, &err), err);
        assert_ok(nib_session_append(s, ids + 10, 19, &err), err);
        assert_ok(nib_session_eval(s, &err), err);
        assert_ok(nib_session_append(s, ids + 29, 1, &err), err);
        do {
            step.struct_size = sizeof step;
            assert_ok(nib_batch_step(batch, &s, 1, 1, &step, &status, &error, &err), err);
            assert_ok(status, error);
        } while (!step.done);
        (void)tiny_eval(t, ids, 10);
        (void)tiny_eval(t, ids, 29);
        (void)tiny_eval(t, ids, 30);
        assert_same_logits(s, t, "after an edit");
        assert_ok(nib_session_truncate(t, 0, &err), err);
        assert_ok(nib_session_truncate(s, 0, &err), err);
    }
    nib_session_free(s);
    nib_session_free(t);
    nib_batch_free(batch);
    nib_model_free(model);
}

static void test_one_cancelled(void **state)
{
    (void)state;
    nib_model *model = tiny_open("llama-mixed", 0);
    nib_batch *batch = tiny_batch(model, 2, 0);
    static stream alone[4], together[4];
    for (uint32_t i = 0; i < 4; i++) {
        begin(&alone[i], model, i, 1);
        run_alone(&alone[i]);
        begin(&together[i], model, i, 1);
    }
    size_t cancelled = 0;
    for (size_t trial = 0, left = 4; left != 0; trial++) {
        nib_session *sessions[4];
        nib_step steps[4];
        nib_status statuses[4];
        nib_error errors[4], err;
        assert_true(trial < 10000);
        if (trial % 2 == 0) nib_session_cancel(together[trial / 2 % 4].session);
        for (size_t i = 0; i < 4; i++) sessions[i] = together[i].session;
        steps[0].struct_size = sizeof steps[0];
        assert_ok(nib_batch_step(batch, sessions, 4, 0, steps, statuses, errors, &err), err);
        left = 0;
        for (size_t i = 0; i < 4; i++) {
            if (statuses[i] == NIB_OK)
                take(&together[i], &steps[i]);
            else
                assert_fails(statuses[i], NIB_ERR_CANCELLED, errors[i], "cancelled");
            cancelled += statuses[i] != NIB_OK;
            assert_true(statuses[i] == NIB_OK || (trial % 2 == 0 && i == trial / 2 % 4));
            left += !together[i].done;
        }
    }
    assert_true(cancelled > 4);
    for (size_t i = 0; i < 4; i++) {
        assert_same_stream(&alone[i], &together[i], i);
        nib_session_free(alone[i].session);
        nib_session_free(together[i].session);
    }
    nib_batch_free(batch);
    nib_model_free(model);
}

static void *cancel_often(void *arg)
{
    for (int i = 0; i < 2000; i++) nib_batch_cancel(arg);
    return NULL;
}

/* Cancelled as a whole, from another thread, and continued. */
static void test_batch_cancelled(void **state)
{
    (void)state;
    nib_model *model = tiny_open("llama-mixed", 0);
    nib_batch *batch = tiny_batch(model, 2, 0);
    static stream alone[3], together[3];
    for (uint32_t i = 0; i < 3; i++) {
        begin(&alone[i], model, i + 2, 1);
        run_alone(&alone[i]);
        begin(&together[i], model, i + 2, 1);
    }
    nib_session *sessions[3] = {together[0].session, together[1].session, together[2].session};
    nib_step steps[3];
    nib_status statuses[3], status;
    nib_error err;
    steps[0].struct_size = sizeof steps[0];
    nib_batch_cancel(batch);
    status = nib_batch_step(batch, sessions, 3, 0, steps, statuses, NULL, &err);
    assert_fails(status, NIB_ERR_CANCELLED, err, "cancelled");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_often, batch), 0);
    for (size_t left = 3; left != 0;) {
        left = 3;
        steps[0].struct_size = sizeof steps[0];
        status = nib_batch_step(batch, sessions, 3, 0, steps, statuses, NULL, &err);
        if (status == NIB_ERR_CANCELLED) continue;
        assert_ok(status, err);
        left = 0;
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(statuses[i], NIB_OK);
            if (!together[i].done) take(&together[i], &steps[i]);
            left += !together[i].done;
        }
    }
    pthread_join(thread, NULL);
    for (size_t i = 0; i < 3; i++) {
        assert_same_stream(&alone[i], &together[i], i);
        nib_session_free(alone[i].session);
        nib_session_free(together[i].session);
    }
    nib_batch_free(batch);
    nib_model_free(model);
}

/* Several samples of one prompt, which is evaluated once. */
static void test_forks(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0);
    nib_batch *batch = tiny_batch(model, 1, 0);
    static stream st[6];
    nib_error err;
    rng r = {3};
    int32_t ids[40];
    memset(st, 0, sizeof st);
    st[0].session = tiny_session(model, 1, 0, 0);
    tiny_ids(&r, model, ids, 40);
    (void)tiny_eval(st[0].session, ids, 40);
    for (size_t i = 0; i < 6; i++) {
        if (i > 0) assert_ok(nib_session_fork(st[0].session, &st[i].session, &err), err);
    }
    for (size_t i = 0; i < 6; i++) {
        nib_complete_options o;
        nib_complete_options_init(&o, sizeof o);
        o.max_tokens = 20;
        o.temperature = 1.5f;
        o.seed = i;
        o.ignore_end = 1;
        assert_ok(nib_complete_begin_tokens(st[i].session, &o, &err), err);
    }
    while (step_all(batch, st, 6, 0) != 0) continue;
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(st[i].n_ids, 20);
        nib_session_stats stats = {.struct_size = sizeof stats};
        assert_int_equal(nib_session_get_stats(st[i].session, &stats), NIB_OK);
        assert_int_equal(stats.n_prefill, i == 0 ? 40 : 0);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(st[i].ids, st[j].ids, 20 * sizeof(int32_t));
    }
    for (size_t i = 0; i < 6; i++) nib_session_free(st[i].session);
    nib_batch_free(batch);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_alone), cmocka_unit_test(test_budget),
        cmocka_unit_test(test_changing_sets), cmocka_unit_test(test_edited),
        cmocka_unit_test(test_one_cancelled), cmocka_unit_test(test_batch_cancelled),
        cmocka_unit_test(test_forks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
