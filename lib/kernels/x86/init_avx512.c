/* SPDX-License-Identifier: MIT
 * What AVX-512 without VNNI does better than AVX2. */
#include "kernels/x86/avx512.h"

void nib__kernels_init_avx512(nib__kernels *table)
{
    table->attention = nib__attention_avx512;
    table->attention_scratch = nib__attention_scratch_avx512;
}
