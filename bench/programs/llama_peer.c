/* SPDX-License-Identifier: MIT
 * llama.cpp doing what model.c and typing.c measure, with the same output. Not part of the build:
 * bench/suite/build_peers.py links it with the libraries of a llama.cpp that was fetched and built.
 *     llama_peer curve  -m FILE
 *     llama_peer start  -m FILE
 *     llama_peer typing -m FILE --script FILE [--layout prefix|line]
 * "prefix" is the order of llama.cpp's own server for fill-in-the-middle, the typed part of the
 * line in the prefix; "line" puts it behind the middle marker, as nibble does. Both keep what the
 * cache has in common with the new prompt. */
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "script.h"

typedef struct request {
    const char *mode, *path, *script;
    uint32_t threads, most, prompt, ctx, before, after, keys;
    int line_last;
} request;

typedef struct engine {
    struct llama_model *model;
    struct llama_context *context;
    const struct llama_vocab *vocab;
    llama_token *cached; /* tokens in the cache */
    uint32_t n_cached;
} engine;

static void stop(const char *what)
{
    fprintf(stderr, "llama_peer: %s\n", what);
    exit(1);
}

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    (void)user;
    if (level == GGML_LOG_LEVEL_ERROR) fputs(text, stderr);
}

static void open_engine(engine *e, const request *q, uint32_t ctx)
{
    llama_log_set(quiet, NULL);
    llama_backend_init();
    e->model = llama_model_load_from_file(q->path, llama_model_default_params());
    if (e->model == NULL) stop("the model cannot be opened");
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = ctx;
    params.n_threads = (int32_t)q->threads;
    params.n_threads_batch = (int32_t)q->threads;
    e->context = llama_init_from_model(e->model, params);
    if (e->context == NULL) stop("no context");
    e->vocab = llama_model_get_vocab(e->model);
    e->cached = malloc((ctx + 64) * sizeof *e->cached);
    e->n_cached = 0;
    if (e->cached == NULL) stop("out of memory");
}

static void close_engine(engine *e)
{
    free(e->cached);
    llama_free(e->context);
    llama_model_free(e->model);
    llama_backend_free();
}

static void cut(engine *e, uint32_t n)
{
    llama_memory_seq_rm(llama_get_memory(e->context), 0, (llama_pos)n, -1);
    e->n_cached = n;
}

/* Evaluates n more tokens, in the batches llama.cpp wants; the logits of the last are there then.
 */
static double add(engine *e, const llama_token *ids, uint32_t n)
{
    double start = measure_now();
    uint32_t batch = llama_n_batch(e->context);
    for (uint32_t at = 0; at < n; at += batch) {
        uint32_t count = n - at < batch ? n - at : batch;
        memcpy(e->cached + e->n_cached, ids + at, count * sizeof *ids);
        struct llama_batch b = llama_batch_get_one(e->cached + e->n_cached, (int32_t)count);
        if (llama_decode(e->context, b) != 0) stop("llama_decode failed");
        e->n_cached += count;
    }
    llama_synchronize(e->context);
    return measure_now() - start;
}

