/* SPDX-License-Identifier: MIT
 * What a tokenizer promises besides the right ids: special tokens stay out of text, bytes come
 * back, the stream never breaks a code point, errors say what is wrong. */
#include "rng.h"
#include "test.h"
#include "token/unicode.h"
#include "tokenizer_files.h"

static nib__ids encode(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags)
{
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, text, len, flags, &ids, &err), err);
    return ids;
}

static void assert_text(const nib__tokenizer *t, const nib__ids *ids, uint32_t flags,
                        const char *text, size_t len)
{
    nib_error err = {0};
    char *out = malloc(len + 1);
    size_t n = 0;
    assert_ok(nib__detokenize(t, ids->items, ids->count, flags, out, len, &n, &err), err);
    assert_int_equal(n, len);
    if (len != 0) assert_memory_equal(out, text, len);
    free(out);
}

static int32_t find(const nib__tokenizer *t, const char *text)
{
    return nib__tokenizer_find(t, text, strlen(text));
}

static size_t count_of(const nib__ids *ids, int32_t id)
{
    size_t n = 0;
    for (size_t i = 0; i < ids->count; i++) n += ids->items[i] == id;
    return n;
}

/* bpe.gguf calls <|fim_middle|> "user defined", as some files do: it must not matter. */
static void special_text_stays_text(void **state)
{
    (void)state;
    static const char TEXT[] = "a<|fim_prefix|>b<|fim_middle|><|endoftext|><|user|>";
    nib__tokenizer *t = tokenizer_small("bpe/qwen2");
    nib__ids ids = encode(t, TEXT, sizeof TEXT - 1, 0);
    for (size_t i = 0; i < ids.count; i++) assert_false(nib__tokenizer_is_control(t, ids.items[i]));
    assert_int_equal(count_of(&ids, find(t, "<|user|>")), 1); /* a token like any other */
    assert_text(t, &ids, 0, TEXT, sizeof TEXT - 1);
    nib__ids_free(&ids);

    ids = encode(t, TEXT, sizeof TEXT - 1, NIB_TOKENIZE_SPECIAL);
    assert_int_equal(ids.count, 6);
    assert_int_equal(ids.items[1], nib__tokenizer_special(t, NIB_TOKEN_FIM_PREFIX));
    assert_int_equal(ids.items[3], nib__tokenizer_special(t, NIB_TOKEN_FIM_MIDDLE));
    assert_int_equal(ids.items[4], nib__tokenizer_special(t, NIB_TOKEN_EOS));
    assert_text(t, &ids, NIB_TOKENIZE_SPECIAL, TEXT, sizeof TEXT - 1);
    assert_text(t, &ids, 0, "ab<|user|>", 10);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

static void special_ids(void **state)
{
    (void)state;
    nib__tokenizer *t = tokenizer_small("bpe/qwen2");
    int32_t end = find(t, "<|endoftext|>"), prefix = find(t, "<|fim_prefix|>");
    assert_int_equal(end, (int32_t)nib__tokenizer_size(t) - 5);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_EOS), end);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_EOT), end);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_FIM_PREFIX), prefix);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_FIM_SUFFIX), prefix + 1);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_REPO), -1);
    assert_int_equal(nib__tokenizer_special(t, NIB_TOKEN_BOS), -1);
    assert_int_equal(nib__tokenizer_special(t, 99), -1);
    assert_true(nib__tokenizer_is_end(t, end));
    assert_true(nib__tokenizer_is_end(t, prefix));
    assert_false(nib__tokenizer_is_end(t, find(t, "a")));
    assert_false(nib__tokenizer_is_end(t, find(t, "<|user|>")));
    assert_false(nib__tokenizer_is_end(t, -1));
    assert_false(nib__tokenizer_is_end(t, (int32_t)nib__tokenizer_size(t)));
    assert_int_equal(find(t, "<|endoftext|"), -1);
    assert_int_equal(nib__tokenizer_find(t, "", 0), -1);
    nib__tokenizer_free(t);
}

