/* SPDX-License-Identifier: MIT
 * nibble info: what is in a model file and what running it takes, before loading the weights. */
#include "cli.h"

#include <string.h>

static const char help[] = "usage: nibble info -m MODEL [--json] [--verify]\n"
                           "\n"
                           "      --json            one JSON object\n"
                           "      --verify          compare the weights of a repacked file with "
                           "their checksum\n";

enum { OPT_VERIFY = OPT_OWN + 1 };

static const char *fim_name(uint32_t family)
{
    static const char *const names[] = {"none",       "qwen",      "starcoder", "santacoder",
                                        "starcoder2", "codellama", "codegemma", "deepseek",
                                        "codestral",  "incoder",   "codegen2",  "generic",
                                        "t5",         "byt5",      "bart"};
    return family < sizeof names / sizeof *names ? names[family] : "unknown";
}

static void print_text(const nib_model_info *i, uint32_t n_ctx, uint64_t session_bytes)
{
    printf("name            %s\n", i->name);
    printf(
        "architecture    %s: %u layers, width %u, %u heads (%u for keys) of %u, feed-forward %u\n",
        i->architecture, i->n_layer, i->n_embd, i->n_head, i->n_head_kv, i->head_dim, i->n_ff);
    printf("parameters      %.1f million\n", (double)i->n_params / 1e6);
    printf("formats         %s%s\n", i->formats, i->repacked ? ", repacked" : "");
    printf("tokenizer       %s, %u tokens, fill-in-the-middle: %s\n", i->tokenizer, i->n_vocab,
           fim_name(i->fim_family));
    printf("context         %u positions\n", i->n_ctx_train);
    printf("instruction set %s\n", i->isa);
    printf("bytes in file   %llu\n", (unsigned long long)i->file_bytes);
    printf(
        "bytes to run    %llu: weights %llu, session %llu with %u positions (%llu per position)\n",
        (unsigned long long)(i->weight_bytes + session_bytes), (unsigned long long)i->weight_bytes,
        (unsigned long long)session_bytes, n_ctx, (unsigned long long)i->kv_bytes_per_token);
}

static void json_text(const char *key, const char *value)
{
    printf("\"%s\":", key);
    cli_json_string(stdout, value, strlen(value));
    putchar(',');
}

static void json_number(const char *key, uint64_t value)
{
    printf("\"%s\":%llu,", key, (unsigned long long)value);
}

static void print_json(const nib_model_info *i, uint32_t n_ctx, uint64_t session_bytes)
{
    putchar('{');
    json_text("name", i->name);
    json_text("architecture", i->architecture);
    json_text("formats", i->formats);
    json_text("tokenizer", i->tokenizer);
    json_text("fim", fim_name(i->fim_family));
    json_text("isa", i->isa);
    json_number("repacked", i->repacked);
    json_number("parameters", i->n_params);
    json_number("layers", i->n_layer);
    json_number("embedding", i->n_embd);
    json_number("heads", i->n_head);
    json_number("heads_kv", i->n_head_kv);
    json_number("head_dim", i->head_dim);
    json_number("feed_forward", i->n_ff);
    json_number("vocabulary", i->n_vocab);
    json_number("context_trained", i->n_ctx_train);
    json_number("context", n_ctx);
    json_number("file_bytes", i->file_bytes);
    json_number("weight_bytes", i->weight_bytes);
    json_number("session_bytes", session_bytes);
    json_number("kv_bytes_per_token", i->kv_bytes_per_token);
    printf("\"bytes_to_run\":%llu}\n", (unsigned long long)(i->weight_bytes + session_bytes));
}

static int describe(const cli_common *common, const nib_model *model, int json)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_session_options options;
    nib_error err;
    uint64_t bytes = 0;
    if (nib_model_get_info(model, &info) != NIB_OK)
        return cli_failed("no information on the model");
    nib_session_options_init(&options, sizeof options);
    options.n_ctx = common->n_ctx;
    if (options.n_ctx == 0) options.n_ctx = info.n_ctx_train < 4096 ? info.n_ctx_train : 4096;
    options.n_threads = common->threads;
    options.n_batch = common->n_batch;
    options.kv_type = common->kv_type;
    if (info.n_layer != 0 && nib_session_memory(model, &options, &bytes, &err) != NIB_OK)
        return cli_error(&err);
    if (json)
        print_json(&info, options.n_ctx, bytes);
    else
        print_text(&info, options.n_ctx, bytes);
    return cli_close_stdout();
}

int cmd_info(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, OPT_OWN},
        {"verify", no_argument, NULL, OPT_VERIFY},
        {NULL, 0, NULL, 0},
    };
    cli_common common;
    nib_model *model = NULL;
    uint32_t flags = NIB_OPEN_INSPECT;
    int json = 0, option, status;
    cli_common_init(&common);
    while ((option = cli_getopt(argc, argv, "", long_options)) != -1) {
        status = CLI_OK;
        if (option == OPT_OWN)
            json = 1;
        else if (option == OPT_VERIFY)
            flags |= NIB_OPEN_VERIFY;
        else
            status = cli_common_option(&common, option, argv, help);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    status = cli_common_check(&common, argc, argv);
    if (status == CLI_OK) status = cli_open(&common, flags, &model);
    if (status == CLI_OK) status = describe(&common, model, json);
    nib_model_free(model);
    return status;
}
