/* SPDX-License-Identifier: MIT
 * Options that every command has, error messages, and opening a model with a progress bar. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

const char cli_common_help[] =
    "  -m, --model PATH      GGUF file (of a split model, any part) or Hugging Face directory\n"
    "      --load FORMAT     weights in memory: stored (as in the file, default), f32, f16,\n"
    "                        bf16 or int8 (8 bits with one scale per row)\n"
    "      --cache DIR       keep packed weights of GGUF files in this folder: the first run\n"
    "                        writes a file as large as the model, later ones start at once\n"
    "  -t, --threads N       threads (default: the CPUs this process may use)\n"
    "      --ctx N           positions in the KV cache (default: as trained, at most 4096)\n"
    "      --batch N         prompt tokens per pass (default 512)\n"
    "      --kv f16|q8       numbers in the KV cache (default f16)\n"
    "      --isa NAME        highest instruction set to use: scalar, avx2, avx512vnni,\n"
    "                        avx512bf16, amx, neon, dotprod ... (default: NIB_ISA, else\n"
    "                        all this CPU has)\n"
    "      --precision P     default, exact, fast or f32 (default: NIB_PRECISION)\n"
    "      --help            this text\n";

/* ---- errors ---------------------------------------------------------------------------------- */

static void say(const char *format, va_list args)
{
    fputs("nibble: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_failed(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_error(const nib_error *err)
{
    if (err->code == NIB_ERR_CANCELLED) return CLI_INTERRUPTED;
    if (err->offset != 0 && err->offset != UINT64_MAX)
        cli_failed("%s (at byte %llu)", err->text, (unsigned long long)err->offset);
    else
        cli_failed("%s", err->text);
    return err->code == NIB_ERR_ARGUMENT ? CLI_USAGE : CLI_FAILED;
}

/* ---- numbers --------------------------------------------------------------------------------- */

int cli_u64(const char *option, const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number < least || number > most)
        return cli_usage("%s: expected a whole number from %llu to %llu, got '%s'", option,
                         (unsigned long long)least, (unsigned long long)most, text);
    *value = number;
    return CLI_OK;
}

int cli_u32(const char *option, const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
    uint64_t number;
    int status = cli_u64(option, text, least, most, &number);
    if (status == CLI_OK) *value = (uint32_t)number;
    return status;
}

int cli_double(const char *option, const char *text, double least, double most, double *value)
{
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= most))
        return cli_usage("%s: expected a number from %g to %g, got '%s'", option, least, most,
                         text);
    *value = number;
    return CLI_OK;
}

int cli_float(const char *option, const char *text, double least, double most, float *value)
{
    double number = 0;
    int status = cli_double(option, text, least, most, &number);
    if (status == CLI_OK) *value = (float)number;
    return status;
}

/* ---- common options -------------------------------------------------------------------------- */

/* CPUs of the affinity mask, less if a cgroup grants less time than that. */
static uint32_t cpu_count(void)
{
    cpu_set_t set;
    int count = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = CPU_COUNT(&set);
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    double quota, period;
    if (file != NULL) {
        if (fscanf(file, "%lf %lf", &quota, &period) == 2 && period > 0 && quota / period < count)
            count = (int)ceil(quota / period);
        fclose(file);
    }
    return count > 0 ? (uint32_t)count : 1;
}

void cli_common_init(cli_common *common)
{
    *common = (cli_common){.threads = cpu_count()};
}

/* Index of `text` among `names`, or CLI_USAGE. */
static int choose(const char *option, const char *text, const char *const *names, uint32_t count,
                  uint32_t *value)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!strcmp(text, names[i])) {
            *value = i;
            return CLI_OK;
        }
    }
    return cli_usage("%s: unknown value '%s'", option, text);
}

int cli_getopt(int argc, char **argv, const char *own_short, const struct option *own_long)
{
    static const struct option common[] = {
        {"model", required_argument, NULL, 'm'},
        {"threads", required_argument, NULL, 't'},
        {"isa", required_argument, NULL, OPT_ISA},
        {"precision", required_argument, NULL, OPT_PRECISION},
        {"ctx", required_argument, NULL, OPT_CTX},
        {"batch", required_argument, NULL, OPT_BATCH},
        {"kv", required_argument, NULL, OPT_KV},
        {"load", required_argument, NULL, OPT_LOAD},
        {"cache", required_argument, NULL, OPT_CACHE},
        {"help", no_argument, NULL, OPT_HELP},
    };
    enum { N_COMMON = sizeof common / sizeof *common, MOST = 32 };
    struct option all[MOST + N_COMMON + 1] = {{0}};
    char letters[64];
    size_t n = 0;
    while (n < MOST && own_long[n].name != NULL) all[n] = own_long[n], n++;
    memcpy(all + n, common, sizeof common);
    snprintf(letters, sizeof letters, ":m:t:%s", own_short);
    opterr = 0;
    return getopt_long(argc, argv, letters, all, NULL);
}

