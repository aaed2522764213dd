/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX2. vpmaddubsw multiplies unsigned codes by signed activations
 * and adds pairs in 16 bits with saturation, so the number of lines summed in 16 bits depends on
 * the largest code (|q| <= 127): 8 lines of codes up to 15, 4 up to 31, 2 up to 63. Signed 8-bit
 * weights take |w| and sign(w) * q instead and one line at a time: 2 * 128 * 127 = 32512 still
 * fits. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/rows_avx2.h"

/* 8-bit codes and code books are unpacked to signed weights. */
enum { SIGNED_CODES = 1 };

/* mode: lines summed in 16 bits, or 1 for signed weights. sum[r][half] of `lines` lines. */
NIB_INLINE void lines_256(int mode, int lines, int rows, const uint8_t *codes, const row_g32 *x,
                          uint32_t k, __m256i sum[4][2])
{
    const __m256i one = _mm256_set1_epi16(1);
    NIB_UNROLL
    for (int from = 0; from < lines; from += mode) {
        __m256i part[4][2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) part[r][0] = part[r][1] = _mm256_setzero_si256();
        NIB_UNROLL_2
        for (int j = from; j < from + mode; j++) {
            const __m256i w0 = load_256(codes + 64 * j), w1 = load_256(codes + 64 * j + 32);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256i q = broadcast4(x[r].q + k + 4 * (uint32_t)j);
                __m256i p0, p1;
                if (mode == 1) {
                    p0 = _mm256_maddubs_epi16(_mm256_abs_epi8(w0), _mm256_sign_epi8(q, w0));
                    p1 = _mm256_maddubs_epi16(_mm256_abs_epi8(w1), _mm256_sign_epi8(q, w1));
                } else {
                    p0 = _mm256_maddubs_epi16(w0, q);
                    p1 = _mm256_maddubs_epi16(w1, q);
                }
                part[r][0] = _mm256_add_epi16(part[r][0], p0);
                part[r][1] = _mm256_add_epi16(part[r][1], p1);
            }
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            NIB_UNROLL
            for (int h = 0; h < 2; h++) {
                __m256i wide = _mm256_madd_epi16(part[r][h], one);
                sum[r][h] = from == 0 ? wide : _mm256_add_epi32(sum[r][h], wide);
            }
        }
    }
}

#include "kernels/x86/matmul_prefill_256.h"

static void prefill_panel(const nib__packed *w, uint32_t rows, const strip *t, const row_g32 *x,
                          const row_g32_rest *rest, uint32_t n, float *y, size_t ldy)
{
    bool mins = w->layout->has_min;
    switch (code_class_of(w->layout)) {
    case CODES_2: prefill_mode(4, 4, OFFSET_MIN, rows, w, t, x, rest, n, y, ldy); break;
    case CODES_TERNARY: prefill_mode(8, 8, OFFSET_ZERO, rows, w, t, x, rest, n, y, ldy); break;
    case CODES_3: prefill_mode(4, 4, OFFSET_ZERO, rows, w, t, x, rest, n, y, ldy); break;
    case CODES_4:
        if (mins)
            prefill_mode(8, 8, OFFSET_MIN, rows, w, t, x, rest, n, y, ldy);
        else
            prefill_mode(8, 8, OFFSET_ZERO, rows, w, t, x, rest, n, y, ldy);
        break;
    case CODES_5:
        if (mins)
            prefill_mode(4, 8, OFFSET_MIN, rows, w, t, x, rest, n, y, ldy);
        else
            prefill_mode(4, 8, OFFSET_ZERO, rows, w, t, x, rest, n, y, ldy);
        break;
    case CODES_6: prefill_mode(2, 4, OFFSET_ZERO, rows, w, t, x, rest, n, y, ldy); break;
    case CODES_BOOK_16: prefill_mode(1, 4, OFFSET_NONE, rows, w, t, x, rest, n, y, ldy); break;
    case CODES_8:
    case CODES_BOOK: prefill_mode(1, 8, OFFSET_NONE, rows, w, t, x, rest, n, y, ldy); break;
    }
}

const nib__matmul nib__prefill_coded_avx2 = {
    .name = "g32_avx2",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
