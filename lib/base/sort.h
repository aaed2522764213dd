/* SPDX-License-Identifier: MIT
 * Sorting of index arrays in place: no allocation, no recursion, O(n log n) on every input. */
#ifndef NIB_BASE_SORT_H
#define NIB_BASE_SORT_H

#include <stddef.h>
#include <stdint.h>

/* Orders index[n] so that compare(ctx, index[i], index[i + 1]) <= 0. Not stable. */
void nib__sort_index(uint32_t *index, size_t n,
                     int (*compare)(const void *ctx, uint32_t a, uint32_t b), const void *ctx);

#endif
