/* SPDX-License-Identifier: MIT
 * nibble logits: raw float32 logits after each of the given ids, for tests and comparisons. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help[] =
    "usage: nibble logits -m MODEL --ids 1,2,3 [--encoder-ids 4,5] [--step] -o OUT\n"
    "\n"
    "Writes little-endian float32 [ids][vocabulary] to OUT, which appears when it is complete.\n"
    "Of an encoder alone: hidden states [ids][width].\n"
    "\n"
    "      --ids IDS         token ids, separated by commas or blanks; @FILE reads them from a "
    "file\n"
    "      --encoder-ids IDS what the encoder of an encoder-decoder reads\n"
    "      --step            one token at a time, through the decode path\n"
    "  -o, --output FILE     where to write\n";

enum { OPT_IDS = OPT_OWN, OPT_STEP, OPT_ENCODER_IDS, CHUNK = 512 };

static const struct option long_options[] = {
    {"ids", required_argument, NULL, OPT_IDS},
    {"encoder-ids", required_argument, NULL, OPT_ENCODER_IDS},
    {"step", no_argument, NULL, OPT_STEP},
    {"output", required_argument, NULL, 'o'},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    cli_common common;
    const char *ids_text, *source_text, *output;
    uint32_t flags;
    int32_t *ids, *source; /* source: for the encoder of an encoder-decoder */
    size_t n_ids, n_source;
} request;

static int read_ids(const char *option, const char *text, int32_t **ids, size_t *n_ids)
{
    cli_buffer buffer = {0};
    int status;
    if (text[0] == '@') {
        status = cli_read_file(text + 1, &buffer);
        if (status == CLI_OK) status = cli_read_ids(buffer.data, buffer.len, ids, n_ids);
        free(buffer.data);
    } else {
        status = cli_read_ids(text, strlen(text), ids, n_ids);
    }
    if (status == CLI_OK && *n_ids == 0) status = cli_usage("%s: no ids given", option);
    return status;
}

/* An encoder alone: the hidden state of every position. */
static int write_hidden(const request *r, const nib_model_info *info, nib_session *session,
                        FILE *file)
{
    nib_error err;
    int status = CLI_OK;
    float *hidden = malloc(r->n_ids * info->n_embd * sizeof *hidden);
    if (hidden == NULL) return cli_failed("out of memory: %zu hidden states", r->n_ids);
    if (nib_session_embed(session, r->ids, r->n_ids, 0, hidden, &err) != NIB_OK)
        status = cli_error(&err);
    else if (fwrite(hidden, sizeof *hidden * info->n_embd, r->n_ids, file) != r->n_ids)
        status = cli_failed("%s: %s", r->output, strerror(errno));
    free(hidden);
    return status;
}

/* Rows of CHUNK positions at a time: the whole matrix of a large vocabulary would not fit memory.
 */
static int write_rows(const request *r, const nib_model *model, nib_session *session, FILE *file)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_error err;
    size_t chunk = r->common.n_batch != 0 ? r->common.n_batch : CHUNK;
    if (nib_model_get_info(model, &info) != NIB_OK)
        return cli_failed("no information on the model");
    if (info.kind == NIB_MODEL_ENCODER) return write_hidden(r, &info, session, file);
    if (info.kind == NIB_MODEL_ENCODER_DECODER && r->source == NULL)
        return cli_usage("--encoder-ids is needed: the model is an encoder-decoder");
    if (info.kind == NIB_MODEL_DECODER && r->source != NULL)
        return cli_usage("--encoder-ids: the model has no encoder");
    if (r->source != NULL &&
        nib_session_set_source(session, r->source, r->n_source, &err) != NIB_OK)
        return cli_error(&err);
    if (chunk > r->n_ids) chunk = r->n_ids;
    float *logits = malloc(chunk * info.n_vocab * sizeof *logits);
    if (logits == NULL) return cli_failed("out of memory: %zu rows of logits", chunk);
    int status = CLI_OK;
    for (size_t at = 0; at < r->n_ids && status == CLI_OK; at += chunk) {
        size_t n = r->n_ids - at < chunk ? r->n_ids - at : chunk;
        if (nib_session_eval_logits(session, r->ids + at, n, r->flags, logits, &err) != NIB_OK)
            status = cli_error(&err);
        else if (fwrite(logits, sizeof *logits * info.n_vocab, n, file) != n)
            status = cli_failed("%s: %s", r->output, strerror(errno));
    }
    free(logits);
    return status;
}

static int evaluate(const request *r, const nib_model *model, nib_session *session)
{
    struct stat st;
    char temporary[4096];
    int direct = stat(r->output, &st) == 0 && !S_ISREG(st.st_mode); /* e.g. /dev/stdout */
    int n = snprintf(temporary, sizeof temporary, direct ? "%s" : "%s.partial", r->output);
    if (n < 0 || (size_t)n >= sizeof temporary) return cli_usage("%s: name too long", r->output);
    FILE *file = fopen(temporary, "wb");
    if (file == NULL) return cli_failed("%s: %s", temporary, strerror(errno));
    int status = write_rows(r, model, session, file);
    if (fclose(file) != 0 && status == CLI_OK)
        status = cli_failed("%s: %s", temporary, strerror(errno));
    if (direct) return status;
    if (status == CLI_OK && rename(temporary, r->output) != 0)
        status = cli_failed("%s: %s", r->output, strerror(errno));
    if (status != CLI_OK) unlink(temporary);
    return status;
}

static int run(request *r)
{
    nib_model *model = NULL;
    nib_session *session = NULL;
    size_t most = r->n_ids > r->n_source ? r->n_ids : r->n_source;
    if (most > UINT32_MAX) return cli_usage("--ids: too many");
    if (r->common.n_ctx == 0) r->common.n_ctx = (uint32_t)most;
    int status = cli_open(&r->common, 0, &model);
    if (status == CLI_OK) status = cli_session(&r->common, model, &session);
    if (status == CLI_OK) status = evaluate(r, model, session);
    cli_on_interrupt(NULL);
    nib_session_free(session);
    nib_model_free(model);
    return status;
}

int cmd_logits(int argc, char **argv)
{
    request r = {0};
    int option, status;
    cli_common_init(&r.common);
    while ((option = cli_getopt(argc, argv, "o:", long_options)) != -1) {
        status = CLI_OK;
        if (option == OPT_IDS)
            r.ids_text = optarg;
        else if (option == OPT_STEP)
            r.flags |= NIB_EVAL_STEPWISE;
        else if (option == OPT_ENCODER_IDS)
            r.source_text = optarg;
        else if (option == 'o')
            r.output = optarg;
        else
            status = cli_common_option(&r.common, option, argv, help);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    status = cli_common_check(&r.common, argc, argv);
    if (status != CLI_OK) return status;
    if (r.ids_text == NULL || r.output == NULL) return cli_usage("--ids and -o are needed");
    status = read_ids("--ids", r.ids_text, &r.ids, &r.n_ids);
    if (status == CLI_OK && r.source_text != NULL)
        status = read_ids("--encoder-ids", r.source_text, &r.source, &r.n_source);
    if (status == CLI_OK) status = run(&r);
    free(r.ids);
    free(r.source);
    return status;
}
