/* SPDX-License-Identifier: MIT
 * Matrix products of the decode strategy in scalar C: the definition that every instruction set
 * repeats bit for bit (order and rounding: kernels.h). */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/panel.h"

enum { CHUNK = NIB__DECODE_ROWS };

/* Exponent bits of float32 infinity: magnitudes from here on are not numbers. */
static const uint32_t infinity_bits = 0x7f800000u;

uint32_t nib__max_magnitude_bits(const float *x, uint32_t k)
{
    uint32_t max = 0;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t bits = nib__bits_of_f32(x[i]) & 0x7fffffffu;
        if (bits > max) max = bits;
    }
    return max;
}

/* Factors between x and q for a row whose largest magnitude has these bits: q = rint(x * *to),
 * x = q * scale. A row with infinities or NaN gets q = 0 and a NaN scale, so that all its results
 * are NaN; magnitudes below 2^-100 count as zero, which keeps 32512 / max finite. */
float nib__row16_scale(uint32_t max_bits, float *to)
{
    float max = nib__f32_of_bits(max_bits);
    *to = 0.0f;
    if (max_bits >= infinity_bits) return nib__f32_of_bits(0x7fc00000u);
    if (max < 0x1p-100f) return 0.0f;
    *to = 32512.0f / max;
    return max / 32512.0f;
}

void nib__row16_round_ref(const float *x, uint32_t k, void *row)
{
    int8_t *hi, *lo;
    int32_t *sum;
    nib__row16_parts(row, k, &hi, &lo, &sum);
    float to, scale = nib__row16_scale(nib__max_magnitude_bits(x, k), &to);
    for (uint32_t i = 0; i < k; i += 16) {
        int32_t total = 0;
        for (uint32_t j = i; j < i + 16; j++) {
            int32_t q = to == 0.0f ? 0 : (int32_t)lrintf(x[j] * to);
            lo[j] = (int8_t)(uint8_t)(q & 0xff);
            hi[j] = (int8_t)((q - lo[j]) / 256);
            total += q;
        }
        sum[i / 16] = total;
    }
    memcpy(row, &scale, sizeof scale);
}

/* Sums over one scale group: sum of (code - zero) * q for 16 outputs, from line `line` on. */
static void group_sums(const uint8_t *codes, uint32_t lines, const int8_t *hi, const int8_t *lo,
                       int32_t bias, int32_t sums[NIB__PANEL])
{
    for (uint32_t r = 0; r < NIB__PANEL; r++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < 4 * lines; i++) {
            int32_t code = codes[i / 4 * 64 + r * 4 + i % 4];
            sum += code * (256 * hi[i] + lo[i]);
        }
        sums[r] = sum - bias;
    }
}

/* One panel times m <= CHUNK rows; y points at this panel's first column. */
static void coded_panel(const nib__packed *w, uint32_t p, const nib__row16 *rows, uint32_t m,
                        float *y, size_t ldy)
{
    const nib__layout *layout = w->layout;
    const uint8_t *panel = nib__panel_at(w, p);
    float acc[CHUNK][NIB__PANEL] = {{0}}, acc_min[CHUNK][NIB__PANEL] = {{0}};
    uint32_t lines = layout->scale_group / 4;
    for (uint32_t g = 0; g < w->k / NIB__GROUP; g++) {
        uint8_t codes[512];
        nib__panel_codes(layout, panel + w->code_offset + (size_t)g * layout->group_bytes, codes);
        for (uint32_t part = 0; part < NIB__GROUP / layout->scale_group; part++) {
            uint32_t k = g * NIB__GROUP + part * layout->scale_group;
            float s[NIB__PANEL], mins[NIB__PANEL];
            nib__panel_scales(layout, panel, k / layout->scale_group, s, mins);
            for (uint32_t i = 0; i < m; i++) {
                int32_t xsum = rows[i].sum[k / 16], sums[NIB__PANEL];
                if (layout->scale_group == 32) xsum += rows[i].sum[k / 16 + 1];
                group_sums(codes + part * lines * 64, lines, rows[i].hi + k, rows[i].lo + k,
                           layout->zero * xsum, sums);
                for (uint32_t r = 0; r < NIB__PANEL; r++) {
                    acc[i][r] = fmaf(s[r], (float)sums[r], acc[i][r]);
                    acc_min[i][r] = fmaf(mins[r], (float)xsum, acc_min[i][r]);
                }
            }
        }
    }
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t r = 0; r < nib__panel_rows(w, p); r++) {
            y[i * ldy + r] = (acc[i][r] + acc_min[i][r]) * rows[i].scale;
        }
    }
}

static void coded_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    size_t row_bytes = nib__row16_bytes(w->k);
    for (uint32_t at = 0; at < m; at += CHUNK) {
        uint32_t n = m - at < CHUNK ? m - at : CHUNK;
        nib__row16 view[CHUNK];
        for (uint32_t i = 0; i < n; i++) {
            view[i] = nib__row16_view((const uint8_t *)rows + (at + i) * row_bytes, w->k);
        }
        for (uint32_t p = first; p < first + count; p++) {
            coded_panel(w, p, view, n, y + at * ldy + (size_t)p * NIB__PANEL, ldy);
        }
    }
}

/* Float formats: the rounded row is the row itself. */
size_t nib__row_f32_bytes(uint32_t k)
{
    return nib__align_up((size_t)k * sizeof(float), NIB_ALIGN);
}

void nib__row_f32_round(const float *x, uint32_t k, void *row)
{
    memcpy(row, x, k * sizeof(float));
    memset((uint8_t *)row + k * sizeof(float), 0, nib__row_f32_bytes(k) - k * sizeof(float));
}

size_t nib__scratch_none(uint32_t k)
{
    (void)k;
    return 0;
}

static void float_panel(const nib__packed *w, uint32_t p, const float *x, size_t ldx, uint32_t m,
                        float *y, size_t ldy)
{
    float acc[CHUNK][NIB__PANEL] = {{0}}, weights[NIB__PANEL];
    for (uint32_t k = 0; k < w->k; k++) {
        nib__panel_floats(w, nib__panel_at(w, p), k, weights);
        for (uint32_t i = 0; i < m; i++) {
            for (uint32_t r = 0; r < NIB__PANEL; r++) {
                acc[i][r] = fmaf(weights[r], x[i * ldx + k], acc[i][r]);
            }
        }
    }
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t r = 0; r < nib__panel_rows(w, p); r++) y[i * ldy + r] = acc[i][r];
    }
}

static void float_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                      uint32_t m, float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    size_t ldx = nib__row_f32_bytes(w->k) / sizeof(float);
    for (uint32_t at = 0; at < m; at += CHUNK) {
        uint32_t n = m - at < CHUNK ? m - at : CHUNK;
        const float *x = (const float *)rows + at * ldx;
        for (uint32_t p = first; p < first + count; p++) {
            float_panel(w, p, x, ldx, n, y + at * ldy + (size_t)p * NIB__PANEL, ldy);
        }
    }
}

static const nib__matmul decode_coded = {
    .name = "q16_scalar",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_ref,
    .run = coded_run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};

static const nib__matmul decode_float = {
    .name = "f32_scalar",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = float_run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};

void nib__matmul_init_ref(nib__kernels *table)
{
    table->decode_coded = decode_coded;
    table->decode_float = decode_float;
    table->prefill_coded = decode_coded;
    table->prefill_float = decode_float;
    table->prefill_f32 = decode_float;
    table->decode_int8 = nib__matmul_int8_ref;
    table->prefill_int8 = nib__matmul_int8_ref;
}
