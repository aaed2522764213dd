/* SPDX-License-Identifier: MIT
 * What AVX-512 with VNNI does better than plain AVX-512. */
#include "kernels/x86/avx512.h"

void nib__kernels_init_avx512vnni(nib__kernels *table)
{
    table->decode_coded.name = "q16_avx512vnni";
    table->decode_coded.run = nib__decode_coded_avx512vnni;
    table->prefill_coded = table->decode_coded;
}
