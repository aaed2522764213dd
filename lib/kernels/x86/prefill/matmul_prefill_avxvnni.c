/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with AVX-VNNI: vpdpbusd adds four products of unsigned and signed bytes
 * to 32-bit sums, exactly. Activations get 128 added, so that codes may be the signed operand, and
 * sums start from -128 times the sum of the codes: no zero point is left to subtract, and as the
 * sums start from the bits of a large float as well, none to convert. */
#include "kernels/x86/prefill/matmul_prefill_256.h"
#include "kernels/x86/prefill/prefill_strip_avx2.h"
#include "kernels/x86/rows_avx2.h"

static const strip_kind KIND = STRIP_DPBUSD;

#include "kernels/x86/prefill/matmul_prefill_g32.h"

NIB_INLINE void add_lines(variant v, int rows, const uint8_t *codes, const int8_t *const *x,
                          uint32_t k, const int32_t *start, ints *sum)
{
    NIB_UNROLL
    for (int i = 0; i < rows * HALVES; i++) sum[i] = v_load_ints(start + LANES * (i % HALVES));
    NIB_UNROLL
    for (int j = 0; j < v.lines; j++) {
        ints w[HALVES];
        NIB_UNROLL
        for (int h = 0; h < HALVES; h++) w[h] = v_load_ints(codes + 64 * j + 4 * LANES * h);
        NIB_UNROLL
        for (int i = 0; i < rows * HALVES; i++) {
            const ints q = v_four(x[i / HALVES] + k + 4 * (uint32_t)j);
            sum[i] = v_keep(_mm256_dpbusd_avx_epi32(sum[i], q, w[i % HALVES]));
        }
    }
}

static void prefill_panel(const panel_job *j)
{
    const bool mins = j->w->layout->has_min;
    if (j->w->layout->scale_group == 16) {
        if (mins)
            prefill_job((variant){0, 4, OFFSET_MIN}, j);
        else
            prefill_job((variant){0, 4, OFFSET_NONE}, j);
    } else {
        if (mins)
            prefill_job((variant){0, 8, OFFSET_MIN}, j);
        else
            prefill_job((variant){0, 8, OFFSET_NONE}, j);
    }
}

const nib__matmul nib__prefill_coded_avxvnni = {
    .name = "g32_avxvnni",
    .row_bytes = nib__row_g32_bytes_avx2,
    .round_row = nib__row_g32_round_unsigned_avx2,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
