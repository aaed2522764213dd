/* SPDX-License-Identifier: MIT
 * `make bench-gemm`: our matrix products beside oneDNN's (weights reordered once) and OpenBLAS's,
 * in turns, on the shapes of Qwen2.5-Coder-1.5B and SmolLM2-135M. All of them get activations in
 * the number format of the product; the time is that of the multiplication alone, median of
 * the repeats. Then the same maps as the layers run them, rounding of activations included, by our
 * kernels and by the libraries in their place. gemm_bench [--isa LEVEL] [--threads N] [--csv FILE]
 * The peak is that of the multiply instructions of the level, measured between the repeats. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/half.h"
#include "base/pool.h"
#include "gemm_peers.h"
#include "gemm_place.h"
#include "kernels/kernels.h"
#include "peaks.h"
#include "rng.h"

enum { REPEATS = 9, SLOW_REPEATS = 5, MAX_THREADS = 64 };

typedef struct shape {
    uint32_t m, k, n;
} shape;

static const shape shapes[] = {
    {512, 8960, 1536}, {512, 1536, 8960}, {512, 1536, 576}, {512, 576, 1536}};

static const char *const type_names[GEMM_TYPES] = {"int8", "bf16", "f32"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *need(void *p)
{
    if (p != NULL) return p;
    fprintf(stderr, "gemm_bench: out of memory\n");
    exit(1);
}

static void *aligned(size_t size)
{
    return need(aligned_alloc(1 << 21, nib__align_up(size, 1 << 21)));
}

/* ---- ours ---- */

typedef struct ours {
    const nib__matmul *op;
    nib__packed w;
    uint8_t *data, *rows, *scratch;
    size_t slot;
    float *y;
    uint32_t m, step, blocks, row_step, threads;
    nib__pool *pool;
} ours;

typedef struct piece_arg {
    ours *o;
} piece_arg;

static void run_piece(void *arg, uint32_t i)
{
    ours *o = arg;
    uint32_t runs = (o->w.n_panels + o->step - 1) / o->step, first = i % runs * o->step;
    uint32_t row = i / runs * o->row_step;
    uint32_t count = o->w.n_panels - first < o->step ? o->w.n_panels - first : o->step;
    uint32_t m = o->m - row < o->row_step ? o->m - row : o->row_step;
    o->op->run(&o->w, first, count, o->rows + row * o->op->row_bytes(o->w.k), m,
               o->y + (size_t)row * o->w.n, o->w.n, o->scratch + i * o->slot);
}

static void ours_run(void *arg)
{
    ours *o = arg;
    uint32_t runs = (o->w.n_panels + o->step - 1) / o->step;
    nib__pool_run(o->pool, runs * o->blocks, run_piece, o);
}

/* Panels are split between threads, as evenly as pairs of panels allow. */
static void ours_make(ours *o, const nib__matmul *op, nib__format format, const shape *s,
                      const float *x, const float *w, float *y, nib__pool *pool)
{
    nib_error err;
    *o = (ours){.op = op, .m = s->m, .y = y, .pool = pool};
    o->threads = nib__pool_threads(pool);
    if (nib__packed_init(&o->w, format, s->n, s->k, &err) != NIB_OK) {
        fprintf(stderr, "gemm_bench: %s\n", err.text);
        exit(1);
    }
    o->data = aligned(o->w.n_panels * o->w.panel_bytes);
    const nib__format_info *f32 = nib__format_find(NIB__F32);
    if (format == NIB__I8R) {
        nib__pack_int8(&o->w, f32, (const uint8_t *)w, 0, o->w.n_panels, o->data);
    } else if (format == NIB__F32) {
        nib__pack_panels(&o->w, (const uint8_t *)w, 0, o->w.n_panels, o->data);
    } else {
        uint16_t *half = aligned((size_t)s->n * s->k * 2);
        for (size_t i = 0; i < (size_t)s->n * s->k; i++) half[i] = nib__bf16_of_f32(w[i]);
        nib__pack_panels(&o->w, (const uint8_t *)half, 0, o->w.n_panels, o->data);
        free(half);
    }
    o->w.data = o->data;
    o->rows = aligned(op->row_bytes(s->k) * s->m);
    for (uint32_t i = 0; i < s->m; i++) {
        op->round_row(x + (size_t)i * s->k, s->k, o->rows + i * op->row_bytes(s->k));
    }
    o->step = (o->w.n_panels + o->threads - 1) / o->threads;
    o->step += o->step % 2;
    o->row_step = s->m;
    o->blocks = 1;
    o->slot = nib__align_up(op->scratch_bytes(s->k), 4096) + 4096;
    o->scratch = aligned(o->slot * o->threads * 2);
}

static void ours_free(ours *o)
{
    free(o->data);
    free(o->rows);
    free(o->scratch);
}

