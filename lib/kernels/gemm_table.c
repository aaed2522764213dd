/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows fastest, by instruction set and kind of weights: written by
 * bench/gemm/make_table.py from the figures of `make bench-gemm`. A library is named only where it
 * beats our kernels by 5% on the geometric mean of all shapes (its speed over ours is behind each
 * rule); what is not named is ours. */
#include "kernels/gemm.h"

const nib__gemm_rule nib__gemm_rules[] = {
    {NIB__ISA_AMX, NIB__WEIGHTS_INT8, NIB_GEMM_NATIVE}, /* oneDNN 0.40 */
    {NIB__ISA_AMX, NIB__WEIGHTS_HALF, NIB_GEMM_NATIVE}, /* oneDNN 0.46 */
    {NIB__ISA_AMX, NIB__WEIGHTS_F32, NIB_GEMM_NATIVE},  /* OpenBLAS 0.89, oneDNN 1.00 */
};

const uint32_t nib__gemm_rule_count = sizeof nib__gemm_rules / sizeof nib__gemm_rules[0];
