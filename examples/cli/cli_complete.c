/* SPDX-License-Identifier: MIT
 * nibble complete: continues a text or fills in the middle of a file, as it is generated. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: nibble complete -m MODEL (-p TEXT | -f FILE [--cursor LINE:COL]) [options]\n"
    "\n"
    "Writes the completion, and nothing else, to standard output. Greedy unless --temp is given.\n"
    "\n"
    "  -p, --prompt TEXT     text to continue\n"
    "  -f, --file FILE       the same from a file; - is standard input\n"
    "      --cursor L:C      fill in at line L (from 1), after C bytes of that line (from 0)\n"
    "      --suffix TEXT     fill in between the prompt and TEXT\n"
    "      --layout L        where fill-in puts the typed part of the line: line (after the "
    "middle\n"
    "                        marker), prefix, or default\n"
    "      --lang NAME       fill-in with PLBART: python, java, en_XX, ...\n"
    "  -n, --max-tokens N    at most N tokens (default 128)\n"
    "      --temp T          temperature (default 0: always the most likely token)\n"
    "      --top-k K  --top-p P  --min-p P  --typical P\n"
    "      --repeat-penalty R  --seed S\n"
    "      --stop TEXT       end before TEXT; may be repeated\n"
    "      --single-line     end with the line\n"
    "      --stop-indent N   end before a line indented by less than N\n"
    "      --stop-suffix     end where the text starts to repeat what follows the cursor\n"
    "      --max-time MS     after that end with the line\n"
    "      --n-suggestions N N different completions (with --temp), as lines {\"text\":...}\n"
    "      --beams N         beam search with N beams; with --length-penalty X (default 1),\n"
    "                        --early-stopping, --n-best K (lines {\"text\":...,\"score\":...}),\n"
    "                        --min-tokens N, --no-repeat-ngram N; --no-model-rules leaves out\n"
    "                        those of generation_config.json\n"
    "      --stats           timings and memory to standard error\n";

enum {
    OPT_CURSOR = OPT_OWN,
    OPT_SUFFIX,
    OPT_LAYOUT,
    OPT_LANGUAGE,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_TYPICAL,
    OPT_REPEAT,
    OPT_SEED,
    OPT_STOP,
    OPT_SINGLE_LINE,
    OPT_STOP_INDENT,
    OPT_STOP_SUFFIX,
    OPT_MAX_TIME,
    OPT_STATS,
    OPT_SUGGESTIONS,
    OPT_BEAMS,
    OPT_LENGTH_PENALTY,
    OPT_EARLY_STOPPING,
    OPT_N_BEST,
    OPT_MIN_TOKENS,
    OPT_NO_REPEAT,
    OPT_NO_RULES
};

static const struct option long_options[] = {
    {"prompt", required_argument, NULL, 'p'},
    {"file", required_argument, NULL, 'f'},
    {"max-tokens", required_argument, NULL, 'n'},
    {"cursor", required_argument, NULL, OPT_CURSOR},
    {"suffix", required_argument, NULL, OPT_SUFFIX},
    {"layout", required_argument, NULL, OPT_LAYOUT},
    {"lang", required_argument, NULL, OPT_LANGUAGE},
    {"temp", required_argument, NULL, OPT_TEMP},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"min-p", required_argument, NULL, OPT_MIN_P},
    {"typical", required_argument, NULL, OPT_TYPICAL},
    {"repeat-penalty", required_argument, NULL, OPT_REPEAT},
    {"seed", required_argument, NULL, OPT_SEED},
    {"stop", required_argument, NULL, OPT_STOP},
    {"single-line", no_argument, NULL, OPT_SINGLE_LINE},
    {"stop-indent", required_argument, NULL, OPT_STOP_INDENT},
    {"stop-suffix", no_argument, NULL, OPT_STOP_SUFFIX},
    {"max-time", required_argument, NULL, OPT_MAX_TIME},
    {"stats", no_argument, NULL, OPT_STATS},
    {"n-suggestions", required_argument, NULL, OPT_SUGGESTIONS},
    {"beams", required_argument, NULL, OPT_BEAMS},
    {"length-penalty", required_argument, NULL, OPT_LENGTH_PENALTY},
    {"early-stopping", no_argument, NULL, OPT_EARLY_STOPPING},
    {"n-best", required_argument, NULL, OPT_N_BEST},
    {"min-tokens", required_argument, NULL, OPT_MIN_TOKENS},
    {"no-repeat-ngram", required_argument, NULL, OPT_NO_REPEAT},
    {"no-model-rules", no_argument, NULL, OPT_NO_RULES},
    {NULL, 0, NULL, 0},
};

enum { MAX_STOPS = 32 };

typedef struct request {
    cli_common common;
    nib_complete_options options;
    nib_beam_options beams;
    nib_text stops[MAX_STOPS];
    const char *prompt, *file, *cursor, *suffix, *language;
    uint32_t layout, n_suggestions;
    int stats, search;      /* search: --beams was given */
    cli_buffer text;        /* of the prompt, or of the file */
    nib_text before, after; /* of the cursor */
    int fill;               /* 1: fill in the middle */
} request;

