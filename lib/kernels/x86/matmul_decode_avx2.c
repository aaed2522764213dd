/* SPDX-License-Identifier: MIT
 * Decode of coded weights with AVX2. */
#include <immintrin.h>

static inline __attribute__((always_inline)) __m256i dot_pairs(__m256i sum, __m256i codes,
                                                               __m256i q)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(codes, q));
}

#include "kernels/x86/matmul_decode_256.h"

const nib__matmul nib__decode_coded_avx2 = {
    .name = "q16_avx2",
    .row_bytes = nib__row_q16_bytes_avx2,
    .round_row = nib__row_q16_round_avx2,
    .run = decode_run,
    .scratch_bytes = decode_scratch,
    .min_rows = 1,
};
