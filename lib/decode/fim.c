/* SPDX-License-Identifier: MIT
 * Fill-in-the-middle prompts. Each family of code models was trained on its own arrangement of the
 * same parts: a row of the table below is such an arrangement. Markers are put in by id; user text
 * never becomes a marker.
 *
 * Sources: model cards and technical reports of Qwen2.5-Coder (repository format: section 3 of the
 * report), StarCoder, SantaCoder, StarCoder2 (section 5.1), Code Llama (section 2.3), CodeGemma,
 * DeepSeek-Coder, Codestral (mistral_common's encode_fim), InCoder and CodeGen2. */
#include "decode/fim.h"

#include <string.h>

#include "decode/fim_trim.h"
#include "decode/heal.h"

/* What NIB_FIM_LAYOUT_DEFAULT means; docs/results.md has the measurement. */
enum { DEFAULT_LAYOUT = NIB_FIM_LAYOUT_LINE_LAST };

/* How other files and paths are written. */
enum {
    FILES_AS_TEXT,  /* "# path\ncontent\n" as part of the prefix */
    FILES_MARKED,   /* <file>path\ncontent\n, before the prefix marker; <repo>name\n first */
    FILES_UNSPACED, /* <repo>name<file>path\ncontent<file>, path of this file inside the prefix */
    FILES_ENDED     /* path\ncontent<file> before the prefix marker */
};

enum { N_NAMES = 3 };

/* `order`: b begin-of-text if the model wants it, h header with other files, p s m the markers,
 * e end-of-text, x the extra marker, i path of this file where it stands inside the prefix, P text
 * before the cursor (less the typed part of its line, if there is an L), S text after the cursor,
 * L the typed part of the cursor's line after its indentation. */
typedef struct fim_format {
    uint32_t family;
    uint32_t files;
    const char *order;
    const char *prefix[N_NAMES], *suffix[N_NAMES], *middle[N_NAMES]; /* spellings, first match */
    const char *extra;                                               /* x */
    const char *repo, *file; /* required for FILES_MARKED and later, except where optional_files */
    uint32_t optional_files; /* 1: the format is recognised without repo and file markers */
} fim_format;

/* DeepSeek-Coder writes its markers with a fullwidth bar and a lower one eighth block. */
#define BAR "\xef\xbd\x9c"
#define BLOCK "\xe2\x96\x81"

