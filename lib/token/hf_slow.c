/* SPDX-License-Identifier: MIT
 * vocab.json and merges.txt, without a tokenizer.json: byte-level BPE as the tokenizers of GPT-2
 * and RoBERTa define it. Which of the two, tokenizer_config.json says, or the special tokens of the
 * vocabulary do. */
#include "token/pipeline.h"

enum { MOST_ADDED = 4096 };

typedef struct added_token {
    nib__str text;
    int64_t id; /* -1: the next free one */
    uint8_t flags;
    bool special;
} added_token;

typedef struct reader {
    nib__hf *hf;
    nib__json *vocab, *added_json;
    nib__hf_tokens tokens;
    added_token *added; /* [n_added] */
    uint32_t n_added;
    int64_t next_id;
    nib_error *err;
} reader;

static nib_status no_memory(const reader *r)
{
    return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
}

/* ---- added tokens ---- */

/* They come from both; a later one may contradict an earlier one. */
static const char ADDED_FILES[] = "added_tokens.json and tokenizer_config.json";

static bool same(nib__str a, nib__str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static nib_status add(reader *r, added_token token)
{
    if (token.text.len == 0) return NIB_OK;
    for (uint32_t i = 0; i < r->n_added; i++)
        if (same(r->added[i].text, token.text)) {
            r->added[i].special |= token.special;
            if (r->added[i].id < 0) r->added[i].id = token.id;
            return NIB_OK;
        }
    if (r->n_added == MOST_ADDED)
        return nib__fail(r->err, NIB_ERR_LIMIT, "%s: more than %d added tokens", ADDED_FILES,
                         MOST_ADDED);
    r->added[r->n_added++] = token;
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
static nib_status add_decoder(reader *r)
{
    const nib__json *j = r->hf->tokenizer_config;
    if (j == NULL) return NIB_OK;
    nib__json_value v = nib__json_first(j, nib__json_get(j, 0, "added_tokens_decoder"));
    for (; v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        size_t len;
        const char *key = nib__json_key(j, v, &len);
        added_token token = {nib__hf_token(j, v), 0, flags_of(j, v),
                             nib__json_is_true(j, v, "special")};
        for (size_t i = 0; i < len && token.id >= 0; i++)
            token.id = key[i] >= '0' && key[i] <= '9' && token.id < INT32_MAX
                           ? token.id * 10 + (key[i] - '0')
                           : -1;
        if (len == 0 || token.id < 0)
            return nib__fail(r->err, NIB_ERR_FORMAT,
                             "tokenizer_config.json: added_tokens_decoder: '%.*s' is no id",
                             len < 40 ? (int)len : 40, key);
        nib_status status = add(r, token);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

/* added_tokens.json: {"<mask>": 50264} */
static nib_status add_file(reader *r)
{
    nib_status status = nib__hf_parse(r->hf, "added_tokens.json", &r->added_json, r->err);
    if (status != NIB_OK || r->added_json == NULL) return status;
    const nib__json *j = r->added_json;
    for (nib__json_value v = nib__json_first(j, 0); v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        added_token token = {.id = -1};
        token.text.data = nib__json_key(j, v, &token.text.len);
        if (!nib__json_integer(j, v, &token.id) || token.id < 0)
            return nib__fail(r->err, NIB_ERR_FORMAT, "added_tokens.json: '%.*s' has no id",
                             token.text.len < 40 ? (int)token.text.len : 40, token.text.data);
        status = add(r, token);
        if (status != NIB_OK) return status;
    }
    return NIB_OK;
}

static nib_status add_role(reader *r, const nib__json *j, const char *role, const char *missing)
{
    added_token token = {.id = -1, .special = true};
    if (j != NULL) {
        nib__json_value v = nib__json_get(j, 0, role);
        token.text = nib__hf_token(j, v);
        token.flags = flags_of(j, v);
    }
    if (token.text.data == NULL && missing != NULL) {
        token.text = (nib__str){missing, strlen(missing)};
        if (strcmp(role, "mask_token") == 0) token.flags = NIB__ADDED_LSTRIP;
    }
    return add(r, token);
}

/* Special tokens in the order in which transformers gives them ids. */
static nib_status add_roles(reader *r, bool roberta)
{
    static const char *const ROLES[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                        "pad_token", "cls_token", "mask_token"};
    static const char *const ROBERTA[] = {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"};
    const nib__json *files[2] = {r->hf->tokenizer_config, r->hf->special_map};
    for (size_t i = 0; i < 7; i++) {
        const char *gpt = i < 3 ? "<|endoftext|>" : NULL;
        bool given = nib__hf_role(r->hf, ROLES[i]).data != NULL;
        nib_status status = NIB_OK;
        for (int f = 0; f < 2 && status == NIB_OK; f++)
            status = add_role(r, files[f], ROLES[i], NULL);
        if (status == NIB_OK && !given)
            status = add_role(r, NULL, ROLES[i], roberta ? ROBERTA[i] : gpt);
        if (status != NIB_OK) return status;
    }
    for (int f = 0; f < 2; f++) {
        if (files[f] == NULL) continue;
        nib__json_value v =
            nib__json_first(files[f], nib__json_get(files[f], 0, "additional_special_tokens"));
        for (; v != NIB__JSON_NONE; v = nib__json_next(files[f], v)) {
            added_token token = {nib__hf_token(files[f], v), -1, flags_of(files[f], v), true};
            nib_status status = add(r, token);
            if (status != NIB_OK) return status;
        }
    }
    return NIB_OK;
}

/* ---- vocabulary ---- */

static nib_status find_ids(reader *r)
{
    const nib__json *j = r->vocab;
    int64_t highest = -1;
    for (nib__json_value v = nib__json_first(j, 0); v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        int64_t id = -1;
        size_t len;
        const char *key = nib__json_key(j, v, &len);
        if (!nib__json_integer(j, v, &id) || id < 0)
            return nib__fail(r->err, NIB_ERR_FORMAT, "vocab.json: '%.*s' has no id",
                             len < 60 ? (int)len : 60, key);
        if (id > highest) highest = id;
        for (uint32_t i = 0; i < r->n_added; i++)
            if (same(r->added[i].text, (nib__str){key, len})) r->added[i].id = id;
    }
    if (highest < 0) return nib__fail(r->err, NIB_ERR_FORMAT, "vocab.json is empty");
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i].id > highest) highest = r->added[i].id;
    for (uint32_t i = 0; i < r->n_added; i++)
        if (r->added[i].id < 0) r->added[i].id = ++highest;
    return nib__hf_tokens_make(r->hf, "vocab.json", (uint64_t)highest,
                               (uint64_t)nib__json_count(j, 0) + r->n_added, &r->tokens, r->err);
}

static nib_status put_tokens(reader *r)
{
    const nib__json *j = r->vocab;
    nib_status status = NIB_OK;
    for (nib__json_value v = nib__json_first(j, 0); v != NIB__JSON_NONE && status == NIB_OK;
         v = nib__json_next(j, v)) {
        int64_t id = -1;
        nib__str text;
        text.data = nib__json_key(j, v, &text.len);
        nib__json_integer(j, v, &id);
        status = nib__hf_tokens_put(&r->tokens, "vocab.json", id, text, r->err);
    }
    for (uint32_t i = 0; i < r->n_added && status == NIB_OK; i++) {
        const added_token *a = &r->added[i];
        bool in_vocab = r->tokens.texts[a->id].data != NULL;
        status = nib__hf_tokens_put(&r->tokens, ADDED_FILES, a->id, a->text, r->err);
        if (status != NIB_OK) break;
        r->tokens.added[a->id] = NIB__ADDED | a->flags;
        r->tokens.type[a->id] = a->special ? NIB__TYPE_CONTROL
                                : in_vocab ? NIB__TYPE_USER
                                           : NIB__TYPE_ADDED;
    }
    return status == NIB_OK ? nib__hf_vocab(r->hf, &r->tokens, r->err) : status;
}

/* Lines "left right"; a first line "#version" and empty lines say nothing. */
static nib_status read_merges(reader *r, nib__str text)
{
    nib__tokenizer *t = r->hf->t;
    uint64_t lines = 1;
    for (size_t i = 0; i < text.len; i++) lines += text.data[i] == '\n';
    nib_status status = nib__merges_make(&t->mem, &t->merges, lines, t->vocab.seed, r->err);
    if (status != NIB_OK) return status;
    char *joined = nib__alloc_raw(&t->mem, t->vocab.max_text + 1, 1);
    if (joined == NULL) return no_memory(r);
    uint32_t rank = 0;
    for (size_t at = 0, end; at < text.len && status == NIB_OK; at = end + 1) {
        const char *line = text.data + at;
        const char *stop = memchr(line, '\n', text.len - at);
        end = stop == NULL ? text.len : (size_t)(stop - text.data);
        size_t len = end - at;
        if (len > 0 && line[len - 1] == '\r') len--;
        if (len == 0 || (at == 0 && len >= 8 && memcmp(line, "#version", 8) == 0)) continue;
        const char *space = memchr(line, ' ', len);
        nib__str left = {line, space == NULL ? 0 : (size_t)(space - line)}, right = {line, 0};
        if (space != NULL) right = (nib__str){space + 1, len - left.len - 1};
        status = nib__hf_merge(t, "merges.txt", rank++, left, right, joined, r->err);
    }
    nib__free(&t->mem, joined);
    return status;
}

/* ---- what differs between GPT-2 and RoBERTa ---- */

static bool is_one_of(nib__str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (same(name, (nib__str){names[i], strlen(names[i])})) return true;
    return false;
}

static nib_status choose(const reader *r, bool *roberta)
{
    static const char *const GPT[] = {"GPT2", "CodeGen", "GPTNeoX", "Qwen2", "PreTrained"};
    static const char *const ROBERTA[] = {"Roberta", "Bart", "Longformer", "LED", "Blenderbot"};
    nib__str name = nib__hf_class(r->hf);
    *roberta = is_one_of(name, ROBERTA, sizeof ROBERTA / sizeof *ROBERTA);
    if (*roberta || is_one_of(name, GPT, sizeof GPT / sizeof *GPT)) return NIB_OK;
    if (name.len != 0)
        return nib__fail(
            r->err, NIB_ERR_UNSUPPORTED,
            "tokenizer_config.json: tokenizer_class '%.*sTokenizer' with vocab.json is "
            "not supported; a tokenizer.json would be read",
            name.len < 60 ? (int)name.len : 60, name.data);
    const char *const marks[] = {"<s>", "</s>", "<pad>", "<unk>"};
    uint32_t found = 0;
    for (size_t i = 0; i < 4; i++) found += nib__json_get(r->vocab, 0, marks[i]) != NIB__JSON_NONE;
    bool gpt = nib__json_get(r->vocab, 0, "<|endoftext|>") != NIB__JSON_NONE;
    *roberta = found == 4 && !gpt;
    return NIB_OK;
}

static void put_frame(nib__tokenizer *t, const reader *r, bool roberta)
{
    nib__pipeline *p = t->pipe;
    const nib__json *j = r->hf->tokenizer_config;
    nib__str cls = nib__hf_role(r->hf, roberta ? "cls_token" : "bos_token");
    nib__str sep = nib__hf_role(r->hf, roberta ? "sep_token" : "eos_token");
    if (cls.data == NULL && roberta) cls = (nib__str){"<s>", 3};
    if (sep.data == NULL && roberta) sep = (nib__str){"</s>", 4};
    if (cls.data == NULL) cls = (nib__str){"<|endoftext|>", 13};
    if (roberta || nib__json_is_true(j, 0, "add_bos_token")) {
        int32_t id = nib__vocab_find(&t->vocab, cls.data, cls.len);
        if (id >= 0) p->before[p->n_before++] = id;
    }
    if (roberta) {
        int32_t id = nib__vocab_find(&t->vocab, sep.data, sep.len);
        if (id >= 0) p->after[p->n_after++] = id;
    }
}

static nib_status read_all(reader *r, nib__str merges)
{
    nib__tokenizer *t = r->hf->t;
    bool roberta = false;
    nib__rule rule = {.find = nib__find_gpt2};
    t->pipe->space_first = nib__json_is_true(r->hf->tokenizer_config, 0, "add_prefix_space");
    t->model = NIB__BPE;
    t->byte_level = true;
    nib_status status = choose(r, &roberta);
    t->pipe->unless_space = roberta;
    nib__text(t->name, sizeof t->name, roberta ? "hf/roberta" : "hf/gpt2");
    if (status == NIB_OK) status = add_decoder(r);
    if (status == NIB_OK) status = add_file(r);
    if (status == NIB_OK) status = add_roles(r, roberta);
    if (status == NIB_OK) status = find_ids(r);
    if (status == NIB_OK) status = put_tokens(r);
    if (status == NIB_OK) status = read_merges(r, merges);
    if (status == NIB_OK) status = nib__rule_add(t, rule, r->err);
    if (status != NIB_OK) return status;
    put_frame(t, r, roberta);
    status = nib__hf_special(r->hf, r->err);
    if (status != NIB_OK) return status;
    const char *const unknown = roberta ? "<unk>" : "<|endoftext|>";
    if (t->ids[NIB_TOKEN_UNK] < 0)
        t->ids[NIB_TOKEN_UNK] = nib__vocab_find(&t->vocab, unknown, strlen(unknown));
    t->pipe->unknown = t->ids[NIB_TOKEN_UNK];
    return nib__hf_decoder(r->hf, NULL, NIB__JSON_NONE, r->err);
}

nib_status nib__hf_files_read(nib__hf *hf, nib__str vocab, nib__str merges, nib_error *err)
{
    reader r = {.hf = hf, .err = err};
    r.added = nib__alloc(hf->mem, MOST_ADDED, sizeof *r.added);
    if (r.added == NULL) return no_memory(&r);
    nib_status status =
        nib__json_parse(hf->mem, "vocab.json", vocab.data, vocab.len, &r.vocab, err);
    if (status == NIB_OK) status = read_all(&r, merges);
    nib__hf_tokens_free(hf, &r.tokens);
    nib__json_free(r.added_json);
    nib__json_free(r.vocab);
    nib__free(hf->mem, r.added);
    return status;
}
