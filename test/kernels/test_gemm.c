/* SPDX-License-Identifier: MIT
 * Other libraries behind the table of kernels: oneDNN's int8 products give the bits of scalar C,
 * its float products and OpenBLAS's stay within the error of their rounding, no thread is left
 * running, and a library that is asked for and missing is an error that names its package. */
#define _GNU_SOURCE
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "guard.h"
#include "kernels/gemm.h"
#include "matrices.h"

/* Threads of this process. */
static int count_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    int n = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

/* false, and said so, where the library is not installed; its package must be named. */
static bool use(nib__kernels *table, uint32_t choice, uint32_t precision)
{
    nib_error err;
    nib__isa isa;
    assert_int_equal(nib__isa_choose(NULL, &isa, NULL), NIB_OK);
    nib__kernels_init(table, isa, precision);
    nib_status status = nib__gemm_init(table, choice, precision, &err);
    if (status == NIB_OK) return true;
    assert_int_equal(status, NIB_ERR_UNSUPPORTED);
    const char *package = choice == NIB_GEMM_ONEDNN ? "libdnnl" : "OpenBLAS";
    if (strstr(err.text, package) == NULL && strstr(err.text, "libopenblas") == NULL)
        fail_msg("the message names no package: %s", err.text);
    printf("[  NOT RUN ] %s\n", err.text);
    return false;
}

static float *product(const nib__matmul *op, const nib__packed *w, const float *x, uint32_t m)
{
    size_t row_bytes = op->row_bytes(w->k), scratch_size = op->scratch_bytes(w->k);
    uint8_t *rows = guard_alloc(row_bytes * m);
    void *scratch = guard_alloc(scratch_size);
    float *y = test_malloc((size_t)m * w->n * sizeof *y);
    for (uint32_t i = 0; i < m; i++) {
        op->round_row(x + (size_t)i * w->k, w->k, rows + i * row_bytes);
    }
    op->run(w, 0, w->n_panels, rows, m, y, w->n, scratch);
    guard_free(rows, row_bytes * m);
    guard_free(scratch, scratch_size);
    return y;
}

/* `relative` per product of absolute values; 0: the same bits as scalar decode. */
static void check(const nib__matmul *op, nib__format format, uint32_t n, uint32_t k, uint32_t m,
                  double relative)
{
    rng r = {n + k};
    matrix mat;
    nib__kernels scalar;
    float *x = test_malloc((size_t)m * k * sizeof *x);
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    for (uint32_t i = 0; i < m; i++) make_row(0, k, &r, x + (size_t)i * k);
    matrix_make(&mat, format, n, k, &weight_kinds[0], &r);
    float *got = product(op, &mat.packed, x, m);
    float *want =
        product(nib__decode_of(&scalar, nib__weight_kind_of(mat.packed.layout)), &mat.packed, x, m);
    for (uint32_t i = 0; i < m * n; i++) {
        double size = 0;
        for (uint32_t j = 0; j < k && relative > 0; j++) {
            size += fabs((double)mat.values[(size_t)(i % n) * k + j] *
                         (double)x[(size_t)(i / n) * k + j]);
        }
        if (!(fabs((double)got[i] - (double)want[i]) <= relative * size)) {
            fail_msg("%s, %u -> %u, row %u, output %u: %.9g, scalar %.9g", op->name, k, n, i / n,
                     i % n, (double)got[i], (double)want[i]);
        }
    }
    test_free(x);
    test_free(got);
    test_free(want);
    matrix_free(&mat);
}

static void check_shapes(const nib__matmul *op, nib__format format, double relative)
{
    static const uint32_t shapes[][3] = {{64, 64, 17}, {37, 77, 20}, {300, 576, 33}, {16, 1, 300}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        check(op, format, shapes[i][0], shapes[i][1], shapes[i][2], relative);
    }
}

static void test_onednn(void **state)
{
    (void)state;
    nib__kernels table;
    if (!use(&table, NIB_GEMM_ONEDNN, NIB_PRECISION_DEFAULT)) skip();
    int threads = count_threads();
    assert_string_equal(table.prefill_int8.name, "q16_onednn");
    assert_string_equal(table.prefill_f32.name, "f32_onednn");
    check_shapes(&table.prefill_int8, NIB__I8R, 0);
    check_shapes(&table.prefill_f32, NIB__F32, 1e-4);
    if (strcmp(table.prefill_float.name, "bf16_onednn") == 0) {
        check_shapes(&table.prefill_float, NIB__BF16, 0x1p-7);
        check_shapes(&table.prefill_float, NIB__F16, 0x1p-6);
    }
    assert_int_equal(count_threads(), threads);
    if (!use(&table, NIB_GEMM_ONEDNN, NIB_PRECISION_FAST)) skip();
    assert_string_equal(table.prefill_int8.name, "r8_onednn");
    check_shapes(&table.prefill_int8, NIB__I8R, 0.5);
}

static void test_openblas(void **state)
{
    (void)state;
    nib__kernels table;
    int threads = count_threads();
    if (!use(&table, NIB_GEMM_OPENBLAS, NIB_PRECISION_DEFAULT)) skip();
    assert_string_equal(table.prefill_f32.name, "f32_openblas");
    check_shapes(&table.prefill_f32, NIB__F32, 1e-4);
    check_shapes(&table.prefill_float, NIB__BF16, 1e-4);
    check_shapes(&table.prefill_float, NIB__F16, 1e-4);
    assert_int_equal(count_threads(), threads);
}

/* Precisions that promise certain bits keep our kernels. */
static void test_exact_stays_ours(void **state)
{
    (void)state;
    nib__kernels ours, table;
    nib_error err;
    static const uint32_t kept[] = {NIB_PRECISION_EXACT, NIB_PRECISION_F32};
    for (int i = 0; i < 2; i++) {
        nib__kernels_init(&ours, NIB__ISA_SCALAR, kept[i]);
        table = ours;
        assert_int_equal(nib__gemm_init(&table, NIB_GEMM_ONEDNN, kept[i], &err), NIB_OK);
        assert_memory_equal(&table, &ours, sizeof table);
    }
    nib__kernels_init(&ours, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    table = ours;
    assert_int_equal(nib__gemm_init(&table, NIB_GEMM_NATIVE, NIB_PRECISION_DEFAULT, &err), NIB_OK);
    assert_memory_equal(&table, &ours, sizeof table);
    assert_int_equal(nib__gemm_init(&table, 4, NIB_PRECISION_DEFAULT, &err), NIB_ERR_ARGUMENT);
}

static nib_status open_with(const char *name, char *text)
{
    nib_model *model = NULL;
    nib_error err = {0};
    setenv("NIB_GEMM", name, 1);
    nib_status status =
        nib_model_open(fixture_path("fixtures/tiny/llama-f32.gguf"), NULL, &model, &err);
    unsetenv("NIB_GEMM");
    memcpy(text, err.text, sizeof err.text);
    nib_model_free(model);
    return status;
}

static void test_environment(void **state)
{
    (void)state;
    char text[256];
    assert_int_equal(open_with("native", text), NIB_OK);
    assert_int_equal(open_with("", text), NIB_OK);
    assert_int_equal(open_with("mkl", text), NIB_ERR_ARGUMENT);
    assert_non_null(strstr(text, "NIB_GEMM"));
    assert_non_null(strstr(text, "mkl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openblas),
        cmocka_unit_test(test_onednn),
        cmocka_unit_test(test_exact_stays_ours),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests_name("gemm", tests, NULL, NULL);
}
