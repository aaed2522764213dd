/* SPDX-License-Identifier: MIT
 * Rounded rows for int8 weights on the AVX-512 levels, the same numbers as nib__row8_round_ref:
 * [scale, padded to 64][plane(s), each padded with zeros to a multiple of 64]. Rows take an odd
 * number of cache lines, so that neighbours do not share cache sets. `u8`: 128 is added to every
 * byte, as vpdpbusd wants its unsigned operand. One plane: q = rint(x * 127 / max). */
#ifndef NIB_KERNELS_X86_ROWS_INT8_H
#define NIB_KERNELS_X86_ROWS_INT8_H

#include "kernels/kernels.h"

/* Two planes, hi and lo, take nib__row8_bytes(k); one takes this. */
size_t nib__row8_one_bytes(uint32_t k);

void nib__row8_two_s8(const float *x, uint32_t k, void *row);
void nib__row8_two_u8(const float *x, uint32_t k, void *row);
void nib__row8_one_s8(const float *x, uint32_t k, void *row);
void nib__row8_one_u8(const float *x, uint32_t k, void *row);

#endif
