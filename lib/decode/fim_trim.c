/* SPDX-License-Identifier: MIT
 * Cutting user text to a token budget. Blocks of lines are counted one by one from the end that is
 * kept, so that a file of any size costs no more than its part in the prompt; then the block sum,
 * which is an estimate (a token may span two blocks), is checked against the real tokens. */
#include "decode/fim_trim.h"

#include <string.h>

/* Position of the marker's text in text[from..), or text.len. */
static size_t find_text(nib_text text, size_t from, nib__str marker)
{
    if (marker.len == 0) return text.len;
    while (from < text.len && text.len - from >= marker.len) {
        const char *hit =
            memchr(text.data + from, marker.data[0], text.len - from - marker.len + 1);
        if (hit == NULL) return text.len;
        if (memcmp(hit, marker.data, marker.len) == 0) return (size_t)(hit - text.data);
        from = (size_t)(hit - text.data) + 1;
    }
    return text.len;
}

/* Position of the first marker in text[from..), and its length; text.len if there is none. */
static size_t find_marker(const nib__plain *plain, nib_text text, size_t from, size_t *len)
{
    const nib__markers *markers = plain->markers;
    size_t first = text.len;
    for (uint32_t i = 0; i <= markers->count; i++) {
        nib__str marker = {markers->stem, 0};
        if (i < markers->count)
            marker = nib__token_bytes(plain->tokenizer, markers->ids[i], NIB_TOKENIZE_SPECIAL);
        else if (markers->stem != NULL)
            marker.len = strlen(markers->stem);
        size_t at =
            find_text((nib_text){text.data, first < text.len ? first : text.len}, from, marker);
        if (at >= first) continue;
        first = at;
        *len = marker.len;
    }
    return first;
}

bool nib__begins_with(const nib__tokenizer *t, int32_t id, const char *stem)
{
    if (stem == NULL) return false;
    nib__str text = nib__token_bytes(t, id, NIB_TOKENIZE_SPECIAL);
    size_t len = strlen(stem);
    return text.len >= len && memcmp(text.data, stem, len) == 0;
}

static bool is_marker(const nib__plain *plain, int32_t id)
{
    const nib__markers *markers = plain->markers;
    for (uint32_t i = 0; i < markers->count; i++) {
        if (markers->ids[i] == id) return true;
    }
    return nib__begins_with(plain->tokenizer, id, markers->stem);
}

static nib_status encode(const nib__plain *plain, int32_t continuation, nib_text text,
                         nib__ids *ids, nib_error *err)
{
    if (text.len == 0) return NIB_OK;
    if (continuation)
        return nib__tokenize_continuation(plain->tokenizer, text.data, text.len, ids, err);
    return nib__tokenize(plain->tokenizer, text.data, text.len, 0, ids, err);
}

nib_status nib__plain_ids(const nib__plain *plain, nib_text text, nib__ids *ids, nib_error *err)
{
    size_t start = ids->count;
    nib_status status = encode(plain, plain->continuation, text, ids, err);
    if (status != NIB_OK) return status;
    bool clean = true;
    for (size_t i = start; i < ids->count; i++) clean &= !is_marker(plain, ids->items[i]);
    if (clean) return NIB_OK;
    /* Some vocabularies (DeepSeek-Coder's) hold their markers as user-defined tokens, which are
     * recognised in any text. Such text is tokenized in pieces that end inside each marker. */
    ids->count = start;
    size_t from = 0;
    while (from < text.len) {
        size_t len = 0, at = find_marker(plain, text, from, &len);
        size_t end = at < text.len ? at + 1 : text.len;
        if (at < text.len && len == 1)
            return nib__fail(err, NIB_ERR_UNSUPPORTED,
                             "the byte at %zu of a text is a marker of this model", at);
        nib_text piece = {text.data + from, end - from};
        status = encode(plain, plain->continuation || from > 0, piece, ids, err);
        if (status != NIB_OK) {
            ids->count = start;
            return status;
        }
        from = end;
    }
    return NIB_OK;
}

/* Lines between two possible cuts: a small budget must not lose a large part of it to one cut. */
static size_t step_lines(size_t budget)
{
    size_t step = 16;
    while (step > 1 && budget < step * 64) step /= 2;
    return step;
}

/* Starts of every `step`-th line of text, beginning with 0. */
static nib_status find_cuts(const nib_allocator *mem, nib_text text, size_t step, size_t **cuts,
                            size_t *n_cuts, nib_error *err)
{
    size_t cap = 0, count = 0, line = 0, at = 0;
    *cuts = NULL;
    while (at < text.len || count == 0) {
        if (line % step == 0) {
            if (!nib__grow(mem, (void **)cuts, &cap, count + 1, sizeof **cuts)) {
                nib__free(mem, *cuts);
                *cuts = NULL;
                return nib__fail(err, NIB_ERR_MEMORY, "no memory for %zu line positions", count);
            }
            (*cuts)[count++] = at;
        }
        const char *end = at < text.len ? memchr(text.data + at, '\n', text.len - at) : NULL;
        if (end == NULL) break;
        at = (size_t)(end - text.data) + 1;
        line++;
    }
    *n_cuts = count;
    return NIB_OK;
}

