/* SPDX-License-Identifier: MIT
 * Weights of two panels as int8 with one scale per 64 k, which prefill with vpdpbusd multiplies
 * (matmul_prefill_avx512vnni.c). int8 weights stay what they are; codes are rounded to 1/127 of the
 * largest weight that the scales of their 64 k allow, or a little more: where codes have few bits,
 * such that those with the largest scale keep their distances exactly. */
#ifndef NIB_KERNELS_X86_STRIP_AVX512VNNI_H
#define NIB_KERNELS_X86_STRIP_AVX512VNNI_H

#include "kernels/kernels.h"

enum { STRIP_BLOCK = 2 }; /* groups of 32 k with one scale */

/* 32 k of both panels. */
typedef struct vnni_group {
    int8_t codes[8][2][64];
    int32_t start[2][NIB__PANEL]; /* -128 * sum of codes */
} vnni_group;

typedef struct vnni_strip {
    vnni_group *groups;             /* [k / 32] */
    float (*scales)[2][NIB__PANEL]; /* [blocks] */
} vnni_strip;

/* k, or for int8 weights, which may have any, the next multiple of 32. */
static inline uint32_t nib__strip_k_avx512vnni(uint32_t k)
{
    return (uint32_t)nib__align_up(k, NIB__GROUP);
}

size_t nib__strip_bytes_avx512vnni(uint32_t k);
/* The parts of a strip at `at`, 64-byte aligned. */
vnni_strip nib__strip_at_avx512vnni(uint8_t *at, uint32_t k);
/* One panel into its half (0 or 1) of the strip. */
void nib__strip_unpack_avx512vnni(const nib__packed *w, uint32_t panel, int half,
                                  const vnni_strip *to);

#endif