/* clang-format off */
/* Order matters: a row with more requirements stands before one with the same markers and fewer. */
static const fim_format formats[] = {
    {.family = NIB_FIM_QWEN, .files = FILES_MARKED, .order = "bhpPsSmL",
     .prefix = {"<|fim_prefix|>"}, .suffix = {"<|fim_suffix|>"}, .middle = {"<|fim_middle|>"},
     .repo = "<|repo_name|>", .file = "<|file_sep|>"},
    {.family = NIB_FIM_CODEGEMMA, .files = FILES_ENDED, .order = "bhpPsSmL",
     .prefix = {"<|fim_prefix|>"}, .suffix = {"<|fim_suffix|>"}, .middle = {"<|fim_middle|>"},
     .file = "<|file_separator|>"},
    {.family = NIB_FIM_STARCODER2, .files = FILES_UNSPACED, .order = "bhpiPsSmL",
     .prefix = {"<fim_prefix>"}, .suffix = {"<fim_suffix>"}, .middle = {"<fim_middle>"},
     .repo = "<repo_name>", .file = "<file_sep>"},
    {.family = NIB_FIM_STARCODER, .files = FILES_MARKED, .order = "bhpPsSmL",
     .prefix = {"<fim_prefix>"}, .suffix = {"<fim_suffix>"}, .middle = {"<fim_middle>"},
     .repo = "<reponame>", .file = "<filename>", .optional_files = 1},
    {.family = NIB_FIM_SANTACODER, .files = FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<fim-prefix>"}, .suffix = {"<fim-suffix>"}, .middle = {"<fim-middle>"}},
    {.family = NIB_FIM_CODELLAMA, .files = FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {BLOCK "<PRE>", "<PRE>"}, .suffix = {BLOCK "<SUF>", "<SUF>"},
     .middle = {BLOCK "<MID>", "<MID>"}},
    {.family = NIB_FIM_DEEPSEEK, .files = FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<" BAR "fim" BLOCK "begin" BAR ">"}, .suffix = {"<" BAR "fim" BLOCK "hole" BAR ">"},
     .middle = {"<" BAR "fim" BLOCK "end" BAR ">"}},
    /* The middle follows the prefix directly, so the cursor's line is last in any case. */
    {.family = NIB_FIM_CODESTRAL, .files = FILES_AS_TEXT, .order = "bsSphP",
     .prefix = {"[PREFIX]"}, .suffix = {"[SUFFIX]"}, .middle = {"[PREFIX]"}},
    /* P <|mask:0|> S <|mask:1|> <|mask:0|> */
    {.family = NIB_FIM_INCODER, .files = FILES_AS_TEXT, .order = "bhPmSsmL",
     .prefix = {"<|mask:0|>"}, .suffix = {"<|mask:1|>"}, .middle = {"<|mask:0|>"}},
    /* P <mask_1> S <|endoftext|> <sep> <mask_1> */
    {.family = NIB_FIM_CODEGEN2, .files = FILES_AS_TEXT, .order = "bhPmSexmL",
     .prefix = {"<mask_1>"}, .suffix = {"<mask_1>"}, .middle = {"<mask_1>"}, .extra = "<sep>"},
    {.family = NIB_FIM_GENERIC, .files = FILES_AS_TEXT, .order = "bphPsSmL",
     .prefix = {"<|code_prefix|>", "<|prefix|>"}, .suffix = {"<|code_suffix|>", "<|suffix|>"},
     .middle = {"<|code_middle|>", "<|middle|>"}},
};
/* clang-format on */

enum { N_FORMATS = sizeof formats / sizeof *formats };

/* A format with the ids its markers have in one vocabulary; -1: none. */
typedef struct fim_ids {
    int32_t prefix, suffix, middle, extra, repo, file;
} fim_ids;

static int32_t find(const nib__tokenizer *t, const char *name)
{
    return name == NULL ? -1 : nib__tokenizer_find(t, name, strlen(name));
}

static int32_t find_any(const nib__tokenizer *t, const char *const names[N_NAMES])
{
    for (int i = 0; i < N_NAMES && names[i] != NULL; i++) {
        int32_t id = find(t, names[i]);
        if (id >= 0) return id;
    }
    return -1;
}

/* 1 if the vocabulary has all markers the format needs. */
static int32_t resolve(const nib__tokenizer *t, const fim_format *f, fim_ids *ids)
{
    *ids = (fim_ids){find_any(t, f->prefix), find_any(t, f->suffix), find_any(t, f->middle),
                     find(t, f->extra),      find(t, f->repo),       find(t, f->file)};
    if (ids->prefix < 0 || ids->suffix < 0 || ids->middle < 0) return 0;
    if (f->extra != NULL && ids->extra < 0) return 0;
    if (f->file != NULL && !f->optional_files && ids->file < 0) return 0;
    return 1;
}

/* Files that say in their metadata which tokens they use, under names we do not know. */
static int32_t resolve_generic(const nib__tokenizer *t, fim_ids *ids)
{
    *ids = (fim_ids){nib__tokenizer_special(t, NIB_TOKEN_FIM_PREFIX),
                     nib__tokenizer_special(t, NIB_TOKEN_FIM_SUFFIX),
                     nib__tokenizer_special(t, NIB_TOKEN_FIM_MIDDLE),
                     -1,
                     -1,
                     -1};
    return ids->prefix >= 0 && ids->suffix >= 0 && ids->middle >= 0;
}

uint32_t nib__fim_detect(const nib__tokenizer *t)
{
    fim_ids ids;
    if (t == NULL) return NIB_FIM_NONE;
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (resolve(t, &formats[i], &ids)) return formats[i].family;
    }
    return resolve_generic(t, &ids) ? NIB_FIM_GENERIC : NIB_FIM_NONE;
}

