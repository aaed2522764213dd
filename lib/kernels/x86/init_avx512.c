/* SPDX-License-Identifier: MIT
 * What AVX-512 without VNNI does better than AVX2. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/avx512.h"

static void run_decode(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                       uint32_t m, float *y, size_t ldy, void *scratch)
{
    if (nib__decode_coded_avx512(w, first, count, rows, m, y, ldy, scratch)) return;
    nib__decode_coded_avx2.run(w, first, count, rows, m, y, ldy, scratch);
}

static size_t scratch_bytes(uint32_t k)
{
    const size_t own = nib__decode_coded_scratch_avx512(k);
    const size_t other = nib__decode_coded_avx2.scratch_bytes(k);
    return own > other ? own : other;
}

static const nib__matmul decode_coded = {
    .name = "q16_avx512",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = run_decode,
    .scratch_bytes = scratch_bytes,
    .min_rows = 1,
};

void nib__kernels_init_avx512(nib__kernels *table)
{
    table->sum_exp = nib__sum_exp_avx512;
    table->filter_above = nib__filter_above_avx512;
    table->run_maxima = nib__run_maxima_avx512;
    table->decode_coded = decode_coded;
    /* AVX2's has no 512 bits: decode_coded is faster with one row. */
    table->fast_decode = (nib__matmul){0};
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
