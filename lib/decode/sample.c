/* SPDX-License-Identifier: MIT
 * Logits -> one token: bias, penalties, temperature, top-k, typical, top-p, min-p, draw.
 *
 * Survivors are kept as a binary heap ordered by (logit descending, id ascending). Every filter
 * takes from it, best first, only as many as it needs, so that a vocabulary of 152,000 is never
 * sorted as a whole. A sorted array is a heap too, which is what a filter leaves behind.
 *
 * exp and log are ours: those of C libraries differ in the last bit between versions and CPUs, and
 * a seed must give the same text everywhere. */
#include "decode/sample.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

/* ---- arithmetic ------------------------------------------------------------------------------ */

/* e^x for x <= 0, relative error below 1e-15: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor in r. Below
 * -700, and for NaN, it is e^-700. Adding 1.5 * 2^52 rounds to an integer, which then lies in the
 * low bits: no branch and no conversion, so that compilers can compute several at once. */
static inline double exp_of(double x)
{
    x = x > -700.0 ? x : -700.0;
    double shifted = x * 1.4426950408889634 + 0x1.8p52, n = shifted - 0x1.8p52;
    double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
    double r2 = r * r, r4 = r2 * r2;
    double p0 = (1.0 + r) + r2 * (1.0 / 2 + r * (1.0 / 6));
    double p1 = (1.0 / 24 + r * (1.0 / 120)) + r2 * (1.0 / 720 + r * (1.0 / 5040));
    double p2 = (1.0 / 40320 + r * (1.0 / 362880)) + r2 * (1.0 / 3628800 + r * (1.0 / 39916800));
    double value = p0 + r4 * (p1 + r4 * p2), power;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

/* ln x for finite x > 0: x = m 2^e with m near 1, ln m = 2 artanh((m - 1) / (m + 1)). */
static double log_of(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double z = (m - 1) / (m + 1), z2 = z * z, sum = 0;
    for (int k = 23; k >= 1; k -= 2) sum = sum * z2 + 1.0 / k;
    return (double)e * 0x1.62e42fefa39efp-1 + 2 * z * sum;
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double nib__uniform(uint64_t seed, uint64_t position)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    return (double)(mix(mix(seed + golden) + (position + 1) * golden) >> 11) * 0x1p-53;
}

/* value - max, where an infinite maximum is only as far from itself as a finite one: 0. */
static inline double below(float value, float max)
{
    return value == max ? 0.0 : (double)value - (double)max;
}

/* ln of the sum of e^(x - max): eight sums side by side, added in a fixed order. */
static double log_sum_exp(const float *x, uint32_t n, float max)
{
    enum { LANES = 8 };
    double sum[LANES] = {0};
    uint32_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        for (int j = 0; j < LANES; j++) sum[j] += exp_of(below(x[i + j], max));
    }
    for (; i < n; i++) sum[i % LANES] += exp_of(below(x[i], max));
    for (int step = LANES / 2; step > 0; step /= 2) {
        for (int j = 0; j < step; j++) sum[j] += sum[j + step];
    }
    return log_of(sum[0]);
}

/* ---- options --------------------------------------------------------------------------------- */

static int32_t has_penalties(const nib_complete_options *o)
{
    return o->penalty_window != 0 && (o->repeat_penalty != 1.0f || o->frequency_penalty != 0.0f ||
                                      o->presence_penalty != 0.0f);
}

int32_t nib__sampler_needs_memory(const nib_complete_options *o)
{
    return o->temperature != 0.0f || o->n_bias != 0 || has_penalties(o);
}

static int in_range(float value, float low, float high)
{
    return value >= low && value <= high; /* false for NaN */
}

