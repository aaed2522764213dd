/* SPDX-License-Identifier: MIT
 * A whole model through the public API:
 *     model curve  -m FILE   cost of a prompt and of one more token against their length
 *     model rows   -m FILE   several rows at once beside one
 *     model start  -m FILE   from nothing to the first token, and peak memory
 * One figure a line: name, x, value, unit (measure.h). */
#include <nibble.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

typedef struct request {
    const char *mode, *path, *isa, *cache;
    uint32_t threads, most, prompt, ctx, repeat;
} request;

static nib_error err;

static void must(nib_status status)
{
    if (status == NIB_OK) return;
    fprintf(stderr, "model: %s\n", err.text);
    exit(1);
}

static nib_model *open_model(const request *q)
{
    nib_model_options options;
    nib_model *model;
    nib_model_options_init(&options, sizeof options);
    options.n_threads = q->threads;
    options.isa = q->isa;
    options.cache_dir = q->cache;
    must(nib_model_open(q->path, &options, &model, &err));
    return model;
}

static nib_session *open_session(const request *q, nib_model *model, uint32_t ctx)
{
    nib_session_options options;
    nib_session *session;
    nib_session_options_init(&options, sizeof options);
    options.n_threads = q->threads;
    options.n_ctx = ctx;
    must(nib_session_new(model, &options, &session, &err));
    return session;
}

static nib_model_info info_of(const nib_model *model)
{
    nib_model_info info = {.struct_size = sizeof info};
    must(nib_model_get_info(model, &info));
    return info;
}

static int32_t *make_ids(const nib_model *model, uint32_t n)
{
    int32_t *ids = malloc(n * sizeof *ids);
    if (ids == NULL) exit(1);
    measure_fill_ids(ids, n, info_of(model).n_vocab);
    return ids;
}

/* Seconds to evaluate `n` more tokens. */
static double add(nib_session *session, const int32_t *ids, uint32_t n)
{
    must(nib_session_append(session, ids, n, &err));
    double start = measure_now();
    must(nib_session_eval(session, &err));
    return measure_now() - start;
}

/* Seconds per generated token, the median over n of them; the session's tokens stay as they were.
 */
static double generate(nib_session *session, uint32_t n)
{
    enum { MOST = 64 };
    double times[MOST];
    const int32_t *ids;
    size_t n_ids;
    nib_complete_options options;
    nib_step step = {.struct_size = sizeof step};
    must(nib_session_tokens(session, &ids, &n_ids, NULL));
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = n + 1;
    options.ignore_end = 1;
    must(nib_complete_begin_tokens(session, &options, &err));
    uint32_t count = 0;
    /* The first one comes from logits that are already there. */
    for (double last = 0; !step.done && count < MOST;) {
        must(nib_session_step(session, 0, &step, &err));
        double now = measure_now();
        if (last != 0 && step.n_tokens == 1) times[count++] = now - last;
        last = now;
    }
    must(nib_session_truncate(session, n_ids, &err));
    return measure_quantile(times, count, 0.5);
}

/* ---- cost against length --------------------------------------------------------------------- */

