/* SPDX-License-Identifier: MIT
 * The tokenizer of a Hugging Face directory: which of its files describe it, the way transformers
 * chooses, and what every kind of them shares. */
#include "token/pipeline.h"

nib_status nib__hf_parse(const nib__hf *hf, const char *name, nib__json **json, nib_error *err)
{
    nib__str bytes = {NULL, 0};
    *json = NULL;
    int32_t got = hf->files->get(hf->files->ctx, name, &bytes, err);
    if (got == NIB__ABSENT) return NIB_OK;
    if (got != NIB_OK) return got;
    nib_status status = nib__json_parse(hf->mem, name, bytes.data, bytes.len, json, err);
    if (status != NIB_OK || nib__json_type_of(*json, 0) == NIB__JSON_OBJECT) return status;
    return nib__fail(err, NIB_ERR_FORMAT, "%s: expected an object", name);
}

nib__str nib__hf_class(const nib__hf *hf)
{
    static const char TAIL[] = "Tokenizer", FAST[] = "Fast";
    nib__str name = {NULL, 0};
    if (hf->tokenizer_config == NULL) return name;
    nib__json_value v = nib__json_get(hf->tokenizer_config, 0, "tokenizer_class");
    name.data = nib__json_string(hf->tokenizer_config, v, &name.len);
    size_t fast = sizeof FAST - 1, tail = sizeof TAIL - 1;
    if (name.len > fast && memcmp(name.data + name.len - fast, FAST, fast) == 0) name.len -= fast;
    if (name.len > tail && memcmp(name.data + name.len - tail, TAIL, tail) == 0) name.len -= tail;
    return name;
}

nib__str nib__hf_token(const nib__json *j, nib__json_value v)
{
    nib__str text = {NULL, 0};
    if (j == NULL) return text;
    if (nib__json_type_of(j, v) == NIB__JSON_OBJECT) v = nib__json_get(j, v, "content");
    text.data = nib__json_string(j, v, &text.len);
    return text;
}

nib__str nib__hf_role(const nib__hf *hf, const char *role)
{
    const nib__json *files[2] = {hf->tokenizer_config, hf->special_map};
    nib__str text = {NULL, 0};
    for (int i = 0; i < 2 && text.data == NULL; i++)
        if (files[i] != NULL) text = nib__hf_token(files[i], nib__json_get(files[i], 0, role));
    return text;
}

bool nib__json_is_true(const nib__json *j, nib__json_value object, const char *key)
{
    return j != NULL && nib__json_type_of(j, nib__json_get(j, object, key)) == NIB__JSON_TRUE;
}

nib_status nib__hf_unknown(nib_error *err, const char *what, const nib__json *j, nib__json_value v)
{
    size_t len;
    const char *name = nib__json_string(j, v, &len);
    if (name == NULL) return nib__fail(err, NIB_ERR_FORMAT, "%s: its type is no text", what);
    int shown = len < 80 ? (int)len : 80;
    return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s: '%.*s' is not supported", what, shown, name);
}

nib__hf_walk nib__hf_walk_start(const nib__json *j, nib__json_value v, const char *list)
{
    return (nib__hf_walk){.j = j, .list = list, .at = {v}, .depth = 1};
}

nib_status nib__hf_walk_next(nib__hf_walk *w, nib__json_value *part, nib_error *err)
{
    for (;;) {
        while (w->depth > 0 && w->at[w->depth - 1] == NIB__JSON_NONE) w->depth--;
        *part = NIB__JSON_NONE;
        if (w->depth == 0) return NIB_OK;
        nib__json_value *at = &w->at[w->depth - 1], v = *at;
        *at = w->depth == 1 ? NIB__JSON_NONE : nib__json_next(w->j, v);
        *part = v;
        if (!nib__json_equals(w->j, nib__json_get(w->j, v, "type"), "Sequence")) return NIB_OK;
        nib__json_value list = nib__json_get(w->j, v, w->list);
        if (w->depth == NIB__HF_DEPTH || nib__json_type_of(w->j, list) != NIB__JSON_ARRAY)
            return nib__fail(err, NIB_ERR_FORMAT,
                             "tokenizer.json: a Sequence without %s, or nested too deeply",
                             w->list);
        w->at[w->depth++] = nib__json_first(w->j, list);
    }
}

/* ---- tokens on their way into the vocabulary ---- */

