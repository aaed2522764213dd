/* SPDX-License-Identifier: MIT
 * Weighted selection by buckets of logits; see places.h. */
#include "decode/places.h"

enum {
    SHORT = 24, /* so many are sorted */
    STEP = 16
};

/* Bucket of a logit; better ones never come later. */
typedef struct scale {
    float high;
    double factor;
} scale;

static scale scale_of(float high, float low)
{
    return (scale){high, (NIB__BUCKETS - 1) / ((double)high - (double)low)};
}

static int32_t bucket_of(scale s, float logit)
{
    return (int32_t)(((double)s.high - (double)logit) * s.factor);
}

static double mass_of(nib__candidate token)
{
    return nib__exp_in_range((double)token.logit);
}

void nib__places_fill(nib__places *p, const nib__candidate *tokens, uint32_t n, float low,
                      int32_t *members)
{
    const scale s = scale_of(0.0f, low);
    *p = (nib__places){.tokens = tokens, .n = n, .members = members, .low = low};
    uint32_t i = 0;
    for (; i + STEP <= n; i += STEP) { /* a compiler can compute several masses at once */
        double mass[STEP];
        int32_t bucket[STEP];
        for (uint32_t j = 0; j < STEP; j++) mass[j] = mass_of(tokens[i + j]);
        for (uint32_t j = 0; j < STEP; j++) bucket[j] = bucket_of(s, tokens[i + j].logit);
        for (uint32_t j = 0; j < STEP; j++) p->masses[bucket[j]] += mass[j];
    }
    for (; i < n; i++) p->masses[bucket_of(s, tokens[i].logit)] += mass_of(tokens[i]);
    for (uint32_t b = 0; b < NIB__BUCKETS; b++) p->mass += p->masses[b];
}

/* The bucket that `wanted` falls into; *reached grows by those before. Of empty buckets none is
 * returned, so that the last token is found if masses do not suffice. */
static int32_t find_bucket(const double *masses, double wanted, int beyond, double *reached)
{
    int32_t found = 0;
    double start = *reached, before = start;
    for (int32_t b = 0; b < NIB__BUCKETS; b++) {
        if (masses[b] == 0) continue;
        found = b;
        before = start;
        start += masses[b];
        if (start > wanted || (start == wanted && !beyond)) break;
    }
    *reached = before;
    return found;
}

/* Keeps those of list[n] that are in a bucket. */
static uint32_t keep_bucket(const nib__candidate *tokens, int32_t *list, uint32_t n, scale s,
                            int32_t bucket)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        const int32_t at = list[i];
        list[kept] = at;
        kept += bucket_of(s, tokens[at].logit) == bucket;
    }
    return kept;
}

static void sort(const nib__candidate *tokens, int32_t *list, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        const int32_t moving = list[i];
        uint32_t at = i;
        for (; at > 0 && nib__better(tokens[moving], tokens[list[at - 1]]); at--) {
            list[at] = list[at - 1];
        }
        list[at] = moving;
    }
}

nib__place nib__places_find(const nib__places *p, double wanted, int beyond)
{
    const nib__candidate *tokens = p->tokens;
    int32_t *list = p->members;
    double reached = 0;
    scale s = scale_of(0.0f, p->low);
    int32_t bucket = find_bucket(p->masses, wanted, beyond, &reached);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        list[n] = (int32_t)i;
        n += bucket_of(s, tokens[i].logit) == bucket;
    }
    while (n > SHORT) {
        float high = tokens[list[0]].logit, low = high;
        for (uint32_t i = 1; i < n; i++) {
            const float logit = tokens[list[i]].logit;
            high = logit > high ? logit : high;
            low = logit < low ? logit : low;
        }
        if (high == low) break; /* all equal, and in the order of their ids */
        double masses[NIB__BUCKETS] = {0};
        s = scale_of(high, low);
        for (uint32_t i = 0; i < n; i++) {
            masses[bucket_of(s, tokens[list[i]].logit)] += mass_of(tokens[list[i]]);
        }
        bucket = find_bucket(masses, wanted, beyond, &reached);
        n = keep_bucket(tokens, list, n, s, bucket);
    }
    if (n <= SHORT) sort(tokens, list, n);
    uint32_t at = 0;
    for (;; at++) {
        reached += mass_of(tokens[list[at]]);
        if (at + 1 == n || reached > wanted || (reached == wanted && !beyond)) break;
    }
    return (nib__place){tokens[list[at]].id, reached};
}
