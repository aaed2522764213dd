/* SPDX-License-Identifier: MIT
 * The decoders of each family, listed once for the table in format.c. Each turns n elements (a
 * multiple of the block size) into float32; src needs no alignment. All arithmetic is float32 in
 * the order of the reference decoder of the GGUF format, so results are the same bits. */
#ifndef NIB_QUANT_DECODE_H
#define NIB_QUANT_DECODE_H

#include <stddef.h>
#include <stdint.h>

/* legacy.c: blocks of 32 with one scale, some with an offset */
void nib__decode_q4_0(const uint8_t *src, float *dst, size_t n);
void nib__decode_q4_1(const uint8_t *src, float *dst, size_t n);
void nib__decode_q5_0(const uint8_t *src, float *dst, size_t n);
void nib__decode_q5_1(const uint8_t *src, float *dst, size_t n);
void nib__decode_q8_0(const uint8_t *src, float *dst, size_t n);

/* kquant.c: blocks of 256 with scales that are quantized themselves */
void nib__decode_q2_k(const uint8_t *src, float *dst, size_t n);
void nib__decode_q3_k(const uint8_t *src, float *dst, size_t n);
void nib__decode_q4_k(const uint8_t *src, float *dst, size_t n);
void nib__decode_q5_k(const uint8_t *src, float *dst, size_t n);
void nib__decode_q6_k(const uint8_t *src, float *dst, size_t n);

/* codebook.c: four bits index a table of 16 values */
void nib__decode_iq4_nl(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq4_xs(const uint8_t *src, float *dst, size_t n);
void nib__decode_mxfp4(const uint8_t *src, float *dst, size_t n);

/* grid.c: points of a grid, and ternary */
void nib__decode_iq1_s(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq1_m(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq2_xxs(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq2_xs(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq2_s(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq3_xxs(const uint8_t *src, float *dst, size_t n);
void nib__decode_iq3_s(const uint8_t *src, float *dst, size_t n);
void nib__decode_tq1_0(const uint8_t *src, float *dst, size_t n);
void nib__decode_tq2_0(const uint8_t *src, float *dst, size_t n);

#endif
