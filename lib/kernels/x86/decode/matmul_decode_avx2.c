/* SPDX-License-Identifier: MIT
 * Decode of coded weights with AVX2. vpmaddubsw adds products of bytes in 16 bits: codes of up to 6
 * bits leave room for two lines or more. Larger ones, and four rows, are multiplied as 16-bit
 * pairs.
 */
#include "kernels/x86/decode/matmul_decode_256.h"

/* Four rows share the work of bringing codes to 16 bits, and their sums then need no widening.
 * Codes of 2 bits are slower so. */
NIB_INLINE bool needs_pairs(row_rounding how, code_class c, uint32_t rows)
{
    const bool wide = how == ROWS_Q16 && c != CODES_2 && c != CODES_TERNARY;
    return (rows == 4 && wide) || c == CODES_8 || class_has_book(c);
}

/* Lines whose products by a plane, 2 * 128 * (largest code) each, fit 16 bits. */
NIB_INLINE int lines_in_16_bits(code_class c)
{
    return c == CODES_6 ? 2 : c == CODES_5 ? 4 : 8;
}

NIB_INLINE void dot_planes(row_rounding how, code_class c, int rows, int first, int halves,
                           const uint8_t *group, int from, int lines, __m256i book,
                           const rows_256 *x, uint32_t k, __m256i sum[4][2])
{
    const __m256i one = _mm256_set1_epi16(1);
    const __m256i high = how == ROWS_G32 ? one : _mm256_set1_epi16(256);
    const int most = lines < lines_in_16_bits(c) ? lines : lines_in_16_bits(c);
    NIB_UNROLL
    for (int at = from; at < from + lines; at += most) {
        __m256i hi[4][2], lo[4][2];
        NIB_UNROLL
        for (int j = at; j < at + most; j++) {
            __m256i line[2];
            NIB_UNROLL
            for (int h = first; h < first + halves; h++) line[h] = code_line(c, group, j, h, book);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256i q = high_bytes(x, r, k, j);
                const __m256i rest = how == ROWS_G32 ? q : low_bytes(x, r, k, j);
                NIB_UNROLL
                for (int h = first; h < first + halves; h++) {
                    __m256i a = _mm256_maddubs_epi16(line[h], q);
                    hi[r][h] = j == at ? a : keep_sum(_mm256_add_epi16(hi[r][h], a));
                    if (how == ROWS_G32) continue;
                    __m256i b = _mm256_maddubs_epi16(line[h], rest);
                    lo[r][h] = j == at ? b : keep_sum(_mm256_add_epi16(lo[r][h], b));
                }
            }
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            NIB_UNROLL
            for (int h = first; h < first + halves; h++) {
                __m256i both = _mm256_madd_epi16(hi[r][h], high);
                if (how == ROWS_Q16)
                    both = _mm256_add_epi32(both, _mm256_madd_epi16(lo[r][h], one));
                sum[r][h] = at == from ? both : _mm256_add_epi32(sum[r][h], both);
            }
        }
    }
}

/* Even and odd k of a line make two multiplications: (k0, k2) and (k1, k3). */
NIB_INLINE void dot_pairs(code_class c, int rows, int first, int halves, const uint8_t *group,
                          int from, int lines, __m256i book, const rows_256 *x, uint32_t k,
                          __m256i sum[4][2])
{
    const __m256i byte = _mm256_set1_epi16(0xff);
    NIB_UNROLL
    for (int j = from; j < from + lines; j++) {
        __m256i even[2], odd[2];
        NIB_UNROLL
        for (int h = first; h < first + halves; h++) {
            const __m256i line = code_line(c, group, j, h, book);
            even[h] = _mm256_and_si256(line, byte);
            odd[h] = _mm256_srli_epi16(line, 8);
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const int16_t *pairs = x->pairs + (size_t)r * x->k + k;
            const __m256i q02 = broadcast4(pairs + 4 * j);
            const __m256i q13 = broadcast4(pairs + 4 * j + 2);
            NIB_UNROLL
            for (int h = first; h < first + halves; h++) {
                __m256i a = _mm256_madd_epi16(even[h], q02), b = _mm256_madd_epi16(odd[h], q13);
                __m256i before = j == from ? a : _mm256_add_epi32(sum[r][h], a);
                sum[r][h] = keep_sum(_mm256_add_epi32(before, b));
            }
        }
    }
}

NIB_INLINE void dot_lines(row_rounding how, code_class c, int rows, int first, int halves,
                          const uint8_t *group, int from, int lines, __m256i book,
                          const rows_256 *x, uint32_t k, __m256i sum[4][2])
{
    if (needs_pairs(how, c, (uint32_t)rows))
        dot_pairs(c, rows, first, halves, group, from, lines, book, x, k, sum);
    else
        dot_planes(how, c, rows, first, halves, group, from, lines, book, x, k, sum);
}

const nib__matmul nib__decode_coded_avx2 = {
    .name = "q16_avx2",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_avx2,
    .run = decode_run,
    .scratch_bytes = decode_scratch,
    .min_rows = 1,
};

static size_t fast_scratch(uint32_t k)
{
    return scratch_bytes(ROWS_G32, k);
}

static void fast_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                     uint32_t m, float *y, size_t ldy, void *scratch)
{
    decode_rows(ROWS_G32, w, first, count, rows, m, y, ldy, scratch);
}

const nib__matmul nib__fast_decode_avx2 = {
    .name = "g32_avx2",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = fast_run,
    .scratch_bytes = fast_scratch,
    .min_rows = 1,
};
