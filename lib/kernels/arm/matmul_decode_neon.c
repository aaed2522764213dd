/* SPDX-License-Identifier: MIT
 * Decode of coded weights with plain NEON: codes widened to 16 bits and multiplied by 16-bit
 * activations into 32 bits. Even and odd k of a line are two multiplications, (k0, k2) and
 * (k1, k3); the pair of sums of each output is added once per scale group. */
#include "kernels/arm/neon.h"

typedef row_q16 row_view;

NIB_INLINE row_view view_row(const void *row, uint32_t k)
{
    return nib__row_q16_view_neon(row, k);
}

NIB_INLINE const int32_t *row_sum16(const row_view *x)
{
    return x->sum;
}

NIB_INLINE float row_scale(const row_view *x)
{
    return x->scale;
}

NIB_INLINE void group_dot(code_class c, int from, int lines, int rows, const uint8_t *group,
                          int8x16_t book, const row_view *x, uint32_t k, int32x4_t sum[2][4])
{
    int32x4_t low[2][4], high[2][4]; /* outputs 0, 1 and 2, 3 of each quarter, as pairs */
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) low[r][h] = high[r][h] = vdupq_n_s32(0);
    }
    NIB_UNROLL
    for (int j = from; j < from + lines; j++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            int16x8_t line = vreinterpretq_s16_s8(code_line(c, group, j, h, book));
            int16x8_t odd = vshrq_n_s16(line, 8), even = vshrq_n_s16(vshlq_n_s16(line, 8), 8);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                int32x2_t q = vreinterpret_s32_s16(vld1_s16(x[r].q + k + 4 * (uint32_t)j));
                int16x8_t q02 = vreinterpretq_s16_s32(vdupq_lane_s32(q, 0));
                int16x8_t q13 = vreinterpretq_s16_s32(vdupq_lane_s32(q, 1));
                low[r][h] = vmlal_s16(low[r][h], vget_low_s16(even), vget_low_s16(q02));
                low[r][h] = vmlal_s16(low[r][h], vget_low_s16(odd), vget_low_s16(q13));
                high[r][h] = vmlal_high_s16(high[r][h], even, q02);
                high[r][h] = vmlal_high_s16(high[r][h], odd, q13);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) sum[r][h] = vpaddq_s32(low[r][h], high[r][h]);
    }
}

#include "kernels/arm/decode_neon.h"

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    decode_run(w, first, count, rows, nib__row_q16_bytes_neon(w->k), m, y, ldy, scratch);
}

const nib__matmul nib__decode_coded_neon = {
    .name = "q16_neon",
    .row_bytes = nib__row_q16_bytes_neon,
    .round_row = nib__row_q16_round_neon,
    .run = run,
    .scratch_bytes = decode_scratch,
    .min_rows = 1,
};