nib_status nib__sampler_check(const nib_complete_options *o, uint32_t n_vocab, nib_error *err)
{
    const float big = 3.0e38f;
    const struct {
        const char *name;
        float value, low, high;
        const char *range;
    } checks[] = {
        {"temperature", o->temperature, 0.0f, big, "a number >= 0"},
        {"top_p", o->top_p, 0.0f, 1.0f, "0 to 1"},
        {"min_p", o->min_p, 0.0f, 1.0f, "0 to 1"},
        {"typical_p", o->typical_p, 0.0f, 1.0f, "0 to 1"},
        {"repeat_penalty", o->repeat_penalty, 1e-6f, 1e6f, "1e-6 to 1e6"},
        {"frequency_penalty", o->frequency_penalty, -1e6f, 1e6f, "-1e6 to 1e6"},
        {"presence_penalty", o->presence_penalty, -1e6f, 1e6f, "-1e6 to 1e6"},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        if (!in_range(checks[i].value, checks[i].low, checks[i].high)) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "%s: expected %s", checks[i].name,
                             checks[i].range);
        }
    }
    if (o->n_logprobs > NIB__MAX_LOGPROBS) {
        return nib__fail(err, NIB_ERR_ARGUMENT, "n_logprobs: expected at most %d, got %u",
                         (int)NIB__MAX_LOGPROBS, o->n_logprobs);
    }
    if (o->n_bias != 0 && o->bias == NULL)
        return nib__fail(err, NIB_ERR_ARGUMENT, "bias: expected %zu entries, got NULL", o->n_bias);
    for (size_t i = 0; i < o->n_bias; i++) {
        const nib_logit_bias *bias = &o->bias[i];
        if (bias->id < 0 || (uint32_t)bias->id >= n_vocab) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "bias[%zu]: expected an id of 0 to %u, got %d",
                             i, n_vocab - 1, (int)bias->id);
        }
        if (!(bias->bias <= big)) {
            return nib__fail(err, NIB_ERR_ARGUMENT, "bias[%zu]: expected a number or -INFINITY", i);
        }
    }
    return NIB_OK;
}

/* ---- the heap of survivors ------------------------------------------------------------------- */

static int better(nib__candidate a, nib__candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(nib__candidate *heap, uint32_t n, uint32_t at)
{
    nib__candidate moving = heap[at];
    for (;;) {
        size_t child = 2 * (size_t)at + 1;
        if (child >= n) break;
        if (child + 1 < n && better(heap[child + 1], heap[child])) child++;
        if (!better(heap[child], moving)) break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = moving;
}

static void build_heap(nib__candidate *heap, uint32_t n)
{
    for (uint32_t i = n / 2; i-- > 0;) sift_down(heap, n, i);
}

/* Moves the best of heap[n] to heap[n - 1]; heap[n - 1 elements] remains a heap. */
static nib__candidate take_best(nib__candidate *heap, uint32_t n)
{
    nib__candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    if (n > 1) sift_down(heap, n - 1, 0);
    return best;
}

/* After `taken` calls of take_best on heap[n]: makes heap[0 .. taken) those, best first. */
static uint32_t keep_taken(nib__candidate *heap, uint32_t n, uint32_t taken)
{
    nib__candidate *tail = heap + (n - taken);
    for (uint32_t i = 0; i < taken / 2; i++) {
        nib__candidate swap = tail[i];
        tail[i] = tail[taken - 1 - i];
        tail[taken - 1 - i] = swap;
    }
    memmove(heap, tail, taken * sizeof *heap);
    return taken;
}

static double mass(const nib__candidate *heap, uint32_t n, float top)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += exp_of((double)heap[i].logit - (double)top);
    return sum;
}

/* ---- filters: heap[n] -> heap[returned], at least one survives ------------------------------- */

static uint32_t keep_top_k(nib__candidate *heap, uint32_t n, uint32_t k)
{
    if (k == 0 || k >= n) return n;
    for (uint32_t i = 0; i < k; i++) take_best(heap, n - i);
    return keep_taken(heap, n, k);
}

/* Locally typical sampling (Meister et al. 2022): nearest to the entropy first, until their mass
 * exceeds p. Equal distances (as float32) go by id. */
static uint32_t keep_typical(nib__candidate *heap, uint32_t n, float p, const float *scores)
{
    if (p >= 1.0f) return n;
    float top = heap[0].logit;
    double sum = mass(heap, n, top), log_sum = log_of(sum), entropy = 0;
    for (uint32_t i = 0; i < n; i++) {
        double log_p = (double)heap[i].logit - (double)top - log_sum;
        entropy -= exp_of(log_p) * log_p;
    }
    for (uint32_t i = 0; i < n; i++) {
        double log_p = (double)heap[i].logit - (double)top - log_sum;
        heap[i].logit = -(float)fabs(-log_p - entropy);
    }
    build_heap(heap, n);
    uint32_t taken = 0;
    for (double reached = 0; taken < n && reached <= (double)p * sum;) {
        nib__candidate next = take_best(heap, n - taken++);
        reached += exp_of((double)scores[next.id] - (double)top);
    }
    n = keep_taken(heap, n, taken);
    for (uint32_t i = 0; i < n; i++) heap[i].logit = scores[heap[i].id];
    build_heap(heap, n);
    return n;
}

static uint32_t keep_top_p(nib__candidate *heap, uint32_t n, float p)
{
    if (p >= 1.0f) return n;
    float top = heap[0].logit;
    double wanted = (double)p * mass(heap, n, top), reached = 0;
    uint32_t taken = 0;
    do {
        nib__candidate next = take_best(heap, n - taken++);
        reached += exp_of((double)next.logit - (double)top);
    } while (taken < n && reached < wanted);
    return keep_taken(heap, n, taken);
}

static uint32_t keep_min_p(nib__candidate *heap, uint32_t n, float p)
{
    if (p <= 0.0f) return n;
    double least = (double)heap[0].logit + log_of((double)p);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if ((double)heap[i].logit >= least) heap[kept++] = heap[i];
    }
    build_heap(heap, kept);
    return kept;
}