/* Tokens of text on its own, or budget + 1 if it cannot be within budget; no token is longer than
 * max_bytes, so text much too long is not tokenized at all. */
static nib_status count_ids(const nib__plain *plain, nib_text text, size_t budget,
                            nib__ids *scratch, size_t *count, nib_error *err)
{
    size_t longest = nib__tokenizer_max_bytes(plain->tokenizer);
    *count = budget + 1;
    if (longest != 0 && text.len / longest > budget) return NIB_OK;
    scratch->count = 0;
    nib_status status = nib__plain_ids(plain, text, scratch, err);
    if (status == NIB_OK && scratch->count <= budget) *count = scratch->count;
    return status;
}

/* The part [*from, *to) of text to keep, as cut indices; keep_end: the end of the text stays. An
 * empty range means that not even one block fits. */
static nib_status choose_blocks(const nib__plain *plain, nib_text text, const size_t *cuts,
                                size_t n_cuts, size_t budget, int32_t keep_end, nib__ids *scratch,
                                size_t *from, size_t *to, nib_error *err)
{
    size_t kept = 0, used = 0;
    while (kept < n_cuts) {
        size_t block = keep_end ? n_cuts - 1 - kept : kept;
        size_t end = block + 1 < n_cuts ? cuts[block + 1] : text.len;
        size_t count;
        nib_text lines = {text.data + cuts[block], end - cuts[block]};
        nib_status status = count_ids(plain, lines, budget - used, scratch, &count, err);
        if (status != NIB_OK) return status;
        if (count > budget - used) break;
        used += count;
        kept++;
    }
    *from = keep_end ? n_cuts - kept : 0;
    *to = keep_end ? n_cuts : kept;
    return NIB_OK;
}

/* Not even one line fits: the ids at the kept end of it. */
static nib_status cut_ids(const nib__plain *plain, nib_text text, size_t budget, int32_t keep_end,
                          nib__ids *ids, nib_error *err)
{
    size_t longest = nib__tokenizer_max_bytes(plain->tokenizer), bytes;
    if (!nib__mul(budget, longest, &bytes) || bytes > text.len) bytes = text.len;
    nib_text part = {keep_end && bytes > 0 ? text.data + (text.len - bytes) : text.data, bytes};
    size_t start = ids->count;
    nib_status status = nib__plain_ids(plain, part, ids, err);
    if (status != NIB_OK) return status;
    size_t count = ids->count - start;
    if (count > budget) {
        if (keep_end)
            memmove(ids->items + start, ids->items + start + (count - budget),
                    budget * sizeof *ids->items);
        ids->count = start + budget;
    }
    return NIB_OK;
}

/* Keeps blocks of `step` lines; *done is 0 if not even one fits. */
static nib_status cut_lines(const nib__plain *plain, nib_text text, size_t budget, size_t step,
                            int32_t keep_end, nib__ids *ids, int32_t *done, nib_error *err)
{
    size_t *cuts, n_cuts = 0, from = 0, to = 0, start = ids->count;
    nib_status status = find_cuts(&ids->mem, text, step, &cuts, &n_cuts, err);
    if (status != NIB_OK) return status;
    nib__ids scratch = nib__ids_make(&ids->mem);
    status = choose_blocks(plain, text, cuts, n_cuts, budget, keep_end, &scratch, &from, &to, err);
    *done = 0;
    while (status == NIB_OK && from < to && !*done) {
        size_t end = to < n_cuts ? cuts[to] : text.len;
        status =
            nib__plain_ids(plain, (nib_text){text.data + cuts[from], end - cuts[from]}, ids, err);
        if (status != NIB_OK) break;
        if (ids->count - start <= budget) {
            *done = 1;
        } else { /* the estimate was low: one block less */
            ids->count = start;
            if (keep_end)
                from++;
            else
                to--;
        }
    }
    nib__ids_free(&scratch);
    nib__free(&ids->mem, cuts);
    return status;
}

static nib_status cut_text(const nib__plain *plain, nib_text text, size_t budget, int32_t keep_end,
                           nib__ids *ids, nib_error *err)
{
    size_t step = step_lines(budget), start = ids->count;
    nib_status status = NIB_OK;
    int32_t done = 0;
    if (text.len == 0 || budget == 0) return NIB_OK;
    if (text.len / 8 <= budget) { /* code has about 3 bytes per token: this may well fit whole */
        status = nib__plain_ids(plain, text, ids, err);
        if (status == NIB_OK && ids->count - start <= budget) return NIB_OK;
        if (status == NIB_OK) ids->count = start;
    }
    if (status == NIB_OK) status = cut_lines(plain, text, budget, step, keep_end, ids, &done, err);
    if (status == NIB_OK && !done && step > 1)
        status = cut_lines(plain, text, budget, 1, keep_end, ids, &done, err);
    if (status == NIB_OK && !done) status = cut_ids(plain, text, budget, keep_end, ids, err);
    return status;
}

nib_status nib__plain_tail(const nib__plain *plain, nib_text text, size_t budget, nib__ids *ids,
                           nib_error *err)
{
    return cut_text(plain, text, budget, 1, ids, err);
}

nib_status nib__plain_head(const nib__plain *plain, nib_text text, size_t budget, nib__ids *ids,
                           nib_error *err)
{
    return cut_text(plain, text, budget, 0, ids, err);
}
