/* SPDX-License-Identifier: MIT
 * Assembling fill-in-the-middle prompts: user text is cut to the budget and tokenized, and the
 * parts are put in the order of the family's format (fim_format.c). Markers are put in by id; user
 * text never becomes a marker. */
#include "decode/fim.h"

#include <string.h>

#include "decode/fim_format.h"
#include "decode/fim_trim.h"
#include "decode/heal.h"

/* ---- assembling ------------------------------------------------------------------------------ */

typedef struct fim_parts {
    const nib__tokenizer *t;
    const nib__fim_format *format;
    nib__fim_ids marker;
    nib__markers markers; /* the same, as a set */
    int32_t language;     /* tag of PLBART; -1 */
    nib__ids header, inner, prefix, suffix, line;
} fim_parts;

static nib_status push(nib__ids *ids, int32_t id, nib_error *err)
{
    if (id < 0 || nib__ids_push(ids, id)) return NIB_OK;
    return nib__fail(err, NIB_ERR_MEMORY, "no memory for %zu prompt tokens", ids->count);
}

static nib_status append(nib__ids *ids, const nib__ids *more, nib_error *err)
{
    nib_status status = NIB_OK;
    for (size_t i = 0; i < more->count && status == NIB_OK; i++)
        status = push(ids, more->items[i], err);
    return status;
}

/* The begin-of-text token if the model expects one. */
static nib_status push_bos(const nib__tokenizer *t, nib__ids *ids, nib_error *err)
{
    size_t start = ids->count;
    nib_status status = nib__tokenize(t, "", 0, NIB_TOKENIZE_BOS, ids, err);
    if (status != NIB_OK) return status;
    int32_t bos = nib__tokenizer_special(t, NIB_TOKEN_BOS);
    int32_t wanted = ids->count > start && bos >= 0 && ids->items[start] == bos;
    ids->count = start + (size_t)wanted;
    return NIB_OK;
}

static nib_text text_of(const char *text)
{
    return (nib_text){text, strlen(text)};
}

static nib_status put_text(const fim_parts *p, nib_text text, nib__ids *ids, nib_error *err)
{
    nib__plain plain = {p->t, &p->markers, 1};
    return nib__plain_ids(&plain, text, ids, err);
}

/* Appends up to four pieces of text as if they were one. */
static nib_status put_joined(const fim_parts *p, const nib_text *pieces, size_t n, nib__ids *ids,
                             nib_error *err)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        if (!nib__add(len, pieces[i].len, &len))
            return nib__fail(err, NIB_ERR_LIMIT, "text of a file is too long");
    }
    if (len == 0) return NIB_OK;
    char *joined = nib__alloc_raw(&ids->mem, len, 1);
    if (joined == NULL) return nib__fail(err, NIB_ERR_MEMORY, "no memory for %zu bytes", len);
    for (size_t i = 0, at = 0; i < n; at += pieces[i].len, i++) {
        if (pieces[i].len != 0) memcpy(joined + at, pieces[i].data, pieces[i].len);
    }
    nib_status status = put_text(p, (nib_text){joined, len}, ids, err);
    nib__free(&ids->mem, joined);
    return status;
}

/* One other file, or (content NULL) the path line of the file being edited. */
static nib_status put_file(const fim_parts *p, nib_text path, const nib_text *content,
                           nib__ids *ids, nib_error *err)
{
    nib_text newline = text_of(path.len != 0 ? "\n" : ""), none = {"", 0};
    nib_text body = content != NULL ? *content : none;
    int32_t ended = body.len == 0 || body.data[body.len - 1] == '\n';
    nib_text end = text_of(ended ? "" : "\n");
    nib_status status;
    switch (p->format->files) {
    case NIB__FILES_MARKED:
        status = push(ids, p->marker.file, err);
        if (status != NIB_OK) return status;
        return put_joined(p, (nib_text[]){path, newline, body, end}, 4, ids, err);
    case NIB__FILES_UNSPACED: /* the marker in front belongs to what was before */
        status = content != NULL || ids->count > 0 ? push(ids, p->marker.file, err) : NIB_OK;
        if (status != NIB_OK || content == NULL) return status;
        return put_joined(p, (nib_text[]){path, newline, body}, 3, ids, err);
    case NIB__FILES_ENDED:
        status = put_joined(p, (nib_text[]){path, newline, body}, 3, ids, err);
        if (status != NIB_OK || content == NULL) return status;
        return push(ids, p->marker.file, err);
    default:
        if (path.len != 0)
            status = put_joined(p, (nib_text[]){text_of("# "), path, newline}, 3, ids, err);
        else
            status = NIB_OK;
        if (status != NIB_OK) return status;
        return put_joined(p, (nib_text[]){body, end}, 2, ids, err);
    }
}

