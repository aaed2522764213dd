/* SPDX-License-Identifier: MIT
 * What beam search decides, without a model: which tokens continue which beams, which finished texts
 * are kept, and when to stop. The rules are those of `generate` in transformers 4.44, so that its
 * settings mean the same here. */
#ifndef NIB_DECODE_BEAM_RANK_H
#define NIB_DECODE_BEAM_RANK_H

#include "decode/beam_rules.h"
#include "kernels/kernels.h"
#include "token/token.h"

enum { NIB__MAX_BEAMS = NIB__DECODE_ROWS, NIB__MAX_END_IDS = 32 };

/* Which tokens end a text. */
typedef struct nib__ends {
    const nib__tokenizer *tokenizer; /* its end tokens, if n is 0 */
    uint32_t n;
    int32_t ids[NIB__MAX_END_IDS];
} nib__ends;
bool nib__ends_text(const nib__ends *ends, int32_t id);

/* Beam `from` goes on with `id`; score: sum of log probabilities. */
typedef struct nib__branch {
    float score;
    uint32_t from;
    int32_t id;
} nib__branch;

/* The best branches of all beams, best first; equal ones by beam, then by id. */
typedef struct nib__ranking {
    uint32_t n_beams;                  /* room in either list */
    uint32_t n_all, n_open;
    nib__branch all[NIB__MAX_BEAMS];   /* of all tokens: what ends here becomes a hypothesis */
    nib__branch open[NIB__MAX_BEAMS];  /* of tokens that do not end: the next beams */
} nib__ranking;

/* A beam that is to branch out: its tokens, whose log probabilities have the sum `score`, and the
 * logits[n_vocab] of the next, which the rules change. */
typedef struct nib__stem {
    nib__so_far text;
    float score, *logits;
    uint32_t n_vocab;
} nib__stem;

/* Adds the branches of beam `from`: one call a beam, in ascending order. Logits that are NaN or
 * -infinity are no branch. */
void nib__ranking_add(nib__ranking *r, const nib__kernels *kernels, const nib__ends *ends,
                      const nib__rules *rules, const nib__stem *stem, uint32_t from);

/* A finished text. */
typedef struct nib__hypothesis {
    double score;
    uint32_t n, ended; /* tokens, without the one that ended it; whether one did */
    int32_t *ids;      /* [max_tokens] */
} nib__hypothesis;

typedef struct nib__hypotheses {
    const nib_beam_options *options;
    uint32_t n;
    double worst;
    nib__hypothesis list[NIB__MAX_BEAMS + 1]; /* in the order in which they came; the caller gives
                                                 each its memory for ids */
} nib__hypotheses;

/* Keeps ids[n] (and `last`, unless it ended the text) if it is among the n_beams best so far. */
void nib__hypotheses_add(nib__hypotheses *h, const int32_t *ids, uint32_t n, int32_t last,
                         uint32_t ended, float sum);
/* Whether to stop after `length` tokens, of which the best branch has the sum `best`. */
bool nib__hypotheses_done(const nib__hypotheses *h, float best, uint32_t length);
/* Best first; of equal ones the later. */
void nib__hypotheses_sort(nib__hypotheses *h);

#endif
