/* SPDX-License-Identifier: MIT
 * The rules of beam search. A hypothesis is scored by its sum of log probabilities over its length,
 * its end token included, to the power of the length penalty (Wu et al. 2016, section 7, without
 * their constant 5). Sums are float32, scores double, as in transformers. */
#include "decode/beam_rank.h"

#include <math.h>
#include <string.h>

#include "decode/sample.h"

/* ---- branches -------------------------------------------------------------------------------- */

bool nib__ends_text(const nib__ends *ends, int32_t id)
{
    if (ends->n == 0) return nib__tokenizer_is_end(ends->tokenizer, id) != 0;
    for (uint32_t i = 0; i < ends->n; i++) {
        if (ends->ids[i] == id) return true;
    }
    return false;
}

/* Branches come in the order that decides between equal ones. */
static uint32_t insert(nib__branch *list, uint32_t n, uint32_t cap, nib__branch next)
{
    if (n == cap && !(next.score > list[n - 1].score)) return n;
    uint32_t at = n < cap ? n++ : n - 1;
    for (; at > 0 && next.score > list[at - 1].score; at--) list[at] = list[at - 1];
    list[at] = next;
    return n;
}

/* Below this logit no branch can enter the lists; a little lower, because rounding is not undone.
 */
static float entry_limit(const nib__ranking *r, float score, float max, double log_sum)
{
    if (r->n_open < r->n_beams || !(max < INFINITY)) return -INFINITY;
    double limit = (double)r->open[r->n_open - 1].score - (double)score + log_sum + (double)max;
    return (float)(limit - 1e-5 * (fabs(limit) + fabs((double)score) + fabs((double)max) + 1));
}

static void add_branch(nib__ranking *r, const nib__branch *branch, bool ends)
{
    r->n_all = insert(r->all, r->n_all, r->n_beams, *branch);
    if (!ends) r->n_open = insert(r->open, r->n_open, r->n_beams, *branch);
}

void nib__ranking_add(nib__ranking *r, const nib__kernels *kernels, const nib__ends *ends,
                      const nib__rules *rules, const nib__stem *stem, uint32_t from)
{
    enum { CHUNK = 512 };
    int32_t ids[CHUNK], forced = nib__rules_forced(rules, &stem->text);
    nib__branch b = {stem->score, from, forced};
    if (forced >= 0) {
        add_branch(r, &b, nib__ends_text(ends, forced));
        return;
    }
    float *logits = stem->logits, max = logits[kernels->argmax(logits, stem->n_vocab)];
    if (!(max > -INFINITY)) return;
    double log_sum = nib__log_sum_exp(kernels, logits, stem->n_vocab, max);
    bool may_end = nib__rules_end(rules, &stem->text);
    nib__rules_apply(rules, &stem->text, (double)max + log_sum, logits);
    for (uint32_t at = 0; at < stem->n_vocab; at += CHUNK) {
        uint32_t count = stem->n_vocab - at < CHUNK ? stem->n_vocab - at : CHUNK;
        float limit = entry_limit(r, stem->score, max, log_sum);
        uint32_t found = kernels->filter_above(logits + at, count, limit, ids);
        for (uint32_t i = 0; i < found; i++) {
            b.id = ids[i] + (int32_t)at;
            b.score = nib__logprob(logits[b.id], max, log_sum) + stem->score;
            if (r->n_open == r->n_beams && !(b.score > r->open[r->n_open - 1].score)) continue;
            bool end = nib__ends_text(ends, b.id);
            if (!end || may_end) add_branch(r, &b, end);
        }
    }
}

/* ---- hypotheses ------------------------------------------------------------------------------ */

static double score_of(const nib__hypotheses *h, float sum, uint32_t length)
{
    return (double)sum / pow((double)length, h->options->length_penalty);
}

static double lower(double a, double b)
{
    return a < b ? a : b;
}

/* Takes out the one with the lowest score, the first of equal ones, and notes the next lowest. */
static void drop_worst(nib__hypotheses *h)
{
    uint32_t lowest = 0;
    for (uint32_t i = 1; i < h->n; i++) {
        if (h->list[i].score < h->list[lowest].score) lowest = i;
    }
    nib__hypothesis out = h->list[lowest];
    h->n--;
    memmove(h->list + lowest, h->list + lowest + 1, (h->n - lowest) * sizeof out);
    h->list[h->n] = out; /* its memory is for the next one */
    h->worst = h->list[0].score;
    for (uint32_t i = 1; i < h->n; i++) h->worst = lower(h->worst, h->list[i].score);
}

void nib__hypotheses_add(nib__hypotheses *h, const int32_t *ids, uint32_t n, int32_t last,
                         uint32_t ended, float sum)
{
    double score = score_of(h, sum, n + 1);
    if (h->n == h->options->n_beams && !(score > h->worst)) return;
    nib__hypothesis *new = &h->list[h->n];
    memcpy(new->ids, ids, n * sizeof *ids);
    if (!ended) new->ids[n++] = last;
    *new = (nib__hypothesis){.score = score, .n = n, .ended = ended, .ids = new->ids};
    h->worst = h->n == 0 ? score : lower(h->worst, score);
    h->n++;
    if (h->n > h->options->n_beams) drop_worst(h);
}

bool nib__hypotheses_done(const nib__hypotheses *h, float best, uint32_t length)
{
    const nib_beam_options *o = h->options;
    if (h->n < o->n_beams) return false;
    if (o->early_stopping == NIB_BEAM_STOP_EARLY) return true;
    /* A longer text divides its sum by more, if the penalty is positive. */
    bool longest = o->early_stopping == NIB_BEAM_STOP_NEVER && o->length_penalty > 0;
    return h->worst >= score_of(h, best, longest ? o->max_tokens : length);
}

void nib__hypotheses_sort(nib__hypotheses *h)
{
    for (uint32_t i = 1; i < h->n; i++) {
        nib__hypothesis next = h->list[i];
        uint32_t at = i;
        for (; at > 0 && next.score >= h->list[at - 1].score; at--) h->list[at] = h->list[at - 1];
        h->list[at] = next;
    }
}
