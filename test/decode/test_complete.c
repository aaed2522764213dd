/* SPDX-License-Identifier: MIT
 * Completions on tiny models, against a loop over logits and against each other. The models are
 * random, so the text is noise; what counts is that it is the right noise, cut at the right place.
 */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "rng.h"
#include "tiny_model.h"

enum { MAX_TEXT = 4096, MAX_TOKENS = 256 };

typedef struct result {
    char text[MAX_TEXT];
    size_t len;
    nib_logprob tokens[MAX_TOKENS];
    nib_logprob top[MAX_TOKENS * 32];
    size_t n_tokens;
    uint32_t reason;
} result;

static const char prompt[] = "def self in the return for";

/* Steps to the end, collecting what is reported. */
static void collect(nib_session *s, uint64_t budget_us, uint32_t n_logprobs, result *out)
{
    nib_step step = {.struct_size = sizeof step};
    nib_error err = {0};
    out->len = out->n_tokens = 0;
    while (!step.done) {
        nib_status status = nib_session_step(s, budget_us, &step, &err);
        if (status != NIB_OK) fail_msg("step: %s", err.text);
        assert_true(out->len + step.text_len <= MAX_TEXT);
        assert_true(out->n_tokens + step.n_tokens <= MAX_TOKENS);
        memcpy(out->text + out->len, step.text, step.text_len);
        out->len += step.text_len;
        for (size_t i = 0; i < step.n_tokens; i++) out->tokens[out->n_tokens + i] = step.tokens[i];
        for (size_t i = 0; i < step.n_tokens * n_logprobs; i++)
            out->top[out->n_tokens * n_logprobs + i] = step.top[i];
        out->n_tokens += step.n_tokens;
        if (budget_us == 0 && !step.done) assert_true(step.n_tokens > 0);
    }
    out->reason = step.stop_reason;
    assert_true(out->reason != NIB_STOP_NONE);
    assert_int_equal(nib_session_step(s, budget_us, &step, &err), NIB_OK); /* and once more */
    assert_int_equal(step.done, 1);
    assert_int_equal(step.n_tokens, 0);
    assert_int_equal(step.text_len, 0);
}

static void complete(nib_session *s, const nib_complete_options *o, uint64_t budget_us, result *out)
{
    nib_error err = {0};
    if (nib_complete_begin(s, prompt, strlen(prompt), o, &err) != NIB_OK)
        fail_msg("begin: %s", err.text);
    collect(s, budget_us, o->n_logprobs, out);
}

static nib_complete_options defaults(void)
{
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 40;
    return o;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Greedy: the argmax of the logits, again and again, until an end token. */
static void test_greedy(void **state)
{
    (void)state;
    static const char *const models[] = {"llama-mixed", "qwen2", "llama-f32"};
    static result got;
    for (int m = 0; m < 3; m++) {
        nib_model *model = tiny_open(models[m], NIB_PRECISION_DEFAULT);
        nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
        nib_session *reference = tiny_session(model, 1, 0, NIB_KV_F16);
        nib_complete_options o = defaults();
        o.n_logprobs = 3;
        complete(s, &o, 0, &got);
        int32_t ids[TINY_CTX];
        size_t n;
        assert_int_equal(
            nib_tokenize(model, prompt, strlen(prompt), NIB_TOKENIZE_BOS, ids, TINY_CTX, &n, NULL),
            NIB_OK);
        tiny_eval(reference, ids, n);
        for (size_t i = 0; i < got.n_tokens; i++) {
            const float *logits;
            size_t n_vocab, best = 0;
            double sum = 0;
            assert_int_equal(nib_session_logits(reference, &logits, &n_vocab, NULL), NIB_OK);
            for (size_t v = 1; v < n_vocab; v++) best = logits[v] > logits[best] ? v : best;
            for (size_t v = 0; v < n_vocab; v++) sum += exp((double)(logits[v] - logits[best]));
            assert_int_equal(got.tokens[i].id, best);
            assert_true(fabs((double)got.tokens[i].logprob + log(sum)) < 1e-5);
            assert_int_equal(got.top[3 * i].id, best);
            assert_true(got.top[3 * i].logprob == got.tokens[i].logprob);
            assert_true(got.top[3 * i + 1].logprob <= got.top[3 * i].logprob);
            assert_int_equal(nib_session_append(reference, &got.tokens[i].id, 1, NULL), NIB_OK);
            assert_int_equal(nib_session_eval(reference, NULL), NIB_OK);
        }
        int32_t last = got.tokens[got.n_tokens - 1].id;
        assert_int_equal(got.reason,
                         nib_token_is_end(model, last) ? NIB_STOP_END_TOKEN : NIB_STOP_LENGTH);
        if (got.reason == NIB_STOP_LENGTH) assert_int_equal(got.n_tokens, 40);
        nib_session_free(s);
        nib_session_free(reference);
        nib_model_free(model);
    }
}

/* The end token ends, is reported, and is no part of the stream; or it is ignored. */
static void test_end_token(void **state)
{
    (void)state;
    static result got;
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    int32_t eos = nib_token_special(model, NIB_TOKEN_EOS);
    assert_true(eos >= 0 && nib_token_is_end(model, eos));
    nib_logit_bias bias = {eos, 1000};
    nib_complete_options o = defaults();
    o.bias = &bias;
    o.n_bias = 1;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_END_TOKEN);
    assert_int_equal(got.n_tokens, 1);
    assert_int_equal(got.tokens[0].id, eos);
    assert_int_equal(got.len, 0);
    const int32_t *ids;
    size_t n;
    assert_int_equal(nib_session_tokens(s, &ids, &n, NULL), NIB_OK);
    assert_int_not_equal(ids[n - 1], eos);
    o.ignore_end = 1;
    o.max_tokens = 7;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_LENGTH);
    assert_int_equal(got.n_tokens, 7);
    assert_int_equal(got.len, 0); /* control tokens have no text */
    nib_session_free(s);
    nib_model_free(model);
}

