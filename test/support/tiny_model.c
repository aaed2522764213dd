/* SPDX-License-Identifier: MIT */
#include "tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fixture_model.h"

static void check(nib_status status, const nib_error *err, const char *what)
{
    if (status != NIB_OK) fail_msg("%s: %s: %s", what, nib_status_str(status), err->text);
}

nib_model *tiny_open(const char *name, uint32_t precision)
{
    char path[64];
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.precision = precision;
    snprintf(path, sizeof path, "tiny/%s.gguf", name);
    return fixture_model(path, &options);
}

uint32_t tiny_vocab(const nib_model *model)
{
    nib_model_info info = {.struct_size = sizeof info};
    assert_int_equal(nib_model_get_info(model, &info), NIB_OK);
    return info.n_vocab;
}

nib_session *tiny_session(nib_model *model, uint32_t n_threads, uint32_t n_batch, uint32_t kv_type)
{
    nib_session *session = NULL;
    nib_error err = {0};
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = TINY_CTX;
    options.n_threads = n_threads;
    options.n_batch = n_batch;
    options.kv_type = kv_type;
    check(nib_session_new(model, &options, &session, &err), &err, "session");
    return session;
}

nib_batch *tiny_batch(nib_model *model, uint32_t n_threads, uint32_t max_rows)
{
    nib_batch *batch = NULL;
    nib_batch_options o;
    nib_error err = {0};
    nib_batch_options_init(&o, sizeof o);
    o.n_threads = n_threads;
    o.max_rows = max_rows;
    check(nib_batch_new(model, &o, &batch, &err), &err, "batch");
    return batch;
}

void tiny_ids(rng *r, const nib_model *model, int32_t *ids, size_t n)
{
    uint32_t n_vocab = tiny_vocab(model);
    for (size_t i = 0; i < n; i++) ids[i] = (int32_t)(8 + rng_below(r, n_vocab - 16));
}

size_t tiny_eval(nib_session *session, const int32_t *ids, size_t n)
{
    nib_error err = {0};
    size_t reused = 0;
    check(nib_session_set_tokens(session, ids, n, &reused, &err), &err, "set_tokens");
    check(nib_session_eval(session, &err), &err, "eval");
    return reused;
}

void assert_logits(const nib_session *session, const float *expected, const char *what)
{
    const float *logits = NULL;
    size_t n = 0;
    nib_error err = {0};
    check(nib_session_logits(session, &logits, &n, &err), &err, what);
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&logits[i], &expected[i], sizeof *logits) != 0)
            fail_msg("%s: logit %zu: expected %a, got %a", what, i, expected[i], logits[i]);
    }
}

void assert_same_logits(const nib_session *a, const nib_session *b, const char *what)
{
    const float *logits = NULL;
    nib_error err = {0};
    check(nib_session_logits(a, &logits, NULL, &err), &err, what);
    assert_logits(b, logits, what);
}
