/* SPDX-License-Identifier: MIT
 * What AVX2 does better than scalar C. */
#include "kernels/x86/avx2.h"

void nib__kernels_init_avx2(nib__kernels *table)
{
    table->decode_coded = nib__decode_coded_avx2;
    table->fast_decode = nib__fast_decode_avx2;
    table->decode_float = nib__matmul_float_avx2;
    table->prefill_coded = nib__prefill_coded_avx2;
    table->prefill_float = nib__matmul_float_avx2;
    table->prefill_f32 = nib__matmul_float_avx2;
    table->decode_int8 = nib__int8_avx2;
    table->prefill_int8 = nib__int8_avx2;
    table->rmsnorm = nib__rmsnorm_avx2;
    table->layernorm = nib__layernorm_avx2;
    nib__activate_init_avx2(table);
    table->add = nib__add_avx2;
    table->rope = nib__rope_avx2;
    table->kv_store = nib__kv_store_avx2;
    table->argmax = nib__argmax_avx2;
    table->sum_exp = nib__sum_exp_avx2;
    table->filter_above = nib__filter_above_avx2;
    table->run_maxima = nib__run_maxima_avx2;
    table->attention = nib__attention_avx2;
    table->attention_scratch = nib__attention_scratch_avx2;
    table->attention_prefill = nib__attention_prefill_avx2;
    table->attention_prefill_scratch = nib__attention_prefill_scratch_avx2;
}
