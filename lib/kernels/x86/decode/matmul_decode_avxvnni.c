/* SPDX-License-Identifier: MIT
 * Decode of coded weights with AVX-VNNI: products of bytes are added up in 32 bits. Two planes
 * only: NIB_PRECISION_FAST has avx2's kernels here. */
#include "kernels/x86/decode/matmul_decode_256.h"

NIB_INLINE bool needs_pairs(row_rounding how, code_class c, uint32_t rows)
{
    (void)how;
    (void)c;
    (void)rows;
    return false;
}

NIB_INLINE void dot_lines(row_rounding how, code_class c, int rows, int first, int halves,
                          const uint8_t *group, int from, int lines, __m256i book,
                          const rows_256 *x, uint32_t k, __m256i sum[4][2])
{
    (void)how;
    __m256i hi[4][2], lo[4][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = first; h < first + halves; h++) hi[r][h] = lo[r][h] = _mm256_setzero_si256();
    }
    NIB_UNROLL
    for (int j = from; j < from + lines; j++) {
        __m256i line[2];
        NIB_UNROLL
        for (int h = first; h < first + halves; h++) line[h] = code_line(c, group, j, h, book);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256i q = high_bytes(x, r, k, j), rest = low_bytes(x, r, k, j);
            NIB_UNROLL
            for (int h = first; h < first + halves; h++) {
                hi[r][h] = _mm256_dpbusd_avx_epi32(hi[r][h], line[h], q);
                lo[r][h] = _mm256_dpbusd_avx_epi32(lo[r][h], line[h], rest);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = first; h < first + halves; h++) {
            sum[r][h] = _mm256_add_epi32(_mm256_slli_epi32(hi[r][h], 8), lo[r][h]);
        }
    }
}

const nib__matmul nib__decode_coded_avxvnni = {
    .name = "q16_avxvnni",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = decode_run,
    .scratch_bytes = decode_scratch,
    .min_rows = 1,
};
