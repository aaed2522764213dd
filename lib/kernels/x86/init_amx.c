/* SPDX-License-Identifier: MIT
 * What AMX does better than AVX-512 with VNNI. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/dense/int8_avx512.h"

static const nib__matmul decode_coded = {
    .name = "q16_amx",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = nib__decode_coded_amx,
    .scratch_bytes = nib__decode_coded_scratch_amx,
    .min_rows = 1,
};

void nib__kernels_init_amx(nib__kernels *table)
{
    table->decode_coded = decode_coded;
    table->fast_decode = (nib__matmul){0}; /* two planes of tiles are as fast */
    table->prefill_coded = nib__prefill_coded_amx;
    table->prefill_float = nib__prefill_float_amx;
    table->prefill_int8 = nib__prefill_int8_amx;
    table->fast_int8 = nib__prefill_int8_fast_amx;
    table->attention_prefill = nib__attention_prefill_amx;
    table->attention_prefill_scratch = nib__attention_prefill_scratch_amx;
}