static nib_status put_repo(const fim_parts *p, nib_text repo, nib__ids *ids, nib_error *err)
{
    if (repo.len == 0 || p->marker.repo < 0) return NIB_OK;
    nib_status status = push(ids, p->marker.repo, err);
    if (status != NIB_OK) return status;
    nib_text newline = text_of(p->format->family == NIB_FIM_QWEN ? "\n" : "");
    return put_joined(p, (nib_text[]){repo, newline}, 2, ids, err);
}

/* Repository name, as many of the other files as fit whole (the most relevant first), and the path
 * of this file. Whether the path and the name fit is not asked: they are a few tokens. */
static nib_status put_header(const fim_parts *p, const nib_fim *fim, size_t budget, nib__ids *ids,
                             nib_error *err)
{
    nib__ids one = nib__ids_make(&ids->mem);
    size_t first = fim->n_files, used = 0;
    nib_status status = NIB_OK;
    while (status == NIB_OK && first > 0) {
        one.count = 0;
        const nib_fim_file *file = &fim->files[first - 1];
        /* no token is longer than that: much too long a file is not even tokenized */
        size_t longest = nib__tokenizer_max_bytes(p->t);
        if (longest != 0 && file->content.len / longest > budget) break;
        status = put_file(p, file->path, &file->content, &one, err);
        if (status != NIB_OK || one.count > budget - used) break;
        used += one.count;
        first--;
    }
    nib__ids_free(&one);
    if (status == NIB_OK) status = put_repo(p, fim->repo, ids, err);
    for (size_t i = first; i < fim->n_files && status == NIB_OK; i++)
        status = put_file(p, fim->files[i].path, &fim->files[i].content, ids, err);
    if (status == NIB_OK && (fim->path.len != 0 || ids->count != 0))
        status = put_file(p, fim->path, NULL, ids, err);
    return status;
}

/* Prefix and suffix within `budget` tokens, 3 to 1; what one does not need the other may have. */
static nib_status put_context(fim_parts *p, nib_text prefix, nib_text suffix, size_t budget,
                              nib_error *err)
{
    int32_t continued = p->header.count + p->inner.count > 0;
    nib__plain before = {p->t, &p->markers, continued}, after = {p->t, &p->markers, 1};
    size_t share = budget - budget / 4; /* of the prefix */
    nib_status status = nib__plain_tail(&before, prefix, budget, &p->prefix, err);
    if (status == NIB_OK) status = nib__plain_head(&after, suffix, budget, &p->suffix, err);
    if (status != NIB_OK || p->prefix.count + p->suffix.count <= budget) return status;
    size_t n_prefix = p->prefix.count, n_suffix = p->suffix.count;
    if (n_prefix > share) {
        size_t room = n_suffix < budget - share ? budget - n_suffix : share;
        p->prefix.count = 0;
        status = nib__plain_tail(&before, prefix, room, &p->prefix, err);
    }
    if (status == NIB_OK && n_suffix > budget - share) {
        size_t room = n_prefix < share ? budget - n_prefix : budget - share;
        p->suffix.count = 0;
        status = nib__plain_head(&after, suffix, room, &p->suffix, err);
    }
    return status;
}

/* What stands behind every text; another language takes the place of the tokenizer's. */
static nib_status push_end(const fim_parts *p, nib__ids *ids, nib_error *err)
{
    size_t before = ids->count;
    nib_status status = nib__tokenizer_frame(p->t, true, ids, err);
    if (status != NIB_OK || p->language < 0) return status;
    int32_t eos = nib__tokenizer_special(p->t, NIB_TOKEN_EOS);
    if (ids->count > before && ids->items[ids->count - 1] != eos) ids->count--;
    return push(ids, p->language, err);
}

