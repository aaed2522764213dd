/* SPDX-License-Identifier: MIT
 * What an editor does at each key: fill in at the cursor, reusing what was evaluated before. The
 * second request, one key later, evaluates only the cursor's line again.
 *
 *     03_fill_in_middle models/qwen2.5-coder-1.5b.gguf
 */
#include <stdio.h>
#include <string.h>

#include "nibble.h"

static const char before[] = "def mean(values):\n"
                             "    \"\"\"Arithmetic mean of a non-empty list.\"\"\"\n"
                             "    ret";
static const char after[] = "\n"
                            "\n"
                            "def variance(values):\n"
                            "    m = mean(values)\n"
                            "    return sum((v - m) ** 2 for v in values) / len(values)\n";

static nib_status fill(nib_session *session, size_t cursor, nib_error *err)
{
    nib_fim fim;
    nib_complete_options options;
    nib_step step = {.struct_size = sizeof step};
    nib_session_stats earlier = {.struct_size = sizeof earlier}, stats = earlier;
    nib_fim_init(&fim, sizeof fim);
    fim.prefix = (nib_text){before, cursor};
    fim.suffix = (nib_text){after, strlen(after)};
    nib_complete_options_init(&options, sizeof options);
    options.single_line = 1;
    nib_session_get_stats(session, &earlier);
    nib_status status = nib_fim_begin(session, &fim, &options, err);
    if (status != NIB_OK) return status;
    printf("%.*s[", (int)cursor, before);
    while (status == NIB_OK && !step.done) {
        status = nib_session_step(session, 0, &step, err);
        if (status == NIB_OK) fwrite(step.text, 1, step.text_len, stdout);
    }
    nib_session_get_stats(session, &stats);
    printf("]\n-- %llu tokens evaluated, %llu reused\n\n",
           (unsigned long long)(stats.n_prefill - earlier.n_prefill),
           (unsigned long long)(stats.n_reused - earlier.n_reused));
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2) return fprintf(stderr, "usage: %s MODEL\n", argv[0]), 2;
    nib_model *model = NULL;
    nib_session *session = NULL;
    nib_error err;
    nib_status status = nib_model_open(argv[1], NULL, &model, &err);
    if (status == NIB_OK) status = nib_session_new(model, NULL, &session, &err);
    if (status == NIB_OK) status = fill(session, sizeof before - 3, &err); /* "    r" */
    if (status == NIB_OK) status = fill(session, sizeof before - 1, &err); /* "    ret" */
    if (status != NIB_OK) fprintf(stderr, "%s\n", err.text);
    nib_session_free(session);
    nib_model_free(model);
    return status == NIB_OK ? 0 : 1;
}