/* The tokens a model wants around a text. */
static void frames(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int32_t first, last;
    } CASES[] = {{"spm", 1, -1}, {"wpm", 2, 3}, {"unigram", -1, 2}, {"bpe/qwen2", -1, -1}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        nib__tokenizer *t = tokenizer_small(CASES[i].name);
        nib__ids plain = encode(t, "return", 6, 0),
                 framed = encode(t, "return", 6, NIB_TOKENIZE_BOS);
        size_t first = CASES[i].first >= 0, last = CASES[i].last >= 0;
        assert_int_equal(framed.count, plain.count + first + last);
        if (first) assert_int_equal(framed.items[0], CASES[i].first);
        if (last) assert_int_equal(framed.items[framed.count - 1], CASES[i].last);
        assert_memory_equal(framed.items + first, plain.items, plain.count * sizeof *plain.items);
        nib__ids_free(&plain);
        nib__ids_free(&framed);
        nib__tokenizer_free(t);
    }
}

static void sentence_piece_spaces(void **state)
{
    (void)state;
    nib__tokenizer *t = tokenizer_small("spm");
    nib_error err = {0};
    nib__ids start = encode(t, "return", 6, 0), rest = nib__ids_make(NULL);
    assert_ok(nib__tokenize_continuation(t, "return", 6, &rest, &err), err);
    nib__str first = nib__token_bytes(t, start.items[0], 0);
    assert_int_equal(first.data[0], ' ');
    first = nib__token_bytes(t, rest.items[0], 0);
    assert_int_equal(first.data[0], 'r');
    assert_text(t, &start, 0, "return", 6);
    /* Only the space that encoding put there goes away. */
    static const char *const TEXTS[] = {
        " x", "  x", "", " ", "\xe2\x96\x81", "a\xe2\x96\x81 b", "<s>", "<0x41>", "<unk>"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        nib__ids ids = encode(t, TEXTS[i], strlen(TEXTS[i]), 0);
        for (size_t k = 0; k < ids.count; k++)
            assert_false(nib__tokenizer_is_control(t, ids.items[k]));
        assert_text(t, &ids, 0, TEXTS[i], strlen(TEXTS[i]));
        nib__ids_free(&ids);
    }
    nib__ids_free(&start);
    nib__ids_free(&rest);
    nib__tokenizer_free(t);
}

static const char *const EXACT[] = {"bpe/gpt-2",          "bpe/smollm",      "bpe/qwen2",
                                    "bpe/qwen35",         "bpe/falcon",      "bpe/llama-bpe",
                                    "bpe/deepseek-coder", "bpe/default",     "bpe/deepseek-llm",
                                    "bpe/gpt-4o",         "bpe/deepseek-v3", "spm"};

/* Bytes of every kind: any value, near-valid UTF-8, and pieces of code. */
static size_t random_text(rng *r, char *text)
{
    static const char *const PARTS[] = {
        "\xf0\x9f\x98\x80", "\xc3\xa9", "\xe4\xb8\xad", "def",     "  ", "\n",
        "\xe2\x96",         "\xf0\x9f", "\xed\xa0\x80", "\xc0\xaf"};
    size_t len = 0, parts = rng_below(r, 24);
    for (size_t i = 0; i < parts; i++) {
        if (rng_below(r, 2)) {
            text[len++] = (char)rng_below(r, 256);
        } else {
            const char *part = PARTS[rng_below(r, 10)];
            memcpy(text + len, part, strlen(part));
            len += strlen(part);
        }
    }
    return len;
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    rng r = {1};
    char text[256];
    for (size_t f = 0; f < sizeof EXACT / sizeof *EXACT; f++) {
        nib__tokenizer *t = tokenizer_small(EXACT[f]);
        for (int i = 0; i < 2000; i++) {
            size_t len = random_text(&r, text);
            nib__ids ids = encode(t, text, len, 0);
            assert_text(t, &ids, 0, text, len);
            nib__ids_free(&ids);
        }
        nib__tokenizer_free(t);
    }
}

