/* SPDX-License-Identifier: MIT
 * Unigram language model segmentation (Kudo 2018; T5, XLM-R): the text is normalized, then cut into
 * the tokens whose scores, log probabilities, add up to the most. Normalization is part of the
 * model, so this family does not give back every byte. */
#include <string.h>

#include "token/pipeline.h"
#include "token/unicode.h"

/* The state of white space handling between characters. */
typedef struct normalizer {
    const nib__tokenizer *t;
    nib__buffer *out;
    bool lead;            /* the text starts a sentence: a space goes before its first word */
    bool in_word, spaced; /* spaced: there was a space in front of the word */
} normalizer;

static bool put_bytes(normalizer *n, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            n->in_word = false;
            n->spaced = true;
            if (!n->t->merge_spaces && !nib__buffer_add(n->out, NIB__SPM_SPACE, 3)) return false;
            continue;
        }
        if (!n->in_word) {
            bool first = n->out->len == 0;
            bool space = n->t->merge_spaces && n->spaced;
            if (first && n->lead) space = n->t->add_space;
            if (space && !nib__buffer_add(n->out, NIB__SPM_SPACE, 3)) return false;
            n->in_word = true;
        }
        if (!nib__buffer_add(n->out, text + i, 1)) return false;
    }
    return true;
}

