/* SPDX-License-Identifier: MIT
 * How SentencePiece adds the scores of unigram pieces: what a user-defined symbol gains, and where
 * sums begin again. The expected ids are those of the package sentencepiece 0.2.3. */
#include "test.h"

#include "token_folder.h"

typedef struct piece {
    const char *text;
    float score;
    uint8_t type; /* as in the file: 1 normal, 2 unknown, 4 user-defined */
} piece;

enum { NORMAL = 1, UNKNOWN = 2, USER = 4 };

/* A .model file of these pieces, no space in front of a text. */
static size_t write_model(const piece *pieces, size_t n, uint8_t *out)
{
    static const uint8_t unigram[] = {0x12, 2, 0x18, 1, 0x1a, 4, 0x18, 0, 0x20, 0};
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(pieces[i].text);
        const uint8_t head[] = {0x0a, (uint8_t)(len + 9), 0x0a, (uint8_t)len};
        memcpy(out + at, head, sizeof head);
        memcpy(out + at + 4, pieces[i].text, len);
        at += 4 + len;
        out[at++] = 0x15;
        memcpy(out + at, &pieces[i].score, 4); /* little endian, like all that runs the tests */
        at += 4;
        out[at++] = 0x18;
        out[at++] = pieces[i].type;
    }
    memcpy(out + at, unigram, sizeof unigram);
    return at + sizeof unigram;
}

static void check(const piece *pieces, size_t n, const char *text, const int32_t *want,
                  size_t n_want)
{
    uint8_t bytes[256];
    token_file file = {"tokenizer.model", bytes, write_model(pieces, n, bytes)};
    nib__tokenizer *t = NULL;
    nib__ids ids = nib__ids_make(NULL);
    nib_error err = {0};
    assert_ok(tokenizer_from_memory(NULL, &file, 1, &t, &err), err);
    assert_ok(nib__tokenize(t, text, strlen(text), 0, &ids, &err), err);
    assert_int_equal(ids.count, n_want);
    assert_memory_equal(ids.items, want, n_want * sizeof *want);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

/* Three bytes are worth 0.2. */
static void user_defined_symbols(void **state)
{
    (void)state;
    piece pieces[] = {
        {"<unk>", 0, UNKNOWN}, {"abc", 0, USER}, {"a", 0.15f, NORMAL}, {"bc", 0.04f, NORMAL}};
    check(pieces, 4, "abc", (const int32_t[]){1}, 1);
    pieces[3].score = 0.06f;
    check(pieces, 4, "abc", (const int32_t[]){2, 3}, 2);
}

/* Behind two pieces of -60000 the float sums of the others would be rounded to 1/128. */
static void large_sums(void **state)
{
    (void)state;
    static const piece pieces[] = {{"<unk>", 0, UNKNOWN},
                                   {"x", -60000, NORMAL},
                                   {"s", -2.0111489f, NORMAL},
                                   {"sss", -3.0234039f, NORMAL}};
    check(pieces, 4, "xxssss", (const int32_t[]){1, 1, 2, 3}, 4);
    check(pieces, 4, "xxsssss", (const int32_t[]){1, 1, 2, 3, 2}, 5);
    check(pieces, 4, "xxssssssss", (const int32_t[]){1, 1, 2, 3, 2, 3}, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(user_defined_symbols),
        cmocka_unit_test(large_sums),
    };
    return cmocka_run_group_tests_name("unigram_sums", tests, NULL, NULL);
}
