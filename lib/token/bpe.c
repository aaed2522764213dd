/* SPDX-License-Identifier: MIT
 * Byte pair encoding over the pieces of a pre-tokenizer. Symbols are token ids; a piece starts as
 * one symbol per byte (or per character, for vocabularies that are not byte-level). */
#include <string.h>

#include "token/pipeline.h"
#include "token/unicode.h"

enum { SHORT = 64 }; /* symbols that are merged in place, on the stack; nearly every piece */

typedef struct encoder {
    const nib__tokenizer *t;
    nib__ids *out;
    nib_error *err;
} encoder;

static uint32_t pair_rank(const nib__tokenizer *t, uint32_t left, uint32_t right)
{
    const nib__merge_pair *pair = nib__merges_find(&t->merges, left, right);
    return pair != NULL ? pair->rank : NIB__NO_RANK;
}

static uint32_t pair_result(const nib__tokenizer *t, uint32_t left, uint32_t right)
{
    return nib__merges_find(&t->merges, left, right)->result;
}

static nib_status no_memory(nib_error *err)
{
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

/* Ids of the symbols a piece starts with, at most n. A byte without a token is left out, as in
 * Hugging Face tokenizers: such a vocabulary cannot express it. */
static uint32_t first_symbols(const nib__tokenizer *t, const char *text, size_t n, uint32_t *ids)
{
    if (t->pipe != NULL) return nib__bpe_symbols(t, text, n, ids);
    const nib__vocab *v = &t->vocab;
    uint32_t count = 0;
    for (size_t at = 0; at < n;) {
        uint32_t code;
        size_t len = t->byte_level ? 1 : nib__utf8_next(text + at, n - at, &code);
        int32_t id = t->byte_level ? -1 : nib__vocab_find(v, text + at, len);
        if (id >= 0) ids[count++] = (uint32_t)id;
        for (size_t i = 0; id < 0 && i < len; i++) {
            int32_t byte = v->byte_id[(uint8_t)text[at + i]];
            if (byte >= 0) ids[count++] = (uint32_t)byte;
        }
        at += len;
    }
    return count;
}

static uint32_t merge_short(const nib__tokenizer *t, uint32_t *ids, uint32_t n)
{
    uint32_t rank[SHORT];
    for (uint32_t i = 0; i + 1 < n; i++) rank[i] = pair_rank(t, ids[i], ids[i + 1]);
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NIB__NO_RANK) break;
        ids[best] = pair_result(t, ids[best], ids[best + 1]);
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        if (best + 1 < n) rank[best] = pair_rank(t, ids[best], ids[best + 1]);
        if (best > 0) rank[best - 1] = pair_rank(t, ids[best - 1], ids[best]);
    }
    return n;
}

typedef struct long_piece {
    const nib__tokenizer *t;
    uint32_t *ids;
} long_piece;

static uint32_t long_rank(void *ctx, const nib__merge_run *run, uint32_t i, uint32_t j)
{
    const long_piece *piece = ctx;
    (void)run;
    return pair_rank(piece->t, piece->ids[i], piece->ids[j]);
}

static void long_join(void *ctx, uint32_t i, uint32_t j)
{
    const long_piece *piece = ctx;
    piece->ids[i] = pair_result(piece->t, piece->ids[i], piece->ids[j]);
}

static nib_status encode_long(encoder *e, const char *text, size_t len)
{
    if (len >= INT32_MAX)
        return nib__fail(e->err, NIB_ERR_LIMIT, "text of %zu bytes without a break", len);
    const nib_allocator *mem = &e->out->mem;
    nib__merge_run run = {0};
    long_piece piece = {e->t, nib__alloc_raw(mem, len, sizeof *piece.ids)};
    nib_status status = NIB_OK;
    if (piece.ids == NULL) return no_memory(e->err);
    uint32_t n = first_symbols(e->t, text, len, piece.ids);
    if (n == 0) goto done;
    if (!nib__merge_make(mem, n, &run)) {
        status = no_memory(e->err);
        goto done;
    }
    nib__merge_all(&run, &(nib__merge_rule){long_rank, long_join, &piece});
    for (uint32_t i = 0; i < n && status == NIB_OK; i = run.next[i])
        if (!nib__ids_push(e->out, (int32_t)piece.ids[i])) status = no_memory(e->err);
done:
    nib__merge_free(mem, &run);
    nib__free(mem, piece.ids);
    return status;
}

/* The token that is exactly this piece, or -1. */
static int32_t whole_piece(const nib__tokenizer *t, const char *text, size_t len)
{
    if (!t->byte_level) return nib__model_find(t, text, len);
    char spelled[2 * NIB__MAX_MATCH];
    size_t n = 0;
    if (len == 0 || len > NIB__MAX_MATCH) return -1;
    for (size_t i = 0; i < len; i++)
        n += nib__utf8_put(nib__byte_char((uint8_t)text[i]), spelled + n);
    return nib__model_find(t, spelled, n);
}

static bool all_newlines(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\n') return false;
    return true;
}

static nib_status encode_piece(encoder *e, const char *text, size_t len)
{
    uint32_t flags = e->t->pretok->flags;
    if ((flags & NIB__PRE_IGNORE_MERGES) ||
        ((flags & NIB__PRE_SPACES) && all_newlines(text, len))) {
        int32_t id = whole_piece(e->t, text, len);
        if (id >= 0) return nib__ids_push(e->out, id) ? NIB_OK : no_memory(e->err);
    }
    if (len > SHORT) return encode_long(e, text, len);
    uint32_t ids[SHORT];
    uint32_t n = merge_short(e->t, ids, first_symbols(e->t, text, len, ids));
    for (uint32_t i = 0; i < n; i++)
        if (!nib__ids_push(e->out, (int32_t)ids[i])) return no_memory(e->err);
    return NIB_OK;
}

static nib_status encode_text(encoder *e, const char *text, size_t len)
{
    nib__splitter splitter;
    const char *piece;
    size_t n;
    nib_status status = NIB_OK;
    nib__split_start(&splitter, e->t->pretok, &e->out->mem, text, len, NIB__INSIDE);
    while (status == NIB_OK && nib__split_next(&splitter, &piece, &n))
        status = encode_piece(e, piece, n);
    nib__split_end(&splitter);
    return status;
}

/* Spaces become U+2581 before anything else. */
static nib_status encode_escaped(encoder *e, const char *text, size_t len)
{
    size_t spaces = 0, size;
    for (size_t i = 0; i < len; i++) spaces += text[i] == ' ';
    if (!nib__mul(spaces, 2, &size) || !nib__add(size, len, &size)) return no_memory(e->err);
    char *escaped = nib__alloc_raw(&e->out->mem, size, 1);
    if (escaped == NULL) return no_memory(e->err);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            memcpy(escaped + n, NIB__SPM_SPACE, 3);
            n += 3;
        } else {
            escaped[n++] = text[i];
        }
    }
    nib_status status = encode_text(e, escaped, n);
    nib__free(&e->out->mem, escaped);
    return status;
}

nib_status nib__bpe_piece(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                          nib_error *err)
{
    encoder e = {t, ids, err};
    return encode_piece(&e, text, len);
}

nib_status nib__bpe_encode(const nib__tokenizer *t, const char *text, size_t len, nib__ids *ids,
                           nib_error *err)
{
    encoder e = {t, ids, err};
    if (t->pretok->flags & NIB__PRE_SPACES) return encode_escaped(&e, text, len);
    return encode_text(&e, text, len);
}
