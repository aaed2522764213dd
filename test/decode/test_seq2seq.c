/* SPDX-License-Identifier: MIT
 * Encoder-decoders and encoders against transformers: logits of every position, greedy tokens,
 * hidden states; and what a session promises about its source. Checkpoints and references:
 * test/oracle/make_seq2seq_fixtures.py. */
#include <math.h>
#include <string.h>

#include "test.h"

#include "cancel_host.h"
#include "fault_turn.h"
#include "fixture.h"
#include "fixture_model.h"
#include "model/model.h"
#include "temp_dir.h"

static const char *const pairs[] = {"t5_plain",  "t5_gated",    "t5_odd",     "bart_gelu",
                                    "bart_relu", "plbart_base", "plbart_deep"};
static const char *const encoders[] = {"roberta_small", "roberta_pooled", "roberta_padded"};
static const char *const decoders[] = {"unixcoder", "unixcoder_wide"};
enum { N_PAIRS = 7, N_ENCODERS = 3, N_DECODERS = 2, CONTEXT = 80 };

static nib_model *open_model(const char *name, uint32_t precision, const char *isa)
{
    char path[64];
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.precision = precision;
    options.isa = isa;
    snprintf(path, sizeof path, "seq2seq/%s", name);
    return fixture_model(path, &options);
}

static reference read_reference(const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "seq2seq/%s", name);
    return fixture_reference(path);
}

static nib_session *open_session(nib_model *model, uint32_t n_threads)
{
    return fixture_session(model, model->config.both_ways ? 50 : CONTEXT, n_threads, NIB_KV_F16);
}

static void set_source(nib_session *session, const reference *ref)
{
    nib_error err = {0};
    assert_ok(nib_session_set_source(session, (const int32_t *)ref->source, ref->n_source, &err),
              err);
}

static void check_logits(const char *name, uint32_t precision, const char *isa, uint32_t flags)
{
    reference ref = read_reference(name);
    nib_model *model = open_model(name, precision, isa);
    nib_session *session = open_session(model, 2);
    set_source(session, &ref);
    float *logits = fixture_logits(session, &ref, flags);
    double d = reference_distance(&ref, logits);
    print_message("%-12s precision %u %s %s: %.1e\n", name, precision, isa != NULL ? isa : "",
                  flags ? "steps" : "whole", d);
    assert_true(d <= 2e-4);
    free(logits);
    nib_session_free(session);
    nib_model_free(model);
    reference_free(&ref);
}

static void test_logits_equal_transformers(void **state)
{
    (void)state;
    static const uint32_t precisions[] = {NIB_PRECISION_DEFAULT, NIB_PRECISION_EXACT,
                                          NIB_PRECISION_F32};
    for (int i = 0; i < N_PAIRS; i++) {
        for (int p = 0; p < 3; p++) {
            check_logits(pairs[i], precisions[p], NULL, 0);
            check_logits(pairs[i], precisions[p], NULL, NIB_EVAL_STEPWISE);
        }
    }
}

static void test_every_instruction_set(void **state)
{
    (void)state;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        for (int i = 0; i < N_PAIRS; i++) {
            check_logits(pairs[i], NIB_PRECISION_DEFAULT, nib__isa_name((nib__isa)isa), 0);
        }
    }
}

static void test_greedy_equals_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < N_PAIRS; i++) {
        reference ref = read_reference(pairs[i]);
        nib_model *model = open_model(pairs[i], NIB_PRECISION_DEFAULT, NULL);
        nib_session *session = open_session(model, 1);
        nib_model_info info = {.struct_size = sizeof info};
        assert_int_equal(nib_model_get_info(model, &info), NIB_OK);
        assert_int_equal(info.kind, NIB_MODEL_ENCODER_DECODER);
        set_source(session, &ref);
        assert_greedy_after(session, &ref, info.start_id, pairs[i]);
        nib_session_free(session);
        nib_model_free(model);
        reference_free(&ref);
    }
}

