/* SPDX-License-Identifier: MIT
 * A host with little stack: opening, completing, beam search, saving, loading and rewriting on a
 * thread of 64 KB, with the kernels of every level. A frame that is too large ends the program. */
#define _GNU_SOURCE
#include <unistd.h>

#include "base/cpu.h"
#include "fixture.h"
#include "small_stack.h"
#include "support/test.h"
#include "temp_dir.h"

enum { N_IDS = 40, CONTEXT = 96 };

typedef struct host {
    const char *path, *isa;
    uint32_t kv_type;
    const char *at; /* what it does, or failed at */
    nib_error err;
} host;

/* Steps until nothing is left. */
static nib_status finish(nib_session *session, nib_error *err)
{
    nib_step step = {.struct_size = sizeof step};
    nib_status status = NIB_OK;
    while (status == NIB_OK && !step.done) status = nib_session_step(session, 0, &step, err);
    return status;
}

static nib_status generate(host *h, nib_session *session)
{
    nib_complete_options complete;
    nib_complete_options_init(&complete, sizeof complete);
    complete.max_tokens = 6;
    complete.temperature = 0.8f;
    complete.top_k = 10;
    complete.top_p = 0.9f;
    h->at = "completing";
    nib_status status = nib_complete_begin_tokens(session, &complete, &h->err);
    if (status == NIB_OK) status = finish(session, &h->err);
    if (status != NIB_OK) return status;
    nib_beam_options beam;
    nib_beam_options_init(&beam, sizeof beam);
    beam.max_tokens = 4;
    beam.rules = NIB_BEAM_RULES_OPTIONS;
    beam.no_repeat_ngram = 2;
    h->at = "searching";
    status = nib_beam_begin_tokens(session, &beam, &h->err);
    return status == NIB_OK ? finish(session, &h->err) : status;
}

static nib_status use(host *h, nib_model *model, const char *file)
{
    nib_session *session;
    nib_session_options options;
    int32_t ids[N_IDS];
    nib_model_info info = {.struct_size = sizeof info};
    nib_status status = nib_model_get_info(model, &info);
    if (status != NIB_OK) return status;
    for (int i = 0; i < N_IDS; i++) ids[i] = 5 + i * 7 % ((int32_t)info.n_vocab - 5);
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = CONTEXT;
    options.kv_type = h->kv_type;
    h->at = "making a session";
    status = nib_session_new(model, &options, &session, &h->err);
    if (status != NIB_OK) return status;
    const bool source = info.kind == NIB_MODEL_ENCODER_DECODER;
    h->at = "evaluating";
    if (source) status = nib_session_set_source(session, ids, N_IDS, &h->err);
    if (status == NIB_OK) status = nib_session_set_tokens(session, ids, N_IDS, NULL, &h->err);
    if (status == NIB_OK) status = nib_session_eval(session, &h->err);
    if (status == NIB_OK) status = generate(h, session);
    if (status == NIB_OK) {
        h->at = "saving and loading";
        status = nib_session_save(session, file, &h->err);
        if (status == NIB_OK) status = nib_session_load(session, file, &h->err);
    }
    nib_session_free(session);
    return status;
}

static void *live(void *arg)
{
    host *h = arg;
    nib_model *model;
    nib_model_options options;
    char file[300];
    snprintf(file, sizeof file, "%s/file", test_folder.path);
    nib_model_options_init(&options, sizeof options);
    options.isa = h->isa;
    h->at = "opening";
    if (nib_model_open(h->path, &options, &model, &h->err) != NIB_OK) return NULL;
    nib_status status = use(h, model, file);
    nib_model_free(model);
    if (status != NIB_OK) return NULL;
    nib_quantize_options quantize;
    nib_quantize_options_init(&quantize, sizeof quantize);
    quantize.scheme = NIB_SCHEME_REPACK;
    h->at = "rewriting";
    if (strstr(h->path, ".gguf") != NULL &&
        nib_quantize(h->path, file, &quantize, &h->err) != NIB_OK)
        return NULL;
    h->at = NULL; /* all done */
    return NULL;
}

static void test_every_level(void **state)
{
    (void)state;
    static const char *const models[] = {
        "tiny/llama-mixed.gguf", "tiny/qwen2.gguf", "archs/gemma3.gguf", "hf/codegen", "hf/qwen2",
        "seq2seq/t5_gated"};
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
            char name[64];
            snprintf(name, sizeof name, "fixtures/%s", models[i]);
            host h = {.path = fixture_path(name),
                      .isa = nib__isa_name((nib__isa)isa),
                      .kv_type = i % 2 ? NIB_KV_Q8 : NIB_KV_F16};
            on_small_stack(live, &h);
            if (h.at != NULL) fail_msg("%s, %s, %s: %s", models[i], h.isa, h.at, h.err.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_level)};
    return cmocka_run_group_tests_name("api/small_stack", tests, make_test_folder,
                                       remove_test_folder);
}
