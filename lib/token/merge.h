/* SPDX-License-Identifier: MIT
 * The merging loop that byte-level BPE and SentencePiece BPE share: while some neighbours may
 * merge, merge the pair of the lowest rank, the leftmost of equals. */
#ifndef NIB_TOKEN_MERGE_H
#define NIB_TOKEN_MERGE_H

#include "base/mem.h"

#define NIB__NO_RANK UINT32_MAX

/* Symbols in a doubly linked list over positions 0 .. n-1; `n` is the end of the list. */
typedef struct nib__merge_run {
    uint32_t n;
    uint32_t *next, *prev;
    uint32_t *rank; /* of the pair that starts here; NIB__NO_RANK: none, or merged away */
    uint32_t *tree; /* minima of rank: [2 * n_leaf], node i has children 2i and 2i+1, root 1 */
    uint32_t n_leaf;
} nib__merge_run;

typedef struct nib__merge_rule {
    /* Rank of the pair (i, j), or NIB__NO_RANK. */
    uint32_t (*rank)(void *ctx, const nib__merge_run *run, uint32_t i, uint32_t j);
    /* j is about to become part of i. */
    void (*join)(void *ctx, uint32_t i, uint32_t j);
    void *ctx;
} nib__merge_rule;

/* Allocates for n >= 1 symbols; false if memory is short (free it all the same). */
bool nib__merge_make(const nib_allocator *mem, uint32_t n, nib__merge_run *run);
void nib__merge_free(const nib_allocator *mem, nib__merge_run *run);

/* O(n log n) rank calls and steps whatever the ranks are; no recursion, no allocation. */
void nib__merge_all(nib__merge_run *run, const nib__merge_rule *rule);

#endif
