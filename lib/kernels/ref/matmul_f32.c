/* SPDX-License-Identifier: MIT
 * NIB_PRECISION_F32: nothing is rounded but float32 itself. Activations stay float32, weights are
 * unpacked to float32 one group at a time; products of 32 k are summed in float32, groups in
 * float64. Slow; the yardstick for every faster strategy. */
#include <string.h>

#include "kernels/panel.h"
#include "kernels/ref/ref.h"

enum { CHUNK = 8 };

/* sums[16] = weights[count][16] * x[count] */
static void group_dot(const float *weights, const float *x, uint32_t count, float *sums)
{
    float part[NIB__PANEL] = {0};
    for (uint32_t k = 0; k < count; k++) {
        for (uint32_t r = 0; r < NIB__PANEL; r++) part[r] += weights[k * NIB__PANEL + r] * x[k];
    }
    memcpy(sums, part, sizeof part);
}

static void panel_rows(const nib__packed *w, uint32_t p, const float *x, size_t ldx, uint32_t m,
                       float *y, size_t ldy)
{
    double acc[CHUNK][NIB__PANEL] = {{0}};
    const uint8_t *panel = nib__panel_at(w, p);
    for (uint32_t k = 0; k < w->k; k += NIB__GROUP) {
        float weights[NIB__GROUP * NIB__PANEL], sums[NIB__PANEL];
        uint32_t count = w->k - k < NIB__GROUP ? w->k - k : NIB__GROUP;
        if (w->layout->coded) {
            nib__panel_weights(w, panel, k / NIB__GROUP, weights);
        } else if (w->layout->format == NIB__I8R) {
            for (uint32_t i = 0; i < count; i++) {
                nib__panel_int8(w, panel, k + i, weights + i * NIB__PANEL);
            }
        } else {
            for (uint32_t i = 0; i < count; i++) {
                nib__panel_floats(w, panel, k + i, weights + i * NIB__PANEL);
            }
        }
        for (uint32_t i = 0; i < m; i++) {
            group_dot(weights, x + i * ldx + k, count, sums);
            for (uint32_t r = 0; r < NIB__PANEL; r++) acc[i][r] += (double)sums[r];
        }
    }
    for (uint32_t i = 0; i < m; i++) {
        for (uint32_t r = 0; r < nib__panel_rows(w, p); r++) y[i * ldy + r] = (float)acc[i][r];
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    size_t ldx = nib__row_f32_bytes(w->k) / sizeof(float);
    for (uint32_t p = first; p < first + count; p++) {
        for (uint32_t at = 0; at < m; at += CHUNK) {
            panel_rows(w, p, (const float *)rows + at * ldx, ldx, m - at < CHUNK ? m - at : CHUNK,
                       y + at * ldy + (size_t)p * NIB__PANEL, ldy);
        }
    }
}

static const nib__matmul matmul_f32 = {
    .name = "f32_reference",
    .row_bytes = nib__row_f32_bytes,
    .round_row = nib__row_f32_round,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};

void nib__kernels_init_f32(nib__kernels *table)
{
    table->decode_coded = matmul_f32;
    table->decode_float = matmul_f32;
    table->prefill_coded = matmul_f32;
    table->prefill_float = matmul_f32;
    table->prefill_f32 = matmul_f32;
    table->decode_int8 = matmul_f32;
    table->prefill_int8 = matmul_f32;
    table->kv_store = nib__kv_store_ref;
    nib__attention_init_ref(table);
}
