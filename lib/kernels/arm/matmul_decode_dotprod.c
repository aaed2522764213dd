/* SPDX-License-Identifier: MIT
 * Decode of coded weights with SDOT: the two int8 planes of the activations, q = 256 * hi + lo,
 * each take one instruction per four outputs and four k. */
#include "kernels/arm/neon.h"
#include "kernels/ref/ref.h"

typedef nib__row16 row_view;

NIB_INLINE row_view view_row(const void *row, uint32_t k)
{
    return nib__row16_view(row, k);
}

NIB_INLINE const int32_t *row_sum16(const row_view *x)
{
    return x->sum;
}

NIB_INLINE float row_scale(const row_view *x)
{
    return x->scale;
}

NIB_INLINE int8x16_t repeat4(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

NIB_INLINE void group_dot(code_class c, int from, int lines, int rows, const uint8_t *group,
                          int8x16_t book, const row_view *x, uint32_t k, int32x4_t sum[2][4])
{
    int32x4_t hi[2][4], lo[2][4];
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        NIB_UNROLL
        for (int h = 0; h < 4; h++) hi[r][h] = lo[r][h] = vdupq_n_s32(0);
    }
    NIB_UNROLL
    for (int j = from; j < from + lines; j++) {
        int8x16_t xh[2], xl[2];
        NIB_UNROLL
        for (int r = 0; r < rows; r++) {
            xh[r] = repeat4(x[r].hi + k + 4 * (uint32_t)j);
            xl[r] = repeat4(x[r].lo + k + 4 * (uint32_t)j);
        }
        NIB_UNROLL
        for (int h = 0; h < 4; h++) {
            int8x16_t line = code_line(c, group, j, h, book);
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
        for (int h = 0; h < 4; h++) {
            sum[r][h] = vaddq_s32(vshlq_n_s32(hi[r][h], 8), lo[r][h]);
        }
    }
}

#include "kernels/arm/decode_neon.h"

static void run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows, uint32_t m,
                float *y, size_t ldy, void *scratch)
{
    decode_run(w, first, count, rows, nib__row16_bytes(w->k), m, y, ldy, scratch);
}

const nib__matmul nib__decode_coded_dotprod = {
    .name = "q16_dotprod",
    .row_bytes = nib__row16_bytes,
    .round_row = nib__row16_round_ref,
    .run = run,
    .scratch_bytes = decode_scratch,
    .min_rows = 1,
};
