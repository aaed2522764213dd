/* SPDX-License-Identifier: MIT
 * Kernel tests that run once for each instruction set. */
#ifndef NIB_TEST_SUPPORT_LEVELS_H
#define NIB_TEST_SUPPORT_LEVELS_H

#include "base/cpu.h"
#include "test.h"

/* A test for each level, under the level's name; they go to tests[NIB__ISA_COUNT]. */
void levels_list(CMUnitTestFunction test, struct CMUnitTest *tests);

/* The level of the test that was given this state; skips the test where this CPU lacks it. */
nib__isa level_here(void **state);

/* All of a program whose only tests these are. */
int levels_run(const char *name, CMUnitTestFunction test);

#endif
