/* SPDX-License-Identifier: MIT
 * Prefill of coded weights with SDOT: lines stay as they are, four k of four outputs a register. */
#include "kernels/arm/neon.h"

enum { TILE = 4 };

NIB_INLINE void store_pair(int8_t *to, int8x16_t even, int8x16_t odd, int quarter)
{
    vst1q_s8(to + 16 * quarter, even);
    vst1q_s8(to + 64 + 16 * quarter, odd);
}

NIB_INLINE void dot_lines(int lines, int rows, const int8_t *codes, const row_g32 *x, uint32_t k,
                          int32x4_t sum[TILE][4])
{
    int8x16_t q[TILE][2];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        q[r][0] = vld1q_s8(x[r].q + k);
        q[r][1] = lines == 8 ? vld1q_s8(x[r].q + k + 16) : q[r][0];
        NIB_UNROLL
        for (int h = 0; h < 4; h++) sum[r][h] = vdupq_n_s32(0);
    }
    NIB_UNROLL
    for (int j = 0; j < lines; j++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const int8x16_t line = vld1q_s8(codes + 64 * j + 16 * h);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                const int8x16_t four = q[r][j / 4];
                switch (j % 4) { /* the lane must be a constant in the source */
                case 0: sum[r][h] = vdotq_laneq_s32(sum[r][h], line, four, 0); break;
                case 1: sum[r][h] = vdotq_laneq_s32(sum[r][h], line, four, 1); break;
                case 2: sum[r][h] = vdotq_laneq_s32(sum[r][h], line, four, 2); break;
                default: sum[r][h] = vdotq_laneq_s32(sum[r][h], line, four, 3); break;
                }
            }
        }
    }
}

#include "kernels/arm/prefill_neon.h"

const nib__matmul nib__prefill_coded_dotprod = {
    .name = "g32_dotprod",
    .row_bytes = nib__row_g32_bytes_neon,
    .round_row = nib__row_g32_round_neon,
    .run = prefill_run,
    .scratch_bytes = prefill_scratch,
    .min_rows = NIB__DECODE_ROWS + 1,
};
