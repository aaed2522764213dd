/* SPDX-License-Identifier: MIT
 * Eight sessions in eight threads on one model give the bits that they give one after another. Run
 * under ThreadSanitizer, this also shows that the model is never written. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rng.h"
#include "tiny_model.h"

enum { SESSIONS = 8, PROMPT = 60, DRAWN = 24, MAX_VOCAB = 1024 };

typedef struct job {
    nib_model *model;
    uint32_t number;
    int32_t drawn[DRAWN];
    float logits[MAX_VOCAB];
    char text[1024];
    size_t len;
    nib_status status; /* cmocka's assertions belong to the main thread */
} job;

static nib_status take_steps(nib_session *s, job *j)
{
    nib_step step = {.struct_size = sizeof step};
    size_t n = 0;
    while (!step.done) {
        nib_status status = nib_session_step(s, j->number % 2 ? 200 : 0, &step, NULL);
        if (status != NIB_OK) return status;
        for (size_t i = 0; i < step.n_tokens && n < DRAWN; i++) j->drawn[n++] = step.tokens[i].id;
        if (step.text_len > sizeof j->text - j->len) return NIB_ERR_LIMIT;
        memcpy(j->text + j->len, step.text, step.text_len);
        j->len += step.text_len;
    }
    return n == DRAWN ? NIB_OK : NIB_ERR_STATE;
}

static nib_status run_session(nib_session *s, job *j)
{
    int32_t ids[PROMPT];
    rng r = {70 + j->number};
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = DRAWN;
    o.temperature = j->number % 3 ? 1.0f : 0.0f;
    o.seed = j->number;
    o.ignore_end = 1;
    for (int i = 0; i < PROMPT; i++) ids[i] = (int32_t)(8 + rng_below(&r, 200));
    nib_status status = nib_session_set_tokens(s, ids, PROMPT, NULL, NULL);
    if (status == NIB_OK) status = nib_complete_begin_tokens(s, &o, NULL);
    if (status == NIB_OK) status = take_steps(s, j);
    if (status == NIB_OK) status = nib_session_eval(s, NULL);
    const float *logits;
    size_t n;
    if (status == NIB_OK) status = nib_session_logits(s, &logits, &n, NULL);
    if (status == NIB_OK) memcpy(j->logits, logits, n * sizeof *logits);
    return status;
}

static void *run(void *arg)
{
    job *j = arg;
    nib_session *s;
    nib_session_options options;
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = TINY_CTX;
    options.n_threads = j->number % 4 == 3 ? 2 : 1;
    options.kv_type = j->number % 2;
    nib_model *model = nib_model_retain(j->model);
    j->status = nib_session_new(model, &options, &s, NULL);
    nib_model_free(model);
    if (j->status != NIB_OK) return NULL;
    j->status = run_session(s, j);
    nib_session_free(s);
    return NULL;
}

static void test_eight(void **state)
{
    (void)state;
    static job serial[SESSIONS], parallel[SESSIONS];
    static const char *const models[] = {"llama-mixed", "qwen2"};
    for (int m = 0; m < 2; m++) {
        nib_model *model = tiny_open(models[m], NIB_PRECISION_DEFAULT);
        assert_true(tiny_vocab(model) <= MAX_VOCAB);
        pthread_t threads[SESSIONS];
        memset(serial, 0, sizeof serial);
        memset(parallel, 0, sizeof parallel);
        for (uint32_t i = 0; i < SESSIONS; i++) {
            serial[i].model = parallel[i].model = model;
            serial[i].number = parallel[i].number = i;
            run(&serial[i]);
            assert_int_equal(serial[i].status, NIB_OK);
        }
        for (uint32_t i = 0; i < SESSIONS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, run, &parallel[i]), 0);
        for (uint32_t i = 0; i < SESSIONS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (uint32_t i = 0; i < SESSIONS; i++) {
            assert_int_equal(parallel[i].status, NIB_OK);
            assert_int_equal(parallel[i].len, serial[i].len);
            assert_memory_equal(parallel[i].text, serial[i].text, serial[i].len);
            assert_memory_equal(parallel[i].drawn, serial[i].drawn, sizeof serial[i].drawn);
            assert_memory_equal(parallel[i].logits, serial[i].logits, sizeof serial[i].logits);
        }
        assert_memory_not_equal(serial[0].logits, serial[1].logits, sizeof serial[0].logits);
        nib_model_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_eight)};
    return cmocka_run_group_tests_name("concurrent", tests, NULL, NULL);
}
