/* SPDX-License-Identifier: MIT
 * The way of a text through a Hugging Face tokenizer, from added tokens to the model. Nothing here
 * recurses, and every character is looked at a bounded number of times. */
#include "token/pipeline.h"

#include "token/unicode.h"

nib_status nib__pipeline_make(nib__tokenizer *t, nib_error *err)
{
    t->pipe = nib__alloc(&t->mem, 1, sizeof *t->pipe);
    if (t->pipe == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
    t->pipe->unknown = -1;
    t->pretok = &t->pipe->pretok;
    return NIB_OK;
}

void nib__pipeline_free(const nib_allocator *mem, nib__pipeline *p)
{
    if (p == NULL) return;
    for (uint32_t i = 0; i < p->n_steps; i++) {
        nib__free(mem, p->steps[i].from);
        nib__free(mem, p->steps[i].to);
        nib__regex_free(mem, p->steps[i].regex);
    }
    for (uint32_t i = 0; i < p->n_rules; i++) {
        nib__free(mem, (void *)(uintptr_t)p->literals[i].text);
        nib__regex_free(mem, p->regexes[i]);
    }
    for (uint32_t i = 0; i < 4; i++) nib__trie_free(mem, &p->cut[i / 2][i % 2]);
    nib__free(mem, p->added);
    nib__free(mem, p->scores);
    nib__free(mem, p->first.data);
    nib__free(mem, p->first.at);
    nib__free(mem, p);
}

nib_status nib__step_add(nib__tokenizer *t, nib__step_kind kind, nib__str from, nib__str to,
                         nib_error *err)
{
    nib__pipeline *p = t->pipe;
    if (p->n_steps == NIB__MAX_STEPS)
        return nib__fail(err, NIB_ERR_LIMIT, "normalizer: more than %d steps", NIB__MAX_STEPS);
    nib__step *step = &p->steps[p->n_steps++];
    *step = (nib__step){.kind = kind, .n_from = from.len, .n_to = to.len};
    step->from = nib__strndup(&t->mem, from.data, from.len);
    step->to = nib__strndup(&t->mem, to.data, to.len);
    if (step->from == NULL || step->to == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the normalizer");
    return NIB_OK;
}

nib_status nib__rule_add(nib__tokenizer *t, nib__rule rule, nib_error *err)
{
    nib__pipeline *p = t->pipe;
    if (p->n_rules == NIB__MAX_RULES)
        return nib__fail(err, NIB_ERR_LIMIT, "pre_tokenizer: more than %d steps", NIB__MAX_RULES);
    p->rules[p->n_rules] = rule;
    p->pretok.rules[p->n_rules] = &p->rules[p->n_rules];
    p->n_rules++;
    return NIB_OK;
}

/* ---- added tokens ---- */

static bool is_word(uint32_t code)
{
    return nib__is_word(code, nib__class_of(code));
}

static size_t spaces_begin(const char *text, size_t at, size_t low)
{
    while (at > low) {
        size_t begin;
        if (!(nib__class_of(nib__utf8_before(text, at, &begin)) & NIB__S_SPACE) || begin < low)
            break;
        at = begin;
    }
    return at;
}

static size_t spaces_end(const char *text, size_t at, size_t end)
{
    while (at < end) {
        uint32_t code;
        size_t n = nib__utf8_next(text + at, end - at, &code);
        if (!(nib__class_of(code) & NIB__S_SPACE)) break;
        at += n;
    }
    return at;
}

static bool in_word(const char *text, size_t begin, size_t end, size_t len)
{
    size_t unused;
    uint32_t code;
    if (begin > 0 && is_word(nib__utf8_before(text, begin, &unused))) return true;
    return end < len && nib__utf8_next(text + end, len - end, &code) != 0 && is_word(code);
}

/* Walks over added tokens, the leftmost first and of those the longest, and what is between. */
typedef struct cutter {
    const nib__pipeline *p;
    const nib__trie *trie;
    const char *text;
    size_t len, search, done;
    int32_t waiting; /* a token behind the text that was just given out; or -1 */
} cutter;

typedef struct cut {
    int32_t id; /* -1: text */
    size_t begin, end;
} cut;

static bool next_cut(cutter *c, cut *out)
{
    if (c->waiting >= 0) {
        *out = (cut){.id = c->waiting};
        c->waiting = -1;
        return true;
    }
    while (c->search < c->len) {
        int32_t id = -1;
        size_t n = 0, begin = c->search;
        if (nib__trie_starts(c->trie, (uint8_t)c->text[begin]))
            n = nib__trie_longest(c->trie, c->text + begin, c->len - begin, &id);
        if (n == 0) {
            c->search++;
            continue;
        }
        size_t end = begin + n, done = c->done;
        uint8_t flags = c->p->added[id];
        c->search = end;
        if ((flags & NIB__ADDED_SINGLE_WORD) && in_word(c->text, begin, end, c->len)) continue;
        if (flags & NIB__ADDED_RSTRIP) end = spaces_end(c->text, end, c->len);
        if (flags & NIB__ADDED_LSTRIP) {
            begin = begin > done ? spaces_begin(c->text, begin, done) : done;
            if (begin >= end) continue; /* white space that the token before it took */
        }
        c->done = end;
        *out = (cut){id, begin, end};
        if (done >= begin) return true;
        c->waiting = id;
        *out = (cut){-1, done, begin};
        return true;
    }
    *out = (cut){-1, c->done, c->len};
    c->done = c->len;
    return out->begin < out->end;
}

static cutter start_cut(const nib__tokenizer *t, bool normalized, uint32_t flags, nib__str text)
{
    bool special = (flags & NIB_TOKENIZE_SPECIAL) != 0;
    return (cutter){t->pipe, &t->pipe->cut[normalized][special], text.data, text.len, 0, 0, -1};
}

nib_status nib__pipeline_finish(nib__tokenizer *t, nib_error *err)
{
    nib__buffer scratch[2] = {{.mem = &t->mem}, {.mem = &t->mem}};
    nib__pipeline *p = t->pipe;
    nib_status status = NIB_OK;
    for (uint32_t id = 0; id < t->vocab.n && status == NIB_OK; id++) {
        if (!(p->added[id] & NIB__ADDED)) continue;
        bool normalized = (p->added[id] & NIB__ADDED_NORMALIZED) != 0, moved;
        nib__str text = nib__vocab_text(&t->vocab, id);
        if (normalized && text.len <= NIB__MAX_MATCH)
            status =
                nib__normalize(t, text.data, text.len, NIB__AT_START, scratch, &text, &moved, err);
        if (status != NIB_OK || text.len > NIB__MAX_MATCH) continue;
        bool special = t->vocab.type[id] == NIB__TYPE_CONTROL, ok = true;
        if (!special)
            ok = nib__trie_add(&t->mem, &p->cut[normalized][0], text.data, text.len, (int32_t)id);
        ok = ok && nib__trie_add(&t->mem, &p->cut[normalized][1], text.data, text.len, (int32_t)id);
        if (!ok) status = nib__fail(err, NIB_ERR_MEMORY, "out of memory for added tokens");
    }
    nib__free(&t->mem, scratch[0].data);
    nib__free(&t->mem, scratch[1].data);
    return status;
}

/* ---- encoding ---- */

typedef struct encoder {
    const nib__tokenizer *t;
    nib__ids *ids;
    nib_error *err;
    uint32_t flags;
    nib__scratch scratch;
    nib__buffer normal[2];
} encoder;

static nib_status push(encoder *e, int32_t id)
{
    if (nib__ids_push(e->ids, id)) return NIB_OK;
    return nib__fail(e->err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

static nib_status encode_piece(encoder *e, const char *text, size_t len)
{
    const nib__tokenizer *t = e->t;
    switch (t->model) {
    case NIB__BPE: return nib__bpe_piece(t, text, len, e->ids, e->err);
    case NIB__UNIGRAM: return nib__unigram_piece(t, text, len, &e->scratch, e->ids, e->err);
    case NIB__WORDPIECE:
    case NIB__WORDLEVEL: return nib__word_piece(t, text, len, e->ids, e->err);
    case NIB__SPM: return nib__spm_encode(t, text, len, false, e->ids, e->err);
    case NIB__BYTES:
        for (size_t i = 0; i < len; i++) {
            nib_status status = push(e, t->vocab.byte_id[(uint8_t)text[i]]);
            if (status != NIB_OK) return status;
        }
        return NIB_OK;
    case NIB__NO_MODEL: break;
    }
    return NIB_ERR_UNSUPPORTED;
}

static nib_status encode_text(encoder *e, const char *text, size_t len, nib__place place)
{
    nib__splitter splitter;
    nib_status status = NIB_OK;
    if (e->t->pipe->n_rules == 0) return encode_piece(e, text, len);
    nib__split_start(&splitter, &e->t->pipe->pretok, &e->ids->mem, text, len, place);
    const char *piece;
    size_t n;
    while (status == NIB_OK && nib__split_next(&splitter, &piece, &n))
        status = encode_piece(e, piece, n);
    if (splitter.failed)
        status = nib__fail(e->err, NIB_ERR_MEMORY, "out of memory while tokenizing");
    if (splitter.slow) status = nib__too_slow(e->err);
    nib__split_end(&splitter);
    return status;
}

/* Text between added tokens that are not normalized. */
static nib_status encode_section(encoder *e, const char *text, size_t len, nib__place place)
{
    nib__str normal;
    bool moved;
    nib_status status = nib__normalize(e->t, text, len, place, e->normal, &normal, &moved, e->err);
    if (status != NIB_OK) return status;
    if (moved && place == NIB__AT_START) place = NIB__INSIDE;
    cutter c = start_cut(e->t, true, e->flags, normal);
    cut part;
    while (status == NIB_OK && next_cut(&c, &part)) {
        if (part.id >= 0)
            status = push(e, part.id);
        else
            status = encode_text(e, normal.data + part.begin, part.end - part.begin,
                                 part.begin == 0 ? place : NIB__INSIDE);
    }
    return status;
}

static nib_status encode_all(encoder *e, const char *text, size_t len, bool lead)
{
    cutter c = start_cut(e->t, false, e->flags, (nib__str){text, len});
    nib__place place = lead ? NIB__AT_START : NIB__CONTINUED;
    cut part;
    nib_status status = NIB_OK;
    while (status == NIB_OK && next_cut(&c, &part)) {
        if (part.id >= 0)
            status = push(e, part.id);
        else
            status = encode_section(e, text + part.begin, part.end - part.begin,
                                    part.begin == 0 ? place : NIB__INSIDE);
    }
    return status;
}

/* The slow tokenizers of GPT-2 and RoBERTa with add_prefix_space. */
static nib_status encode_spaced(encoder *e, const char *text, size_t len)
{
    nib__buffer whole = {.mem = &e->ids->mem};
    uint32_t code;
    bool space = false;
    if (len != 0 && e->t->pipe->unless_space && nib__utf8_next(text, len, &code) != 0)
        space = (nib__class_of(code) & NIB__S_SPACE) != 0 || (code >= 0x1C && code <= 0x1F);
    if (space || (len == 0 && e->t->pipe->unless_space)) return encode_all(e, text, len, true);
    nib_status status = NIB_OK;
    if (nib__buffer_add(&whole, " ", 1) && nib__buffer_add(&whole, text, len))
        status = encode_all(e, whole.data, whole.len, true);
    else
        status = nib__fail(e->err, NIB_ERR_MEMORY, "out of memory while tokenizing");
    nib__free(whole.mem, whole.data);
    return status;
}

static nib_status push_all(encoder *e, const int32_t *ids, uint32_t n)
{
    nib_status status = NIB_OK;
    for (uint32_t i = 0; i < n && status == NIB_OK; i++) status = push(e, ids[i]);
    return status;
}

nib_status nib__pipeline_encode(const nib__tokenizer *t, const char *text, size_t len,
                                uint32_t flags, bool lead, nib__ids *ids, nib_error *err)
{
    encoder e = {
        t, ids, err, flags, {&ids->mem, NULL, 0}, {{.mem = &ids->mem}, {.mem = &ids->mem}}};
    const nib__pipeline *p = t->pipe;
    bool frame = (flags & NIB_TOKENIZE_BOS) != 0;
    size_t before = ids->count;
    nib_status status = frame ? push_all(&e, p->before, p->n_before) : NIB_OK;
    if (status == NIB_OK)
        status =
            lead && p->space_first ? encode_spaced(&e, text, len) : encode_all(&e, text, len, lead);
    bool ended = p->end_once && ids->count > before && p->n_after != 0 &&
                 ids->items[ids->count - 1] == p->after[0];
    if (status == NIB_OK && frame && !ended) status = push_all(&e, p->after, p->n_after);
    if (status != NIB_OK) ids->count = before;
    nib__free(&ids->mem, e.scratch.best);
    nib__free(&ids->mem, e.normal[0].data);
    nib__free(&ids->mem, e.normal[1].data);
    return status;
}
