/* SPDX-License-Identifier: MIT
 * Beam search: the likeliest texts after a prompt. With an encoder-decoder that was trained to do
 * so (CodeT5-base-multi-sum, PLBART) they are summaries of the code.
 *
 *     04_summarize path/to/codet5-base-multi-sum "def add(a, b): return a + b"
 */
#include <stdio.h>
#include <string.h>

#include "nibble.h"

static nib_status search(nib_session *session, const char *code, nib_error *err)
{
    nib_beam_options options;
    nib_step step = {.struct_size = sizeof step};
    nib_beam_result result = {.struct_size = sizeof result, .n_results = 1};
    nib_beam_options_init(&options, sizeof options);
    options.n_beams = 10; /* the settings of CodeT5's authors */
    options.n_results = 3;
    options.max_tokens = 128;
    options.early_stopping = NIB_BEAM_STOP_EARLY;
    nib_status status = nib_beam_begin(session, code, strlen(code), &options, err);
    while (status == NIB_OK && !step.done) status = nib_session_step(session, 0, &step, err);
    for (uint32_t i = 0; status == NIB_OK && i < result.n_results; i++) {
        status = nib_beam_get_result(session, i, &result, err);
        if (status == NIB_OK)
            printf("%7.4f  %.*s\n", result.score, (int)result.text_len, result.text);
    }
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: %s MODEL CODE\n", argv[0]), 2;
    nib_model *model = NULL;
    nib_session *session = NULL;
    nib_error err;
    nib_status status = nib_model_open(argv[1], NULL, &model, &err);
    if (status == NIB_OK) status = nib_session_new(model, NULL, &session, &err);
    if (status == NIB_OK) status = search(session, argv[2], &err);
    if (status != NIB_OK) fprintf(stderr, "%s\n", err.text);
    nib_session_free(session);
    nib_model_free(model);
    return status == NIB_OK ? 0 : 1;
}
