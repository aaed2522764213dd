/* SPDX-License-Identifier: MIT
 * Panels unpacked for prefill with group-32 int8 activations (matmul_prefill_g32.h): byte codes and
 * float32 scales, so that many rows may meet them. */
#ifndef NIB_KERNELS_X86_PREFILL_STRIP_AVX2_H
#define NIB_KERNELS_X86_PREFILL_STRIP_AVX2_H

#include "kernels/kernels.h"

/* What multiplies codes and activations, and so what it wants. */
typedef enum strip_kind {
    /* vpmaddubsw, vpmaddwd: unsigned codes, but signed ones (zero taken off) where they have 8 bits
     * or a book. Scales per 16 k stay integers, in `pair`, where the format has no mins. */
    STRIP_MADDUBS,
    /* vpdpbusd with 128 + q as the unsigned operand: signed codes, and `start`. */
    STRIP_DPBUSD
} strip_kind;

/* As long as |sum| < 2^20, the bits of this float plus sum are those of the float STRIP_BIAS + sum.
 * It has 4 significant bits and a scale at most 20: their product is exact. */
static const float STRIP_BIAS = 0x1.2p23f;
static const int32_t STRIP_BIAS_BITS = 0x4b100000;

/* One unpacked panel in scratch. Scale groups are of 16 or 32 k. */
typedef struct strip {
    uint8_t *codes; /* [k / 4][16][4] */
    float *scale;   /* [groups][16] */
    float *mins;    /* [groups][16], -zero * scale where codes hold a zero point */
    union {
        int32_t *start; /* STRIP_DPBUSD: [groups][16] STRIP_BIAS_BITS - 128 * sum of codes */
        int32_t *pair;  /* STRIP_MADDUBS: [k / 16][16] the integer scale, in both halves */
    };
    int32_t *zeros; /* with `pair`, instead of mins: [k / 32][16] zero * integer scale of both parts,
                       one in each half */
} strip;

size_t nib__strip_bytes_avx2(uint32_t k);
/* The parts of a strip at `at`, 64-byte aligned. */
strip nib__strip_at_avx2(uint8_t *at, uint32_t k);
void nib__strip_expand_avx2(strip_kind kind, const nib__packed *w, uint32_t panel, const strip *t);

#endif
