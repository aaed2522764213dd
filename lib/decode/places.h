/* SPDX-License-Identifier: MIT
 * Which token stands where in a law, without sorting it. Tokens are thought of as a row, best first
 * (logit descending, id ascending), each as long as its mass e^logit; the question is who stands at
 * a distance from the start. Tokens are counted into buckets by their logit; only the bucket that
 * the distance falls into is looked at more closely. */
#ifndef NIB_DECODE_PLACES_H
#define NIB_DECODE_PLACES_H

#include "decode/exp_log.h"

typedef struct nib__candidate {
    float logit;
    int32_t id;
} nib__candidate;

static inline int nib__better(nib__candidate a, nib__candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

enum { NIB__BUCKETS = 256 };

typedef struct nib__places {
    const nib__candidate *tokens; /* [n] ids ascending, logits -700 to 0 */
    uint32_t n;
    int32_t *members;             /* [n] working memory */
    float low;                    /* buckets divide [low, 0] */
    double mass;                  /* of all */
    double masses[NIB__BUCKETS];  /* the best first */
} nib__places;

/* No logit is below `low`, which is finite and negative. The arrays stay the caller's. */
void nib__places_fill(nib__places *p, const nib__candidate *tokens, uint32_t n, float low,
                      int32_t *members);

typedef struct nib__place {
    int32_t id;
    double end; /* mass up to this token, its own included */
} nib__place;

/* The first token whose end is at least `wanted`, or more than that if `beyond`; else the last one.
 * n must not be 0. */
nib__place nib__places_find(const nib__places *p, double wanted, int beyond);

#endif
