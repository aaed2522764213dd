/* SPDX-License-Identifier: MIT
 * A model that stays open and measures when it is told to, so that engines can take turns without
 * opening anything in between:
 *     turns -m PATH [--load int8] [--prompt 512] [--generate 128] [--threads T] [--isa LEVEL]
 * It says "ready", then answers every line of standard input with the figures of one run
 * (measure.h) and "done"; at the end of input it tells what memory it took. bench/suite/turns.py is
 * the other side. The prompt of an encoder-decoder is what it encodes. */
#include <nibble.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

typedef struct request {
    const char *path, *isa;
    uint32_t load, threads, prompt, generate;
} request;

typedef struct engine {
    nib_model *model;
    nib_session *session;
    nib_model_info info;
    int32_t *ids; /* [prompt] */
} engine;

static nib_error err;

static void must(nib_status status)
{
    if (status == NIB_OK) return;
    fprintf(stderr, "turns: %s\n", err.text);
    exit(1);
}

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static engine open_engine(const request *q)
{
    engine e = {.info.struct_size = sizeof e.info};
    nib_model_options options;
    nib_session_options session;
    nib_model_options_init(&options, sizeof options);
    options.n_threads = q->threads;
    options.isa = q->isa;
    options.load = q->load;
    double start = measure_now();
    must(nib_model_open(q->path, &options, &e.model, &err));
    measure_print("open", 0, measure_now() - start, "s");
    must(nib_model_get_info(e.model, &e.info));
    nib_session_options_init(&session, sizeof session);
    session.n_threads = q->threads;
    session.n_ctx = q->prompt + q->generate;
    if (e.info.kind == NIB_MODEL_ENCODER_DECODER)
        session.n_ctx = q->prompt > q->generate ? q->prompt : q->generate + 1;
    must(nib_session_new(e.model, &session, &e.session, &err));
    e.ids = malloc((q->prompt + 1) * sizeof *e.ids);
    if (e.ids == NULL) exit(1);
    measure_fill_ids(e.ids, q->prompt + 1, e.info.n_vocab);
    return e;
}

/* Everything before the first token is there. Another first id every time: sources that stay the
 * same are not encoded again. */
static void begin(const request *q, engine *e, uint32_t run)
{
    must(nib_session_truncate(e->session, 0, &err));
    e->ids[0] = e->ids[run % q->prompt];
    if (e->info.kind == NIB_MODEL_ENCODER_DECODER) {
        must(nib_session_set_source(e->session, e->ids, q->prompt, &err));
        must(nib_session_append(e->session, &e->info.start_id, 1, &err));
    } else {
        must(nib_session_append(e->session, e->ids, q->prompt, &err));
    }
    must(nib_session_eval(e->session, &err));
}

static void run(const request *q, engine *e, uint32_t number)
{
    nib_complete_options options;
    nib_step step = {.struct_size = sizeof step};
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = q->generate;
    options.ignore_end = 1;
    double start = measure_now();
    begin(q, e, number);
    double first = measure_now();
    must(nib_complete_begin_tokens(e->session, &options, &err));
    size_t count = 0;
    for (; !step.done; count += step.n_tokens) must(nib_session_step(e->session, 0, &step, &err));
    double end = measure_now();
    if (count != q->generate) {
        fprintf(stderr, "turns: generated %zu tokens, expected %u\n", count, q->generate);
        exit(1);
    }
    measure_print("prompt", q->prompt, q->prompt / (first - start), "tokens/s");
    measure_print("generate", q->prompt, (q->generate - 1) / (end - first), "tokens/s");
}

static void report(const request *q, const engine *e)
{
    nib_session_stats stats = {.struct_size = sizeof stats};
    must(nib_session_get_stats(e->session, &stats));
    measure_print("peak_memory", 0, (double)measure_peak_rss(), "bytes");
    measure_print("weights", 0, (double)e->info.weight_bytes, "bytes");
    measure_print("file", 0, (double)e->info.file_bytes, "bytes");
    measure_print("session", q->prompt, (double)stats.memory_bytes, "bytes");
}

static uint32_t load_of(const char *name)
{
    static const char *const names[] = {"stored", "f32", "f16", "bf16", "int8"};
    for (uint32_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    fputs("--load: expected stored, f32, f16, bf16 or int8\n", stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    request q = {.threads = 1, .prompt = 512, .generate = 128};
    for (int i = 1; i < argc; i += 2) {
        const char *option = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(option, "-m") == 0)
            q.path = value;
        else if (strcmp(option, "--isa") == 0)
            q.isa = value;
        else if (strcmp(option, "--load") == 0)
            q.load = load_of(value);
        else if (strcmp(option, "--threads") == 0)
            q.threads = measure_number(option, value);
        else if (strcmp(option, "--prompt") == 0)
            q.prompt = measure_number(option, value);
        else if (strcmp(option, "--generate") == 0)
            q.generate = measure_number(option, value);
        else
            q.path = NULL, i = argc;
    }
    if (q.path == NULL || q.threads == 0 || q.prompt == 0 || q.generate < 2) {
        fputs("usage: turns -m PATH [--load L] [--prompt N] [--generate N] [--threads T] "
              "[--isa LEVEL]\n",
              stderr);
        return 2;
    }
    char line[64];
    engine e = open_engine(&q);
    say("ready");
    for (uint32_t number = 1; fgets(line, sizeof line, stdin) != NULL; number++) {
        run(&q, &e, number);
        say("done");
    }
    report(&q, &e);
    free(e.ids);
    nib_session_free(e.session);
    nib_model_free(e.model);
    return 0;
}
