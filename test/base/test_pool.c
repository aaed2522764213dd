/* SPDX-License-Identifier: MIT
 * Worker pool: every index runs exactly once whatever the threads do; sleeping, forking and a
 * system that refuses threads are survived. */
#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/test.h"

enum { MAX_TASKS = 1000 };

typedef struct tally {
    atomic_uint runs[MAX_TASKS];
    atomic_uint total;
} tally;

static void count_run(void *arg, uint32_t i)
{
    tally *t = arg;
    atomic_fetch_add(&t->runs[i], 1);
    atomic_fetch_add(&t->total, 1);
}

static bool each_ran_once(tally *t, uint32_t n)
{
    bool good = atomic_load(&t->total) == n;
    for (uint32_t i = 0; i < MAX_TASKS; i++) good &= atomic_load(&t->runs[i]) == (i < n);
    memset(t, 0, sizeof *t);
    return good;
}

static nib__pool *new_pool(uint32_t n_threads)
{
    nib_allocator mem = nib__allocator(NULL);
    nib_error err;
    nib__pool *pool = NULL;
    assert_ok(nib__pool_new(&mem, n_threads, NULL, &pool, &err), err);
    return pool;
}

static void every_index_runs_once(void **state)
{
    (void)state;
    static tally t;
    const uint32_t sizes[] = {0, 1, 2, 3, 7, 64, MAX_TASKS};
    for (uint32_t threads = 0; threads <= 4; threads++) {
        nib__pool *pool = new_pool(threads);
        assert_int_equal(nib__pool_threads(pool), threads == 0 ? 1 : threads);
        nib__pool_begin(pool);
        for (int round = 0; round < 200; round++) {
            uint32_t n = sizes[round % 7];
            nib__pool_run(pool, n, count_run, &t);
            assert_true(each_ran_once(&t, n));
        }
        nib__pool_end(pool);
        nib__pool_free(pool);
    }
}

static void loops_are_complete_without_begin_and_after_sleep(void **state)
{
    (void)state;
    static tally t;
    nib__pool *pool = new_pool(3);
    for (int round = 0; round < 20; round++) {
        if (round % 2) nib__pool_begin(pool);
        nib__pool_run(pool, 100, count_run, &t);
        assert_true(each_ran_once(&t, 100));
        if (round % 2) nib__pool_end(pool);
        usleep(1000); /* longer than workers wait actively */
    }
    nib__pool_free(pool);
}

static void no_pool_means_the_calling_thread(void **state)
{
    (void)state;
    static tally t;
    nib__pool_begin(NULL);
    nib__pool_run(NULL, 17, count_run, &t);
    nib__pool_end(NULL);
    assert_true(each_ran_once(&t, 17));
    assert_int_equal(nib__pool_threads(NULL), 1);
    nib__pool_free(NULL);
}

/* A hint, not an access: pages that may not be read, and addresses that belong to nobody. */
static void what_is_fetched_ahead_may_be_gone(void **state)
{
    (void)state;
    static tally t;
    enum { BYTES = 1 << 20 };
    char *gone = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(gone != MAP_FAILED);
    nib__pool *pool = new_pool(3);
    nib__pool_begin(pool);
    for (int round = 0; round < 200; round++) {
        nib__pool_ahead(pool, round % 3 ? gone : NULL, (size_t)round << 20, BYTES);
        nib__pool_run(pool, 64, count_run, &t);
        assert_true(each_ran_once(&t, 64));
    }
    nib__pool_end(pool);
    nib__pool_free(pool);
    nib__pool_ahead(NULL, gone, 0, BYTES);
    assert_int_equal(munmap(gone, BYTES), 0);
}

/* Pieces look at a flag that one of them sets, as cancelled work does: all still return. */
typedef struct flagged {
    atomic_int stop;
    atomic_uint done, skipped;
} flagged;

static void stop_at_five(void *arg, uint32_t i)
{
    flagged *f = arg;
    if (atomic_load(&f->stop)) {
        atomic_fetch_add(&f->skipped, 1);
        return;
    }
    if (i == 5) atomic_store(&f->stop, 1);
    atomic_fetch_add(&f->done, 1);
}

static void cancelled_loop_returns(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 4; threads++) {
        nib__pool *pool = new_pool(threads);
        nib__pool_begin(pool);
        for (int round = 0; round < 100; round++) {
            flagged f = {0};
            nib__pool_run(pool, 500, stop_at_five, &f);
            assert_int_equal(atomic_load(&f.done) + atomic_load(&f.skipped), 500);
            /* how many others were under way when the flag was set is up to the scheduler */
            if (threads == 1) assert_int_equal(atomic_load(&f.done), 6);
            assert_true(atomic_load(&f.done) >= 1);
        }
        nib__pool_end(pool);
        nib__pool_free(pool);
    }
}

static uint64_t cpu_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void parked_pool_uses_no_cpu(void **state)
{
    (void)state;
    static tally t;
    nib__pool *pool = new_pool(4);
    nib__pool_begin(pool);
    nib__pool_run(pool, 100, count_run, &t);
    nib__pool_end(pool);
    assert_true(each_ran_once(&t, 100));
    usleep(20000);
    uint64_t start = cpu_ns();
    usleep(200000);
    assert_in_range(cpu_ns() - start, 0, 10000000); /* 10 ms in 200 ms of four threads */
    nib__pool_free(pool);
}

/* A host's pool that runs tasks backwards on a thread of its own. */
static void *host_thread(void *arg)
{
    void **call = arg;
    uint32_t n = *(uint32_t *)call[0];
    void (*task)(void *, uint32_t) = *(void (**)(void *, uint32_t))call[1];
    for (uint32_t i = n; i > 0; i--) task(call[2], i - 1);
    return NULL;
}

