/* SPDX-License-Identifier: MIT
 * Logits -> one token. Pure functions over an array: same input, same output, on every machine. */
#ifndef NIB_DECODE_SAMPLE_H
#define NIB_DECODE_SAMPLE_H

#include "decode/places.h"
#include "kernels/kernels.h"

enum { NIB__MAX_LOGPROBS = 32 };

/* Working memory for a vocabulary. A greedy sampler without bias and penalties needs none of it. */
typedef struct nib__sampler {
    const nib_complete_options *options; /* checked by nib__sampler_check */
    const nib__kernels *kernels;
    nib__candidate *candidates;          /* [n_vocab] */
    float *scores;                       /* [n_vocab] logits after bias and penalties */
    int32_t *ids;                        /* [n_vocab] */
    float *maxima;                       /* [n_vocab / NIB__MAXIMA_RUN + 1] */
    uint32_t n_vocab;
} nib__sampler;

/* ARGUMENT if an option is out of range (negative temperature, NaN, bias for an unknown id ...). */
nib_status nib__sampler_check(const nib_complete_options *options, uint32_t n_vocab, nib_error *err);

/* 1 if the options need the working memory. */
int32_t nib__sampler_needs_memory(const nib_complete_options *options);

/* Draws the token for position `position` after history[n_history]. Writes the token with its log
 * probability under the unmodified logits, and options->n_logprobs alternatives to top (may be NULL
 * when that is 0). Logits that leave nothing to choose (all NaN, -inf or banned): NIB_ERR_STATE. */
nib_status nib__sample(nib__sampler *sampler, const float *logits, const int32_t *history,
                       uint32_t n_history, uint32_t position, nib_logprob *token, nib_logprob *top,
                       nib_error *err);

/* ln of the sum of e^(x - max) over x[n], whose largest is max (more than -infinity). */
double nib__log_sum_exp(const nib__kernels *kernels, const float *x, uint32_t n, float max);
/* Log probability of a token with this logit. */
float nib__logprob(float logit, float max, double log_sum);

/* Uniform in [0, 1), a multiple of 2^-53, from a counter: with mix = the splitmix64 finalizer and
 * g = 0x9e3779b97f4a7c15 it is mix(mix(seed + g) + (position + 1) * g) >> 11, scaled. */
double nib__uniform(uint64_t seed, uint64_t position);

#endif
