/* SPDX-License-Identifier: MIT
 * Logits -> one token. Pure functions over an array: same input, same output, on every machine. */
#ifndef NIB_DECODE_SAMPLE_H
#define NIB_DECODE_SAMPLE_H

#include "kernels/kernels.h"

/* Working memory for a vocabulary of n tokens. */
typedef struct nib__candidate {
    float logit;
    int32_t id;
} nib__candidate;

typedef struct nib__sampler {
    const nib_complete_options *options; /* checked by nib__sampler_check */
    const nib__kernels *kernels;
    nib__candidate *candidates;          /* [n_vocab] */
    double *weights;                     /* [n_vocab] */
    float *scores;                       /* [n_vocab] logits after bias and penalties */
    uint32_t n_vocab;
} nib__sampler;

/* ARGUMENT if an option is out of range (negative temperature, NaN, bias for an unknown id ...). */
nib_status nib__sampler_check(const nib_complete_options *options, uint32_t n_vocab, nib_error *err);

/* Draws the token for position `position` after history[n_history]. Writes the token with its log
 * probability under the unmodified logits, and options->n_logprobs alternatives to top (may be NULL
 * when that is 0). Logits that are all NaN or -inf: NIB_ERR_STATE. */
nib_status nib__sample(nib__sampler *sampler, const float *logits, const int32_t *history,
                       uint32_t n_history, uint32_t position, nib_logprob *token, nib_logprob *top,
                       nib_error *err);

/* Uniform in [0, 1) from a counter: splitmix64 finalizer over (seed, position). */
double nib__uniform(uint64_t seed, uint64_t position);

#endif
