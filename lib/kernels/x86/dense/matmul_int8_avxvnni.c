/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row, with AVX-VNNI. */
#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i dot_pairs(__m256i sum, __m256i codes,
                                                               __m256i q)
{
    return _mm256_dpwssd_avx_epi32(sum, codes, q);
}

#include "kernels/ref/ref.h"
#include "kernels/x86/dense/matmul_int8_256.h"

const nib__matmul nib__int8_avxvnni = {
    .name = "q16_avxvnni",
    .row_bytes = nib__row_i8q16_bytes_avx2,
    .round_row = nib__row_i8q16_round_avx2,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
