/* SPDX-License-Identifier: MIT
 * A thread with the stack of a modest host: what the library does must fit in it. */
#ifndef NIB_TEST_SUPPORT_SMALL_STACK_H
#define NIB_TEST_SUPPORT_SMALL_STACK_H

/* Runs `work(arg)` on a thread with a stack of 64 KB, or of the least that the platform allows where
 * that is more (AArch64: 128 KB), and waits for its end. Sanitizers make every frame several times as
 * large: there the stack is the platform's usual one. Fails the test if there is no thread. */
void on_small_stack(void *(*work)(void *), void *arg);

#endif
