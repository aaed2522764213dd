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

static nib_status bad_merge(nib_error *err, uint32_t rank, nib__str line)
{
    int shown = line.len < 60 ? (int)line.len : 60;
    return nib__fail(err, NIB_ERR_FORMAT,
                     "tokenizer.ggml.merges[%u]: '%.*s' does not join two tokens to a third", rank,
                     shown, line.data);
}

static nib_status add_merge(nib__tokenizer *t, uint32_t rank, nib__str line, char *joined,
                            nib_error *err)
{
    /* A token may itself be, or start with, a space: the separator is the first one after it. */
    const char *space = line.len > 1 ? memchr(line.data + 1, ' ', line.len - 1) : NULL;
    if (space == NULL || line.len - 1 > t->vocab.max_text) return bad_merge(err, rank, line);
    size_t n_left = (size_t)(space - line.data), n_right = line.len - n_left - 1;
    memcpy(joined, line.data, n_left);
    memcpy(joined + n_left, space + 1, n_right);
    int32_t left = nib__vocab_find(&t->vocab, joined, n_left);
    int32_t right = nib__vocab_find(&t->vocab, joined + n_left, n_right);
    int32_t result = nib__vocab_find(&t->vocab, joined, n_left + n_right);
    if (left < 0 || right < 0 || result < 0) return bad_merge(err, rank, line);
    nib__merges_add(&t->merges,
                    (nib__merge_pair){(uint32_t)left, (uint32_t)right, rank, (uint32_t)result},
                    false);
    return NIB_OK;
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
    char *joined = nib__alloc_raw(&t->mem, t->vocab.max_text + 1, 1);
    if (joined == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for tokenizer.ggml.merges");
    size_t at = 0;
    for (uint32_t rank = 0; rank < lines.count && status == NIB_OK; rank++) {
        nib__str line = {NULL, 0};
        if (!nib__array_next_str(&lines, &at, &line))
            status = nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.merges ends early");
        else
            status = add_merge(t, rank, line, joined, err);
    }
    nib__free(&t->mem, joined);
    return status;
}

void nib__merges_free(const nib_allocator *mem, nib__merges *m)
{
    nib__free(mem, m->slots);
}