static int set_layout(request *r, const char *text)
{
    if (!strcmp(text, "default"))
        r->layout = NIB_FIM_LAYOUT_DEFAULT;
    else if (!strcmp(text, "line"))
        r->layout = NIB_FIM_LAYOUT_LINE_LAST;
    else if (!strcmp(text, "prefix"))
        r->layout = NIB_FIM_LAYOUT_PREFIX;
    else
        return cli_usage("--layout: expected line, prefix or default, got '%s'", text);
    return CLI_OK;
}

static int add_stop(request *r, const char *text)
{
    if (*text == '\0') return cli_usage("--stop: empty text");
    if (r->options.n_stops == MAX_STOPS) return cli_usage("--stop: at most %d", MAX_STOPS);
    r->stops[r->options.n_stops++] = (nib_text){text, strlen(text)};
    return CLI_OK;
}

static int set_option(request *r, int option, char **argv)
{
    nib_complete_options *o = &r->options;
    switch (option) {
    case 'p': r->prompt = optarg; return CLI_OK;
    case 'f': r->file = optarg; return CLI_OK;
    case 'n': return cli_u32("--max-tokens", optarg, 1, INT32_MAX, &o->max_tokens);
    case OPT_CURSOR: r->cursor = optarg; return CLI_OK;
    case OPT_SUFFIX: r->suffix = optarg; return CLI_OK;
    case OPT_LAYOUT: return set_layout(r, optarg);
    case OPT_LANGUAGE: r->language = optarg; return CLI_OK;
    case OPT_TEMP: return cli_float("--temp", optarg, 0, 100, &o->temperature);
    case OPT_TOP_K: return cli_u32("--top-k", optarg, 0, INT32_MAX, &o->top_k);
    case OPT_TOP_P: return cli_float("--top-p", optarg, 0, 1, &o->top_p);
    case OPT_MIN_P: return cli_float("--min-p", optarg, 0, 1, &o->min_p);
    case OPT_TYPICAL: return cli_float("--typical", optarg, 0, 1, &o->typical_p);
    case OPT_REPEAT: return cli_float("--repeat-penalty", optarg, 0.01, 100, &o->repeat_penalty);
    case OPT_SEED: return cli_u64("--seed", optarg, 0, UINT64_MAX, &o->seed);
    case OPT_STOP: return add_stop(r, optarg);
    case OPT_SINGLE_LINE: o->single_line = 1; return CLI_OK;
    case OPT_STOP_INDENT: return cli_u32("--stop-indent", optarg, 1, 1024, &o->stop_indent);
    case OPT_STOP_SUFFIX: o->stop_suffix = 1; return CLI_OK;
    case OPT_MAX_TIME: return cli_u32("--max-time", optarg, 1, INT32_MAX, &o->max_time_ms);
    case OPT_STATS: r->stats = 1; return CLI_OK;
    case OPT_SUGGESTIONS: return cli_u32("--n-suggestions", optarg, 1, 256, &r->n_suggestions);
    case OPT_BEAMS: r->search = 1; return cli_u32("--beams", optarg, 1, 16, &r->beams.n_beams);
    case OPT_LENGTH_PENALTY:
        return cli_double("--length-penalty", optarg, -10, 10, &r->beams.length_penalty);
    case OPT_EARLY_STOPPING: r->beams.early_stopping = NIB_BEAM_STOP_EARLY; return CLI_OK;
    case OPT_N_BEST: return cli_u32("--n-best", optarg, 1, 16, &r->beams.n_results);
    case OPT_MIN_TOKENS: return cli_u32("--min-tokens", optarg, 1, INT32_MAX, &r->beams.min_tokens);
    case OPT_NO_REPEAT:
        return cli_u32("--no-repeat-ngram", optarg, 1, INT32_MAX, &r->beams.no_repeat_ngram);
    case OPT_NO_RULES: r->beams.rules = NIB_BEAM_RULES_OPTIONS; return CLI_OK;
    default: return cli_common_option(&r->common, option, argv, help);
    }
}