/* The same text for every budget; and the text is that of the tokens. */
static void test_budgets(void **state)
{
    (void)state;
    static const uint64_t budgets[] = {0, 1, 30, 500, 1000000};
    static result first, got;
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    for (int trial = 0; trial < 10; trial++) {
        nib_complete_options o = defaults();
        o.temperature = 1.5f;
        o.seed = (uint64_t)trial / 5 + 100;
        o.ignore_end = 1;
        nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
        result *out = trial % 5 == 0 ? &first : &got;
        complete(s, &o, budgets[trial % 5], out);
        assert_int_equal(out->n_tokens, 40);
        assert_int_equal(out->len, first.len);
        assert_memory_equal(out->text, first.text, first.len);
        int32_t ids[40];
        for (int i = 0; i < 40; i++) {
            ids[i] = out->tokens[i].id;
            assert_int_equal(ids[i], first.tokens[i].id);
        }
        char text[MAX_TEXT];
        size_t len;
        assert_int_equal(nib_detokenize(model, ids, 40, 0, text, sizeof text, &len, NULL), NIB_OK);
        assert_true(len >= out->len && len - out->len < 4); /* less a cut code point */
        assert_memory_equal(text, out->text, out->len);
        nib_session_free(s);
    }
    nib_model_free(model);
}

static void test_seeds(void **state)
{
    (void)state;
    static result a, b;
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_EXACT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    o.temperature = 1;
    o.ignore_end = 1;
    o.seed = 1;
    complete(s, &o, 0, &a);
    complete(s, &o, 0, &b); /* on a warm cache */
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.text, b.text, a.len);
    o.seed = 2;
    complete(s, &o, 0, &b);
    assert_true(a.len != b.len || memcmp(a.text, b.text, a.len) != 0);
    nib_session_free(s);
    nib_model_free(model);
}

/* ---- stops ----------------------------------------------------------------------------------- */

/* Whatever piece of the text is taken as a stop string, the text ends before its first occurrence.
 */
static void test_stop_strings(void **state)
{
    (void)state;
    static result free_text, got;
    rng r = {60};
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_EXACT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    o.temperature = 1;
    o.ignore_end = 1;
    o.seed = 5;
    complete(s, &o, 0, &free_text);
    for (int trial = 0; trial < 200; trial++) {
        size_t at = rng_below(&r, (uint32_t)free_text.len - 8), n = 1 + rng_below(&r, 7);
        nib_text stop = {free_text.text + at, n};
        o.stops = &stop;
        o.n_stops = 1;
        complete(s, &o, trial % 2 ? 0 : 300, &got);
        const char *found = memmem(free_text.text, free_text.len, stop.data, n);
        size_t end = (size_t)(found - free_text.text);
        /* A stop that starts inside a code point takes all of it. */
        while (end > 0 && ((unsigned char)free_text.text[end] & 0xc0) == 0x80 && got.len < end)
            end--;
        assert_int_equal(got.reason, NIB_STOP_STRING);
        assert_int_equal(got.len, end);
        assert_memory_equal(got.text, free_text.text, end);
    }
    nib_session_free(s);
    nib_model_free(model);
}

