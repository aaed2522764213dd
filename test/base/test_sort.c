/* SPDX-License-Identifier: MIT
 * Heap sort of indices: every length up to 40, orders that defeat other sorts, equal elements, and
 * the number of comparisons, which must stay near n log n whatever the input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sort.h"
#include "rng.h"

static size_t n_comparisons;

static int by_value(const void *ctx, uint32_t a, uint32_t b)
{
    const uint32_t *values = ctx;
    n_comparisons++;
    return (values[a] > values[b]) - (values[a] < values[b]);
}

/* Sorts 0 .. n-1 by values[n] and checks that the result is an ordered permutation. */
static void check(const uint32_t *values, size_t n)
{
    uint32_t *index = malloc((n + 1) * sizeof *index);
    uint8_t *seen = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++) index[i] = (uint32_t)i;
    index[n] = 0xdeadbeef;
    n_comparisons = 0;
    nib__sort_index(index, n, by_value, values);
    assert_true(index[n] == 0xdeadbeef);
    for (size_t i = 0; i < n; i++) {
        assert_true(index[i] < n);
        assert_int_equal(seen[index[i]]++, 0);
        if (i > 0) assert_true(values[index[i - 1]] <= values[index[i]]);
    }
    size_t log2n = 1;
    while ((size_t)1 << log2n < n) log2n++;
    assert_true(n_comparisons <= 2 * n * (log2n + 1)); /* heap sort's own bound */
    free(seen);
    free(index);
}

static void test_small(void **state)
{
    (void)state;
    uint32_t values[40];
    rng r = {7};
    for (size_t n = 0; n <= 40; n++) {
        for (int round = 0; round < 20; round++) {
            for (size_t i = 0; i < n; i++) values[i] = rng_below(&r, round < 10 ? 5 : 1000);
            check(values, n);
        }
    }
}

static void test_large(void **state)
{
    (void)state;
    enum { N = 20000 };
    uint32_t *values = malloc(N * sizeof *values);
    rng r = {8};
    for (int kind = 0; kind < 5; kind++) {
        for (uint32_t i = 0; i < N; i++) {
            values[i] = kind == 0   ? i            /* sorted */
                        : kind == 1 ? N - i        /* reversed */
                        : kind == 2 ? 3            /* equal */
                        : kind == 3 ? i ^ (i >> 1) /* Gray code: up and down at every scale */
                                    : rng_below(&r, UINT32_MAX);
        }
        check(values, N);
    }
    free(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