/* ---- assembling ------------------------------------------------------------------------------ */

typedef struct fim_parts {
    const nib__tokenizer *t;
    const fim_format *format;
    fim_ids marker;
    nib__markers markers; /* the same, as a set */
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
    case FILES_MARKED:
        status = push(ids, p->marker.file, err);
        if (status != NIB_OK) return status;
        return put_joined(p, (nib_text[]){path, newline, body, end}, 4, ids, err);
    case FILES_UNSPACED: /* the marker in front belongs to what was before */
        status = content != NULL || ids->count > 0 ? push(ids, p->marker.file, err) : NIB_OK;
        if (status != NIB_OK || content == NULL) return status;
        return put_joined(p, (nib_text[]){path, newline, body}, 3, ids, err);
    case FILES_ENDED:
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

static nib_status arrange(const fim_parts *p, nib__ids *ids, nib_error *err)
{
    nib_status status = NIB_OK;
    for (const char *o = p->format->order; *o != '\0' && status == NIB_OK; o++) {
        switch (*o) {
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

/* 1 if the typed part of the cursor's line goes behind the middle marker. */
static int32_t is_line_last(const fim_parts *p, const nib_fim *fim)
{
    uint32_t layout = fim->layout != NIB_FIM_LAYOUT_DEFAULT ? fim->layout : DEFAULT_LAYOUT;
    return layout == NIB_FIM_LAYOUT_LINE_LAST && strchr(p->format->order, 'L') != NULL;
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
    nib_text texts[] = {fim->prefix, fim->suffix, fim->repo, fim->path};
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

static const fim_format *find_format(const nib__tokenizer *t, uint32_t family, fim_ids *ids)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (formats[i].family == family && resolve(t, &formats[i], ids)) return &formats[i];
    }
    if (family == NIB_FIM_GENERIC && resolve_generic(t, ids)) return &formats[N_FORMATS - 1];
    return NULL;
}

nib_status nib__fim_build(const nib__tokenizer *t, uint32_t family, const nib_fim *fim,
                          uint32_t max_tokens, size_t *held, nib__ids *ids, nib_error *err)
{
    fim_parts p = {.t = t};
    size_t left_out = 0;
    nib_status status = check(fim, err);
    if (status != NIB_OK) return status;
    p.format = find_format(t, family, &p.marker);
    if (p.format == NULL)
        return nib__fail(err, NIB_ERR_UNSUPPORTED,
                         "the vocabulary has no fill-in-the-middle markers we know");
    add_marker(&p.markers, p.marker.prefix);
    add_marker(&p.markers, p.marker.suffix);
    add_marker(&p.markers, p.marker.middle);
    add_marker(&p.markers, p.marker.extra);
    add_marker(&p.markers, p.marker.repo);
    add_marker(&p.markers, p.marker.file);
    add_marker(&p.markers, nib__tokenizer_special(t, NIB_TOKEN_BOS));
    add_marker(&p.markers, nib__tokenizer_special(t, NIB_TOKEN_EOS));
    nib__ids *parts[] = {&p.header, &p.inner, &p.prefix, &p.suffix, &p.line};
    for (size_t i = 0; i < 5; i++) *parts[i] = nib__ids_make(&ids->mem);
    size_t start = ids->count;
    status = fill_parts(&p, fim, max_tokens != 0 ? max_tokens : UINT32_MAX,
                        held != NULL ? &left_out : NULL, err);
    if (status == NIB_OK) status = arrange(&p, ids, err);
    if (status != NIB_OK) ids->count = start;
    if (status == NIB_OK && held != NULL) *held = left_out;
    for (size_t i = 0; i < 5; i++) nib__ids_free(parts[i]);
    return status;
}
