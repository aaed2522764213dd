/* SPDX-License-Identifier: MIT
 * Sampling against short references, a golden file made with numpy, and the law of the draws. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/rng.h"
#include "base/clock.h"
#include "decode/sample.h"
#include "sample_golden.h"
#include "sample_reference.h"

enum { MAX_VOCAB = 1000 };

static nib__candidate candidates[MAX_VOCAB];
static float scores[MAX_VOCAB];
static int32_t ids[MAX_VOCAB];
static float maxima[MAX_VOCAB];
static nib__kernels kernels; /* of the level under test */
static const nib_complete_options neutral = {
    .top_p = 1, .typical_p = 1, .repeat_penalty = 1, .penalty_window = 64};

static nib_status sample(const nib_complete_options *o, const float *logits, uint32_t n,
                         const int32_t *history, uint32_t n_history, uint32_t position,
                         nib_logprob *token, nib_logprob *top)
{
    nib__sampler sampler = {.options = o, .kernels = &kernels, .n_vocab = n};
    if (nib__sampler_needs_memory(o)) {
        sampler.candidates = candidates;
        sampler.scores = scores;
        sampler.ids = ids;
        sampler.maxima = maxima;
    }
    assert_int_equal(nib__sampler_check(o, n, NULL), NIB_OK);
    return nib__sample(&sampler, logits, history, n_history, position, token, top, NULL);
}

static int32_t sample_id(const nib_complete_options *o, const float *logits, uint32_t n,
                         const int32_t *history, uint32_t n_history, uint32_t position)
{
    nib_logprob token;
    assert_int_equal(sample(o, logits, n, history, n_history, position, &token, NULL), NIB_OK);
    return token.id;
}