int cli_common_option(cli_common *common, int option, char **argv, const char *help)
{
    static const char *const precisions[] = {"default", "exact", "fast", "f32"};
    static const char *const caches[] = {"f16", "q8"};
    static const char *const formats[] = {"stored", "f32", "f16", "bf16", "int8"};
    int status = CLI_OK;
    switch (option) {
    case 'm': common->model = optarg; break;
    case 't': status = cli_u32("--threads", optarg, 1, 1024, &common->threads); break;
    case OPT_ISA: common->isa = optarg; break;
    case OPT_PRECISION:
        status = choose("--precision", optarg, precisions, 4, &common->precision);
        break;
    case OPT_CTX: status = cli_u32("--ctx", optarg, 1, INT32_MAX, &common->n_ctx); break;
    case OPT_BATCH: status = cli_u32("--batch", optarg, 1, 65536, &common->n_batch); break;
    case OPT_KV: status = choose("--kv", optarg, caches, 2, &common->kv_type); break;
    case OPT_LOAD: status = choose("--load", optarg, formats, 5, &common->load); break;
    case OPT_CACHE: common->cache = optarg; break;
    case OPT_HELP:
        fputs(help, stdout);
        fputs(cli_common_help, stdout);
        return cli_close_stdout() == CLI_OK ? CLI_DONE : CLI_FAILED;
    case ':': return cli_usage("%s needs a value", argv[optind - 1]);
    default:
        if (optopt > 0 && optopt < 256) return cli_usage("unknown option -%c", optopt);
        return cli_usage("unknown option or wrong use: %s", argv[optind - 1]);
    }
    return status;
}

int cli_common_check(const cli_common *common, int argc, char **argv)
{
    if (optind < argc) return cli_usage("%s: not expected here", argv[optind]);
    if (common->model == NULL) return cli_usage("no model given; use -m FILE");
    return CLI_OK;
}

/* ---- interruption ---------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;
static nib_session *volatile running;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    nib_session *session = running;
    if (session != NULL) nib_session_cancel(session);
}

void cli_on_interrupt(nib_session *session)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    running = session;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int cli_interrupted(void)
{
    return interrupted;
}

/* ---- model ----------------------------------------------------------------------------------- */

void cli_bar_begin(cli_bar *bar, const char *what)
{
    *bar = (cli_bar){.what = what, .start = cli_now(), .percent = -1};
}

int32_t cli_progress(void *user, double fraction)
{
    cli_bar *bar = user;
    int percent = (int)(100 * fraction);
    if (isatty(STDERR_FILENO) && percent != bar->percent && cli_now() - bar->start > 0.2) {
        char line[31];
        for (int i = 0; i < 30; i++) line[i] = i < percent * 30 / 100 ? '#' : '.';
        line[30] = '\0';
        fprintf(stderr, "\r%s [%s] %3d %%", bar->what, line, percent);
        bar->percent = percent;
        bar->shown = 1;
    }
    return interrupted;
}

void cli_bar_end(cli_bar *bar)
{
    if (bar->shown) fputs("\r\033[K", stderr);
}

/* A model that runs without the cache that was asked for: nothing failed, but it will be slow to
 * open the next time, too. */
static void note_cache(const nib_model *model)
{
    nib_model_info info = {.struct_size = sizeof info};
    if (nib_model_get_info(model, &info) == NIB_OK && info.cache == NIB_CACHE_FAILED)
        fprintf(stderr, "nibble: not kept by --cache: %s\n", info.cache_note);
}

int cli_open(const cli_common *common, uint32_t flags, nib_model **model)
{
    nib_model_options options;
    nib_error err;
    cli_bar bar;
    nib_model_options_init(&options, sizeof options);
    options.flags = flags;
    options.n_threads = common->threads;
    options.precision = common->precision;
    options.load = common->load;
    options.isa = common->isa;
    options.cache_dir = common->cache;
    options.progress = cli_progress;
    options.progress_user = &bar;
    cli_on_interrupt(NULL);
    cli_bar_begin(&bar, "loading");
    nib_status status = nib_model_open(common->model, &options, model, &err);
    cli_bar_end(&bar);
    if (status != NIB_OK) return cli_error(&err);
    note_cache(*model);
    return CLI_OK;
}

int cli_session(const cli_common *common, nib_model *model, nib_session **session)
{
    nib_session_options options;
    nib_error err;
    nib_session_options_init(&options, sizeof options);
    options.n_threads = common->threads;
    options.n_ctx = common->n_ctx;
    options.n_batch = common->n_batch;
    options.kv_type = common->kv_type;
    if (nib_session_new(model, &options, session, &err) != NIB_OK) return cli_error(&err);
    cli_on_interrupt(*session);
    return CLI_OK;
}

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint64_t cli_peak_rss(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}