static void test_lines_and_time(void **state)
{
    (void)state;
    static result got;
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    int32_t newline, letter;
    size_t n;
    assert_int_equal(nib_tokenize(model, "\n", 1, 0, &newline, 1, &n, NULL), NIB_OK);
    assert_int_equal(nib_tokenize(model, "x", 1, 0, &letter, 1, &n, NULL), NIB_OK);
    nib_logit_bias bias[2] = {{newline, 1000}, {letter, 1000}};
    nib_complete_options o = defaults();
    o.bias = bias;
    o.n_bias = 2; /* nothing but these two, in some order */
    o.temperature = 30;
    o.seed = 3;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_LENGTH);
    const char *x = memchr(got.text, 'x', got.len);
    assert_non_null(x);
    const char *end = memchr(x, '\n', got.len - (size_t)(x - got.text));
    assert_non_null(end);
    size_t line = (size_t)(end - got.text);
    o.single_line = 1;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_LINE);
    assert_int_equal(got.len, line);
    o.single_line = 0;
    o.max_time_ms = 1;
    o.max_tokens = 150;
    nib_error err = {0};
    assert_int_equal(nib_complete_begin(s, prompt, strlen(prompt), &o, &err), NIB_OK);
    struct timespec wait = {0, 3000000};
    nanosleep(&wait, NULL);
    collect(s, 0, 0, &got); /* the time is over before the first token */
    assert_int_equal(got.reason, NIB_STOP_TIME);
    assert_null(memchr(got.text, '\n', got.len));
    nib_session_free(s);
    nib_model_free(model);
}

static void test_context_full(void **state)
{
    (void)state;
    static result got;
    nib_model *model = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    o.max_tokens = 10000;
    o.ignore_end = 1;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_CONTEXT);
    const int32_t *ids;
    size_t n;
    assert_int_equal(nib_session_tokens(s, &ids, &n, NULL), NIB_OK);
    assert_int_equal(n, TINY_CTX);
    o.max_tokens = 0;
    complete(s, &o, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_LENGTH);
    assert_int_equal(got.n_tokens, 0);
    nib_session_free(s);
    nib_model_free(model);
}

/* ---- ways to begin --------------------------------------------------------------------------- */

static void test_begin(void **state)
{
    (void)state;
    static result a, b;
    nib_error err = {0};
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    o.ignore_end = 1;
    complete(s, &o, 0, &a);
    /* In one call. */
    char text[MAX_TEXT];
    size_t len = 0;
    assert_int_equal(nib_complete(s, prompt, strlen(prompt), &o, text, sizeof text, &len, &err),
                     NIB_OK);
    assert_int_equal(len, a.len);
    assert_memory_equal(text, a.text, len);
    /* A small buffer holds what fits, in whole code points. */
    for (size_t cap = 0; cap < a.len; cap += 5) {
        assert_int_equal(nib_complete(s, prompt, strlen(prompt), &o, text, cap, &len, &err),
                         NIB_ERR_LIMIT);
        assert_true(len <= cap && cap - len < 4);
        assert_memory_equal(text, a.text, len);
    }
    /* From tokens. */
    int32_t ids[TINY_CTX];
    size_t n;
    assert_int_equal(
        nib_tokenize(model, prompt, strlen(prompt), NIB_TOKENIZE_BOS, ids, TINY_CTX, &n, NULL),
        NIB_OK);
    assert_int_equal(nib_session_set_tokens(s, ids, n, NULL, NULL), NIB_OK);
    assert_int_equal(nib_complete_begin_tokens(s, &o, &err), NIB_OK);
    collect(s, 0, 0, &b);
    assert_int_equal(b.len, a.len);
    assert_memory_equal(b.text, a.text, a.len);
    /* An empty prompt, and one that is too long, leave the stream alone. */
    assert_int_equal(nib_session_set_tokens(s, ids, n, NULL, NULL), NIB_OK);
    static char words[TINY_CTX * 2];
    memset(words, 'q', sizeof words);
    nib_status status = nib_complete_begin(s, words, sizeof words, &o, &err);
    assert_int_equal(status, NIB_ERR_LIMIT);
    const int32_t *stream;
    assert_int_equal(nib_session_tokens(s, &stream, &len, NULL), NIB_OK);
    assert_int_equal(len, n);
    assert_int_equal(nib_complete_begin(s, "", 0, &o, &err), NIB_ERR_ARGUMENT);
    assert_int_equal(nib_session_tokens(s, &stream, &len, NULL), NIB_OK);
    assert_int_equal(len, n);
    nib_session_free(s);
    nib_model_free(model);
}

