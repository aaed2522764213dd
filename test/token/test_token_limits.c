/* SPDX-License-Identifier: MIT
 * Ten megabytes of one character, on a thread with a stack of 64 KB: every family finishes in time
 * that does not grow faster than the text, and the bytes come back. */
#include <limits.h>
#include <time.h>

#include "fixture.h"
#include "rng.h"
#include "small_stack.h"
#include "test.h"
#include "token_check.h"
#include "tokenizer_files.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
enum { LARGE = 2000000 }; /* sanitizers and emulators are slow */
#else
enum { LARGE = 10000000 };
#endif

typedef struct job {
    const nib__tokenizer *t;
    const char *text;
    size_t len;
    bool exact;
    nib_status status;
    nib_error err;
    size_t n_ids;
    bool same;
} job;

static void *work(void *arg)
{
    job *j = arg;
    nib__ids ids = nib__ids_make(NULL);
    j->status = nib__tokenize(j->t, j->text, j->len, NIB_TOKENIZE_SPECIAL, &ids, &j->err);
    j->n_ids = ids.count;
    j->same = true;
    if (j->status == NIB_OK && j->exact) {
        char *back = malloc(j->len);
        size_t n;
        j->status = nib__detokenize(j->t, ids.items, ids.count, 0, back, j->len, &n, &j->err);
        j->same = n == j->len && memcmp(back, j->text, j->len) == 0;
        free(back);
    }
    nib__ids_free(&ids);
    return NULL;
}

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Runs one text on a small stack; returns the CPU time. */
static double run(const nib__tokenizer *t, const char *text, size_t len, bool exact)
{
    job j = {.t = t, .text = text, .len = len, .exact = exact};
    double start = cpu_seconds();
    on_small_stack(work, &j);
    assert_ok(j.status, j.err);
    assert_true(j.same);
    return cpu_seconds() - start;
}

static char *repeat(const char *unit, size_t len)
{
    char *text = malloc(len);
    size_t n = strlen(unit);
    for (size_t i = 0; i < len; i++) text[i] = unit[i % (n == 0 ? 1 : n)];
    return text;
}

/* Ten times the text may cost ten times the time and a logarithm; quadratic would be a hundred.
 * Times below 0.1 s tell nothing. */
static void check(const char *name, const nib__tokenizer *t, const char *unit, bool exact)
{
    char shown[8];
    snprintf(shown, sizeof shown, "%02x", (unsigned char)unit[0]);
    char *text = repeat(unit, LARGE);
    double small = run(t, text, LARGE / 10, exact);
    double large = run(t, text, LARGE, exact);
    free(text);
    if (large > 1.0) print_message("%s, %d of byte %s: %.2f s\n", name, LARGE, shown, large);
    if (large > 40 * (small > 0.1 ? small : 0.1))
        fail_msg("%s, byte %s: %.2f s, of ten times as many %.2f s", name, shown, small, large);
}

static void long_runs(void **state)
{
    static const char *const UNITS[] = {"a", " ", "!", "", "\xff", "<|fim_"};
    nib__tokenizer *t = tokenizer_small(*state);
    bool exact = strcmp(*state, "unigram") != 0 && strcmp(*state, "wpm") != 0;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) check(*state, t, UNITS[i], exact);
    nib__tokenizer_free(t);
}

/* The same of Hugging Face folders: a letter, spaces, a mark that normalization sorts, no UTF-8,
 * and an added token that takes the white space around it. */
static void long_runs_of_folder(void **state)
{
    static const char *const UNITS[] = {"a", " ", "\xcc\x81\xcc\xa3", "\xff", "  <mask>"};
    const char *name = *state;
    nib__tokenizer *t = tokenizer_hf(name);
    bool exact = strcmp(name, "starcoder") == 0 || strcmp(name, "llama") == 0;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) check(name, t, UNITS[i], exact);
    nib__tokenizer_free(t);
}

static char *families[] = {"bpe/qwen2", "bpe/deepseek-llm", "spm", "unigram", "wpm"};
static char *folders[] = {"starcoder", "llama", "added", "unigram_bytes", "sp_unigram_spaces"};

int main(void)
{
    enum { N = sizeof families / sizeof *families, M = sizeof folders / sizeof *folders };
    struct CMUnitTest tests[N + M];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){families[i], long_runs, NULL, NULL, families[i]};
    for (size_t i = 0; i < M; i++)
        tests[N + i] = (struct CMUnitTest){folders[i], long_runs_of_folder, NULL, NULL, folders[i]};
    return _cmocka_run_group_tests("token_limits", tests, N + M, NULL, NULL);
}
