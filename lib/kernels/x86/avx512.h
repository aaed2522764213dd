/* SPDX-License-Identifier: MIT
 * Kernels of the AVX-512 levels; signatures as in nib__kernels and nib__matmul. */
#ifndef NIB_KERNELS_X86_AVX512_H
#define NIB_KERNELS_X86_AVX512_H

#include <immintrin.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/simd.h"

/* The first `count` of 16 lanes; all of them from 16 on. */
static inline __mmask16 nib__lanes(size_t count)
{
    return (__mmask16)(0xffffu >> (count < 16 ? 16 - count : 0));
}

/* The same four bytes in every lane. */
NIB_INLINE __m512i broadcast4_512(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Decode strategies share their rounded rows with the scalar reference. */
void nib__decode_coded_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                  const void *rows, uint32_t m, float *y, size_t ldy,
                                  void *scratch);
size_t nib__decode_coded_scratch_avx512vnni(uint32_t k);
void nib__fast_decode_avx512vnni(const nib__packed *w, uint32_t first, uint32_t count,
                                 const void *rows, uint32_t m, float *y, size_t ldy, void *scratch);
/* False: a format that it does not know, and leaves to AVX2. */
bool nib__decode_coded_avx512(const nib__packed *w, uint32_t first, uint32_t count,
                              const void *rows, uint32_t m, float *y, size_t ldy, void *scratch);
size_t nib__decode_coded_scratch_avx512(uint32_t k);
void nib__decode_coded_amx(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                           uint32_t m, float *y, size_t ldy, void *scratch);
size_t nib__decode_coded_scratch_amx(uint32_t k);

extern const nib__matmul nib__matmul_float_avx512;
extern const nib__matmul nib__prefill_coded_avx512, nib__prefill_g32_avx512vnni;
extern const nib__matmul nib__prefill_coded_amx;
extern const nib__matmul nib__prefill_float_avx512bf16, nib__prefill_float_amx;

double nib__sum_exp_avx512(const float *x, uint32_t n, float max, float scale);
uint32_t nib__filter_above_avx512(const float *x, uint32_t n, float above, int32_t *ids);
void nib__run_maxima_avx512(const float *x, uint32_t n, float *out);

void nib__attention_avx512(const nib__attention *a);
size_t nib__attention_scratch_avx512(uint32_t dim);
void nib__attention_prefill_amx(const nib__attention *a);
size_t nib__attention_prefill_scratch_amx(uint32_t dim);
void nib__attention_prefill_avx512vnni(const nib__attention *a);
size_t nib__attention_prefill_scratch_avx512vnni(uint32_t dim);

#endif
