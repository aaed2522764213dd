/* SPDX-License-Identifier: MIT
 * Logits -> one token: bias, penalties, temperature, top-k, typical, top-p, min-p, draw.
 *
 * All filters but the typical one keep the best tokens of those before, so only tokens near the
 * maximum are looked at: vector kernels find those above a limit, which is lowered until enough of
 * the law is there. After top-k and typical, survivors are a binary heap ordered by (logit
 * descending, id ascending). Every filter takes from it, best first, only as many as it needs. A
 * sorted array is a heap too, which is what a filter leaves behind. Top-p and min-p alone may leave
 * most of a vocabulary of 152,000: they and the draw look for places in the row of tokens
 * (places.h) without sorting it. */
#include "decode/sample.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

/* ---- arithmetic ------------------------------------------------------------------------------ */

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

double nib__log_sum_exp(const nib__kernels *kernels, const float *x, uint32_t n, float max)
{
    if (max < INFINITY) return nib__log_of(kernels->sum_exp(x, n, max, 1.0f));
    double infinite = 0; /* all the mass there is, shared by them */
    for (uint32_t i = 0; i < n; i++) infinite += x[i] == max;
    return nib__log_of(infinite);
}

float nib__logprob(float logit, float max, double log_sum)
{
    return (float)(below(logit, max) - log_sum);
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

static void sift_down(nib__candidate *heap, uint32_t n, uint32_t at)
{
    nib__candidate moving = heap[at];
    for (;;) {
        size_t child = 2 * (size_t)at + 1;
        if (child >= n) break;
        if (child + 1 < n && nib__better(heap[child + 1], heap[child])) child++;
        if (!nib__better(heap[child], moving)) break;
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
    for (uint32_t i = 0; i < n; i++) sum += nib__exp_of((double)heap[i].logit - (double)top);
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
static uint32_t keep_typical(nib__candidate *heap, uint32_t n, float p, float *scores)
{
    if (p >= 1.0f) return n;
    for (uint32_t i = 0; i < n; i++) scores[heap[i].id] = heap[i].logit;
    float top = heap[0].logit;
    double sum = mass(heap, n, top), log_sum = nib__log_of(sum), entropy = 0;
    for (uint32_t i = 0; i < n; i++) {
        double log_p = (double)heap[i].logit - (double)top - log_sum;
        entropy -= nib__exp_of(log_p) * log_p;
    }
    for (uint32_t i = 0; i < n; i++) {
        double log_p = (double)heap[i].logit - (double)top - log_sum;
        heap[i].logit = -(float)fabs(-log_p - entropy);
    }
    build_heap(heap, n);
    uint32_t taken = 0;
    for (double reached = 0; taken < n && reached <= (double)p * sum;) {
        nib__candidate next = take_best(heap, n - taken++);
        reached += nib__exp_of((double)scores[next.id] - (double)top);
    }
    n = keep_taken(heap, n, taken);
    for (uint32_t i = 0; i < n; i++) heap[i].logit = scores[heap[i].id];
    build_heap(heap, n);
    return n;
}

/* `total` is the mass of everything that came through the filters before, relative to heap[0]. */
static uint32_t keep_top_p(nib__candidate *heap, uint32_t n, float p, double total)
{
    if (p >= 1.0f) return n;
    float top = heap[0].logit;
    double wanted = (double)p * total, reached = 0;
    uint32_t taken = 0;
    do {
        nib__candidate next = take_best(heap, n - taken++);
        reached += nib__exp_of((double)next.logit - (double)top);
    } while (taken < n && reached < wanted);
    return keep_taken(heap, n, taken);
}

static uint32_t keep_min_p(nib__candidate *heap, uint32_t n, float p)
{
    if (p <= 0.0f) return n;
    double least = (double)heap[0].logit + nib__log_of((double)p);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if ((double)heap[i].logit >= least) heap[kept++] = heap[i];
    }
    build_heap(heap, kept);
    return kept;
}

/* Inverse of the cumulative law, tokens in the order of the heap; `total` as above. */
static int32_t draw(nib__candidate *heap, uint32_t n, double u, double total)
{
    float top = heap[0].logit;
    double wanted = u * total, reached = 0;
    nib__candidate next = heap[0];
    for (uint32_t taken = 0; taken < n; taken++) {
        next = take_best(heap, n - taken);
        reached += nib__exp_of((double)next.logit - (double)top);
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

/* What one draw works on. `logits` are those after bias and penalties. */
typedef struct law {
    nib__sampler *s;
    const float *logits;
    float max;
    double scale; /* 1 / temperature */
} law;

/* The maximum is moved to 0 before the division, so that nothing overflows. */
static float scaled(const law *l, float logit)
{
    return (float)(below(logit, l->max) * l->scale);
}

/* All tokens, ids ascending, whose scaled logit is above `limit` (at most 0) among those whose
 * logit is at least `least`. */
static uint32_t gather(const law *l, double limit, float least)
{
    nib__sampler *s = l->s;
    /* A little lower, because the limit and scaled() are rounded; the exact test follows. */
    double from = (double)l->max + limit / l->scale * (1 + 1e-6), lowest = (double)least;
    lowest -= ((double)l->max - lowest) * 1e-6;
    float above = nextafterf((float)(from > lowest ? from : lowest), -INFINITY);
    uint32_t found = s->kernels->filter_above(l->logits, s->n_vocab, above, s->ids), n = 0;
    for (uint32_t i = 0; i < found; i++) {
        int32_t id = s->ids[i];
        float value = scaled(l, l->logits[id]);
        if ((double)value > limit) s->candidates[n++] = (nib__candidate){value, id};
    }
    return n;
}

/* The same as a heap. */
static uint32_t collect(const law *l, double limit, float least)
{
    const uint32_t n = gather(l, limit, least);
    build_heap(l->s->candidates, n);
    return n;
}

/* The k-th largest of x[n], 1 <= k <= n, none of them NaN; reorders x (Hoare's selection). */
static float kth_largest(float *x, uint32_t n, uint32_t k)
{
    uint32_t low = 0, high = n - 1, at = k - 1;
    while (low < high) {
        float pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i > j) break;
            float swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if ((int64_t)at <= j)
            high = (uint32_t)j;
        else if ((int64_t)at >= i)
            low = (uint32_t)i;
        else
            break;
    }
    return x[at];
}

enum { FLOOR = -700 }; /* below this a token has no chance: e^-700 */

/* The k best: at least k tokens are not below the k-th largest of the maxima of runs. */
static uint32_t collect_top_k(const law *l, uint32_t k)
{
    nib__sampler *s = l->s;
    uint32_t runs = (s->n_vocab + NIB__MAXIMA_RUN - 1) / NIB__MAXIMA_RUN;
    float least = -INFINITY;
    if (k <= runs) {
        s->kernels->run_maxima(l->logits, s->n_vocab, s->maxima);
        least = kth_largest(s->maxima, runs, k);
    }
    return keep_top_k(s->candidates, collect(l, FLOOR, least), k);
}

/* A limit below which no more than `allowed` of the law's mass should lie, from a sample of the
 * tokens. Far below the maximum nobody decides: -6 at most. */
static double guess_limit(const law *l, double allowed)
{
    enum { SAMPLES = 1024, BINS = 128 }; /* of 1/4 each, but the last has all that is lower */
    const uint32_t stride = l->s->n_vocab / SAMPLES;
    double bins[BINS] = {0}, tail = 0;
    if (stride < 4) return -6;
    for (uint32_t i = 0; i < l->s->n_vocab; i += stride) {
        const double value = (double)scaled(l, l->logits[i]);
        bins[value > -0.25 * BINS ? (int)(value * -4) : BINS - 1] += nib__exp_of(value);
    }
    int bin = BINS;
    while (bin > 24 && tail + bins[bin - 1] * stride <= 0.9 * allowed) {
        tail += bins[--bin] * stride;
    }
    return -0.25 * bin;
}

/* The best tokens that together have the share `p` of the whole law, and usually some more; but
 * none with a scaled logit of `floor` or less. *total is the mass of the law. */
static uint32_t collect_share(const law *l, double p, double floor, nib__places *places,
                              double *total)
{
    nib__sampler *s = l->s;
    bool finite = l->max < INFINITY;
    float scale = l->scale < 3e38 ? (float)l->scale : 3e38f;
    double all = finite ? s->kernels->sum_exp(l->logits, s->n_vocab, l->max, scale) : 0;
    for (double limit = finite ? guess_limit(l, (1 - p) * all) : floor;; limit *= 1.25) {
        bool last = !(limit > floor);
        if (last) limit = floor;
        uint32_t n = gather(l, limit, -INFINITY);
        nib__places_fill(places, s->candidates, n, (float)limit, s->ids);
        *total = last && (floor == FLOOR || !finite) ? places->mass : all;
        if (last || places->mass > p * all * (1 + 1e-5)) return n;
    }
}

/* One of tokens[n] with a scaled logit of `least` or more, `total` being the mass of the law, if
 * top-p and min-p are all the filters. Both cut the row of tokens at some place; the draw then is a
 * place before it. */
static int32_t choose_place(const law *l, uint32_t n, double least, double total, double u,
                            nib__places *places)
{
    const nib_complete_options *o = l->s->options;
    nib__candidate *tokens = l->s->candidates;
    if (o->min_p > 0) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++) {
            if ((double)tokens[i].logit >= least) tokens[kept++] = tokens[i];
        }
        nib__places_fill(places, tokens, kept, places->low, l->s->ids);
        total = o->top_p < 1.0f ? total : places->mass;
    }
    if (o->top_p < 1.0f) total = nib__places_find(places, (double)o->top_p * total, 0).end;
    return nib__places_find(places, u * total, 1).id;
}

static int32_t choose(nib__sampler *s, const float *logits, float max, uint32_t position)
{
    const nib_complete_options *o = s->options;
    nib__candidate *heap = s->candidates;
    const law l = {s, logits, max, 1.0 / (double)o->temperature};
    double u = nib__uniform(o->seed, position), total = 0;
    uint32_t n;
    if (o->top_k != 0 && o->top_k < s->n_vocab) {
        n = collect_top_k(&l, o->top_k);
    } else if (o->typical_p < 1.0f) {
        n = collect(&l, FLOOR, -INFINITY);
    } else {
        /* Everything that can survive is above floor, or within the best p of the law. */
        const double least = o->min_p > 0 ? nib__log_of((double)o->min_p) : FLOOR;
        const double floor = least - 1e-5 > FLOOR ? least - 1e-5 : FLOOR;
        nib__places places = {.low = (float)floor};
        if (o->top_p >= 1.0f && o->min_p > 0)
            n = gather(&l, floor, -INFINITY);
        else
            n = collect_share(&l, o->top_p < 1.0f ? (double)o->top_p : u, floor, &places, &total);
        return choose_place(&l, n, least, total, u, &places);
    }
    n = keep_typical(heap, n, o->typical_p, s->scores);
    n = keep_top_p(heap, n, o->top_p, mass(heap, n, heap[0].logit));
    n = keep_min_p(heap, n, o->min_p);
    return draw(heap, n, u, mass(heap, n, heap[0].logit));
}

/* A short list, best first, with room for `cap`. */
static uint32_t insert(nib__candidate *list, uint32_t n, uint32_t cap, nib__candidate next)
{
    if (n == cap && !nib__better(next, list[n - 1])) return n;
    uint32_t at = n < cap ? n++ : n - 1;
    for (; at > 0 && nib__better(next, list[at - 1]); at--) list[at] = list[at - 1];
    list[at] = next;
    return n;
}

/* The n_top most likely, best first. Equal logits go by id, so what comes later must be above the
 * worst of the list. Tokens without a chance (NaN, -infinity) fill the list up if others do not. */
static void most_likely(const nib__kernels *kernels, const float *logits, uint32_t n_vocab,
                        float max, double log_sum, uint32_t n_top, nib_logprob *top)
{
    enum { CHUNK = 512 };
    nib__candidate list[NIB__MAX_LOGPROBS];
    int32_t ids[CHUNK];
    uint32_t n = 0;
    for (uint32_t from = 0; from < n_vocab; from += CHUNK) {
        uint32_t count = n_vocab - from < CHUNK ? n_vocab - from : CHUNK;
        float above = n == n_top ? list[n - 1].logit : -INFINITY;
        uint32_t found = kernels->filter_above(logits + from, count, above, ids);
        for (uint32_t i = 0; i < found; i++) {
            int32_t id = ids[i] + (int32_t)from;
            n = insert(list, n, n_top, (nib__candidate){logits[id], id});
        }
    }
    for (uint32_t i = 0; i < n_vocab && n < n_top; i++) {
        if (!(logits[i] > -INFINITY)) list[n++] = (nib__candidate){-INFINITY, (int32_t)i};
    }
    for (uint32_t i = 0; i < n_top; i++) {
        top[i] = i < n ? (nib_logprob){list[i].id, nib__logprob(list[i].logit, max, log_sum)}
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
    if (o->n_bias != 0 || has_penalties(o)) {
        adjust(s, logits, history, n_history);
        uint32_t adjusted = s->kernels->argmax(s->scores, s->n_vocab);
        float adjusted_max = s->scores[adjusted];
        if (!(adjusted_max > -INFINITY)) {
            return nib__fail(err, NIB_ERR_STATE,
                             "no token to choose: bias and penalties leave none");
        }
        id = (int32_t)adjusted;
        if (o->temperature != 0.0f) id = choose(s, s->scores, adjusted_max, position);
    } else if (o->temperature != 0.0f) {
        id = choose(s, logits, max, position);
    }

    double log_sum = nib__log_sum_exp(s->kernels, logits, s->n_vocab, max); /* of the raw law */
    *token = (nib_logprob){id, nib__logprob(logits[id], max, log_sum)};
    if (o->n_logprobs != 0)
        most_likely(s->kernels, logits, s->n_vocab, max, log_sum, o->n_logprobs, top);
    return NIB_OK;
}