/* inside[i]: position i of the text lies within a well-formed sequence. */
static void mark_inside(const char *text, size_t len, bool *inside)
{
    memset(inside, 0, (len + 1) * sizeof *inside);
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = nib__utf8_next(text + at, len - at, &code);
        for (size_t i = 1; i < n; i++) inside[at + i] = true;
        at += n;
    }
}

static void streams(void **state)
{
    (void)state;
    rng r = {2};
    char text[256], out[512];
    bool inside[257];
    nib_error err = {0};
    for (size_t f = 0; f < sizeof EXACT / sizeof *EXACT; f++) {
        nib__tokenizer *t = tokenizer_small(EXACT[f]);
        size_t room = nib__tokenizer_max_bytes(t) + 8;
        for (int i = 0; i < 500; i++) {
            size_t len = random_text(&r, text), total = 0, n;
            nib__ids ids = encode(t, text, len, 0);
            nib_detok stream = {0};
            mark_inside(text, len, inside);
            for (size_t k = 0; k < ids.count; k++) {
                assert_ok(nib__detok_push(t, &stream, ids.items[k], out + total, room, &n, &err),
                          err);
                assert_true(n <= room);
                total += n;
                assert_false(inside[total]);
            }
            assert_ok(nib__detok_push(t, &stream, -1, out + total, room, &n, &err), err);
            assert_int_equal(total + n, len);
            if (len != 0) assert_memory_equal(out, text, len);
            nib__ids_free(&ids);
        }
        nib__tokenizer_free(t);
    }
}

static void buffers_and_ranges(void **state)
{
    (void)state;
    nib__tokenizer *t = tokenizer_small("bpe/qwen2");
    nib_error err = {0};
    char out[8] = "unused!";
    size_t n = 77;
    int32_t ids[3] = {find(t, "a"), find(t, "b"), find(t, "c")};
    assert_fails(nib__detokenize(t, ids, 3, 0, out, 2, &n, &err), NIB_ERR_LIMIT, err, "3 bytes");
    assert_int_equal(n, 3);
    assert_ok(nib__detokenize(t, ids, 0, 0, NULL, 0, &n, &err), err);
    assert_int_equal(n, 0);
    ids[1] = (int32_t)nib__tokenizer_size(t);
    assert_fails(nib__detokenize(t, ids, 3, 0, out, 8, &n, &err), NIB_ERR_ARGUMENT, err, "id");
    ids[1] = -5;
    assert_fails(nib__detokenize(t, ids, 3, 0, out, 8, &n, &err), NIB_ERR_ARGUMENT, err, "-5");

    nib_detok stream = {0};
    assert_fails(nib__detok_push(t, &stream, ids[0], out, 0, &n, &err), NIB_ERR_LIMIT, err, "1");
    assert_int_equal(stream.n_pending + stream.n_seen, 0);
    assert_fails(nib__detok_push(t, &stream, -2, out, 8, &n, &err), NIB_ERR_ARGUMENT, err, "-2");
    stream.n_pending = 99;
    assert_fails(nib__detok_push(t, &stream, ids[0], out, 8, &n, &err), NIB_ERR_ARGUMENT, err,
                 "initialized");
    nib__tokenizer_free(t);
    nib__tokenizer_free(NULL);
}

/* A text appended to a list leaves what was there. */
static void appends(void **state)
{
    (void)state;
    nib__tokenizer *t = tokenizer_small("bpe/qwen2");
    nib_error err = {0};
    nib__ids ids = encode(t, "a", 1, 0);
    assert_ok(nib__tokenize(t, "b", 1, 0, &ids, &err), err);
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.items[0], find(t, "a"));
    assert_int_equal(ids.items[1], find(t, "b"));
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_text_stays_text),
        cmocka_unit_test(special_ids),
        cmocka_unit_test(frames),
        cmocka_unit_test(sentence_piece_spaces),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(streams),
        cmocka_unit_test(buffers_and_ranges),
        cmocka_unit_test(appends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
