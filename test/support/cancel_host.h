/* SPDX-License-Identifier: MIT
 * A host's thread pool that cancels a session at the beginning of a chosen region of work. */
#ifndef TEST_SUPPORT_CANCEL_HOST_H
#define TEST_SUPPORT_CANCEL_HOST_H

#include "nibble.h"

typedef struct cancel_host {
    nib_session *session;     /* set by the test once it is made */
    uint32_t runs, cancel_at; /* regions so far; the one that cancels, from 1; 0: none */
} cancel_host;

/* For nib_session_options.parallel; two threads, in name. */
nib_parallel cancel_host_parallel(cancel_host *host);

#endif
