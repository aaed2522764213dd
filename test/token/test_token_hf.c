/* SPDX-License-Identifier: MIT
 * Small tokenizers of Hugging Face folders against what tokenizers, sentencepiece and transformers
 * made of texts that are hard to tokenize, recorded by test/oracle/make_hf_golden.py: ids, decoded
 * text at once and as a stream, and the tokens around a text. The published vocabularies of CodeT5
 * and PLBART are compared too where NIB_TEST_TOKENIZERS names the folder that holds them. */
#include "byte_reader.h"
#include "fixture.h"
#include "test.h"
#include "token_check.h"
#include "token_folder.h"

enum { SAME = 0xFFFF, NOT_COMPARED = 0xFFFE };

static void compare_ids(const nib__ids *ids, byte_reader *gold, uint32_t number)
{
    uint32_t n = take_u16(gold);
    for (uint32_t i = 0; i < n || i < ids->count; i++) {
        int expected = i < n ? (int)take_u16(gold) : -1;
        int got = i < ids->count ? ids->items[i] : -1;
        if (got != expected)
            fail_msg("text %u, id %u: expected %d, got %d", number, i, expected, got);
    }
}

static void compare_text(const nib__tokenizer *t, const nib__ids *ids, const char *want, size_t len,
                         uint32_t number)
{
    nib_error err = {0};
    nib_detok stream = {0};
    size_t n = 0, total = 0, cap = len + 64;
    char *text = malloc(2 * cap);
    assert_ok(nib__detokenize(t, ids->items, ids->count, 0, text, cap, &n, &err), err);
    if (n != len || (len != 0 && memcmp(text, want, len) != 0))
        fail_msg("text %u: expected '%.*s', got '%.*s'", number, (int)len, want, (int)n, text);
    for (size_t i = 0; i <= ids->count; i++) {
        int32_t id = i < ids->count ? ids->items[i] : -1;
        assert_ok(nib__detok_push(t, &stream, id, text + total, 2 * cap - total, &n, &err), err);
        total += n;
    }
    assert_int_equal(total, len);
    if (len != 0) assert_memory_equal(text, want, len);
    free(text);
}

/* `plain`: sentencepiece, which knows no special tokens in text. */
static void compare_all(const nib__tokenizer *t, const char *golden, bool plain)
{
    nib_error err = {0};
    byte_reader texts = {0}, gold = {0};
    texts.data = fixture_read("fixtures/hf_tokenizers/texts.bin", &texts.size);
    gold.data = fixture_read(golden, &gold.size);
    uint32_t flags = plain ? 0 : NIB_TOKENIZE_SPECIAL;
    uint32_t count = take_u32(&texts), compared = 0;
    assert_true(count > 150);
    for (uint32_t i = 0; i < count; i++) {
        size_t len = take_u32(&texts);
        const char *text = (const char *)take(&texts, len);
        nib__ids ids = nib__ids_make(NULL);
        assert_ok(nib__tokenize(t, text, len, flags, &ids, &err), err);
        bool skipped = plain && gold.data[gold.at] == 0 && gold.data[gold.at + 1] == 0;
        if (skipped) ids.count = 0;
        compare_ids(&ids, &gold, i);
        uint32_t n = take_u16(&gold);
        if (n != NOT_COMPARED && n != SAME)
            compare_text(t, &ids, (const char *)take(&gold, n), n, i);
        else if (n == SAME && !skipped)
            compare_text(t, &ids, text, len, i);
        compared += !skipped;
        nib__ids_free(&ids);
    }
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, "", 0, NIB_TOKENIZE_BOS, &ids, &err), err);
    if (plain) ids.count = 0;
    compare_ids(&ids, &gold, count);
    nib__ids_free(&ids);
    assert_int_equal(gold.at, gold.size);
    assert_true(compared > count / 2);
    free(texts.data);
    free(gold.data);
}

static void agrees(void **state)
{
    const char *name = *state;
    char path[96];
    nib__tokenizer *t = tokenizer_hf(name);
    snprintf(path, sizeof path, "fixtures/hf_tokenizers/%s/golden.bin", name);
    compare_all(t, path, strncmp(name, "sp_", 3) == 0);
    nib__tokenizer_free(t);
}

static bool load(const char *file, token_file *loaded)
{
    char path[1024];
    const char *folder = getenv("NIB_TEST_TOKENIZERS");
    if (folder == NULL) return false;
    snprintf(path, sizeof path, "%s/%s", folder, file);
    loaded->data = file_read(path, &loaded->size);
    return loaded->data != NULL;
}

static void published(const token_file *files, size_t n, const char *golden)
{
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    assert_ok(tokenizer_from_memory(NULL, files, n, &t, &err), err);
    compare_all(t, golden, false);
    nib__tokenizer_free(t);
}

static void published_codet5(void **state)
{
    (void)state;
    static const char CONFIG[] = "{\"tokenizer_class\":\"RobertaTokenizer\"}";
    token_file files[3] = {{"vocab.json", NULL, 0},
                           {"merges.txt", NULL, 0},
                           {"tokenizer_config.json", CONFIG, sizeof CONFIG - 1}};
    if (!load("codet5/vocab.json", &files[0]) || !load("codet5/merges.txt", &files[1])) {
        print_message("NIB_TEST_TOKENIZERS names no folder with codet5: this test is skipped\n");
        free((void *)(uintptr_t)files[0].data);
        skip();
    }
    published(files, 3, "fixtures/hf_tokenizers/published/codet5.bin");
    for (int i = 0; i < 2; i++) free((void *)(uintptr_t)files[i].data);
}

