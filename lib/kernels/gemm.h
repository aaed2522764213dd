/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows: our kernels, oneDNN or OpenBLAS. The others are loaded when a
 * model is opened that is to use them; the library itself needs none of them. */
#ifndef NIB_KERNELS_GEMM_H
#define NIB_KERNELS_GEMM_H

#include "kernels/kernels.h"

/* Overrides the prefill strategies of `table` that the choice (NIB_GEMM_*) is for. DEFAULT takes
 * what gemm_table.c says is fastest for the table's level and stays with our kernels where the
 * library is missing; a library asked for by name and missing is UNSUPPORTED, with its package.
 * NIB_PRECISION_EXACT and _F32 keep their own strategies. */
nib_status nib__gemm_init(nib__kernels *table, uint32_t choice, uint32_t precision, nib_error *err);

/* A measured choice: for weights of this kind on this level. */
typedef struct nib__gemm_rule {
    nib__isa isa;
    nib__weight_kind kind;
    uint32_t choice; /* NIB_GEMM_* */
} nib__gemm_rule;
extern const nib__gemm_rule nib__gemm_rules[];
extern const uint32_t nib__gemm_rule_count;

/* Per library, in a folder of its own. `explicit_choice`: a missing library is an error; otherwise
 * the table stays as it is. `kinds`: bits of nib__weight_kind to take over. */
nib_status nib__onednn_init(nib__kernels *table, uint32_t kinds, bool fast, bool explicit_choice,
                            nib_error *err);
nib_status nib__openblas_init(nib__kernels *table, uint32_t kinds, bool explicit_choice,
                              nib_error *err);

#endif
