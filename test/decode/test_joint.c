/* SPDX-License-Identifier: MIT
 * UniXcoder's encoder-decoder mode: the tokens of a source see each other, those behind it look
 * back. Logits and greedy tokens beside transformers' RobertaModel with the mask of UniXcoder's own
 * code (test/oracle/make_seq2seq_fixtures.py), and edits that change what the source is. */
#include <string.h>

#include "test.h"

#include "fixture_model.h"
#include "model/model.h"
#include "temp_dir.h"

static const char *const models[] = {"joint/unixcoder", "joint/unixcoder_odd"};
enum { N_MODELS = 2, CONTEXT = 110 };

static nib_model *open_as(const char *name, uint32_t precision, const char *isa)
{
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.precision = precision;
    options.isa = isa;
    return fixture_model(name, &options);
}

static nib_session *open_session(nib_model *model, uint32_t n_threads)
{
    return fixture_session(model, CONTEXT, n_threads, NIB_KV_F16);
}

/* Logits after the stream, from the session's memory. */
static const float *evaluate(nib_session *s)
{
    const float *logits = NULL;
    nib_error err = {0};
    assert_ok(nib_session_eval(s, &err), err);
    assert_ok(nib_session_logits(s, &logits, NULL, &err), err);
    return logits;
}

static const float *evaluate_tokens(nib_session *s, const uint32_t *ids, size_t n)
{
    nib_error err = {0};
    assert_ok(nib_session_set_tokens(s, (const int32_t *)ids, n, NULL, &err), err);
    return evaluate(s);
}

/* Every session of the test gives what a new one gives. */
static void assert_as_new(nib_model *model, const float *logits, const uint32_t *ids, size_t n)
{
    nib_session *fresh = open_session(model, 1);
    const float *want = evaluate_tokens(fresh, ids, n);
    assert_memory_equal(logits, want, model->config.n_vocab * sizeof *want);
    nib_session_free(fresh);
}

static void check_logits(const char *name, uint32_t precision, const char *isa)
{
    reference ref = fixture_reference(name);
    nib_model *model = open_as(name, precision, isa);
    for (uint32_t flags = 0; flags <= NIB_EVAL_STEPWISE; flags++) {
        nib_session *session = open_session(model, 2);
        float *logits = fixture_logits(session, &ref, flags);
        double d = reference_distance(&ref, logits);
        print_message("%s precision %u %s: %.1e\n", name, precision, isa != NULL ? isa : "", d);
        assert_true(d <= 2e-4);
        assert_greedy(session, &ref, evaluate_tokens(session, ref.source, ref.n_source), name);
        free(logits);
        nib_session_free(session);
    }
    nib_model_free(model);
    reference_free(&ref);
}

static void test_equals_transformers(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        for (uint32_t precision = 0; precision <= NIB_PRECISION_F32; precision++)
            check_logits(models[i], precision, NULL);
        for (int isa = 0; isa < NIB__ISA_COUNT; isa++)
            if (nib__isa_available((nib__isa)isa))
                check_logits(models[i], NIB_PRECISION_DEFAULT, nib__isa_name((nib__isa)isa));
    }
}

/* nib_complete puts the markers around a text. */
static void test_completes_a_text(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        reference ref = fixture_reference(models[i]);
        nib_model *model = open_as(models[i], NIB_PRECISION_DEFAULT, NULL);
        nib_session *session = open_session(model, 1);
        nib_complete_options options;
        nib_error err = {0};
        char text[1024] = "", want[1024] = "", got[1024];
        size_t len = 0;
        for (uint32_t k = 3; k + 1 < ref.n_source; k++)
            len += (size_t)snprintf(text + len, sizeof text - len, " w%u", ref.source[k]);
        nib_complete_options_init(&options, sizeof options);
        options.max_tokens = 20;
        assert_ok(nib_complete(session, text, len, &options, got, sizeof got, &len, &err), err);
        for (uint32_t k = 0; k < 20; k++) {
            size_t at = strlen(want);
            snprintf(want + at, sizeof want - at, "%sw%u", k > 0 ? " " : "", ref.greedy[k]);
        }
        size_t blank = got[0] == ' ';
        assert_int_equal(len - blank, strlen(want));
        assert_memory_equal(got + blank, want, len - blank);
        nib_session_free(session);
        nib_model_free(model);
        reference_free(&ref);
    }
}

/* A source that grows, shrinks or changes is evaluated anew, what only follows it is not. */
static void test_edits(void **state)
{
    (void)state;
    reference ref = fixture_reference(models[0]);
    nib_model *model = open_as(models[0], NIB_PRECISION_DEFAULT, NULL);
    nib_session *s = open_session(model, 1);
    nib_error err = {0};
    uint32_t n = ref.n_source, ids[64];
    size_t reused;
    /* token by token, from an unfinished source to a text behind it */
    for (uint32_t k = 1; k <= ref.n_tokens; k++) {
        assert_ok(nib_session_append(s, (const int32_t *)ref.ids + k - 1, 1, &err), err);
        const float *row = evaluate(s);
        if (k < n + 2) assert_as_new(model, row, ref.ids, k);
    }
    /* behind the source, and into it */
    assert_ok(nib_session_truncate(s, n + 3, &err), err);
    assert_ok(nib_session_set_tokens(s, (const int32_t *)ref.ids, n + 3, &reused, &err), err);
    assert_int_equal(reused, n + 3);
    (void)evaluate(s);
    for (uint32_t cut = n - 1; cut >= n - 4; cut--) {
        assert_ok(nib_session_truncate(s, cut, &err), err);
        assert_as_new(model, evaluate(s), ref.ids, cut);
        (void)evaluate_tokens(s, ref.ids, n + 3);
    }
    /* another source that begins as this one */
    memcpy(ids, ref.ids, n * sizeof *ids);
    ids[n - 3] = ids[n - 4];
    assert_ok(nib_session_set_tokens(s, (const int32_t *)ids, n, &reused, &err), err);
    assert_int_equal(reused, 0);
    assert_as_new(model, evaluate(s), ids, n);
    /* logits inside a source: only of all its tokens at once */
    float *rows = malloc(4 * ref.n_vocab * sizeof *rows);
    assert_ok(nib_session_set_tokens(s, (const int32_t *)ref.ids, n - 3, NULL, &err), err);
    assert_fails(nib_session_eval_logits(s, (const int32_t *)ref.ids + n - 3, 3, 0, rows, &err),
                 NIB_ERR_STATE, err, "at once");
    assert_as_new(model, evaluate(s), ref.ids, n - 3);
    free(rows);
    nib_session_free(s);
    nib_model_free(model);
    reference_free(&ref);
}

