/* SPDX-License-Identifier: MIT
 * oneDNN 2.x as the prefill of int8, half and float32 weights. Our panels hold the lines that its
 * layouts BA16a64b4a (int8) and BA16a64b2a (bf16) want; a strip is four of them side by side for
 * each block of 64 outputs, copied once per piece of work. Float32 strips are plain rows: with AMX,
 * oneDNN 2.6 has its reference loops only for the layout BA16a64b. Each product runs on the thread
 * that the piece runs on.
 *
 * Int8: one matmul per plane of activations gives exact int32 sums; the rest is ours, so the bits
 * are those of our own kernels. bf16: activations and weights are bf16 (f16 weights are rounded),
 * as in our own prefill with AMX.
 *
 * What is looked up and made for a piece of work is in onednn_worker.h. Should it fail, the same
 * sums are made in plain C. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/gemm.h"
#include "kernels/onednn/onednn_worker.h"
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

enum { PANELS = ONEDNN_WIDTH / NIB__PANEL, WIDTH = ONEDNN_WIDTH, BLOCK = 64, ROWS = 256 };

static const onednn_numbers numbers_int8 = {dnnl_s8, dnnl_s32, dnnl_BA16a64b4a, 1, 4};
static const onednn_numbers numbers_bf16 = {dnnl_bf16, dnnl_f32, dnnl_BA16a64b2a, 2, 2};
static const onednn_numbers numbers_f32 = {dnnl_f32, dnnl_f32, dnnl_ab, 4, 1};

/* k as it is stored: blocks of 16 lines. */
static uint32_t padded_k(const onednn_numbers *f, uint32_t k)
{
    return (uint32_t)nib__align_up(k, 16 * f->per_line);
}

/* Place of output c, column k in a strip. */
static size_t strip_index(const onednn_numbers *f, uint32_t k_padded, uint32_t k, uint32_t c)
{
    if (f->tag == dnnl_ab) return (size_t)k * WIDTH + c;
    size_t line = (size_t)(c / BLOCK) * (k_padded / f->per_line) + k / f->per_line;
    return (line * BLOCK + c % BLOCK) * f->per_line + k % f->per_line;
}

static void multiply_plain(const onednn_worker *w, uint32_t m, uint32_t n, const void *x,
                           const void *strip, void *y)
{
    const onednn_numbers *f = w->f;
    const uint32_t k_padded = padded_k(f, w->k);
    for (uint32_t i = 0; i < m * n; i++) {
        const uint32_t row = i / n, c = i % n;
        float sum = 0;
        int32_t exact = 0;
        for (uint32_t k = 0; k < w->k; k++) {
            size_t from = (size_t)row * w->k + k, at = strip_index(f, k_padded, k, c);
            if (f->type == dnnl_s8)
                exact += ((const int8_t *)x)[from] * ((const int8_t *)strip)[at];
            else if (f->type == dnnl_bf16)
                sum += nib__f32_of_bf16(((const uint16_t *)x)[from]) *
                       nib__f32_of_bf16(((const uint16_t *)strip)[at]);
            else
                sum += ((const float *)x)[from] * ((const float *)strip)[at];
        }
        if (f->type == dnnl_s8)
            ((int32_t *)y)[i] = exact;
        else
            ((float *)y)[i] = sum;
    }
}

/* y[m][n] = x[m][k] * strip. */
static void multiply(onednn_worker *w, uint32_t m, uint32_t n, const void *x, const void *strip,
                     void *y)
{
    if (!nib__onednn_multiply(w, m, n, x, strip, y)) multiply_plain(w, m, n, x, strip, y);
}

/* ---- strips ---- */

/* Lines of 64 bytes of int8 panels, side by side. */
static void strip_int8(const nib__packed *w, uint32_t p, uint32_t panels, uint8_t *strip)
{
    const size_t plane = nib__row8_plane(w->k);
    for (uint32_t i = 0; i < panels; i++) {
        const uint8_t *lines = nib__panel_at(w, p + i) + w->code_offset;
        uint8_t *to = strip + (size_t)(i / 4) * plane * BLOCK + (size_t)(i % 4) * 64;
        for (size_t k = 0; k < plane; k += 4) memcpy(to + k * BLOCK, lines + k * 16, 64);
    }
}

static void strip_floats(const onednn_numbers *f, const nib__packed *w, uint32_t p, uint32_t panels,
                         void *strip)
{
    const uint32_t k_padded = padded_k(f, w->k);
    for (uint32_t i = 0; i < panels; i++) {
        for (uint32_t k = 0; k < k_padded; k++) {
            float row[NIB__PANEL] = {0};
            if (k < w->k) nib__panel_floats(w, nib__panel_at(w, p + i), k, row);
            size_t at = strip_index(f, k_padded, k, i * NIB__PANEL);
            for (uint32_t r = 0; r < NIB__PANEL; r++) {
                if (f->type == dnnl_bf16)
                    ((uint16_t *)strip)[at + r * f->per_line] = nib__bf16_of_f32(row[r]);
                else
                    ((float *)strip)[at + r] = row[r];
            }
        }
    }
}

