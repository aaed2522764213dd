/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row in scalar C: 16-bit activations as in decode; the sum over k
 * is an exact integer, rounded to float32 once, so every way to compute it gives the same bits. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

size_t nib__row8_plane(uint32_t k)
{
    return nib__align_up(k, NIB_ALIGN);
}

size_t nib__row8_bytes(uint32_t k)
{
    return NIB_ALIGN + 2 * nib__row8_plane(k);
}

void nib__row8_round_ref(const float *x, uint32_t k, void *row)
{
    uint8_t *base = row;
    int8_t *hi = (int8_t *)base + NIB_ALIGN, *lo = hi + nib__row8_plane(k);
    float to, scale = nib__row16_scale(nib__max_magnitude_bits(x, k), &to);
    memset(row, 0, nib__row8_bytes(k));
    memcpy(base, &scale, sizeof scale);
    for (uint32_t i = 0; i < k; i++) {
        int32_t q = to == 0.0f ? 0 : (int32_t)lrintf(x[i] * to);
        lo[i] = (int8_t)(uint8_t)(q & 0xff);
        hi[i] = (int8_t)((q - lo[i]) / 256);
    }
}

static void panel_row(const nib__packed *w, uint32_t p, const uint8_t *row, float *y)
{
    const uint8_t *panel = nib__panel_at(w, p);
    const int8_t *codes = (const int8_t *)panel + w->code_offset;
    const int8_t *hi = (const int8_t *)row + NIB_ALIGN, *lo = hi + nib__row8_plane(w->k);
    nib__int8_head head;
    int64_t sums[NIB__PANEL] = {0};
    float scale;
    memcpy(&head, panel, sizeof head);
    memcpy(&scale, row, sizeof scale);
    for (uint32_t k = 0; k < w->k; k++) {
        int32_t q = 256 * hi[k] + lo[k];
        const int8_t *line = codes + (size_t)(k / 4) * 64 + k % 4;
        for (uint32_t r = 0; r < NIB__PANEL; r++) sums[r] += line[4 * r] * q;
    }
    for (uint32_t r = 0; r < nib__panel_rows(w, p); r++) {
        y[r] = (float)sums[r] * head.scale[r] * scale;
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    size_t row_bytes = nib__row8_bytes(w->k);
    for (uint32_t p = first; p < first + count; p++) {
        for (uint32_t i = 0; i < m; i++) {
            panel_row(w, p, (const uint8_t *)rows + i * row_bytes,
                      y + i * ldy + (size_t)p * NIB__PANEL);
        }
    }
}

const nib__matmul nib__matmul_int8_ref = {
    .name = "q16_scalar",
    .row_bytes = nib__row8_bytes,
    .round_row = nib__row8_round_ref,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
