/* SPDX-License-Identifier: MIT
 * Unigram language model segmentation (Kudo 2018; T5, XLM-R): the text is normalized, then cut into
 * the tokens whose scores, log probabilities, add up to the most. Normalization is part of the
 * model, so this family does not give back every byte. */
#include <float.h>
#include <string.h>

#include "token/unicode.h"
#include "token/vocab.h"

typedef struct buffer {
    const nib_allocator *mem;
    char *data;
    size_t len, cap;
} buffer;

static bool append(buffer *b, const char *text, size_t len)
{
    size_t need;
    if (!nib__add(b->len, len, &need) || !nib__grow(b->mem, (void **)&b->data, &b->cap, need, 1))
        return false;
    memcpy(b->data + b->len, text, len);
    b->len = need;
    return true;
}

/* The state of white space handling between characters. */
typedef struct normalizer {
    const nib__tokenizer *t;
    buffer *out;
    bool lead; /* the text starts a sentence: a space goes before its first word */
    bool in_word;
} normalizer;

static bool put_bytes(normalizer *n, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            n->in_word = false;
            if (!n->t->merge_spaces && !append(n->out, NIB__SPM_SPACE, 3)) return false;
            continue;
        }
        if (!n->in_word) {
            bool first = n->out->len == 0;
            bool space = first ? n->lead && n->t->add_space : n->t->merge_spaces;
            if (space && !append(n->out, NIB__SPM_SPACE, 3)) return false;
            n->in_word = true;
        }
        if (!append(n->out, text + i, 1)) return false;
    }
    return true;
}

static bool normalize(const nib__tokenizer *t, const char *text, size_t len, bool lead, buffer *out)
{
    normalizer n = {t, out, lead, false};
    for (size_t at = 0; at < len;) {
        const char *put = text + at;
        int32_t id;
        uint32_t code;
        size_t used = nib__trie_longest(&t->user, text + at, len - at, &id), n_put = used;
        if (used == 0) {
            used = nib__charsmap_longest(&t->charsmap, text + at, len - at, &put);
            n_put = used != 0 ? strlen(put) : 0;
        }
        if (used == 0) {
            used = n_put = nib__utf8_next(text + at, len - at, &code);
            if (code == NIB__INVALID) {
                put = "\xEF\xBF\xBD";
                n_put = 3;
            }
        }
        if (!put_bytes(&n, put, n_put)) return false;
        at += used;
    }
    return true;
}

typedef struct best_end { /* the best segmentation of text[0..here) ends in token `id` */
    double score;
    uint32_t from;
    int32_t id;
} best_end;

static void challenge(best_end *end, double score, uint32_t from, int32_t id)
{
    if (score > end->score) *end = (best_end){score, from, id};
}

/* Viterbi: positions in order, every token that starts there. */
static void segment(const nib__tokenizer *t, const char *text, uint32_t len, best_end *best)
{
    for (uint32_t i = 1; i <= len; i++) best[i] = (best_end){-DBL_MAX, 0, -1};
    best[0] = (best_end){0, 0, -1};
    for (uint32_t at = 0; at < len;) {
        uint32_t code, node = 0;
        uint32_t width = (uint32_t)nib__utf8_next(text + at, len - at, &code);
        bool known = false;
        for (uint32_t i = at; i < len; i++) {
            node = nib__trie_step(&t->trie, node, (uint8_t)text[i]);
            if (node == 0) break;
            int32_t id = t->trie.values[node];
            if (id < 0) continue;
            if (i + 1 - at == width) known = true;
            bool user = t->vocab.type[id] == NIB__TYPE_USER;
            double score = user ? 0.0 : (double)t->vocab.scores[id];
            challenge(&best[i + 1], best[at].score + score, at, id);
        }
        if (!known)
            challenge(&best[at + width], best[at].score + t->unknown_score, at,
                      t->ids[NIB_TOKEN_UNK]);
        at += width;
    }
}

/* The path, last token first; runs of unknown tokens become one. */
static bool push_path(const nib__tokenizer *t, const best_end *best, uint32_t len, nib__ids *ids)
{
    size_t start = ids->count;
    int32_t unknown = t->ids[NIB_TOKEN_UNK], last = -1;
    for (uint32_t at = len; at > 0; at = best[at].from) {
        int32_t id = best[at].id;
        if (id >= 0 && !(id == unknown && last == unknown) && !nib__ids_push(ids, id)) return false;
        last = id;
    }
    for (size_t a = start, b = ids->count; a + 1 < b; a++) {
        int32_t swap = ids->items[a];
        ids->items[a] = ids->items[--b];
        ids->items[b] = swap;
    }
    return true;
}

nib_status nib__unigram_encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                               nib__ids *ids, nib_error *err)
{
    buffer normal = {.mem = &ids->mem};
    best_end *best = NULL;
    nib_status status = NIB_OK;
    if (!normalize(t, text, len, lead, &normal)) goto no_memory;
    if (normal.len >= INT32_MAX) {
        status = nib__fail(err, NIB_ERR_LIMIT, "text of %zu bytes", normal.len);
        goto done;
    }
    if (normal.len == 0) goto done;
    best = nib__alloc_raw(&ids->mem, normal.len + 1, sizeof *best);
    if (best == NULL) goto no_memory;
    segment(t, normal.data, (uint32_t)normal.len, best);
    if (push_path(t, best, (uint32_t)normal.len, ids)) goto done;
no_memory:
    status = nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
done:
    nib__free(&ids->mem, best);
    nib__free(&ids->mem, normal.data);
    return status;
}

nib_status nib__unigram_prepare(nib__tokenizer *t, nib_error *err)
{
    double low = 0;
    bool any = false;
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        uint8_t type = t->vocab.type[id];
        nib__str text = nib__vocab_text(&t->vocab, id);
        if (type == NIB__TYPE_NORMAL && (!any || t->vocab.scores[id] < low)) {
            low = t->vocab.scores[id];
            any = true;
        }
        if (type != NIB__TYPE_NORMAL && type != NIB__TYPE_USER && type != NIB__TYPE_UNUSED)
            continue;
        if (text.len <= NIB__MAX_MATCH &&
            !nib__trie_add(&t->mem, &t->trie, text.data, text.len, (int32_t)id))
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    }
    t->unknown_score = low - 10.0; /* the penalty of SentencePiece */
    return NIB_OK;
}
