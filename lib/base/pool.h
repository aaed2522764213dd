/* SPDX-License-Identifier: MIT
 * Parallel loops: our own threads, the host's, or none. Work is split into fixed pieces whose
 * results do not depend on who runs them, so any number of threads gives the same bits. */
#ifndef NIB_BASE_POOL_H
#define NIB_BASE_POOL_H

#include <stdatomic.h>

#include "base/mem.h"

typedef struct nib__pool nib__pool;

/* n_threads counts the calling thread; 1 (or host != NULL) starts none. If fewer threads start than
 * asked, the pool has fewer. */
nib_status nib__pool_new(const nib_allocator *mem, uint32_t n_threads, const nib_parallel *host,
                         nib__pool **pool, nib_error *err);
void nib__pool_free(nib__pool *pool);
uint32_t nib__pool_threads(const nib__pool *pool);

/* Between begin and end workers wait actively for a bounded time between two loops; after end they
 * sleep. Every public call that evaluates is one begin/end pair. */
void nib__pool_begin(nib__pool *pool);
void nib__pool_end(nib__pool *pool);

/* Calls task(arg, i) for every i in [0, n); returns when all have finished. `pool` may be NULL. */
void nib__pool_run(nib__pool *pool, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg);

/* What comes after the next loop is read from memory: until nib__pool_end or another call, threads
 * that find no work fetch `bytes` from `at` + their number * `lane` into their caches. Nothing is
 * accessed: the memory may even be gone. NULL: nothing is known. */
void nib__pool_ahead(nib__pool *pool, const void *at, size_t lane, size_t bytes);

#endif
