/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows fastest, by instruction set and kind of weights: written by
 * bench/gemm/make_table.py from the figures of `make bench-gemm`. Behind each rule stands how fast
 * others are in our kernels' place, ours being 1: the geometric mean of all shapes. One is named
 * only for int8 weights, whose results have the same bits, and where it is 5% faster; what is
 * not named is ours. */
#include "kernels/gemm.h"

const nib__gemm_rule nib__gemm_rules[] = {
    {NIB__ISA_AVX2, NIB__WEIGHTS_INT8, NIB_GEMM_NATIVE},       /* nothing else */
    {NIB__ISA_AVX2, NIB__WEIGHTS_F32, NIB_GEMM_NATIVE},        /* oneDNN 0.84, OpenBLAS 0.88 */
    {NIB__ISA_AVX512VNNI, NIB__WEIGHTS_INT8, NIB_GEMM_NATIVE}, /* nothing else */
    {NIB__ISA_AVX512VNNI, NIB__WEIGHTS_HALF, NIB_GEMM_NATIVE}, /* OpenBLAS 0.82 */
    {NIB__ISA_AVX512VNNI, NIB__WEIGHTS_F32, NIB_GEMM_NATIVE},  /* oneDNN 0.79, OpenBLAS 0.74 */
    {NIB__ISA_AMX, NIB__WEIGHTS_INT8, NIB_GEMM_NATIVE},        /* oneDNN 0.29 */
    {NIB__ISA_AMX, NIB__WEIGHTS_HALF, NIB_GEMM_NATIVE},        /* oneDNN 0.30, OpenBLAS 0.10 */
    {NIB__ISA_AMX, NIB__WEIGHTS_F32, NIB_GEMM_NATIVE},         /* oneDNN 0.86, OpenBLAS 0.74 */
};

const uint32_t nib__gemm_rule_count = sizeof nib__gemm_rules / sizeof nib__gemm_rules[0];
