/* SPDX-License-Identifier: MIT
 * tokenizer.json: the model with its vocabulary and merges, and the added tokens. The other parts
 * are read by hf_normalizer.c, hf_pretokenizer.c, hf_decoder.c and hf_special.c. */
#include <math.h>

#include "token/pipeline.h"

static const char FILE_NAME[] = "tokenizer.json";

typedef struct reader {
    nib__hf *hf;
    nib__tokenizer *t;
    const nib__json *j;
    nib__json_value model, vocab, added;
    nib__hf_tokens tokens;
    nib_error *err;
} reader;

static nib__str key_of(const nib__json *j, nib__json_value v)
{
    nib__str text;
    text.data = nib__json_key(j, v, &text.len);
    return text;
}

static nib__str string_of(const nib__json *j, nib__json_value v)
{
    nib__str text;
    text.data = nib__json_string(j, v, &text.len);
    return text;
}

/* ---- vocabulary ---- */

/* {"token": id}, or for unigram [["token", score]]. */
static nib_status highest_id(const reader *r, uint64_t *highest)
{
    const nib__json *j = r->j;
    bool list = r->t->model == NIB__UNIGRAM;
    nib__json_type wanted = list ? NIB__JSON_ARRAY : NIB__JSON_OBJECT;
    uint32_t count = nib__json_count(j, r->vocab);
    if (nib__json_type_of(j, r->vocab) != wanted || count == 0)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.vocab is missing or empty", FILE_NAME);
    *highest = list ? count - 1 : 0;
    for (nib__json_value v = nib__json_first(j, list ? NIB__JSON_NONE : r->vocab);
         v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        int64_t id = -1;
        if (nib__json_integer(j, v, &id) && id >= 0) {
            if ((uint64_t)id > *highest) *highest = (uint64_t)id;
            continue;
        }
        nib__str key = key_of(j, v);
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.vocab: '%.*s' has no id", FILE_NAME,
                         key.len < 60 ? (int)key.len : 60, key.data);
    }
    for (nib__json_value v = nib__json_first(j, r->added); v != NIB__JSON_NONE;
         v = nib__json_next(j, v)) {
        int64_t id = -1;
        if (!nib__json_integer(j, nib__json_get(j, v, "id"), &id) || id < 0 ||
            nib__hf_token(j, v).data == NULL)
            return nib__fail(r->err, NIB_ERR_FORMAT, "%s: an added token without id or content",
                             FILE_NAME);
        if ((uint64_t)id > *highest) *highest = (uint64_t)id;
    }
    return NIB_OK;
}

