/* SPDX-License-Identifier: MIT
 * What AVX2 does better than scalar C. */
#include "kernels/x86/avx2.h"

void nib__kernels_init_avx2(nib__kernels *table)
{
    table->decode_coded = nib__decode_coded_avx2;
    table->decode_float = nib__matmul_float_avx2;
    table->prefill_coded = nib__decode_coded_avx2;
    table->prefill_float = nib__matmul_float_avx2;
}
