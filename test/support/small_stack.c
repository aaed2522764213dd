/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "small_stack.h"

#include <pthread.h>
#include <unistd.h>

#include "test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

void on_small_stack(void *(*work)(void *), void *arg)
{
    enum { STACK = 64 << 10 };
    const long least = sysconf(_SC_THREAD_STACK_MIN);
    pthread_attr_t attr;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attr), 0);
    if (!SANITIZED)
        assert_int_equal(
            pthread_attr_setstacksize(&attr, least > STACK ? (size_t)least : (size_t)STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, work, arg), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
}
