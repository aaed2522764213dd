/* SPDX-License-Identifier: MIT
 * Batches: calls that are refused, and memory that runs out. */
#include "test.h"

#include "fault_alloc.h"
#include "tiny_model.h"

static void run_here(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    (void)user;
    for (uint32_t i = 0; i < n; i++) task(arg, i);
}

static void test_refused(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0), *other = tiny_open("llama-mixed", 0);
    nib_batch *batch = tiny_batch(model, 1, 0), *none = NULL;
    nib_session *s = tiny_session(model, 1, 0, 0), *t = tiny_session(other, 1, 0, 0);
    nib_session *twice[] = {s, s}, *foreign[] = {s, t};
    nib_step steps[2] = {{.struct_size = sizeof steps[0]}};
    nib_status statuses[2];
    nib_error err;
    nib_batch_options o;
    assert_fails(nib_batch_step(batch, twice, 2, 0, steps, statuses, NULL, &err), NIB_ERR_ARGUMENT,
                 err, "session 1 is also session 0");
    assert_fails(nib_batch_step(batch, foreign, 2, 0, steps, statuses, NULL, &err),
                 NIB_ERR_ARGUMENT, err, "batch's model");
    assert_fails(nib_batch_step(batch, NULL, 1, 0, steps, statuses, NULL, &err), NIB_ERR_ARGUMENT,
                 err, "NULL");
    steps[0].struct_size = 3;
    assert_fails(nib_batch_step(batch, &s, 1, 0, steps, statuses, NULL, &err), NIB_ERR_ARGUMENT,
                 err, "struct_size");
    assert_ok(nib_batch_step(batch, NULL, 0, 0, NULL, NULL, NULL, &err), err);
    nib_batch_options_init(&o, sizeof o);
    o.max_rows = 17;
    assert_fails(nib_batch_new(model, &o, &none, &err), NIB_ERR_ARGUMENT, err, "max_rows");
    const nib_parallel host = {.run = run_here, .n_threads = 257};
    o.max_rows = 0;
    o.parallel = &host;
    assert_fails(nib_batch_new(model, &o, &none, &err), NIB_ERR_ARGUMENT, err, "n_threads");
    assert_null(none);
    nib_session_free(s);
    nib_session_free(t);
    nib_batch_free(batch);
    nib_batch_free(NULL);
    nib_model_free(model);
    nib_model_free(other);
}

/* Nothing is allocated while generating, but for the text; every allocation may fail. */
static void test_allocations(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        nib_model *model = tiny_open("qwen2", 0);
        nib_session *s[2] = {tiny_session(model, 1, 0, 0), tiny_session(model, 1, 0, 0)};
        nib_batch *batch = NULL;
        nib_batch_options o;
        nib_error err = {.text = ""};
        fault_alloc fa;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib_batch_options_init(&o, sizeof o);
        o.allocator = &fa.mem;
        o.n_threads = 2;
        nib_status status = nib_batch_new(model, &o, &batch, &err);
        size_t before = fa.count;
        if (status == NIB_OK) {
            nib_complete_options c;
            nib_complete_options_init(&c, sizeof c);
            c.max_tokens = 30;
            c.ignore_end = 1;
            for (int i = 0; i < 2; i++)
                assert_ok(nib_complete_begin(s[i], "def f(", 6, &c, &err), err);
            for (int k = 0; k < 30; k++) {
                nib_step steps[2] = {{.struct_size = sizeof steps[0]}};
                nib_status statuses[2];
                assert_ok(nib_batch_step(batch, s, 2, 0, steps, statuses, NULL, &err), err);
            }
            assert_int_equal(fa.count, before);
        } else {
            assert_int_equal(status, NIB_ERR_MEMORY);
            assert_true(err.text[0] != '\0');
        }
        nib_batch_free(batch);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        nib_session_free(s[0]);
        nib_session_free(s[1]);
        nib_model_free(model);
        if (status == NIB_OK) break;
    }
}

/* One session is out of memory for its report: the others go on, and so does it, later. */
static void test_one_without_memory(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0);
    nib_batch *batch = tiny_batch(model, 1, 0);
    fault_alloc fa;
    fault_alloc_init(&fa);
    nib_session_options o;
    nib_session *s[2] = {tiny_session(model, 1, 0, 0), NULL};
    nib_error err, errors[2];
    nib_session_options_init(&o, sizeof o);
    o.n_ctx = TINY_CTX;
    o.allocator = &fa.mem;
    assert_ok(nib_session_new(model, &o, &s[1], &err), err);
    nib_complete_options c;
    nib_complete_options_init(&c, sizeof c);
    c.max_tokens = 10;
    c.ignore_end = 1;
    for (int i = 0; i < 2; i++) assert_ok(nib_complete_begin(s[i], "def f(", 6, &c, &err), err);
    fa.fail_after = fa.count;
    size_t tokens[2] = {0, 0};
    for (int k = 0; k < 14; k++) {
        nib_step steps[2] = {{.struct_size = sizeof steps[0]}};
        nib_status statuses[2];
        if (k == 3) fa.fail_after = 0;
        assert_ok(nib_batch_step(batch, s, 2, 0, steps, statuses, errors, &err), err);
        assert_int_equal(statuses[0], NIB_OK);
        assert_int_equal(statuses[1], k < 3 ? NIB_ERR_MEMORY : NIB_OK);
        for (int i = 0; i < 2; i++) tokens[i] += statuses[i] == NIB_OK ? steps[i].n_tokens : 0;
    }
    assert_int_equal(tokens[0], 10);
    assert_int_equal(tokens[1], 10);
    nib_session_free(s[0]);
    nib_session_free(s[1]);
    nib_batch_free(batch);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_one_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