/* A source longer than a pass is refused by name. */
static void test_long_sources(void **state)
{
    (void)state;
    reference ref = fixture_reference(models[1]);
    nib_model *model = open_as(models[1], NIB_PRECISION_DEFAULT, NULL);
    nib_session *s = NULL;
    nib_session_options options;
    nib_error err = {0};
    nib_session_options_init(&options, sizeof options);
    options.n_batch = ref.n_source - 1;
    assert_ok(nib_session_new(model, &options, &s, &err), err);
    assert_ok(nib_session_set_tokens(s, (const int32_t *)ref.ids, ref.n_source, NULL, &err), err);
    assert_fails(nib_session_eval(s, &err), NIB_ERR_LIMIT, err, "n_batch, 26, got 27");
    const uint32_t plain[] = {0, 5, 2, 9, 10}; /* <decoder-only> looks back */
    (void)evaluate_tokens(s, plain, 5);
    nib_session_free(s);
    nib_model_free(model);
    reference_free(&ref);
}

/* Forked and saved: the same bits. */
static void test_copies(void **state)
{
    (void)state;
    reference ref = fixture_reference(models[0]);
    nib_model *model = open_as(models[0], NIB_PRECISION_DEFAULT, NULL);
    nib_session *s = open_session(model, 3), *fork = NULL, *loaded = open_session(model, 1);
    nib_error err = {0};
    temp_dir dir;
    temp_dir_make(&dir);
    (void)evaluate_tokens(s, ref.ids, ref.n_source + 2);
    assert_ok(nib_session_fork(s, &fork, &err), err);
    assert_ok(nib_session_save(s, temp_dir_file(&dir, "state"), &err), err);
    assert_ok(nib_session_load(loaded, temp_dir_file(&dir, "state"), &err), err);
    nib_session *const all[] = {s, fork, loaded};
    for (int i = 0; i < 3; i++) {
        const int32_t next = (int32_t)ref.ids[ref.n_source + 2];
        assert_ok(nib_session_append(all[i], &next, 1, &err), err);
        assert_as_new(model, evaluate(all[i]), ref.ids, ref.n_source + 3);
        nib_session_free(all[i]);
    }
    nib_model_free(model);
    reference_free(&ref);
    temp_dir_remove(&dir);
}

/* Two prompts with a source and one that looks back, in a batch, a microsecond at a time. */
static void test_batches(void **state)
{
    (void)state;
    reference ref = fixture_reference(models[0]);
    nib_model *model = open_as(models[0], NIB_PRECISION_DEFAULT, NULL);
    const int32_t plain[] = {0, 5, 2, 9, 10, 11};
    nib_session *s[3] = {open_session(model, 1), open_session(model, 1), open_session(model, 1)};
    nib_batch *batch = NULL;
    nib_error err = {0};
    int32_t ids[3][8];
    uint32_t n[3] = {0}, done = 0;
    nib_complete_options options;
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = 8;
    assert_ok(nib_batch_new(model, NULL, &batch, &err), err);
    for (int i = 0; i < 3; i++) {
        const int32_t *prompt = i == 1 ? plain : (const int32_t *)ref.source;
        assert_ok(nib_session_set_tokens(s[i], prompt, i == 1 ? 6 : ref.n_source, NULL, &err), err);
        assert_ok(nib_complete_begin_tokens(s[i], &options, &err), err);
    }
    for (int turn = 0; done < 3 && turn < 100000; turn++) {
        nib_step steps[3] = {{.struct_size = sizeof steps[0]}};
        nib_status statuses[3];
        nib_error errors[3];
        done = 0;
        assert_ok(nib_batch_step(batch, s, 3, 1, steps, statuses, errors, &err), err);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(statuses[i], NIB_OK);
            for (size_t k = 0; k < steps[i].n_tokens; k++) ids[i][n[i]++] = steps[i].tokens[k].id;
            done += steps[i].done != 0;
        }
    }
    assert_int_equal(done, 3);
    for (uint32_t k = 0; k < 8; k++) {
        assert_int_equal(ids[0][k], ref.greedy[k]);
        assert_int_equal(ids[2][k], ref.greedy[k]);
    }
    for (int i = 0; i < 3; i++) nib_session_free(s[i]);
    nib_batch_free(batch);
    nib_model_free(model);
    reference_free(&ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equals_transformers),
        cmocka_unit_test(test_completes_a_text),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_long_sources),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