static void test_hidden_states_equal_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < N_ENCODERS; i++) {
        reference ref = read_reference(encoders[i]);
        nib_model *model = open_model(encoders[i], NIB_PRECISION_DEFAULT, NULL);
        nib_session *session = open_session(model, 2);
        nib_error err = {0};
        const int32_t *ids = (const int32_t *)ref.ids;
        float *states = malloc((size_t)ref.n_tokens * ref.n_vocab * sizeof *states);
        float *mean = malloc(ref.n_vocab * sizeof *mean);
        assert_int_equal(model->config.n_embd, ref.n_vocab);
        assert_ok(nib_session_embed(session, ids, ref.n_tokens, 0, states, &err), err);
        print_message("%s: %.1e\n", encoders[i], reference_distance(&ref, states));
        assert_true(reference_distance(&ref, states) <= 2e-4);
        assert_ok(nib_session_embed(session, ids, ref.n_tokens, NIB_EMBED_MEAN, mean, &err), err);
        for (uint32_t k = 0; k < ref.n_vocab; k++) {
            double sum = 0;
            for (uint32_t row = 0; row < ref.n_tokens; row++)
                sum += (double)ref.logits[(size_t)row * ref.n_vocab + k];
            assert_true(fabs(sum / ref.n_tokens - (double)mean[k]) <= 1e-4);
        }
        /* there is no text to go on from */
        assert_ok(nib_session_set_tokens(session, ids, 3, NULL, &err), err);
        assert_fails(nib_session_eval(session, &err), NIB_ERR_STATE, err, "hidden states");
        assert_fails(nib_session_set_source(session, ids, 3, &err), NIB_ERR_STATE, err, "roberta");
        free(states);
        free(mean);
        nib_session_free(session);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* RoBERTa with is_decoder, as UniXcoder uses it: every row looks back only. */
static void test_decoders_equal_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < N_DECODERS; i++) {
        reference ref = read_reference(decoders[i]);
        for (uint32_t precision = 0; precision <= NIB_PRECISION_F32; precision++) {
            nib_model *model = open_model(decoders[i], precision, NULL);
            nib_session *session = open_session(model, 2);
            nib_error err = {0};
            assert_int_equal(model->config.both_ways, 0);
            for (uint32_t flags = 0; flags <= NIB_EVAL_STEPWISE; flags++) {
                assert_ok(nib_session_set_tokens(session, NULL, 0, NULL, &err), err);
                float *logits = fixture_logits(session, &ref, flags);
                double d = reference_distance(&ref, logits);
                print_message("%s precision %u: %.1e\n", decoders[i], precision, d);
                assert_true(d <= 2e-4);
                free(logits);
            }
            const int32_t *ids = (const int32_t *)ref.ids;
            const float *row;
            assert_int_equal(ref.n_greedy, 64);
            assert_ok(nib_session_set_tokens(session, ids, 4, NULL, &err), err);
            assert_ok(nib_session_eval(session, &err), err);
            assert_ok(nib_session_logits(session, &row, NULL, &err), err);
            assert_greedy(session, &ref, row, decoders[i]);
            nib_session_free(session);
            nib_model_free(model);
        }
        reference_free(&ref);
    }
}

/* ---- what a session promises ---- */