/* Bytes that are no UTF-8 are text as well: what fits of them is there. */
static void test_buffer_without_code_points(void **state)
{
    (void)state;
    nib_error err = {0};
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    nib_logit_bias only = {.bias = 1e6f};
    size_t n, len;
    char text[12], expected[sizeof text + 1];
    memset(expected, 0x80, sizeof expected);
    const nib_text stop = {expected, sizeof expected}; /* holds all of it back to the end */
    assert_int_equal(nib_tokenize(model, expected, 1, 0, &only.id, 1, &n, &err), NIB_OK);
    o.bias = &only;
    o.n_bias = 1;
    o.stops = &stop;
    o.n_stops = 1;
    o.max_tokens = sizeof text;
    for (size_t cap = 0; cap <= sizeof text; cap++) {
        nib_status status = nib_complete(s, prompt, strlen(prompt), &o, text, cap, &len, &err);
        assert_int_equal(status, cap < sizeof text ? NIB_ERR_LIMIT : NIB_OK);
        assert_int_equal(len, cap);
        assert_memory_equal(text, expected, len);
    }
    nib_session_free(s);
    nib_model_free(model);
}

/* Both layouts of a fill-in-the-middle prompt; the suffix stops what repeats it. */
static void test_fim(void **state)
{
    (void)state;
    static result got;
    nib_error err = {0};
    nib_model *model = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(model, 1, 0, NIB_KV_F16);
    nib_complete_options o = defaults();
    nib_fim fim;
    nib_fim_init(&fim, sizeof fim);
    fim.prefix = (nib_text){"def f(self):\n    ret", 20};
    fim.suffix = (nib_text){"\n\nreturn 1\n", 11};
    for (uint32_t layout = 0; layout <= NIB_FIM_LAYOUT_PREFIX; layout++) {
        fim.layout = layout;
        int32_t ids[TINY_CTX];
        const int32_t *stream;
        size_t n, length;
        if (nib_fim_build(model, &fim, ids, TINY_CTX, &n, &err) != NIB_OK)
            fail_msg("fim_build: %s", err.text);
        if (nib_fim_begin(s, &fim, &o, &err) != NIB_OK) fail_msg("fim_begin: %s", err.text);
        assert_int_equal(nib_session_tokens(s, &stream, &length, NULL), NIB_OK);
        /* Behind the middle marker the unfinished word is left out, to be drawn (heal.h). */
        if (layout == NIB_FIM_LAYOUT_PREFIX)
            assert_int_equal(length, n);
        else
            assert_in_range(length, n - 3, n - 1);
        assert_memory_equal(stream, ids, length * sizeof *ids);
        collect(s, 0, 0, &got);
    }
    /* Made to write only newlines and "x": the suffix "\nx\n" comes soon, and is cut off. */
    int32_t newline, letter;
    size_t n;
    assert_int_equal(nib_tokenize(model, "\n", 1, 0, &newline, 1, &n, NULL), NIB_OK);
    assert_int_equal(nib_tokenize(model, "x", 1, 0, &letter, 1, &n, NULL), NIB_OK);
    nib_logit_bias bias[2] = {{newline, 1000}, {letter, 1000}};
    o.bias = bias;
    o.n_bias = 2;
    o.temperature = 30;
    o.max_tokens = 100;
    o.stop_suffix = 1;
    assert_int_equal(nib_complete_begin(s, prompt, 5, &o, &err), NIB_ERR_ARGUMENT); /* no suffix */
    fim.suffix = (nib_text){"\nx\n", 3};
    assert_int_equal(nib_fim_begin(s, &fim, &o, &err), NIB_OK);
    collect(s, 0, 0, &got);
    assert_int_equal(got.reason, NIB_STOP_SUFFIX);
    assert_true(got.n_tokens < 100);
    assert_null(memmem(got.text, got.len, "\nx\n", 3));
    nib_session_free(s);
    nib_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_end_token),
        cmocka_unit_test(test_budgets),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_lines_and_time),
        cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_begin),
        cmocka_unit_test(test_buffer_without_code_points),
        cmocka_unit_test(test_fim),
    };
    return cmocka_run_group_tests_name("complete", tests, NULL, NULL);
}