static void random_logits(rng *r, float *logits, uint32_t n, int ties)
{
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = ties ? (float)(int32_t)rng_below(r, 9) / 2 - 4 : 8 * rng_float(r);
        if (rng_below(r, 40) == 0) logits[i] = -INFINITY;
        if (rng_below(r, 60) == 0) logits[i] = NAN;
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_filters_match_references(void **state)
{
    (void)state;
    rng r = {1};
    static float logits[MAX_VOCAB];
    static ref_token t[MAX_VOCAB];
    for (int trial = 0; trial < 6000; trial++) {
        uint32_t n = 2 + rng_below(&r, trial % 10 == 0 ? MAX_VOCAB - 2 : 40);
        random_logits(&r, logits, n, trial >> 2 & 1);
        logits[rng_below(&r, n)] = 1;
        nib_complete_options o = neutral;
        o.temperature = 0.1f + (float)rng_below(&r, 20) / 10;
        o.seed = rng_next(&r);
        if (trial % 5 == 0 || trial % 7 == 0)
            o.top_k = 1 + rng_below(&r, trial % 2 ? n + 3 : n / 8 + 3);
        if (trial % 5 == 1 || trial % 7 == 0) o.typical_p = (float)(1 + rng_below(&r, 98)) / 100;
        if (trial % 5 == 2 || trial % 7 == 0) o.top_p = (float)rng_below(&r, 100) / 100 + 0.0013f;
        if (trial % 5 == 3 || trial % 7 == 0) o.min_p = (float)rng_below(&r, 100) / 100;
        uint32_t position = rng_below(&r, 5000);

        uint32_t left = ref_start(t, logits, n, o.temperature);
        left = ref_top_k(t, left, o.top_k);
        left = ref_typical(t, left, o.typical_p);
        left = ref_top_p(t, left, o.top_p);
        left = ref_min_p(t, left, o.min_p);
        int32_t expected = ref_draw(t, left, nib__uniform(o.seed, position));
        int32_t got = sample_id(&o, logits, n, NULL, 0, position);
        if (got != expected) fail_msg("trial %d: expected %d, got %d", trial, expected, got);
    }
}

/* Exactly k of the tied tokens survive top-k: those with the smallest ids. */
static void test_ties(void **state)
{
    (void)state;
    float logits[8] = {0, 2, 2, 2, 2, 2, 1, 2};
    nib_complete_options o = neutral;
    assert_int_equal(sample_id(&o, logits, 8, NULL, 0, 0), 1);
    o.temperature = 1;
    o.top_k = 3;
    uint32_t seen = 0;
    for (uint32_t position = 0; position < 200; position++)
        seen |= 1u << sample_id(&o, logits, 8, NULL, 0, position);
    assert_int_equal(seen, 1u << 1 | 1u << 2 | 1u << 3);
    o.top_k = 0;
    o.top_p = 0; /* at least one survives */
    for (uint32_t position = 0; position < 50; position++)
        assert_int_equal(sample_id(&o, logits, 8, NULL, 0, position), 1);
    o.top_p = 1;
    o.min_p = 1; /* all that tie with the best */
    seen = 0;
    for (uint32_t position = 0; position < 400; position++)
        seen |= 1u << sample_id(&o, logits, 8, NULL, 0, position);
    assert_int_equal(seen, 0xbe);
}

static void test_penalties_and_bias(void **state)
{
    (void)state;
    rng r = {2};
    for (int trial = 0; trial < 3000; trial++) {
        enum { N = 24, LONGEST = 40 };
        float logits[N], expected[N];
        int32_t history[LONGEST];
        random_logits(&r, logits, N, trial & 1);
        logits[3] = 0.5f;
        uint32_t n_history = rng_below(&r, LONGEST);
        for (uint32_t i = 0; i < n_history; i++) history[i] = (int32_t)rng_below(&r, N);
        nib_logit_bias bias[3];
        for (int i = 0; i < 3; i++)
            bias[i] = (nib_logit_bias){(int32_t)rng_below(&r, N), 3 * rng_float(&r)};
        if (trial % 3 == 0 && bias[0].id != 3) bias[0].bias = -INFINITY;
        nib_complete_options o = neutral;
        o.bias = bias;
        o.n_bias = rng_below(&r, 4);
        o.repeat_penalty = trial % 4 == 0 ? 1.0f : 1.3f;
        o.frequency_penalty = trial % 5 == 0 ? 0.0f : 0.25f;
        o.presence_penalty = trial % 6 == 0 ? 0.0f : 0.5f;
        o.penalty_window = rng_below(&r, LONGEST + 20);

        for (int32_t i = 0; i < N; i++) {
            float x = logits[i];
            for (size_t b = 0; b < o.n_bias; b++) x += bias[b].id == i ? bias[b].bias : 0;
            int32_t count = 0;
            for (uint32_t h = 0; h < n_history; h++)
                count += n_history - h <= o.penalty_window && history[h] == i;
            if (count > 0) {
                x = x > 0 ? x / o.repeat_penalty : x * o.repeat_penalty;
                x -= (float)count * o.frequency_penalty + o.presence_penalty;
            }
            expected[i] = x;
        }
        assert_int_equal(sample_id(&o, logits, N, history, n_history, 0),
                         plain_argmax(expected, N));
    }
}

/* 40,000 draws over 16 tokens: chi-square with 15 degrees of freedom, 0.9999 quantile 44.3. */
static void test_law(void **state)
{
    (void)state;
    enum { N = 16, DRAWS = 40000 };
    for (int setting = 0; setting < 4; setting++) {
        rng r = {10 + (uint64_t)setting};
        float logits[N];
        double p[N], sum = 0, chi = 0;
        uint32_t counts[N] = {0};
        nib_complete_options o = neutral;
        o.temperature = setting & 1 ? 0.7f : 1.6f;
        o.seed = 99 + (uint64_t)setting;
        for (int i = 0; i < N; i++) logits[i] = 1.5f * rng_float(&r);
        for (int i = 0; i < N; i++) sum += p[i] = exp((double)logits[i] / (double)o.temperature);
        for (uint32_t k = 0; k < DRAWS; k++) {
            if (setting >= 2) o.seed = k; /* the seed alone must be as good a counter */
            counts[sample_id(&o, logits, N, NULL, 0, setting >= 2 ? 5 : k)]++;
        }
        for (int i = 0; i < N; i++) {
            double expected = p[i] / sum * DRAWS;
            chi += (counts[i] - expected) * (counts[i] - expected) / expected;
        }
        if (chi > 44.3) fail_msg("setting %d: chi-square %.1f", setting, chi);
    }
}

static uint64_t golden_mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void test_golden(void **state)
{
    (void)state;
    static float logits[MAX_VOCAB];
    for (uint64_t c = 0; c < sizeof golden / sizeof golden[0]; c++) {
        const struct golden *g = &golden[c];
        for (uint32_t i = 0; i < g->n_vocab; i++) {
            uint64_t bits = golden_mix((c * 1000003 + i + 1) * 0x9e3779b97f4a7c15u);
            logits[i] = (float)((int32_t)((bits >> 20) % 97) - 60) / 8;
        }
        nib_complete_options o = neutral;
        o.temperature = g->temperature;
        o.top_k = g->top_k;
        o.typical_p = g->typical_p;
        o.top_p = g->top_p;
        o.min_p = g->min_p;
        o.seed = g->seed;
        int32_t got = sample_id(&o, logits, g->n_vocab, NULL, 0, g->position);
        if (got != g->token) fail_msg("case %u: expected %d, got %d", (unsigned)c, g->token, got);
    }
    for (size_t i = 0; i < sizeof golden_uniform / sizeof golden_uniform[0]; i++) {
        double value = nib__uniform(golden_uniform[i].seed, golden_uniform[i].position);
        assert_true(value == golden_uniform[i].value);
    }
}

static void test_logprobs(void **state)
{
    (void)state;
    rng r = {3};
    for (int trial = 0; trial < 300; trial++) {
        static float logits[MAX_VOCAB];
        static ref_token t[MAX_VOCAB];
        uint32_t n = 40 + rng_below(&r, 900);
        random_logits(&r, logits, n, trial & 1);
        logits[7] = 2;
        nib_complete_options o = neutral;
        o.n_logprobs = 1 + rng_below(&r, 32);
        o.temperature = trial & 2 ? 0.5f : 0.0f; /* the report is under temperature 1 */
        o.seed = (uint64_t)trial;
        nib_logprob token, top[32];
        assert_int_equal(sample(&o, logits, n, NULL, 0, 9, &token, top), NIB_OK);
        uint32_t left = ref_top_k(t, ref_start(t, logits, n, 1.0f), 0);
        ref_law(t, left);
        for (uint32_t i = 0; i < o.n_logprobs; i++) {
            assert_int_equal(top[i].id, t[i].id);
            assert_true(fabs(top[i].logprob - log(t[i].p)) < 2e-6);
        }
        for (uint32_t i = 0; i < left; i++) {
            if (t[i].id == token.id) assert_true(fabs(token.logprob - log(t[i].p)) < 2e-6);
        }
    }
}

static void test_extremes(void **state)
{
    (void)state;
    nib_complete_options o = neutral;
    nib_logprob token = {-7, 0}, top[4];
    float nothing[3] = {NAN, -INFINITY, NAN};
    assert_int_equal(sample(&o, nothing, 3, NULL, 0, 0, &token, NULL), NIB_ERR_STATE);
    assert_int_equal(token.id, -7);
    float infinite[4] = {1, INFINITY, 3e38f, INFINITY};
    assert_int_equal(sample(&o, infinite, 4, NULL, 0, 0, &token, NULL), NIB_OK);
    assert_int_equal(token.id, 1);
    assert_true(fabs(token.logprob - log(0.5)) < 1e-6);
    o.temperature = 1e-38f;
    float wide[4] = {-3e38f, 3e38f, 3e38f, 0};
    uint32_t seen = 0;
    for (uint32_t position = 0; position < 100; position++)
        seen |= 1u << sample_id(&o, wide, 4, NULL, 0, position);
    assert_int_equal(seen, 6);
    nib_logit_bias ban[2] = {{1, -INFINITY}, {2, -INFINITY}};
    o.bias = ban;
    o.n_bias = 2;
    assert_int_equal(sample_id(&o, wide, 4, NULL, 0, 0), 3);
    float two[3] = {-INFINITY, 1, 2};
    assert_int_equal(sample(&o, two, 3, NULL, 0, 0, &token, NULL), NIB_ERR_STATE);
    o = neutral;
    o.n_logprobs = 4; /* fewer tokens than alternatives */
    assert_int_equal(sample(&o, two, 3, NULL, 0, 0, &token, top), NIB_OK);
    assert_int_equal(top[0].id, 2);
    assert_int_equal(top[2].id, 0);
    assert_int_equal(top[3].id, -1);
}

static void test_bad_options(void **state)
{
    (void)state;
    nib_logit_bias bad_id = {16, 0}, bad_bias = {3, NAN}, plus = {3, INFINITY}, negative = {-1, 0};
    const nib_logit_bias *biases[] = {&bad_id, &bad_bias, &plus, &negative, NULL};
    for (int i = 0; i < 5; i++) {
        nib_complete_options o = neutral;
        o.bias = biases[i];
        o.n_bias = 1;
        assert_int_equal(nib__sampler_check(&o, 16, NULL), NIB_ERR_ARGUMENT);
    }
    for (int i = 0; i < 9; i++) {
        nib_complete_options o = neutral;
        if (i == 0) o.temperature = -0.1f;
        if (i == 1) o.temperature = NAN;
        if (i == 2) o.temperature = INFINITY;
        if (i == 3) o.top_p = 1.01f;
        if (i == 4) o.min_p = -0.01f;
        if (i == 5) o.typical_p = NAN;
        if (i == 6) o.repeat_penalty = 0;
        if (i == 7) o.frequency_penalty = INFINITY;
        if (i == 8) o.n_logprobs = 33;
        nib_error err = {0};
        assert_int_equal(nib__sampler_check(&o, 16, &err), NIB_ERR_ARGUMENT);
        assert_true(err.text[0] != '\0');
    }
}

/* Logits as a model gives them: a few tokens stand out of a wide bell. */
static void model_logits(rng *r, float *logits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = 2 * (rng_float(r) + rng_float(r) + rng_float(r) + rng_float(r));
    }
    for (int i = 0; i < 30; i++) logits[rng_below(r, n)] = 8 + 6 * rng_float(r);
}

