/* SPDX-License-Identifier: MIT
 * SentencePiece BPE (Kudo and Richardson 2018; Llama 1 and 2, CodeLlama, Phi-3): the whole text is
 * one sequence of characters, neighbours merge in the order of the score of the token they form,
 * and what is no token in the end is spelled in byte tokens.
 *
 * One deliberate difference from SentencePiece: U+2581 in the text is spelled in bytes, since its
 * token means a space and decoding would lose it. */
#include <string.h>

#include "token/pipeline.h"
#include "token/unicode.h"

enum { FROZEN = 1 << 30, WHERE = FROZEN - 1 };

typedef struct sequence {
    const nib__tokenizer *t;
    char *text;   /* spaces escaped */
    uint32_t *at; /* [n + 1] where each symbol starts; FROZEN: it never merges */
    uint32_t n;
} sequence;

static nib_status no_memory(nib_error *err)
{
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

/* The token with this text, if text may become it: not a control, unknown or byte token. */
static int32_t find_piece(const nib__tokenizer *t, const char *text, size_t len)
{
    if (len > NIB__MAX_MATCH) return -1;
    int32_t id = nib__vocab_find(&t->vocab, text, len);
    if (id < 0) return -1;
    uint8_t type = t->vocab.type[id];
    bool reserved = type == NIB__TYPE_CONTROL || type == NIB__TYPE_UNKNOWN ||
                    type == NIB__TYPE_BYTE || (type == NIB__TYPE_UNUSED && t->pipe != NULL);
    return reserved ? -1 : id;
}

/* Descending scores as ascending integers. */
static uint32_t score_rank(float score)
{
    uint32_t bits;
    float value = score + 0.0f; /* -0 is 0 */
    memcpy(&bits, &value, sizeof bits);
    return ~(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
}

static uint32_t rank(void *ctx, const nib__merge_run *run, uint32_t i, uint32_t j)
{
    const sequence *s = ctx;
    if ((s->at[i] | s->at[j]) & FROZEN) return NIB__NO_RANK;
    uint32_t begin = s->at[i], end = s->at[run->next[j]] & WHERE;
    int32_t id = find_piece(s->t, s->text + begin, end - begin);
    return id < 0 ? NIB__NO_RANK : score_rank(s->t->vocab.scores[id]);
}

static void join(void *ctx, uint32_t i, uint32_t j)
{
    (void)ctx; /* a symbol ends where the next one starts */
    (void)i;
    (void)j;
}

static void add_symbol(sequence *s, size_t *used, const char *text, size_t len)
{
    s->at[s->n++] = (uint32_t)*used;
    memcpy(s->text + *used, text, len);
    *used += len;
}

static void split(sequence *s, const char *text, size_t len, bool space)
{
    size_t used = 0;
    if (space) add_symbol(s, &used, NIB__SPM_SPACE, 3);
    for (size_t at = 0; at < len;) {
        uint32_t code;
        size_t n = nib__utf8_next(text + at, len - at, &code);
        if (code == ' ') {
            add_symbol(s, &used, NIB__SPM_SPACE, 3);
        } else if (code == 0x2581) {
            for (size_t i = 0; i < n; i++) add_symbol(s, &used, text + at + i, 1);
        } else {
            add_symbol(s, &used, text + at, n);
        }
        at += n;
    }
    s->at[s->n] = (uint32_t)used;
}

/* Bytes of the word at the start of text: up to the next space. */
static size_t word_length(const char *text, size_t len)
{
    for (size_t n = 1; n + 3 <= len; n++)
        if (memcmp(text + n, NIB__SPM_SPACE, 3) == 0) return n;
    return len;
}

/* The text of a SentencePiece normalizer: spaces are escaped, user-defined pieces stay whole, and
 * in a word model everything does. */
static void split_normal(sequence *s, const char *text, size_t len)
{
    bool words = s->t->pipe->words;
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        int32_t id;
        size_t n = words ? word_length(text + at, len - at)
                         : nib__trie_longest(&s->t->user, text + at, len - at, &id);
        uint32_t frozen = n != 0 ? FROZEN : 0;
        if (n == 0) n = nib__utf8_next(text + at, len - at, &code);
        add_symbol(s, &used, text + at, n);
        s->at[s->n - 1] |= frozen;
        at += n;
    }
    s->at[s->n] = (uint32_t)used;
}

/* Unknown characters that touch are one unknown token, as SentencePiece has it. */
static nib_status emit_normal(const sequence *s, const nib__merge_run *run, nib__ids *ids,
                              nib_error *err)
{
    const nib__tokenizer *t = s->t;
    bool after_unknown = false;
    for (uint32_t i = 0; i < s->n; i = run->next[i]) {
        uint32_t begin = s->at[i] & WHERE, end = s->at[run->next[i]] & WHERE;
        int32_t id = find_piece(t, s->text + begin, end - begin);
        bool known = id >= 0, bytes = !known && t->pipe->byte_fallback;
        if (known && !nib__ids_push(ids, id)) return no_memory(err);
        for (uint32_t k = begin; k < end && bytes; k++) {
            id = t->vocab.byte_id[(uint8_t)s->text[k]];
            if (!nib__ids_push(ids, id >= 0 ? id : t->pipe->unknown)) return no_memory(err);
        }
        bool unknown = !known && !bytes;
        if (unknown && !after_unknown && !nib__ids_push(ids, t->pipe->unknown))
            return no_memory(err);
        after_unknown = unknown;
    }
    return NIB_OK;
}

static nib_status emit(const sequence *s, uint32_t begin, uint32_t end, nib__ids *ids,
                       nib_error *err)
{
    const nib__vocab *v = &s->t->vocab;
    int32_t id = find_piece(s->t, s->text + begin, end - begin);
    if (id >= 0) return nib__ids_push(ids, id) ? NIB_OK : no_memory(err);
    for (uint32_t i = begin; i < end; i++) {
        id = v->byte_id[(uint8_t)s->text[i]];
        bool bytes = id >= 0;
        if (!bytes) id = s->t->ids[NIB_TOKEN_UNK];
        if (id >= 0 && !nib__ids_push(ids, id)) return no_memory(err);
        if (!bytes) break; /* one unknown token for the character */
    }
    return NIB_OK;
}

nib_status nib__spm_encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                           nib__ids *ids, nib_error *err)
{
    if (len == 0) return NIB_OK;
    if (len >= INT32_MAX / 3) return nib__fail(err, NIB_ERR_LIMIT, "text of %zu bytes", len);
    size_t spaces = 0;
    for (size_t i = 0; i < len; i++) spaces += text[i] == ' ';
    sequence s = {.t = t};
    nib__merge_run run = {0};
    s.text = nib__alloc_raw(&ids->mem, len + 2 * spaces + 3, 1);
    s.at = nib__alloc_raw(&ids->mem, len + 2, sizeof *s.at);
    nib_status status = NIB_OK;
    if (s.text == NULL || s.at == NULL) {
        status = no_memory(err);
        goto done;
    }
    if (t->pipe != NULL)
        split_normal(&s, text, len);
    else
        split(&s, text, len, lead && t->add_space);
    if (!nib__merge_make(&ids->mem, s.n, &run)) {
        status = no_memory(err);
        goto done;
    }
    nib__merge_all(&run, &(nib__merge_rule){rank, join, &s});
    if (t->pipe != NULL) {
        status = emit_normal(&s, &run, ids, err);
        goto done;
    }
    for (uint32_t i = 0; i < s.n && status == NIB_OK; i = run.next[i])
        status = emit(&s, s.at[i], s.at[run.next[i]], ids, err);
done:
    nib__merge_free(&ids->mem, &run);
    nib__free(&ids->mem, s.text);
    nib__free(&ids->mem, s.at);
    return status;
}
