/* SPDX-License-Identifier: MIT
 * Every allocation fails once: opening, tokenizing, completing, saving, loading and forking give
 * NIB_ERR_MEMORY with a message, leak nothing, and leave what existed before usable. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fault_alloc.h"
#include "fixture.h"
#include "temp_dir.h"
#include "tiny_model.h"

static nib_status open_model(fault_alloc *fa, const char *name, nib_model **model, nib_error *err)
{
    nib_model_options o;
    nib_model_options_init(&o, sizeof o);
    o.allocator = &fa->mem;
    o.n_threads = 2;
    char path[128];
    snprintf(path, sizeof path, "fixtures/tiny/%s.gguf", name);
    return nib_model_open(fixture_path(path), &o, model, err);
}

/* Everything a session does, with the memory of the model. */
static nib_status use_session(nib_session *s, nib_error *err)
{
    nib_session *fork = NULL;
    char text[2048];
    size_t len;
    nib_logit_bias bias = {20, 2};
    nib_text stop = {"never to be seen", 16};
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 12;
    o.temperature = 1;
    o.bias = &bias;
    o.n_bias = 1;
    o.stops = &stop;
    o.n_stops = 1;
    o.n_logprobs = 5;
    o.ignore_end = 1;
    nib_status status = nib_complete(s, "def f(self):", 12, &o, text, sizeof text, &len, err);
    if (status == NIB_OK) status = nib_session_save(s, temp_dir_file(&test_folder, "state"), err);
    if (status == NIB_OK) status = nib_session_load(s, temp_dir_file(&test_folder, "state"), err);
    if (status == NIB_OK) status = nib_session_fork(s, &fork, err);
    nib_session_free(fork);
    nib_fim fim;
    nib_fim_init(&fim, sizeof fim);
    fim.prefix = (nib_text){"int a = ", 8};
    fim.suffix = (nib_text){";\n", 2};
    if (status == NIB_OK) status = nib_fim_begin(s, &fim, &o, err);
    nib_step step = {.struct_size = sizeof step};
    while (status == NIB_OK && !step.done) status = nib_session_step(s, 0, &step, err);
    if (status == NIB_OK) status = nib_beam_begin(s, "def f(self):", 12, NULL, err);
    for (step.done = 0; status == NIB_OK && !step.done;)
        status = nib_session_step(s, 0, &step, err);
    return status;
}

static nib_status use_all(fault_alloc *fa, const char *name, nib_error *err)
{
    nib_model *model;
    nib_status status = open_model(fa, name, &model, err);
    if (status != NIB_OK) return status;
    nib_session *s = NULL;
    nib_session_options o;
    nib_session_options_init(&o, sizeof o);
    o.n_ctx = TINY_CTX;
    o.n_threads = 2;
    int32_t ids[64];
    size_t n;
    status = nib_tokenize(model, "return self(10) for the", 23, 0, ids, 64, &n, err);
    if (status == NIB_OK) status = nib_session_new(model, &o, &s, err);
    if (status == NIB_OK) status = use_session(s, err);
    nib_session_free(s);
    nib_model_free(model);
    return status;
}

static void test_every_allocation(void **state)
{
    (void)state;
    static const char *const models[] = {"qwen2", "llama-llama3"};
    for (int m = 0; m < 2; m++) {
        size_t n = 1;
        for (int all_tried = 0; !all_tried; n++) {
            fault_alloc fa;
            nib_error err = {0};
            fault_alloc_init(&fa);
            fa.fail_at = n;
            nib_status status = use_all(&fa, models[m], &err);
            if (fa.failed == 0) {
                if (status != NIB_OK) fail_msg("%s", err.text);
                all_tried = 1;
            } else if (status != NIB_OK) { /* an allocation may also be done without */
                assert_int_equal(status, NIB_ERR_MEMORY);
                assert_int_equal(err.code, NIB_ERR_MEMORY);
                assert_true(err.text[0] != '\0');
            }
            if (fa.live_blocks != 0)
                fail_msg("%s: allocation %zu failed and %zu blocks leaked (%s)", models[m], n,
                         fa.live_blocks, err.text);
            fault_alloc_done(&fa);
        }
        print_message("%s: %zu allocations\n", models[m], n - 2);
        assert_true(n > 30);
    }
}

/* A completion goes on after its memory ran out, with the tokens it would have drawn. */
static void test_resume(void **state)
{
    (void)state;
    int32_t expected[64], drawn[64];
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 60;
    o.temperature = 1;
    o.n_logprobs = 2;
    o.ignore_end = 1;
    for (size_t fail_at = 0; fail_at < 25; fail_at++) {
        fault_alloc fa;
        nib_model *model;
        nib_session *s;
        nib_error err = {0};
        nib_session_options so;
        fault_alloc_init(&fa);
        nib_session_options_init(&so, sizeof so);
        so.n_ctx = TINY_CTX;
        assert_int_equal(open_model(&fa, "qwen2", &model, &err), NIB_OK);
        assert_int_equal(nib_session_new(model, &so, &s, &err), NIB_OK);
        assert_int_equal(nib_complete_begin(s, "for in", 6, &o, &err), NIB_OK);
        if (fail_at != 0) fa.fail_at = fa.count + fail_at;
        nib_step step = {.struct_size = sizeof step};
        char text[2048];
        size_t n = 0, len = 0;
        while (!step.done) {
            nib_status status = nib_session_step(s, 1000000, &step, &err);
            if (status == NIB_ERR_MEMORY) continue;
            assert_int_equal(status, NIB_OK);
            for (size_t i = 0; i < step.n_tokens; i++) {
                assert_true(n < 64);
                drawn[n++] = step.tokens[i].id;
            }
            assert_true(step.text_len <= sizeof text - len);
            memcpy(text + len, step.text, step.text_len);
            len += step.text_len;
        }
        assert_int_equal(n, 60);
        if (fail_at == 0) memcpy(expected, drawn, sizeof drawn);
        assert_memory_equal(drawn, expected, 60 * sizeof *drawn);
        char whole[2048];
        size_t whole_len;
        assert_int_equal(nib_detokenize(model, drawn, n, 0, whole, sizeof whole, &whole_len, &err),
                         NIB_OK);
        assert_true(len <= whole_len && whole_len - len < 4);
        assert_memory_equal(text, whole, len);
        nib_session_free(s);
        nib_model_free(model);
        assert_int_equal(fa.live_blocks, 0);
        fault_alloc_done(&fa);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_allocation),
        cmocka_unit_test(test_resume),
    };
    return cmocka_run_group_tests_name("faults", tests, make_test_folder, remove_test_folder);
}
