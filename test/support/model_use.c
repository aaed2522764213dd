/* SPDX-License-Identifier: MIT
 * Opens bytes as a model through the public API and uses it. */
#include "model_use.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_alloc.h"

static void require(int condition, const char *what)
{
    if (condition) return;
    fprintf(stderr, "model_use: %s\n", what);
    abort();
}

/* A status of the documented set, with the message that belongs to it. */
static void check_failure(nib_status status, const nib_error *err)
{
    require(strcmp(nib_status_str(status), "unknown status") != 0, "unknown status");
    require(err->code == status, "status and message differ");
    require(err->text[0] != '\0', "failure without a message");
    require(memchr(err->text, '\0', sizeof err->text) != NULL, "message without an end");
}

static void use_tokenizer(const nib_model *model)
{
    static const char text[] = "def f(x):\n    return x + 1 \xff\xe2\x82 <|endoftext|>";
    int32_t ids[256];
    char back[1024];
    size_t n = 0, len = 0;
    nib_error err = {0};
    nib_status status =
        nib_tokenize(model, text, sizeof text, NIB_TOKENIZE_BOS, ids, 256, &n, &err);
    if (status != NIB_OK) {
        check_failure(status, &err);
        return;
    }
    status = nib_detokenize(model, ids, n, NIB_TOKENIZE_SPECIAL, back, sizeof back, &len, &err);
    if (status != NIB_OK) check_failure(status, &err);
    for (uint32_t which = 0; which <= NIB_TOKEN_UNK; which++)
        (void)nib_token_is_end(model, nib_token_special(model, which));
}

static int use_session(nib_model *model)
{
    nib_session_options options;
    nib_session *session = NULL;
    nib_error err = {0};
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = 48;
    options.n_batch = 16;
    nib_status status = nib_session_new(model, &options, &session, &err);
    if (status != NIB_OK) {
        check_failure(status, &err);
        require(session == NULL, "a session after a failure");
        return 0;
    }
    nib_complete_options complete;
    nib_complete_options_init(&complete, sizeof complete);
    complete.max_tokens = 3;
    complete.ignore_end = 1;
    int completed = 0;
    static const char *const prompts[] = {"def f(x):", "def f(y):"};
    for (int i = 0; i < 2; i++) {
        char text[512];
        size_t len = 0;
        status = nib_complete(session, prompts[i], strlen(prompts[i]), &complete, text, sizeof text,
                              &len, &err);
        if (status != NIB_OK)
            check_failure(status, &err);
        else
            completed = 1;
    }
    /* Vocabularies that have no token for the prompts are evaluated too. */
    static const int32_t ids[] = {0, 1, 2, 1};
    size_t reused = 0;
    status = nib_session_set_tokens(session, ids, 4, &reused, &err);
    if (status == NIB_OK) status = nib_session_eval(session, &err);
    if (status != NIB_OK) check_failure(status, &err);
    nib_session_free(session);
    return completed;
}

/* data == NULL: the model at `path`. */
static model_result use(const char *path, const uint8_t *data, size_t size, size_t max_bytes,
                        size_t fail_at)
{
    model_result result = {0};
    fault_alloc fa;
    fault_alloc_init(&fa);
    fa.max_bytes = max_bytes;
    fa.fail_at = fail_at;
    nib_model_options options;
    nib_model_options_init(&options, sizeof options);
    options.allocator = &fa.mem;
    nib_model *model = NULL;
    nib_error err = {0};
    nib_status status = result.status =
        data == NULL ? nib_model_open(path, &options, &model, &err)
                     : nib_model_open_memory(data, size, &options, &model, &err);
    if (status != NIB_OK) {
        check_failure(status, &err);
        result.error = err;
        require(model == NULL, "a model after a failure");
    } else {
        nib_model_info info = {.struct_size = sizeof info};
        require(nib_model_get_info(model, &info) == NIB_OK, "no information");
        use_tokenizer(model);
        result.completed = use_session(model);
    }
    nib_model_free(model);
    require(fa.live_blocks == 0, "memory leaked");
    result.n_allocations = fa.count;
    fault_alloc_done(&fa);
    return result;
}

model_result model_use(const uint8_t *data, size_t size, size_t max_bytes, size_t fail_at)
{
    return use(NULL, data, size, max_bytes, fail_at);
}

model_result model_use_path(const char *path, size_t max_bytes, size_t fail_at)
{
    return use(path, NULL, 0, max_bytes, fail_at);
}
