/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX-VNNI: vpdpbusd adds four products of unsigned codes and signed
 * activations to 32-bit sums, exactly. */
#include "kernels/x86/avx2.h"
#include "kernels/x86/rows_avx2.h"

enum { SIGNED_CODES = 0, INTEGER_SCALES = 0 };

/* mode and pair are not used. sum[r] of `lines` lines of 8 outputs. */
NIB_INLINE void lines_256(int mode, int lines, int rows, const uint8_t *codes, const row_g32 *x,
                          uint32_t k, const int32_t *pair, __m256i *sum)
{
    (void)mode;
    (void)pair;
    NIB_UNROLL
    for (int r = 0; r < rows; r++) sum[r] = _mm256_setzero_si256();
    NIB_UNROLL
    for (int j = 0; j < lines; j++) {
        const __m256i w = load_256(codes + 64 * j);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const __m256i q = broadcast4(x[r].q + k + 4 * (uint32_t)j);
            sum[r] = keep_sum(_mm256_dpbusd_avx_epi32(sum[r], w, q));
        }
    }
}

#include "kernels/x86/matmul_prefill_256.h"

static void prefill_panel(const panel_job *j)
{
    bool mins = j->w->layout->has_min;
    if (j->w->layout->scale_group == 16) {
        if (mins)
            prefill_job(0, 4, OFFSET_MIN, j);
        else
            prefill_job(0, 4, OFFSET_ZERO, j);
    } else {
        if (mins)
            prefill_job(0, 8, OFFSET_MIN, j);
        else
            prefill_job(0, 8, OFFSET_ZERO, j);
    }
}

const nib__matmul nib__prefill_coded_avxvnni = {
    .name = "g32_avxvnni",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_avx2,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
