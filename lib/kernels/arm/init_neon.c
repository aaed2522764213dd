/* SPDX-License-Identifier: MIT
 * What NEON does better than scalar C. */
#include "kernels/arm/neon.h"

void nib__kernels_init_neon(nib__kernels *table)
{
    table->decode_coded = nib__decode_coded_neon;
    table->prefill_coded = nib__decode_coded_neon;
    table->decode_int8 = nib__int8_neon;
    table->prefill_int8 = nib__int8_neon;
    table->decode_float = nib__matmul_float_neon;
    table->prefill_float = nib__matmul_float_neon;
    table->prefill_f32 = nib__matmul_float_neon;
    table->attention = nib__attention_neon;
    table->attention_scratch = nib__attention_scratch_neon;
    nib__elementwise_init_neon(table);
    nib__vocab_init_neon(table);
    nib__activate_init_neon(table);
}
