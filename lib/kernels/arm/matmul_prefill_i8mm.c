/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with SMMLA: a register holds 8 k of two outputs, or of two rows of
 * activations, and one instruction multiplies 2 x 8 by 8 x 2. */
#include "kernels/arm/neon.h"

enum { TILE = 4 };

/* Outputs 4h, 4h + 1 with 8 k each, then outputs 4h + 2, 4h + 3. */
NIB_INLINE void store_pair(int8_t *to, int8x16_t even, int8x16_t odd, int quarter)
{
    int32x4_t a = vreinterpretq_s32_s8(even), b = vreinterpretq_s32_s8(odd);
    vst1q_s8(to + 32 * quarter, vreinterpretq_s8_s32(vzip1q_s32(a, b)));
    vst1q_s8(to + 32 * quarter + 16, vreinterpretq_s8_s32(vzip2q_s32(a, b)));
}

/* 8 k of rows r and r + 1; the last row of an odd number stands for both. */
NIB_INLINE int8x16_t load_rows(int rows, const row_g32 *x, int r, uint32_t k)
{
    return vcombine_s8(vld1_s8(x[r].q + k), vld1_s8(x[r + 1 < rows ? r + 1 : r].q + k));
}

NIB_INLINE void dot_lines(int lines, int rows, const int8_t *codes, const row_g32 *x, uint32_t k,
                          int32x4_t sum[TILE][4])
{
    int32x4_t acc[TILE / 2][8]; /* of outputs 2i, 2i + 1 with rows 2p, 2p + 1 */
    NIB_UNROLL
    for (int p = 0; p < (rows + 1) / 2; p++) {
        NIB_UNROLL
        for (int i = 0; i < 8; i++) acc[p][i] = vdupq_n_s32(0);
    }
    NIB_UNROLL
    for (int j = 0; j < lines; j += 2) {
        int8x16_t q[TILE / 2];
        NIB_UNROLL
        for (int p = 0; p < (rows + 1) / 2; p++) {
            q[p] = load_rows(rows, x, 2 * p, k + 4 * (uint32_t)j);
        }
        NIB_UNROLL
        for (int i = 0; i < 8; i++) {
            const int8x16_t two = vld1q_s8(codes + 64 * j + 16 * i);
            NIB_UNROLL
            for (int p = 0; p < (rows + 1) / 2; p++) acc[p][i] = vmmlaq_s32(acc[p][i], two, q[p]);
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const int32x4_t a = acc[r / 2][2 * h], b = acc[r / 2][2 * h + 1];
            sum[r][h] = r % 2 == 0 ? vuzp1q_s32(a, b) : vuzp2q_s32(a, b);
        }
    }
}

#include "kernels/arm/prefill_neon.h"

const nib__matmul nib__prefill_coded_i8mm = {
    .name = "g32_i8mm",
    .row_bytes = nib__row_g32_bytes_neon,
    .round_row = nib__row_g32_round_neon,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
