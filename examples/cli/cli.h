/* SPDX-License-Identifier: MIT
 * What the commands of `nibble` share. The tool uses the public header only: everything it does, a
 * program of yours can do. */
#ifndef NIBBLE_CLI_H
#define NIBBLE_CLI_H

#include <getopt.h>
#include <stdio.h>

#include "nibble.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_INTERRUPTED = 130, CLI_DONE = -1 };

/* Each command: arguments as in main, argv[0] being its name; returns the exit status. */
int cmd_complete(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_quantize(int argc, char **argv);

/* ---- errors: one line on stderr ---- */

int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));  /* CLI_USAGE */
int cli_failed(const char *format, ...) __attribute__((format(printf, 1, 2))); /* CLI_FAILED */
int cli_error(
    const nib_error *err); /* CLI_USAGE for a wrong argument, CLI_INTERRUPTED, CLI_FAILED */

/* ---- options every command knows ---- */

typedef struct cli_common {
    const char *model;  /* -m */
    uint32_t threads;   /* -t; default: the CPUs this process may use */
    uint32_t precision; /* --precision */
    uint32_t n_ctx;     /* --ctx; 0: the library's choice */
    uint32_t n_batch;   /* --batch; 0: the library's choice */
    uint32_t kv_type;   /* --kv */
    uint32_t load;      /* --load: NIB_LOAD_* */
    const char *isa;    /* --isa */
    const char *cache;  /* --cache: NULL, or a folder */
} cli_common;

enum { OPT_ISA = 256, OPT_PRECISION, OPT_CTX, OPT_BATCH, OPT_KV, OPT_LOAD, OPT_CACHE, OPT_HELP, OPT_OWN };

extern const char cli_common_help[];

void cli_common_init(cli_common *common);

/* getopt_long over a command's own options and the common ones; at most 32 of its own. */
int cli_getopt(int argc, char **argv, const char *own_short, const struct option *own_long);

/* Handles a result of cli_getopt that is not the command's own: CLI_OK to go on, CLI_DONE to end
 * with success (after --help), else the exit status. */
int cli_common_option(cli_common *common, int option, char **argv, const char *help);

/* After the last option: nothing may be left over and a model is needed. 0 or CLI_USAGE. */
int cli_common_check(const cli_common *common, int argc, char **argv);

/* Whole decimal numbers and fractions within [least, most]; CLI_USAGE if text is anything else. */
int cli_u64(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *value);
int cli_u32(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *value);
int cli_double(const char *option, const char *text, double least, double most, double *value);
int cli_float(const char *option, const char *text, double least, double most, float *value);

/* ---- model and session ---- */

/* Opens the model, with a progress bar if stderr is a terminal. CLI_OK or the exit status. */
int cli_open(const cli_common *common, uint32_t flags, nib_model **model);
int cli_session(const cli_common *common, nib_model *model, nib_session **session);

/* A progress bar on stderr, if that is a terminal; a cli_bar is the `user` of cli_progress. */
typedef struct cli_bar {
    const char *what;
    double start;
    int shown, percent;
} cli_bar;
void cli_bar_begin(cli_bar *bar, const char *what);
int32_t cli_progress(void *user, double fraction); /* non-zero after Ctrl-C */
void cli_bar_end(cli_bar *bar);

/* Ctrl-C cancels the session's call in progress (NULL: none) or a load. */
void cli_on_interrupt(nib_session *session);
int cli_interrupted(void);

/* Writes n completions of one prompt as lines of JSON. `begin` starts number i of them. */
int cli_suggest(const cli_common *common, nib_model *model, nib_session *session, uint32_t n,
                int (*begin)(void *arg, nib_session *session, uint32_t number), void *arg);

/* Writes the best text by beam search, or n_results of them as lines of JSON; why the best ended goes to
 * *reason. */
int cli_beam(nib_session *session, nib_text prompt, const nib_beam_options *options,
             uint32_t *reason);

double cli_now(void); /* seconds, monotonic */
uint64_t cli_peak_rss(void);

/* ---- bytes and JSON ---- */

typedef struct cli_buffer {
    char *data;
    size_t len, cap;
} cli_buffer;

int cli_append(cli_buffer *buffer, const void *data, size_t len); /* CLI_OK or CLI_FAILED */
int cli_read_file(const char *path, cli_buffer *buffer);          /* "-": standard input */
int cli_read_ids(const char *text, size_t len, int32_t **ids, size_t *n_ids); /* "1, 2 3" */
int cli_close_stdout(void); /* CLI_FAILED if anything could not be written */

/* Writes a JSON string. Bytes that are not UTF-8 become the lone surrogates \udc80 .. \udcff, as
 * Python's "surrogateescape" does, and are read back from them: any bytes survive. */
void cli_json_string(FILE *out, const char *text, size_t len);

/* One line of input: an object of which one member is wanted. CLI_OK, or CLI_FAILED after a message
 * that names the line. */
int cli_json_text(const char *line, size_t len, size_t number, cli_buffer *text);
int cli_json_ids(const char *line, size_t len, size_t number, int32_t **ids, size_t *n_ids);

#endif
