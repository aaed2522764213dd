/* SPDX-License-Identifier: MIT
 * Matrix products of every level this CPU has, in every format, on random and extreme numbers:
 * decode equals scalar C bit for bit and any number of rows gives the same bits; prefill stays
 * within the error that its rounding of activations explains. `--bench` times the same functions.
 */
#include "levels.h"

#include <math.h>

#include "fast_decode_scalar.h"
#include "guard.h"
#include "kernels/panel.h"
#include "matmul_bench.h"
#include "matrices.h"

enum { MAX_ROWS = 64, PAD = 5 };
static const float canary = -12345.0f;

/* Rounded rows, results and scratch of one strategy on one matrix. */
typedef struct job {
    const nib__matmul *op;
    const nib__packed *w;
    uint8_t *rows;
    float *y; /* [m][n + PAD] */
    void *scratch;
    uint32_t m;
    size_t row_bytes, ldy, rows_size, y_size, scratch_size;
} job;

static void job_make(job *j, const nib__matmul *op, const nib__packed *w, const float *x,
                     uint32_t m)
{
    *j = (job){.op = op, .w = w, .m = m, .ldy = w->n + PAD, .row_bytes = op->row_bytes(w->k)};
    assert_int_equal(j->row_bytes % 64, 0);
    j->rows_size = j->row_bytes * m;
    j->y_size = (size_t)m * j->ldy * sizeof(float);
    j->scratch_size = op->scratch_bytes(w->k);
    j->rows = guard_alloc(j->rows_size);
    j->y = guard_alloc(j->y_size);
    j->scratch = guard_alloc(j->scratch_size);
    memset(j->rows, 0xa5, j->rows_size);
    memset(j->scratch, 0xa5, j->scratch_size);
    for (size_t i = 0; i < m * j->ldy; i++) j->y[i] = canary;
    for (uint32_t i = 0; i < m; i++) {
        op->round_row(x + (size_t)i * w->k, w->k, j->rows + i * j->row_bytes);
    }
}

static void job_free(job *j)
{
    guard_free(j->rows, j->rows_size);
    guard_free(j->y, j->y_size);
    guard_free(j->scratch, j->scratch_size);
}

static void check_canaries(const job *j, const char *what)
{
    for (uint32_t i = 0; i < j->m; i++) {
        for (uint32_t c = j->w->n; c < j->ldy; c++) {
            if (j->y[i * j->ldy + c] != canary) {
                fail_msg("%s: wrote column %u of %u", what, c, j->w->n);
            }
        }
    }
}

static void run_all(job *j)
{
    j->op->run(j->w, 0, j->w->n_panels, j->rows, j->m, j->y, j->ldy, j->scratch);
}

/* Same bits; a NaN equals any NaN. */
static bool same_bits(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0 && !(isnan(a[i]) && isnan(b[i]))) return false;
    }
    return true;
}

/* Each row alone, and each panel alone, must give the bits of the whole. */
static void check_independent(const job *all, const float *x, const char *what)
{
    const nib__packed *w = all->w;
    uint32_t step = all->m > 16 ? 7 : 1;
    for (uint32_t i = 0; i < all->m; i += step) {
        job one;
        job_make(&one, all->op, w, x + (size_t)i * w->k, 1);
        for (uint32_t p = w->n_panels; p-- > 0;) {
            all->op->run(w, p, 1, one.rows, 1, one.y, one.ldy, one.scratch);
        }
        if (!same_bits(one.y, all->y + i * all->ldy, w->n)) {
            fail_msg("%s: row %u of %u differs from the row alone", what, i, all->m);
        }
        check_canaries(&one, what);
        job_free(&one);
    }
}

/* How far y[i][n] may be from the exact product, from the name's rounding (kernels.h). `size` is
 * the sum of |s (c - zero) x| + |m x| over k: float32 sums err by some of its last bits. */
