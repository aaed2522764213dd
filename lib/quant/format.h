/* SPDX-License-Identifier: MIT
 * What each number format means: the single list of formats that files may hold, with the plain C
 * that turns their blocks into float32. Block layouts: the GGUF format (ggml type ids). */
#ifndef NIB_QUANT_FORMAT_H
#define NIB_QUANT_FORMAT_H

#include "base/status.h"

/* Values are the type ids of GGUF. */
typedef enum nib__format {
    NIB__F32 = 0,
    NIB__F16 = 1,
    NIB__Q4_0 = 2,
    NIB__Q4_1 = 3,
    NIB__Q5_0 = 6,
    NIB__Q5_1 = 7,
    NIB__Q8_0 = 8,
    NIB__Q2_K = 10,
    NIB__Q3_K = 11,
    NIB__Q4_K = 12,
    NIB__Q5_K = 13,
    NIB__Q6_K = 14,
    NIB__IQ2_XXS = 16,
    NIB__IQ2_XS = 17,
    NIB__IQ3_XXS = 18,
    NIB__IQ1_S = 19,
    NIB__IQ4_NL = 20,
    NIB__IQ3_S = 21,
    NIB__IQ2_S = 22,
    NIB__IQ4_XS = 23,
    NIB__IQ1_M = 29,
    NIB__BF16 = 30,
    NIB__TQ1_0 = 34,
    NIB__TQ2_0 = 35,
    NIB__MXFP4 = 39,
    /* Ours alone, no type ids of GGUF; nib__format_find does not know them. */
    NIB__I8R = 0x100,   /* in memory only: int8, one float32 scale per output row */
    NIB__STORED = 0x101 /* no weights: integers, masks and such beside them in a checkpoint, which
                           only lib/file knows */
} nib__format;

typedef struct nib__format_info {
    nib__format format;
    const char *name; /* "Q4_K" */
    uint32_t block;   /* elements per block */
    uint32_t block_bytes;
    /* n elements (a multiple of block) from n / block blocks; src needs no alignment. */
    void (*decode)(const uint8_t *src, float *dst, size_t n);
} nib__format_info;

/* NULL if this type id is not one we can compute with. */
const nib__format_info *nib__format_find(uint32_t type_id);

/* Name of any type id of the GGUF specification, for messages; "type 57" style unknowns give NULL.
 */
const char *nib__format_type_name(uint32_t type_id);

/* Signed 4-bit code books shared with the kernels. */
extern const int8_t nib__iq4nl_values[16];
extern const int8_t nib__mxfp4_values[16]; /* twice the E2M1 value */
extern const int8_t nib__iq1_values[16], nib__iq2_values[16];      /* eight times the value */
extern const int8_t nib__iq3xxs_values[16], nib__iq3s_values[16];  /* four times; the value */

/* 6-bit scale (sc) and min (m) number j (0..7) out of the 12 packed bytes of Q4_K and Q5_K. */
void nib__k4_scale_min(const uint8_t packed[12], int j, uint8_t *sc, uint8_t *m);
/* The sixteen 6-bit scales of Q3_K, with the bias of 32 taken off. */
void nib__q3k_scales(const uint8_t packed[12], int8_t scales[16]);

#endif