/* Inverse of the cumulative law, tokens in the order of the heap. */
static int32_t draw(nib__candidate *heap, uint32_t n, double u)
{
    float top = heap[0].logit;
    double wanted = u * mass(heap, n, top), reached = 0;
    nib__candidate next = heap[0];
    for (uint32_t taken = 0; taken < n; taken++) {
        next = take_best(heap, n - taken);
        reached += exp_of((double)next.logit - (double)top);
        if (reached > wanted) break;
    }
    return next.id;
}

/* ---- one token ------------------------------------------------------------------------------- */

/* Counts live in candidates[id].id, which is free at this point. */
static void apply_penalties(nib__sampler *s, const int32_t *history, uint32_t n_history)
{
    const nib_complete_options *o = s->options;
    uint32_t window = n_history < o->penalty_window ? n_history : o->penalty_window;
    const int32_t *recent = history + (n_history - window);
    for (uint32_t i = 0; i < window; i++) s->candidates[recent[i]].id = 0;
    for (uint32_t i = 0; i < window; i++) s->candidates[recent[i]].id++;
    for (uint32_t i = 0; i < window; i++) {
        int32_t count = s->candidates[recent[i]].id;
        if (count == 0) continue; /* an earlier occurrence was handled */
        s->candidates[recent[i]].id = 0;
        float *score = &s->scores[recent[i]];
        *score = *score > 0 ? *score / o->repeat_penalty : *score * o->repeat_penalty;
        *score -= (float)count * o->frequency_penalty + o->presence_penalty;
    }
}

static void adjust(nib__sampler *s, const float *logits, const int32_t *history, uint32_t n_history)
{
    const nib_complete_options *o = s->options;
    memcpy(s->scores, logits, s->n_vocab * sizeof *logits);
    for (size_t i = 0; i < o->n_bias; i++) s->scores[o->bias[i].id] += o->bias[i].bias;
    if (has_penalties(o)) apply_penalties(s, history, n_history);
}

