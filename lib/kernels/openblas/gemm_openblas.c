/* SPDX-License-Identifier: MIT
 * OpenBLAS's sgemm as the prefill of float weights: strips of 8 panels are turned into plain
 * float32 rows, [k][128], and multiplied on the thread that the piece runs on.
 *
 * The library has no globals, so the function is looked up for every piece of work, which takes a
 * few microseconds of its one or two milliseconds. */
#include <dlfcn.h>
#include <string.h>

#include "kernels/gemm.h"
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

enum { STRIP = 8, WIDTH = STRIP * NIB__PANEL };
enum { ROW_MAJOR = 101, NO_TRANS = 111 }; /* the C interface of BLAS */

static const char library[] = "libopenblas.so.0";

typedef void sgemm_fn(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                      const float *a, int lda, const float *b, int ldb, float beta, float *c,
                      int ldc);

/* POSIX lets dlsym's result be a function; C does not let a cast say so. */
static void *symbol(void *handle, const char *name, void *function, size_t size)
{
    void *found = dlsym(handle, name);
    memcpy(function, &found, size);
    return found;
}

static void expand_strip(const nib__packed *w, uint32_t p, uint32_t panels, float *b)
{
    for (uint32_t i = 0; i < panels; i++) {
        const uint8_t *panel = nib__panel_at(w, p + i);
        for (uint32_t k = 0; k < w->k; k++) {
            nib__panel_floats(w, panel, k, b + (size_t)k * WIDTH + (size_t)i * NIB__PANEL);
        }
    }
}

/* The same product without the library, should it have gone away. */
static void plain_strip(const float *b, uint32_t k, uint32_t n, const float *x, size_t ldx,
                        uint32_t m, float *y, size_t ldy)
{
    for (uint32_t i = 0; i < m; i++) {
        memset(y + i * ldy, 0, n * sizeof *y);
        for (uint32_t j = 0; j < k; j++) {
            for (uint32_t c = 0; c < n; c++) {
                y[i * ldy + c] += x[i * ldx + j] * b[(size_t)j * WIDTH + c];
            }
        }
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    const size_t ldx = nib__row_f32_bytes(w->k) / sizeof(float);
    float *b = scratch;
    sgemm_fn *sgemm = NULL;
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    if (handle != NULL) symbol(handle, "cblas_sgemm", &sgemm, sizeof sgemm);
    for (uint32_t p = first; p < first + count; p += STRIP) {
        uint32_t panels = first + count - p < STRIP ? first + count - p : STRIP;
        uint32_t left = w->n - p * NIB__PANEL;
        uint32_t n = left < panels * NIB__PANEL ? left : panels * NIB__PANEL;
        float *out = y + (size_t)p * NIB__PANEL;
        expand_strip(w, p, panels, b);
        if (sgemm == NULL) {
            plain_strip(b, w->k, n, rows, ldx, m, out, ldy);
            continue;
        }
        sgemm(ROW_MAJOR, NO_TRANS, NO_TRANS, (int)m, (int)n, (int)w->k, 1.0f, rows, (int)ldx, b,
              WIDTH, 0.0f, out, (int)ldy);
    }
    if (handle != NULL) dlclose(handle);
}

static size_t scratch_bytes(uint32_t k)
{
    return (size_t)k * WIDTH * sizeof(float);
}

static const nib__matmul prefill = {
    .name = "f32_openblas",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = run,
    .scratch_bytes = scratch_bytes,
    .min_rows = NIB__DECODE_ROWS + 1,
};

/* One thread per call: the pieces run on our threads. OpenBLAS starts its own when it is loaded;
 * they are ended again. If the host has it loaded already, its settings stay. */
static bool load(void)
{
    void (*set_threads)(int) = NULL;
    int (*end_threads)(void) = NULL;
    sgemm_fn *sgemm = NULL;
    void *before = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (before != NULL) dlclose(before);
    if (handle == NULL) return false;
    symbol(handle, "cblas_sgemm", &sgemm, sizeof sgemm);
    symbol(handle, "openblas_set_num_threads", &set_threads, sizeof set_threads);
    symbol(handle, "blas_thread_shutdown_", &end_threads, sizeof end_threads);
    if (before == NULL && set_threads != NULL) set_threads(1);
    if (before == NULL && end_threads != NULL) end_threads();
    dlclose(handle);
    return sgemm != NULL;
}

nib_status nib__openblas_init(nib__kernels *table, uint32_t kinds, bool explicit_choice,
                              nib_error *err)
{
    const uint32_t floats = 1u << NIB__WEIGHTS_F32 | 1u << NIB__WEIGHTS_HALF;
    if ((kinds & floats) == 0) return NIB_OK;
    if (!load()) {
        if (!explicit_choice) return NIB_OK;
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "NIB_GEMM=openblas: expected %s (package libopenblas0), which cannot be "
                         "loaded",
                         library);
    }
    if ((kinds >> NIB__WEIGHTS_F32 & 1u) != 0) table->prefill_f32 = prefill;
    if ((kinds >> NIB__WEIGHTS_HALF & 1u) != 0) table->prefill_float = prefill;
    return NIB_OK;
}