enum { LARGE = 151936 };

typedef struct large {
    float *logits;
    nib__sampler sampler;
    nib_complete_options o;
} large;

static void large_make(large *l)
{
    *l = (large){.logits = malloc(LARGE * sizeof(float)), .o = neutral};
    l->sampler = (nib__sampler){.options = &l->o,
                                .kernels = &kernels,
                                .candidates = malloc(LARGE * sizeof(nib__candidate)),
                                .scores = malloc(LARGE * sizeof(float)),
                                .ids = malloc(LARGE * sizeof(int32_t)),
                                .maxima = malloc((LARGE / NIB__MAXIMA_RUN + 1) * sizeof(float)),
                                .n_vocab = LARGE};
}

static void large_free(large *l)
{
    free(l->logits);
    free(l->sampler.candidates);
    free(l->sampler.scores);
    free(l->sampler.ids);
    free(l->sampler.maxima);
}

static const struct {
    const char *name;
    float temperature, top_p, min_p;
    uint32_t top_k;
} settings[] = {
    {"greedy", 0, 1, 0, 0},
    {"temperature 0.8, top-k 40, top-p 0.95", 0.8f, 0.95f, 0, 40},
    {"temperature 0.8, top-p 0.95", 0.8f, 0.95f, 0, 0},
    {"temperature 2.5, top-p 0.95", 2.5f, 0.95f, 0, 0},
    {"temperature 2.5, top-p 0.95, min-p 0.01", 2.5f, 0.95f, 0.01f, 0},
    {"temperature 0.8, min-p 0.05", 0.8f, 1, 0.05f, 0},
    {"temperature 0.8, top-k 40, min-p 0.05", 0.8f, 1, 0.05f, 40},
    {"temperature 0.8", 0.8f, 1, 0, 0},
    {"temperature 1.5, top-k 1000", 1.5f, 1, 0, 1000},
};