static nib_status arrange(const fim_parts *p, const char *order, nib__ids *ids, nib_error *err)
{
    nib_status status = NIB_OK;
    for (const char *o = order; *o != '\0' && status == NIB_OK; o++) {
        switch (*o) {
        case 'f': status = nib__tokenizer_frame(p->t, false, ids, err); break;
        case 'F': status = push_end(p, ids, err); break;
        case 'b': status = push_bos(p->t, ids, err); break;
        case 'h': status = append(ids, &p->header, err); break;
        case 'p': status = push(ids, p->marker.prefix, err); break;
        case 's': status = push(ids, p->marker.suffix, err); break;
        case 'm': status = push(ids, p->marker.middle, err); break;
        case 'x': status = push(ids, p->marker.extra, err); break;
        case 'e': status = push(ids, nib__tokenizer_special(p->t, NIB_TOKEN_EOS), err); break;
        case 'S': status = append(ids, &p->suffix, err); break;
        case 'L': status = append(ids, &p->line, err); break;
        case 'i': status = append(ids, &p->inner, err); break;
        default: status = append(ids, &p->prefix, err); break; /* P */
        }
    }
    return status;
}

static void add_marker(nib__markers *set, int32_t id)
{
    if (id >= 0) set->ids[set->count++] = id;
}

/* 1 if the typed part of the cursor's line goes behind the middle marker. The default: see
 * docs/results.md; for encoder-decoders it is not measured, and stays what they were trained on. */
static int32_t is_line_last(const fim_parts *p, const nib_fim *fim)
{
    const char *order = p->format->target != NULL ? p->format->target : p->format->order;
    uint32_t layout = fim->layout;
    if (layout == NIB_FIM_LAYOUT_DEFAULT)
        layout = p->format->target != NULL ? NIB_FIM_LAYOUT_PREFIX : NIB_FIM_LAYOUT_LINE_LAST;
    return layout == NIB_FIM_LAYOUT_LINE_LAST && strchr(order, 'L') != NULL;
}

/* Takes the typed part of the cursor's line off the end of `prefix`. Its indentation stays there:
 * the middle then begins as in training, not with blanks that the model would write together with
 * the first word. */
static nib_text split_line(nib_text *prefix)
{
    nib_text line = {NULL, 0};
    size_t at = prefix->len;
    while (at > 0 && prefix->data[at - 1] != '\n') at--;
    while (at < prefix->len && (prefix->data[at] == ' ' || prefix->data[at] == '\t')) at++;
    if (at < prefix->len) line = (nib_text){prefix->data + at, prefix->len - at};
    prefix->len = at;
    return line;
}

/* Blanks at the end of the cursor's line, unless it has nothing else. An encoder-decoder writes
 * them together with the word behind them, and tokenizers drop them in front of its markers. */
static size_t blanks_at_cursor(nib_text prefix)
{
    nib_text line = split_line(&prefix);
    size_t n = 0;
    while (n < line.len && n < NIB__HEAL_MAX &&
           (line.data[line.len - 1 - n] == ' ' || line.data[line.len - 1 - n] == '\t'))
        n++;
    return n;
}

/* Fills all parts so that together with the markers they have at most `budget` tokens. *held bytes
 * of the typed part of the line are left out (held NULL: none). */
static nib_status fill_parts(fim_parts *p, const nib_fim *fim, size_t budget, size_t *held,
                             nib_error *err)
{
    enum { MARKERS = 8, LEAST = 32 }; /* begin, end and all markers are fewer than MARKERS */
    if (budget < LEAST)
        return nib__fail(err, NIB_ERR_LIMIT,
                         "fim: a prompt of %zu tokens is too short, at least %d", budget, LEAST);
    budget -= MARKERS;
    nib_text prefix = fim->prefix;
    nib_status status = NIB_OK;
    if (is_line_last(p, fim)) {
        nib__plain plain = {p->t, &p->markers, 1};
        nib_text line = split_line(&prefix);
        if (held != NULL) *held = nib__heal_length(line);
        if (held != NULL) line.len -= *held;
        status = nib__plain_tail(&plain, line, budget / 2, &p->line, err);
        if (status != NIB_OK) return status;
        /* In steps of 32, so that a key does not move the point at which the prefix is cut. */
        size_t reserved = (p->line.count / 32 + 1) * 32;
        budget -= reserved < budget / 2 ? reserved : budget / 2;
    } else if (held != NULL && p->format->target != NULL) {
        *held = blanks_at_cursor(prefix);
        prefix.len -= *held;
    }
    if (fim->repo.len != 0 || fim->path.len != 0 || fim->n_files != 0)
        status = put_header(p, fim, budget / 2, &p->header, err);
    if (status == NIB_OK && strchr(p->format->order, 'i') != NULL && fim->path.len != 0)
        status = put_joined(p, (nib_text[]){fim->path, text_of("\n")}, 2, &p->inner, err);
    if (status != NIB_OK) return status;
    size_t names = p->header.count + p->inner.count;
    if (names > budget - budget / 4)
        return nib__fail(err, NIB_ERR_LIMIT, "fim: repository name and path take %zu of %zu tokens",
                         names, budget);
    return put_context(p, prefix, fim->suffix, budget - names, err);
}

