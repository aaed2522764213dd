/* SPDX-License-Identifier: MIT
 * Rounded rows for int8 weights on the AVX2 levels, the numbers of nib__row8_round_ref as 16-bit q:
 * [scale, padded to 64][int16: per 4 k the pairs (k0, k2), (k1, k3); zeros up to a multiple of 64]. */
#ifndef NIB_KERNELS_X86_ROWS_INT8_AVX2_H
#define NIB_KERNELS_X86_ROWS_INT8_AVX2_H

#include "kernels/kernels.h"

size_t nib__row_i8q16_bytes_avx2(uint32_t k);
void nib__row_i8q16_round_avx2(const float *x, uint32_t k, void *row);

#endif
