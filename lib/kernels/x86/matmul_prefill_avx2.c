/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX2. vpmaddubsw multiplies unsigned codes by signed activations
 * and adds pairs in 16 bits with saturation, so the number of lines summed in 16 bits depends on
 * the largest code (|q| <= 127): 8 lines of codes up to 15, 4 up to 31, 2 up to 63. Signed 8-bit
 * weights take |w| and sign(w) * q instead and one line at a time: 2 * 128 * 127 = 32512 still
 * fits. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/rows_avx2.h"

/* 8-bit codes and code books are unpacked to signed weights. */
enum { SIGNED_CODES = 1, INTEGER_SCALES = 1 };

/* mode: lines summed in 16 bits, or 1 for signed weights. sum[r] of `lines` lines of 8 outputs;
 * every 4 lines times their integer scale in pair[][16], if not NULL, which costs nothing: sums of
 * 16 bits must be multiplied by something to become 32 bits. |sum| < 8 * 32512 * 2 * 128. */
NIB_INLINE void lines_256(int mode, int lines, int rows, const uint8_t *codes, const row_g32 *x,
                          uint32_t k, const int32_t *pair, __m256i *sum)
{
    const __m256i one = _mm256_set1_epi16(1);
    NIB_UNROLL
    for (int from = 0; from < lines; from += mode) {
        __m256i part[6];
        const __m256i factor = pair == NULL ? one : load_256(pair + NIB__PANEL * (from / 4));
        NIB_UNROLL
        for (int j = from; j < from + mode; j++) {
            const __m256i w = load_256(codes + 64 * j);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const __m256i q = broadcast4(x[r].q + k + 4 * (uint32_t)j);
                __m256i p = mode == 1
                                ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(q, w))
                                : _mm256_maddubs_epi16(w, q);
                part[r] = j == from ? p : keep_sum(_mm256_add_epi16(part[r], p));
            }
        }
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            __m256i wide = _mm256_madd_epi16(part[r], factor);
            sum[r] = from == 0 ? wide : _mm256_add_epi32(sum[r], wide);
        }
    }
}

#include "kernels/x86/matmul_prefill_256.h"

static void prefill_panel(const panel_job *j)
{
    bool mins = j->w->layout->has_min;
    switch (code_class_of(j->w->layout)) {
    case CODES_2: prefill_job(4, 4, OFFSET_MIN, j); break;
    case CODES_3: prefill_job(4, 8, OFFSET_PAIR, j); break;
    case CODES_TERNARY: /* fits there too, and a kernel takes six kilobytes */
    case CODES_4:
        if (mins)
            prefill_job(8, 8, OFFSET_MIN, j);
        else
            prefill_job(8, 8, OFFSET_ZERO, j);
        break;
    case CODES_5:
        if (mins)
            prefill_job(4, 8, OFFSET_MIN, j);
        else
            prefill_job(4, 8, OFFSET_ZERO, j);
        break;
    case CODES_6: prefill_job(2, 8, OFFSET_PAIR, j); break;
    case CODES_BOOK_16: prefill_job(1, 8, OFFSET_PAIR, j); break;
    case CODES_8:
    case CODES_BOOK: prefill_job(1, 8, OFFSET_NONE, j); break;
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
