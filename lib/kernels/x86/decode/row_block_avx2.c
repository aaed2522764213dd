/* SPDX-License-Identifier: MIT
 * Rows of int8 activations with a scale per 32 k for the decode kernels of all x86 levels. */
#include "kernels/x86/decode/row_block.h"

/* Sums of scale groups [from, end), of 16 * per inputs, of a plane: to[end - from]. */
static void lay_group_sums(const row_g32 *x, uint32_t per, uint32_t from, uint32_t end,
                           int32_t zero, group_sum *to)
{
    const float *scaled = per == 2 ? x->scaled32 : x->scaled16;
    for (uint32_t g = from; g < end; g++, to++) {
        *to = (group_sum){scaled[g], -zero * (per == 2 ? x->sum32[g] : x->sum16[g])};
    }
}

row_block nib__block_of_g32_avx2(const nib__layout *layout, int32_t zero, const uint8_t *from,
                                 uint32_t step, uint32_t rows, uint32_t k, uint8_t *to)
{
    const uint32_t per = layout->scale_group / 16u, groups = k / layout->scale_group;
    const size_t stride = nib__row_g32_bytes_avx2(k);
    row_block block = places_of(step, rows, stride);
    for (uint32_t r = rows; r-- > 0;) {
        row_g32 x;
        row_g32_rest rest;
        nib__row_g32_view_avx2(from + r * stride, k, &x, &rest);
        lay_group_sums(&x, per, 0, groups, zero, (void *)(to + r * stride));
        block.hi = x.q;
        block.scales = x.scale;
    }
    block.sums = (const void *)to;
    return block;
}

bool nib__rest_next_avx2(rest_walk *walk, const nib__packed *w)
{
    const uint32_t per = w->layout->scale_group / 16u, parts = 2 / per;
    const row_g32 *plane = &walk->rest.plane;
    while (walk->next == walk->rest.count) {
        row_g32 first;
        if (walk->left-- == 0) return false;
        nib__row_g32_view_avx2(walk->rows, w->k, &first, &walk->rest);
        walk->rows += nib__row_g32_bytes_avx2(w->k);
        walk->row++;
        walk->next = 0;
    }
    const uint32_t g = walk->group = walk->rest.groups[walk->next++];
    lay_group_sums(plane, per, g * parts, (g + 1) * parts, walk->zero, walk->sums);
    walk->block.hi = plane->q + (size_t)g * NIB__GROUP;
    walk->block.scales = plane->scale + g;
    walk->block.sums = walk->sums;
    return true;
}