static double error_bound(const nib__matmul *op, const matrix *mat, uint32_t n, const float *x)
{
    const nib__packed *w = &mat->packed;
    const float *weights = mat->values + (size_t)n * w->k;
    double total = 0, max = 0, abs_w = 0, abs_x = 0, group32 = 0, size = 0;
    for (uint32_t k = 0; k < w->k; k++) {
        double ax = fabs((double)x[k]), aw = fabs((double)weights[k]);
        abs_w += aw;
        abs_x += ax;
        total += aw * ax;
        if (ax > max) max = ax;
    }
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP) {
        double top = 0, sum = 0;
        float s[16], m[16] = {0};
        for (uint32_t i = k; i < w->k && i < k + NIB__GROUP; i++) {
            if (w->layout->coded && i % w->layout->scale_group == 0) {
                nib__panel_scales(w->layout, nib__panel_at(w, n / NIB__PANEL),
                                  i / w->layout->scale_group, s, m);
            }
            double ax = fabs((double)x[i]), aw = fabs((double)weights[i]);
            size += (aw + 2 * fabs((double)m[n % 16])) * ax;
            if (ax > top) top = ax;
            sum += aw;
        }
        group32 += top / 254 * sum;
    }
    /* Magnitudes below 2^-100 may count as zero. */
    double steps = w->k + 8.0, bound = steps * 0x1p-24 * size + 0x1p-100 * abs_w;
    const char *name = op->name;
    if (strncmp(name, "q16", 3) == 0) return bound * 2 + max / 65024 * 1.001 * abs_w;
    if (strncmp(name, "g32", 3) == 0) return bound * 2 + group32 * 1.001;
    if (strncmp(name, "r8", 2) == 0) return bound * 2 + max / 254 * 1.001 * abs_w;
    if (strncmp(name, "bf16", 4) == 0) return bound + 1.01 * 0x1p-7 * total + 0x1p-126 * abs_x;
    if (strncmp(name, "f32", 3) == 0) return bound;
    fail_msg("%s: no error bound is known for this rounding", name);
    return 0;
}

static void check_exact(const job *j, const matrix *mat, const float *x, const char *what)
{
    const nib__packed *w = &mat->packed;
    for (uint32_t i = 0; i<j->m; i += j->m> 16 ? 5 : 1) {
        for (uint32_t n = 0; n<w->n; n += w->n> 16 ? 3 : 1) {
            double want = 0, got = (double)j->y[i * j->ldy + n];
            for (uint32_t k = 0; k < w->k; k++) {
                want += (double)mat->values[(size_t)n * w->k + k] * (double)x[(size_t)i * w->k + k];
            }
            double bound = error_bound(j->op, mat, n, x + (size_t)i * w->k);
            if (!(fabs(got - want) <= bound)) {
                fail_msg("%s, k %u, row %u of %u, output %u: %.9g, exact %.9g, allowed %.3g", what,
                         w->k, i, j->m, n, got, want, bound);
            }
        }
    }
}

static void make_rows(int kind, uint32_t m, uint32_t k, rng *r, float *x)
{
    /* Kind 0: every row of another kind. */
    for (uint32_t i = 0; i < m; i++) {
        make_row(kind == 0 ? (int)(i % N_ROW_KINDS) : kind, k, r, x + (size_t)i * k);
    }
}

static void check_decode(const nib__kernels *level, const nib__kernels *scalar, const matrix *mat,
                         uint32_t m, int rows, const char *what, rng *r)
{
    const nib__packed *w = &mat->packed;
    float *x = guard_alloc((size_t)m * w->k * sizeof(float));
    make_rows(rows, m, w->k, r, x);
    job got, want;
    nib__weight_kind kind = nib__weight_kind_of(w->layout);
    job_make(&got, nib__decode_of(level, kind), w, x, m);
    const bool fast = strncmp(got.op->name, "g32", 3) == 0;
    job_make(&want, fast ? &fast_decode_scalar : nib__decode_of(scalar, kind), w, x, m);
    run_all(&got);
    run_all(&want);
    check_canaries(&got, what);
    /* The same rows on every level: what scalar says is checked when scalar has its turn. */
    if (level->isa == scalar->isa || fast) check_exact(&want, mat, x, what);
    for (uint32_t i = 0; i < m; i++) {
        if (!same_bits(got.y + i * got.ldy, want.y + i * want.ldy, w->n)) {
            fail_msg("%s, k %u, rows \"%s\": row %u of %u differs from scalar", what, w->k,
                     row_kind_name(rows), i, m);
        }
    }
    check_independent(&got, x, what);
    job_free(&got);
    job_free(&want);
    guard_free(x, (size_t)m * w->k * sizeof(float));
}

