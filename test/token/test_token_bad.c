/* SPDX-License-Identifier: MIT
 * Tokenizer metadata that breaks its rules: an error that names the key, never a crash; odd but
 * harmless metadata: defined behaviour. Then every allocation fails once. */
#include <math.h>

#include "fault_turn.h"
#include "fixture.h"
#include "gguf_writer.h"
#include "test.h"
#include "token_check.h"
#include "token_use.h"
#include "tokenizer_files.h"

typedef struct metadata { /* NULL or 0: the key is left out */
    const char *model, *pre;
    const char *const *tokens, *const *merges;
    size_t n_tokens, n_merges;
    const int32_t *types;
    size_t n_types;
    const float *scores;
    size_t n_scores;
    int64_t eos; /* -2: no key */
    const uint8_t *charsmap;
    size_t n_charsmap;
} metadata;

static const char *const TOKENS[] = {"a", "b", "c", "ab", "abc", "<x>"};
static const char *const MERGES[] = {"a b", "ab c"};
static const int32_t TYPES[] = {1, 1, 1, 1, 1, 3};
static const float SCORES[] = {-1, -2, -3, -4, -5, -6};

static metadata valid_bpe(void)
{
    return (metadata){"gpt2", "gpt-2", TOKENS, MERGES, 6, 2, TYPES, 6, NULL, 0, 5, NULL, 0};
}

static metadata valid_scored(const char *model)
{
    metadata m = valid_bpe();
    m.model = model;
    m.pre = NULL;
    m.n_merges = 0;
    m.scores = SCORES;
    m.n_scores = 6;
    return m;
}

static uint8_t *build(const metadata *m, size_t *size)
{
    gguf_writer w;
    gguf_begin(&w);
    if (m->model != NULL) gguf_str(&w, "tokenizer.ggml.model", m->model);
    if (m->pre != NULL) gguf_str(&w, "tokenizer.ggml.pre", m->pre);
    if (m->tokens != NULL) gguf_strs(&w, "tokenizer.ggml.tokens", m->tokens, m->n_tokens);
    if (m->types != NULL) gguf_i32s(&w, "tokenizer.ggml.token_type", m->types, m->n_types);
    if (m->scores != NULL) gguf_f32s(&w, "tokenizer.ggml.scores", m->scores, m->n_scores);
    if (m->merges != NULL) gguf_strs(&w, "tokenizer.ggml.merges", m->merges, m->n_merges);
    if (m->eos != -2) gguf_i64(&w, "tokenizer.ggml.eos_token_id", m->eos);
    if (m->charsmap != NULL) {
        gguf_key(&w, "tokenizer.ggml.precompiled_charsmap", NIB__META_ARRAY);
        buffer_u32(&w.keys, NIB__META_U8);
        buffer_u64(&w.keys, m->n_charsmap);
        buffer_put(&w.keys, m->charsmap, m->n_charsmap);
    }
    return gguf_end(&w, size);
}

static nib_status make(const metadata *m, nib__tokenizer **t, nib_error *err)
{
    fault_alloc fa;
    size_t size;
    uint8_t *file = build(m, &size);
    fault_alloc_init(&fa);
    *t = NULL;
    nib_status status = tokenizer_from_bytes(&fa.mem, file, size, t, err);
    if (status != NIB_OK) {
        assert_null(*t);
        assert_int_equal(fa.live_blocks, 0);
    } else {
        nib__tokenizer_free(*t);
        assert_int_equal(fa.live_blocks, 0);
        assert_ok(tokenizer_from_bytes(NULL, file, size, t, err), *err);
    }
    fault_alloc_done(&fa);
    free(file);
    return status;
}

static void bad(const metadata *m, nib_status code, const char *part)
{
    nib_error err = {0};
    nib__tokenizer *t;
    assert_fails(make(m, &t, &err), code, err, part);
    assert_non_null(strstr(err.text, "(memory): ")); /* the file */
    assert_int_equal(make(m, &t, NULL), code);       /* the message is optional */
}

