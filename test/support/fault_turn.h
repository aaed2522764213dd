/* SPDX-License-Identifier: MIT
 * The end of each turn of a loop that lets every allocation fail once. */
#ifndef TEST_SUPPORT_FAULT_TURN_H
#define TEST_SUPPORT_FAULT_TURN_H

#include <stdbool.h>

#include "fault_alloc.h"

/* After the thing under test ended with `status` and was freed: nothing is left, and either the
 * allocation number fa->fail_at failed, which is NIB_ERR_MEMORY with a message, or there was none of
 * that number, and all went well. True for the latter: the loop ends, after more than `least` turns.
 * Ends `fa`. */
bool fault_turn_last(fault_alloc *fa, nib_status status, const nib_error *err, size_t least);

#endif
