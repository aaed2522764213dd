/* SPDX-License-Identifier: MIT
 * Formats whose elements are points of a grid (IQ1, IQ2, IQ3) or ternary (TQ): a block of 256 taken
 * apart into small codes. Both the decoders and the packing of weights start from that. */
#ifndef NIB_QUANT_GRID_H
#define NIB_QUANT_GRID_H

#include "quant/format.h"

/* Element i is d * unit * scales[i / 16] * values[codes[i]], exactly; unit and values belong to the
 * format. */
typedef struct nib__grid_block {
    uint16_t d;        /* f16 */
    int8_t scales[16]; /* per 16 elements */
    uint8_t codes[256];
} nib__grid_block;

void nib__grid_split(nib__format format, const uint8_t *src, nib__grid_block *block);

/* The grids themselves: see grid_tables.c. */
extern const uint16_t nib__grid_iq1s[2048], nib__grid_iq2xxs[256], nib__grid_iq2xs[512];
extern const uint16_t nib__grid_iq2s[1024], nib__grid_iq3xxs[256], nib__grid_iq3s[512];

#endif
