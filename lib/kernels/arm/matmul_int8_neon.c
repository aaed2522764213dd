/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row with plain NEON: codes widened to 16 bits, 16-bit
 * activations; even and odd k of a line are two multiplications. The 32-bit sums of up to 512 k are
 * exact and are added up in float64, exactly. */
#include <math.h>

#include "kernels/arm/int8_neon.h"

enum { SUM_LINES = 512 / 4 };

/* [scale, padded to 64][int16: per 4 k in the order k0 k2 k1 k3; zeros up to a multiple of 64] */
static size_t row_bytes_q16(uint32_t k)
{
    return NIB_ALIGN + 2 * nib__row8_plane(k);
}

static void round_row(const float *x, uint32_t k, void *row)
{
    static const uint8_t order[4] = {0, 2, 1, 3};
    int16_t *q = (int16_t *)(void *)((uint8_t *)row + NIB_ALIGN);
    float to, scale = nib__row16_scale(nib__max_magnitude_bits(x, k), &to);
    memset(row, 0, row_bytes_q16(k));
    memcpy(row, &scale, sizeof scale);
    for (uint32_t i = 0; i < k && to != 0.0f; i++) {
        q[i / 4 * 4 + order[i % 4]] = (int16_t)lrintf(x[i] * to);
    }
}

NIB_INLINE void add_lines(int rows, const uint8_t *codes, uint32_t lines, const int16_t *const *q,
                          int32x4_t low[2][4], int32x4_t high[2][4])
{
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) low[r][h] = high[r][h] = vdupq_n_s32(0);
    }
    for (uint32_t j = 0; j < lines; j++, codes += 64) {
        int16x8_t q02[2], q13[2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            int32x2_t pairs = vreinterpret_s32_s16(vld1_s16(q[r] + 4 * (size_t)j));
            q02[r] = vreinterpretq_s16_s32(vdupq_lane_s32(pairs, 0));
            q13[r] = vreinterpretq_s16_s32(vdupq_lane_s32(pairs, 1));
        }
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            int16x8_t line = vreinterpretq_s16_u8(vld1q_u8(codes + 16 * h));
            int16x8_t odd = vshrq_n_s16(line, 8), even = vshrq_n_s16(vshlq_n_s16(line, 8), 8);
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                low[r][h] = vmlal_s16(low[r][h], vget_low_s16(even), vget_low_s16(q02[r]));
                low[r][h] = vmlal_s16(low[r][h], vget_low_s16(odd), vget_low_s16(q13[r]));
                high[r][h] = vmlal_high_s16(high[r][h], even, q02[r]);
                high[r][h] = vmlal_high_s16(high[r][h], odd, q13[r]);
            }
        }
    }
}

NIB_INLINE void panel_sums(int rows, const uint8_t *codes, uint32_t lines, const uint8_t *row,
                           size_t row_bytes, size_t plane_bytes, double sums[2][16])
{
    (void)plane_bytes;
    memset(sums, 0, (size_t)rows * sizeof sums[0]);
    for (uint32_t j = 0; j < lines; j += SUM_LINES) {
        int32x4_t low[2][4], high[2][4]; /* outputs 0, 1 and 2, 3 of each quarter, as pairs */
        const int16_t *q[2];
        for (int r = 0; r < rows; r++) {
            q[r] = (const int16_t *)(const void *)(row + (size_t)r * row_bytes + NIB_ALIGN) +
                   4 * (size_t)j;
        }
        add_lines(rows, codes + (size_t)j * 64, lines - j < SUM_LINES ? lines - j : SUM_LINES, q,
                  low, high);
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            NIB_UNROLL
            for (int h = 0; h < 4; h++) {
                int32_t four[4];
                vst1q_s32(four, vpaddq_s32(low[r][h], high[r][h]));
                for (int i = 0; i < 4; i++) sums[r][4 * h + i] += four[i];
            }
        }
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    int8_run(w, first, count, rows, row_bytes_q16(w->k), m, y, ldy);
}

const nib__matmul nib__int8_neon = {
    .name = "q16_neon",
    .row_bytes = row_bytes_q16,
    .round_row = round_row,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
