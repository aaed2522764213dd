/* SPDX-License-Identifier: MIT
 * Rounded rows of activations of the AVX2 levels.
 *   g32 (prefill): int8 with a scale per 32 k, as one plane for all groups and a second plane, what
 *   rounding left over, for the few groups with large values: they make most of the error. A plane
 * is [int8 q: k][float scale: k/32][int16 sum16: k/16][int32 sum32: k/32][float scaled16: k/16]
 *   [float scaled32: k/32], where sum is that of q over 16 or 32 k and scaled is scale * sum. A row
 * is [plane of all groups][second plane, only some groups written][count][uint32 groups: k/32].
 * Each part is padded to 64 bytes. */
#ifndef NIB_KERNELS_X86_ROWS_AVX2_H
#define NIB_KERNELS_X86_ROWS_AVX2_H

#include "kernels/kernels.h"

typedef struct row_g32 {
    const int8_t *q;
    const float *scale;
    const int16_t *sum16;
    const int32_t *sum32;
    const float *scaled16, *scaled32;
} row_g32;

typedef struct row_g32_rest {
    row_g32 plane;          /* only these groups hold something: */
    const uint32_t *groups; /* [count], ascending */
    uint32_t count;
} row_g32_rest;

size_t nib__row_g32_bytes_avx2(uint32_t k);
void nib__row_g32_round_avx2(const float *x, uint32_t k, void *row);
/* The same, but every q has 128 added, as unsigned bytes; sums are still those of q. */
void nib__row_g32_round_unsigned_avx2(const float *x, uint32_t k, void *row);
void nib__row_g32_view_avx2(const void *row, uint32_t k, row_g32 *plane, row_g32_rest *rest);

#endif