static void curve(const request *q)
{
    enum { PASS = 512, GENERATE = 24 };
    nib_model *model = open_model(q);
    uint32_t most = q->most / PASS * PASS;
    nib_session *session = open_session(q, model, most + GENERATE + 8);
    int32_t *ids = make_ids(model, most);
    add(session, ids, PASS); /* warms memory and what is learned from passes */
    for (uint32_t n = 64; n < PASS; n *= 2) {
        double times[5];
        for (uint32_t i = 0; i < 3; i++) {
            must(nib_session_truncate(session, 0, &err));
            times[i] = add(session, ids, n);
        }
        measure_print("prompt", n, measure_quantile(times, 3, 0.5), "s");
    }
    must(nib_session_truncate(session, 0, &err));
    add(session, ids, 1);
    measure_print("token", 0, generate(session, GENERATE), "s");
    must(nib_session_truncate(session, 0, &err));
    double total = 0;
    for (uint32_t n = 0, mark = PASS; n < most;) {
        total += add(session, ids + n, PASS);
        n += PASS;
        if (n != mark) continue;
        measure_print("prompt", n, total, "s");
        measure_print("token", n, generate(session, GENERATE), "s");
        mark *= 2;
    }
    free(ids);
    nib_session_free(session);
    nib_model_free(model);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* One token of each of several sessions in one step. Sessions stay a few tokens long. */
static void sessions(const request *q, nib_model *model)
{
    enum { SIZES = 5, MOST = 16, CONTEXT = 32, MOST_ROUNDS = 64 };
    static const uint32_t sizes[SIZES] = {1, 2, 4, 8, 16};
    double times[MOST_ROUNDS];
    nib_session *all[MOST];
    nib_step steps[MOST];
    nib_status statuses[MOST];
    nib_batch_options options;
    nib_complete_options complete;
    nib_batch *batch;
    int32_t *ids = make_ids(model, CONTEXT);
    uint32_t rounds = q->repeat < MOST_ROUNDS ? q->repeat : MOST_ROUNDS;
    nib_batch_options_init(&options, sizeof options);
    options.n_threads = q->threads;
    must(nib_batch_new(model, &options, &batch, &err));
    nib_complete_options_init(&complete, sizeof complete);
    complete.max_tokens = SIZES * (rounds + 2) + 2;
    complete.ignore_end = 1;
    for (uint32_t i = 0; i < MOST; i++) {
        all[i] = open_session(q, model, CONTEXT + complete.max_tokens + 8);
        add(all[i], ids, CONTEXT);
        must(nib_complete_begin_tokens(all[i], &complete, &err));
    }
    steps[0].struct_size = sizeof steps[0];
    for (uint32_t s = 0; s < SIZES; s++) {
        for (uint32_t r = 0; r < rounds + 2; r++) { /* the first two warm up */
            double start = measure_now();
            must(nib_batch_step(batch, all, sizes[s], 0, steps, statuses, NULL, &err));
            if (r > 1) times[r - 2] = measure_now() - start;
            for (uint32_t i = 0; i < sizes[s]; i++) must(statuses[i]);
        }
        measure_print("sessions", sizes[s], measure_quantile(times, rounds, 0.5), "s");
    }
    for (uint32_t i = 0; i < MOST; i++) nib_session_free(all[i]);
    nib_batch_free(batch);
    free(ids);
}

static void rows(const request *q)
{
    enum { CONTEXT = 128, SIZES = 5, MOST_ROUNDS = 64 };
    static const uint32_t sizes[SIZES] = {1, 2, 4, 8, 16};
    static double times[SIZES][MOST_ROUNDS];
    nib_model *model = open_model(q);
    nib_session *session = open_session(q, model, 512);
    int32_t *ids = make_ids(model, CONTEXT + 16);
    float *logits = malloc((size_t)16 * info_of(model).n_vocab * sizeof *logits);
    uint32_t rounds = q->repeat < MOST_ROUNDS ? q->repeat : MOST_ROUNDS;
    if (logits == NULL) exit(1);
    add(session, ids, CONTEXT);
    for (uint32_t r = 0; r < rounds + 1; r++) { /* round 0 warms up */
        for (uint32_t i = 0; i < SIZES; i++) {
            must(nib_session_truncate(session, CONTEXT, &err));
            double start = measure_now();
            must(nib_session_eval_logits(session, ids + CONTEXT, sizes[i], 0, logits, &err));
            if (r > 0) times[i][r - 1] = measure_now() - start;
        }
    }
    for (uint32_t i = 0; i < SIZES; i++)
        measure_print("rows", sizes[i], measure_quantile(times[i], rounds, 0.5), "s");
    free(ids);
    free(logits);
    nib_session_free(session);
    sessions(q, model);
    nib_model_free(model);
}

/* ---- start ----------------------------------------------------------------------------------- */

static void start(const request *q)
{
    static const char text[] = "static int compare(const void *a, const void *b)\n{\n    return ";
    char out[256];
    size_t len;
    nib_complete_options options;
    double begin = measure_now();
    nib_model *model = open_model(q);
    double opened = measure_now();
    nib_session *session = open_session(q, model, q->ctx);
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = 1;
    options.ignore_end = 1;
    must(nib_complete(session, text, sizeof text - 1, &options, out, sizeof out, &len, &err));
    measure_print("open", 0, opened - begin, "s");
    measure_print("first_token", 0, measure_now() - begin, "s");
    nib_session_stats stats = {.struct_size = sizeof stats};
    must(nib_session_get_stats(session, &stats));
    measure_print("prompt_tokens", 0, (double)stats.n_prefill, "tokens");
    if (q->prompt > 0) {
        int32_t *ids = make_ids(model, q->prompt);
        must(nib_session_truncate(session, 0, &err));
        add(session, ids, q->prompt);
        generate(session, 8);
        free(ids);
    }
    measure_print("peak_memory", 0, (double)measure_peak_rss(), "bytes");
    measure_print("kv_memory", 0, (double)info_of(model).kv_bytes_per_token * q->ctx, "bytes");
    nib_session_free(session);
    nib_model_free(model);
}

static const char usage[] =
    "usage: model curve|rows|start -m FILE [--threads T] [--isa LEVEL]\n"
    "             [--cache DIR] [--most N] [--prompt N] [--ctx N] [--repeat N]\n";

int main(int argc, char **argv)
{
    request q = {.threads = 1, .most = 8192, .ctx = 2048, .repeat = 20};
    q.mode = argc > 1 ? argv[1] : "";
    for (int i = 2; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(option, "-m") == 0)
            q.path = value;
        else if (strcmp(option, "--isa") == 0)
            q.isa = value;
        else if (strcmp(option, "--cache") == 0)
            q.cache = value;
        else if (strcmp(option, "--threads") == 0)
            q.threads = measure_number(option, value);
        else if (strcmp(option, "--most") == 0)
            q.most = measure_number(option, value);
        else if (strcmp(option, "--prompt") == 0)
            q.prompt = measure_number(option, value);
        else if (strcmp(option, "--ctx") == 0)
            q.ctx = measure_number(option, value);
        else if (strcmp(option, "--repeat") == 0)
            q.repeat = measure_number(option, value);
        else
            q.mode = "";
    }
    if (q.path == NULL || q.threads == 0 || q.repeat == 0 || q.most < 512) q.mode = "";
    if (strcmp(q.mode, "curve") == 0)
        curve(&q);
    else if (strcmp(q.mode, "rows") == 0)
        rows(&q);
    else if (strcmp(q.mode, "start") == 0)
        start(&q);
    else {
        fputs(usage, stderr);
        return 2;
    }
    return 0;
}