static size_t strip_bytes(const onednn_numbers *f, uint32_t k)
{
    return nib__align_up((size_t)padded_k(f, k) * WIDTH * f->bytes, NIB_ALIGN);
}

/* [strip][sums 2 x ROWS x WIDTH][codes 2 x ROWS x plane]: two planes are rows one after the other
 */
static size_t scratch_int8(uint32_t k)
{
    return strip_bytes(&numbers_int8, k) + 2 * ROWS * WIDTH * sizeof(int32_t) +
           2 * ROWS * nib__row8_plane(k);
}

static size_t scratch_bf16(uint32_t k)
{
    return strip_bytes(&numbers_bf16, k) + ROWS * WIDTH * sizeof(float);
}

static size_t scratch_f32(uint32_t k)
{
    return strip_bytes(&numbers_f32, k) + ROWS * WIDTH * sizeof(float);
}

static uint32_t real_outputs(const nib__packed *w, uint32_t p, uint32_t panels)
{
    uint32_t left = w->n - p * NIB__PANEL;
    return left < panels * NIB__PANEL ? left : panels * NIB__PANEL;
}

/* ---- int8 ---- */

/* One row of a strip; lo is NULL for one plane. */
static void finish_row(const nib__packed *w, uint32_t p, uint32_t n, const uint8_t *row,
                       const int32_t *hi, const int32_t *lo, float *y)
{
    float a;
    memcpy(&a, row, sizeof a);
    for (uint32_t c = 0; c < n; c++) {
        const nib__int8_head *head =
            (const nib__int8_head *)(const void *)nib__panel_at(w, p + c / NIB__PANEL);
        int64_t sum = lo == NULL ? hi[c] : 256 * (int64_t)hi[c] + lo[c];
        y[c] = (float)sum * head->scale[c % NIB__PANEL] * a;
    }
}

/* codes[planes][m][plane] of rows that hold a scale and their planes. */
static void gather_codes(uint32_t planes, size_t plane, const uint8_t *rows, size_t row_bytes,
                         uint32_t m, uint8_t *codes)
{
    for (uint32_t p = 0; p < planes; p++) {
        for (uint32_t i = 0; i < m; i++, codes += plane)
            memcpy(codes, rows + i * row_bytes + NIB_ALIGN + p * plane, plane);
    }
}

static void run_int8(bool two, const nib__packed *w, uint32_t first, uint32_t count,
                     const void *rows, size_t row_bytes, uint32_t m, float *y, size_t ldy,
                     void *scratch)
{
    onednn_worker job;
    const uint32_t planes = two ? 2 : 1, plane = (uint32_t)nib__row8_plane(w->k);
    int32_t *sums = (int32_t *)(void *)((uint8_t *)scratch + strip_bytes(&numbers_int8, w->k));
    uint8_t *codes = (uint8_t *)(sums + 2 * ROWS * WIDTH);
    nib__onednn_open(&job, &numbers_int8, plane);
    for (uint32_t p = first; p < first + count; p += PANELS) {
        uint32_t panels = first + count - p < PANELS ? first + count - p : PANELS;
        uint32_t n = real_outputs(w, p, panels);
        strip_int8(w, p, panels, scratch);
        for (uint32_t at = 0; at < m; at += ROWS) {
            uint32_t step = m - at < ROWS ? m - at : ROWS;
            const uint8_t *row = (const uint8_t *)rows + at * row_bytes;
            float *out = y + at * ldy + (size_t)p * NIB__PANEL;
            gather_codes(planes, plane, row, row_bytes, step, codes);
            multiply(&job, planes * step, n, codes, scratch, sums);
            for (uint32_t i = 0; i < step; i++) {
                finish_row(w, p, n, row + i * row_bytes, sums + i * n,
                           two ? sums + (step + i) * n : NULL, out + i * ldy);
            }
        }
    }
    nib__onednn_close(&job);
}

static void run_two(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_int8(true, w, first, count, rows, nib__row8_bytes(w->k), m, y, ldy, scratch);
}

static size_t one_bytes(uint32_t k)
{
    return NIB_ALIGN + nib__row8_plane(k);
}

