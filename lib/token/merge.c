/* SPDX-License-Identifier: MIT
 * BPE merging (Sennrich et al. 2016) without a priority queue: a tree of minima over positions
 * always shows the leftmost pair of the lowest rank. Unlike a heap it holds no stale entries, so
 * memory is known beforehand and ten million equal characters cost the same as any other text. */
#include "token/merge.h"

enum { LEAF = 32 }; /* positions under one leaf, searched in a row */

bool nib__merge_make(const nib_allocator *mem, uint32_t n, nib__merge_run *run)
{
    *run = (nib__merge_run){.n = n, .n_leaf = 1};
    while ((uint64_t)run->n_leaf * LEAF < n) run->n_leaf *= 2;
    size_t padded = nib__align_up(n, LEAF); /* so that every leaf is whole */
    run->next = nib__alloc_raw(mem, n, sizeof *run->next);
    run->prev = nib__alloc_raw(mem, n, sizeof *run->prev);
    run->rank = nib__alloc_raw(mem, padded, sizeof *run->rank);
    run->tree = nib__alloc_raw(mem, 2 * (size_t)run->n_leaf, sizeof *run->tree);
    return run->next != NULL && run->prev != NULL && run->rank != NULL && run->tree != NULL;
}

void nib__merge_free(const nib_allocator *mem, nib__merge_run *run)
{
    nib__free(mem, run->next);
    nib__free(mem, run->prev);
    nib__free(mem, run->rank);
    nib__free(mem, run->tree);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t leaf_minimum(const nib__merge_run *run, uint32_t leaf)
{
    if ((uint64_t)leaf * LEAF >= run->n) return NIB__NO_RANK;
    const uint32_t *rank = run->rank + (size_t)leaf * LEAF;
    uint32_t low[4] = {rank[0], rank[1], rank[2], rank[3]};
    for (uint32_t i = 4; i < LEAF; i += 4)
        for (uint32_t k = 0; k < 4; k++) low[k] = smaller(low[k], rank[i + k]);
    return smaller(smaller(low[0], low[1]), smaller(low[2], low[3]));
}

/* Brings the tree up to date after a rank under `leaf` has changed. */
static void update(nib__merge_run *run, uint32_t leaf)
{
    uint32_t node = run->n_leaf + leaf;
    uint32_t low = leaf_minimum(run, leaf);
    while (run->tree[node] != low) {
        run->tree[node] = low;
        if (node == 1) return;
        node /= 2;
        low = smaller(run->tree[2 * node], run->tree[2 * node + 1]);
    }
}

static uint32_t leftmost(const nib__merge_run *run)
{
    uint32_t low = run->tree[1], node = 1;
    while (node < run->n_leaf) {
        node *= 2;
        if (run->tree[node] != low) node++;
    }
    uint32_t i = (node - run->n_leaf) * LEAF;
    while (run->rank[i] != low) i++;
    return i;
}

static void start(nib__merge_run *run, const nib__merge_rule *rule)
{
    for (uint32_t i = 0; i < run->n; i++) {
        run->next[i] = i + 1;
        run->prev[i] = i == 0 ? run->n : i - 1;
    }
    for (uint32_t i = 0; i + 1 < run->n; i++) run->rank[i] = rule->rank(rule->ctx, run, i, i + 1);
    for (size_t i = run->n - 1; i < nib__align_up(run->n, LEAF); i++) run->rank[i] = NIB__NO_RANK;
    for (uint32_t leaf = 0; leaf < run->n_leaf; leaf++)
        run->tree[run->n_leaf + leaf] = leaf_minimum(run, leaf);
    for (uint32_t node = run->n_leaf - 1; node >= 1; node--)
        run->tree[node] = smaller(run->tree[2 * node], run->tree[2 * node + 1]);
}

void nib__merge_all(nib__merge_run *run, const nib__merge_rule *rule)
{
    start(run, rule);
    while (run->tree[1] != NIB__NO_RANK) {
        uint32_t i = leftmost(run), j = run->next[i], before = run->prev[i];
        rule->join(rule->ctx, i, j);
        uint32_t after = run->next[j];
        run->next[i] = after;
        run->rank[j] = NIB__NO_RANK;
        if (after < run->n) run->prev[after] = i;
        run->rank[i] = after < run->n ? rule->rank(rule->ctx, run, i, after) : NIB__NO_RANK;
        if (before < run->n) {
            run->rank[before] = rule->rank(rule->ctx, run, before, i);
            if (before / LEAF != i / LEAF) update(run, before / LEAF);
        }
        if (j / LEAF != i / LEAF) update(run, j / LEAF);
        update(run, i / LEAF);
    }
}