static void host_run(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    pthread_t thread;
    void *call[3] = {&n, &task, arg};
    ++*(int *)user;
    assert_int_equal(pthread_create(&thread, NULL, host_thread, call), 0);
    pthread_join(thread, NULL);
}

static void host_threads_are_used(void **state)
{
    (void)state;
    static tally t;
    int calls = 0;
    nib_error err;
    nib_allocator mem = nib__allocator(NULL);
    nib_parallel host = {host_run, &calls, 6};
    nib__pool *pool;
    assert_ok(nib__pool_new(&mem, 1, &host, &pool, &err), err);
    assert_int_equal(nib__pool_threads(pool), 6);
    nib__pool_begin(pool);
    nib__pool_run(pool, 50, count_run, &t);
    assert_true(each_ran_once(&t, 50));
    assert_int_equal(calls, 1);
    nib__pool_run(pool, 1, count_run, &t); /* a single piece needs no other thread */
    assert_true(each_ran_once(&t, 1));
    nib__pool_end(pool);
    nib__pool_free(pool);
}

/* Runs `body` in a child process; true if it returned true there within 10 seconds. */
static bool in_child(bool (*body)(nib__pool *pool), nib__pool *pool)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(10);
        _exit(body(pool) ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool use_inherited_pool(nib__pool *pool)
{
    static tally t;
    nib__pool_begin(pool);
    nib__pool_run(pool, 100, count_run, &t);
    nib__pool_end(pool);
    bool good = each_ran_once(&t, 100) && nib__pool_threads(pool) == 1;
    nib__pool_free(pool);
    return good;
}

static void forked_child_goes_on_alone(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* ThreadSanitizer does not support fork() with threads */
#endif
    static tally t;
    nib__pool *pool = new_pool(3);
    assert_true(in_child(use_inherited_pool, pool));
    nib__pool_begin(pool); /* and the parent is undisturbed */
    nib__pool_run(pool, 100, count_run, &t);
    nib__pool_end(pool);
    assert_true(each_ran_once(&t, 100));
    nib__pool_free(pool);
}

static bool run_without_new_threads(nib__pool *unused)
{
    (void)unused;
    static tally t;
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NPROC, &none) != 0) return false;
    if (getuid() == 0 && setresuid(65534, 65534, 65534) != 0) return false; /* root has no limit */
    nib_allocator mem = nib__allocator(NULL);
    nib__pool *pool;
    if (nib__pool_new(&mem, 4, NULL, &pool, NULL) != NIB_OK) return false;
    nib__pool_begin(pool);
    nib__pool_run(pool, 100, count_run, &t);
    nib__pool_end(pool);
    bool good = nib__pool_threads(pool) == 1 && each_ran_once(&t, 100);
    nib__pool_free(pool);
    return good;
}

static void refused_threads_mean_fewer(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip();
#endif
    assert_true(in_child(run_without_new_threads, NULL));
}

static atomic_int handled_by;

static void note_thread(int signal)
{
    (void)signal;
    atomic_store(&handled_by, (int)gettid());
}

static bool leave_signals_to_the_host(nib__pool *unused)
{
    (void)unused;
    static tally t;
    const struct sigaction action = {.sa_handler = note_thread};
    sigset_t set;
    nib__pool *pool = new_pool(3);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    if (sigaction(SIGUSR1, &action, NULL) != 0) return false;
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || kill(getpid(), SIGUSR1) != 0) return false;
    nib__pool_begin(pool); /* workers run, and could take it */
    nib__pool_run(pool, 100, count_run, &t);
    usleep(20000);
    nib__pool_end(pool);
    if (atomic_load(&handled_by) != 0 || !each_ran_once(&t, 100)) return false;
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    nib__pool_free(pool);
    return atomic_load(&handled_by) == (int)getpid(); /* the thread that made the pool */
}

/* A handler of the host's, which may be made for the thread and the stack it expects, is not run on
 * a worker; and the thread that made the pool has the mask it had. */
static void workers_take_no_signals(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip();
#endif
    assert_true(in_child(leave_signals_to_the_host, NULL));
}

static void *no_memory(void *user, size_t size, size_t align)
{
    (void)align;
    int *left = user;
    return (*left)-- > 0 ? aligned_alloc(64, size) : NULL;
}

static void plain_free(void *user, void *ptr)
{
    (void)user;
    free(ptr);
}

static void absurd_requests_are_refused(void **state)
{
    (void)state;
    nib_error err;
    nib__pool *pool = NULL;
    nib_allocator mem = nib__allocator(NULL);
    assert_fails(nib__pool_new(&mem, 100000, NULL, &pool, &err), NIB_ERR_ARGUMENT, err, "100000");
    for (int allowed = 0; allowed < 2; allowed++) {
        int left = allowed;
        nib_allocator failing = {no_memory, plain_free, &left};
        assert_fails(nib__pool_new(&failing, 4, NULL, &pool, &err), NIB_ERR_MEMORY, err, "memory");
    }
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_index_runs_once),
        cmocka_unit_test(loops_are_complete_without_begin_and_after_sleep),
        cmocka_unit_test(no_pool_means_the_calling_thread),
        cmocka_unit_test(what_is_fetched_ahead_may_be_gone),
        cmocka_unit_test(cancelled_loop_returns),
        cmocka_unit_test(parked_pool_uses_no_cpu),
        cmocka_unit_test(host_threads_are_used),
        cmocka_unit_test(forked_child_goes_on_alone),
        cmocka_unit_test(refused_threads_mean_fewer),
        cmocka_unit_test(workers_take_no_signals),
        cmocka_unit_test(absurd_requests_are_refused),
    };
    return cmocka_run_group_tests_name("base/pool", tests, NULL, NULL);
}
