/* SPDX-License-Identifier: MIT
 * The public functions with arguments that nobody should give them: one clear error each, nothing
 * written, and everything still usable. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "small_stack.h"
#include "temp_dir.h"
#include "tiny_model.h"

/* The call must give `expected` and a message. */
#define REFUSES(expected, call)                                                                    \
    do {                                                                                           \
        memset(&err, 0, sizeof err);                                                               \
        assert_int_equal(call, expected);                                                          \
        assert_int_equal(err.code, expected);                                                      \
        assert_true(err.text[0] != '\0' && strlen(err.text) < sizeof err.text);                    \
    } while (0)

static nib_error err;

static void test_null(void **state)
{
    (void)state;
    nib_model *m = tiny_open("qwen2", NIB_PRECISION_DEFAULT), *model = NULL;
    nib_session *s = tiny_session(m, 1, 0, NIB_KV_F16), *session = NULL;
    const nib_status bad = NIB_ERR_ARGUMENT;
    int32_t id = 9;
    const int32_t *ids;
    const float *logits;
    float out[4];
    size_t n;
    uint64_t bytes;
    char text[8];
    nib_detok detok;
    nib_fim fim;
    nib_step step = {.struct_size = sizeof step};
    nib_model_info info = {.struct_size = sizeof info};
    nib_session_stats stats = {.struct_size = sizeof stats};
    nib_detok_init(&detok);
    nib_fim_init(&fim, sizeof fim);

    REFUSES(bad, nib_model_open(NULL, NULL, &model, &err));
    REFUSES(bad, nib_model_open("x", NULL, NULL, &err));
    REFUSES(bad, nib_model_open_memory(NULL, 5, NULL, &model, &err));
    REFUSES(bad, nib_model_open_memory("GGUF", 4, NULL, NULL, &err));
    assert_int_equal(nib_model_get_info(NULL, &info), bad);
    assert_int_equal(nib_model_get_info(m, NULL), bad);
    REFUSES(bad, nib_tokenize(NULL, "a", 1, 0, &id, 1, &n, &err));
    REFUSES(bad, nib_tokenize(m, NULL, 1, 0, &id, 1, &n, &err));
    REFUSES(bad, nib_tokenize(m, "a", 1, 0, NULL, 1, &n, &err));
    REFUSES(bad, nib_tokenize(m, "a", 1, 0, &id, 1, NULL, &err));
    REFUSES(bad, nib_tokenize(m, "a", 1, 64, &id, 1, &n, &err));
    REFUSES(bad, nib_detokenize(NULL, &id, 1, 0, text, 8, &n, &err));
    REFUSES(bad, nib_detokenize(m, NULL, 1, 0, text, 8, &n, &err));
    REFUSES(bad, nib_detokenize(m, &id, 1, 0, NULL, 8, &n, &err));
    REFUSES(bad, nib_detok_push(m, NULL, 9, text, 8, &n, &err));
    REFUSES(bad, nib_detok_push(NULL, &detok, 9, text, 8, &n, &err));
    REFUSES(bad, nib_session_memory(NULL, NULL, &bytes, &err));
    REFUSES(bad, nib_session_memory(m, NULL, NULL, &err));
    REFUSES(bad, nib_session_new(NULL, NULL, &session, &err));
    REFUSES(bad, nib_session_new(m, NULL, NULL, &err));
    REFUSES(bad, nib_session_fork(NULL, &session, &err));
    REFUSES(bad, nib_session_fork(s, NULL, &err));
    REFUSES(bad, nib_session_set_tokens(NULL, &id, 1, &n, &err));
    REFUSES(bad, nib_session_set_tokens(s, NULL, 1, &n, &err));
    REFUSES(bad, nib_session_append(s, NULL, 1, &err));
    REFUSES(bad, nib_session_truncate(NULL, 0, &err));
    assert_int_equal(nib_session_tokens(s, NULL, &n, NULL), bad);
    assert_int_equal(nib_session_tokens(NULL, &ids, &n, NULL), bad);
    REFUSES(bad, nib_session_eval(NULL, &err));
    REFUSES(bad, nib_session_eval_logits(s, &id, 1, 0, NULL, &err));
    REFUSES(bad, nib_session_eval_logits(s, &id, 1, 8, out, &err));
    REFUSES(bad, nib_session_logits(s, NULL, &n, &err));
    REFUSES(bad, nib_session_logits(NULL, &logits, &n, &err));
    REFUSES(bad, nib_session_save(s, NULL, &err));
    REFUSES(bad, nib_session_load(NULL, "x", &err));
    assert_int_equal(nib_session_get_stats(s, NULL), bad);
    assert_int_equal(nib_session_get_stats(NULL, &stats), bad);
    REFUSES(bad, nib_complete_begin(s, NULL, 4, NULL, &err));
    REFUSES(bad, nib_complete_begin_tokens(NULL, NULL, &err));
    REFUSES(bad, nib_session_step(s, 0, NULL, &err));
    REFUSES(bad, nib_session_step(NULL, 0, &step, &err));
    REFUSES(bad, nib_complete(s, "a", 1, NULL, NULL, 5, &n, &err));
    REFUSES(bad, nib_complete(s, "a", 1, NULL, text, 5, NULL, &err));
    REFUSES(bad, nib_fim_build(m, NULL, &id, 1, &n, &err));
    REFUSES(bad, nib_fim_begin(NULL, &fim, NULL, &err));
    REFUSES(bad, nib_fim_begin(s, NULL, NULL, &err));
    assert_int_equal(nib_session_eval(NULL, NULL), bad); /* no error struct */
    assert_null(model);
    assert_null(session);

    nib_model_free(NULL);
    nib_session_free(NULL);
    nib_session_cancel(NULL);
    nib_detok_init(NULL);
    assert_null(nib_model_retain(NULL));
    assert_int_equal(nib_token_max_bytes(NULL), 0);
    assert_int_equal(nib_token_special(NULL, 0), -1);
    assert_int_equal(nib_token_special(m, 99), -1);
    assert_int_equal(nib_token_is_end(m, -5), 0);
    assert_int_equal(nib_token_is_end(m, INT32_MAX), 0);
    nib_session_free(s);
    nib_model_free(m);
}

