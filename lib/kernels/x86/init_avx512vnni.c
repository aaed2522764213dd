/* SPDX-License-Identifier: MIT
 * What AVX-512 with VNNI does better than plain AVX-512. */
#include "kernels/ref/ref.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512.h"
#include "kernels/x86/dense/int8_avx512.h"
#include "kernels/x86/rows_avx2.h"

static const nib__matmul decode_coded = {
    .name = "q16_avx512vnni",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = nib__decode_coded_avx512vnni,
    .scratch_bytes = nib__decode_coded_scratch_avx512vnni,
    .min_rows = 1,
};

static size_t fast_scratch(uint32_t k)
{
    return NIB__DECODE_ROWS * nib__row_g32_bytes_avx2(k);
}

static const nib__matmul fast_decode = {
    .name = "g32_avx512vnni",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = nib__fast_decode_avx512vnni,
    .scratch_bytes = fast_scratch,
    .min_rows = 1,
};

void nib__kernels_init_avx512vnni(nib__kernels *table)
{
    table->decode_coded = decode_coded;
    table->fast_decode = fast_decode;
    table->prefill_coded = nib__prefill_g32_avx512vnni;
    table->decode_int8 = nib__int8_avx512vnni;
    table->prefill_int8 = nib__prefill_g32_avx512vnni;
    table->fast_int8 = nib__int8_fast_avx512vnni;
    table->attention_prefill = nib__attention_prefill_avx512vnni;
    table->attention_prefill_scratch = nib__attention_prefill_scratch_avx512vnni;
}
