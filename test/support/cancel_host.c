/* SPDX-License-Identifier: MIT
 * A host's thread pool that cancels a session. */
#include "cancel_host.h"

static void run(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    cancel_host *host = user;
    if (++host->runs == host->cancel_at) nib_session_cancel(host->session);
    for (uint32_t i = 0; i < n; i++) task(arg, i);
}

nib_parallel cancel_host_parallel(cancel_host *host)
{
    return (nib_parallel){run, host, 2};
}
