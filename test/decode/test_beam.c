/* SPDX-License-Identifier: MIT
 * Beam search: the texts and scores that transformers finds, and what a session promises about it.
 */
#include <math.h>
#include <string.h>

#include "test.h"

#include "cancel_host.h"
#include "fault_alloc.h"
#include "fixture_model.h"
#include "kernels/kernels.h"
#include "reference.h"
#include "tiny_model.h"

enum { MOST_IDS = 48, CONTEXT = 80 };

typedef struct beam_text {
    double score;
    uint32_t ended, n_ids;
    int32_t ids[MOST_IDS];
} beam_text;

typedef struct beam_case {
    const char *model;
    uint32_t n_beams;
    double length_penalty;
    uint32_t early_stopping, max_tokens, n_results;
    uint32_t n_source;
    int32_t source[MOST_IDS];
    uint32_t n_prompt;
    int32_t prompt[MOST_IDS];
    uint32_t n_ends;
    int32_t ends[4];
    uint32_t min_tokens, no_repeat_ngram;
    int32_t first_id, last_id;
    double repetition_penalty;
    beam_text texts[9];
} beam_case;

#include "beam_golden.h"

enum { N_CASES = sizeof beam_cases / sizeof *beam_cases };

static nib_model *open_model(const char *name, const char *isa, const nib_allocator *mem)
{
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.isa = isa;
    options.allocator = mem;
    options.load = NIB_LOAD_F32; /* one of them is bfloat16 */
    return fixture_model(name, &options);
}

static nib_session *open_session(nib_model *model, uint32_t n_threads)
{
    return fixture_session(model, CONTEXT, n_threads, NIB_KV_F16);
}

static void begin_case(nib_session *session, const beam_case *c)
{
    nib_error err = {0};
    nib_beam_options o;
    nib_beam_options_init(&o, sizeof o);
    o.n_beams = c->n_beams;
    o.length_penalty = c->length_penalty;
    o.early_stopping = c->early_stopping;
    o.max_tokens = c->max_tokens;
    o.n_results = c->n_results;
    o.end_ids = c->ends;
    o.n_end_ids = c->n_ends;
    o.min_tokens = c->min_tokens;
    o.no_repeat_ngram = c->no_repeat_ngram;
    o.first_id = c->first_id;
    o.last_id = c->last_id;
    o.repetition_penalty = c->repetition_penalty;
    if (c->n_source != 0)
        assert_ok(nib_session_set_source(session, c->source, c->n_source, &err), err);
    assert_ok(nib_session_set_tokens(session, c->prompt, c->n_prompt, NULL, &err), err);
    assert_ok(nib_beam_begin_tokens(session, &o, &err), err);
}

/* Steps until it is done; returns how many steps that took. */
static uint32_t run(nib_session *session, uint64_t budget_us)
{
    nib_error err = {0};
    nib_step step = {.struct_size = sizeof step};
    uint32_t n = 0;
    for (; !step.done; n++) {
        assert_true(n < 100000);
        assert_ok(nib_session_step(session, budget_us, &step, &err), err);
    }
    return n;
}

static void check_results(const nib_session *session, const beam_case *c, size_t number)
{
    nib_error err = {0};
    for (uint32_t i = 0; i < c->n_results; i++) {
        const beam_text *want = &c->texts[i];
        nib_beam_result got = {.struct_size = sizeof got};
        assert_ok(nib_beam_get_result(session, i, &got, &err), err);
        assert_int_equal(got.n_results, c->n_results);
        if (got.n_ids != want->n_ids || got.ended != want->ended ||
            memcmp(got.ids, want->ids, want->n_ids * sizeof *want->ids) != 0) {
            fail_msg("case %zu (%s): result %u has %zu ids and score %.6f, expected %u and %.6f",
                     number, c->model, i, got.n_ids, got.score, want->n_ids, want->score);
        }
        if (!(fabs(got.score - want->score) <= 2e-4 * (1 + fabs(want->score)))) {
            fail_msg("case %zu (%s): result %u: score %.7f, expected %.7f", number, c->model, i,
                     got.score, want->score);
        }
    }
}

static void check_all(const char *isa, uint32_t n_threads)
{
    for (size_t i = 0; i < N_CASES; i++) {
        nib_model *model = open_model(beam_cases[i].model, isa, NULL);
        nib_session *session = open_session(model, n_threads);
        for (int again = 0; again < 2; again++) { /* the second time in a session with a past */
            begin_case(session, &beam_cases[i]);
            run(session, 0);
            check_results(session, &beam_cases[i], i);
        }
        nib_session_free(session);
        nib_model_free(model);
    }
}

static void test_equals_transformers(void **state)
{
    (void)state;
    assert_true(N_CASES >= 110);
    check_all(NULL, 1);
    check_all(NULL, 3);
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (nib__isa_available((nib__isa)isa)) check_all(nib__isa_name((nib__isa)isa), 1);
    }
}

