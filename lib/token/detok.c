/* SPDX-License-Identifier: MIT
 * Ids back to bytes, all at once or one by one. The bytes are exactly those the tokens stand for:
 * nothing is cleaned up or replaced. */
#include <string.h>

#include "token/pipeline.h"
#include "token/unicode.h"

nib__str nib__token_bytes(const nib__tokenizer *t, int32_t id, uint32_t flags)
{
    const nib__texts *bytes = &t->vocab.bytes;
    if (nib__tokenizer_is_control(t, id) && !(flags & NIB_TOKENIZE_SPECIAL))
        return (nib__str){bytes->data, 0};
    return (nib__str){bytes->data + bytes->at[id], bytes->at[id + 1] - bytes->at[id]};
}

size_t nib__tokenizer_max_bytes(const nib__tokenizer *t)
{
    return t->vocab.max_bytes;
}

static nib_status check_id(const nib__tokenizer *t, int32_t id, nib_error *err)
{
    if (id >= 0 && (uint32_t)id < t->vocab.n) return NIB_OK;
    return nib__fail(err, NIB_ERR_ARGUMENT, "token id %d is not in 0 .. %u", id, t->vocab.n - 1);
}

/* Bytes of an id that is the `n`-th with text: SentencePiece models drop the very first space. */
static nib__str text_bytes(const nib__tokenizer *t, int32_t id, uint32_t flags, bool first)
{
    nib__str bytes = nib__token_bytes(t, id, flags);
    bool hidden = !(flags & NIB_TOKENIZE_SPECIAL) && nib__tokenizer_is_control(t, id);
    if (first && !hidden && t->pipe != NULL && t->pipe->first.at != NULL) {
        const nib__texts *texts = &t->pipe->first;
        bytes = (nib__str){texts->data + texts->at[id], texts->at[id + 1] - texts->at[id]};
    }
    if (first && t->drop_space && bytes.len != 0 && bytes.data[0] == ' ' &&
        (t->vocab.type[id] != NIB__TYPE_USER || t->pipe != NULL)) {
        bytes.data++;
        bytes.len--;
    }
    return bytes;
}

/* SentencePiece models that remove extra spaces drop one of every token in front of the text. */
static bool stays_first(const nib__tokenizer *t, nib__str bytes)
{
    return t->pipe != NULL && t->pipe->extra_spaces && bytes.len == 0;
}

/* Whether the space at the end of this token's text stands for the end of a word: it is shown if
 * something follows. Added tokens have none that is not their own. */
static bool holds_space(const nib__tokenizer *t, int32_t id)
{
    return t->pipe != NULL && t->pipe->hold_space && !(t->pipe->added[id] & NIB__ADDED);
}

static bool ends_in_space(const nib__tokenizer *t, const int32_t *ids, size_t n, uint32_t flags)
{
    nib__str last = {NULL, 0};
    while (n > 0 && last.len == 0) last = text_bytes(t, ids[--n], flags, false);
    return last.len != 0 && last.data[last.len - 1] == ' ' && holds_space(t, ids[n]);
}

nib_status nib__detokenize(const nib__tokenizer *t, const int32_t *ids, size_t n, uint32_t flags,
                           char *text, size_t cap, size_t *len, nib_error *err)
{
    for (size_t i = 0; i < n; i++) {
        nib_status status = check_id(t, ids[i], err);
        if (status != NIB_OK) return status;
    }
    size_t total = 0;
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        nib__str bytes = text_bytes(t, ids[i], flags, first);
        bool shown = t->pipe != NULL && (flags & NIB_TOKENIZE_SPECIAL);
        if ((shown || !nib__tokenizer_is_control(t, ids[i])) && !stays_first(t, bytes))
            first = false;
        if (bytes.len != 0 && total <= cap && bytes.len <= cap - total)
            memcpy(text + total, bytes.data, bytes.len);
        if (!nib__add(total, bytes.len, &total))
            return nib__fail(err, NIB_ERR_LIMIT, "the text is too long");
    }
    if (ends_in_space(t, ids, n, flags)) total--;
    *len = total;
    if (total > cap)
        return nib__fail(err, NIB_ERR_LIMIT, "the text needs %zu bytes, the buffer has %zu", total,
                         cap);
    return NIB_OK;
}

/* How many bytes at the end of text[n] could still become one code point with more bytes. */
static size_t unfinished(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        uint8_t byte = (uint8_t)text[n - back];
        if ((byte & 0xC0) == 0x80) continue;
        size_t need = nib__utf8_length(byte);
        if (need <= back) return 0;
        /* The second byte decides about overlong forms, surrogates and the upper end. */
        if (back >= 2) {
            uint8_t second = (uint8_t)text[n - back + 1];
            if ((byte == 0xE0 && second < 0xA0) || (byte == 0xED && second > 0x9F) ||
                (byte == 0xF0 && second < 0x90) || (byte == 0xF4 && second > 0x8F))
                return 0;
        }
        return back;
    }
    return 0;
}

nib_status nib__detok_push(const nib__tokenizer *t, nib_detok *state, int32_t id, char *text,
                           size_t cap, size_t *len, nib_error *err)
{
    nib__str bytes = {NULL, 0};
    if (state->n_pending > sizeof state->pending)
        return nib__fail(err, NIB_ERR_ARGUMENT, "the detokenizer state was not initialized");
    if (id != -1) {
        nib_status status = check_id(t, id, err);
        if (status != NIB_OK) return status;
        bytes = text_bytes(t, id, 0, state->n_seen == 0);
    }
    /* What may have to wait is at most three bytes at the end of pending + bytes. */
    size_t total = state->n_pending + bytes.len;
    char tail[8];
    size_t n_tail = 0;
    for (size_t i = total > 3 ? total - 3 : 0; i < total; i++)
        tail[n_tail++] =
            i < state->n_pending ? (char)state->pending[i] : bytes.data[i - state->n_pending];
    bool hold = n_tail > 0 && tail[n_tail - 1] == ' ' &&
                (id == -1 || (bytes.len == 0 ? state->n_pending != 0 : holds_space(t, id)));
    size_t keep = id == -1 ? 0 : hold ? 1 : unfinished(tail, n_tail);
    if (id == -1 && hold) total--; /* the space behind the last word */
    if (total - keep > cap)
        return nib__fail(err, NIB_ERR_LIMIT, "the text needs %zu bytes, the buffer has %zu",
                         total - keep, cap);
    size_t out = total - keep;
    for (size_t i = 0; i < out; i++)
        text[i] = i < state->n_pending ? (char)state->pending[i] : bytes.data[i - state->n_pending];
    if (keep != 0) memcpy(state->pending, tail + n_tail - keep, keep);
    state->n_pending = (uint32_t)keep;
    if (id != -1 && !nib__tokenizer_is_control(t, id) && !stays_first(t, bytes)) state->n_seen = 1;
    *len = out;
    return NIB_OK;
}
