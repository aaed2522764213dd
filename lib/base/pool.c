/* SPDX-License-Identifier: MIT
 * Worker pool. One loop at a time: the caller publishes the job under a new ticket, works along,
 * and waits until every index is done. It does not wait for workers: one that the system does not
 * let run holds nobody up, unless it is in the middle of a piece. Workers wait actively for about
 * 100 us between loops (a decode step is some hundred loops of tens of microseconds), then sleep on
 * a condition.
 *
 * The ticket is (number of the loop, next index). Indices are handed out by compare-and-swap, so a
 * worker that comes late cannot take an index of a loop whose job it has not read: between two
 * loops the ticket is closed, and only then does the job change. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h> /* pthread_sigmask */
#include <unistd.h>

#include "base/cpu.h"

#define CLOSED UINT32_MAX

/* A waiting thread fetches AHEAD_LINES cache lines each time before it looks for work. */
enum { MAX_THREADS = 256, SPINS = 1500, WORKER_STACK = 256 << 10, AHEAD_LINES = 6, LINE = 64 };

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

    void (*_Atomic task)(void *arg, uint32_t i);
    void *_Atomic arg;
    atomic_uint n;

    /* What is to be fetched. Who reads some of it too early or too late fetches something else. */
    atomic_uintptr_t ahead;
    atomic_size_t ahead_lane, ahead_bytes;

    _Alignas(64) atomic_ullong ticket; /* loop << 32 | next index; CLOSED: between two loops */
    _Alignas(64) atomic_uint done;     /* indices of this loop that are finished */
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

/* How far a thread has fetched ahead. */
typedef struct fetched {
    uintptr_t from;
    size_t bytes;
} fetched;

static void fetch_ahead(nib__pool *pool, uint32_t thread, fetched *f)
{
    uintptr_t from = atomic_load_explicit(&pool->ahead, memory_order_relaxed);
    if (from == 0) return;
    from += thread * atomic_load_explicit(&pool->ahead_lane, memory_order_relaxed);
    if (from != f->from) *f = (fetched){from, 0};
    if (f->bytes >= atomic_load_explicit(&pool->ahead_bytes, memory_order_relaxed)) return;
    const char *at = (const char *)(from + f->bytes);
    for (uint32_t i = 0; i < AHEAD_LINES; i++) __builtin_prefetch(at + i * LINE, 0, 2);
    f->bytes += AHEAD_LINES * LINE;
}

static uint32_t loop_of(unsigned long long ticket)
{
    return (uint32_t)(ticket >> 32);
}

static void work(nib__pool *pool)
{
    for (;;) {
        unsigned long long ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        uint32_t i = (uint32_t)ticket;
        /* Acquire: who sees the next loop's n also sees that the ticket was closed. */
        if (i >= atomic_load_explicit(&pool->n, memory_order_acquire)) return;
        void (*task)(void *, uint32_t) = atomic_load_explicit(&pool->task, memory_order_relaxed);
        void *arg = atomic_load_explicit(&pool->arg, memory_order_relaxed);
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + 1,
                                                   memory_order_acq_rel, memory_order_relaxed))
            continue;
        task(arg, i);
        atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
    }
}

static void await_loop(nib__pool *pool, uint32_t seen, uint32_t thread, fetched *ahead)
{
    for (uint32_t spin = 0; spin < pool->spins; spin++) {
        unsigned long long ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        if (loop_of(ticket) != seen) return;
        if (!atomic_load_explicit(&pool->active, memory_order_relaxed)) break;
        fetch_ahead(pool, thread, ahead);
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    /* Sequentially consistent with publish(): either it sees this sleeper, or we see its loop. */
    atomic_fetch_add(&pool->sleepers, 1);
    while (loop_of(atomic_load(&pool->ticket)) == seen) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *arg)
{
    const pool_worker *self = arg;
    nib__pool *pool = self->pool;
    const uint32_t thread = (uint32_t)(self - pool->workers) + 1; /* the caller is 0 */
    fetched ahead = {0, 0};
    for (uint32_t seen = 0;;) {
        await_loop(pool, seen, thread, &ahead);
        seen = loop_of(atomic_load_explicit(&pool->ticket, memory_order_acquire));
        if (atomic_load_explicit(&pool->quit, memory_order_relaxed)) return NULL;
        work(pool);
    }
}

/* The next loop, with n indices. */
static void publish(nib__pool *pool, void (*task)(void *arg, uint32_t i), void *arg, uint32_t n)
{
    unsigned long long loop =
        atomic_load_explicit(&pool->ticket, memory_order_relaxed) & ~(unsigned long long)CLOSED;
    atomic_store_explicit(&pool->ticket, loop | CLOSED, memory_order_relaxed);
    atomic_store_explicit(&pool->n, n, memory_order_release);
    atomic_store_explicit(&pool->task, task, memory_order_relaxed);
    atomic_store_explicit(&pool->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store(&pool->ticket, loop + ((unsigned long long)1 << 32));
    if (atomic_load(&pool->sleepers) != 0) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->mutex);
    }
}

/* What is sent to the process is for the host's threads: its handlers may expect one of them, and
 * more stack. A thread's own faults stay out of this, as one that is blocked ends the process
 * without its handler. */
static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
    sigset_t set;
    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(&set, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &set, before);
}

/* Starts as many workers as the system gives, up to n_threads - 1. They inherit the mask. */
static void start_workers(nib__pool *pool)
{
    pthread_attr_t attr;
    sigset_t before;
    if (pthread_attr_init(&attr) != 0) return;
    (void)pthread_attr_setstacksize(&attr, WORKER_STACK);
    block_signals(&before);
    for (uint32_t i = 0; i + 1 < pool->n_threads; i++) {
        pool_worker *worker = &pool->workers[i];
        worker->pool = pool;
        if (pthread_create(&worker->thread, &attr, worker_main, worker) != 0) break;
        pool->n_workers++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
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
        publish(pool, NULL, NULL, 0);
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
    if (pool == NULL) return;
    atomic_store_explicit(&pool->active, false, memory_order_relaxed);
    nib__pool_ahead(pool, NULL, 0, 0);
}

void nib__pool_ahead(nib__pool *pool, const void *at, size_t lane, size_t bytes)
{
    if (pool == NULL || pool->n_workers == 0) return;
    atomic_store_explicit(&pool->ahead_lane, lane, memory_order_relaxed);
    atomic_store_explicit(&pool->ahead_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&pool->ahead, (uintptr_t)at, memory_order_relaxed);
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
    publish(pool, task, arg, n);
    work(pool);
    fetched ahead = {0, 0};
    for (uint32_t spin = 0; atomic_load_explicit(&pool->done, memory_order_acquire) != n; spin++) {
        fetch_ahead(pool, 0, &ahead);
        if (spin < pool->spins)
            relax();
        else
            sched_yield();
    }
}
