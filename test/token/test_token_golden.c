/* SPDX-License-Identifier: MIT
 * Every family on a text corpus made to break tokenizers: the ids of Hugging Face tokenizers (BPE,
 * WordPiece) and sentencepiece, recorded by test/oracle/make_token_golden.py; and back to the bytes
 * where the family promises that. */
#include "byte_reader.h"
#include "fixture.h"
#include "test.h"
#include "token_check.h"
#include "tokenizer_files.h"

static void compare(const nib__tokenizer *t, const char *text, size_t len, const uint8_t *want,
                    size_t n, bool round_trip, uint32_t number)
{
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, text, len, 0, &ids, &err), err);
    for (size_t i = 0; i < n || i < ids.count; i++) {
        int expected = i < n ? want[2 * i] | want[2 * i + 1] << 8 : -1;
        int got = i < ids.count ? ids.items[i] : -1;
        if (got != expected)
            fail_msg("text %u, id %zu: expected %d, got %d", number, i, expected, got);
    }
    if (round_trip) assert_stand_for(t, &ids, text, len);
    nib__ids_free(&ids);
}

static void agrees(void **state)
{
    const char *name = *state, *family = strrchr(name, '/') != NULL ? strrchr(name, '/') + 1 : name;
    char path[64];
    snprintf(path, sizeof path, "fixtures/token/%s.ids", family);
    byte_reader texts = {0}, ids = {0};
    texts.data = fixture_read("fixtures/token/texts.bin", &texts.size);
    ids.data = fixture_read(path, &ids.size);
    nib__tokenizer *t = tokenizer_small(name);
    assert_string_equal(nib__tokenizer_name(t), name);
    bool exact = strcmp(name, "unigram") != 0 && strcmp(name, "wpm") != 0;
    uint32_t count = take_u32(&texts), left_out = 0;
    assert_true(count > 600);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = take_u32(&texts);
        const char *text = (const char *)take(&texts, len);
        size_t n_ids = take_u16(&ids);
        if (n_ids == 0xFFFF)
            left_out++; /* see make_token_golden.py */
        else
            compare(t, text, len, take(&ids, 2 * n_ids), n_ids, exact, i);
    }
    print_message("%s: %u texts agree, %u left out\n", name, count - left_out, left_out);
    assert_true(left_out <= (strcmp(name, "unigram") == 0 ? 60 : 0));
    assert_int_equal(ids.at, ids.size);
    nib__tokenizer_free(t);
    free(texts.data);
    free(ids.data);
}

static char *families[] = {"bpe/gpt-2",
                           "bpe/smollm",
                           "bpe/qwen2",
                           "bpe/qwen35",
                           "bpe/llama-bpe",
                           "bpe/seed-coder",
                           "bpe/gpt-4o",
                           "bpe/tekken",
                           "bpe/deepseek-coder",
                           "bpe/deepseek-llm",
                           "bpe/deepseek-v3",
                           "bpe/falcon",
                           "spm",
                           "unigram",
                           "wpm"};

int main(void)
{
    enum { N = sizeof families / sizeof *families };
    struct CMUnitTest tests[N];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){families[i], agrees, NULL, NULL, families[i]};
    return _cmocka_run_group_tests("token_golden", tests, N, NULL, NULL);
}