static void test_threads_do_not_matter(void **state)
{
    (void)state;
    for (int i = 0; i < N_PAIRS; i++) {
        reference ref = read_reference(pairs[i]);
        nib_model *model = open_model(pairs[i], NIB_PRECISION_DEFAULT, NULL);
        nib_session *one = open_session(model, 1), *three = open_session(model, 3);
        set_source(one, &ref);
        set_source(three, &ref);
        float *a = fixture_logits(one, &ref, 0), *b = fixture_logits(three, &ref, 0);
        assert_memory_equal(a, b, (size_t)ref.n_tokens * ref.n_vocab * sizeof *a);
        free(a);
        free(b);
        nib_session_free(one);
        nib_session_free(three);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* Another source and back gives the bits of before, in the session and in a fork of it. */
static void test_sources_come_and_go(void **state)
{
    (void)state;
    reference ref = read_reference("t5_plain");
    nib_model *model = open_model("t5_plain", NIB_PRECISION_DEFAULT, NULL);
    nib_session *session = open_session(model, 1), *fork = NULL;
    nib_error err = {0};
    const int32_t other[] = {7, 8, 9};
    const int32_t *ids = (const int32_t *)ref.ids;
    size_t size = (size_t)ref.n_tokens * ref.n_vocab * sizeof(float), reused = 99;
    const float *row;

    set_source(session, &ref);
    float *first = fixture_logits(session, &ref, 0);
    assert_ok(nib_session_fork(session, &fork, &err), err);
    assert_ok(nib_session_set_source(session, other, 3, &err), err);
    assert_ok(nib_session_eval(session, &err), err); /* the stream stayed, and is evaluated anew */
    assert_ok(nib_session_logits(session, &row, NULL, &err), err);
    assert_true(memcmp(row, first + (size_t)(ref.n_tokens - 1) * ref.n_vocab,
                       ref.n_vocab * sizeof(float)) != 0);
    set_source(session, &ref);
    assert_ok(nib_session_set_tokens(session, ids, 0, NULL, &err), err);
    float *again = fixture_logits(session, &ref, 0);
    assert_memory_equal(first, again, size);
    set_source(session, &ref); /* the same: nothing is lost */
    assert_ok(nib_session_set_tokens(session, ids, ref.n_tokens, &reused, &err), err);
    assert_int_equal(reused, ref.n_tokens);

    assert_ok(nib_session_set_tokens(fork, ids, 0, NULL, &err), err);
    float *forked = fixture_logits(fork, &ref, 0);
    assert_memory_equal(first, forked, size);
    free(first);
    free(again);
    free(forked);
    nib_session_free(fork);
    nib_session_free(session);
    nib_model_free(model);
    reference_free(&ref);
}

static void test_bad_sources(void **state)
{
    (void)state;
    reference ref = read_reference("bart_gelu");
    nib_model *model = open_model("bart_gelu", NIB_PRECISION_DEFAULT, NULL);
    nib_session *session = open_session(model, 1);
    nib_error err = {0};
    int32_t ids[CONTEXT + 1] = {3};
    assert_ok(nib_session_set_tokens(session, ids, 1, NULL, &err), err);
    assert_fails(nib_session_eval(session, &err), NIB_ERR_STATE, err, "source");
    assert_fails(nib_session_set_source(session, ids, 0, &err), NIB_ERR_ARGUMENT, err, "1..80");
    assert_fails(nib_session_set_source(session, ids, CONTEXT + 1, &err), NIB_ERR_LIMIT, err, "81");
    ids[1] = 53;
    assert_fails(nib_session_set_source(session, ids, 2, &err), NIB_ERR_ARGUMENT, err, "53");
    ids[1] = -1;
    assert_fails(nib_session_embed(session, ids, 2, 0, (float[36]){0}, &err), NIB_ERR_ARGUMENT, err,
                 "-1");
    assert_fails(nib_session_embed(session, ids, 1, 2, (float[36]){0}, &err), NIB_ERR_ARGUMENT, err,
                 "flags");
    nib_session_free(session);
    nib_model_free(model);
    reference_free(&ref);
}

/* Cancelled at every region of work: the session goes on to the same bits. */
static void test_cancelled_anywhere(void **state)
{
    (void)state;
    reference ref = read_reference("plbart_base");
    nib_model *model = open_model("plbart_base", NIB_PRECISION_DEFAULT, NULL);
    float *want = NULL;
    uint32_t cancelled = 0;
    for (uint32_t k = 0;; k++) {
        cancel_host h = {.cancel_at = k};
        nib_parallel parallel = cancel_host_parallel(&h);
        nib_session_options options;
        nib_error err = {0};
        nib_session_options_init(&options, sizeof options);
        options.n_ctx = CONTEXT;
        options.parallel = &parallel;
        assert_ok(nib_session_new(model, &options, &h.session, &err), err);
        set_source(h.session, &ref);
        size_t size = (size_t)ref.n_tokens * ref.n_vocab * sizeof(float);
        float *logits = malloc(size);
        nib_status status = nib_session_eval_logits(h.session, (const int32_t *)ref.ids,
                                                    ref.n_tokens, 0, logits, &err);
        bool stopped = status == NIB_ERR_CANCELLED;
        if (stopped) {
            cancelled++;
            assert_ok(nib_session_eval_logits(h.session, (const int32_t *)ref.ids, ref.n_tokens, 0,
                                              logits, &err),
                      err);
        } else {
            assert_ok(status, err);
        }
        if (want == NULL)
            want = logits;
        else
            assert_memory_equal(want, logits, size);
        if (logits != want) free(logits);
        nib_session_free(h.session);
        if (k > 0 && !stopped) break;
    }
    assert_true(cancelled > 10);
    free(want);
    nib_model_free(model);
    reference_free(&ref);
}

/* A checkpoint with a tokenizer whose word number n is "wn ". */
static nib_model *open_with_words(temp_dir *dir, const char *name, uint32_t n_words)
{
    char text[4096], folder[64];
    size_t len = 0;
    nib_model *model = NULL;
    nib_error err = {0};
    temp_dir_make(dir);
    snprintf(folder, sizeof folder, "fixtures/seq2seq/%s", name);
    temp_dir_fixture(dir, folder, "config.json");
    temp_dir_fixture(dir, folder, "model.safetensors");
    len += (size_t)snprintf(text, sizeof text,
                            "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, "
                            "\"pre_tokenizer\": {\"type\": \"WhitespaceSplit\"}, "
                            "\"post_processor\": null, \"decoder\": null, \"model\": "
                            "{\"type\": \"WordLevel\", \"unk_token\": \"w0\", \"vocab\": {");
    for (uint32_t i = 0; i < n_words; i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, "%s\"w%u\": %u", i ? ", " : "", i, i);
    snprintf(text + len, sizeof text - len, "}}}");
    temp_dir_text(dir, "tokenizer.json", text);
    assert_ok(nib_model_open(dir->path, NULL, &model, &err), err);
    return model;
}

/* The prompt becomes the source; the text is the words of transformers' greedy tokens. */
static void test_complete(void **state)
{
    (void)state;
    temp_dir dir;
    reference ref = read_reference("t5_plain");
    nib_model *model = open_with_words(&dir, "t5_plain", ref.n_vocab);
    nib_session *session = open_session(model, 1);
    nib_error err = {0};
    nib_complete_options options;
    char prompt[1024] = "", want[1024] = "", text[1024];
    size_t at = 0, len = 0;
    for (uint32_t i = 0; i < ref.n_source; i++)
        at +=
            (size_t)snprintf(prompt + at, sizeof prompt - at, "%sw%u", i ? " " : "", ref.source[i]);
    at = 0;
    for (uint32_t i = 0; i < 20; i++)
        at += (size_t)snprintf(want + at, sizeof want - at, "%sw%u", i ? " " : "", ref.greedy[i]);
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = 20;
    options.ignore_end = 1;
    for (int turn = 0; turn < 2; turn++) {
        assert_ok(nib_complete(session, prompt, strlen(prompt), &options, text, sizeof text - 1,
                               &len, &err),
                  err);
        text[len] = '\0';
        assert_non_null(strstr(text, want));
    }
    nib_session_free(session);
    nib_model_free(model);
    temp_dir_remove(&dir);
    reference_free(&ref);
}

static void test_every_allocation_can_fail(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_model *model = NULL;
        nib_session *session = NULL, *fork = NULL;
        nib_error err = {0};
        nib_model_options options;
        nib_model_options_init(&options, sizeof options);
        fault_alloc_init(&fa);
        fa.fail_at = n;
        options.allocator = &fa.mem;
        nib_status status =
            nib_model_open(fixture_path("fixtures/seq2seq/t5_gated"), &options, &model, &err);
        if (status == NIB_OK) status = nib_session_new(model, NULL, &session, &err);
        if (status == NIB_OK) status = nib_session_fork(session, &fork, &err);
        nib_session_free(fork);
        nib_session_free(session);
        nib_model_free(model);
        if (fault_turn_last(&fa, status, &err, 20)) break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_equal_transformers),
        cmocka_unit_test(test_every_instruction_set),
        cmocka_unit_test(test_greedy_equals_transformers),
        cmocka_unit_test(test_hidden_states_equal_transformers),
        cmocka_unit_test(test_decoders_equal_transformers),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_sources_come_and_go),
        cmocka_unit_test(test_bad_sources),
        cmocka_unit_test(test_cancelled_anywhere),
        cmocka_unit_test(test_complete),
        cmocka_unit_test(test_every_allocation_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
