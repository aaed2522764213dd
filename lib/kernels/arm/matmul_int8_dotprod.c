/* SPDX-License-Identifier: MIT
 * Int8 weights with one scale per row with SDOT, activations as two int8 planes. */
#include "kernels/arm/int8_neon.h"

NIB_INLINE int8x16_t repeat4(const uint8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

NIB_INLINE void panel_sums(int rows, const uint8_t *codes, uint32_t lines, const uint8_t *row,
                           size_t row_bytes, size_t plane_bytes, double sums[2][16])
{
    int32x4_t hi[2][4], lo[2][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) hi[r][h] = lo[r][h] = vdupq_n_s32(0);
    }
    for (uint32_t j = 0; j < lines; j++, codes += 64) {
        int8x16_t xh[2], xl[2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            const uint8_t *x = row + (size_t)r * row_bytes + NIB_ALIGN + 4 * (size_t)j;
            xh[r] = repeat4(x);
            xl[r] = repeat4(x + plane_bytes);
        }
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            const int8x16_t line = vreinterpretq_s8_u8(vld1q_u8(codes + 16 * h));
            NIB_UNROLL
            for (int r = 0; r < rows; r++) {
                hi[r][h] = vdotq_s32(hi[r][h], line, xh[r]);
                lo[r][h] = vdotq_s32(lo[r][h], line, xl[r]);
            }
        }
    }
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) store_planes(hi[r][h], lo[r][h], sums[r] + 4 * h);
    }
}

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    (void)scratch;
    int8_run(w, first, count, rows, nib__row8_bytes(w->k), m, y, ldy);
}

const nib__matmul nib__int8_dotprod = {
    .name = "q16_dotprod",
    .row_bytes = nib__row8_bytes,
    .round_row = nib__row8_round_ref,
    .run = run,
    .scratch_bytes = nib__scratch_none,
    .min_rows = 1,
};
