/* SPDX-License-Identifier: MIT
 * Passes over a vocabulary, for every level this CPU has: the bits of scalar C, the sum near
 * float64, tails, NaN and infinities, nothing read or written past the end. */
#include "levels.h"

#include <math.h>

#include "guard.h"
#include "kernels/kernels.h"
#include "rng.h"

static const uint32_t sizes[] = {1, 3, 7, 8, 15, 16, 17, 63, 64, 65, 100, 1023, 1024, 1025, 5000};

static float largest(const float *x, uint32_t n)
{
    float top = -INFINITY;
    for (uint32_t i = 0; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

static void fill(float *x, uint32_t n, uint32_t kind, rng *r)
{
    for (uint32_t i = 0; i < n; i++) {
        x[i] = rng_float(r) * (kind == 1 ? 100.0f : 8.0f);
        if (kind == 2 && i % 5 == 2) x[i] = NAN;
        if (kind == 2 && i % 7 == 3) x[i] = -INFINITY;
        if (kind == 3) x[i] = 2.0f;
    }
    if (kind == 2) x[0] = 1.0f;
}

static void check(const nib__kernels *level, const nib__kernels *scalar, uint32_t n, uint32_t kind,
                  rng *r)
{
    const char *name = nib__isa_name(level->isa);
    size_t bytes = n * sizeof(float), run_bytes = (n + 63) / 64 * sizeof(float);
    float *x = guard_alloc(bytes), *runs = guard_alloc(run_bytes);
    int32_t *ids = guard_alloc(bytes), *want_ids = malloc(bytes);
    float *want_runs = malloc(run_bytes);
    fill(x, n, kind, r);
    float max = largest(x, n), scale = kind == 1 ? 0.3f : 1.0f;

    double sum = level->sum_exp(x, n, max, scale), want = scalar->sum_exp(x, n, max, scale);
    double exact = 0;
    for (uint32_t i = 0; i < n; i++)
        exact += isnan(x[i]) ? 0 : exp(((double)x[i] - (double)max) * (double)scale);
    if (memcmp(&sum, &want, sizeof sum) != 0)
        fail_msg("%s sum_exp n %u kind %u: %.17g, scalar %.17g", name, n, kind, sum, want);
    if (!(fabs(sum - exact) <= 1e-5 * exact))
        fail_msg("%s sum_exp n %u kind %u: %.17g, exact %.17g", name, n, kind, sum, exact);

    const float limits[] = {-INFINITY, 0.0f, x[n / 2], max, INFINITY};
    for (int i = 0; i < 5; i++) {
        uint32_t found = level->filter_above(x, n, limits[i], ids), expected = 0;
        for (uint32_t j = 0; j < n; j++) {
            if (x[j] > limits[i]) want_ids[expected++] = (int32_t)j;
        }
        assert_int_equal(found, expected);
        assert_memory_equal(ids, want_ids, found * sizeof *ids);
    }

    level->run_maxima(x, n, runs);
    for (uint32_t i = 0; i < n; i += 64)
        want_runs[i / 64] = largest(x + i, n - i < 64 ? n - i : 64);
    assert_memory_equal(runs, want_runs, run_bytes);
    guard_free(x, bytes);
    guard_free(runs, run_bytes);
    guard_free(ids, bytes);
    free(want_ids);
    free(want_runs);
}

static void test_level(void **state)
{
    const nib__isa isa = level_here(state);
    nib__kernels level, scalar;
    nib__kernels_init(&level, isa, NIB_PRECISION_DEFAULT);
    nib__kernels_init(&scalar, NIB__ISA_SCALAR, NIB_PRECISION_DEFAULT);
    rng r = {6};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (uint32_t kind = 0; kind < 4; kind++) check(&level, &scalar, sizes[i], kind, &r);
    }
}

int main(void)
{
    return levels_run("vocab", test_level);
}
