/* SPDX-License-Identifier: MIT
 * Monotonic time in nanoseconds. */
#ifndef NIB_BASE_CLOCK_H
#define NIB_BASE_CLOCK_H

#include <stdint.h>

uint64_t nib__now_ns(void);

/* The time that lies so many microseconds ahead; 0 for 0. */
uint64_t nib__deadline(uint64_t budget_us);

#endif
