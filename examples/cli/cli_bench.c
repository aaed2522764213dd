/* SPDX-License-Identifier: MIT
 * nibble bench: speed of prompt and generation, by the wall clock, through the public API. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: nibble bench -m MODEL [-p 512] [-n 128] [-r 3] [--json]\n"
    "\n"
    "  -p, --prompt N        prompt tokens (default 512)\n"
    "  -n, --generate N      tokens to generate (default 128)\n"
    "  -r, --repeat N        runs, of which the median is reported (default 3)\n"
    "      --json            one JSON object\n";

static const struct option long_options[] = {
    {"prompt", required_argument, NULL, 'p'},
    {"generate", required_argument, NULL, 'n'},
    {"repeat", required_argument, NULL, 'r'},
    {"json", no_argument, NULL, OPT_OWN},
    {NULL, 0, NULL, 0},
};

typedef struct request {
    cli_common common;
    uint32_t n_prompt, n_generate, n_repeat;
    int json;
} request;

typedef struct times {
    double *prefill, *first, *decode; /* [n_repeat] seconds */
} times;

/* Any ids do: the work does not depend on them. Spread over the vocabulary, none of them special as
 * far as the first and last thousand go. */
static void fill_ids(int32_t *ids, uint32_t n, uint32_t n_vocab)
{
    uint64_t state = 1;
    uint32_t range = n_vocab > 4000 ? n_vocab - 2000 : n_vocab;
    for (uint32_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (int32_t)((state >> 33) % range + (n_vocab - range) / 2);
    }
}

/* One cold prompt and the generation after it. */
static int measure(const request *r, nib_session *session, const int32_t *ids, double *prefill,
                   double *first, double *decode)
{
    nib_complete_options options;
    nib_step step = {.struct_size = sizeof step};
    nib_error err;
    nib_complete_options_init(&options, sizeof options);
    options.max_tokens = r->n_generate;
    options.ignore_end = 1;
    if (nib_session_truncate(session, 0, &err) != NIB_OK) return cli_error(&err);
    if (nib_session_append(session, ids, r->n_prompt, &err) != NIB_OK) return cli_error(&err);
    double start = cli_now();
    if (nib_session_eval(session, &err) != NIB_OK) return cli_error(&err);
    *prefill = cli_now() - start;
    if (nib_complete_begin_tokens(session, &options, &err) != NIB_OK) return cli_error(&err);
    size_t generated = 0;
    double first_at = 0;
    while (!step.done) {
        if (nib_session_step(session, 0, &step, &err) != NIB_OK) return cli_error(&err);
        if (generated == 0 && step.n_tokens > 0) first_at = cli_now();
        generated += step.n_tokens;
    }
    double end = cli_now();
    if (generated != r->n_generate)
        return cli_failed("generated %zu tokens, expected %u", generated, r->n_generate);
    *first = first_at - start;
    *decode = end - first_at; /* of all but the first */
    return CLI_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void report(const request *r, const nib_model *model, const nib_session *session,
                   double load, const times *t)
{
    nib_model_info info = {.struct_size = sizeof info};
    nib_session_stats stats = {.struct_size = sizeof stats};
    if (nib_model_get_info(model, &info) != NIB_OK) return;
    if (nib_session_get_stats(session, &stats) != NIB_OK) return;
    double prefill = r->n_prompt / median(t->prefill, r->n_repeat);
    double first = 1e3 * median(t->first, r->n_repeat);
    double decode = 0;
    if (r->n_generate > 1) decode = (r->n_generate - 1) / median(t->decode, r->n_repeat);
    unsigned long long rss = cli_peak_rss();
    if (r->json) {
        printf("{\"model\":");
        cli_json_string(stdout, info.name, strlen(info.name));
        printf(",\"n_prompt\":%u,\"n_generate\":%u,\"runs\":%u,\"prefill_tok_s\":%.2f,"
               "\"decode_tok_s\":%.2f,\"ttft_ms\":%.1f,\"load_ms\":%.1f,\"peak_rss_bytes\":%llu,",
               r->n_prompt, r->n_generate, r->n_repeat, prefill, decode, first, load * 1e3, rss);
        printf("\"isa\":");
        cli_json_string(stdout, info.isa, strlen(info.isa));
        printf(",\"threads\":%u}\n", stats.n_threads);
        return;
    }
    printf("%s: %s, %u threads, median of %u\n", info.name, info.isa, stats.n_threads, r->n_repeat);
    printf("prompt      %8.1f tok/s  (%u tokens; fastest run %.1f)\n", prefill, r->n_prompt,
           r->n_prompt / t->prefill[0]);
    if (r->n_generate > 1)
        printf("generation  %8.1f tok/s  (%u tokens; fastest run %.1f)\n", decode, r->n_generate,
               (r->n_generate - 1) / t->decode[0]);
    printf("first token %8.0f ms\n", first);
    printf("load        %8.0f ms\n", load * 1e3);
    printf("peak memory %8.0f MB\n", (double)rss / 1e6);
}

static int run(const request *r, const nib_model *model, nib_session *session, double load)
{
    nib_model_info info = {.struct_size = sizeof info};
    int status = CLI_OK;
    if (nib_model_get_info(model, &info) != NIB_OK)
        return cli_failed("no information on the model");
    int32_t *ids = malloc(r->n_prompt * sizeof *ids);
    double *values = calloc(3 * (size_t)r->n_repeat, sizeof *values);
    if (ids == NULL || values == NULL) {
        free(ids);
        free(values);
        return cli_failed("out of memory");
    }
    times t = {values, values + r->n_repeat, values + 2 * (size_t)r->n_repeat};
    fill_ids(ids, r->n_prompt, info.n_vocab);
    for (uint32_t i = 0; i < r->n_repeat && status == CLI_OK; i++)
        status = measure(r, session, ids, &t.prefill[i], &t.first[i], &t.decode[i]);
    if (status == CLI_OK) {
        report(r, model, session, load, &t);
        status = cli_close_stdout();
    }
    free(ids);
    free(values);
    return status;
}

static int set_option(request *r, int option, char **argv)
{
    switch (option) {
    case 'p': return cli_u32("--prompt", optarg, 1, 1 << 20, &r->n_prompt);
    case 'n': return cli_u32("--generate", optarg, 1, 1 << 20, &r->n_generate);
    case 'r': return cli_u32("--repeat", optarg, 1, 1000, &r->n_repeat);
    case OPT_OWN: r->json = 1; return CLI_OK;
    default: return cli_common_option(&r->common, option, argv, help);
    }
}

int cmd_bench(int argc, char **argv)
{
    request r = {.n_prompt = 512, .n_generate = 128, .n_repeat = 3};
    nib_model *model = NULL;
    nib_session *session = NULL;
    int option, status;
    cli_common_init(&r.common);
    while ((option = cli_getopt(argc, argv, "p:n:r:", long_options)) != -1) {
        status = set_option(&r, option, argv);
        if (status != CLI_OK) return status == CLI_DONE ? CLI_OK : status;
    }
    status = cli_common_check(&r.common, argc, argv);
    if (status != CLI_OK) return status;
    if (r.common.n_ctx == 0) r.common.n_ctx = r.n_prompt + r.n_generate;
    double start = cli_now();
    status = cli_open(&r.common, 0, &model);
    double load = cli_now() - start;
    if (status == CLI_OK) status = cli_session(&r.common, model, &session);
    if (status == CLI_OK) status = run(&r, model, session, load);
    cli_on_interrupt(NULL);
    nib_session_free(session);
    nib_model_free(model);
    return status;
}
