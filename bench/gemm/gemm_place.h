/* SPDX-License-Identifier: MIT
 * A linear map as the layers run it: 512 rows are rounded, cut into pieces and multiplied on the
 * pool, by our kernels or by the library that stands in their place. */
#ifndef NIB_BENCH_GEMM_PLACE_H
#define NIB_BENCH_GEMM_PLACE_H

#include "base/pool.h"
#include "kernels/kernels.h"

typedef struct gemm_place gemm_place;

/* y[m][w->n] = x[m][w->k] W^T. `choice` is NIB_GEMM_*. NULL: that library is missing, or does not
 * serve such weights on this level. What is pointed to must outlive the place. */
gemm_place *place_new(nib__isa isa, uint32_t precision, uint32_t choice, nib__pool *pool,
                      const nib__packed *w, const float *x, uint32_t m, float *y);
void place_run(void *place);
void place_free(gemm_place *place);

#endif
