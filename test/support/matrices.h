/* SPDX-License-Identifier: MIT
 * Weights and activations for kernel tests: random ones and the extremes that break kernels. */
#ifndef NIB_TEST_MATRICES_H
#define NIB_TEST_MATRICES_H

#include "kernels/kernels.h"
#include "rng.h"

/* Fill byte of all code and 6-bit scale fields, or -1: random bytes. */
typedef struct weight_kind {
    const char *name;
    int fill;
    float scale; /* magnitude of the f16 scales */
} weight_kind;

enum { N_WEIGHT_KINDS = 8, N_ROW_KINDS = 8, N_FORMATS = 26 };
extern const weight_kind weight_kinds[N_WEIGHT_KINDS];
extern const nib__format all_formats[N_FORMATS];

const char *row_kind_name(int kind);
const char *format_name(nib__format format);

/* File bytes of one row of k weights; NIB__I8R is packed from rows of float32. */
size_t file_row_bytes(nib__format format, uint32_t k);
/* Fills n rows in the file's format. */
void make_weights(nib__format format, uint32_t n, uint32_t k, const weight_kind *kind, rng *r,
                  uint8_t *dst);
void make_row(int kind, uint32_t k, rng *r, float *x);

/* A matrix in both forms. */
typedef struct matrix {
    uint8_t *file;
    size_t file_bytes;
    const uint8_t *src; /* rows as in a file, [n][file_row_bytes], ending at the guard page */
    nib__packed packed;
    uint8_t *data;
    size_t data_bytes;
    float *values; /* [n][k], by lib/quant; of NIB__I8R: by its definition */
} matrix;

void matrix_make(matrix *m, nib__format format, uint32_t n, uint32_t k, const weight_kind *kind,
                 rng *r);
void matrix_free(matrix *m);

#endif
