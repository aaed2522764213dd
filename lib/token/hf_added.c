/* SPDX-License-Identifier: MIT
 * Added tokens of a folder without tokenizer.json: added_tokens_decoder of tokenizer_config.json,
 * added_tokens.json, and the special tokens that either configuration names. */
#include "token/pipeline.h"

enum { MOST_ADDED = 4096 };

/* They come from both; a later one may contradict an earlier one. */
static const char FILES[] = "added_tokens.json and tokenizer_config.json";

static bool same(nib__str a, nib__str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static nib_status add(nib__hf_added *list, nib__hf_added_token token, nib_error *err)
{
    if (token.text.len == 0) return NIB_OK;
    for (uint32_t i = 0; i < list->n; i++)
        if (same(list->items[i].text, token.text)) {
            list->items[i].special |= token.special;
            if (list->items[i].id < 0) list->items[i].id = token.id;
            return NIB_OK;
        }
    if (list->n == MOST_ADDED)
        return nib__fail(err, NIB_ERR_LIMIT, "%s: more than %d added tokens", FILES, MOST_ADDED);
    list->items[list->n++] = token;
    return NIB_OK;
}

static uint8_t flags_of(const nib__json *j, nib__json_value v)
{
    uint8_t flags = 0;
    if (nib__json_is_true(j, v, "lstrip")) flags |= NIB__ADDED_LSTRIP;
    if (nib__json_is_true(j, v, "rstrip")) flags |= NIB__ADDED_RSTRIP;
    if (nib__json_is_true(j, v, "single_word")) flags |= NIB__ADDED_SINGLE_WORD;
    return flags;
}

/* "added_tokens_decoder" of tokenizer_config.json: {"50256": {"content": ...}} */
static nib_status add_decoder(const nib__hf *hf, nib__hf_added *list, nib_error *err)
{
    const nib__json *j = hf->tokenizer_config;
    if (j == NULL) return NIB_OK;
    nib__json_value v = nib__json_first(j, nib__json_get(j, 0, "added_tokens_decoder"));
    for (; v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        size_t len;
        const char *key = nib__json_key(j, v, &len);
        nib__hf_added_token token = {nib__hf_token(j, v), 0, flags_of(j, v),
                                     nib__json_is_true(j, v, "special"), true};
        for (size_t i = 0; i < len && token.id >= 0; i++)
            token.id = key[i] >= '0' && key[i] <= '9' && token.id < INT32_MAX
                           ? token.id * 10 + (key[i] - '0')
                           : -1;
        if (len == 0 || token.id < 0)
            return nib__fail(err, NIB_ERR_FORMAT,
                             "tokenizer_config.json: added_tokens_decoder: '%.*s' is no id",
                             len < 40 ? (int)len : 40, key);
        nib_status status = add(list, token, err);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

/* added_tokens.json: {"<mask>": 50264} */
static nib_status add_file(const nib__hf *hf, nib__hf_added *list, nib_error *err)
{
    nib_status status = nib__hf_parse(hf, "added_tokens.json", &list->file, err);
    if (status != NIB_OK || list->file == NULL) return status;
    const nib__json *j = list->file;
    for (nib__json_value v = nib__json_first(j, 0); v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        nib__hf_added_token token = {.id = -1};
        token.text.data = nib__json_key(j, v, &token.text.len);
        if (!nib__json_integer(j, v, &token.id) || token.id < 0)
            return nib__fail(err, NIB_ERR_FORMAT, "added_tokens.json: '%.*s' has no id",
                             token.text.len < 40 ? (int)token.text.len : 40, token.text.data);
        status = add(list, token, err);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

/* `plain`: what a token that is only a text does. */
static nib_status add_role(nib__hf_added *list, const nib__json *j, const char *role, uint8_t plain,
                           nib_error *err)
{
    nib__json_value v = nib__json_get(j, 0, role);
    nib__hf_added_token token = {nib__hf_token(j, v), -1, flags_of(j, v), true, false};
    if (nib__json_type_of(j, v) == NIB__JSON_STRING) token.flags = plain;
    return add(list, token, err);
}

/* Special tokens in the order in which transformers gives them ids. */
static nib_status add_roles(const nib__hf *hf, const char *const defaults[7], nib__hf_added *list,
                            nib_error *err)
{
    static const char *const ROLES[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    const nib__json *files[2] = {hf->tokenizer_config, hf->special_map};
    nib_status status = NIB_OK;
    for (size_t i = 0; i < 7 && status == NIB_OK; i++) {
        bool given = nib__hf_role(hf, ROLES[i]).data != NULL;
        bool mask = i == 6 && defaults != NULL && defaults[i] != NULL; /* RoBERTa's */
        uint8_t plain = mask ? NIB__ADDED_LSTRIP : 0;
        for (int f = 0; f < 2 && status == NIB_OK; f++)
            if (files[f] != NULL) status = add_role(list, files[f], ROLES[i], plain, err);
        if (status != NIB_OK || given || defaults == NULL || defaults[i] == NULL) continue;
        nib__hf_added_token token = {{defaults[i], strlen(defaults[i])}, -1, plain, true, false};
        status = add(list, token, err);
    }
    for (int f = 0; f < 2 && status == NIB_OK; f++) {
        const nib__json *j = files[f];
        if (j == NULL) continue;
        nib__json_value v = nib__json_first(j, nib__json_get(j, 0, "additional_special_tokens"));
        for (; v != NIB__JSON_NONE && status == NIB_OK; v = nib__json_next(j, v)) {
            nib__hf_added_token token = {nib__hf_token(j, v), -1, flags_of(j, v), true, false};
            status = add(list, token, err);
        }
    }
    return status;
}

nib_status nib__hf_added_read(const nib__hf *hf, const char *const defaults[7], nib__hf_added *list,
                              nib_error *err)
{
    list->items = nib__alloc(hf->mem, MOST_ADDED, sizeof *list->items);
    if (list->items == NULL)
        return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
    nib_status status = add_decoder(hf, list, err);
    if (status == NIB_OK) status = add_file(hf, list, err);
    return status == NIB_OK ? add_roles(hf, defaults, list, err) : status;
}

void nib__hf_added_free(const nib__hf *hf, nib__hf_added *list)
{
    nib__json_free(list->file);
    nib__free(hf->mem, list->items);
}

nib_status nib__hf_added_found(nib__hf_added *list, nib__str text, int64_t id, nib_error *err)
{
    for (uint32_t i = 0; i < list->n; i++) {
        nib__hf_added_token *token = &list->items[i];
        if (!same(token->text, text)) continue;
        if (token->id >= 0 && token->id != id)
            return nib__fail(err, NIB_ERR_UNSUPPORTED,
                             "%s: '%.*s' has the id %lld, and %lld in the vocabulary", FILES,
                             text.len < 60 ? (int)text.len : 60, text.data, (long long)token->id,
                             (long long)id);
        token->id = id;
    }
    return NIB_OK;
}

int64_t nib__hf_added_number(nib__hf_added *list, int64_t highest)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (list->items[i].id > highest) highest = list->items[i].id;
    for (uint32_t i = 0; i < list->n; i++)
        if (list->items[i].id < 0) list->items[i].id = ++highest;
    return highest;
}

nib_status nib__hf_added_put(const nib__hf_added *list, nib__hf_tokens *tokens, nib_error *err)
{
    for (uint32_t i = 0; i < list->n; i++) {
        const nib__hf_added_token *a = &list->items[i];
        bool in_vocab = tokens->texts[a->id].data != NULL;
        nib_status status = nib__hf_tokens_put(tokens, FILES, a->id, a->text, err);
        if (status != NIB_OK) return status;
        tokens->added[a->id] = NIB__ADDED | a->flags | (a->exact ? 0 : tokens->added[a->id]);
        if (a->special)
            tokens->type[a->id] = NIB__TYPE_CONTROL;
        else if (tokens->type[a->id] != NIB__TYPE_CONTROL)
            tokens->type[a->id] = in_vocab ? NIB__TYPE_USER : NIB__TYPE_ADDED;
    }
    return NIB_OK;
}