/* q = rint(x * 127 / max) */
static void round_one(const float *x, uint32_t k, void *row)
{
    int8_t *q = (int8_t *)row + NIB_ALIGN;
    float to, scale = nib__row16_scale(nib__max_magnitude_bits(x, k), &to);
    memset(row, 0, one_bytes(k));
    scale *= 32512.0f / 127.0f;
    to *= 127.0f / 32512.0f;
    memcpy(row, &scale, sizeof scale);
    for (uint32_t i = 0; i < k && to != 0.0f; i++) q[i] = (int8_t)lrintf(x[i] * to);
}

static void run_one(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_int8(false, w, first, count, rows, one_bytes(w->k), m, y, ldy, scratch);
}

/* ---- floats ---- */

static void run_floats(const onednn_numbers *f, const nib__packed *w, uint32_t first,
                       uint32_t count, const void *rows, size_t row_bytes, uint32_t m, float *y,
                       size_t ldy, void *scratch)
{
    onednn_worker job;
    float *sums = (float *)(void *)((uint8_t *)scratch + strip_bytes(f, w->k));
    nib__onednn_open(&job, f, (uint32_t)(row_bytes / f->bytes));
    for (uint32_t p = first; p < first + count; p += PANELS) {
        uint32_t panels = first + count - p < PANELS ? first + count - p : PANELS;
        uint32_t n = real_outputs(w, p, panels);
        strip_floats(f, w, p, panels, scratch);
        for (uint32_t at = 0; at < m; at += ROWS) {
            uint32_t step = m - at < ROWS ? m - at : ROWS;
            float *out = y + at * ldy + (size_t)p * NIB__PANEL;
            multiply(&job, step, n, (const uint8_t *)rows + at * row_bytes, scratch, sums);
            for (uint32_t i = 0; i < step; i++) {
                memcpy(out + i * ldy, sums + i * n, n * sizeof *y);
            }
        }
    }
    nib__onednn_close(&job);
}

static void run_f32(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                    uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_floats(&numbers_f32, w, first, count, rows, nib__row_f32_bytes(w->k), m, y, ldy, scratch);
}

static size_t bf16_bytes(uint32_t k)
{
    return nib__align_up((size_t)k * 2, NIB_ALIGN);
}

static void round_bf16(const float *x, uint32_t k, void *row)
{
    uint16_t *out = row;
    memset(row, 0, bf16_bytes(k));
    for (uint32_t i = 0; i < k; i++) out[i] = nib__bf16_of_f32(x[i]);
}

static void run_bf16(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                     uint32_t m, float *y, size_t ldy, void *scratch)
{
    run_floats(&numbers_bf16, w, first, count, rows, bf16_bytes(w->k), m, y, ldy, scratch);
}

/* ---- the table ---- */

enum { MANY = NIB__DECODE_ROWS + 1 };

static const nib__matmul int8_two = {.name = "q16_onednn",
                                     .row_bytes = nib__row8_bytes,
                                     .round_row = nib__row8_round_ref,
                                     .run = run_two,
                                     .scratch_bytes = scratch_int8,
                                     .min_rows = MANY};
static const nib__matmul int8_one = {.name = "r8_onednn",
                                     .row_bytes = one_bytes,
                                     .round_row = round_one,
                                     .run = run_one,
                                     .scratch_bytes = scratch_int8,
                                     .min_rows = MANY};
static const nib__matmul half_bf16 = {.name = "bf16_onednn",
                                      .row_bytes = bf16_bytes,
                                      .round_row = round_bf16,
                                      .run = run_bf16,
                                      .scratch_bytes = scratch_bf16,
                                      .min_rows = MANY};
static const nib__matmul float_f32 = {.name = "f32_onednn",
                                      .row_bytes = nib__row_f32_bytes,
                                      .round_row = nib__row_f32_round,
                                      .run = run_f32,
                                      .scratch_bytes = scratch_f32,
                                      .min_rows = MANY};

nib_status nib__onednn_init(nib__kernels *table, uint32_t kinds, bool fast, bool explicit_choice,
                            nib_error *err)
{
    if (!nib__onednn_load()) {
        if (!explicit_choice) return NIB_OK;
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "NIB_GEMM=onednn: expected " ONEDNN_LIBRARY " and " ONEDNN_OPENMP
                         " (package libdnnl2), which cannot be loaded");
    }
    if ((kinds >> NIB__WEIGHTS_INT8 & 1u) != 0 && nib__onednn_works(&numbers_int8))
        table->prefill_int8 = fast ? int8_one : int8_two;
    if ((kinds >> NIB__WEIGHTS_HALF & 1u) != 0 && nib__onednn_works(&numbers_bf16))
        table->prefill_float = half_bf16;
    if ((kinds >> NIB__WEIGHTS_F32 & 1u) != 0 && nib__onednn_works(&numbers_f32))
        table->prefill_f32 = float_f32;
    return NIB_OK;
}