static nib_status put_scored(reader *r)
{
    const nib__json *j = r->j;
    uint32_t id = 0;
    r->t->pipe->scores = nib__alloc(&r->t->mem, r->tokens.n, sizeof *r->t->pipe->scores);
    if (r->t->pipe->scores == NULL)
        return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    for (nib__json_value v = nib__json_first(j, r->vocab); v != NIB__JSON_NONE;
         v = nib__json_next(j, v), id++) {
        nib__json_value text = nib__json_first(j, v);
        double *score = &r->t->pipe->scores[id];
        if (nib__json_type_of(j, v) != NIB__JSON_ARRAY || nib__json_count(j, v) != 2 ||
            nib__json_type_of(j, text) != NIB__JSON_STRING ||
            !nib__json_number(j, nib__json_next(j, text), score) || !isfinite(*score))
            return nib__fail(r->err, NIB_ERR_FORMAT,
                             "%s: model.vocab[%u] is not a token and a score", FILE_NAME, id);
        nib_status status =
            nib__hf_tokens_put(&r->tokens, FILE_NAME, id, string_of(j, text), r->err);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

static nib_status put_vocab(reader *r)
{
    if (r->t->model == NIB__UNIGRAM) return put_scored(r);
    nib_status status = NIB_OK;
    for (nib__json_value v = nib__json_first(r->j, r->vocab);
         v != NIB__JSON_NONE && status == NIB_OK; v = nib__json_next(r->j, v)) {
        int64_t id = -1;
        nib__json_integer(r->j, v, &id);
        status = nib__hf_tokens_put(&r->tokens, FILE_NAME, id, key_of(r->j, v), r->err);
    }
    return status;
}

static nib_status put_added(reader *r)
{
    static const struct {
        const char *key;
        uint8_t flag;
    } FLAGS[] = {{"lstrip", NIB__ADDED_LSTRIP},
                 {"rstrip", NIB__ADDED_RSTRIP},
                 {"single_word", NIB__ADDED_SINGLE_WORD},
                 {"normalized", NIB__ADDED_NORMALIZED}};
    const nib__json *j = r->j;
    for (nib__json_value v = nib__json_first(j, r->added); v != NIB__JSON_NONE;
         v = nib__json_next(j, v)) {
        int64_t id = -1;
        nib__str text = nib__hf_token(j, v);
        nib__json_integer(j, nib__json_get(j, v, "id"), &id);
        if (text.len == 0) continue;
        bool in_vocab = id >= 0 && id < r->tokens.n && r->tokens.texts[id].data != NULL;
        nib_status status = nib__hf_tokens_put(&r->tokens, FILE_NAME, id, text, r->err);
        if (status != NIB_OK) return status;
        uint8_t flags = NIB__ADDED;
        for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS; i++)
            if (nib__json_is_true(j, v, FLAGS[i].key)) flags |= FLAGS[i].flag;
        r->tokens.added[id] = flags;
        bool special = nib__json_is_true(j, v, "special");
        r->tokens.type[id] = special    ? NIB__TYPE_CONTROL
                             : in_vocab ? NIB__TYPE_USER
                                        : NIB__TYPE_ADDED;
    }
    return NIB_OK;
}

/* An added token that the vocabulary has under another id would be two tokens. */
static nib_status check_added(const reader *r)
{
    const nib__vocab *v = &r->t->vocab;
    for (uint32_t id = 0; id < v->n; id++) {
        if (!(r->t->pipe->added[id] & NIB__ADDED)) continue;
        nib__str text = nib__vocab_text(v, id);
        int32_t other = nib__vocab_find(v, text.data, text.len);
        if (other != (int32_t)id)
            return nib__fail(r->err, NIB_ERR_FORMAT, "%s: '%.*s' has the ids %d and %u", FILE_NAME,
                             text.len < 60 ? (int)text.len : 60, text.data, other, id);
    }
    return NIB_OK;
}

static nib_status read_vocab(reader *r)
{
    uint64_t highest = 0;
    uint64_t count = (uint64_t)nib__json_count(r->j, r->vocab) + nib__json_count(r->j, r->added);
    nib_status status = highest_id(r, &highest);
    if (status == NIB_OK)
        status = nib__hf_tokens_make(r->hf, FILE_NAME, highest, count, &r->tokens, r->err);
    if (status == NIB_OK) status = put_vocab(r);
    if (status == NIB_OK) status = put_added(r);
    if (status == NIB_OK) status = nib__hf_vocab(r->hf, &r->tokens, r->err);
    if (status == NIB_OK) status = check_added(r);
    return status;
}

/* ---- models ---- */

/* A text such as "unk_token" as the id it has; -1 for null. */
static nib_status read_token(const reader *r, const char *key, int32_t *id)
{
    nib__json_value v = nib__json_get(r->j, r->model, key);
    nib__str text = string_of(r->j, v);
    *id = -1;
    if (text.data == NULL) return NIB_OK;
    *id = nib__vocab_find(&r->t->vocab, text.data, text.len);
    if (*id >= 0) return NIB_OK;
    return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.%s '%.*s' is not in the vocabulary",
                     FILE_NAME, key, text.len < 60 ? (int)text.len : 60, text.data);
}

static nib_status read_affix(const reader *r, const char *key, nib__affix *affix)
{
    nib__str text = string_of(r->j, nib__json_get(r->j, r->model, key));
    if (text.len > NIB__MAX_AFFIX)
        return nib__fail(r->err, NIB_ERR_LIMIT, "%s: model.%s: longer than %d bytes", FILE_NAME,
                         key, NIB__MAX_AFFIX);
    if (text.len != 0) memcpy(affix->text, text.data, text.len);
    affix->len = text.len;
    return NIB_OK;
}

