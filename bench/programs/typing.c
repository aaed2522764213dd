/* SPDX-License-Identifier: MIT
 * What a keystroke costs in an editor: replays a typing script in one session, asks for a
 * suggestion after every key, and cancels. One figure a line (measure.h):
 *     cold      0  s       first suggestion of a fresh session
 *     key       I  s       from the I-th key to the first text of its suggestion
 *     evaluated I  tokens  tokens that had to be evaluated for it
 *     cancel    MS s       from a cancel, MS after the start of a cold prompt, to the return of the
 *                          call; cancel_generate: while generating
 */
#define _GNU_SOURCE
#include <nibble.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "measure.h"
#include "script.h"

enum { SUGGESTION = 8 }; /* tokens generated before the next key comes */

typedef struct request {
    const char *path, *script, *isa;
    uint32_t threads, before, after, layout, cancels;
} request;

static nib_error err;

static void must(nib_status status)
{
    if (status == NIB_OK) return;
    fprintf(stderr, "typing: %s\n", err.text);
    exit(1);
}

/* The text of the last (or first) `most` tokens of a text. */
static char *window(const nib_model *model, const char *text, size_t *len, size_t most, int last)
{
    size_t n, cap = *len + 16;
    int32_t *ids = malloc(cap * sizeof *ids);
    char *out = malloc(*len + 64);
    if (ids == NULL || out == NULL) exit(1);
    must(nib_tokenize(model, text, *len, 0, ids, cap, &n, &err));
    size_t keep = n < most ? n : most;
    must(nib_detokenize(model, last ? ids + (n - keep) : ids, keep, 0, out, *len + 64, len, &err));
    free(ids);
    return out;
}

typedef struct editor {
    nib_session *session;
    script script;
    char *before, *after; /* cut to the token counts asked for */
    size_t before_len, after_len;
    char *text; /* before + what was typed */
    uint32_t layout;
} editor;

static void begin(editor *e, uint32_t max_tokens)
{
    nib_fim fim;
    nib_complete_options options;
    nib_fim_init(&fim, sizeof fim);
    memcpy(e->text, e->before, e->before_len);
    memcpy(e->text + e->before_len, e->script.typed, e->script.typed_len);
    fim.prefix = (nib_text){e->text, e->before_len + e->script.typed_len};
    fim.suffix = (nib_text){e->after, e->after_len};
    fim.layout = e->layout;
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = max_tokens;
    options.ignore_end = 1;
    must(nib_fim_begin(e->session, &fim, &options, &err));
}

static uint64_t evaluated_of(const nib_session *session)
{
    nib_session_stats stats = {.struct_size = sizeof stats};
    must(nib_session_get_stats(session, &stats));
    return stats.n_prefill + stats.n_decode;
}

/* Seconds to the first text; *evaluated: tokens that took, prompt and the word at the cursor that
 * is drawn again. The suggestion is then finished, so that its tokens stand where the next prompt
 * has others. */
static double suggest(editor *e, uint64_t *evaluated)
{
    nib_step step = {.struct_size = sizeof step};
    uint64_t earlier = evaluated_of(e->session);
    double start = measure_now(), first = 0;
    begin(e, SUGGESTION);
    while (!step.done) {
        must(nib_session_step(e->session, 0, &step, &err));
        if (first != 0 || (step.text_len == 0 && !step.done)) continue;
        first = measure_now() - start;
        *evaluated = evaluated_of(e->session) - earlier;
    }
    return first;
}