/* Exact prefill of int8 weights has decode's bits, on every instruction set. */
static void check_exact_int8(const nib__kernels *scalar, const job *got, const float *x,
                             const char *what)
{
    job want;
    job_make(&want, &scalar->decode_int8, got->w, x, got->m);
    run_all(&want);
    for (uint32_t i = 0; i < got->m; i++) {
        if (!same_bits(got->y + i * got->ldy, want.y + i * want.ldy, got->w->n)) {
            fail_msg("%s, k %u: prefill of row %u of %u differs from scalar decode", what,
                     got->w->k, i, got->m);
        }
    }
    job_free(&want);
}

static void check_prefill(const nib__kernels *level, const nib__kernels *scalar, const matrix *mat,
                          uint32_t m, int rows, const char *what, rng *r)
{
    const nib__packed *w = &mat->packed;
    float *x = guard_alloc((size_t)m * w->k * sizeof(float));
    make_rows(rows, m, w->k, r, x);
    job got;
    job_make(&got, nib__prefill_of(level, nib__weight_kind_of(w->layout)), w, x, m);
    run_all(&got);
    check_canaries(&got, what);
    check_exact(&got, mat, x, what);
    check_independent(&got, x, what);
    if (w->layout->format == NIB__I8R && strncmp(got.op->name, "q16", 3) == 0) {
        check_exact_int8(scalar, &got, x, what);
    }
    job_free(&got);
    guard_free(x, (size_t)m * w->k * sizeof(float));
}

/* Width number i that suits the format; 0 ends the list. */
static uint32_t width(const nib__layout *layout, int i)
{
    static const uint32_t by32[] = {32, 64, 96, 288, 576, 1536, 0};
    static const uint32_t by256[] = {256, 512, 1536, 2560, 0}, any[] = {1, 3, 17, 77, 576, 1500, 0};
    return !layout->coded ? any[i] : layout->block == 256 ? by256[i] : by32[i];
}

static bool same_op(const nib__matmul *a, const nib__matmul *b)
{
    return a->run == b->run && a->round_row == b->round_row && strcmp(a->name, b->name) == 0;
}

/* usual: products that are checked elsewhere, or NULL. */
static void check_format(const nib__kernels *level, const nib__kernels *scalar,
                         const nib__kernels *usual, nib__format format, uint64_t seed)
{
    static const uint32_t heights[] = {16, 5, 40, 1, 33};
    static const uint32_t batches[] = {17, 33, 64, 1, 6, 16};
    const char *name = format_name(format);
    nib__weight_kind of = nib__weight_kind_of(nib__layout_of(format));
    bool decode = usual == NULL || !same_op(nib__decode_of(level, of), nib__decode_of(usual, of));
    bool prefill =
        usual == NULL || !same_op(nib__prefill_of(level, of), nib__prefill_of(usual, of));
    rng r = {seed};
    uint32_t turn = (uint32_t)format;
    for (int kind = 0; kind < N_WEIGHT_KINDS; kind++) {
        for (int i = 0; width(nib__layout_of(format), i) != 0; i++, turn++) {
            matrix mat;
            char what[128];
            uint32_t k = width(nib__layout_of(format), i), n = heights[turn % 5];
            uint32_t m = 1 + turn % 16, batch = batches[turn % 6];
            snprintf(what, sizeof what, "%s %s %u outputs, weights \"%s\"",
                     nib__isa_name(level->isa), name, n, weight_kinds[kind].name);
            matrix_make(&mat, format, n, k, &weight_kinds[kind], &r);
            if (decode) {
                check_decode(level, scalar, &mat, m, 0, what, &r);
                check_decode(level, scalar, &mat, 1, (int)(turn % N_ROW_KINDS), what, &r);
            }
            if (prefill) check_prefill(level, scalar, &mat, batch, 0, what, &r);
            matrix_free(&mat);
        }
    }
}

