/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row with SMMLA: the two rows of 8 k that one instruction takes
 * are the high and the low plane of the same activations. */
#include "kernels/arm/int8_neon.h"

NIB_INLINE int8x16_t both_planes(const uint8_t *x, size_t plane_bytes)
{
    return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(x), vld1_u8(x + plane_bytes)));
}

NIB_INLINE void panel_sums(int rows, const uint8_t *codes, uint32_t lines, const uint8_t *row,
                           size_t row_bytes, size_t plane_bytes, double sums[2][16])
{
    int32x4_t acc[2][8]; /* of outputs 2i, 2i + 1: hi, lo, hi, lo */
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int i = 0; i < 8; i++) acc[r][i] = vdupq_n_s32(0);
    }
    for (uint32_t j = 0; j < lines; j += 2, codes += 128) {
        int8x16_t x[2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const uint8_t *at = row + (size_t)r * row_bytes + NIB_ALIGN + 4 * (size_t)j;
            x[r] = both_planes(at, plane_bytes);
        }
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const int32x4_t even = vreinterpretq_s32_u8(vld1q_u8(codes + 16 * h));
            const int32x4_t odd = vreinterpretq_s32_u8(vld1q_u8(codes + 64 + 16 * h));
            const int8x16_t first = vreinterpretq_s8_s32(vzip1q_s32(even, odd));
            const int8x16_t second = vreinterpretq_s8_s32(vzip2q_s32(even, odd));
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                acc[r][2 * h] = vmmlaq_s32(acc[r][2 * h], first, x[r]);
                acc[r][2 * h + 1] = vmmlaq_s32(acc[r][2 * h + 1], second, x[r]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const int32x4_t a = acc[r][2 * h], b = acc[r][2 * h + 1];
            store_planes(vuzp1q_s32(a, b), vuzp2q_s32(a, b), sums[r] + 4 * h);
        }
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    int8_run(w, first, count, rows, nib__row8_bytes(w->k), m, y, ldy);
}

const nib__matmul nib__int8_i8mm = {
    .name = "q16_i8mm",
    .row_bytes = nib__row8_bytes,
    .round_row = nib__row8_round_ref,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
