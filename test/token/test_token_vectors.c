/* SPDX-License-Identifier: MIT
 * The tokenizer vectors of llama.cpp, one test a family: every text of ggml-vocab-NAME.gguf.inp
 * must give the ids of .out. test/fetch-vectors.sh puts them into models/vectors (or NIB_VECTORS
 * names the folder). Without them every family is reported as skipped. */
#include "fixture.h"
#include "test.h"
#include "token_check.h"
#include "tokenizer_files.h"

static const char SEPARATOR[] = "\n__ggml_vocab_test__\n";

static const char *folder(void)
{
    const char *named = getenv("NIB_VECTORS");
    return named != NULL ? named : "models/vectors";
}

static char *read_text(const char *family, const char *suffix, size_t *size)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf%s", folder(), family, suffix);
    char *text = (char *)file_read(path, size);
    if (text != NULL) text[*size] = '\0'; /* file_read leaves room for one more */
    return text;
}

/* End of the text that starts at `from`. */
static const char *text_end(const char *from, const char *end)
{
    for (const char *p = from; p + sizeof SEPARATOR - 1 <= end; p++)
        if (memcmp(p, SEPARATOR, sizeof SEPARATOR - 1) == 0) return p;
    return end;
}

static void compare(const nib__tokenizer *t, const char *text, size_t len, char *line,
                    unsigned number, bool exact)
{
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    assert_ok(nib__tokenize(t, text, len, 0, &ids, &err), err);
    size_t n = 0;
    for (char *end, *p = line;; p = end) {
        long want = strtol(p, &end, 10);
        if (end == p) break;
        if (n >= ids.count || ids.items[n] != want)
            fail_msg("text %u, id %zu: expected %ld, got %d", number, n, want,
                     n < ids.count ? ids.items[n] : -1);
        n++;
    }
    assert_int_equal(ids.count, n);
    if (exact) assert_stand_for(t, &ids, text, len);
    nib__ids_free(&ids);
}

static void agrees(void **state)
{
    const char *family = *state;
    size_t n_inp, n_out;
    char *inp = read_text(family, ".inp", &n_inp), *out = read_text(family, ".out", &n_out);
    if (inp == NULL || out == NULL) {
        print_message("no vectors in %s: run sh test/fetch-vectors.sh\n", folder());
        skip();
    }
    char path[1024];
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder(), family);
    nib__tokenizer *t = tokenizer_open(path);
    bool exact = strcmp(nib__tokenizer_name(t), "wpm") != 0;
    unsigned count = 0;
    char *line = out;
    for (const char *text = inp, *end = inp + n_inp; text < end; count++) {
        const char *stop = text_end(text, end);
        if (stop == end) break; /* the last separator ends the file */
        char *next = strchr(line, '\n');
        assert_non_null(next);
        *next = '\0';
        compare(t, text, (size_t)(stop - text), line, count, exact);
        line = next + 1;
        text = stop + sizeof SEPARATOR - 1;
    }
    print_message("%s (%s): %u texts agree\n", family, nib__tokenizer_name(t), count);
    assert_true(count >= 45);
    nib__tokenizer_free(t);
    free(inp);
    free(out);
}

/* Vocabularies without vectors: they open, and text survives where the family promises it. */
static void opens(void **state)
{
    size_t size;
    char path[1024];
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder(), (const char *)*state);
    char *file = read_text(*state, "", &size);
    if (file == NULL) skip();
    free(file);
    nib__tokenizer *t = tokenizer_open(path);
    nib_error err = {0};
    nib__ids ids = nib__ids_make(NULL);
    char back[64];
    size_t n = 0;
    assert_ok(nib__tokenize(t, "for i in x:", 11, 0, &ids, &err), err);
    assert_true(ids.count >= 4);
    assert_ok(nib__detokenize(t, ids.items, ids.count, 0, back, sizeof back, &n, &err), err);
    assert_int_equal(n, 11);
    assert_memory_equal(back, "for i in x:", 11);
    nib__ids_free(&ids);
    nib__tokenizer_free(t);
}

/* Files of before tokenizer.ggml.pre was invented: an error that says so, not a guess. */
static void refuses(void **state)
{
    char path[1024];
    size_t size;
    char *file = read_text(*state, "", &size);
    if (file == NULL) skip();
    free(file);
    snprintf(path, sizeof path, "%s/ggml-vocab-%s.gguf", folder(), (const char *)*state);
    nib__source *source;
    nib__tokenizer *t = NULL;
    nib_error err = {0};
    assert_ok(nib__source_open(NULL, path, &source, &err), err);
    assert_fails(nib__tokenizer_new(NULL, source, &t, &err), NIB_ERR_UNSUPPORTED, err,
                 "tokenizer.ggml.pre");
    assert_null(t);
    nib__source_close(source);
}

static char *families[] = {"bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "falcon",
                           "gemma-4",  "gpt-2",     "llama-bpe",      "llama-spm",    "mpt",
                           "phi-3",    "qwen2",     "qwen35",         "refact",       "starcoder"};
static char *others[] = {"baichuan", "nomic-bert-moe"};
static char *old[] = {"aquila", "gpt-neox"};

int main(void)
{
    enum { N = sizeof families / sizeof *families };
    struct CMUnitTest tests[N + 4];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){families[i], agrees, NULL, NULL, families[i]};
    for (size_t i = 0; i < 2; i++) {
        tests[N + i] = (struct CMUnitTest){others[i], opens, NULL, NULL, others[i]};
        tests[N + 2 + i] = (struct CMUnitTest){old[i], refuses, NULL, NULL, old[i]};
    }
    return _cmocka_run_group_tests("token_vectors", tests, N + 4, NULL, NULL);
}