/* Splits the file's text at LINE:COL. */
static int split_at_cursor(request *r)
{
    char *colon = strchr(r->cursor, ':');
    char line_text[24];
    uint64_t line, column;
    size_t n = colon != NULL ? (size_t)(colon - r->cursor) : sizeof line_text;
    if (n >= sizeof line_text) return cli_usage("--cursor: expected LINE:COL, got '%s'", r->cursor);
    memcpy(line_text, r->cursor, n);
    line_text[n] = '\0';
    int status = cli_u64("--cursor, line", line_text, 1, SIZE_MAX, &line);
    if (status == CLI_OK) status = cli_u64("--cursor, column", colon + 1, 0, SIZE_MAX, &column);
    if (status != CLI_OK) return status;

    const char *at = r->text.data, *end = at + r->text.len;
    for (uint64_t i = 1; i < line; i++) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        if (newline == NULL)
            return cli_usage("--cursor: %s has %llu lines, not %llu", r->file,
                             (unsigned long long)i, (unsigned long long)line);
        at = newline + 1;
    }
    const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    size_t length = (size_t)((newline != NULL ? newline : end) - at);
    if (column > length)
        return cli_usage("--cursor: line %llu of %s has %zu bytes, column %llu is beyond it",
                         (unsigned long long)line, r->file, length, (unsigned long long)column);
    size_t before = (size_t)(at - r->text.data) + (size_t)column;
    r->before = (nib_text){r->text.data, before};
    r->after = (nib_text){r->text.data + before, r->text.len - before};
    return CLI_OK;
}

/* Beam search has no use for what shapes or cuts a text that is drawn. */
static int check_beams(const request *r)
{
    nib_beam_options plain;
    const nib_complete_options *o = &r->options;
    nib_beam_options_init(&plain, sizeof plain);
    if (!r->search) {
        if (memcmp(&plain, &r->beams, sizeof plain) == 0) return CLI_OK;
        return cli_usage("--length-penalty, --early-stopping, --n-best, --min-tokens, "
                         "--no-repeat-ngram and --no-model-rules go with --beams");
    }
    if (r->beams.n_results > r->beams.n_beams)
        return cli_usage("--n-best: expected at most %u, the beams", r->beams.n_beams);
    if (r->fill || r->n_suggestions != 0 || o->temperature != 0 || o->n_stops != 0 ||
        o->single_line || o->stop_indent != 0 || o->max_time_ms != 0 || o->repeat_penalty != 1)
        return cli_usage("--beams goes with -n, -p or -f, and its own options only");
    return CLI_OK;
}

static int read_text(request *r)
{
    int status = CLI_OK;
    if ((r->prompt == NULL) == (r->file == NULL))
        return cli_usage("give either -p TEXT or -f FILE");
    if (r->cursor != NULL && r->file == NULL) return cli_usage("--cursor goes with -f FILE");
    if (r->cursor != NULL && r->suffix != NULL)
        return cli_usage("--cursor and --suffix exclude each other");
    if (r->n_suggestions > 1 && r->options.temperature == 0)
        return cli_usage("--n-suggestions: greedy completions are all alike; add --temp");
    r->fill = r->cursor != NULL || r->suffix != NULL;
    if (r->options.stop_suffix && !r->fill)
        return cli_usage("--stop-suffix goes with --cursor or --suffix");
    status = check_beams(r);
    if (status != CLI_OK) return status;
    if (r->file != NULL)
        status = cli_read_file(r->file, &r->text);
    else
        status = cli_append(&r->text, r->prompt, strlen(r->prompt));
    if (status == CLI_OK) status = cli_append(&r->text, "", 1); /* so that data is never NULL */
    if (status != CLI_OK) return status;
    r->text.len--;
    r->before = (nib_text){r->text.data, r->text.len};
    if (r->suffix != NULL) r->after = (nib_text){r->suffix, strlen(r->suffix)};
    return r->cursor != NULL ? split_at_cursor(r) : CLI_OK;
}

/* A long text to be continued gets a context that holds it, as far as the model was trained.
 * Fill-in is cut to the default context instead. */
static int choose_context(request *r, const nib_model *model)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_error err;
    size_t n_ids = 0;
    if (r->common.n_ctx != 0 || r->fill) return CLI_OK;
    nib_status status =
        nib_tokenize(model, r->before.data, r->before.len, NIB_TOKENIZE_BOS, NULL, 0, &n_ids, &err);
    if (status != NIB_OK && status != NIB_ERR_LIMIT) return cli_error(&err);
    if (nib_model_get_info(model, &info) != NIB_OK)
        return cli_failed("no information on the model");
    uint64_t wanted = (uint64_t)n_ids + r->options.max_tokens;
    if (wanted > info.n_ctx_train) wanted = info.n_ctx_train;
    if (wanted > 4096) r->common.n_ctx = (uint32_t)wanted;
    return CLI_OK;
}

