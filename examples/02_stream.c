/* SPDX-License-Identifier: MIT
 * Text as it is generated, in slices of time: an event loop can do its own work between two calls
 * of nib_session_step, and needs no thread. Here the work is to show how far the prompt is.
 *
 *     02_stream models/smollm2-135m.gguf "def fibonacci(n):"
 */
#include <stdio.h>
#include <string.h>

#include "nibble.h"

static int generate(nib_session *session, const char *prompt)
{
    nib_complete_options options;
    nib_error err;
    nib_step step = {.struct_size = sizeof step};
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = 96;
    options.temperature = 0.4f;
    options.top_p = 0.9f;
    options.seed = 1;
    int waiting = 0;
    nib_status status = nib_complete_begin(session, prompt, strlen(prompt), &options, &err);
    while (status == NIB_OK && !step.done) {
        status = nib_session_step(session, 5000, &step, &err); /* about 5 ms of work */
        if (status != NIB_OK) break;
        if (step.n_left > 0)
            fprintf(stderr, "\r%4u prompt tokens left", step.n_left);
        else if (waiting)
            fprintf(stderr, "\r%23s\r", "");
        waiting = step.n_left > 0;
        fwrite(step.text, 1, step.text_len, stdout);
        fflush(stdout);
    }
    putchar('\n');
    if (status != NIB_OK) return fprintf(stderr, "%s\n", err.text), 1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: %s MODEL TEXT\n", argv[0]), 2;
    nib_model *model;
    nib_session *session;
    nib_session_options options;
    nib_error err;
    nib_session_options_init(&options, sizeof options);
    options.n_threads = 2;
    if (nib_model_open(argv[1], NULL, &model, &err) != NIB_OK)
        return fprintf(stderr, "%s\n", err.text), 1;
    if (nib_session_new(model, &options, &session, &err) != NIB_OK) {
        nib_model_free(model);
        return fprintf(stderr, "%s\n", err.text), 1;
    }
    nib_model_free(model); /* the session has its own reference */
    int status = generate(session, argv[2]);
    nib_session_free(session);
    return status;
}
