/* SPDX-License-Identifier: MIT
 * What the ARM kernels of int8 weights with one scale per row share: the loop over panels and rows,
 * and the way from exact sums to results (kernels.h). The files that include this define
 *     void panel_sums(rows, codes, lines, row, row_bytes, plane_bytes, double sums[2][16])
 * for 1 or 2 rows (a constant): exact sums of code * q. */
#ifndef NIB_KERNELS_ARM_INT8_NEON_H
#define NIB_KERNELS_ARM_INT8_NEON_H

#include "kernels/arm/neon.h"
#include "kernels/panel.h"
#include "kernels/ref/ref.h"

/* 256 * hi + lo of four outputs. */
NIB_INLINE void store_planes(int32x4_t hi, int32x4_t lo, double *sums)
{
    int64x2_t low = vaddw_s32(vshll_n_s32(vget_low_s32(hi), 8), vget_low_s32(lo));
    int64x2_t high = vaddw_s32(vshll_n_s32(vget_high_s32(hi), 8), vget_high_s32(lo));
    vst1q_f64(sums, vcvtq_f64_s64(low));
    vst1q_f64(sums + 2, vcvtq_f64_s64(high));
}

NIB_INLINE void panel_sums(int rows, const uint8_t *codes, uint32_t lines, const uint8_t *row,
                           size_t row_bytes, size_t plane_bytes, double sums[2][16]);

/* y at the panel's first column. */
NIB_INLINE void int8_tile(int rows, const nib__packed *w, uint32_t p, const uint8_t *row,
                          size_t row_bytes, float *y, size_t ldy)
{
    const uint8_t *panel = nib__panel_at(w, p);
    const nib__int8_head *head = (const nib__int8_head *)(const void *)panel;
    const size_t plane_bytes = nib__row8_plane(w->k);
    double sums[2][16];
    panel_sums(rows, panel + w->code_offset, (uint32_t)(plane_bytes / 4), row, row_bytes,
               plane_bytes, sums);
    NIB_UNROLL
    for (int r = 0; r < rows; r++) {
        float a;
        memcpy(&a, row + (size_t)r * row_bytes, sizeof a);
        for (uint32_t n = 0; n < nib__panel_rows(w, p); n++) {
            y[(size_t)r * ldy + n] = (float)sums[r][n] * head->scale[n] * a;
        }
    }
}

static void int8_run(const nib__packed *w, uint32_t first, uint32_t count, const void *rows,
                     size_t row_bytes, uint32_t m, float *y, size_t ldy)
{
    for (uint32_t p = first; p < first + count; p++) {
        float *out = y + (size_t)p * NIB__PANEL;
        const uint8_t *row = rows;
        uint32_t at = 0;
        for (; at + 2 <= m; at += 2) {
            int8_tile(2, w, p, row + at * row_bytes, row_bytes, out + at * ldy, ldy);
        }
        if (at < m) int8_tile(1, w, p, row + at * row_bytes, row_bytes, out + at * ldy, ldy);
    }
}

#endif