static nib__tokenizer *good(const metadata *m)
{
    nib_error err = {0};
    nib__tokenizer *t;
    assert_ok(make(m, &t, &err), err);
    return t;
}

static void names(void **state)
{
    (void)state;
    metadata m = valid_bpe();
    m.model = NULL;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.model is missing");
    m.model = "rwkv-9";
    bad(&m, NIB_ERR_UNSUPPORTED, "'rwkv-9'");
    m.model = "";
    bad(&m, NIB_ERR_UNSUPPORTED, "''");
    m = valid_bpe();
    m.pre = "gpt-200";
    bad(&m, NIB_ERR_UNSUPPORTED, "tokenizer.ggml.pre 'gpt-200'");
    m.pre = "qwen"; /* a prefix of a known name */
    bad(&m, NIB_ERR_UNSUPPORTED, "'qwen'");
    m.pre = NULL;
    bad(&m, NIB_ERR_UNSUPPORTED, "tokenizer.ggml.pre is missing");
}

static void vocabularies(void **state)
{
    (void)state;
    metadata m = valid_bpe();
    m.tokens = NULL;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.tokens");
    m = valid_bpe();
    m.n_tokens = 0;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.tokens");
    m = valid_bpe();
    m.n_types = 5;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.token_type: expected 6 items, got 5");
    m = valid_scored("llama");
    m.n_scores = 2;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.scores: expected 6 items, got 2");
    m.scores = NULL;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.scores is missing");
    static const float NOT[] = {0, 0, NAN, 0, 0, 0}, TOO_LARGE[] = {0, 0, 0, INFINITY, 0, 0};
    m = valid_scored("t5");
    m.scores = NOT;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.scores[2]");
    m.scores = TOO_LARGE;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.scores[3]");
}

static void merges(void **state)
{
    (void)state;
    static const char *const LINES[] = {"a x", "x a", "b a", "ab", "", " ", " b", "a ", "a b c"};
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        const char *with[] = {"a b", LINES[i]};
        metadata m = valid_bpe();
        m.merges = with;
        bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.merges[1]");
    }
    metadata m = valid_bpe();
    m.merges = NULL;
    bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.merges is missing");
}

static void special_ids(void **state)
{
    (void)state;
    static const int64_t BAD[] = {6, 1 << 20, INT64_MAX, INT64_MIN, -7};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        metadata m = valid_bpe();
        m.eos = BAD[i];
        bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.eos_token_id");
    }
    static const int64_t NONE[] = {-1, UINT32_MAX, -2};
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++) {
        metadata m = valid_bpe();
        m.eos = NONE[i];
        nib__tokenizer *t = good(&m);
        assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_EOS), -1);
        nib__tokenizer_free(t);
    }
}

static void charsmaps(void **state)
{
    (void)state;
    static const uint8_t SHORT[] = {4, 0, 0}, BEYOND[] = {255, 255, 255, 255, 0, 0, 0, 0, 0, 0},
                         ODD[] = {3, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                         OPEN[] = {4, 0, 0, 0, 0, 0, 0, 0, 'x', 'y'};
    const struct {
        const uint8_t *data;
        size_t size;
    } BAD[] = {{SHORT, 3}, {BEYOND, 10}, {ODD, 10}, {OPEN, 10}};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        metadata m = valid_scored("t5");
        m.charsmap = BAD[i].data;
        m.n_charsmap = BAD[i].size;
        bad(&m, NIB_ERR_FORMAT, "tokenizer.ggml.precompiled_charsmap");
    }
    /* Well formed outside, random inside: no rule may lead out of the table. */
    uint8_t noise[4 + 1024 + 16] = {0, 4};
    uint32_t x = 12345;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 4; i < sizeof noise - 1; i++) {
            x = x * 1664525 + 1013904223;
            noise[i] = (uint8_t)(x >> 24) & (round & 1 ? 0x0F : 0xFF);
        }
        metadata m = valid_scored("t5");
        m.charsmap = noise;
        m.n_charsmap = sizeof noise;
        nib__tokenizer *t = good(&m);
        nib_error err = {0};
        nib__ids ids = nib__ids_make(NULL);
        for (int c = 1; c < 256; c++) {
            char text[4] = {(char)c, 'a', (char)(c ^ 21), 'b'};
            assert_ok(nib__tokenize(t, text, 4, 0, &ids, &err), err);
        }
        nib__ids_free(&ids);
        nib__tokenizer_free(t);
    }
}

