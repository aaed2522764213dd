/* SPDX-License-Identifier: MIT
 * Reads tokens, types and scores from GGUF metadata into a vocab with a hash table over the texts.
 * Everything is copied; nothing in the file is trusted. */
#include "token/vocab.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"

__extension__ typedef unsigned __int128 wide;

uint64_t nib__hash_mix(uint64_t a, uint64_t b)
{
    wide product = (wide)(a ^ 0x9e3779b97f4a7c15u) * (b | 1);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply-and-fold over 8-byte words. The seed differs from run to run, so that a vocabulary
 * cannot be written to make every text collide. */
uint64_t nib__hash(const char *text, size_t len, uint64_t seed)
{
    const uint8_t *p = (const uint8_t *)text;
    uint64_t h = seed ^ (uint64_t)len * 0xd6e8feb86659fd93u;
    for (; len >= 8; len -= 8, p += 8) h = nib__hash_mix(h ^ nib__le64(p), seed);
    uint64_t tail = 0; /* all that is left, some of it twice */
    if (len >= 4)
        tail = nib__le32(p) | (uint64_t)nib__le32(p + len - 4) << 32;
    else if (len > 0)
        tail = p[0] | (uint64_t)p[len / 2] << 8 | (uint64_t)p[len - 1] << 16;
    return nib__hash_mix(h ^ tail, seed);
}

/* The slot that holds this text, or the free one where it would go. */
static uint32_t slot_of(const nib__vocab *v, const char *text, size_t len)
{
    uint32_t i = (uint32_t)nib__hash(text, len, v->seed) & v->mask;
    for (; v->slots[i] != 0; i = (i + 1) & v->mask) {
        nib__str found = nib__vocab_text(v, v->slots[i] - 1);
        if (found.len == len && memcmp(found.data, text, len) == 0) break;
    }
    return i;
}

int32_t nib__vocab_find(const nib__vocab *v, const char *text, size_t len)
{
    if (len == 0 || len > v->max_text) return -1;
    return (int32_t)v->slots[slot_of(v, text, len)] - 1;
}

void nib__vocab_prefetch(const nib__vocab *v, const char *text, size_t len)
{
    if (len <= v->max_text) __builtin_prefetch(&v->slots[nib__hash(text, len, v->seed) & v->mask]);
}

bool nib__vocab_is(const nib__vocab *v, uint32_t id, const char *text, size_t len)
{
    if (v->repeats || id >= v->n || len == 0) return false;
    nib__str found = nib__vocab_text(v, id);
    return found.len == len && memcmp(found.data, text, len) == 0;
}

static nib_status no_memory(nib_error *err)
{
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
}

/* A text that occurs twice keeps its lowest id; an empty one is never found. */
static nib_status index_texts(const nib_allocator *mem, nib__vocab *v, nib_error *err)
{
    size_t size = 16;
    while (size / 3 * 2 < v->n) size *= 2;
    v->slots = nib__alloc(mem, size, sizeof *v->slots);
    if (v->slots == NULL) return no_memory(err);
    v->mask = (uint32_t)(size - 1);
    v->seed = nib__hash_mix((uint64_t)(uintptr_t)v->slots, nib__now_ns());
    for (uint32_t id = 0; id < v->n; id++) {
        nib__str text = nib__vocab_text(v, id);
        if (text.len == 0) continue;
        uint32_t i = slot_of(v, text.data, text.len);
        if (v->slots[i] == 0)
            v->slots[i] = id + 1;
        else
            v->repeats = true;
    }
    return NIB_OK;
}

static nib_status read_texts(const nib_allocator *mem, const nib__source *source, nib__vocab *v,
                             nib_error *err)
{
    nib__array tokens;
    int32_t got = nib__meta_array(source, "tokenizer.ggml.tokens", NIB__META_STRING, &tokens, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT || tokens.count == 0)
        return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.tokens is missing or empty");
    if (tokens.count >= INT32_MAX / 2 || tokens.size >= UINT32_MAX)
        return nib__fail(err, NIB_ERR_LIMIT, "tokenizer.ggml.tokens: too large");
    v->n = (uint32_t)tokens.count;
    v->text.at = nib__alloc_raw(mem, (size_t)v->n + 1, sizeof *v->text.at);
    v->text.data = nib__alloc_raw(mem, tokens.size + 1, 1);
    if (v->text.at == NULL || v->text.data == NULL) return no_memory(err);
    size_t at = 0, used = 0;
    for (uint32_t id = 0; id < v->n; id++) {
        nib__str text;
        if (!nib__array_next_str(&tokens, &at, &text))
            return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.tokens ends early");
        v->text.at[id] = (uint32_t)used;
        memcpy(v->text.data + used, text.data, text.len);
        used += text.len;
        if (text.len > v->max_text) v->max_text = text.len;
    }
    v->text.at[v->n] = (uint32_t)used;
    return NIB_OK;
}

nib_status nib__vocab_make(const nib_allocator *mem, nib__vocab *v, const nib__str *texts,
                           uint32_t n, nib_error *err)
{
    size_t used = 0;
    for (uint32_t id = 0; id < n; id++)
        if (!nib__add(used, texts[id].len, &used)) used = SIZE_MAX;
    if (used >= UINT32_MAX) return nib__fail(err, NIB_ERR_LIMIT, "vocabulary: too large");
    v->n = n;
    v->text.at = nib__alloc_raw(mem, (size_t)n + 1, sizeof *v->text.at);
    v->text.data = nib__alloc_raw(mem, used + 1, 1);
    v->type = nib__alloc_raw(mem, (size_t)n + 1, 1);
    v->end = nib__alloc(mem, (size_t)n + 1, 1);
    if (v->text.at == NULL || v->text.data == NULL || v->type == NULL || v->end == NULL)
        return no_memory(err);
    used = 0;
    for (uint32_t id = 0; id < n; id++) {
        v->text.at[id] = (uint32_t)used;
        v->type[id] = texts[id].data == NULL ? NIB__TYPE_UNUSED : NIB__TYPE_NORMAL;
        if (texts[id].len != 0) memcpy(v->text.data + used, texts[id].data, texts[id].len);
        used += texts[id].len;
        if (texts[id].len > v->max_text) v->max_text = texts[id].len;
    }
    v->text.at[n] = (uint32_t)used;
    return index_texts(mem, v, err);
}

static nib_status read_types(const nib_allocator *mem, const nib__source *source, nib__vocab *v,
                             nib_error *err)
{
    v->type = nib__alloc_raw(mem, v->n, 1);
    v->end = nib__alloc(mem, v->n, 1);
    if (v->type == NULL || v->end == NULL) return no_memory(err);
    memset(v->type, NIB__TYPE_NORMAL, v->n);
    nib__array types;
    int32_t got = nib__meta_array(source, "tokenizer.ggml.token_type", NIB__META_I32, &types, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT) return NIB_OK;
    if (types.count != v->n)
        return nib__fail(err, NIB_ERR_FORMAT,
                         "tokenizer.ggml.token_type: expected %u items, got %llu", v->n,
                         (unsigned long long)types.count);
    for (uint32_t id = 0; id < v->n; id++) {
        uint32_t type = nib__array_u32(&types, id);
        v->type[id] = type > NIB__TYPE_BYTE ? 0 : (uint8_t)type;
    }
    return NIB_OK;
}

static nib_status read_scores(const nib_allocator *mem, const nib__source *source, nib__vocab *v,
                              nib_error *err)
{
    nib__array scores;
    int32_t got = nib__meta_array(source, "tokenizer.ggml.scores", NIB__META_F32, &scores, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT) return NIB_OK;
    if (scores.count != v->n)
        return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.scores: expected %u items, got %llu",
                         v->n, (unsigned long long)scores.count);
    v->scores = nib__alloc_raw(mem, v->n, sizeof *v->scores);
    if (v->scores == NULL) return no_memory(err);
    for (uint32_t id = 0; id < v->n; id++) {
        v->scores[id] = nib__array_f32(&scores, id);
        if (!isfinite(v->scores[id]))
            return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.scores[%u] is not a number", id);
    }
    return NIB_OK;
}

nib_status nib__vocab_read(const nib_allocator *mem, const nib__source *source, nib__vocab *v,
                           nib_error *err)
{
    nib_status status = read_texts(mem, source, v, err);
    if (status == NIB_OK) status = read_types(mem, source, v, err);
    if (status == NIB_OK) status = read_scores(mem, source, v, err);
    if (status == NIB_OK) status = index_texts(mem, v, err);
    return status;
}

void nib__vocab_free(const nib_allocator *mem, nib__vocab *v)
{
    nib__free(mem, v->text.data);
    nib__free(mem, v->text.at);
    nib__free(mem, v->bytes.data);
    nib__free(mem, v->bytes.at);
    nib__free(mem, v->type);
    nib__free(mem, v->end);
    nib__free(mem, v->scores);
    nib__free(mem, v->slots);
}
