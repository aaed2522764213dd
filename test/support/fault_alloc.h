/* SPDX-License-Identifier: MIT
 * An allocator for tests: counts, limits, fails the Nth allocation, and knows what leaked. Safe for
 * several threads.
 *
 *     fault_alloc fa;
 *     for (size_t n = 1;; n++) {
 *         fault_alloc_init(&fa);
 *         fa.fail_at = n;
 *         nib_status status = thing_under_test(&fa.mem, ...);
 *         if (status == NIB_OK) thing_free(...);
 *         if (fault_turn_last(&fa, status, &err, 10)) break;    (fault_turn.h)
 *     } */
#ifndef TEST_SUPPORT_FAULT_ALLOC_H
#define TEST_SUPPORT_FAULT_ALLOC_H

#include <pthread.h>
#include <stddef.h>

#include "nibble.h"

typedef struct fault_alloc {
    nib_allocator mem; /* give this to the library */
    size_t fail_at;    /* 1-based number of the allocation that gives NULL; 0: none */
    size_t fail_after; /* if not 0, every allocation after that many gives NULL */
    size_t max_bytes;  /* if not 0, an allocation that would make live_bytes larger gives NULL */
    size_t count;      /* allocations asked for */
    size_t failed;     /* of these, given NULL */
    size_t live_blocks, live_bytes, peak_bytes;
    size_t largest; /* bytes of the largest request, granted or not */
    pthread_mutex_t lock;
} fault_alloc;

void fault_alloc_init(fault_alloc *fa);
void fault_alloc_done(fault_alloc *fa);

#endif
