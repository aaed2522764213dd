/* SPDX-License-Identifier: MIT
 * Ten megabytes of one character, on a thread with a stack of 64 KB: every family finishes in time
 * that does not grow faster than the text, and the bytes come back. */
#include <limits.h>
#include <pthread.h>
#include <time.h>

#include "rng.h"
#include "test.h"
#include "tokenizer_files.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
enum { LARGE = 2000000 }; /* sanitizers and emulators are slow, and need larger stacks */
#define SMALL_STACK 0
#else
enum { LARGE = 10000000 };
#define SMALL_STACK (64 * 1024)
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
    pthread_attr_t attr;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attr), 0);
    if (SMALL_STACK != 0) assert_int_equal(pthread_attr_setstacksize(&attr, SMALL_STACK), 0);
    double start = cpu_seconds();
    assert_int_equal(pthread_create(&thread, &attr, work, &j), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
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
static void check(const char *name, const nib__tokenizer *t, const char *unit)
{
    char shown[8];
    snprintf(shown, sizeof shown, "%02x", (unsigned char)unit[0]);
    bool exact = strcmp(name, "unigram") != 0 && strcmp(name, "wpm") != 0;
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
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++) check(*state, t, UNITS[i]);
    nib__tokenizer_free(t);
}

static char *families[] = {"bpe/qwen2", "bpe/deepseek-llm", "spm", "unigram", "wpm"};

int main(void)
{
    enum { N = sizeof families / sizeof *families };
    struct CMUnitTest tests[N];
    for (size_t i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){families[i], long_runs, NULL, NULL, families[i]};
    return _cmocka_run_group_tests("token_limits", tests, N, NULL, NULL);
}