static bool normalize(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                      nib__buffer *out)
{
    normalizer n = {t, out, lead, false, false};
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

enum { UNSEEN = INT32_MAX }; /* of best_end.from: no token ends here yet */

typedef struct best_end { /* the best segmentation of text[0..here) ends in token `id` */
    double score;
    uint32_t from;
    uint32_t to; /* of the token that starts here, once the path is known */
    int32_t id;
} best_end;

static void challenge(const nib__tokenizer *t, best_end *end, double score, uint32_t from,
                      int32_t id)
{
    if (t->pipe != NULL && t->pipe->float_scores) score = (double)(float)score;
    if (end->from != UNSEEN && score <= end->score) return;
    end->score = score;
    end->from = from;
    end->id = id;
}

static double score_of(const nib__tokenizer *t, int32_t id, size_t len)
{
    bool user = t->vocab.type[id] == NIB__TYPE_USER;
    if (t->pipe == NULL) return user ? 0.0 : (double)t->vocab.scores[id];
    /* SentencePiece 0.2.1 and later: a user-defined symbol gains by its length, where others lose,
     * and so beats nearly every other way to spell it. */
    if (user && t->pipe->float_scores) return (double)(float)((double)len * 0.1 - 0.1);
    return t->pipe->scores[id];
}

/* SentencePiece 0.2.1 and later: where sums become large they start again from zero. */
static void begin_again(best_end *best, uint32_t at, uint32_t reached)
{
    const float most = 100000;
    float sum = (float)best[at].score;
    if (sum >= -most && sum <= most) return;
    for (uint32_t i = at; i <= reached; i++)
        if (best[i].from != UNSEEN) best[i].score = (double)((float)best[i].score - sum);
}

/* Viterbi: positions in order, every token that starts there. `start`: the sum of what stands
 * before the text. */
static void segment(const nib__tokenizer *t, const char *text, uint32_t len, double start,
                    best_end *best)
{
    int32_t unknown = t->pipe != NULL ? t->pipe->unknown : t->ids[NIB_TOKEN_UNK];
    bool in_float = t->pipe != NULL && t->pipe->float_scores;
    for (uint32_t i = 1; i <= len; i++) best[i] = (best_end){0, UNSEEN, 0, -1};
    best[0] = (best_end){start, 0, 0, -1};
    for (uint32_t at = 0, reached = 0; at < len;) {
        uint32_t code, node = 0;
        if (in_float) begin_again(best, at, reached);
        uint32_t width = (uint32_t)nib__utf8_next(text + at, len - at, &code);
        bool known = false;
        for (uint32_t i = at; i < len; i++) {
            node = nib__trie_step(&t->trie, node, (uint8_t)text[i]);
            if (node == 0) break;
            int32_t id = t->trie.values[node];
            if (id < 0) continue;
            if (i + 1 - at == width) known = true;
            double score = best[at].score + score_of(t, id, i + 1 - at);
            challenge(t, &best[i + 1], score, at, id);
            if (i + 1 > reached) reached = i + 1;
        }
        if (!known) challenge(t, &best[at + width], best[at].score + t->unknown_score, at, unknown);
        at += width;
        if (at > reached) reached = at;
    }
}

/* An unknown stretch: its bytes, if the model can spell them, or one unknown token. */
static bool push_unknown(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids)
{
    const nib__pipeline *p = t->pipe;
    int32_t unknown = p != NULL ? p->unknown : t->ids[NIB_TOKEN_UNK];
    bool bytes = p != NULL && p->byte_fallback;
    for (size_t i = 0; i < len && bytes; i++) bytes = t->vocab.byte_id[(uint8_t)text[i]] >= 0;
    for (size_t i = 0; i < len && bytes; i++)
        if (!nib__ids_push(ids, t->vocab.byte_id[(uint8_t)text[i]])) return false;
    return bytes || unknown < 0 || nib__ids_push(ids, unknown);
}

/* The path; unknown characters that touch are one stretch. */
static bool push_path(const nib__tokenizer *t, const char *text, best_end *best, uint32_t len,
                      nib__ids *ids)
{
    int32_t unknown = t->pipe != NULL ? t->pipe->unknown : t->ids[NIB_TOKEN_UNK];
    for (uint32_t at = len; at > 0; at = best[at].from) best[best[at].from].to = at;
    for (uint32_t at = 0, end; at < len; at = end) {
        end = best[at].to;
        if (best[end].id != unknown) {
            if (!nib__ids_push(ids, best[end].id)) return false;
            continue;
        }
        while (end < len && best[best[end].to].id == unknown) end = best[end].to;
        if (!push_unknown(t, text + at, end - at, ids)) return false;
    }
    return true;
}

nib_status nib__unigram_piece(const nib__tokenizer *t, const char *text, size_t len,
                              nib__scratch *scratch, nib__ids *ids, nib_error *err)
{
    if (len >= INT32_MAX) return nib__fail(err, NIB_ERR_LIMIT, "text of %zu bytes", len);
    if (!nib__grow(scratch->mem, &scratch->best, &scratch->cap, len + 1, sizeof(best_end)))
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
    bool led = t->pipe != NULL && len >= 3 && memcmp(text, NIB__SPM_SPACE, 3) == 0;
    segment(t, text, (uint32_t)len, led ? t->pipe->led_score : 0, scratch->best);
    if (push_path(t, text, scratch->best, (uint32_t)len, ids)) return NIB_OK;
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

nib_status nib__unigram_encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                               nib__ids *ids, nib_error *err)
{
    nib__buffer normal = {.mem = &ids->mem};
    nib__scratch scratch = {&ids->mem, NULL, 0};
    nib_status status = NIB_OK;
    if (!normalize(t, text, len, lead, &normal))
        status = nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
    else if (normal.len != 0)
        status = nib__unigram_piece(t, normal.data, normal.len, &scratch, ids, err);
    nib__free(&ids->mem, scratch.best);
    nib__free(&ids->mem, normal.data);
    return status;
}

static double stored_score(const nib__tokenizer *t, uint32_t id)
{
    return t->pipe != NULL ? t->pipe->scores[id] : (double)t->vocab.scores[id];
}

/* What text may become. `tokenizers` matches every token but those that are added; SentencePiece
 * neither controls nor byte tokens. */
static bool in_trie(const nib__tokenizer *t, uint8_t type)
{
    if (type == NIB__TYPE_BYTE) return false;
    return type == NIB__TYPE_NORMAL || type == NIB__TYPE_USER ||
           (type == NIB__TYPE_UNUSED && t->pipe == NULL);
}

nib_status nib__unigram_prepare(nib__tokenizer *t, nib_error *err)
{
    double low = 0;
    bool any = false;
    bool all = t->pipe != NULL && !t->pipe->float_scores; /* as `tokenizers` */
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        uint8_t type = t->vocab.type[id];
        nib__str text = nib__vocab_text(&t->vocab, id);
        if (type == NIB__TYPE_NORMAL || (all && text.len != 0 && type != NIB__TYPE_ADDED)) {
            double score = stored_score(t, id);
            if (!any || score < low) low = score;
            any = true;
        }
        if (in_trie(t, type) && text.len <= NIB__MAX_MATCH &&
            !nib__trie_add(&t->mem, &t->trie, text.data, text.len, (int32_t)id))
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    }
    t->unknown_score = low - 10.0; /* the penalty of SentencePiece */
    if (t->pipe != NULL && t->pipe->float_scores) t->unknown_score = (double)((float)low - 10.0f);
    if (t->pipe != NULL && t->pipe->first_only) {
        /* transformers' T5 without `legacy` encodes "<unk>" in front of such a text, and drops it.
         */
        static const char UNK[] = "<unk>";
        best_end best[sizeof UNK];
        segment(t, UNK, sizeof UNK - 1, 0, best);
        t->pipe->led_score = best[sizeof UNK - 1].score;
    }
    return NIB_OK;
}