static nib_status check(const nib_fim *fim, nib_error *err)
{
    int32_t valid =
        fim->layout <= NIB_FIM_LAYOUT_PREFIX && (fim->files != NULL || fim->n_files == 0);
    nib_text texts[] = {fim->prefix, fim->suffix, fim->repo, fim->path, fim->language};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        valid &= texts[i].data != NULL || texts[i].len == 0;
    for (size_t i = 0; valid && i < fim->n_files; i++) {
        const nib_fim_file *file = &fim->files[i];
        valid &= file->path.data != NULL || file->path.len == 0;
        valid &= file->content.data != NULL || file->content.len == 0;
    }
    if (valid) return NIB_OK;
    return nib__fail(err, NIB_ERR_ARGUMENT, "fim: unknown layout %u, or NULL text with a length",
                     fim->layout);
}

static void collect_markers(fim_parts *p)
{
    const int32_t ids[] = {p->marker.prefix,
                           p->marker.suffix,
                           p->marker.middle,
                           p->marker.extra,
                           p->marker.repo,
                           p->marker.file,
                           nib__tokenizer_special(p->t, NIB_TOKEN_BOS),
                           nib__tokenizer_special(p->t, NIB_TOKEN_EOS)};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) add_marker(&p->markers, ids[i]);
    p->markers.stem = p->format->sentinels;
}

/* The tag "__python__" of the language "python". */
static nib_status find_language(fim_parts *p, nib_text language, nib_error *err)
{
    char tag[40];
    p->language = -1;
    if (language.len == 0) return NIB_OK;
    size_t n = 0;
    if (language.len < sizeof tag - 4)
        n = nib__text(tag, sizeof tag, "__%.*s__", (int)language.len, language.data);
    if (n != 0) p->language = nib__tokenizer_find(p->t, tag, n);
    if (p->language >= 0 && p->format->echo) return NIB_OK;
    return nib__fail(err, NIB_ERR_ARGUMENT, "fim: the model has no language '%.*s'",
                     language.len < 40 ? (int)language.len : 40, language.data);
}

/* `pair`: what an encoder-decoder needs besides the source; NULL: the source, or prompt, is all. */
static nib_status build(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                        uint32_t max_tokens, size_t *held, nib__ids *ids, nib__fim_pair *pair,
                        nib_error *err)
{
    fim_parts p = {.t = t};
    size_t left_out = 0;
    nib_status status = check(fim, err);
    if (status != NIB_OK) return status;
    p.format = nib__fim_find(t, family, &p.marker);
    if (p.format == NULL)
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "the vocabulary has no fill-in-the-middle markers we know");
    status = find_language(&p, fim->language, err);
    if (status != NIB_OK) return status;
    collect_markers(&p);
    nib__ids *parts[] = {&p.header, &p.inner, &p.prefix, &p.suffix, &p.line};
    for (size_t i = 0; i < 5; i++) *parts[i] = nib__ids_make(&ids->mem);
    size_t start = ids->count;
    status = fill_parts(&p, fim, max_tokens != 0 ? max_tokens : UINT32_MAX,
                        held != NULL ? &left_out : NULL, err);
    if (status == NIB_OK) status = arrange(&p, p.format->order, ids, err);
    if (status == NIB_OK && pair != NULL) {
        pair->sentinels = p.format->sentinels;
        pair->start = p.language;
        status = arrange(&p, p.format->target, &pair->target, err);
        if (status == NIB_OK && p.format->echo) status = append(&pair->echo, &p.suffix, err);
    }
    if (status != NIB_OK) ids->count = start;
    if (status == NIB_OK && held != NULL) *held = left_out;
    for (size_t i = 0; i < 5; i++) nib__ids_free(parts[i]);
    return status;
}

nib_status nib__fim_build(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                          uint32_t max_tokens, size_t *held, nib__ids *ids, nib_error *err)
{
    return build(t, family, fim, max_tokens, held, ids, NULL, err);
}

nib_status nib__fim_build_pair(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                               uint32_t max_tokens, size_t *held, nib__fim_pair *pair,
                               nib_error *err)
{
    return build(t, family, fim, max_tokens, held, &pair->source, pair, err);
}
