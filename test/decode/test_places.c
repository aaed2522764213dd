/* SPDX-License-Identifier: MIT
 * Places in the row of tokens: what sorting all of them and adding up gives. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "decode/places.h"
#include "rng.h"

enum { MAX_TOKENS = 5000 };

static nib__candidate tokens[MAX_TOKENS], sorted[MAX_TOKENS];
static int32_t members[MAX_TOKENS];

static int by_rank(const void *a, const void *b)
{
    return nib__better(*(const nib__candidate *)a, *(const nib__candidate *)b) ? -1 : 1;
}

/* Kind 0: even; 1: few different ones; 2: all equal; 3: most of them within a millionth, at many
 * scales; 4: far below the best. */
static float logit(int kind, float low, rng *r)
{
    const float u = 0.5f * (rng_float(r) + 1.0f); /* 0 to 1 */
    switch (kind) {
    case 0: return low * u;
    case 1: return low * (float)rng_below(r, 7) / 7;
    case 2: return 0;
    case 3: return low * ldexpf(u, -(int)rng_below(r, 140));
    default: return rng_below(r, 50) == 0 ? low * u / 1000 : low * (1 - u * 1e-6f);
    }
}

static void test_places(void **state)
{
    (void)state;
    rng r = {3};
    for (int trial = 0; trial < 400; trial++) {
        const uint32_t n = 1 + rng_below(&r, trial % 3 == 0 ? 60 : MAX_TOKENS);
        const float low = trial % 2 ? -700.0f : -0.001f - 20 * fabsf(rng_float(&r));
        int32_t id = 0;
        for (uint32_t i = 0; i < n; i++) {
            id += 1 + (int32_t)rng_below(&r, 3);
            tokens[i] = sorted[i] = (nib__candidate){logit(trial % 5, low, &r), id};
        }
        qsort(sorted, n, sizeof *sorted, by_rank);
        nib__places p;
        nib__places_fill(&p, tokens, n, low, members);
        for (int turn = 0; turn < 20; turn++) {
            double wanted = p.mass * (turn / 18.0), end = 0; /* the last one: beyond all */
            const nib__place got = nib__places_find(&p, wanted, turn & 1);
            uint32_t at = 0;
            for (; at < n; at++) {
                end += exp((double)sorted[at].logit);
                if (sorted[at].id == got.id) break;
            }
            assert_true(at < n);
            assert_true(fabs(end - got.end) < 1e-9 * p.mass);
            /* The place is right but for how sums are rounded. */
            const double begin = end - exp((double)sorted[at].logit);
            assert_true(begin <= wanted + 1e-9 * p.mass);
            if (turn < 18) assert_true(end >= wanted - 1e-9 * p.mass);
            if (turn == 0) assert_int_equal(got.id, sorted[0].id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