/* ---- one line of the table ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

typedef struct bench {
    nib__kernels table, fast;
    nib__pool *pool;
    const char *isa;
    FILE *csv;
    gemm_type type;
    bool exact; /* int8 weights: the default rounding, not the fast one */
    int repeats;
    double peak;
    shape s;
    float *x, *w, *y, *peer_y;
    void *tx, *tw; /* in the type */
} bench;

static const nib__matmul *strategy(const bench *b, nib__format *format)
{
    if (b->type == GEMM_F32) {
        *format = NIB__F32;
        return &b->table.prefill_f32;
    }
    *format = b->type == GEMM_INT8 ? NIB__I8R : NIB__BF16;
    if (b->type == GEMM_BF16) return &b->table.prefill_float;
    return b->exact ? &b->table.prefill_int8 : &b->fast.prefill_int8;
}

/* How int8 products round activations: one plane or two of a whole row, or a scale for 32. */
static int rounding_of(const bench *b)
{
    nib__format format;
    const char *name = strategy(b, &format)->name;
    return strncmp(name, "g32", 3) == 0 ? 32 : strncmp(name, "q16", 3) == 0 ? 2 : 1;
}

/* The peers' threads wait actively for 15 to 30 ms after a product, on CPUs that we need next. */
static void settle(uint32_t threads)
{
    const struct timespec wait = {0, 50000000};
    if (threads > 1) nanosleep(&wait, NULL);
}

/* Seconds of one product: the mean of `inner`, after as many that warm up caches and threads. */
static double seconds_of(void (*run)(void *), void *arg, int inner)
{
    for (int i = 0; i < inner; i++) run(arg);
    double start = now();
    for (int i = 0; i < inner; i++) run(arg);
    return (now() - start) / inner;
}

static void report(const bench *b, const char *who, double seconds, double peak)
{
    double rate = 2.0 * b->s.m * b->s.k * b->s.n / seconds;
    printf("  %-18s %9.3f ms %8.3f Top/s %5.1f %% of peak", who, seconds * 1e3, rate * 1e-12,
           100 * rate / peak);
    printf("\n");
    if (b->csv == NULL) return;
    fprintf(b->csv, "%s,%s,%d,%s,%u,%u,%u,%u,%.6f,%.4f,%.4f\n", b->isa, type_names[b->type],
            rounding_of(b), who, b->s.m, b->s.k, b->s.n, nib__pool_threads(b->pool), seconds * 1e3,
            rate * 1e-12, peak * 1e-12);
}

/* In place: a library must serve these weights better than our kernels there to be the default. */
static void run_places(bench *b, const ours *o, int inner)
{
    static const char *const names[] = {"native in place", "oneDNN in place", "OpenBLAS in place"};
    static const uint32_t choices[] = {NIB_GEMM_NATIVE, NIB_GEMM_ONEDNN, NIB_GEMM_OPENBLAS};
    const bool fast = b->type == GEMM_INT8 && !b->exact;
    const uint32_t precision = fast ? NIB_PRECISION_FAST : NIB_PRECISION_DEFAULT;
    gemm_place *places[3];
    double t[3][REPEATS];
    for (int i = 0; i < 3; i++) {
        float *y = i == 0 ? b->y : b->peer_y;
        places[i] = place_new(b->table.isa, precision, choices[i], b->pool, &o->w, b->x, b->s.m, y);
    }
    openblas_one_thread(); /* the pieces run on our threads */
    for (int at = 0; at < b->repeats; at++) {
        for (int i = 0; i < 3; i++) {
            if (places[i] != NULL) t[i][at] = seconds_of(place_run, places[i], inner);
        }
    }
    for (int i = 0; i < 3; i++) {
        if (places[i] != NULL) report(b, names[i], median(t[i], b->repeats), b->peak);
        if (places[i] != NULL && i > 0)
            printf("  ours over %s: %.2f\n", names[i], t[i][b->repeats / 2] / t[0][b->repeats / 2]);
        place_free(places[i]);
    }
}

static void run_peer(void *peer)
{
    gemm_peer_run(peer);
}

