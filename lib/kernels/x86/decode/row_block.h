/* SPDX-License-Identifier: MIT
 * A few rounded rows of a call, read where they were rounded. They are equally far apart, so that
 * an address of four of them is a pointer and a multiple of that distance: a product of codes and
 * four bytes of a row loads only these. */
#ifndef NIB_KERNELS_X86_ROW_BLOCK_H
#define NIB_KERNELS_X86_ROW_BLOCK_H

#include <immintrin.h>
#include <string.h>

#include "kernels/simd.h"
#include "kernels/x86/rows_avx2.h"

enum { ROW_BLOCK = 8 }; /* most rows that share one unpacking */

/* How the rows of a call are rounded; a constant for which kernels are compiled. */
typedef enum row_rounding {
    ROWS_Q16, /* nib__row16: two planes and a scale per row */
    ROWS_G32  /* row_g32: a plane with a scale per 32 k, second planes of a few groups */
} row_rounding;

/* Groups of 32 k of a panel; ROWS_Q16: all of it. */
typedef struct group_range {
    uint32_t from, end;
} group_range;

/* What all panels need of the numbers of a scale group of a row. */
typedef struct group_sum {
    float sum;     /* of q, with ROWS_G32 times its scale */
    int32_t start; /* -zero * sum */
} group_sum;

/* `step` rows (1, 2, 4 or 8), of which `rows` are there. Others repeat one: of 4, the fourth is the
 * third, and of 8 the upper four are the last four. Rows and their sums are `stride` apart. */
typedef struct row_block {
    const int8_t *hi, *lo;        /* [k] of the first row; ROWS_G32: hi only */
    const float *scales;          /* ROWS_G32: [k / 32] of the first row */
    const group_sum *sums;        /* [scale groups] of the first row */
    float scale[ROW_BLOCK];       /* of row_of(); ROWS_G32: 1 */
    size_t stride, fourth, upper; /* from the first row to the second, fourth and fifth */
    uint32_t step, rows;
} row_block;

/* Which row of the call stands at place r of its block. */
static inline uint32_t row_of(const row_block *x, uint32_t r)
{
    if (r >= 4) return x->rows - 8 + r;
    return r < x->rows ? r : x->rows - 1;
}

/* From the first row to the one at place r, a constant. */
NIB_INLINE size_t row_at(const row_block *x, int r)
{
    const size_t four[4] = {0, x->stride, 2 * x->stride, x->fourth};
    return (r >= 4 ? x->upper : 0) + four[r % 4];
}

NIB_INLINE const group_sum *sums_at(const row_block *x, const group_sum *first, int r)
{
    return (const void *)((const uint8_t *)first + row_at(x, r));
}

/* Scale of group g, counted from `first`, of the row at place r, in all lanes where it is used. */
NIB_INLINE float scale_at(const row_block *x, const float *first, int r)
{
    float scale;
    memcpy(&scale, (const uint8_t *)first + row_at(x, r), sizeof scale);
    return scale;
}

/* Sums of a row over scale groups of 16 * per inputs. */
static inline void lay_sums(const int32_t *from, uint32_t per, uint32_t groups, int32_t zero,
                            group_sum *to)
{
    const __m256i factor = _mm256_set1_epi32(-zero);
    uint32_t g = 0;
    for (; g + 8 <= groups; g += 8, from += 8 * per) {
        __m256i sum = _mm256_loadu_si256((const void *)from);
        if (per == 2) {
            sum = _mm256_hadd_epi32(sum, _mm256_loadu_si256((const void *)(from + 8)));
            sum = _mm256_permute4x64_epi64(sum, 0xd8);
        }
        const __m256i f = _mm256_castps_si256(_mm256_cvtepi32_ps(sum));
        const __m256i start = _mm256_mullo_epi32(sum, factor);
        const __m256i a = _mm256_unpacklo_epi32(f, start), b = _mm256_unpackhi_epi32(f, start);
        _mm256_storeu_si256((void *)(to + g), _mm256_permute2x128_si256(a, b, 0x20));
        _mm256_storeu_si256((void *)(to + g + 4), _mm256_permute2x128_si256(a, b, 0x31));
    }
    for (; g < groups; g++, from += per) {
        const int32_t sum = from[0] + (per == 2 ? from[1] : 0);
        to[g] = (group_sum){(float)sum, -zero * sum};
    }
}

/* Where the rows of a block of `rows` rows, `stride` apart, stand at `step` places. */
static inline row_block places_of(uint32_t step, uint32_t rows, size_t stride)
{
    return (row_block){.scale = {1, 1, 1, 1, 1, 1, 1, 1},
                       .stride = stride,
                       .fourth = (rows < 4 ? 2 : 3) * stride,
                       .upper = rows < 4 ? 0 : (rows - 4) * stride,
                       .step = step,
                       .rows = rows};
}

/* A block of `step` places for `rows` rows from `from` on. `to`: as many bytes as the rows have. */
static inline row_block block_of_rows(const nib__layout *layout, int32_t zero, const uint8_t *from,
                                      uint32_t step, uint32_t rows, uint32_t k, uint8_t *to)
{
    const uint32_t per = layout->scale_group / 16u, groups = k / layout->scale_group;
    const size_t stride = nib__row16_bytes(k);
    const nib__row16 first = nib__row16_view(from, k);
    row_block block = places_of(step, rows, stride);
    block.hi = first.hi;
    block.lo = first.lo;
    block.sums = (const void *)to;
    for (uint32_t r = 0; r < rows; r++) {
        const nib__row16 x = nib__row16_view(from + r * stride, k);
        lay_sums(x.sum, per, groups, zero, (void *)(to + r * stride));
    }
    for (uint32_t r = 0; r < step; r++) {
        block.scale[r] = nib__row16_view(from + row_of(&block, r) * stride, k).scale;
    }
    return block;
}

/* Goes through the second planes of all rows of a call: each group is a block of its own. */
typedef struct rest_walk {
    const uint8_t *rows; /* of the row that follows */
    uint32_t left;       /* rows from there on */
    uint32_t next;       /* in rest.groups */
    row_g32_rest rest;   /* of the row before */
    int32_t zero;
    row_block block;     /* begins at the group */
    group_sum sums[2];   /* of the block */
    uint32_t group, row; /* where it belongs */
} rest_walk;

static inline rest_walk rest_of_rows(const uint8_t *rows, uint32_t m, int32_t zero)
{
    return (rest_walk){
        .rows = rows, .left = m, .zero = zero, .block = places_of(1, 1, 0), .row = UINT32_MAX};
}

/* False: there are no more. */
bool nib__rest_next_avx2(rest_walk *walk, const nib__packed *w);

/* As block_of_rows, of rows that are rounded with a scale per 32 k. */
row_block nib__block_of_g32_avx2(const nib__layout *layout, int32_t zero, const uint8_t *from,
                                 uint32_t step, uint32_t rows, uint32_t k, uint8_t *to);

#endif
