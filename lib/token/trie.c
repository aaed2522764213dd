/* SPDX-License-Identifier: MIT
 * Prefix tree in a hash table. */
#include "token/trie.h"

#include "token/vocab.h"

enum { MAX_NODES = 1 << 30 };

static uint32_t slot_of(const nib__trie *trie, uint32_t node, uint8_t byte)
{
    return (uint32_t)nib__hash_mix((uint64_t)node << 8 | byte, trie->seed) & trie->mask;
}

static void insert(nib__trie *trie, nib__trie_edge edge)
{
    uint32_t i = slot_of(trie, edge.from, edge.byte);
    while (trie->edges[i].to != 0) i = (i + 1) & trie->mask;
    trie->edges[i] = edge;
}

/* Keeps at least half of the table empty. */
static bool reserve(const nib_allocator *mem, nib__trie *trie)
{
    if (trie->edges != NULL && trie->n_edges < (trie->mask >> 1)) return true;
    nib__trie_edge *old = trie->edges;
    uint32_t old_mask = trie->mask;
    uint32_t mask = old == NULL ? 255 : old_mask * 2 + 1;
    nib__trie_edge *edges = nib__alloc(mem, (size_t)mask + 1, sizeof *edges);
    if (edges == NULL) return false;
    trie->edges = edges;
    trie->mask = mask;
    for (uint32_t i = 0; old != NULL && i <= old_mask; i++)
        if (old[i].to != 0) insert(trie, old[i]);
    nib__free(mem, old);
    return true;
}

static bool new_node(const nib_allocator *mem, nib__trie *trie)
{
    if (trie->n_nodes >= MAX_NODES || !nib__grow(mem, (void **)&trie->values, &trie->cap_nodes,
                                                 trie->n_nodes + 1, sizeof *trie->values))
        return false;
    trie->values[trie->n_nodes++] = -1;
    return true;
}

bool nib__trie_add(const nib_allocator *mem, nib__trie *trie, const char *text, size_t len,
                   int32_t value)
{
    if (len == 0) return true;
    if (trie->n_nodes == 0 && !new_node(mem, trie)) return false;
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        uint32_t next = nib__trie_step(trie, node, byte);
        if (next == 0) {
            next = (uint32_t)trie->n_nodes;
            if (!reserve(mem, trie) || !new_node(mem, trie)) return false;
            insert(trie, (nib__trie_edge){node, next, byte});
            trie->n_edges++;
        }
        node = next;
    }
    if (trie->values[node] < 0) trie->values[node] = value;
    trie->first[(uint8_t)text[0] >> 6] |= (uint64_t)1 << ((uint8_t)text[0] & 63);
    return true;
}

void nib__trie_free(const nib_allocator *mem, nib__trie *trie)
{
    nib__free(mem, trie->edges);
    nib__free(mem, trie->values);
    *trie = (nib__trie){0};
}

uint32_t nib__trie_step(const nib__trie *trie, uint32_t node, uint8_t byte)
{
    if (trie->edges == NULL) return 0;
    for (uint32_t i = slot_of(trie, node, byte); trie->edges[i].to != 0; i = (i + 1) & trie->mask)
        if (trie->edges[i].from == node && trie->edges[i].byte == byte) return trie->edges[i].to;
    return 0;
}

size_t nib__trie_longest(const nib__trie *trie, const char *text, size_t len, int32_t *value)
{
    size_t longest = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < len; i++) {
        node = nib__trie_step(trie, node, (uint8_t)text[i]);
        if (node == 0) break;
        if (trie->values[node] >= 0) {
            *value = trie->values[node];
            longest = i + 1;
        }
    }
    return longest;
}