/* ["a b", ...] or [["a", "b"], ...]; the first says which. */
static nib_status read_merges(const reader *r)
{
    nib__json_value list = nib__json_get(r->j, r->model, "merges"), v = nib__json_first(r->j, list);
    if (nib__json_type_of(r->j, list) != NIB__JSON_ARRAY)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.merges is missing", FILE_NAME);
    nib__tokenizer *t = r->t;
    nib_status status =
        nib__merges_make(&t->mem, &t->merges, nib__json_count(r->j, list), t->vocab.seed, r->err);
    if (status != NIB_OK) return status;
    char *joined = nib__alloc_raw(&t->mem, t->vocab.max_text + 1, 1);
    if (joined == NULL) return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for the merges");
    for (uint32_t rank = 0; v != NIB__JSON_NONE && status == NIB_OK;
         rank++, v = nib__json_next(r->j, v)) {
        nib__str left = string_of(r->j, v), right = {NULL, 0};
        if (left.data != NULL) {
            const char *space = memchr(left.data, ' ', left.len);
            if (rank == 0 && left.len > 8 && memcmp(left.data, "#version", 8) == 0) continue;
            if (space != NULL) {
                right = (nib__str){space + 1, left.len - (size_t)(space + 1 - left.data)};
                left.len = (size_t)(space - left.data);
            }
            if (right.data != NULL && memchr(right.data, ' ', right.len) != NULL) right.len = 0;
        } else if (nib__json_count(r->j, v) == 2) {
            nib__json_value first = nib__json_first(r->j, v);
            left = string_of(r->j, first);
            right = string_of(r->j, nib__json_next(r->j, first));
        }
        status = nib__hf_merge(t, FILE_NAME, rank, left, right, joined, r->err);
    }
    nib__free(&t->mem, joined);
    return status;
}

static nib_status read_bpe(const reader *r)
{
    nib__pipeline *p = r->t->pipe;
    nib__json_value dropout = nib__json_get(r->j, r->model, "dropout");
    double chance = 0;
    nib__json_number(r->j, dropout, &chance);
    if (chance != 0)
        return nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                         "%s: model.dropout makes every run different; it must be 0 or null",
                         FILE_NAME);
    p->fuse_unknown = nib__json_is_true(r->j, r->model, "fuse_unk");
    p->byte_fallback = nib__json_is_true(r->j, r->model, "byte_fallback");
    if (nib__json_is_true(r->j, r->model, "ignore_merges"))
        p->pretok.flags |= NIB__PRE_IGNORE_MERGES;
    nib_status status = read_affix(r, "continuing_subword_prefix", &p->prefix);
    if (status == NIB_OK) status = read_affix(r, "end_of_word_suffix", &p->suffix);
    if (status == NIB_OK) status = read_token(r, "unk_token", &p->unknown);
    if (status == NIB_OK && p->byte_fallback && p->prefix.len + p->suffix.len != 0)
        status = nib__fail(r->err, NIB_ERR_UNSUPPORTED,
                           "%s: model.byte_fallback together with a prefix or suffix", FILE_NAME);
    return status == NIB_OK ? read_merges(r) : status;
}

static nib_status read_unigram(const reader *r)
{
    int64_t unknown = -1;
    nib__json_value v = nib__json_get(r->j, r->model, "unk_id");
    bool given = nib__json_integer(r->j, v, &unknown);
    if (given && (unknown < 0 || unknown >= nib__json_count(r->j, r->vocab)))
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.unk_id %lld is not in the vocabulary",
                         FILE_NAME, (long long)unknown);
    r->t->pipe->unknown = given ? (int32_t)unknown : -1;
    r->t->pipe->byte_fallback = nib__json_is_true(r->j, r->model, "byte_fallback");
    return NIB_OK;
}

