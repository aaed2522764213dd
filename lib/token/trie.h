/* SPDX-License-Identifier: MIT
 * Prefix tree over bytes whose edges live in one hash table: a step costs one probe, whatever the
 * alphabet. Used to cut special tokens out of text and by the unigram and WordPiece models. */
#ifndef NIB_TOKEN_TRIE_H
#define NIB_TOKEN_TRIE_H

#include "base/mem.h"

typedef struct nib__trie_edge {
    uint32_t from; /* node */
    uint32_t to;   /* node; 0: this slot is empty */
    uint8_t byte;
} nib__trie_edge;

typedef struct nib__trie {
    nib__trie_edge *edges; /* [mask + 1] */
    uint32_t mask, n_edges;
    int32_t *values; /* [n_nodes] token id, or -1; node 0 is the root */
    size_t n_nodes, cap_nodes;
    uint64_t seed;
    uint64_t first[4]; /* bit b: some text starts with byte b */
} nib__trie;

/* Zeroed memory is an empty trie. false: memory (or 2^31 nodes) exhausted; free it all the same.
 * A text that is there already keeps its value. */
bool nib__trie_add(const nib_allocator *mem, nib__trie *trie, const char *text, size_t len,
                   int32_t value);
void nib__trie_free(const nib_allocator *mem, nib__trie *trie);

/* Child of `node` by `byte`, or 0. */
uint32_t nib__trie_step(const nib__trie *trie, uint32_t node, uint8_t byte);

static inline bool nib__trie_starts(const nib__trie *trie, uint8_t byte)
{
    return trie->first[byte >> 6] >> (byte & 63) & 1;
}

/* Length of the longest text of the trie at text[0..len), 0 if none; sets *value. */
size_t nib__trie_longest(const nib__trie *trie, const char *text, size_t len, int32_t *value);

#endif