/* The beams in the references of the encoder-decoders, with the end tokens of their models. */
static void test_references(void **state)
{
    (void)state;
    static const char *const names[] = {"t5_plain",  "t5_gated",    "bart_gelu",
                                        "bart_relu", "plbart_base", "plbart_deep"};
    for (int i = 0; i < 6; i++) {
        char path[128];
        bool t5 = i < 2;
        int32_t start = t5 ? 0 : 2, end = t5 ? 1 : 2;
        nib_error err = {0};
        nib_beam_options o;
        snprintf(path, sizeof path, "fixtures/seq2seq/%s.ref", names[i]);
        reference ref = reference_read(path);
        snprintf(path, sizeof path, "seq2seq/%s", names[i]);
        nib_model *model = open_model(path, NULL, NULL);
        nib_session *session = open_session(model, 1);
        nib_beam_options_init(&o, sizeof o);
        o.length_penalty = 1.3;
        o.max_tokens = 24;
        o.end_ids = &end;
        o.n_end_ids = 1;
        const int32_t *source = (const int32_t *)ref.source;
        assert_ok(nib_session_set_source(session, source, ref.n_source, &err), err);
        assert_ok(nib_session_set_tokens(session, &start, 1, NULL, &err), err);
        assert_ok(nib_beam_begin_tokens(session, &o, &err), err);
        run(session, 0);
        nib_beam_result got = {.struct_size = sizeof got};
        assert_ok(nib_beam_get_result(session, 0, &got, &err), err);
        assert_int_equal(got.n_ids + got.ended, ref.n_beam);
        assert_memory_equal(got.ids, ref.beam, got.n_ids * sizeof *got.ids);
        if (got.ended) assert_int_equal(ref.beam[got.n_ids], end);
        nib_session_free(session);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* ---- what a session promises ---- */

/* Forked caches hold what they should: the score is that of the tokens evaluated one by one. */
static void test_scores_are_of_the_texts(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-mixed", "qwen2", "llama-f32"};
    for (int trial = 0; trial < 6; trial++) {
        nib_model *model = tiny_open(models[trial / 2], NIB_PRECISION_DEFAULT);
        nib_session *s = tiny_session(model, 2, 0, trial & 1 ? NIB_KV_Q8 : NIB_KV_F16);
        uint32_t n_vocab = tiny_vocab(model), n_prompt = 13 + 5 * (uint32_t)trial;
        float *logits = malloc((size_t)64 * n_vocab * sizeof *logits);
        int32_t prompt[64], all[128];
        rng r = {70 + (uint64_t)trial};
        nib_error err = {0};
        nib_beam_options o;
        tiny_ids(&r, model, prompt, n_prompt);
        nib_beam_options_init(&o, sizeof o);
        o.n_beams = o.n_results = 6;
        o.max_tokens = 40;
        o.length_penalty = 0;
        assert_ok(nib_session_set_tokens(s, prompt, n_prompt, NULL, &err), err);
        assert_ok(nib_beam_begin_tokens(s, &o, &err), err);
        run(s, 0);
        for (uint32_t i = 0; i < o.n_results; i++) {
            nib_session *fork = NULL;
            nib_beam_result got = {.struct_size = sizeof got};
            const float *row;
            double sum = 0;
            assert_ok(nib_beam_get_result(s, i, &got, &err), err);
            memcpy(all, got.ids, got.n_ids * sizeof *all);
            if (got.ended) continue;
            assert_int_equal(got.n_ids, 40);
            assert_ok(nib_session_fork(s, &fork, &err), err);
            assert_ok(nib_session_logits(fork, &row, NULL, &err), err);
            memcpy(logits, row, n_vocab * sizeof *logits);
            assert_ok(nib_session_eval_logits(fork, all, got.n_ids, NIB_EVAL_STEPWISE,
                                              logits + n_vocab, &err),
                      err);
            for (uint32_t k = 0; k < got.n_ids; k++) {
                const float *l = logits + (size_t)k * n_vocab;
                double total = 0;
                for (uint32_t v = 0; v < n_vocab; v++) total += exp((double)l[v]);
                sum += (double)l[all[k]] - log(total);
            }
            if (!(fabs(sum - got.score) < 1e-3))
                fail_msg("trial %d, result %u: score %f, of its tokens %f", trial, i, got.score,
                         sum);
            nib_session_free(fork);
        }
        free(logits);
        nib_session_free(s);
        nib_model_free(model);
    }
}

/* The stream and its logits are as if nothing had been. */
static void test_stream_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i += 20) {
        const beam_case *c = &beam_cases[i];
        nib_model *model = open_model(c->model, NULL, NULL);
        nib_session *a = open_session(model, 1), *b = open_session(model, 1);
        nib_error err = {0};
        begin_case(a, c);
        run(a, 0);
        if (c->n_source != 0)
            assert_ok(nib_session_set_source(b, c->source, c->n_source, &err), err);
        assert_ok(nib_session_set_tokens(b, c->prompt, c->n_prompt, NULL, &err), err);
        assert_ok(nib_session_eval(b, &err), err);
        assert_same_logits(a, b, "after a search");
        for (int k = 0; k < 5; k++) {
            assert_ok(nib_session_append(a, c->prompt, 1, &err), err);
            assert_ok(nib_session_append(b, c->prompt, 1, &err), err);
            assert_ok(nib_session_eval(a, &err), err);
            assert_ok(nib_session_eval(b, &err), err);
            assert_same_logits(a, b, "going on after a search");
        }
        nib_session_free(a);
        nib_session_free(b);
        nib_model_free(model);
    }
}