/* Divides by the temperature, the maximum moved to 0 first so that nothing overflows, and collects
 * every token with a chance. With a small top_k only those that can be among the k best: whenever
 * the room is full, the best k stay, and the worst of them is what a further token has to beat. */
static uint32_t collect(nib__sampler *s, float max)
{
    double scale = 1.0 / (double)s->options->temperature;
    uint32_t k = s->options->top_k, n = 0, room = s->n_vocab;
    if (k != 0 && k < room / 4 && room > 256) room = 2 * k + 64;
    float worst = -700.0f;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        float value = (float)(below(s->scores[i], max) * scale);
        s->scores[i] = value;
        if (!(value > worst)) continue; /* an equal one has a larger id: worse */
        s->candidates[n++] = (nib__candidate){value, (int32_t)i};
        if (n < room || room == s->n_vocab) continue;
        build_heap(s->candidates, n);
        n = keep_top_k(s->candidates, n, k);
        worst = s->candidates[n - 1].logit;
    }
    build_heap(s->candidates, n);
    return n;
}

static int32_t choose(nib__sampler *s, float max, uint32_t position)
{
    const nib_complete_options *o = s->options;
    nib__candidate *heap = s->candidates;
    uint32_t n = collect(s, max);
    n = keep_top_k(heap, n, o->top_k);
    n = keep_typical(heap, n, o->typical_p, s->scores);
    n = keep_top_p(heap, n, o->top_p);
    n = keep_min_p(heap, n, o->min_p);
    return draw(heap, n, nib__uniform(o->seed, position));
}

/* The n_top most likely, best first: insertion into a short sorted list. */
static void most_likely(const float *logits, uint32_t n_vocab, float max, double log_sum,
                        uint32_t n_top, nib_logprob *top)
{
    nib__candidate list[NIB__MAX_LOGPROBS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < n_vocab; i++) {
        nib__candidate next = {logits[i], (int32_t)i};
        if (isnan(next.logit)) next.logit = -INFINITY;
        if (n == n_top && !better(next, list[n - 1])) continue;
        uint32_t at = n < n_top ? n++ : n - 1;
        for (; at > 0 && better(next, list[at - 1]); at--) list[at] = list[at - 1];
        list[at] = next;
    }
    for (uint32_t i = 0; i < n_top; i++) {
        top[i] = i < n ? (nib_logprob){list[i].id, (float)(below(list[i].logit, max) - log_sum)}
                       : (nib_logprob){-1, -INFINITY};
    }
}

nib_status nib__sample(nib__sampler *s, const float *logits, const int32_t *history,
                       uint32_t n_history, uint32_t position, nib_logprob *token, nib_logprob *top,
                       nib_error *err)
{
    const nib_complete_options *o = s->options;
    uint32_t best = s->kernels->argmax(logits, s->n_vocab);
    float max = logits[best];
    if (!(max > -INFINITY))
        return nib__fail(err, NIB_ERR_STATE, "no token to choose: all logits are NaN or -infinity");

    int32_t id = (int32_t)best;
    if (nib__sampler_needs_memory(o)) {
        adjust(s, logits, history, n_history);
        uint32_t adjusted = s->kernels->argmax(s->scores, s->n_vocab);
        float adjusted_max = s->scores[adjusted];
        if (!(adjusted_max > -INFINITY)) {
            return nib__fail(err, NIB_ERR_STATE,
                             "no token to choose: bias and penalties leave none");
        }
        id = o->temperature == 0.0f ? (int32_t)adjusted : choose(s, adjusted_max, position);
    }

    double log_sum = log_sum_exp(logits, s->n_vocab, max); /* of the raw law */
    *token = (nib_logprob){id, (float)(below(logits[id], max) - log_sum)};
    if (o->n_logprobs != 0) most_likely(logits, s->n_vocab, max, log_sum, o->n_logprobs, top);
    return NIB_OK;
}
