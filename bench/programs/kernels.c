/* SPDX-License-Identifier: MIT
 * Speed of the matrix products, per instruction set, format, shape and number of rows, beside the
 * peaks of the machine measured in the same run. The only benchmark that sees internal headers.
 *
 * Output, tab separated:
 *     peak    NAME  THREADS  VALUE  operations/s or bytes/s
 *     kernel  ISA  STRATEGY  FORMAT  N  K  ROWS  THREADS  SECONDS  BYTES  OPERATIONS  PEAK-NAME
 * BYTES are the packed weights, OPERATIONS 2 N K ROWS. With few rows the weights come from memory,
 * not from a cache: several copies, WORKING_SET bytes in all, take turns. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "matrices.h"
#include "measure.h"
#include "nn/nn.h"
#include "peaks.h"

enum { MAX_LIST = 16, LINE = 64, HUGE_PAGE = 2 << 20 };

static const size_t WORKING_SET = (size_t)512 << 20;

typedef struct shape {
    uint32_t n, k;
} shape;

/* The linear maps of Qwen2.5-Coder-1.5B and SmolLM2-135M that take most of their time. */
static const char *const default_options[] = {
    "--shape",  "8960x1536", "--shape",  "1536x8960", "--shape", "1536x1536", "--shape",
    "1536x576", "--format",  "Q4_K",     "--format",  "Q6_K",    "--format",  "Q4_1",
    "--format", "Q8_0",      "--format", "F16",       "--rows",  "1",         "--rows",
    "4",        "--rows",    "16",       "--rows",    "512"};

typedef struct request {
    const char *isa, *formats[MAX_LIST];
    shape shapes[MAX_LIST];
    uint32_t rows[MAX_LIST];
    uint32_t n_formats, n_shapes, n_rows, n_threads;
    double seconds; /* per measurement */
    bool only_peaks;
} request;

/* What is large lies in huge pages, as the library's weights do. */
static void *allocate(size_t size)
{
    size_t align = size < HUGE_PAGE ? LINE : HUGE_PAGE;
    size_t room = (size + align - 1) / align * align;
    void *ptr = aligned_alloc(align, room);
    if (ptr == NULL) {
        fprintf(stderr, "kernels: out of memory (%zu bytes)\n", size);
        exit(1);
    }
    if (align == HUGE_PAGE) (void)madvise(ptr, room, MADV_HUGEPAGE);
    memset(ptr, 0, size); /* pages are there before anything is timed */
    return ptr;
}

/* One packed matrix, several times. */
typedef struct weights {
    nib__linear maps[256];
    uint32_t n_maps;
    uint8_t *data;
    size_t bytes; /* of one */
} weights;

static int weights_make(weights *w, nib__format format, shape s, size_t working_set)
{
    nib__packed packed;
    rng r = {5};
    if (nib__packed_init(&packed, format, s.n, s.k, NULL) != NIB_OK) return 0;
    w->bytes = packed.panel_bytes * packed.n_panels;
    size_t copies = working_set / w->bytes;
    w->n_maps = copies < 1 ? 1 : copies > 256 ? 256 : (uint32_t)copies;
    w->data = allocate(w->bytes * w->n_maps);
    uint8_t *file = allocate(file_row_bytes(format, s.k) * s.n);
    make_weights(format, s.n, s.k, &weight_kinds[0], &r, file);
    nib__pack_panels(&packed, file, 0, packed.n_panels, w->data);
    free(file);
    for (uint32_t i = 0; i < w->n_maps; i++) {
        if (i > 0) memcpy(w->data + i * w->bytes, w->data, w->bytes);
        w->maps[i] = (nib__linear){.w = packed};
        w->maps[i].w.data = w->data + i * w->bytes;
    }
    return 1;
}