/* Equal and empty texts, unknown types, equal merges, bytes that no token spells. */
static void odd_but_defined(void **state)
{
    (void)state;
    static const char *const ODD[] = {"a", "", "a", "b", "ab", "\xff\xfe"};
    static const char *const TWICE[] = {"a b", "a b"};
    static const int32_t ODD_TYPES[] = {1, 1, 1, 77, -4, 6};
    metadata m = valid_bpe();
    m.tokens = ODD;
    m.types = ODD_TYPES;
    m.merges = TWICE;
    nib__tokenizer *t = good(&m);
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, "abza", 4, 0, &ids, &err), err);
    assert_int_equal(ids.count, 2); /* z is left out: no token can express it */
    assert_int_equal(ids.items[0], 4);
    assert_int_equal(ids.items[1], 0); /* the lowest id of equal texts */
    nib__str bytes = nib__token_bytes(t, 1, 0);
    assert_int_equal(bytes.len, 0);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

/* Merges of lower rank than the pairs that lead to them, and a result that merges with itself. */
static void merges_in_any_order(void **state)
{
    (void)state;
    static const char *const A[] = {"a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaa"};
    static const char *const ORDER[] = {"aaa aaa", "aaa a", "aa aa", "aa aaa", "aa a", "a a"};
    metadata m = valid_bpe();
    m.tokens = A;
    m.types = NULL;
    m.merges = ORDER;
    m.n_merges = 6;
    m.eos = -2;
    nib__tokenizer *t = good(&m);
    token_use_letters(t);
    nib__tokenizer_free(t);
}

/* A failed allocation anywhere in opening or encoding: a clean error, nothing kept. */
static void every_allocation_fails(void **state)
{
    char path[64];
    snprintf(path, sizeof path, "fixtures/token/%s.gguf", (const char *)*state);
    size_t size, n_file;
    uint8_t *plain = fixture_read(path, &size);
    uint8_t *file = gguf_with_key(plain, size, "tokenizer.ggml.pre", "qwen2", &n_file);
    static const char TEXT[] =
        "def f(x):\n    return x + 1                                    "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (size_t n = 1;; n++) {
        fault_alloc fa;
        nib_error err = {0};
        nib__tokenizer *t = NULL;
        fault_alloc_init(&fa);
        fa.fail_at = n;
        nib_status status = tokenizer_from_bytes(&fa.mem, file, n_file, &t, &err);
        if (status == NIB_OK) status = tokenize_and_free(t, &fa.mem, TEXT, sizeof TEXT - 1, &err);
        if (fault_turn_last(&fa, status, &err, 10)) break;
        assert_int_equal(err.code, NIB_ERR_MEMORY);
    }
    free(plain);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(vocabularies),
        cmocka_unit_test(merges),
        cmocka_unit_test(special_ids),
        cmocka_unit_test(charsmaps),
        cmocka_unit_test(odd_but_defined),
        cmocka_unit_test(merges_in_any_order),
        {"every_allocation_fails bpe", every_allocation_fails, NULL, NULL, "bpe"},
        {"every_allocation_fails spm", every_allocation_fails, NULL, NULL, "spm"},
        {"every_allocation_fails unigram", every_allocation_fails, NULL, NULL, "unigram"},
        {"every_allocation_fails wpm", every_allocation_fails, NULL, NULL, "wpm"},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
