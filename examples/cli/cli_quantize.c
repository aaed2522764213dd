/* SPDX-License-Identifier: MIT
 * nibble quantize: writes a model in another form. */
#include "cli.h"

#include <string.h>

static const char help[] =
    "usage: nibble quantize -m IN -o OUT --scheme repack\n"
    "\n"
    "Writes the model IN to OUT, which appears only once it is whole.\n"
    "\n"
    "  -o, --output FILE     the file to write\n"
    "      --scheme S        repack: the same numbers, laid out as nibble computes with them: the\n"
    "                        file is used where it lies, and opens at once\n"
    "      --calib FILE      text for schemes that measure the model (none of these yet)\n";

enum { OPT_SCHEME = OPT_OWN, OPT_CALIB };

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"scheme", required_argument, NULL, OPT_SCHEME},
    {"calib", required_argument, NULL, OPT_CALIB},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    cli_common common;
    const char *output, *scheme, *calib;
} request;

static int set_option(request *r, int option, char **argv)
{
    switch (option) {
    case 'o': r->output = optarg; return CLI_OK;
    case OPT_SCHEME: r->scheme = optarg; return CLI_OK;
    case OPT_CALIB: r->calib = optarg; return CLI_OK;
    default: return cli_common_option(&r->common, option, argv, help);
    }
}

static int check(const request *r)
{
    if (r->output == NULL) return cli_usage("no output given; use -o FILE");
    if (r->scheme == NULL) return cli_usage("no scheme given; use --scheme repack");
    if (strcmp(r->scheme, "repack") != 0)
        return cli_usage("--scheme: expected repack, got '%s'", r->scheme);
    if (r->calib != NULL) return cli_usage("--calib: scheme repack measures nothing");
    return CLI_OK;
}

static int run(const request *r)
{
    nib_quantize_options options;
    nib_error err;
    cli_bar bar;
    nib_quantize_options_init(&options, sizeof options);
    options.scheme = NIB_SCHEME_REPACK;
    options.n_threads = r->common.threads;
    options.progress = cli_progress;
    options.progress_user = &bar;
    cli_on_interrupt(NULL);
    cli_bar_begin(&bar, "writing");
    nib_status status = nib_quantize(r->common.model, r->output, &options, &err);
    cli_bar_end(&bar);
    return status == NIB_OK ? CLI_OK : cli_error(&err);
}

int cmd_quantize(int argc, char **argv)
{
    request r = {0};
    int option, status;
    cli_common_init(&r.common);
    while ((option = cli_getopt(argc, argv, "o:", long_options)) != -1) {
        status = set_option(&r, option, argv);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    status = cli_common_check(&r.common, argc, argv);
    if (status == CLI_OK) status = check(&r);
    return status == CLI_OK ? run(&r) : status;
}