static void use_setting(large *l, size_t i)
{
    l->o.temperature = settings[i].temperature;
    l->o.top_k = settings[i].top_k;
    l->o.top_p = settings[i].top_p;
    l->o.min_p = settings[i].min_p;
}

/* A whole vocabulary: the token that sorting all of it gives. */
static void test_large_vocabulary(void **state)
{
    (void)state;
    large l;
    large_make(&l);
    ref_token *t = malloc(LARGE * sizeof *t);
    rng r = {77};
    const uint32_t n_settings = sizeof settings / sizeof settings[0];
    for (uint32_t trial = 0; trial < 3 * n_settings; trial++) {
        size_t i = trial % n_settings;
        model_logits(&r, l.logits, LARGE);
        if (trial / n_settings == 2) memset(l.logits, 0, LARGE * sizeof(float)); /* all tie */
        use_setting(&l, i);
        l.o.seed = trial;
        float temperature = l.o.temperature == 0 ? 1.0f : l.o.temperature;
        uint32_t n = ref_start(t, l.logits, LARGE, temperature);
        n = ref_top_k(t, n, l.o.temperature == 0 ? 1 : l.o.top_k);
        n = ref_top_p(t, n, (double)l.o.top_p);
        n = ref_min_p(t, n, (double)l.o.min_p);
        double u = nib__uniform(l.o.seed, 5), before = 0;
        ref_law(t, n);
        nib_logprob token;
        assert_int_equal(nib__sample(&l.sampler, l.logits, NULL, 0, 5, &token, NULL, NULL), NIB_OK);
        /* The whole law's mass is a sum of float32 numbers: the token of u is right within 1e-5. */
        uint32_t at = 0;
        while (at < n && t[at].id != token.id) before += t[at++].p;
        if (at == n || u < before - 1e-5 || u > before + t[at].p + 1e-5)
            fail_msg("%s: %d is not the token of %g", settings[i].name, token.id, u);
        double sum = 0;
        float max = l.logits[plain_argmax(l.logits, LARGE)];
        for (uint32_t k = 0; k < LARGE; k++) sum += exp((double)l.logits[k] - (double)max);
        double exact = (double)l.logits[token.id] - (double)max - log(sum);
        assert_true(fabs((double)token.logprob - exact) < 4e-6);
    }
    free(t);
    large_free(&l);
}

