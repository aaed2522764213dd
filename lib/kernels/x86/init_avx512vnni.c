/* SPDX-License-Identifier: MIT
 * What AVX-512 with VNNI does better than plain AVX-512. */
#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/dense/int8_avx512.h"

static const nib__matmul decode_coded = {
    .name = "q16_avx512vnni",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = nib__decode_coded_avx512vnni,
    .scratch_bytes = nib__decode_coded_scratch_avx512vnni,
    .min_rows = 1,
};

void nib__kernels_init_avx512vnni(nib__kernels *table)
{
    table->decode_coded = decode_coded;
    table->prefill_coded = nib__prefill_g32_avx512vnni;
    table->decode_int8 = nib__int8_avx512vnni;
    table->prefill_int8 = nib__prefill_g32_avx512vnni;
    table->fast_int8 = nib__int8_fast_avx512vnni;
    table->attention_prefill = nib__attention_prefill_avx512vnni;
    table->attention_prefill_scratch = nib__attention_prefill_scratch_avx512vnni;
}
