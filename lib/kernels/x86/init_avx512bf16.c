/* SPDX-License-Identifier: MIT
 * What AVX-512 with bf16 products does better than without. */
#include "kernels/x86/avx512.h"

void nib__kernels_init_avx512bf16(nib__kernels *table)
{
    table->prefill_float = nib__prefill_float_avx512bf16;
}
