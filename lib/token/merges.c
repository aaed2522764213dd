/* SPDX-License-Identifier: MIT
 * Reads tokenizer.ggml.merges, lines "left right" by rank, into a hash table over pairs of ids. */
#include <string.h>

#include "token/vocab.h"

static uint32_t slot_of(const nib__merges *m, uint32_t left, uint32_t right)
{
    return (uint32_t)nib__hash_mix((uint64_t)left << 32 | right, m->seed) & m->mask;
}

const nib__merge_pair *nib__merges_find(const nib__merges *m, uint32_t left, uint32_t right)
{
    for (uint32_t i = slot_of(m, left, right);; i = (i + 1) & m->mask) {
        const nib__merge_pair *pair = &m->slots[i];
        if (pair->rank == NIB__NO_RANK) return NULL;
        if (pair->left == left && pair->right == right) return pair;
    }
}

/* In GGUF files the first of two equal pairs counts, as in llama.cpp. */
void nib__merges_add(nib__merges *m, nib__merge_pair pair, bool last_counts)
{
    uint32_t i = slot_of(m, pair.left, pair.right);
    while (m->slots[i].rank != NIB__NO_RANK) {
        if (m->slots[i].left == pair.left && m->slots[i].right == pair.right) {
            if (last_counts) m->slots[i] = pair;
            return;
        }
        i = (i + 1) & m->mask;
    }
    m->slots[i] = pair;
}

nib_status nib__merges_make(const nib_allocator *mem, nib__merges *m, uint64_t count, uint64_t seed,
                            nib_error *err)
{
    if (count >= INT32_MAX / 2) return nib__fail(err, NIB_ERR_LIMIT, "merges: too many");
    size_t size = 16;
    while (size / 4 * 3 < count) size *= 2;
    m->slots = nib__alloc_raw(mem, size, sizeof *m->slots);
    if (m->slots == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the merges");
    m->mask = (uint32_t)(size - 1);
    m->seed = seed;
    for (size_t i = 0; i < size; i++) m->slots[i].rank = NIB__NO_RANK;
    return NIB_OK;
}

/* ---- reading ---------------------------------------------------------------------------------
 * Look-ups in tables of megabytes wait for memory, so lines are read in blocks: what the next step
 * will look at is asked for before the step before it has gone through the block. */

enum { BLOCK = 64 };

typedef struct block {
    nib__str lines[BLOCK];
    nib__merge_pair pairs[BLOCK];
    uint32_t n, first; /* lines, and the rank of the first */
    uint32_t next; /* the id after the last result: vocabularies are trained merge by merge, so it
                      is mostly the next result */
    char *joined;  /* [max_text + 1] */
} block;

static nib_status bad_merge(nib_error *err, uint32_t rank, nib__str line)
{
    int shown = line.len < 60 ? (int)line.len : 60;
    return nib__fail(err, NIB_ERR_FORMAT,
                     "tokenizer.ggml.merges[%u]: '%.*s' does not join two tokens to a third", rank,
                     shown, line.data);
}

/* A token may itself be, or start with, a space: the separator is the first one after it. */
static const char *separator_of(nib__str line)
{
    return line.len > 1 ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
}

static nib_status read_lines(const nib__vocab *v, block *b, const nib__array *lines, size_t *at,
                             nib_error *err)
{
    uint64_t left = lines->count - b->first;
    b->n = left < BLOCK ? (uint32_t)left : BLOCK;
    for (uint32_t i = 0; i < b->n; i++) {
        nib__str *line = &b->lines[i];
        if (!nib__array_next_str(lines, at, line))
            return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.merges ends early");
        const char *space = separator_of(*line);
        if (space == NULL) continue;
        nib__vocab_prefetch(v, line->data, (size_t)(space - line->data));
        nib__vocab_prefetch(v, space + 1, line->len - (size_t)(space - line->data) - 1);
    }
    return NIB_OK;
}

static nib_status find_pair(const nib__vocab *v, block *b, uint32_t i, nib_error *err)
{
    nib__str line = b->lines[i];
    uint32_t rank = b->first + i;
    const char *space = separator_of(line);
    if (space == NULL || line.len - 1 > v->max_text) return bad_merge(err, rank, line);
    size_t n_left = (size_t)(space - line.data), n_right = line.len - n_left - 1;
    memcpy(b->joined, line.data, n_left);
    memcpy(b->joined + n_left, space + 1, n_right);
    int32_t left = nib__vocab_find(v, line.data, n_left);
    int32_t right = nib__vocab_find(v, space + 1, n_right);
    int32_t result = (int32_t)b->next;
    if (!nib__vocab_is(v, b->next, b->joined, n_left + n_right))
        result = nib__vocab_find(v, b->joined, n_left + n_right);
    if (left < 0 || right < 0 || result < 0) return bad_merge(err, rank, line);
    b->next = (uint32_t)result + 1;
    b->pairs[i] = (nib__merge_pair){(uint32_t)left, (uint32_t)right, rank, (uint32_t)result};
    return NIB_OK;
}

static nib_status read_block(nib__tokenizer *t, block *b, const nib__array *lines, size_t *at,
                             nib_error *err)
{
    nib__merges *m = &t->merges;
    nib_status status = read_lines(&t->vocab, b, lines, at, err);
    for (uint32_t i = 0; i < b->n && status == NIB_OK; i++) {
        status = find_pair(&t->vocab, b, i, err);
        if (status == NIB_OK)
            __builtin_prefetch(&m->slots[slot_of(m, b->pairs[i].left, b->pairs[i].right)], 1);
    }
    for (uint32_t i = 0; i < b->n && status == NIB_OK; i++) nib__merges_add(m, b->pairs[i], false);
    return status;
}

nib_status nib__merges_read(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    nib__array lines;
    int32_t got = nib__meta_array(source, "tokenizer.ggml.merges", NIB__META_STRING, &lines, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT)
        return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.merges is missing");
    nib_status status = nib__merges_make(&t->mem, &t->merges, lines.count, t->vocab.seed, err);
    if (status != NIB_OK) return status;
    block b = {.joined = nib__alloc_raw(&t->mem, t->vocab.max_text + 1, 1)};
    if (b.joined == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for tokenizer.ggml.merges");
    size_t at = 0;
    for (; b.first < lines.count && status == NIB_OK; b.first += b.n)
        status = read_block(t, &b, &lines, &at, err);
    nib__free(&t->mem, b.joined);
    return status;
}

void nib__merges_free(const nib_allocator *mem, nib__merges *m)
{
    nib__free(mem, m->slots);
}