/* Median seconds of one product of m rows, through the same function that the layers call. */
static double time_linear(nib__exec *exec, const weights *w, const float *x, uint32_t m,
                          double budget)
{
    enum { MOST = 400, WARM = 2 };
    double times[MOST], spent = 0;
    uint32_t n = w->maps[0].w.n, k = w->maps[0].w.k, turn = 0;
    nib__input input = {.m = m, .k = k};
    nib__weight_kind kind = nib__weight_kind_in(exec->kernels, w->maps[0].w.layout);
    input.rows[kind] = allocate(nib__input_row_bytes(exec->kernels, kind, k) * m);
    float *y = allocate((size_t)m * n * sizeof *y);
    nib__output output = {.map = &w->maps[0], .y = y, .ldy = n};
    for (uint32_t i = 0; i < m; i++)
        nib__input_round(exec, &input, &output, 1, x + (size_t)i * k, i);
    int count = 0;
    for (int i = 0; i < MOST + WARM && (i < WARM + 5 || spent < budget); i++) {
        output.map = &w->maps[turn++ % w->n_maps];
        double start = measure_now();
        nib__linear_run(exec, &input, &output, 1);
        double seconds = measure_now() - start;
        if (i < WARM) continue;
        times[count++] = seconds;
        spent += seconds;
    }
    free(input.rows[kind]);
    free(y);
    return measure_quantile(times, (size_t)count, 0.5);
}

static size_t scratch_bytes(const nib__kernels *table, uint32_t k)
{
    size_t most = LINE;
    for (int i = 0; i < 2 * NIB__WEIGHT_KINDS; i++) {
        nib__weight_kind kind = (nib__weight_kind)(i / 2);
        const nib__matmul *op =
            i % 2 == 0 ? nib__decode_of(table, kind) : nib__prefill_of(table, kind);
        size_t bytes = op->scratch_bytes(k);
        if (bytes > most) most = bytes;
    }
    return (most + LINE - 1) / LINE * LINE;
}

static void time_level(const request *q, const nib__kernels *table, nib__pool *pool,
                       const weights *w, const float *x)
{
    const nib__packed *p = &w->maps[0].w;
    nib__exec exec = {.kernels = table, .pool = pool};
    exec.n_slots = nib__pool_threads(pool);
    exec.slot_bytes = scratch_bytes(table, p->k);
    exec.scratch = allocate(exec.slot_bytes * exec.n_slots);
    for (uint32_t i = 0; i < q->n_rows; i++) {
        uint32_t m = q->rows[i];
        nib__weight_kind kind = nib__weight_kind_in(table, p->layout);
        const nib__matmul *op =
            m <= NIB__DECODE_ROWS ? nib__decode_of(table, kind) : nib__prefill_of(table, kind);
        const peak_kind *peak = peak_of_strategy(op->name);
        nib__pool_begin(pool);
        double seconds = time_linear(&exec, w, x, m, q->seconds);
        nib__pool_end(pool);
        printf("kernel\t%s\t%s\t%s\t%u\t%u\t%u\t%u\t%.6g\t%zu\t%.0f\t%s\n",
               nib__isa_name(table->isa), op->name,
               nib__format_find((uint32_t)p->layout->format)->name, p->n, p->k, m, exec.n_slots,
               seconds, w->bytes, 2.0 * p->n * p->k * m, peak == NULL ? "" : peak->name);
        fflush(stdout);
    }
    free(exec.scratch);
}

static bool wanted(const request *q, nib__isa isa)
{
    if (!nib__isa_available(isa)) return false;
    if (q->isa != NULL) return strcmp(q->isa, nib__isa_name(isa)) == 0;
    return isa != NIB__ISA_SCALAR;
}

static void report_peaks(nib__pool *pool)
{
    for (int i = 0; peak_at(i) != NULL; i++) {
        const peak_kind *kind = peak_at(i);
        if (kind->loop == NULL || !nib__isa_available(kind->needs)) continue;
        printf("peak\t%s\t%u\t%.6g\toperations/s\n", kind->name, nib__pool_threads(pool),
               peak_ops(kind, pool));
    }
    uint8_t *data = allocate(WORKING_SET * 2);
    static const struct {
        const char *name;
        size_t bytes;
    } sizes[] = {{"read_memory", (size_t)1 << 30}, {"read_64MB", 64 << 20}, {"read_1MB", 1 << 20}};
    for (int i = 0; i < 3; i++)
        printf("peak\t%s\t%u\t%.6g\tbytes/s\n", sizes[i].name, nib__pool_threads(pool),
               peak_read(data, sizes[i].bytes, pool));
    fflush(stdout);
    free(data);
}