static void run_shape(bench *b)
{
    nib__format format;
    const nib__matmul *op = strategy(b, &format);
    uint32_t threads = nib__pool_threads(b->pool);
    double t_ours[REPEATS], t_dnn[REPEATS], t_blas[REPEATS], peak = 0;
    const peak_kind *kind = peak_of_strategy(op->name);
    ours o;
    ours_make(&o, op, format, &b->s, b->x, b->w, b->y, b->pool);
    gemm_peer *dnn =
        onednn_new(b->type, b->s.m, b->s.k, b->s.n, b->tx, b->tw, b->peer_y, threads, b->isa);
    gemm_peer *blas =
        openblas_new(b->type, b->s.m, b->s.k, b->s.n, b->tx, b->tw, b->peer_y, threads);
    int inner = (double)b->s.k * b->s.n < 2e6 ? 8 : 1;
    for (int at = 0; at < b->repeats; at++) {
        nib__pool_begin(b->pool);
        t_ours[at] = seconds_of(ours_run, &o, inner);
        nib__pool_end(b->pool);
        if (dnn != NULL) t_dnn[at] = seconds_of(run_peer, dnn, inner);
        settle(threads);
        if (blas != NULL) t_blas[at] = seconds_of(run_peer, blas, inner);
        settle(threads);
        if (at % 4 == 0) peak = fmax(peak, peak_ops(kind, b->pool));
    }
    double mine = median(t_ours, b->repeats);
    printf("%s%s %u x %u x %u (M x K x N), %u thread%s, peak %.2f Top/s\n", type_names[b->type],
           b->type != GEMM_INT8   ? ""
           : rounding_of(b) == 32 ? ", a scale for 32"
           : rounding_of(b) == 2  ? ", two planes"
                                  : ", one plane",
           b->s.m, b->s.k, b->s.n, threads, threads == 1 ? "" : "s", peak * 1e-12);
    report(b, op->name, mine, peak);
    if (dnn != NULL) report(b, "oneDNN", median(t_dnn, b->repeats), peak);
    if (dnn != NULL) printf("  ours over oneDNN: %.2f\n", median(t_dnn, b->repeats) / mine);
    if (blas != NULL) report(b, "OpenBLAS", median(t_blas, b->repeats), peak);
    if (blas != NULL) printf("  ours over OpenBLAS: %.2f\n", median(t_blas, b->repeats) / mine);
    gemm_peer_free(dnn);
    gemm_peer_free(blas);
    b->peak = peak;
    run_places(b, &o, inner);
    fflush(stdout);
    ours_free(&o);
}

static void fill(bench *b)
{
    rng r = {7};
    size_t nx = (size_t)b->s.m * b->s.k, nw = (size_t)b->s.k * b->s.n;
    b->x = aligned(nx * 4);
    b->w = aligned(nw * 4);
    b->y = aligned((size_t)b->s.m * b->s.n * 4);
    b->peer_y = aligned((size_t)b->s.m * b->s.n * 4);
    for (size_t i = 0; i < nx; i++) b->x[i] = rng_float(&r);
    for (size_t i = 0; i < nw; i++) b->w[i] = rng_float(&r);
}

/* Activations and weights as the peers want them. */
static void *convert(gemm_type type, const float *from, size_t n)
{
    void *to = aligned(n * 4);
    if (type == GEMM_F32) memcpy(to, from, n * 4);
    for (size_t i = 0; i < n && type != GEMM_F32; i++) {
        if (type == GEMM_INT8)
            ((int8_t *)to)[i] = (int8_t)(127 * from[i]);
        else
            ((uint16_t *)to)[i] = nib__bf16_of_f32(from[i]);
    }
    return to;
}

static void run_type(bench *b)
{
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        b->s = shapes[i];
        fill(b);
        b->tx = convert(b->type, b->x, (size_t)b->s.m * b->s.k);
        b->tw = convert(b->type, b->w, (size_t)b->s.k * b->s.n);
        run_shape(b);
        free(b->x);
        free(b->w);
        free(b->y);
        free(b->peer_y);
        free(b->tx);
        free(b->tw);
    }
}

int main(int argc, char **argv)
{
    bench b = {0};
    const char *isa_name = getenv("NIB_ISA"), *csv = NULL, *only = NULL;
    uint32_t threads = 1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--isa") == 0) isa_name = argv[i + 1];
        if (strcmp(argv[i], "--threads") == 0) threads = (uint32_t)atoi(argv[i + 1]);
        if (strcmp(argv[i], "--csv") == 0) csv = argv[i + 1];
        if (strcmp(argv[i], "--type") == 0) only = argv[i + 1];
    }
    nib__isa isa;
    nib_error err;
    nib_allocator mem = nib__allocator(NULL);
    if (threads > MAX_THREADS || nib__isa_choose(isa_name, &isa, &err) != NIB_OK ||
        nib__pool_new(&mem, threads, NULL, &b.pool, &err) != NIB_OK) {
        fprintf(stderr, "gemm_bench: cannot use isa %s with %u threads\n",
                isa_name ? isa_name : "(default)", threads);
        return 1;
    }
    b.isa = nib__isa_name(isa);
    nib__kernels_init(&b.table, isa, NIB_PRECISION_DEFAULT);
    nib__kernels_init(&b.fast, isa, NIB_PRECISION_FAST);
    if (csv != NULL) b.csv = fopen(csv, "a");
    printf("== %s\n", b.isa);
    for (int type = 0; type < GEMM_TYPES; type++) {
        if (only != NULL && strcmp(only, type_names[type]) != 0) continue;
        b.type = (gemm_type)type;
        b.repeats = b.type == GEMM_F32 ? SLOW_REPEATS : REPEATS;
        b.exact = false;
        if (type != GEMM_INT8 || b.table.prefill_int8.run != b.fast.prefill_int8.run) run_type(&b);
        b.exact = true;
        if (type == GEMM_INT8) run_type(&b);
    }
    if (b.csv != NULL) fclose(b.csv);
    nib__pool_free(b.pool);
    return 0;
}
