/* SPDX-License-Identifier: MIT
 * WordPiece (Devlin et al. 2018, BERT): text is cleaned, lower-cased and stripped of accents as the
 * model asks, cut at white space and punctuation, and each word is spelled by the longest tokens
 * from left to right. A GGUF file writes a token that starts a word with U+2581 before it. Follows
 * BertNormalizer, BertPreTokenizer and WordPiece of Hugging Face tokenizers; the text of a prompt
 * cannot be restored from the ids. */
#include <string.h>

#include "token/pipeline.h"
#include "token/unicode.h"

enum { MAX_WORD = 100 }; /* characters; a longer word is unknown */

typedef struct word_encoder {
    const nib__tokenizer *t;
    nib__ids *ids;
    char word[4 * MAX_WORD];
    size_t len;
    uint32_t chars;
    bool failed; /* out of memory */
} word_encoder;

static void push(word_encoder *e, int32_t id)
{
    if (id >= 0 && !nib__ids_push(e->ids, id)) e->failed = true;
}

/* The longest token at the start of text, from the trie node `node`. */
static size_t longest(const nib__trie *trie, uint32_t node, const char *text, size_t len,
                      int32_t *id)
{
    size_t best = 0;
    for (size_t i = 0; i < len; i++) {
        node = nib__trie_step(trie, node, (uint8_t)text[i]);
        if (node == 0) break;
        if (trie->values[node] >= 0) {
            best = i + 1;
            *id = trie->values[node];
        }
    }
    return best;
}

static void end_word(word_encoder *e)
{
    if (e->chars == 0) return;
    const nib__trie *trie = &e->t->trie;
    size_t start = e->ids->count, at = 0;
    uint32_t node = 0;
    for (size_t i = 0; i < 3; i++) {
        uint32_t next = nib__trie_step(trie, node, (uint8_t)NIB__SPM_SPACE[i]);
        if (i > 0 && node == 0) next = 0;
        node = next;
    }
    bool unknown = e->chars > MAX_WORD || node == 0;
    while (!unknown && at < e->len) {
        int32_t id = -1;
        /* Inside a word U+2581 is a character like any other, and none of the vocabulary. */
        bool mark = at > 0 && e->len - at >= 3 && memcmp(e->word + at, NIB__SPM_SPACE, 3) == 0;
        size_t n = mark ? 0 : longest(trie, node, e->word + at, e->len - at, &id);
        if (n == 0)
            unknown = true;
        else
            push(e, id);
        at += n;
        node = 0;
    }
    if (unknown) {
        e->ids->count = start;
        push(e, e->t->ids[NIB_TOKEN_UNK]);
    }
    e->len = e->chars = 0;
}

static void add_char(word_encoder *e, uint32_t code)
{
    uint32_t class = nib__class_of(code);
    if (class & NIB__S_SPACE) {
        end_word(e);
        return;
    }
    bool alone = nib__is_punct(code, class) || (code < 0x7F && (class & NIB__S_SYMBOL) != 0);
    if (alone) end_word(e);
    if (e->chars < MAX_WORD) e->len += nib__utf8_put(code, e->word + e->len);
    e->chars++;
    if (alone) end_word(e);
}

static void add_lower(word_encoder *e, uint32_t code)
{
    uint32_t parts[NIB__MAPPED_MAX], n = 0;
    if (e->t->lowercase) n = nib__map_code(&nib__lower, code, parts);
    if (n == 0) add_char(e, code);
    for (uint32_t i = 0; i < n; i++) add_char(e, parts[i]);
}

/* Canonical decomposition without nonspacing marks (Unicode, section 3.12 for Hangul). */
static void add_stripped(word_encoder *e, uint32_t code)
{
    if (code >= 0xAC00 && code <= 0xD7A3) {
        uint32_t index = code - 0xAC00;
        add_lower(e, 0x1100 + index / 588);
        add_lower(e, 0x1161 + index % 588 / 28);
        if (index % 28 != 0) add_lower(e, 0x11A7 + index % 28);
        return;
    }
    uint32_t parts[NIB__MAPPED_MAX], n = nib__map_code(&nib__canon, code, parts);
    if (n == 0) parts[n++] = code;
    for (uint32_t i = 0; i < n; i++) {
        if (!nib__is_nonspacing(parts[i], nib__class_of(parts[i]))) add_lower(e, parts[i]);
    }
}

nib_status nib__wordpiece_encode(const nib__tokenizer *t, const char *text, size_t len,
                                 nib__ids *ids, nib_error *err)
{
    word_encoder e = {.t = t, .ids = ids};
    for (size_t at = 0; at < len && !e.failed;) {
        uint32_t code;
        at += nib__utf8_next(text + at, len - at, &code);
        if (nib__is_bert_removed(code)) continue;
        bool alone = nib__is_chinese(code);
        if (alone) end_word(&e);
        if (t->strip_accents)
            add_stripped(&e, code);
        else
            add_lower(&e, code);
        if (alone) end_word(&e);
    }
    end_word(&e);
    return e.failed ? nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing") : NIB_OK;
}

/* The piece of a Hugging Face pre-tokenizer: it is normalized already, and what follows the start
 * of a word is spelled with a prefix. */
nib_status nib__word_piece(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                           nib_error *err)
{
    const nib__pipeline *p = t->pipe;
    size_t start = ids->count, chars = 0;
    int32_t whole = t->model == NIB__WORDLEVEL ? nib__model_find(t, text, len) : -1;
    bool known = whole >= 0, ok = !known || nib__ids_push(ids, whole);
    if (t->model == NIB__WORDPIECE) {
        uint32_t node = 0, code;
        for (size_t at = 0; at < len && chars <= p->max_word; chars++)
            at += nib__utf8_next(text + at, len - at, &code);
        known = chars <= p->max_word;
        for (size_t at = 0, n; at < len && known && ok; at += n) {
            int32_t id = -1;
            for (size_t i = 0; at > 0 && i < p->prefix.len; i++) {
                node = nib__trie_step(&t->trie, node, (uint8_t)p->prefix.text[i]);
                known = known && node != 0;
            }
            n = known ? longest(&t->trie, node, text + at, len - at, &id) : 0;
            known = n != 0;
            ok = !known || nib__ids_push(ids, id);
            node = 0;
        }
    }
    if (!known) {
        ids->count = start;
        ok = nib__ids_push(ids, p->unknown);
    }
    return ok ? NIB_OK : nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

nib_status nib__wordpiece_prepare(nib__tokenizer *t, nib_error *err)
{
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        nib__str text = nib__vocab_text(&t->vocab, id);
        bool user = t->pipe != NULL && t->vocab.type[id] == NIB__TYPE_USER;
        if ((t->vocab.type[id] != NIB__TYPE_NORMAL && !user) || text.len > NIB__MAX_MATCH) continue;
        if (!nib__trie_add(&t->mem, &t->trie, text.data, text.len, (int32_t)id))
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    }
    return NIB_OK;
}