static llama_token best(const engine *e)
{
    const float *logits = llama_get_logits_ith(e->context, -1);
    int32_t top = 0, n = llama_vocab_n_tokens(e->vocab);
    for (int32_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return top;
}

/* Median seconds of a generated token; the cache is as before afterwards. */
static double generate(engine *e, uint32_t n)
{
    double times[64];
    uint32_t kept = e->n_cached;
    for (uint32_t i = 0; i < n && i < 64; i++) {
        double start = measure_now();
        llama_token id = best(e);
        add(e, &id, 1);
        times[i] = measure_now() - start;
    }
    cut(e, kept);
    return measure_quantile(times, n, 0.5);
}

static int32_t *make_ids(const engine *e, uint32_t n)
{
    int32_t *ids = malloc(n * sizeof *ids);
    if (ids == NULL) stop("out of memory");
    measure_fill_ids(ids, n, (uint32_t)llama_vocab_n_tokens(e->vocab));
    return ids;
}

static void curve(const request *q)
{
    enum { PASS = 512, GENERATE = 24 };
    engine e;
    uint32_t most = q->most / PASS * PASS;
    open_engine(&e, q, most + 64);
    int32_t *ids = make_ids(&e, most);
    add(&e, ids, PASS);
    for (uint32_t n = 64; n < PASS; n *= 2) {
        double times[3];
        for (int i = 0; i < 3; i++) {
            cut(&e, 0);
            times[i] = add(&e, ids, n);
        }
        measure_print("prompt", n, measure_quantile(times, 3, 0.5), "s");
    }
    cut(&e, 0);
    add(&e, ids, 1);
    measure_print("token", 0, generate(&e, GENERATE), "s");
    cut(&e, 0);
    double total = 0;
    for (uint32_t n = 0, mark = PASS; n < most;) {
        total += add(&e, ids + n, PASS);
        n += PASS;
        if (n != mark) continue;
        measure_print("prompt", n, total, "s");
        measure_print("token", n, generate(&e, GENERATE), "s");
        mark *= 2;
    }
    free(ids);
    close_engine(&e);
}

/* ---- text ------------------------------------------------------------------------------------ */

typedef struct tokens {
    llama_token ids[8192];
    uint32_t n;
} tokens;

static void push_text(const engine *e, tokens *t, const char *text, size_t len)
{
    int32_t n = llama_tokenize(e->vocab, text, (int32_t)len, t->ids + t->n,
                               (int32_t)(sizeof t->ids / sizeof *t->ids - t->n), false, false);
    if (n < 0) stop("a text is too long");
    t->n += (uint32_t)n;
}

static void start(const request *q)
{
    static const char text[] = "static int compare(const void *a, const void *b)\n{\n    return ";
    static tokens t;
    engine e;
    double begin = measure_now();
    open_engine(&e, q, q->ctx);
    measure_print("open", 0, measure_now() - begin, "s");
    push_text(&e, &t, text, sizeof text - 1);
    add(&e, t.ids, t.n);
    best(&e);
    measure_print("first_token", 0, measure_now() - begin, "s");
    measure_print("prompt_tokens", 0, (double)t.n, "tokens");
    if (q->prompt > 0) {
        int32_t *ids = make_ids(&e, q->prompt);
        cut(&e, 0);
        add(&e, ids, q->prompt);
        generate(&e, 8);
        free(ids);
    }
    measure_print("peak_memory", 0, (double)measure_peak_rss(), "bytes");
    close_engine(&e);
}

/* ---- typing ---------------------------------------------------------------------------------- */

/* The text of the last (or first) `most` tokens; *len becomes its length. */
static char *window(const engine *e, const char *text, size_t *len, uint32_t most, int last)
{
    static tokens t;
    t.n = 0;
    push_text(e, &t, text, *len);
    uint32_t keep = t.n < most ? t.n : most;
    char *out = malloc(*len + 64);
    if (out == NULL) stop("out of memory");
    int32_t n = llama_detokenize(e->vocab, last ? t.ids + (t.n - keep) : t.ids, (int32_t)keep, out,
                                 (int32_t)*len + 64, false, false);
    if (n < 0) stop("a text cannot be rebuilt");
    *len = (size_t)n;
    return out;
}

typedef struct editor {
    script script;
    char *before, *after;
    size_t before_len, after_len;
    char *text; /* before + typed */
    int line_last;
} editor;

static void build_prompt(const engine *e, const editor *d, tokens *t)
{
    size_t len = d->before_len + d->script.typed_len, head = len;
    memcpy(d->text, d->before, d->before_len);
    memcpy(d->text + d->before_len, d->script.typed, d->script.typed_len);
    if (d->line_last) { /* the line but for its indentation */
        while (head > 0 && d->text[head - 1] != '\n') head--;
        while (head < len && d->text[head] == ' ') head++;
    }
    t->n = 0;
    t->ids[t->n++] = llama_vocab_fim_pre(e->vocab);
    push_text(e, t, d->text, head);
    t->ids[t->n++] = llama_vocab_fim_suf(e->vocab);
    push_text(e, t, d->after, d->after_len);
    t->ids[t->n++] = llama_vocab_fim_mid(e->vocab);
    push_text(e, t, d->text + head, len - head);
}

/* Seconds from the key to the first token; *evaluated: prompt tokens that were not in the cache. */
static double suggest(engine *e, const editor *d, uint32_t *evaluated)
{
    enum { SUGGESTION = 8 };
    static tokens t;
    double begin = measure_now();
    build_prompt(e, d, &t);
    uint32_t common = 0;
    while (common < e->n_cached && common < t.n && e->cached[common] == t.ids[common]) common++;
    if (common == t.n) common--; /* the last one must be evaluated for its logits */
    cut(e, common);
    *evaluated = t.n - common;
    add(e, t.ids + common, t.n - common);
    llama_token id = best(e);
    double seconds = measure_now() - begin;
    for (int i = 0; i < SUGGESTION; i++) {
        add(e, &id, 1);
        id = best(e);
    }
    return seconds;
}

static void typing(const request *q)
{
    static editor d;
    engine e;
    uint32_t evaluated;
    open_engine(&e, q, 2048);
    script_read(&d.script, q->script);
    d.line_last = q->line_last;
    d.before_len = d.script.prefix_len;
    d.after_len = d.script.suffix_len;
    d.before = window(&e, d.script.prefix, &d.before_len, q->before, 1);
    d.after = window(&e, d.script.suffix, &d.after_len, q->after, 0);
    d.text = malloc(d.before_len + sizeof d.script.typed);
    if (d.text == NULL) stop("out of memory");
    measure_print("cold", 0, suggest(&e, &d, &evaluated), "s");
    measure_print("evaluated", 0, evaluated, "tokens");
    for (uint32_t i = 0; script_press(&d.script) && i < q->keys; i++) {
        measure_print("key", i + 1, suggest(&e, &d, &evaluated), "s");
        measure_print("evaluated", i + 1, evaluated, "tokens");
    }
    free(d.before);
    free(d.after);
    free(d.text);
    script_free(&d.script);
    close_engine(&e);
}

static const char usage[] =
    "usage: llama_peer curve|start|typing -m FILE [--threads T] [--most N] [--prompt N] [--ctx N]\n"
    "                  [--script FILE] [--before N] [--after N] [--keys N]\n"
    "                  [--layout prefix|line]\n";

int main(int argc, char **argv)
{
    request q = {.threads = 1, .most = 8192, .ctx = 2048, .before = 1024, .after = 256};
    q.keys = 10000;
    q.mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(option, "-m") == 0)
            q.path = value;
        else if (strcmp(option, "--script") == 0)
            q.script = value;
        else if (strcmp(option, "--threads") == 0)
            q.threads = measure_number(option, value);
        else if (strcmp(option, "--most") == 0)
            q.most = measure_number(option, value);
        else if (strcmp(option, "--prompt") == 0)
            q.prompt = measure_number(option, value);
        else if (strcmp(option, "--ctx") == 0)
            q.ctx = measure_number(option, value);
        else if (strcmp(option, "--before") == 0)
            q.before = measure_number(option, value);
        else if (strcmp(option, "--after") == 0)
            q.after = measure_number(option, value);
        else if (strcmp(option, "--keys") == 0)
            q.keys = measure_number(option, value);
        else if (strcmp(option, "--layout") == 0)
            q.line_last = strcmp(value, "line") == 0;
        else
            q.mode = "";
    }
    if (q.path == NULL || q.threads == 0 || q.most < 512) q.mode = "";
    if (strcmp(q.mode, "curve") == 0)
        curve(&q);
    else if (strcmp(q.mode, "start") == 0)
        start(&q);
    else if (strcmp(q.mode, "typing") == 0 && q.script != NULL)
        typing(&q);
    else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}
