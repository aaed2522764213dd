/* SPDX-License-Identifier: MIT
 * Kernels of the AVX-512 levels; signatures as in nib__kernels and nib__matmul. */
#ifndef NIB_KERNELS_X86_AVX512_H
#define NIB_KERNELS_X86_AVX512_H

#include "kernels/kernels.h"

/* Decode strategies share their rounded rows with the scalar reference. */
void nib__decode_coded_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                  const void *rows, uint32_t m, float *y, size_t ldy,
                                  void *scratch);
void nib__decode_float_avx512(const nib__packed *w, uint32_t first, uint32_t count,
                              const void *rows, uint32_t m, float *y, size_t ldy, void *scratch);

extern const nib__matmul nib__prefill_coded_avx512vnni;
extern const nib__matmul nib__prefill_coded_amx;
extern const nib__matmul nib__prefill_float_avx512;
extern const nib__matmul nib__prefill_float_amx;

void nib__rmsnorm_avx512(const float *x, const float *w, uint32_t n, float eps, float *out);
void nib__swiglu_avx512(const float *gate, const float *up, uint32_t n, float *out);
void nib__add_avx512(const float *x, uint32_t n, float *y);
void nib__rope_avx512(float *head, const float *cos_sin, uint32_t n_rot, int32_t interleaved);
void nib__kv_store_avx512(const nib__kv_head *kv, uint32_t pos, const float *k, const float *v);
void nib__attention_avx512(const nib__attention *a);
size_t nib__attention_scratch_avx512(uint32_t dim);
uint32_t nib__argmax_avx512(const float *x, uint32_t n);

#endif
