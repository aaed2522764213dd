/* SPDX-License-Identifier: MIT
 * Monotonic time in nanoseconds. */
#ifndef NIB_BASE_CLOCK_H
#define NIB_BASE_CLOCK_H

#include <stdint.h>

uint64_t nib__now_ns(void);

#endif