static void replay(editor *e)
{
    uint64_t evaluated;
    double *times = malloc(e->script.n_keys * sizeof *times);
    if (times == NULL) exit(1);
    measure_print("cold", 0, suggest(e, &evaluated), "s");
    measure_print("evaluated", 0, (double)evaluated, "tokens");
    for (size_t i = 0; script_press(&e->script); i++) {
        times[i] = suggest(e, &evaluated);
        measure_print("key", i + 1, times[i], "s");
        measure_print("evaluated", i + 1, (double)evaluated, "tokens");
    }
    free(times);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

typedef struct canceller {
    nib_session *session;
    double after, called;
} canceller;

static void *cancel_later(void *arg)
{
    canceller *c = arg;
    struct timespec wait = {(time_t)c->after, (long)((c->after - (double)(long)c->after) * 1e9)};
    nanosleep(&wait, NULL);
    c->called = measure_now();
    nib_session_cancel(c->session);
    return NULL;
}

/* Seconds from the cancel to the return of the call; negative if the call was done before. */
static double cancel_once(editor *e, uint32_t max_tokens, int cold, double after)
{
    pthread_t thread;
    canceller c = {.session = e->session, .after = after};
    nib_step step = {.struct_size = sizeof step};
    if (cold) must(nib_session_truncate(e->session, 0, &err));
    begin(e, max_tokens);
    if (pthread_create(&thread, NULL, cancel_later, &c) != 0) exit(1);
    nib_status status = NIB_OK;
    while (!step.done && status == NIB_OK) status = nib_session_step(e->session, 0, &step, &err);
    double end = measure_now();
    pthread_join(thread, NULL);
    if (status == NIB_ERR_CANCELLED) return end - c.called;
    must(status);
    /* The flag is still up: the next call takes it down. */
    while (nib_session_eval(e->session, &err) == NIB_ERR_CANCELLED) continue;
    return -1;
}

static void cancels(editor *e, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        double after = 2e-3 + 7e-3 * i; /* falls on other places of a layer every time */
        double seconds = cancel_once(e, 4, 1, after);
        if (seconds >= 0) measure_print("cancel", (uint64_t)(after * 1e3), seconds, "s");
    }
    uint64_t evaluated;
    suggest(e, &evaluated);
    for (uint32_t i = 0; i < count; i++) {
        double seconds = cancel_once(e, 400, 0, 20e-3 + 3e-3 * i);
        if (seconds >= 0) measure_print("cancel_generate", i, seconds, "s");
    }
}

static void open_editor(editor *e, const request *q, nib_model **model)
{
    nib_model_options options;
    nib_session_options session_options;
    nib_model_options_init(&options, sizeof options);
    options.n_threads = q->threads;
    options.isa = q->isa;
    must(nib_model_open(q->path, &options, model, &err));
    nib_session_options_init(&session_options, sizeof session_options);
    session_options.n_threads = q->threads;
    session_options.n_ctx = 2048;
    must(nib_session_new(*model, &session_options, &e->session, &err));
    script_read(&e->script, q->script);
    e->before_len = e->script.prefix_len;
    e->after_len = e->script.suffix_len;
    e->before = window(*model, e->script.prefix, &e->before_len, q->before, 1);
    e->after = window(*model, e->script.suffix, &e->after_len, q->after, 0);
    e->text = malloc(e->before_len + sizeof e->script.typed);
    if (e->text == NULL) exit(1);
    e->layout = q->layout;
}

static const char usage[] = "usage: typing -m FILE --script FILE [--threads T] [--isa LEVEL] "
                            "[--before 1024] [--after 256]\n"
                            "              [--layout line|prefix] [--cancels N]\n";

int main(int argc, char **argv)
{
    request q = {.threads = 1, .before = 1024, .after = 256};
    int good = 1;
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(option, "-m") == 0)
            q.path = value;
        else if (strcmp(option, "--script") == 0)
            q.script = value;
        else if (strcmp(option, "--isa") == 0)
            q.isa = value;
        else if (strcmp(option, "--threads") == 0)
            q.threads = measure_number(option, value);
        else if (strcmp(option, "--before") == 0)
            q.before = measure_number(option, value);
        else if (strcmp(option, "--after") == 0)
            q.after = measure_number(option, value);
        else if (strcmp(option, "--cancels") == 0)
            q.cancels = measure_number(option, value);
        else if (strcmp(option, "--layout") == 0)
            q.layout = strcmp(value, "prefix") == 0 ? NIB_FIM_LAYOUT_PREFIX : 0;
        else
            good = 0;
    }
    if (!good || q.path == NULL || q.script == NULL) {
        fputs(usage, stderr);
        return 2;
    }
    static editor e;
    nib_model *model;
    open_editor(&e, &q, &model);
    replay(&e);
    cancels(&e, q.cancels);
    nib_session_free(e.session);
    nib_model_free(model);
    free(e.before);
    free(e.after);
    free(e.text);
    script_free(&e.script);
    return 0;
}