static void check_level(nib__isa isa, uint32_t precision)
{
    nib__kernels level, scalar;
    nib__kernels_init(&level, isa, precision);
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, precision);
    printf("[    LEVEL ] %s:", nib__isa_name(isa));
    for (int kind = 0; kind < NIB__WEIGHT_KINDS; kind++) {
        printf(" %s/%s", nib__decode_of(&level, (nib__weight_kind)kind)->name,
               nib__prefill_of(&level, (nib__weight_kind)kind)->name);
    }
    printf("\n");
    /* Another precision than the default shares most products with it. */
    nib__kernels usual;
    nib__kernels_init(&usual, isa, NIB_PRECISION_DEFAULT);
    for (int f = 0; f < N_FORMATS; f++) {
        check_format(&level, &scalar, precision == NIB_PRECISION_DEFAULT ? NULL : &usual,
                     all_formats[f], 1000u + (uint64_t)f);
    }
}

static void test_level(void **state)
{
    check_level(level_here(state), NIB_PRECISION_DEFAULT);
}

static void test_exact_precision(void **state)
{
    (void)state;
    nib__isa isa;
    assert_int_equal(nib__isa_choose(NULL, &isa, NULL), NIB_OK);
    nib__kernels table;
    nib__kernels_init(&table, isa, NIB_PRECISION_EXACT);
    assert_ptr_equal(table.prefill_coded.run, table.decode_coded.run);
    assert_ptr_equal(table.prefill_float.run, table.decode_float.run);
    assert_ptr_equal(table.prefill_f32.run, table.decode_float.run);
    assert_ptr_equal(table.prefill_int8.run, table.decode_int8.run);
    check_level(isa, NIB_PRECISION_EXACT);
}

static void test_fast_precision(void **state)
{
    (void)state;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        check_level((nib__isa)isa, NIB_PRECISION_FAST);
    }
}

static void test_f32_precision(void **state)
{
    (void)state;
    check_level(NIB__ISA_SCALAR, NIB_PRECISION_F32);
}

/* More rows and k than kernels take in one block of float weights. */
static void test_large_float(void **state)
{
    (void)state;
    static const nib__format formats[] = {NIB__BF16, NIB__F16, NIB__F32};
    rng r = {10};
    nib__kernels level, scalar;
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        nib__kernels_init(&level, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
            matrix mat;
            matrix_make(&mat, formats[i], 43, 3301, &weight_kinds[0], &r);
            check_prefill(&level, &scalar, &mat, 531, 0, nib__isa_name((nib__isa)isa), &r);
            matrix_free(&mat);
        }
    }
}

/* Infinities and NaN in the activations make the whole row NaN, never something that looks fine. */
static void test_not_a_number(void **state)
{
    (void)state;
    static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
    static const nib__format formats[] = {NIB__Q8_0, NIB__BF16, NIB__I8R};
    rng r = {9};
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        nib__kernels level;
        nib__kernels_init(&level, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        for (int i = 0; i < 24; i++) {
            matrix mat;
            float x[64];
            make_row(0, 64, &r, x);
            x[rng_below(&r, 64)] = bad[i % 4];
            matrix_make(&mat, formats[i / 8], 16, 64, &weight_kinds[0], &r);
            job j;
            nib__weight_kind kind = nib__weight_kind_of(mat.packed.layout);
            const nib__matmul *op =
                i % 8 < 4 ? nib__decode_of(&level, kind) : nib__prefill_of(&level, kind);
            job_make(&j, op, &mat.packed, x, 1);
            run_all(&j);
            for (uint32_t n = 0; n < 16; n++) {
                if (isfinite(j.y[n])) fail_msg("%s gives %g", j.op->name, (double)j.y[n]);
            }
            job_free(&j);
            matrix_free(&mat);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        return matmul_bench(argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]); /* one level by name */
    struct CMUnitTest tests[5 + NIB__ISA_COUNT] = {
        cmocka_unit_test(test_exact_precision), cmocka_unit_test(test_fast_precision),
        cmocka_unit_test(test_f32_precision),   cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_large_float),
    };
    levels_list(test_level, tests + 5);
    return cmocka_run_group_tests_name("matmul", tests, NULL, NULL);
}
