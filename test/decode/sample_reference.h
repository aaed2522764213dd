/* SPDX-License-Identifier: MIT
 * The filters of sampling, short and slow: a list of tokens is sorted, cut and drawn from. */
#ifndef TEST_DECODE_SAMPLE_REFERENCE_H
#define TEST_DECODE_SAMPLE_REFERENCE_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

static uint32_t plain_argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (x[i] > x[best] || (isnan(x[best]) && !isnan(x[i]))) best = i;
    }
    return best;
}

typedef struct ref_token {
    double logit, p, distance;
    int32_t id;
} ref_token;

static int by_logit(const void *a, const void *b)
{
    const ref_token *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

static int by_distance(const void *a, const void *b)
{
    const ref_token *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->id - y->id;
}

static void ref_law(ref_token *t, uint32_t n)
{
    double sum = 0, max = -INFINITY;
    for (uint32_t i = 0; i < n; i++) max = t[i].logit > max ? t[i].logit : max;
    for (uint32_t i = 0; i < n; i++) sum += t[i].p = exp(t[i].logit - max);
    for (uint32_t i = 0; i < n; i++) t[i].p /= sum;
}

static uint32_t ref_top_k(ref_token *t, uint32_t n, uint32_t k)
{
    qsort(t, n, sizeof *t, by_logit);
    return k != 0 && k < n ? k : n;
}

static uint32_t ref_typical(ref_token *t, uint32_t n, double p)
{
    if (p >= 1) return n;
    double entropy = 0, sum = 0;
    ref_law(t, n);
    for (uint32_t i = 0; i < n; i++) entropy -= t[i].p > 0 ? t[i].p * log(t[i].p) : 0;
    for (uint32_t i = 0; i < n; i++) t[i].distance = (float)fabs(-log(t[i].p) - entropy);
    qsort(t, n, sizeof *t, by_distance);
    uint32_t kept = 0;
    while (kept < n && sum <= p) sum += t[kept++].p;
    qsort(t, kept, sizeof *t, by_logit);
    return kept;
}

static uint32_t ref_top_p(ref_token *t, uint32_t n, double p)
{
    if (p >= 1) return n;
    double sum = 0;
    uint32_t kept = 0;
    ref_law(t, n);
    qsort(t, n, sizeof *t, by_logit);
    do sum += t[kept++].p;
    while (kept < n && sum < p);
    return kept;
}

static uint32_t ref_min_p(ref_token *t, uint32_t n, double p)
{
    uint32_t kept = 0;
    ref_law(t, n);
    qsort(t, n, sizeof *t, by_logit);
    while (kept < n && t[kept].p >= p * t[0].p * (1 - 1e-12)) kept++;
    return kept;
}

static int32_t ref_draw(ref_token *t, uint32_t n, double u)
{
    double sum = 0;
    ref_law(t, n);
    for (uint32_t i = 0; i < n; i++) {
        sum += t[i].p;
        if (sum > u) return t[i].id;
    }
    return t[n - 1].id;
}

static uint32_t ref_start(ref_token *t, const float *logits, uint32_t n, float temperature)
{
    float max = logits[plain_argmax(logits, n)];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (logits[i] == -INFINITY || isnan(logits[i])) continue;
        float scaled = (float)(((double)logits[i] - (double)max) * (1.0 / (double)temperature));
        t[kept++] = (ref_token){.logit = scaled, .id = (int32_t)i};
    }
    return kept;
}

#endif
