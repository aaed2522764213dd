/* SPDX-License-Identifier: MIT
 * Monotonic time. */
#define _GNU_SOURCE
#include "base/clock.h"

#include <time.h>

uint64_t nib__now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t nib__deadline(uint64_t budget_us)
{
    const uint64_t longest = 1000000000000u; /* 11 days, so that the sum cannot overflow */
    if (budget_us == 0) return 0;
    return nib__now_ns() + (budget_us < longest ? budget_us : longest) * 1000;
}