static void test_budgets_do_not_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i += 5) {
        nib_model *model = open_model(beam_cases[i].model, NULL, NULL);
        nib_session *session = open_session(model, 2);
        begin_case(session, &beam_cases[i]);
        run(session, 1);
        check_results(session, &beam_cases[i], i);
        begin_case(session, &beam_cases[i]);
        assert_int_equal(run(session, UINT64_MAX), 1);
        check_results(session, &beam_cases[i], i);
        nib_session_free(session);
        nib_model_free(model);
    }
}

static void test_edits_end_it(void **state)
{
    (void)state;
    const beam_case *c = &beam_cases[0];
    nib_model *model = open_model(c->model, NULL, NULL);
    nib_session *s = open_session(model, 1);
    int32_t other[] = {5, 6};
    nib_error err = {0};
    nib_step step = {.struct_size = sizeof step};
    nib_beam_result got = {.struct_size = sizeof got};
    assert_fails(nib_beam_get_result(s, 0, &got, &err), NIB_ERR_STATE, err, "search");
    for (int edit = 0; edit < 5; edit++) {
        begin_case(s, c);
        for (int i = 0; i < 4; i++) assert_ok(nib_session_step(s, 0, &step, &err), err);
        assert_fails(nib_beam_get_result(s, 0, &got, &err), NIB_ERR_STATE, err, "done");
        switch (edit) {
        case 0: assert_ok(nib_session_append(s, other, 1, &err), err); break;
        case 1: assert_ok(nib_session_truncate(s, 0, &err), err); break;
        case 2: assert_ok(nib_session_set_tokens(s, other, 2, NULL, &err), err); break;
        case 3: assert_ok(nib_session_set_source(s, other, 2, &err), err); break;
        case 4: assert_ok(nib_complete_begin_tokens(s, NULL, &err), err); break;
        }
        assert_fails(nib_beam_get_result(s, 0, &got, &err), NIB_ERR_STATE, err, "search");
        assert_ok(nib_session_eval(s, &err), err);
    }
    begin_case(s, c);
    run(s, 0);
    check_results(s, c, 0);
    assert_fails(nib_beam_get_result(s, c->n_results, &got, &err), NIB_ERR_ARGUMENT, err, "found");
    assert_ok(nib_session_step(s, 0, &step, &err), err); /* nothing is left to do */
    assert_true(step.done && step.text_len == 0);
    check_results(s, c, 0);
    nib_session_free(s);
    nib_model_free(model);
}

/* The best text comes with the last step; every result has its text. */
static void test_texts(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_error err = {0};
    nib_beam_options o;
    nib_beam_options_init(&o, sizeof o);
    o.n_results = 3;
    o.max_tokens = 12;
    assert_ok(nib_beam_begin(s, "def f(self):", 12, &o, &err), err);
    nib_step step = {.struct_size = sizeof step};
    while (!step.done) {
        assert_ok(nib_session_step(s, 0, &step, &err), err);
        assert_true(step.done || step.text_len == 0);
    }
    for (uint32_t i = 0; i < 3; i++) {
        char text[512];
        size_t len;
        nib_beam_result got = {.struct_size = sizeof got};
        assert_ok(nib_beam_get_result(s, i, &got, &err), err);
        assert_ok(nib_detokenize(model, got.ids, got.n_ids, 0, text, sizeof text, &len, &err), err);
        assert_int_equal(got.text_len, len);
        assert_memory_equal(got.text, text, len);
        if (i > 0) continue;
        assert_int_equal(step.text_len, len);
        assert_memory_equal(step.text, text, len);
        assert_int_equal(step.stop_reason, got.ended ? NIB_STOP_END_TOKEN : NIB_STOP_LENGTH);
    }
    nib_session_free(s);
    nib_model_free(model);
}

