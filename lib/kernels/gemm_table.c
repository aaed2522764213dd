/* SPDX-License-Identifier: MIT
 * Which library multiplies many rows fastest, by instruction set and kind of weights: written by
 * bench/gemm/make_table.py from the figures of `make bench-gemm`. A library is named only where it
 * beats our kernels on the geometric mean of all shapes; what is not named is ours. */
#include "kernels/gemm.h"

const nib__gemm_rule nib__gemm_rules[] = {
    {NIB__ISA_AMX, NIB__WEIGHTS_INT8, NIB_GEMM_NATIVE},
};

const uint32_t nib__gemm_rule_count = sizeof nib__gemm_rules / sizeof nib__gemm_rules[0];
