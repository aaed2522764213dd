/* SPDX-License-Identifier: MIT
 * Heap sort. libc's qsort may allocate behind the caller's allocator and has no context. */
#include "base/sort.h"

typedef int compare_fn(const void *ctx, uint32_t a, uint32_t b);

/* Lets `value` sink from `at` in the max-heap index[n]. */
static void sink(uint32_t *index, size_t n, size_t at, uint32_t value, compare_fn *compare,
                 const void *ctx)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) break;
        if (child + 1 < n && compare(ctx, index[child], index[child + 1]) < 0) child++;
        if (compare(ctx, value, index[child]) >= 0) break;
        index[at] = index[child];
        at = child;
    }
    index[at] = value;
}

void nib__sort_index(uint32_t *index, size_t n, compare_fn *compare, const void *ctx)
{
    if (n < 2) return;
    for (size_t i = n / 2; i-- > 0;) sink(index, n, i, index[i], compare, ctx);
    for (size_t end = n - 1; end > 0; end--) {
        uint32_t value = index[end];
        index[end] = index[0];
        sink(index, end, 0, value, compare, ctx);
    }
}
