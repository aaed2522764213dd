/* SPDX-License-Identifier: MIT
 * What a checkpoint asks of the texts that a search finds, beyond their likelihood: the "logits
 * processors" of `generate` in transformers 4.44 that its generation_config.json names. */
#ifndef NIB_DECODE_BEAM_RULES_H
#define NIB_DECODE_BEAM_RULES_H

#include "model/model.h"

typedef struct nib__rules {
    uint32_t min_length;       /* ids, the prompt's too, before which no text ends */
    uint32_t ngram;            /* no run of so many ids comes twice; 0: any may */
    uint32_t max_tokens;       /* of the longest text */
    int32_t first_id, last_id; /* behind a prompt of one id; in the place of the longest text's last
                                  id; -1: any */
    double repetition;         /* log probabilities of ids that are there already times this */
    nib__array never;          /* ids that no text has; the source's, as long as the model lives */
    nib__array never_first;    /* nor begins with */
} nib__rules;

/* The ids before the one that is to be chosen. */
typedef struct nib__so_far {
    const int32_t *prompt, *ids;
    uint32_t n_prompt, n;
} nib__so_far;

/* From the options and, unless they say otherwise, the checkpoint. UNSUPPORTED: it has a rule that
 * nobody wrote; FORMAT. */
nib_status nib__rules_read(nib__rules *rules, const nib_beam_options *options,
                           const nib_model *model, uint32_t n_prompt, nib_error *err);

/* The only id that may follow, with a probability of 1; -1: any. */
int32_t nib__rules_forced(const nib__rules *rules, const nib__so_far *text);
bool nib__rules_end(const nib__rules *rules, const nib__so_far *text); /* it may end here */
/* Logits become those of the rules: -infinity for what must not follow. An id's log probability is
 * its logit minus `log_total`. */
void nib__rules_apply(const nib__rules *rules, const nib__so_far *text, double log_total,
                      float *logits);

#endif
