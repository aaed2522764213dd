/* SPDX-License-Identifier: MIT
 * Models of test/fixtures and sessions on them. */
#include "fixture_model.h"

#include "fixture.h"
#include "test.h"

nib_model *fixture_model(const char *name, const nib_model_options *options)
{
    char path[128];
    nib_model *model = NULL;
    nib_error err = {0};
    snprintf(path, sizeof path, "fixtures/%s", name);
    assert_ok(nib_model_open(fixture_path(path), options, &model, &err), err);
    return model;
}

nib_session *fixture_session(nib_model *model, uint32_t n_ctx, uint32_t n_threads, uint32_t kv_type)
{
    nib_session *session = NULL;
    nib_error err = {0};
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = n_ctx;
    options.n_threads = n_threads;
    options.kv_type = kv_type;
    assert_ok(nib_session_new(model, &options, &session, &err), err);
    return session;
}

reference fixture_reference(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "fixtures/%s.ref", name);
    return reference_read(path);
}

float *fixture_logits(nib_session *session, const reference *ref, uint32_t flags)
{
    nib_error err = {0};
    const int32_t *ids = (const int32_t *)ref->ids;
    float *logits = malloc((size_t)ref->n_tokens * ref->n_vocab * sizeof *logits);
    assert_ok(nib_session_eval_logits(session, ids, ref->n_tokens, flags, logits, &err), err);
    return logits;
}

void assert_greedy(nib_session *session, const reference *ref, const float *logits,
                   const char *name)
{
    nib_error err = {0};
    float *row = malloc(ref->n_vocab * sizeof *row);
    assert_true(ref->n_greedy > 8);
    for (uint32_t n = 0; n < ref->n_greedy; n++) {
        int32_t id = (int32_t)reference_largest(logits, ref->n_vocab);
        if (id != (int32_t)ref->greedy[n])
            fail_msg("%s: greedy token %u: expected %u, got %d", name, n, ref->greedy[n], id);
        if (n + 1 == ref->n_greedy) break;
        assert_ok(nib_session_eval_logits(session, &id, 1, 0, row, &err), err);
        logits = row;
    }
    free(row);
}

void assert_greedy_after(nib_session *session, const reference *ref, int32_t id, const char *name)
{
    nib_error err = {0};
    float *logits = malloc(ref->n_vocab * sizeof *logits);
    assert_ok(nib_session_eval_logits(session, &id, 1, 0, logits, &err), err);
    assert_greedy(session, ref, logits, name);
    free(logits);
}