static int begin(request *r, nib_session *session)
{
    nib_error err;
    nib_status status;
    if (r->fill) {
        nib_fim fim;
        nib_fim_init(&fim, sizeof fim);
        fim.layout = r->layout;
        fim.prefix = r->before;
        fim.suffix = r->after;
        if (r->language != NULL) fim.language = (nib_text){r->language, strlen(r->language)};
        status = nib_fim_begin(session, &fim, &r->options, &err);
    } else {
        status = nib_complete_begin(session, r->before.data, r->before.len, &r->options, &err);
    }
    return status == NIB_OK ? CLI_OK : cli_error(&err);
}

/* Number i of several suggestions: as with --seed S+i. */
static int begin_number(void *arg, nib_session *session, uint32_t number)
{
    request r = *(const request *)arg;
    r.options.seed += number;
    return begin(&r, session);
}

static void print_stats(const nib_session *session, const nib_model *model, double load,
                        double first, uint32_t reason)
{
    static const char *const reasons[] = {"none",      "end token", "length",
                                          "stop text", "line end",  "indentation",
                                          "suffix",    "time",      "context full"};
    nib_session_stats s = {.struct_size = sizeof s};
    nib_model_info info = {.struct_size = sizeof info};
    if (nib_session_get_stats(session, &s) != NIB_OK || nib_model_get_info(model, &info) != NIB_OK)
        return;
    double prefill = (double)s.prefill_ns * 1e-9, decode = (double)s.decode_ns * 1e-9;
    fprintf(stderr, "load %.2f s, %s, %u threads, weights %.0f MB, session %.0f MB, peak %.0f MB\n",
            load, info.isa, s.n_threads, (double)info.weight_bytes / 1e6,
            (double)s.memory_bytes / 1e6, (double)cli_peak_rss() / 1e6);
    fprintf(stderr, "prompt %llu tokens in %.2f s (%.1f tok/s), first token after %.0f ms\n",
            (unsigned long long)s.n_prefill, prefill,
            prefill > 0 ? (double)s.n_prefill / prefill : 0.0, first * 1e3);
    fprintf(stderr, "generated %llu tokens in %.2f s (%.1f tok/s), ended by: %s\n",
            (unsigned long long)s.n_decode, decode, decode > 0 ? (double)s.n_decode / decode : 0.0,
            reason < sizeof reasons / sizeof *reasons ? reasons[reason] : "unknown");
}

static int search(request *r, nib_session *session, const nib_model *model, double load)
{
    uint32_t reason;
    r->beams.max_tokens = r->options.max_tokens;
    int status = cli_beam(session, r->before, &r->beams, &reason);
    if (status == CLI_OK && r->stats) print_stats(session, model, load, 0, reason);
    return status;
}

static int stream(request *r, nib_session *session, const nib_model *model, double load)
{
    nib_step step = {.struct_size = sizeof step};
    nib_error err;
    double start = cli_now(), first = 0;
    char last = '\n';
    int status = begin(r, session);
    while (status == CLI_OK && !step.done) {
        if (nib_session_step(session, 0, &step, &err) != NIB_OK) {
            status = cli_error(&err);
            break;
        }
        if (first == 0 && step.n_tokens > 0) first = cli_now() - start;
        if (step.text_len == 0) continue;
        last = step.text[step.text_len - 1];
        if (fwrite(step.text, 1, step.text_len, stdout) != step.text_len || fflush(stdout) != 0)
            return cli_close_stdout();
    }
    if (last != '\n' && isatty(STDOUT_FILENO)) fputc('\n', stdout);
    if (status == CLI_OK && r->stats) print_stats(session, model, load, first, step.stop_reason);
    return status == CLI_OK ? cli_close_stdout() : status;
}

int cmd_complete(int argc, char **argv)
{
    request r = {0};
    nib_model *model = NULL;
    nib_session *session = NULL;
    int option, status;
    cli_common_init(&r.common);
    nib_complete_options_init(&r.options, sizeof r.options);
    nib_beam_options_init(&r.beams, sizeof r.beams);
    while ((option = cli_getopt(argc, argv, "p:f:n:", long_options)) != -1) {
        status = set_option(&r, option, argv);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    r.options.stops = r.stops;
    status = cli_common_check(&r.common, argc, argv);
    if (status == CLI_OK) status = read_text(&r);
    double start = cli_now();
    if (status == CLI_OK) status = cli_open(&r.common, 0, &model);
    double load = cli_now() - start;
    if (status == CLI_OK) status = choose_context(&r, model);
    if (status == CLI_OK) status = cli_session(&r.common, model, &session);
    if (status == CLI_OK && r.n_suggestions != 0)
        status = cli_suggest(&r.common, model, session, r.n_suggestions, begin_number, &r);
    else if (status == CLI_OK && r.search)
        status = search(&r, session, model, load);
    else if (status == CLI_OK)
        status = stream(&r, session, model, load);
    cli_on_interrupt(NULL);
    nib_session_free(session);
    nib_model_free(model);
    free(r.text.data);
    return status;
}