/* One token of 151,936, its log probability included. */
static int bench(void)
{
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        nib__kernels_init(&kernels, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        large l;
        large_make(&l);
        rng r = {5};
        model_logits(&r, l.logits, LARGE);
        for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
            use_setting(&l, i);
            double best = 1e30;
            for (uint32_t turn = 0; turn < 50; turn++) {
                nib_logprob token;
                uint64_t start = nib__now_ns();
                if (nib__sample(&l.sampler, l.logits, NULL, 0, turn, &token, NULL, NULL) != NIB_OK)
                    return 1;
                double ms = (double)(nib__now_ns() - start) * 1e-6;
                if (ms < best) best = ms;
            }
            printf("%-10s sample from 151936, %s: %.3f ms\n", nib__isa_name((nib__isa)isa),
                   settings[i].name, best);
        }
        large_free(&l);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) return bench();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters_match_references),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_penalties_and_bias),
        cmocka_unit_test(test_law),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_large_vocabulary),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_bad_options),
    };
    int failed = 0;
    for (int isa = 0; isa < NIB__ISA_COUNT; isa++) {
        if (!nib__isa_available((nib__isa)isa)) continue;
        char name[64];
        snprintf(name, sizeof name, "sample %s", nib__isa_name((nib__isa)isa));
        nib__kernels_init(&kernels, (nib__isa)isa, NIB_PRECISION_DEFAULT);
        failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
    }
    return failed != 0;
}
