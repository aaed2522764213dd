/* SPDX-License-Identifier: MIT
 * Buffers between two unreadable pages, so that a read or write outside stops the test. */
#ifndef NIB_TEST_GUARD_H
#define NIB_TEST_GUARD_H

#include <stddef.h>

/* size bytes, rounded up to a multiple of 64, ending right before an unreadable page; zeroed. */
void *guard_alloc(size_t size);
void guard_free(void *ptr, size_t size);

#endif
