/* SPDX-License-Identifier: MIT
 * What AVX-VNNI does better than AVX2. */
#include "kernels/x86/avx2.h"

void nib__kernels_init_avxvnni(nib__kernels *table)
{
    table->decode_coded = nib__decode_coded_avxvnni;
    table->prefill_coded = nib__prefill_coded_avxvnni;
    table->decode_int8 = nib__int8_avxvnni;
    table->prefill_int8 = nib__int8_avxvnni;
    table->attention_prefill = nib__attention_prefill_avxvnni;
    table->attention_prefill_scratch = nib__attention_prefill_scratch_avxvnni;
}