/* ---- struct sizes ---------------------------------------------------------------------------- */

static const size_t absurd[] = {0, 1, 4, 7, 12, 100001, SIZE_MAX, (size_t)UINT32_MAX - 7};

static void test_option_sizes(void **state)
{
    (void)state;
    nib_model *m = tiny_open("qwen2", NIB_PRECISION_DEFAULT), *model = NULL;
    nib_session *s = tiny_session(m, 1, 0, NIB_KV_F16), *session = NULL;
    nib_step step = {.struct_size = sizeof step};
    nib_model_info info;
    nib_session_stats stats;
    for (size_t i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        uint32_t size = (uint32_t)absurd[i];
        nib_model_options mo = {.struct_size = size};
        nib_session_options so = {.struct_size = size};
        nib_complete_options co = {.struct_size = size};
        nib_fim fim = {.struct_size = size};
        info.struct_size = stats.struct_size = step.struct_size = size;
        REFUSES(NIB_ERR_ARGUMENT, nib_model_open("x", &mo, &model, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_session_new(m, &so, &session, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_complete_begin(s, "a", 1, &co, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_fim_begin(s, &fim, NULL, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_session_step(s, 0, &step, &err));
        assert_int_equal(nib_model_get_info(m, &info), NIB_ERR_ARGUMENT);
        assert_int_equal(nib_session_get_stats(s, &stats), NIB_ERR_ARGUMENT);
        nib_session_options_init(&so, absurd[i]); /* writes at most struct_size, as 0 */
        if (absurd[i] >= 4) assert_int_equal(so.struct_size, 0);
    }
    nib_session_free(s);
    nib_model_free(m);
}

/* A caller that was compiled with less, or more, than this library knows. */
static void test_other_versions(void **state)
{
    (void)state;
    nib_model *m = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *session = NULL;
    struct {
        nib_session_options known;
        uint64_t later[2];
    } newer;
    nib_session_options_init(&newer.known, sizeof newer);
    assert_int_equal(newer.known.struct_size, sizeof newer);
    assert_int_equal(newer.later[1], 0);
    newer.known.n_ctx = 50;
    assert_int_equal(nib_session_new(m, &newer.known, &session, &err), NIB_OK);
    nib_session_free(session);
    newer.later[1] = 1; /* an option that we cannot honour */
    REFUSES(NIB_ERR_ARGUMENT, nib_session_new(m, &newer.known, &session, &err));

    /* Only n_ctx existed: what lies behind it is not ours to read. */
    nib_session_options older;
    memset(&older, 0xee, sizeof older);
    nib_session_options_init(&older, 8);
    older.n_ctx = 50;
    assert_int_equal(older.n_threads, 0xeeeeeeee);
    assert_int_equal(nib_session_new(m, &older, &session, &err), NIB_OK);
    nib_session_free(session);

    nib_model_info info;
    memset(&info, 0xee, sizeof info);
    info.struct_size = 16;
    assert_int_equal(nib_model_get_info(m, &info), NIB_OK);
    assert_int_equal(info.struct_size, 16);
    assert_int_equal(info.n_head_kv, 0xeeeeeeee);
    assert_true(info.n_layer != 0xeeeeeeee);
    nib_model_free(m);
}

static void *no_memory(void *user, size_t size, size_t align)
{
    (void)user;
    (void)size;
    (void)align;
    return NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void free_nothing(void *user, void *ptr)
{
    (void)user;
    (void)ptr;
}
#endif

/* ---- ranges ---------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    (void)state;
    nib_model *m = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT), *model = NULL;
    nib_session *s = tiny_session(m, 1, 0, NIB_KV_F16), *session = NULL;
    int32_t n_vocab = (int32_t)tiny_vocab(m);
    const int32_t bad_ids[] = {-1, n_vocab, INT32_MAX, INT32_MIN};
    int32_t ids[TINY_CTX + 1] = {0};
    char text[64];
    float logits[4];
    size_t n;
    nib_detok detok;
    nib_detok_init(&detok);
    tiny_eval(s, ids, 3);
    for (int i = 0; i < 4; i++) {
        ids[1] = bad_ids[i];
        REFUSES(NIB_ERR_ARGUMENT, nib_session_set_tokens(s, ids, 3, NULL, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_session_append(s, ids, 3, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_session_eval_logits(s, ids, 2, 0, logits, &err));
        REFUSES(NIB_ERR_ARGUMENT, nib_detokenize(m, ids, 2, 0, text, sizeof text, &n, &err));
        if (bad_ids[i] != -1) /* which flushes */
            REFUSES(NIB_ERR_ARGUMENT, nib_detok_push(m, &detok, ids[1], text, 64, &n, &err));
    }
    ids[1] = 0;
    REFUSES(NIB_ERR_LIMIT, nib_session_set_tokens(s, ids, TINY_CTX + 1, NULL, &err));
    REFUSES(NIB_ERR_LIMIT, nib_session_append(s, ids, TINY_CTX - 2, &err));
    REFUSES(NIB_ERR_LIMIT, nib_session_append(s, ids, SIZE_MAX, &err));
    const int32_t *stream;
    size_t evaluated;
    assert_int_equal(nib_session_tokens(s, &stream, &n, &evaluated), NIB_OK);
    assert_int_equal(n, 3);
    assert_int_equal(evaluated, 3);

    for (int i = 0; i < 7; i++) {
        nib_session_options o;
        nib_session_options_init(&o, sizeof o);
        nib_parallel no_function = {NULL, NULL, 2};
        nib_allocator no_free = {no_memory, NULL, NULL};
        if (i == 0) o.n_ctx = UINT32_MAX;
        if (i == 1) o.n_ctx = (uint32_t)INT32_MAX + 1;
        if (i == 2) o.kv_type = 2;
        if (i == 3) o.n_threads = 100000;
        if (i == 4) o.reserved = 1;
        if (i == 5) o.parallel = &no_function;
        if (i == 6) o.allocator = &no_free;
        REFUSES(NIB_ERR_ARGUMENT, nib_session_new(m, &o, &session, &err));
    }
    nib_model_options mo;
    nib_model_options_init(&mo, sizeof mo);
    mo.flags = 0x100;
    REFUSES(NIB_ERR_ARGUMENT, nib_model_open("x", &mo, &model, &err));
    mo.flags = 0;
    mo.precision = 9;
    REFUSES(NIB_ERR_ARGUMENT, nib_model_open("x", &mo, &model, &err));
    mo.precision = 0;
    mo.isa = "sse9";
    REFUSES(NIB_ERR_ARGUMENT,
            nib_model_open(fixture_path("fixtures/tiny/qwen2.gguf"), &mo, &model, &err));
    nib_session_free(s);
    nib_model_free(m);
}

/* The largest context that is allowed needs far more memory than there is. */
static void test_huge_context(void **state)
{
    (void)state;
    nib_model *m = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    nib_session *session = NULL;
    nib_session_options o;
    nib_session_options_init(&o, sizeof o);
    uint64_t bytes = 0;
    o.n_ctx = INT32_MAX;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    /* The allocator of a sanitizer ends the program instead of returning NULL. */
    nib_allocator none = {no_memory, free_nothing, NULL};
    o.allocator = &none;
#endif
    assert_int_equal(nib_session_memory(m, &o, &bytes, &err), NIB_OK);
    assert_true(bytes > (uint64_t)INT32_MAX * 100);
    nib_status status = nib_session_new(m, &o, &session, &err);
    if (status == NIB_OK) { /* a system that promises any amount */
        nib_session_free(session);
    } else {
        assert_int_equal(status, NIB_ERR_MEMORY);
    }
    o.n_batch = UINT32_MAX; /* the rows of one pass too */
    REFUSES(NIB_ERR_MEMORY, nib_session_new(m, &o, &session, &err));
    nib_model_free(m);
}

static void test_inspect(void **state)
{
    (void)state;
    nib_model *m = NULL;
    nib_session *session = NULL;
    nib_model_options o;
    nib_model_options_init(&o, sizeof o);
    o.flags = NIB_OPEN_INSPECT;
    assert_int_equal(nib_model_open(fixture_path("fixtures/tiny/qwen2.gguf"), &o, &m, &err),
                     NIB_OK);
    nib_model_info info = {.struct_size = sizeof info};
    assert_int_equal(nib_model_get_info(m, &info), NIB_OK);
    assert_string_equal(info.architecture, "qwen2");
    assert_true(info.weight_bytes > 0);
    int32_t ids[8];
    size_t n;
    assert_int_equal(nib_tokenize(m, "def f", 5, 0, ids, 8, &n, &err), NIB_OK);
    REFUSES(NIB_ERR_STATE, nib_session_new(m, NULL, &session, &err));
    nib_model_free(m);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Tokenizes and back; the text must come back as it was. */
static void round_trip(const nib_model *m, const char *text, size_t len)
{
    size_t n = 0, back = 0;
    nib_status status = nib_tokenize(m, text, len, 0, NULL, 0, &n, &err);
    assert_int_equal(status, n == 0 ? NIB_OK : NIB_ERR_LIMIT);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    char *out = malloc(len + 1);
    assert_true(ids != NULL && out != NULL);
    assert_int_equal(nib_tokenize(m, text, len, 0, ids, n, &n, &err), NIB_OK);
    assert_int_equal(nib_detokenize(m, ids, n, 0, out, len, &back, &err), NIB_OK);
    assert_int_equal(back, len);
    assert_memory_equal(out, text, len);
    for (size_t i = 0; i < n; i++) assert_false(nib_token_is_end(m, ids[i]));
    free(ids);
    free(out);
}

static void *hostile_texts(void *arg)
{
    nib_model *m = arg;
    enum { BIG = 10 << 20 };
    static const char letters[] = {'a', ' ', '\n', '\0', '(', '\xff', '\xc3'};
    char *text = malloc(BIG);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof letters; i++) {
        memset(text, letters[i], BIG);
        round_trip(m, text, i == 0 ? BIG : BIG / 16);
    }
    free(text);
    round_trip(m, "", 0);
    round_trip(m, "a\0b\0\0", 5);
    round_trip(m, "\xff\xfe\x80\xc3", 4);
    round_trip(m, "<|endoftext|><|fim_middle|><|im_end|>", 37); /* plain text, no end */
    return NULL;
}

/* On a small stack: nothing recurses on the text. */
static void test_hostile_text(void **state)
{
    (void)state;
    nib_model *m = tiny_open("qwen2", NIB_PRECISION_DEFAULT);
    on_small_stack(hostile_texts, m);
    size_t n;
    int32_t id;
    assert_int_equal(nib_tokenize(m, "<|endoftext|>", 13, NIB_TOKENIZE_SPECIAL, &id, 1, &n, &err),
                     NIB_OK);
    assert_true(nib_token_is_end(m, id));
    nib_model_free(m);
}

static temp_dir folder; /* holds the state that small_stack saves */

/* A host's thread may have a small stack: everything a session does, in 64 KB. */
static void *small_stack(void *arg)
{
    nib_status *status = arg;
    nib_error message;
    nib_model *m = NULL;
    nib_session *s = NULL, *fork = NULL;
    char text[512];
    size_t len;
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 30;
    o.temperature = 1;
    o.n_logprobs = 32;
    *status = nib_model_open(fixture_path("fixtures/tiny/llama-mixed.gguf"), NULL, &m, &message);
    if (*status == NIB_OK) *status = nib_session_new(m, NULL, &s, &message);
    if (*status == NIB_OK)
        *status = nib_complete(s, "for self", 8, &o, text, sizeof text, &len, &message);
    if (*status == NIB_OK) *status = nib_session_save(s, folder.file, &message);
    if (*status == NIB_OK) *status = nib_session_load(s, folder.file, &message);
    if (*status == NIB_OK) *status = nib_session_fork(s, &fork, &message);
    nib_session_free(s);
    nib_session_free(fork);
    nib_model_free(m);
    return NULL;
}

static void test_small_stack(void **state)
{
    (void)state;
    nib_status status = NIB_ERR_STATE;
    temp_dir_make(&folder);
    (void)temp_dir_file(&folder, "state");
    on_small_stack(small_stack, &status);
    assert_int_equal(status, NIB_OK);
    temp_dir_remove(&folder);
}

/* 10 MB as a prompt: too long, said clearly, and the session goes on. */
static void test_long_prompt(void **state)
{
    (void)state;
    nib_model *m = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(m, 1, 0, NIB_KV_F16);
    size_t size = 10 << 20, len;
    char *text = malloc(size), out[512];
    assert_non_null(text);
    memset(text, 'z', size);
    REFUSES(NIB_ERR_LIMIT, nib_complete(s, text, size, NULL, out, sizeof out, &len, &err));
    memcpy(text, "a\0b", 3);
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    o.max_tokens = 3;
    assert_int_equal(nib_complete(s, text, 3, &o, out, sizeof out, &len, &err), NIB_OK);
    free(text);
    nib_session_free(s);
    nib_model_free(m);
}

static void test_bad_completions(void **state)
{
    (void)state;
    nib_model *m = tiny_open("llama-mixed", NIB_PRECISION_DEFAULT);
    nib_session *s = tiny_session(m, 1, 0, NIB_KV_F16);
    nib_text empty = {"", 0};
    nib_logit_bias bias = {100000, 0};
    for (int i = 0; i < 7; i++) {
        nib_complete_options o;
        nib_complete_options_init(&o, sizeof o);
        if (i == 0) o.temperature = NAN;
        if (i == 1) o.top_p = 2;
        if (i == 2) o.n_logprobs = 33;
        if (i == 3) o.stops = &empty, o.n_stops = 1;
        if (i == 4) o.n_stops = 1;
        if (i == 5) o.bias = &bias, o.n_bias = 1;
        if (i == 6) o.stop_suffix = 1;
        REFUSES(NIB_ERR_ARGUMENT, nib_complete_begin(s, "a", 1, &o, &err));
    }
    nib_session_free(s);
    nib_model_free(m);
}

static void test_constants(void **state)
{
    (void)state;
    assert_int_equal(nib_version(),
                     NIB_VERSION_MAJOR << 16 | NIB_VERSION_MINOR << 8 | NIB_VERSION_PATCH);
    assert_non_null(strstr(nib_build_info(), "scalar"));
    for (nib_status status = -40; status <= 1; status++) assert_non_null(nib_status_str(status));
    assert_string_equal(nib_status_str(NIB_OK), "ok");
    nib_complete_options o;
    nib_complete_options_init(&o, sizeof o);
    assert_int_equal(o.max_tokens, 128);
    assert_true(o.temperature == 0 && o.top_p == 1 && o.repeat_penalty == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null),           cmocka_unit_test(test_option_sizes),
        cmocka_unit_test(test_other_versions), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_huge_context),   cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_hostile_text),   cmocka_unit_test(test_long_prompt),
        cmocka_unit_test(test_small_stack),    cmocka_unit_test(test_bad_completions),
        cmocka_unit_test(test_constants),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
