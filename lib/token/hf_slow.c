/* SPDX-License-Identifier: MIT
 * vocab.json and merges.txt, without a tokenizer.json: byte-level BPE as the tokenizers of GPT-2,
 * RoBERTa and Qwen 2 define it. Which of them, tokenizer_config.json says, or model_type of
 * config.json, or the special tokens of the vocabulary do. */
#include "token/pipeline.h"

typedef struct reader {
    nib__hf *hf;
    nib__json *vocab;
    nib__hf_tokens tokens;
    nib__hf_added added;
    nib_error *err;
} reader;

static nib_status no_memory(const reader *r)
{
    return nib__fail(r->err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
}

/* ---- vocabulary ---- */

static nib_status find_ids(reader *r)
{
    const nib__json *j = r->vocab;
    int64_t highest = -1;
    for (nib__json_value v = nib__json_first(j, 0); v != NIB__JSON_NONE; v = nib__json_next(j, v)) {
        int64_t id = -1;
        nib__str key;
        key.data = nib__json_key(j, v, &key.len);
        if (!nib__json_integer(j, v, &id) || id < 0)
            return nib__fail(r->err, NIB_ERR_FORMAT, "vocab.json: '%.*s' has no id",
                             key.len < 60 ? (int)key.len : 60, key.data);
        if (id > highest) highest = id;
        nib_status status = nib__hf_added_found(&r->added, key, id, r->err);
        if (status != NIB_OK) return status;
    }
    if (highest < 0) return nib__fail(r->err, NIB_ERR_FORMAT, "vocab.json is empty");
    highest = nib__hf_added_number(&r->added, highest);
    return nib__hf_tokens_make(r->hf, "vocab.json", (uint64_t)highest,
                               (uint64_t)nib__json_count(j, 0) + r->added.n, &r->tokens, r->err);
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
    if (status == NIB_OK) status = nib__hf_added_put(&r->added, &r->tokens, r->err);
    return status == NIB_OK ? nib__hf_vocab(r->hf, &r->tokens, r->err) : status;
}

/* Lines "left right". As in transformers, empty ones count for nothing, and unless `all` neither
 * does a last line without an end, and the first is "#version" whatever it says. */
static nib_status read_merges(reader *r, nib__str text, bool all)
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
        if (stop == NULL && !all) break;
        end = stop != NULL ? (size_t)(stop - text.data) : text.len;
        size_t len = end - at;
        if (len > 0 && line[len - 1] == '\r') len--;
        if (len == 0 || (at == 0 && (!all || (len >= 9 && memcmp(line, "#version:", 9) == 0))))
            continue;
        const char *space = memchr(line, ' ', len);
        nib__str left = {line, space == NULL ? 0 : (size_t)(space - line)}, right = {line, 0};
        if (space != NULL) right = (nib__str){space + 1, len - left.len - 1};
        status = nib__hf_merge(t, "merges.txt", rank++, left, right, joined, r->err);
    }
    nib__free(&t->mem, joined);
    return status;
}

/* ---- what differs between GPT-2, RoBERTa and Qwen 2 ---- */

typedef enum family { GPT2, ROBERTA, QWEN2 } family;

static bool is_one_of(nib__str name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(names[i]) == name.len && memcmp(name.data, names[i], name.len) == 0) return true;
    return false;
}

static nib_status choose(const reader *r, family *which)
{
    static const char *const GPT[] = {"GPT2", "CodeGen", "GPTNeoX", "PreTrained"};
    static const char *const ROBERTAS[] = {"Roberta", "Bart", "Longformer", "LED", "Blenderbot"};
    static const char *const QWENS[] = {"Qwen2", "qwen2", "qwen3"};
    const nib__json *config = r->hf->config;
    nib__str name = nib__hf_class(r->hf), type = {NULL, 0};
    if (config != NULL)
        type.data = nib__json_string(config, nib__json_get(config, 0, "model_type"), &type.len);
    *which = is_one_of(name.len != 0 ? name : type, QWENS, 3) ? QWEN2 : GPT2;
    if (is_one_of(name, ROBERTAS, sizeof ROBERTAS / sizeof *ROBERTAS)) *which = ROBERTA;
    if (*which != GPT2 || is_one_of(name, GPT, sizeof GPT / sizeof *GPT)) return NIB_OK;
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
    if (found == 4 && !gpt) *which = ROBERTA;
    return NIB_OK;
}

/* How a text is cut into words. */
static nib_status put_rules(nib__tokenizer *t, family which, nib_error *err)
{
    static const nib__str NONE = {"", 0};
    nib__pretok pretok;
    nib_status status = NIB_OK;
    (void)nib__pretok_find(which == QWEN2 ? "qwen2" : "gpt-2", 5, &pretok);
    if (which == QWEN2) status = nib__step_add(t, NIB__STEP_NFC, NONE, NONE, err);
    return status == NIB_OK ? nib__rule_add(t, *pretok.rules[0], err) : status;
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
    static const char *const NAMES[] = {"gpt2", "roberta", "qwen2"};
    static const char *const MARKS[] = {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"};
    static const char *const END[7] = {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>"};
    nib__tokenizer *t = r->hf->t;
    family which = GPT2;
    t->model = NIB__BPE;
    t->byte_level = true;
    nib_status status = choose(r, &which);
    bool roberta = which == ROBERTA;
    t->pipe->space_first =
        which != QWEN2 && nib__json_is_true(r->hf->tokenizer_config, 0, "add_prefix_space");
    t->pipe->unless_space = roberta;
    nib__text(t->name, sizeof t->name, "hf/%s", NAMES[which]);
    if (status == NIB_OK)
        status = nib__hf_added_read(r->hf, roberta ? MARKS : END, &r->added, r->err);
    if (status == NIB_OK) status = find_ids(r);
    if (status == NIB_OK) status = put_tokens(r);
    if (status == NIB_OK) status = read_merges(r, merges, which == QWEN2);
    if (status == NIB_OK) status = put_rules(t, which, r->err);
    if (status != NIB_OK) return status;
    if (which != QWEN2) put_frame(t, r, roberta);
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
    nib_status status =
        nib__json_parse(hf->mem, "vocab.json", vocab.data, vocab.len, &r.vocab, err);
    if (status == NIB_OK) status = read_all(&r, merges);
    nib__hf_tokens_free(hf, &r.tokens);
    nib__json_free(r.vocab);
    nib__hf_added_free(hf, &r.added);
    return status;
}