static nib__format format_by_name(const char *name)
{
    for (int f = 0; f < N_FORMATS; f++)
        if (strcmp(nib__format_find((uint32_t)all_formats[f])->name, name) == 0)
            return all_formats[f];
    fprintf(stderr, "kernels: no format \"%s\"\n", name);
    exit(2);
}

static void run(const request *q, nib__pool *pool)
{
    uint32_t most_rows = 1;
    for (uint32_t i = 0; i < q->n_rows; i++)
        if (q->rows[i] > most_rows) most_rows = q->rows[i];
    size_t working_set = q->rows[0] <= NIB__DECODE_ROWS ? WORKING_SET : 0;
    for (uint32_t f = 0; f < q->n_formats; f++) {
        for (uint32_t s = 0; s < q->n_shapes; s++) {
            weights *w = allocate(sizeof *w);
            rng r = {7};
            if (weights_make(w, format_by_name(q->formats[f]), q->shapes[s], working_set)) {
                float *x = allocate((size_t)most_rows * q->shapes[s].k * sizeof *x);
                for (uint32_t i = 0; i < most_rows; i++)
                    make_row(0, q->shapes[s].k, &r, x + (size_t)i * q->shapes[s].k);
                for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
                    nib__kernels table;
                    if (!wanted(q, (nib__isa)isa)) continue;
                    nib__kernels_init(&table, (nib__isa)isa, NIB_PRECISION_DEFAULT);
                    time_level(q, &table, pool, w, x);
                }
                free(x);
                free(w->data);
            }
            free(w);
        }
    }
}

static const char usage[] =
    "usage: kernels [--isa LEVEL] [--format F]... [--shape NxK]... [--rows M]... [--threads T]\n"
    "               [--ms MS] [--peaks]\n";

static void bad(const char *text)
{
    fprintf(stderr, "kernels: %s\n%s", text, usage);
    exit(2);
}

static shape parse_shape(const char *text)
{
    unsigned n, k;
    if (sscanf(text, "%ux%u", &n, &k) != 2 || n == 0 || k == 0) bad("--shape: expected NxK");
    return (shape){n, k};
}

static void set_option(request *q, const char *option, const char *value)
{
    if (q->n_formats == MAX_LIST || q->n_shapes == MAX_LIST || q->n_rows == MAX_LIST)
        bad("too many values");
    if (strcmp(option, "--isa") == 0)
        q->isa = value;
    else if (strcmp(option, "--format") == 0)
        q->formats[q->n_formats++] = value;
    else if (strcmp(option, "--shape") == 0)
        q->shapes[q->n_shapes++] = parse_shape(value);
    else if (strcmp(option, "--rows") == 0)
        q->rows[q->n_rows++] = measure_number(option, value);
    else if (strcmp(option, "--threads") == 0)
        q->n_threads = measure_number(option, value);
    else if (strcmp(option, "--ms") == 0)
        q->seconds = measure_number(option, value) * 1e-3;
    else
        bad(option);
}

static void parse(request *q, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--peaks") == 0) {
            q->only_peaks = true;
        } else {
            if (i + 1 == argc) bad("an option has no value");
            set_option(q, argv[i], argv[i + 1]);
            i++;
        }
    }
    /* Lists that were not given. */
    bool formats = q->n_formats > 0, shapes = q->n_shapes > 0, rows = q->n_rows > 0;
    for (size_t i = 0; i < sizeof default_options / sizeof *default_options; i += 2) {
        const char *option = default_options[i];
        bool given = option[2] == 'f' ? formats : option[2] == 's' ? shapes : rows;
        if (!given) set_option(q, option, default_options[i + 1]);
    }
}

int main(int argc, char **argv)
{
    static request q = {.seconds = 0.08};
    nib_allocator mem = nib__allocator(NULL);
    nib__pool *pool;
    nib_error err;
    q.n_threads = nib__cpu_count();
    parse(&q, argc, argv);
    if (nib__pool_new(&mem, q.n_threads, NULL, &pool, &err) != NIB_OK) {
        fprintf(stderr, "kernels: %s\n", err.text);
        return 1;
    }
    report_peaks(pool);
    if (!q.only_peaks) run(&q, pool);
    nib__pool_free(pool);
    return 0;
}
