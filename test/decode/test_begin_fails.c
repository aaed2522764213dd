/* SPDX-License-Identifier: MIT
 * A begin that fails, when something else was in progress: either that goes on with the stream and
 * source it had, or it is over. It never goes on with those of the call that failed. And a begin
 * whose arguments lie in the results of what it ends. */
#include <string.h>

#include "test.h"

#include "fault_alloc.h"
#include "fixture_model.h"
#include "tiny_model.h"

static nib_session *open_session(nib_model *model, const nib_allocator *mem)
{
    nib_session *s = NULL;
    nib_error err;
    nib_session_options o;
    nib_session_options_init(&o, sizeof o);
    o.n_ctx = 64;
    o.allocator = mem;
    assert_ok(nib_session_new(model, &o, &s, &err), err);
    return s;
}

/* A completion that is three tokens long. */
static void begin_and_step(nib_session *s)
{
    nib_error err;
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.ignore_end = 1;
    assert_ok(nib_complete_begin(s, "def f(", 6, &o, &err), err);
    nib_step step = {.struct_size = sizeof step};
    for (int i = 0; i < 3; i++) assert_ok(nib_session_step(s, 0, &step, &err), err);
}

/* Tokens that the completion in progress draws now; 0: it is over. */
static size_t drawn_now(nib_session *s)
{
    nib_error err;
    nib_step step = {.struct_size = sizeof step};
    assert_ok(nib_session_step(s, 0, &step, &err), err);
    return step.n_tokens;
}

/* No memory, at each place, for a search that begins with another prompt. */
static void test_search_without_memory(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0);
    size_t kept = 0, ended = 0;
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        fault_alloc_init(&fa);
        nib_session *s = open_session(model, &fa.mem);
        nib_error err;
        const int32_t *ids;
        size_t before, after;
        begin_and_step(s);
        assert_int_equal(nib_session_tokens(s, &ids, &before, NULL), NIB_OK);
        fa.fail_at = fa.count + n;
        nib_status status = nib_beam_begin(s, "x = ", 4, NULL, &err);
        fa.fail_at = 0;
        assert_int_equal(nib_session_tokens(s, &ids, &after, NULL), NIB_OK);
        if (status != NIB_OK) {
            assert_int_equal(status, NIB_ERR_MEMORY);
            assert_int_equal(drawn_now(s), after == before);
            kept += after == before;
            ended += after != before;
        }
        nib_session_free(s);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (status == NIB_OK) break;
    }
    assert_true(kept != 0 && ended != 0);
    nib_model_free(model);
}

/* The prompt of an encoder-decoder is its source. */
static void test_refused_with_another_source(void **state)
{
    (void)state;
    nib_model *model = fixture_model("infill/codet5", NULL);
    nib_session *s = open_session(model, NULL);
    nib_error err;
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.stop_suffix = 1; /* without a suffix */
    begin_and_step(s);
    assert_fails(nib_complete_begin(s, "x = ", 4, &o, &err), NIB_ERR_ARGUMENT, err, "stop_suffix");
    assert_int_equal(drawn_now(s), 1);
    nib_session_free(s);
    nib_model_free(model);
}

/* A call that changes nothing ends nothing. */
static void test_refused_edits(void **state)
{
    (void)state;
    const int32_t bad = -1;
    nib_error err;
    nib_model *model = fixture_model("infill/codet5", NULL);
    nib_session *s = open_session(model, NULL);
    begin_and_step(s);
    assert_fails(nib_session_set_source(s, &bad, 1, &err), NIB_ERR_ARGUMENT, err, "id");
    assert_int_equal(drawn_now(s), 1);
    assert_fails(nib_session_set_tokens(s, &bad, 1, NULL, &err), NIB_ERR_ARGUMENT, err, "id");
    assert_int_equal(drawn_now(s), 1);
    assert_fails(nib_session_append(s, &bad, 1, &err), NIB_ERR_ARGUMENT, err, "id");
    assert_int_equal(drawn_now(s), 1);
    nib_session_free(s);
    nib_model_free(model);
}

/* Searches with these ids as the ends, of which the best result is copied. */
static size_t search(nib_session *s, const int32_t *ends, uint32_t n_ends, int32_t *best,
                     nib_beam_result *result)
{
    nib_error err;
    nib_step step = {.struct_size = sizeof step};
    nib_beam_options o;
    nib_beam_options_init(&o, sizeof o);
    o.max_tokens = 8;
    o.end_ids = ends;
    o.n_end_ids = n_ends;
    assert_ok(nib_beam_begin(s, "x = f(", 6, &o, &err), err);
    while (!step.done) assert_ok(nib_session_step(s, 0, &step, &err), err);
    assert_ok(nib_beam_get_result(s, 0, result, &err), err);
    memcpy(best, result->ids, result->n_ids * sizeof *best);
    return result->n_ids;
}

static void test_ends_that_a_search_found(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", 0);
    fault_alloc fa; /* overwrites what is freed */
    fault_alloc_init(&fa);
    nib_session *s = open_session(model, &fa.mem), *other = open_session(model, NULL);
    nib_beam_result found = {.struct_size = sizeof found}, again = {.struct_size = sizeof again};
    int32_t first[64], with_its_ids[64], with_a_copy[64];
    size_t n = search(s, NULL, 0, first, &found);
    assert_true(n > 1);
    size_t n_its = search(s, found.ids, (uint32_t)n, with_its_ids, &again);
    size_t n_copy = search(other, first, (uint32_t)n, with_a_copy, &again);
    assert_true(n_copy == 0 || with_a_copy[0] != first[0]); /* the ids make a difference */
    assert_int_equal(n_its, n_copy);
    assert_memory_equal(with_its_ids, with_a_copy, n_copy * sizeof *with_a_copy);
    nib_session_free(s);
    nib_session_free(other);
    assert_int_equal(fa.live_blocks, 0);
    fault_alloc_done(&fa);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search_without_memory),
        cmocka_unit_test(test_refused_with_another_source),
        cmocka_unit_test(test_refused_edits),
        cmocka_unit_test(test_ends_that_a_search_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