static nib_status read_words(const reader *r)
{
    nib__pipeline *p = r->t->pipe;
    int64_t most = 100;
    nib_status status = read_token(r, "unk_token", &p->unknown);
    if (status != NIB_OK) return status;
    if (p->unknown < 0)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.unk_token is missing", FILE_NAME);
    if (r->t->model == NIB__WORDLEVEL) return NIB_OK;
    nib__json_integer(r->j, nib__json_get(r->j, r->model, "max_input_chars_per_word"), &most);
    if (most < 0 || most > UINT32_MAX)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model.max_input_chars_per_word: %lld",
                         FILE_NAME, (long long)most);
    p->max_word = (uint32_t)most;
    p->prefix = (nib__affix){"##", 2};
    nib__json_value prefix = nib__json_get(r->j, r->model, "continuing_subword_prefix");
    if (nib__json_type_of(r->j, prefix) == NIB__JSON_STRING)
        status = read_affix(r, "continuing_subword_prefix", &p->prefix);
    return status;
}

/* Older files leave the type out. */
static nib_status choose_model(reader *r)
{
    static const struct {
        const char *name;
        nib__token_model model;
    } MODELS[] = {{"BPE", NIB__BPE},
                  {"Unigram", NIB__UNIGRAM},
                  {"WordPiece", NIB__WORDPIECE},
                  {"WordLevel", NIB__WORDLEVEL}};
    nib__json_value type = nib__json_get(r->j, r->model, "type");
    if (nib__json_type_of(r->j, r->model) != NIB__JSON_OBJECT)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s: model is missing", FILE_NAME);
    size_t which = 4;
    for (size_t i = 0; i < 4; i++)
        if (nib__json_equals(r->j, type, MODELS[i].name)) which = i;
    if (type == NIB__JSON_NONE) {
        bool list = nib__json_type_of(r->j, r->vocab) == NIB__JSON_ARRAY;
        bool merges = nib__json_get(r->j, r->model, "merges") != NIB__JSON_NONE;
        bool prefix = nib__json_get(r->j, r->model, "continuing_subword_prefix") != NIB__JSON_NONE;
        which = list ? 1 : merges ? 0 : prefix ? 2 : 3;
    }
    if (which == 4) return nib__hf_unknown(r->err, "tokenizer.json: model", r->j, type);
    r->t->model = MODELS[which].model;
    nib__text(r->t->name, sizeof r->t->name, "hf/%s", MODELS[which].name);
    return NIB_OK;
}

static nib_status read_model(const reader *r)
{
    switch (r->t->model) {
    case NIB__BPE: return read_bpe(r);
    case NIB__UNIGRAM: return read_unigram(r);
    default: return read_words(r);
    }
}

static nib_status read_document(reader *r)
{
    const nib__json *j = r->j;
    nib__json_value normalizer = nib__json_get(j, 0, "normalizer");
    nib__json_value pretokenizer = nib__json_get(j, 0, "pre_tokenizer");
    if (nib__json_type_of(j, 0) != NIB__JSON_OBJECT)
        return nib__fail(r->err, NIB_ERR_FORMAT, "%s is not an object", FILE_NAME);
    r->model = nib__json_get(j, 0, "model");
    r->vocab = nib__json_get(j, r->model, "vocab");
    r->added = nib__json_get(j, 0, "added_tokens");
    nib_status status = choose_model(r);
    if (status == NIB_OK) status = read_vocab(r);
    if (status == NIB_OK) status = read_model(r);
    if (status == NIB_OK) status = nib__hf_normalizer(r->hf, j, normalizer, r->err);
    if (status == NIB_OK) status = nib__hf_pretokenizer(r->hf, j, pretokenizer, r->err);
    if (status == NIB_OK)
        status = nib__hf_frame(r->hf, j, nib__json_get(j, 0, "post_processor"), r->err);
    if (status == NIB_OK) status = nib__hf_special(r->hf, r->err);
    if (status == NIB_OK)
        status = nib__hf_decoder(r->hf, j, nib__json_get(j, 0, "decoder"), r->err);
    return status;
}

nib_status nib__hf_json_read(nib__hf *hf, nib__str bytes, nib_error *err)
{
    nib__json *j = NULL;
    nib_status status = nib__json_parse(hf->mem, FILE_NAME, bytes.data, bytes.len, &j, err);
    if (status != NIB_OK) return status;
    reader r = {.hf = hf, .t = hf->t, .j = j, .err = err};
    status = read_document(&r);
    nib__hf_tokens_free(hf, &r.tokens);
    nib__json_free(j);
    return status;
}
