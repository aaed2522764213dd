/* SPDX-License-Identifier: MIT
 * The panel layout in plain C, one group at a time: what the scalar kernels, the tests and anyone
 * who writes a vector kernel take as the definition. */
#ifndef NIB_KERNELS_PANEL_H
#define NIB_KERNELS_PANEL_H

#include "kernels/kernels.h"

/* Unsigned codes of one group of 32 k, code book applied: codes[8 lines][16 rows][4 k]. */
void nib__panel_codes(const nib__layout *layout, const uint8_t *group, uint8_t codes[512]);

/* Scales s[16] and mins m[16] (0 where the layout has none) of scale group `index`, which covers
 * layout->scale_group k. `panel` is the start of the panel. */
void nib__panel_scales(const nib__layout *layout, const uint8_t *panel, uint32_t index, float *s,
                       float *m);

/* Weights of one group of 32 k as float32, bit-equal to lib/quant: weights[32 k][16 rows]. */
void nib__panel_weights(const nib__packed *w, const uint8_t *panel, uint32_t group,
                        float weights[512]);

/* Row k of a float panel as float32: weights[16 rows]. */
void nib__panel_floats(const nib__packed *w, const uint8_t *panel, uint32_t k, float weights[16]);

/* Column k of an int8 panel as float32, scale * code: weights[16 rows]. */
void nib__panel_int8(const nib__packed *w, const uint8_t *panel, uint32_t k, float weights[16]);

/* One row of the matrix as float32, bit-equal to lib/quant: out[k]. */
void nib__panel_row(const nib__packed *w, uint32_t row, float *out);

static inline const uint8_t *nib__panel_at(const nib__packed *w, uint32_t panel)
{
    return w->data + (size_t)panel * w->panel_bytes;
}

/* How many of the panel's 16 rows exist. */
static inline uint32_t nib__panel_rows(const nib__packed *w, uint32_t panel)
{
    uint32_t left = w->n - panel * NIB__PANEL;
    return left < NIB__PANEL ? left : NIB__PANEL;
}

#endif
