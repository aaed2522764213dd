/* SPDX-License-Identifier: MIT
 * nibble complete --beams: the likeliest texts, by beam search. */
#include "cli.h"

#include <unistd.h>

static int search(nib_session *session, nib_text prompt, const nib_beam_options *options,
                  nib_step *step)
{
    nib_error err;
    if (nib_beam_begin(session, prompt.data, prompt.len, options, &err) != NIB_OK)
        return cli_error(&err);
    while (!step->done) {
        if (nib_session_step(session, 0, step, &err) != NIB_OK) return cli_error(&err);
    }
    return CLI_OK;
}

/* {"text":"...","score":-1.25}, best first */
static int print_lines(const nib_session *session, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        nib_error err;
        nib_beam_result result = {.struct_size = sizeof result};
        if (nib_beam_get_result(session, i, &result, &err) != NIB_OK) return cli_error(&err);
        n = result.n_results;
        fputs("{\"text\":", stdout);
        cli_json_string(stdout, result.text, result.text_len);
        fprintf(stdout, ",\"score\":%.6f}\n", result.score);
    }
    return CLI_OK;
}

int cli_beam(nib_session *session, nib_text prompt, const nib_beam_options *options,
             uint32_t *reason)
{
    nib_step step = {.struct_size = sizeof step};
    int status = search(session, prompt, options, &step);
    if (status == CLI_OK && options->n_results > 1) {
        status = print_lines(session, options->n_results);
    } else if (status == CLI_OK) {
        fwrite(step.text, 1, step.text_len, stdout);
        if (isatty(STDOUT_FILENO)) fputc('\n', stdout);
    }
    *reason = step.stop_reason;
    return status == CLI_OK ? cli_close_stdout() : status;
}
