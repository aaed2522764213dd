/* SPDX-License-Identifier: MIT
 * Several completions of one prompt: it is evaluated once, the session is forked, and one batch
 * generates all of them together. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct suggestions {
    uint32_t n;
    nib_session **sessions; /* [n]; the first is the caller's */
    nib_step *steps;
    nib_status *statuses;
    nib_error *errors;
    cli_buffer *texts;
    nib_batch *batch;
} suggestions;

static int allocate(suggestions *s, uint32_t n)
{
    *s = (suggestions){.n = n};
    s->sessions = calloc(n, sizeof *s->sessions);
    s->steps = calloc(n, sizeof *s->steps);
    s->statuses = calloc(n, sizeof *s->statuses);
    s->errors = calloc(n, sizeof *s->errors);
    s->texts = calloc(n, sizeof *s->texts);
    if (s->sessions == NULL || s->steps == NULL || s->statuses == NULL || s->errors == NULL ||
        s->texts == NULL)
        return cli_failed("out of memory: %u suggestions", n);
    return CLI_OK;
}

static void release(suggestions *s)
{
    for (uint32_t i = 1; s->sessions != NULL && i < s->n; i++) nib_session_free(s->sessions[i]);
    for (uint32_t i = 0; s->texts != NULL && i < s->n; i++) free(s->texts[i].data);
    nib_batch_free(s->batch);
    free(s->sessions);
    free(s->steps);
    free(s->statuses);
    free(s->errors);
    free(s->texts);
}

static int step(suggestions *s, int *done)
{
    nib_error err;
    s->steps[0].struct_size = sizeof s->steps[0];
    if (nib_batch_step(s->batch, s->sessions, s->n, 0, s->steps, s->statuses, s->errors, &err) !=
        NIB_OK)
        return cli_error(&err);
    *done = 1;
    for (uint32_t i = 0; i < s->n; i++) {
        if (s->statuses[i] != NIB_OK) return cli_error(&s->errors[i]);
        if (cli_append(&s->texts[i], s->steps[i].text, s->steps[i].text_len) != CLI_OK)
            return CLI_FAILED;
        if (!s->steps[i].done) *done = 0;
    }
    return CLI_OK;
}

int cli_suggest(const cli_common *common, nib_model *model, nib_session *session, uint32_t n,
                int (*begin)(void *arg, nib_session *session, uint32_t number), void *arg)
{
    suggestions s;
    nib_batch_options options;
    nib_error err;
    int done = 0, status = allocate(&s, n);
    nib_batch_options_init(&options, sizeof options);
    options.n_threads = common->threads;
    if (status == CLI_OK && nib_batch_new(model, &options, &s.batch, &err) != NIB_OK)
        status = cli_error(&err);
    if (status == CLI_OK) status = begin(arg, session, 0);
    if (status == CLI_OK && nib_session_eval(session, &err) != NIB_OK) status = cli_error(&err);
    if (s.sessions != NULL) s.sessions[0] = session;
    for (uint32_t i = 1; i < n && status == CLI_OK; i++) {
        if (nib_session_fork(session, &s.sessions[i], &err) != NIB_OK) status = cli_error(&err);
        if (status == CLI_OK) status = begin(arg, s.sessions[i], i);
    }
    while (status == CLI_OK && !done && !cli_interrupted()) status = step(&s, &done);
    if (status == CLI_OK && cli_interrupted()) status = CLI_INTERRUPTED;
    for (uint32_t i = 0; i < n && status == CLI_OK; i++) {
        fputs("{\"text\":", stdout);
        cli_json_string(stdout, s.texts[i].len != 0 ? s.texts[i].data : "", s.texts[i].len);
        fputs("}\n", stdout);
    }
    release(&s);
    return status == CLI_OK ? cli_close_stdout() : status;
}
