/* SPDX-License-Identifier: MIT
 * Rounded rows of a call laid side by side, so that a kernel reads all of them through one pointer:
 * a product of codes and four bytes of a row then loads only these. */
#ifndef NIB_KERNELS_X86_ROW_BLOCK_H
#define NIB_KERNELS_X86_ROW_BLOCK_H

#include <immintrin.h>

#include "kernels/simd.h"

enum { ROW_BLOCK = 8 }; /* most rows that share one unpacking */

/* Rounded rows side by side, and what all panels need of their sums: `step` of them (1, 2, 4 or 8),
 * of which `rows` are there: others repeat the last. */
typedef struct row_block {
    const int8_t *hi, *lo; /* [k / 4] times 4 bytes of each row, line_step apart */
    const float *sum;      /* [scale groups][step] as float32 */
    const int32_t *start;  /* [scale groups][step] -zero * sum */
    float scale[ROW_BLOCK];
    uint32_t step, rows;
} row_block;

/* A row alone lies as it was rounded. Of several, the high bytes of all and then the low bytes. */
NIB_INLINE size_t line_step(int rows)
{
    return rows == 1 ? 4 : 8 * (size_t)rows;
}

/* Four bytes of each of four rows, side by side. Four lines a step; `to` is `step` bytes further
 * for the next line. */
static inline void interleave(const int8_t *const from[4], uint32_t k, int8_t *to, size_t step)
{
    for (uint32_t i = 0; i < k; i += 16, to += 4 * step) {
        __m128i v[4], pair[4];
        NIB_UNROLL
        for (int r = 0; r < 4; r++) v[r] = _mm_loadu_si128((const void *)(from[r] + i));
        NIB_UNROLL
        for (int r = 0; r < 2; r++) {
            pair[r] = _mm_unpacklo_epi32(v[2 * r], v[2 * r + 1]);
            pair[2 + r] = _mm_unpackhi_epi32(v[2 * r], v[2 * r + 1]);
        }
        NIB_UNROLL
        for (int r = 0; r < 2; r++) {
            int8_t *line = to + (size_t)(2 * r) * step;
            _mm_storeu_si128((void *)line, _mm_unpacklo_epi64(pair[2 * r], pair[2 * r + 1]));
            _mm_storeu_si128((void *)(line + step),
                             _mm_unpackhi_epi64(pair[2 * r], pair[2 * r + 1]));
        }
    }
}

/* High and low bytes of `step` rows, 2 or more, as line_step has them. */
static inline void lay_planes(const nib__row16 *x, uint32_t step, uint32_t k, int8_t *to)
{
    const size_t line = 8 * (size_t)step;
    if (step == 2) {
        interleave((const int8_t *const[]){x[0].hi, x[1].hi, x[0].lo, x[1].lo}, k, to, line);
        return;
    }
    for (uint32_t r = 0; r < step; r += 4, x += 4) {
        int8_t *at = to + 4 * r;
        interleave((const int8_t *const[]){x[0].hi, x[1].hi, x[2].hi, x[3].hi}, k, at, line);
        at += 4 * step;
        interleave((const int8_t *const[]){x[0].lo, x[1].lo, x[2].lo, x[3].lo}, k, at, line);
    }
}

static inline size_t sums_bytes(uint32_t k)
{
    return k / 16 * (sizeof(float) + sizeof(int32_t));
}

/* Sums of one row over scale groups of 16 * per inputs, and -zero times that, `step` apart. */
static inline void lay_sums(const int32_t *from, uint32_t per, uint32_t groups, int32_t zero,
                            uint32_t step, float *sum, int32_t *start)
{
    for (uint32_t g = 0; g < groups; g++, from += per, sum += step, start += step) {
        const int32_t total = from[0] + (per == 2 ? from[1] : 0);
        *sum = (float)total;
        *start = -zero * total;
    }
}

/* A block of `step` rows, `rows` of them from `from` on; rows that are not there repeat the last.
 * `to` has step * laid_bytes(k) bytes. */
static inline row_block lay_rows(const nib__layout *layout, int32_t zero, const uint8_t *from,
                                 uint32_t step, uint32_t rows, uint32_t k, uint8_t *to)
{
    const uint32_t per = layout->scale_group / 16u, groups = k / layout->scale_group;
    float *sum = (float *)(void *)to;
    int32_t *start = (int32_t *)(void *)(sum + groups * step);
    int8_t *planes = (int8_t *)to + step * sums_bytes(k);
    row_block block = {planes, planes + 4 * step, sum, start, {0}, step, rows};
    nib__row16 x[ROW_BLOCK];
    for (uint32_t r = 0; r < step; r++) {
        x[r] = nib__row16_view(from + (r < rows ? r : rows - 1) * nib__row16_bytes(k), k);
        block.scale[r] = x[r].scale;
        lay_sums(x[r].sum, per, groups, zero, step, sum + r, start + r);
    }
    if (step == 1) {
        block.hi = x[0].hi;
        block.lo = x[0].lo;
    } else {
        lay_planes(x, step, k, planes);
    }
    return block;
}

static inline size_t laid_bytes(uint32_t k)
{
    return nib__align_up(2 * (size_t)k + sums_bytes(k), NIB_ALIGN);
}

#endif