/* What a search found is given to the calls that end it: most naturally, appended to the stream. */
static void test_results_are_arguments(void **state)
{
    (void)state;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    for (int edit = 0; edit < 3; edit++) {
        fault_alloc fa; /* overwrites what is freed */
        fault_alloc_init(&fa);
        nib_session_options options;
        nib_session_options_init(&options, sizeof options);
        options.allocator = &fa.mem;
        nib_session *s = NULL;
        nib_error err = {0};
        nib_beam_result got = {.struct_size = sizeof got};
        int32_t best[TINY_CTX];
        const int32_t *ids;
        size_t n;
        assert_ok(nib_session_new(model, &options, &s, &err), err);
        assert_ok(nib_beam_begin(s, "def f(self):", 12, NULL, &err), err);
        run(s, 0);
        assert_ok(nib_beam_get_result(s, 0, &got, &err), err);
        memcpy(best, got.ids, got.n_ids * sizeof *best);
        switch (edit) {
        case 0: assert_ok(nib_session_append(s, got.ids, got.n_ids, &err), err); break;
        case 1: assert_ok(nib_session_set_tokens(s, got.ids, got.n_ids, NULL, &err), err); break;
        case 2: {
            float *logits = malloc(got.n_ids * tiny_vocab(model) * sizeof *logits);
            assert_ok(nib_session_eval_logits(s, got.ids, got.n_ids, 0, logits, &err), err);
            free(logits);
        }
        }
        assert_int_equal(nib_session_tokens(s, &ids, &n, NULL), NIB_OK);
        assert_true(n >= got.n_ids && got.n_ids > 1);
        assert_memory_equal(ids + n - got.n_ids, best, got.n_ids * sizeof *best);
        nib_session_free(s);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
    }
    nib_model_free(model);
}

/* Cancelled at every region of work: the search goes on to the same results. */
static void test_cancelled_anywhere(void **state)
{
    (void)state;
    const beam_case *c = &beam_cases[0];
    while (c->n_source != 0) c++; /* a decoder alone, with a prompt */
    nib_model *model = open_model(c->model, NULL, NULL);
    uint32_t cancelled = 0;
    for (uint32_t k = 1;; k += 1 + k / 8) {
        cancel_host h = {.cancel_at = k};
        nib_parallel parallel = cancel_host_parallel(&h);
        nib_session_options options;
        nib_error err = {0};
        nib_step step = {.struct_size = sizeof step};
        nib_session_options_init(&options, sizeof options);
        options.n_ctx = CONTEXT;
        options.parallel = &parallel;
        assert_ok(nib_session_new(model, &options, &h.session, &err), err);
        begin_case(h.session, c);
        bool stopped = false;
        while (!step.done) {
            nib_status status = nib_session_step(h.session, 0, &step, &err);
            if (status == NIB_ERR_CANCELLED)
                stopped = true;
            else
                assert_ok(status, err);
        }
        check_results(h.session, c, 0);
        nib_session_free(h.session);
        cancelled += stopped;
        if (!stopped) break;
    }
    assert_true(cancelled > 10);
    nib_model_free(model);
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    const beam_case *c = &beam_cases[4];
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_error err = {0};
        nib_step step = {.struct_size = sizeof step};
        fault_alloc_init(&fa);
        nib_model *model = open_model(c->model, NULL, &fa.mem);
        nib_session *s = open_session(model, 1);
        nib_beam_options o;
        nib_beam_options_init(&o, sizeof o);
        o.n_beams = o.n_results = 5;
        o.max_tokens = 6;
        assert_ok(nib_session_set_source(s, c->source, c->n_source, &err), err);
        assert_ok(nib_session_set_tokens(s, c->prompt, c->n_prompt, NULL, &err), err);
        fa.fail_at = fa.count + n;
        nib_status status = nib_beam_begin_tokens(s, &o, &err);
        size_t allocated = fa.count;
        if (status == NIB_ERR_MEMORY) { /* the session is as before */
            assert_true(fa.failed != 0 && err.text[0] != '\0');
            assert_ok(nib_session_step(s, 0, &step, &err), err);
            assert_true(step.done);
            status = nib_beam_begin_tokens(s, &o, &err);
            allocated = fa.count;
        }
        assert_ok(status, err);
        for (step.done = 0; !step.done;) {
            status = nib_session_step(s, 0, &step, &err);
            if (status != NIB_ERR_MEMORY) assert_ok(status, err);
        }
        assert_true(fa.count <= allocated + 4); /* for the texts; none for a token */
        bool done = fa.failed == 0;
        nib_session_free(s);
        nib_model_free(model);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
        if (done) {
            assert_true(n > 5);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_transformers),
        cmocka_unit_test(test_every_instruction_set),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_scores_are_of_the_texts),
        cmocka_unit_test(test_stream_stays),
        cmocka_unit_test(test_budgets_do_not_matter),
        cmocka_unit_test(test_edits_end_it),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_results_are_arguments),
        cmocka_unit_test(test_cancelled_anywhere),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