static void published_plbart(void **state)
{
    (void)state;
    static const char CONFIG[] = "{\"tokenizer_class\":\"PLBartTokenizer\",\"src_lang\":\"java\"}";
    token_file files[2] = {{"sentencepiece.bpe.model", NULL, 0},
                           {"tokenizer_config.json", CONFIG, sizeof CONFIG - 1}};
    if (!load("plbart/sentencepiece.bpe.model", &files[0])) {
        print_message("NIB_TEST_TOKENIZERS names no folder with plbart: this test is skipped\n");
        skip();
    }
    published(files, 2, "fixtures/hf_tokenizers/published/plbart.bin");
    free((void *)(uintptr_t)files[0].data);
}

/* Small files whose ids and texts were asked of Hugging Face tokenizers 0.23.3. */
static void small_cases(void **state)
{
    (void)state;
#define ADDED(id, text, strip)                                                                     \
    "\"added_tokens\":[{\"id\":" id ",\"content\":\"" text "\",\"lstrip\":" strip                  \
    ",\"rstrip\":" strip "}]"
    static const char both[] = "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0,\"x\":1,"
                               "\"y\":2},\"unk_token\":\"[UNK]\"}," ADDED("3", "   ", "true") "}";
    static const char suffix[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"u\":0,\"a\":1,\"a</w>\":2,\"b</w>\":3},"
        "\"unk_token\":\"u\",\"end_of_word_suffix\":\"</w>\",\"merges\":[]},\"decoder\":{\"type\":"
        "\"BPEDecoder\",\"suffix\":\"</w>\"}," ADDED("4", "def ", "false") "}";
    static const char lines[] =
        "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"[UNK]\":0,\"x\":1,\"\\n\\n\":2,\"\\nx\":3,"
        "\" "
        "\":4},\"unk_token\":\"[UNK]\"},\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{"
        "\"Regex\":"
        "\"\\\\s+$\"},\"behavior\":\"Isolated\",\"invert\":false}}";
    static const struct {
        const char *json, *text;
        size_t n;
        int32_t ids[4];
        const char *back;
    } cases[] = {
        /* white space that one token took is not there for the next */
        {both, "x        y", 3, {1, 3, 2}, "x     y"},
        {both, "x   y   ", 4, {1, 3, 2, 3}, "x     y    "},
        /* the space at the end of an added token is its own, that of a word's end is not shown */
        {suffix, "adef ", 2, {2, 4}, "a def "},
        {suffix, "def a", 2, {4, 2}, "def a"},
        /* $ ends a line, too */
        {lines, "x\n\n\nx ", 4, {1, 2, 3, 4}, "x \n\n \nx  "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        token_file file = {"tokenizer.json", cases[i].json, strlen(cases[i].json)};
        nib__tokenizer *t = NULL;
        nib_error err = {0};
        assert_ok(tokenizer_from_memory(NULL, &file, 1, &t, &err), err);
        nib__ids ids = nib__ids_make(NULL);
        assert_ok(nib__tokenize(t, cases[i].text, strlen(cases[i].text), 0, &ids, &err), err);
        assert_int_equal(ids.count, cases[i].n);
        assert_memory_equal(ids.items, cases[i].ids, cases[i].n * sizeof *ids.items);
        compare_text(t, &ids, cases[i].back, strlen(cases[i].back), (uint32_t)i);
        nib__ids_free(&ids);
        nib__tokenizer_free(t);
    }
#undef ADDED
}

/* config.json of CodeGen 2 gives the id of a character as the end token. */
static void text_ends_nothing(void **state)
{
    (void)state;
    static const char VOCAB[] = "{\"a\": 0, \"\\\"\": 1, \"#\": 2, \"<|endoftext|>\": 3}";
    static const char CONFIG[] = "{\"eos_token_id\": 2, \"vocab_size\": 4}";
    const token_file files[] = {{"vocab.json", VOCAB, sizeof VOCAB - 1},
                                {"merges.txt", "", 0},
                                {"config.json", CONFIG, sizeof CONFIG - 1}};
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    assert_ok(tokenizer_from_memory(NULL, files, 3, &t, &err), err);
    assert_false(nib__tokenizer_is_end(t, 2));
    assert_true(nib__tokenizer_is_end(t, 3));
    nib__tokenizer_free(t);
}

static char *names[] = {"codegen",
                        "starcoder",
                        "llama3",
                        "roberta",
                        "llama",
                        "codellama",
                        "llama_metaspace",
                        "gemma",
                        "bpe_suffix",
                        "bpe_prefix",
                        "byte_bpe_unknown",
                        "bpe_unknown_alone",
                        "t5",
                        "xglm",
                        "unigram_bytes",
                        "unigram_nmt",
                        "bert",
                        "bert_cased",
                        "wordlevel",
                        "wordlevel_split",
                        "added",
                        "added_metaspace",
                        "metaspace_never",
                        "sp_bpe_llama",
                        "sp_bpe_gemma",
                        "plbart_java",
                        "sp_unigram_bytes",
                        "sp_unigram_spaces",
                        "xglm_slow",
                        "t5_20",
                        "byt5_slow",
                        "opt_slow",
                        "codegen_slow",
                        "roberta_space",
                        "roberta_mask",
                        "qwen2_slow"};

int main(void)
{
    enum { N = sizeof names / sizeof *names };
    struct CMUnitTest tests[N + 4];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){names[i], agrees, NULL, NULL, names[i]};
    tests[N] = (struct CMUnitTest)cmocka_unit_test(published_codet5);
    tests[N + 1] = (struct CMUnitTest)cmocka_unit_test(published_plbart);
    tests[N + 2] = (struct CMUnitTest)cmocka_unit_test(small_cases);
    tests[N + 3] = (struct CMUnitTest)cmocka_unit_test(text_ends_nothing);
    return _cmocka_run_group_tests("token_hf", tests, N + 4, NULL, NULL);
}
