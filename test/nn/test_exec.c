/* SPDX-License-Identifier: MIT
 * Pieces of work: each is run exactly once, in order of their numbers up to the point of an
 * interruption; every running piece has a scratch slot of its own; cancelling; odd host pools. */
#include <time.h>

#include "test.h"

#include "base/clock.h"
#include "nn/nn.h"

enum { N = 200, SLOT = 64, MAX_THREADS = 4 };

typedef struct counter {
    atomic_uint runs[N];
    atomic_uint slot_users[MAX_THREADS];
    uint8_t *scratch;
    atomic_int *cancel;
    uint32_t cancel_at;
    atomic_uint clashes;
} counter;

static void piece(void *arg, uint32_t i, void *scratch)
{
    counter *c = arg;
    size_t slot = (size_t)((uint8_t *)scratch - c->scratch) / SLOT;
    if (atomic_fetch_add(&c->slot_users[slot], 1) != 0) atomic_fetch_add(&c->clashes, 1);
    atomic_fetch_add(&c->runs[i], 1);
    uint64_t end = nib__now_ns() + 5000;
    while (nib__now_ns() < end) {
    }
    if (c->cancel != NULL && i == c->cancel_at) atomic_store(c->cancel, 1);
    atomic_fetch_sub(&c->slot_users[slot], 1);
}

typedef struct setup {
    nib__pool *pool;
    nib__exec exec;
    atomic_int cancel;
    uint8_t scratch[MAX_THREADS * SLOT];
} setup;

static void set_up(setup *s, uint32_t threads, const nib_parallel *host)
{
    nib_allocator mem = nib__allocator(NULL);
    nib_error err = {0};
    assert_ok(nib__pool_new(&mem, threads, host, &s->pool, &err), err);
    atomic_init(&s->cancel, 0);
    s->exec = (nib__exec){.pool = s->pool,
                          .cancel = &s->cancel,
                          .scratch = s->scratch,
                          .slot_bytes = SLOT,
                          .n_slots = nib__pool_threads(s->pool)};
    nib__pool_begin(s->pool);
}

static void tear_down(setup *s)
{
    nib__pool_end(s->pool);
    nib__pool_free(s->pool);
}

static counter *make_counter(const setup *s)
{
    counter *c = calloc(1, sizeof *c);
    c->scratch = s->exec.scratch;
    return c;
}

static void assert_runs(counter *c, uint32_t done)
{
    for (uint32_t i = 0; i < N; i++) assert_int_equal(atomic_load(&c->runs[i]), i < done);
    assert_int_equal(atomic_load(&c->clashes), 0);
}

static void test_every_piece_once(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
        setup s;
        set_up(&s, threads, NULL);
        for (uint32_t n = 0; n <= N; n = 2 * n + 1) {
            counter *c = make_counter(&s);
            assert_int_equal(nib__exec_run(&s.exec, n, piece, c), NIB_OK);
            assert_runs(c, n);
            free(c);
        }
        tear_down(&s);
    }
}

static void test_deadline_and_resume(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
        setup s;
        set_up(&s, threads, NULL);
        counter *c = make_counter(&s);
        uint32_t calls = 0, before = 0;
        nib_status status;
        do {
            s.exec.deadline_ns = calls % 2 == 0 ? 1 : nib__now_ns() + 20000;
            status = nib__exec_run(&s.exec, N, piece, c);
            calls++;
            if (status == NIB__PARTIAL) {
                assert_true(s.exec.first > before && s.exec.first < N);
                before = s.exec.first;
                assert_runs(c, before);
            }
        } while (status == NIB__PARTIAL);
        assert_int_equal(status, NIB_OK);
        assert_int_equal(s.exec.first, 0);
        assert_true(calls > 4);
        assert_runs(c, N);
        free(c);
        tear_down(&s);
    }
}

static void test_cancel(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= MAX_THREADS; threads++) {
        setup s;
        set_up(&s, threads, NULL);
        counter *c = make_counter(&s);
        c->cancel = &s.cancel;
        c->cancel_at = 20;
        assert_int_equal(nib__exec_run(&s.exec, N, piece, c), NIB_ERR_CANCELLED);
        assert_int_equal(s.exec.first, 0);
        uint32_t n_run = 0;
        for (uint32_t i = 0; i < N; i++) n_run += atomic_load(&c->runs[i]);
        /* With more threads it is up to the scheduler who still runs, and who sees the flag in
         * time. */
        assert_true(threads == 1 ? n_run > 20 && n_run < N : n_run >= 1);
        atomic_store(&s.cancel, 0);
        free(c);
        c = make_counter(&s);
        assert_int_equal(nib__exec_run(&s.exec, N, piece, c), NIB_OK);
        assert_runs(c, N);
        free(c);
        tear_down(&s);
    }
}

static void backwards(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    (void)user;
    while (n-- > 0) task(arg, n);
}

/* Breaks its contract; the work must be done all the same. */
static void lazy(void *user, uint32_t n, void (*task)(void *arg, uint32_t i), void *arg)
{
    (void)user;
    (void)n;
    (void)task;
    (void)arg;
}

static void test_host_pools(void **state)
{
    (void)state;
    static void (*const runs[])(void *, uint32_t, void (*)(void *, uint32_t), void *) = {backwards,
                                                                                         lazy};
    for (int i = 0; i < 2; i++) {
        const nib_parallel host = {runs[i], NULL, 3};
        setup s;
        set_up(&s, 1, &host);
        assert_int_equal(s.exec.n_slots, 3);
        counter *c = make_counter(&s);
        assert_int_equal(nib__exec_run(&s.exec, N, piece, c), NIB_OK);
        assert_runs(c, N);
        free(c);
        tear_down(&s);
    }
}

static void test_rows_per_piece(void **state)
{
    (void)state;
    const nib__exec exec = {.n_slots = 4};
    assert_int_equal(nib__exec_rows(&exec, 1, 4000), 1);
    assert_int_equal(nib__exec_rows(&exec, 4, 1000), 4); /* not worth it */
    for (uint32_t m = 1; m < 1000; m += 7) {
        uint32_t rows = nib__exec_rows(&exec, m, 30000);
        assert_true(rows >= 1 && rows <= m && (uint64_t)rows * 30000 < 300000);
    }
    assert_true(nib__exec_rows(&exec, 512, SIZE_MAX / 1024) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_piece_once), cmocka_unit_test(test_deadline_and_resume),
        cmocka_unit_test(test_cancel),           cmocka_unit_test(test_host_pools),
        cmocka_unit_test(test_rows_per_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
