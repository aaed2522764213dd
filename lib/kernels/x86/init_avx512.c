/* SPDX-License-Identifier: MIT
 * What AVX-512 without VNNI does better than AVX2. */
#include "kernels/x86/avx512.h"

void nib__kernels_init_avx512(nib__kernels *table)
{
    table->sum_exp = nib__sum_exp_avx512;
    table->filter_above = nib__filter_above_avx512;
    table->run_maxima = nib__run_maxima_avx512;
    table->prefill_coded = nib__prefill_coded_avx512;
    table->decode_float = nib__matmul_float_avx512;
    table->prefill_float = nib__matmul_float_avx512;
    table->prefill_f32 = nib__matmul_float_avx512;
    table->attention = nib__attention_avx512;
    table->attention_scratch = nib__attention_scratch_avx512;
    /* vpmaddwd and its sum take as long as the fused multiply-adds of as many float32 numbers. */
    table->attention_prefill = nib__attention_avx512;
    table->attention_prefill_scratch = nib__attention_scratch_avx512;
}
