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
