/* SPDX-License-Identifier: MIT
 * Worker pool. One loop at a time: the caller publishes the job, bumps the epoch, works along, and
 * waits until every worker has acknowledged. Workers wait actively for about 100 us between loops
 * (a decode step is some hundred loops of tens of microseconds), then sleep on a condition. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/cpu.h"

enum { MAX_THREADS = 256, SPINS = 1500, WORKER_STACK = 256 << 10 };

typedef struct pool_worker {
    nib__pool *pool;
    pthread_t thread;
} pool_worker;

struct nib__pool {
    nib_allocator mem;
    nib_parallel host; /* run == NULL: our own threads */
    uint32_t n_threads;
    uint32_t n_workers; /* started threads, the caller apart */
    uint32_t spins;
    pid_t pid;
    pool_worker *workers;

    void (*task)(void *arg, uint32_t i);
    void *arg;
    uint32_t n;

    _Alignas(64) atomic_uint next;    /* next index to hand out */
    _Alignas(64) atomic_uint epoch;   /* one more for every loop; also on quit */
    _Alignas(64) atomic_uint pending; /* workers that have not finished this loop */
    _Alignas(64) atomic_uint sleepers;
    atomic_bool active; /* between begin and end */
    atomic_bool quit;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void work(nib__pool *pool)
{
    for (;;) {
        uint32_t i = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (i >= pool->n) return;
        pool->task(pool->arg, i);
    }
}

static void await_epoch(nib__pool *pool, uint32_t seen)
{
    for (uint32_t spin = 0; spin < pool->spins; spin++) {
        if (atomic_load_explicit(&pool->epoch, memory_order_acquire) != seen) return;
        if (!atomic_load_explicit(&pool->active, memory_order_relaxed)) break;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    /* Sequentially consistent with publish(): either it sees this sleeper, or we see its epoch. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->epoch) == seen) pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    nib__pool *pool = ((pool_worker *)arg)->pool;
    for (uint32_t seen = 0;;) {
        await_epoch(pool, seen);
        seen = atomic_load_explicit(&pool->epoch, memory_order_acquire);
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) return NULL;
        work(pool);
        atomic_fetch_sub_explicit(&pool->pending, 1, memory_order_release);
    }
}

static void publish(nib__pool *pool)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers) != 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* Starts as many workers as the system gives, up to n_threads - 1. */
static void start_workers(nib__pool *pool)
{
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0) return;
    (void)pthread_attr_setstacksize(&attr, WORKER_STACK);
    for (uint32_t i = 0; i + 1 < pool->n_threads; i++) {
        pool_worker *worker = &pool->workers[i];
        worker->pool = pool;
        if (pthread_create(&worker->thread, &attr, worker_main, worker) != 0) break;
        pool->n_workers++;
    }
    pthread_attr_destroy(&attr);
}

nib_status nib__pool_new(const nib_allocator *mem, uint32_t n_threads, const nib_parallel *host,
                         nib__pool **out, nib_error *err)
{
    if (n_threads > MAX_THREADS) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "n_threads: expected at most %d, got %u",
                         (int)MAX_THREADS, n_threads);
    }
    nib__pool *pool = nib__alloc(mem, 1, sizeof *pool);
    if (pool == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the thread pool");
    pool->mem = *mem;
    pool->n_threads = n_threads == 0 ? 1 : n_threads;
    pool->pid = getpid();
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (host != NULL && host->run != NULL) {
        pool->host = *host;
        pool->n_threads = host->n_threads == 0 ? 1 : host->n_threads;
    } else if (pool->n_threads > 1) {
        /* Waiting actively on a CPU that another worker needs would only slow it down. */
        pool->spins = pool->n_threads <= nib__cpu_count() ? SPINS : 0;
        pool->workers = nib__alloc(mem, pool->n_threads - 1, sizeof *pool->workers);
        if (pool->workers == NULL) {
            nib__pool_free(pool);
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for %u threads", n_threads);
        }
        start_workers(pool);
        pool->n_threads = pool->n_workers + 1;
    }
    *out = pool;
    return NIB_OK;
}

void nib__pool_free(nib__pool *pool)
{
    if (pool == NULL) return;
    if (pool->pid == getpid()) { /* after fork() the child has no workers to join */
        atomic_store(&pool->quit, true);
        publish(pool);
        for (uint32_t i = 0; i < pool->n_workers; i++) pthread_join(pool->workers[i].thread, NULL);
        pthread_cond_destroy(&pool->wake);
        pthread_mutex_destroy(&pool->mutex);
    }
    nib_allocator mem = pool->mem;
    nib__free(&mem, pool->workers);
    nib__free(&mem, pool);
}

uint32_t nib__pool_threads(const nib__pool *pool)
{
    return pool == NULL ? 1 : pool->n_threads;
}

void nib__pool_begin(nib__pool *pool)
{
    if (pool == NULL || pool->n_workers == 0) return;
    if (pool->pid != getpid()) { /* forked: the threads stayed in the parent */
        pool->n_workers = 0;
        pool->n_threads = 1;
        return;
    }
    atomic_store_explicit(&pool->active, true, memory_order_relaxed);
}

void nib__pool_end(nib__pool *pool)
{
    if (pool != NULL) atomic_store_explicit(&pool->active, false, memory_order_relaxed);
}

void nib__pool_run(nib__pool *pool, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    if (pool != NULL && pool->host.run != NULL && n > 1) {
        pool->host.run(pool->host.user, n, task, arg);
        return;
    }
    if (pool == NULL || pool->n_workers == 0 || n <= 1) {
        for (uint32_t i = 0; i < n; i++) task(arg, i);
        return;
    }
    pool->task = task;
    pool->arg = arg;
    pool->n = n;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->pending, pool->n_workers, memory_order_relaxed);
    publish(pool);
    work(pool);
    for (uint32_t spin = 0; atomic_load_explicit(&pool->pending, memory_order_acquire) != 0;
         spin++) {
        if (spin < pool->spins)
            relax();
        else
            sched_yield();
    }
}
