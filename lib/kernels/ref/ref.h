/* SPDX-License-Identifier: MIT
 * Pieces of the scalar kernels that other levels use again. */
#ifndef NIB_KERNELS_REF_REF_H
#define NIB_KERNELS_REF_REF_H

#include "kernels/kernels.h"

/* Largest magnitude of a row as float32 bits, so that infinities and NaN win over numbers. */
uint32_t nib__max_magnitude_bits(const float *x, uint32_t k);

/* Scale of a row of 16-bit activations and the factor `to` that turns x into q. */
float nib__row16_scale(uint32_t max_bits, float *to);

void nib__row16_round_ref(const float *x, uint32_t k, void *row);

/* Rows that stay float32, padded with zeros to 64 bytes. */
size_t nib__row_f32_bytes(uint32_t k);
void nib__row_f32_round(const float *x, uint32_t k, void *row);

size_t nib__scratch_none(uint32_t k);

/* Rows for int8 weights, as int8 planes with zeros up to a multiple of 64:
 * [scale, padded to 64][hi][lo], q = 256 * hi + lo. */
size_t nib__row8_plane(uint32_t k);
size_t nib__row8_bytes(uint32_t k);
void nib__row8_round_ref(const float *x, uint32_t k, void *row);
extern const nib__matmul nib__matmul_int8_ref;

/* Bytes of a value that every level stores the same way: rounds to f16 or q8. */
void nib__kv_store_ref(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v);
uint32_t nib__argmax_ref(const float *x, uint32_t n);

/* Adds 16 partial sums in a fixed order; overwrites them. */
double nib__reduce_lanes(double sum[16]);
uint32_t nib__filter_above_ref(const float *x, uint32_t n, float above, int32_t *ids);

void nib__matmul_init_ref(nib__kernels *table);
void nib__elementwise_init_ref(nib__kernels *table);
void nib__activate_init_ref(nib__kernels *table);
void nib__attention_init_ref(nib__kernels *table);
void nib__vocab_init_ref(nib__kernels *table);

#endif
