/* SPDX-License-Identifier: MIT
 * A progress callback that cancels. */
#ifndef NIB_TEST_SUPPORT_STOP_LATER_H
#define NIB_TEST_SUPPORT_STOP_LATER_H

#include "test.h"

/* Cancels at the call that brings the int at `user` to 0. */
static inline int32_t stop_later(void *user, double fraction)
{
    assert_true(fraction >= 0 && fraction <= 1);
    return --*(int *)user == 0;
}

#endif