/* Rows that a model has above its last token, so that every id it can draw is in range. */
static uint64_t vocab_size(const nib__hf *hf)
{
    enum { MOST = 1 << 23 };
    int64_t size = 0, inner = 0;
    if (hf->config == NULL) return 0;
    nib__json_value text = nib__json_get(hf->config, 0, "text_config");
    nib__json_integer(hf->config, nib__json_get(hf->config, 0, "vocab_size"), &size);
    nib__json_integer(hf->config, nib__json_get(hf->config, text, "vocab_size"), &inner);
    if (size <= 0) size = inner;
    nib__json_value type = nib__json_get(hf->config, 0, "model_type");
    if (size <= 0 && nib__json_equals(hf->config, type, "gemma3")) size = 262208; /* unsaid there */
    return size > 0 && size <= MOST ? (uint64_t)size : 0;
}

nib_status nib__hf_tokens_make(const nib__hf *hf, const char *file, uint64_t highest,
                               uint64_t count, nib__hf_tokens *tokens, nib_error *err)
{
    *tokens = (nib__hf_tokens){0};
    if (highest >= INT32_MAX / 2 || highest / 16 > count + 4096)
        return nib__fail(err, NIB_ERR_LIMIT, "%s: id %llu in a vocabulary of %llu tokens", file,
                         (unsigned long long)highest, (unsigned long long)count);
    uint64_t n = vocab_size(hf);
    if (n < highest + 1 && count != 0) n = highest + 1;
    tokens->n = (uint32_t)n;
    tokens->texts = nib__alloc(hf->mem, (size_t)n + 1, sizeof *tokens->texts);
    tokens->added = nib__alloc(hf->mem, (size_t)n + 1, 1);
    tokens->type = nib__alloc(hf->mem, (size_t)n + 1, 1);
    if (tokens->texts == NULL || tokens->added == NULL || tokens->type == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    return NIB_OK;
}

nib_status nib__hf_tokens_put(nib__hf_tokens *tokens, const char *file, int64_t id, nib__str text,
                              nib_error *err)
{
    int shown = text.len < 60 ? (int)text.len : 60;
    if (id < 0 || id >= tokens->n)
        return nib__fail(err, NIB_ERR_FORMAT, "%s: '%.*s' has the id %lld", file, shown, text.data,
                         (long long)id);
    nib__str *there = &tokens->texts[id];
    if (there->data != NULL && (there->len != text.len || memcmp(there->data, text.data, text.len)))
        return nib__fail(err, NIB_ERR_FORMAT, "%s: id %lld is both '%.*s' and '%.*s'", file,
                         (long long)id, there->len < 60 ? (int)there->len : 60, there->data, shown,
                         text.data);
    *there = text;
    return NIB_OK;
}

void nib__hf_tokens_free(const nib__hf *hf, nib__hf_tokens *tokens)
{
    nib__free(hf->mem, tokens->texts);
    nib__free(hf->mem, tokens->added);
    nib__free(hf->mem, tokens->type);
}

nib_status nib__hf_vocab(const nib__hf *hf, nib__hf_tokens *tokens, nib_error *err)
{
    nib__tokenizer *t = hf->t;
    nib_status status = nib__vocab_make(&t->mem, &t->vocab, tokens->texts, tokens->n, err);
    if (status != NIB_OK) return status;
    for (uint32_t id = 0; id < tokens->n; id++)
        if (tokens->type[id] != 0) t->vocab.type[id] = tokens->type[id];
    t->pipe->added = tokens->added;
    tokens->added = NULL;
    return NIB_OK;
}

nib_status nib__hf_merge(nib__tokenizer *t, const char *file, uint32_t rank, nib__str left,
                         nib__str right, char *joined, nib_error *err)
{
    size_t skip = t->pipe->prefix.len, room = t->vocab.max_text;
    if (left.len != 0 && right.len > skip && left.len <= room &&
        right.len - skip <= room - left.len) {
        memcpy(joined, left.data, left.len);
        memcpy(joined + left.len, right.data + skip, right.len - skip);
        int32_t a = nib__vocab_find(&t->vocab, left.data, left.len);
        int32_t b = nib__vocab_find(&t->vocab, right.data, right.len);
        int32_t c = nib__vocab_find(&t->vocab, joined, left.len + right.len - skip);
        if (a >= 0 && b >= 0 && c >= 0) {
            nib__merge_pair pair = {(uint32_t)a, (uint32_t)b, rank, (uint32_t)c};
            nib__merges_add(&t->merges, pair, true);
            return NIB_OK;
        }
    }
    return nib__fail(err, NIB_ERR_FORMAT, "%s: merge %u: '%.*s' and '%.*s' do not join to a token",
                     file, rank, left.len < 60 ? (int)left.len : 60, left.data,
                     right.len < 60 ? (int)right.len : 60, right.data);
}

/* ---- choice ---- */

/* A model without a tokenizer: ids without text. */
static nib_status read_nothing(nib__hf *hf, nib_error *err)
{
    nib__tokenizer *t = hf->t;
    nib__hf_tokens tokens;
    t->model = NIB__NO_MODEL;
    nib__text(t->name, sizeof t->name, "none");
    nib_status status = nib__hf_tokens_make(hf, "config.json", 0, 0, &tokens, err);
    if (status == NIB_OK) status = nib__hf_vocab(hf, &tokens, err);
    nib__hf_tokens_free(hf, &tokens);
    if (status != NIB_OK) return status;
    nib__json_value none = NIB__JSON_NONE;
    return nib__hf_decoder(hf, NULL, none, err);
}

static nib_status read_kind(nib__hf *hf, nib_error *err)
{
    nib__str first = {NULL, 0}, second = {NULL, 0};
    const nib__token_files *f = hf->files;
    int32_t got = f->get(f->ctx, "tokenizer.json", &first, err);
    if (got == NIB_OK) return nib__hf_json_read(hf, first, err);
    if (got < 0) return got;
    got = f->get(f->ctx, "vocab.json", &first, err);
    if (got == NIB_OK) got = f->get(f->ctx, "merges.txt", &second, err);
    if (got == NIB_OK) return nib__hf_files_read(hf, first, second, err);
    if (got < 0) return got;
    static const char *const MODELS[] = {"sentencepiece.bpe.model", "spiece.model",
                                         "tokenizer.model", "sentencepiece.model"};
    for (size_t i = 0; i < sizeof MODELS / sizeof *MODELS; i++) {
        got = f->get(f->ctx, MODELS[i], &first, err);
        if (got == NIB_OK) return nib__hf_spm_read(hf, MODELS[i], first, err);
        if (got < 0) return got;
    }
    nib__str class = nib__hf_class(hf);
    if (class.len == 4 && memcmp(class.data, "ByT5", 4) == 0) return nib__hf_byt5_read(hf, err);
    return read_nothing(hf, err);
}

static nib_status read_all(nib__hf *hf, nib_error *err)
{
    nib__tokenizer *t = hf->t;
    for (uint32_t i = 0; i < NIB__N_SPECIAL; i++) t->ids[i] = -1;
    t->sep_id = -1;
    nib_status status = nib__pipeline_make(t, err);
    if (status == NIB_OK)
        status = nib__hf_parse(hf, "tokenizer_config.json", &hf->tokenizer_config, err);
    if (status == NIB_OK)
        status = nib__hf_parse(hf, "special_tokens_map.json", &hf->special_map, err);
    if (status == NIB_OK)
        status = nib__hf_parse(hf, "generation_config.json", &hf->generation, err);
    if (status == NIB_OK) status = nib__hf_parse(hf, "config.json", &hf->config, err);
    if (status == NIB_OK) status = read_kind(hf, err);
    if (status == NIB_OK) status = nib__pipeline_finish(t, err);
    if (status == NIB_OK && t->model == NIB__UNIGRAM) status = nib__unigram_prepare(t, err);
    if (status == NIB_OK && t->model == NIB__WORDPIECE) status = nib__wordpiece_prepare(t, err);
    return status;
}

nib_status nib__tokenizer_from_files(const nib_allocator *mem, const nib__token_files *files,
                                     nib__tokenizer **tokenizer, nib_error *err)
{
    nib_allocator allocator = nib__allocator(mem);
    nib__hf hf = {.files = files, .mem = &allocator};
    hf.t = nib__alloc(&allocator, 1, sizeof *hf.t);
    if (hf.t == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
    hf.t->mem = allocator;
    nib_status status = read_all(&hf, err);
    nib__json_free(hf.tokenizer_config);
    nib__json_free(hf.special_map);
    nib__json_free(hf.generation);
    nib__json_free(hf.config);
    if (status != NIB_OK) {
        nib__tokenizer_free(hf.t);
        return status;
    }
    *tokenizer = hf.t;
    return NIB_OK;
}
