/* SPDX-License-Identifier: MIT
 * nibble tokenize: standard input to token ids and back; no weights are loaded. */
#define _GNU_SOURCE /* getline */
#include "cli.h"

#include <stdlib.h>

static const char help[] =
    "usage: nibble tokenize -m MODEL [--decode] [--special] [--bos] [--jsonl] < INPUT\n"
    "\n"
    "Turns the bytes of standard input into token ids on one line, separated by blanks.\n"
    "\n"
    "      --decode          ids (separated by blanks or commas) to the bytes they stand for\n"
    "      --special         let \"<|endoftext|>\" and the like become their special token; with\n"
    "                        --decode: write special tokens as their text\n"
    "      --bos             put begin and end tokens where the model expects them\n"
    "      --jsonl           lines {\"text\":...} to lines {\"ids\":[...]}; with --decode the "
    "other\n"
    "                        way. Bytes that are not UTF-8 are \\udc80 .. \\udcff, as in Python's\n"
    "                        surrogateescape\n";

enum { OPT_DECODE = OPT_OWN, OPT_SPECIAL, OPT_BOS, OPT_JSONL };

static const struct option long_options[] = {
    {"decode", no_argument, NULL, OPT_DECODE},
    {"special", no_argument, NULL, OPT_SPECIAL},
    {"bos", no_argument, NULL, OPT_BOS},
    {"jsonl", no_argument, NULL, OPT_JSONL},
    {NULL, 0, NULL, 0},
};

static int text_to_ids(const nib_model *model, uint32_t flags, const cli_buffer *text,
                       int32_t **ids, size_t *n_ids)
{
    nib_error err;
    size_t cap = text->len + 16;
    for (;;) {
        *ids = malloc(cap * sizeof **ids);
        if (*ids == NULL) return cli_failed("out of memory: %zu ids", cap);
        nib_status status =
            nib_tokenize(model, text->data, text->len, flags, *ids, cap, n_ids, &err);
        if (status == NIB_OK) return CLI_OK;
        free(*ids);
        *ids = NULL;
        if (status != NIB_ERR_LIMIT || *n_ids <= cap) return cli_error(&err);
        cap = *n_ids;
    }
}

static int ids_to_text(const nib_model *model, uint32_t flags, const int32_t *ids, size_t n_ids,
                       cli_buffer *text)
{
    nib_error err;
    size_t len = 0;
    nib_status status = nib_detokenize(model, ids, n_ids, flags, NULL, 0, &len, &err);
    if (status != NIB_OK && status != NIB_ERR_LIMIT) return cli_error(&err);
    text->data = malloc(len + 1);
    if (text->data == NULL) return cli_failed("out of memory: %zu bytes", len);
    status = nib_detokenize(model, ids, n_ids, flags, text->data, len, &text->len, &err);
    return status == NIB_OK ? CLI_OK : cli_error(&err);
}

static void print_ids(const int32_t *ids, size_t n_ids, const char *separator)
{
    for (size_t i = 0; i < n_ids; i++) printf("%s%d", i == 0 ? "" : separator, ids[i]);
}

/* Everything on standard input is one text, or one list of ids. */
static int convert_all(const nib_model *model, uint32_t flags, int decode)
{
    cli_buffer input = {0}, text = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int status = cli_read_file("-", &input);
    if (status == CLI_OK && decode) {
        status = cli_read_ids(input.data, input.len, &ids, &n_ids) == CLI_OK ? CLI_OK : CLI_FAILED;
        if (status == CLI_OK) status = ids_to_text(model, flags, ids, n_ids, &text);
        if (status == CLI_OK) fwrite(text.data, 1, text.len, stdout);
    } else if (status == CLI_OK) {
        status = text_to_ids(model, flags, &input, &ids, &n_ids);
        if (status == CLI_OK) {
            print_ids(ids, n_ids, " ");
            putchar('\n');
        }
    }
    free(ids);
    free(text.data);
    free(input.data);
    return status;
}

static int convert_line(const nib_model *model, uint32_t flags, int decode, const char *line,
                        size_t len, size_t number)
{
    cli_buffer text = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int status;
    if (decode) {
        status = cli_json_ids(line, len, number, &ids, &n_ids);
        if (status == CLI_OK) status = ids_to_text(model, flags, ids, n_ids, &text);
        if (status == CLI_OK) {
            fputs("{\"text\":", stdout);
            cli_json_string(stdout, text.data, text.len);
            fputs("}\n", stdout);
        }
    } else {
        status = cli_json_text(line, len, number, &text);
        if (status == CLI_OK) status = text_to_ids(model, flags, &text, &ids, &n_ids);
        if (status == CLI_OK) {
            fputs("{\"ids\":[", stdout);
            print_ids(ids, n_ids, ",");
            fputs("]}\n", stdout);
        }
    }
    free(ids);
    free(text.data);
    return status;
}

static int convert_lines(const nib_model *model, uint32_t flags, int decode)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    ssize_t len;
    int status = CLI_OK;
    while (status == CLI_OK && (len = getline(&line, &cap, stdin)) != -1) {
        number++;
        if (len > 0 && line[len - 1] == '\n') len--;
        if (len == 0) continue;
        status = convert_line(model, flags, decode, line, (size_t)len, number);
        fflush(stdout);
    }
    free(line);
    return status;
}

int cmd_tokenize(int argc, char **argv)
{
    cli_common common;
    uint32_t flags = 0;
    int decode = 0, jsonl = 0, option, status;
    nib_model *model = NULL;
    cli_common_init(&common);
    while ((option = cli_getopt(argc, argv, "", long_options)) != -1) {
        status = CLI_OK;
        if (option == OPT_DECODE)
            decode = 1;
        else if (option == OPT_SPECIAL)
            flags |= NIB_TOKENIZE_SPECIAL;
        else if (option == OPT_BOS)
            flags |= NIB_TOKENIZE_BOS;
        else if (option == OPT_JSONL)
            jsonl = 1;
        else
            status = cli_common_option(&common, option, argv, help);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    status = cli_common_check(&common, argc, argv);
    if (status == CLI_OK && decode && flags & NIB_TOKENIZE_BOS)
        status = cli_usage("--bos does not go with --decode");
    if (status == CLI_OK) status = cli_open(&common, NIB_OPEN_INSPECT, &model);
    if (status == CLI_OK)
        status = jsonl ? convert_lines(model, flags, decode) : convert_all(model, flags, decode);
    nib_model_free(model);
    int closed = cli_close_stdout();
    return status != CLI_OK ? status : closed;
}
