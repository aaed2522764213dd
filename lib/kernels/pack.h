/* SPDX-License-Identifier: MIT
 * What pack.c and pack_words.c share: the place of one block of every row of a panel. */
#ifndef NIB_KERNELS_PACK_H
#define NIB_KERNELS_PACK_H

#include "base/bytes.h"
#include "kernels/kernels.h"

typedef struct nib__blocks {
    const uint8_t *src; /* row 0's block; the next row's is `stride` bytes behind */
    size_t stride;
    uint32_t rows;      /* that exist, up to 16; what the others leave out is not touched, or 0 */
    uint8_t *entry;     /* the block's part of the panel's scale area */
    uint8_t *groups;    /* and of its codes */
} nib__blocks;

typedef void nib__pack_blocks(const nib__blocks *b);

/* For the formats that are met most; NULL: another. */
nib__pack_blocks *nib__pack_blocks_of(nib__format format);

/* Eight factors of d and of dmin, 6 bits each, packed into 12 bytes (nib__k4_scale_min), four at a
 * time as the bytes of a word. */
static inline void nib__k4_scales(const uint8_t *src, uint32_t scales[2], uint32_t mins[2])
{
    const uint32_t six = 0x3f3f3f3fu, low = 0x0f0f0f0fu, high = 0x30303030u;
    uint32_t a = nib__le32(src), b = nib__le32(src + 4), c = nib__le32(src + 8);
    scales[0] = a & six;
    scales[1] = (c & low) | (a >> 2 & high);
    mins[0] = b & six;
    mins[1] = (c >> 4 & low) | (b >> 2 & high);
}

#endif
