/* SPDX-License-Identifier: MIT
 * Makes a tokenizer out of GGUF metadata and turns text into ids: special tokens first, the text
 * between them by the model's algorithm. */
#include "token/token.h"

#include <string.h>

#include "token/pipeline.h"

static bool is(nib__str name, const char *text)
{
    return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0;
}

static nib_status unknown(nib_error *err, const char *what, nib__str name)
{
    int shown = name.len < 60 ? (int)name.len : 60;
    return nib__fail(err, NIB_ERR_UNSUPPORTED, "%s '%.*s' is not known", what, shown, name.data);
}

static nib_status choose_pretok(nib__tokenizer *t, const nib__source *source, nib__str model,
                                nib_error *err)
{
    nib__str pre = {"gemma4", 6};
    if (is(model, "gpt2")) {
        int32_t got = nib__meta_str(source, "tokenizer.ggml.pre", &pre, err);
        if (got < 0) return got;
        if (got == NIB__ABSENT)
            return nib__fail(
                err, NIB_ERR_UNSUPPORTED,
                "tokenizer.ggml.pre is missing: the file is older than May 2024 and does "
                "not say how its text is split");
    }
    if (!nib__pretok_find(pre.data, pre.len, &t->named))
        return unknown(err, "tokenizer.ggml.pre", pre);
    t->pretok = &t->named;
    nib__text(t->name, sizeof t->name, "bpe/%s", t->pretok->name);
    t->byte_level = (t->pretok->flags & NIB__PRE_SPACES) == 0;
    t->add_bos = (t->pretok->flags & NIB__PRE_ADD_BOS) != 0;
    return NIB_OK;
}

static void use_spm(nib__tokenizer *t)
{
    t->model = NIB__SPM;
    nib__text(t->name, sizeof t->name, "spm");
    t->add_bos = t->add_space = true;
    t->ids[NIB_TOKEN_UNK] = 0;
    t->ids[NIB_TOKEN_BOS] = 1;
    t->ids[NIB_TOKEN_EOS] = 2;
}

static void use_unigram(nib__tokenizer *t)
{
    t->model = NIB__UNIGRAM;
    nib__text(t->name, sizeof t->name, "unigram");
    t->add_eos = t->add_space = true;
    t->ids[NIB_TOKEN_PAD] = 0;
    t->ids[NIB_TOKEN_EOS] = 1;
    t->ids[NIB_TOKEN_UNK] = 2;
}

static void use_wordpiece(nib__tokenizer *t)
{
    t->model = NIB__WORDPIECE;
    nib__text(t->name, sizeof t->name, "wpm");
    t->add_bos = t->add_sep = t->lowercase = true;
    t->drop_space = true;
    t->ids[NIB_TOKEN_PAD] = 0;
    t->ids[NIB_TOKEN_UNK] = 100;
    t->ids[NIB_TOKEN_BOS] = 101;
    t->sep_id = 102;
}

/* The algorithm by tokenizer.ggml.model, and the defaults that belong to it. */
static nib_status choose_model(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    nib__str model = {NULL, 0};
    int32_t got = nib__meta_str(source, "tokenizer.ggml.model", &model, err);
    if (got < 0) return got;
    if (got == NIB__ABSENT)
        return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.model is missing");
    for (uint32_t i = 0; i < NIB__N_SPECIAL; i++) t->ids[i] = -1;
    t->sep_id = -1;
    if (is(model, "gpt2") || is(model, "gemma4")) {
        t->model = NIB__BPE;
        return choose_pretok(t, source, model, err);
    }
    if (is(model, "llama"))
        use_spm(t);
    else if (is(model, "t5"))
        use_unigram(t);
    else if (is(model, "bert"))
        use_wordpiece(t);
    else
        return unknown(err, "tokenizer.ggml.model", model);
    return NIB_OK;
}

static nib_status need_scores(const nib__tokenizer *t, nib_error *err)
{
    if (t->vocab.scores != NULL) return NIB_OK;
    return nib__fail(err, NIB_ERR_FORMAT, "tokenizer.ggml.scores is missing");
}

static nib_status prepare(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    nib_status status = NIB_OK;
    switch (t->model) {
    case NIB__BPE: return nib__merges_read(t, source, err);
    case NIB__SPM: return need_scores(t, err);
    case NIB__WORDPIECE: return nib__wordpiece_prepare(t, err);
    case NIB__UNIGRAM:
        status = need_scores(t, err);
        if (status == NIB_OK) status = nib__charsmap_read(&t->mem, source, &t->charsmap, err);
        if (status == NIB_OK) status = nib__unigram_prepare(t, err);
        return status;
    default: break;
    }
    return NIB_ERR_UNSUPPORTED;
}

static nib_status build(nib__tokenizer *t, const nib__source *source, nib_error *err)
{
    nib_status status = choose_model(t, source, err);
    if (status == NIB_OK) status = nib__vocab_read(&t->mem, source, &t->vocab, err);
    if (status == NIB_OK) status = nib__special_read(t, source, err);
    if (status == NIB_OK) status = nib__token_bytes_make(t, err);
    if (status == NIB_OK) status = prepare(t, source, err);
    /* Whatever put a space before the first word takes it away again. */
    if (t->add_space) t->drop_space = true;
    return status;
}

static int32_t source_file(const void *source, const char *name, nib__str *bytes, nib_error *err)
{
    return nib__source_file(source, name, bytes, err);
}

static nib_status make(const nib_allocator *mem, const nib__source *source,
                       nib__tokenizer **tokenizer, nib_error *err)
{
    if (nib__source_naming(source) == NIB__NAMING_HF) {
        nib__token_files files = {source_file, source, nib__source_path(source)};
        return nib__tokenizer_from_files(mem, &files, tokenizer, err);
    }
    nib_allocator allocator = nib__allocator(mem);
    nib__tokenizer *t = nib__alloc(&allocator, 1, sizeof *t);
    if (t == NULL) return nib__fail(err, NIB_ERR_MEMORY, "out of memory for the tokenizer");
    t->mem = allocator;
    nib_status status = build(t, source, err);
    if (status != NIB_OK) {
        nib__tokenizer_free(t);
        return status;
    }
    *tokenizer = t;
    return NIB_OK;
}

/* The readers name a key, or a file of a directory; here it is said of which model. */
nib_status nib__tokenizer_new(const nib_allocator *mem, const nib__source *source,
                              nib__tokenizer **tokenizer, nib_error *err)
{
    nib_error bare = {0};
    nib_status status = make(mem, source, tokenizer, &bare);
    if (status == NIB_OK || err == NULL) return status;
    const char *path = nib__source_path(source);
    *err = bare;
    if (strstr(bare.text, path) == NULL) (void)nib__fail(err, status, "%s: %s", path, bare.text);
    err->offset = bare.offset;
    return status;
}

void nib__tokenizer_free(nib__tokenizer *t)
{
    if (t == NULL) return;
    nib_allocator mem = t->mem;
    nib__vocab_free(&mem, &t->vocab);
    nib__merges_free(&mem, &t->merges);
    nib__charsmap_free(&mem, &t->charsmap);
    nib__trie_free(&mem, &t->trie);
    nib__trie_free(&mem, &t->user);
    nib__trie_free(&mem, &t->special);
    nib__pipeline_free(&mem, t->pipe);
    nib__free(&mem, t);
}

const char *nib__tokenizer_name(const nib__tokenizer *t)
{
    return t->name;
}

uint32_t nib__tokenizer_size(const nib__tokenizer *t)
{
    return t->vocab.n;
}

int32_t nib__tokenizer_special(const nib__tokenizer *t, uint32_t which)
{
    return which < NIB__N_SPECIAL ? t->ids[which] : -1;
}

int32_t nib__tokenizer_is_end(const nib__tokenizer *t, int32_t id)
{
    return id >= 0 && (uint32_t)id < t->vocab.n && t->vocab.end[id];
}

int32_t nib__tokenizer_is_control(const nib__tokenizer *t, int32_t id)
{
    if (id < 0 || (uint32_t)id >= t->vocab.n) return 0;
    return t->vocab.type[id] == NIB__TYPE_CONTROL || t->vocab.type[id] == NIB__TYPE_UNKNOWN;
}

int32_t nib__tokenizer_find(const nib__tokenizer *t, const char *text, size_t len)
{
    return nib__vocab_find(&t->vocab, text, len);
}

static nib_status encode(const nib__tokenizer *t, const char *text, size_t len, bool lead,
                         nib__ids *ids, nib_error *err)
{
    switch (t->model) {
    case NIB__BPE: return nib__bpe_encode(t, text, len, ids, err);
    case NIB__SPM: return nib__spm_encode(t, text, len, lead, ids, err);
    case NIB__UNIGRAM: return nib__unigram_encode(t, text, len, lead, ids, err);
    case NIB__WORDPIECE: return nib__wordpiece_encode(t, text, len, ids, err);
    default: break;
    }
    return NIB_ERR_UNSUPPORTED;
}

static nib_status push(nib__ids *ids, int32_t id, nib_error *err)
{
    if (id < 0 || nib__ids_push(ids, id)) return NIB_OK;
    return nib__fail(err, NIB_ERR_MEMORY, "out of memory while tokenizing");
}

/* Cuts special tokens out, the leftmost first and of those the longest, as Hugging Face does. */
static nib_status encode_around(const nib__tokenizer *t, const nib__trie *special, const char *text,
                                size_t len, bool lead, nib__ids *ids, nib_error *err)
{
    size_t done = 0;
    for (size_t at = 0; at < len;) {
        int32_t id;
        size_t n = 0;
        if (nib__trie_starts(special, (uint8_t)text[at]))
            n = nib__trie_longest(special, text + at, len - at, &id);
        if (n == 0) {
            at++;
            continue;
        }
        nib_status status = NIB_OK;
        if (at > done) status = encode(t, text + done, at - done, lead, ids, err);
        if (status == NIB_OK) status = push(ids, id, err);
        if (status != NIB_OK) return status;
        lead = true; /* SentencePiece models put a space after a special token */
        at += n;
        done = at;
    }
    return done < len ? encode(t, text + done, len - done, lead, ids, err) : NIB_OK;
}

nib_status nib__tokenizer_frame(const nib__tokenizer *t, bool behind, nib__ids *ids, nib_error *err)
{
    const nib__pipeline *p = t->pipe;
    nib_status status = NIB_OK;
    if (p != NULL) {
        uint32_t n = behind ? p->n_after : p->n_before;
        for (uint32_t i = 0; i < n && status == NIB_OK; i++)
            status = push(ids, behind ? p->after[i] : p->before[i], err);
        return status;
    }
    if (!behind) return t->add_bos ? push(ids, t->ids[NIB_TOKEN_BOS], err) : NIB_OK;
    if (t->add_sep) status = push(ids, t->sep_id, err);
    if (status == NIB_OK && t->add_eos) status = push(ids, t->ids[NIB_TOKEN_EOS], err);
    return status;
}

static nib_status tokenize(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags,
                           bool lead, nib__ids *ids, nib_error *err)
{
    if (t->model == NIB__NO_MODEL)
        return nib__fail(
            err, NIB_ERR_UNSUPPORTED,
            "no tokenizer beside the model: looked for tokenizer.json, vocab.json with "
            "merges.txt, tokenizer.model, spiece.model, sentencepiece.bpe.model");
    if (t->pipe != NULL) return nib__pipeline_encode(t, text, len, flags, lead, ids, err);
    size_t before = ids->count;
    bool frame = (flags & NIB_TOKENIZE_BOS) != 0;
    const nib__trie *special = flags & NIB_TOKENIZE_SPECIAL ? &t->special : &t->user;
    nib_status status = NIB_OK;
    if (frame) status = nib__tokenizer_frame(t, false, ids, err);
    if (status == NIB_OK) status = encode_around(t, special, text, len, lead, ids, err);
    if (status == NIB_OK && frame) status = nib__tokenizer_frame(t, true, ids, err);
    if (status != NIB_OK) ids->count = before;
    return status;
}

nib_status nib__tokenize(const nib__tokenizer *t, const char *text, size_t len, uint32_t flags,
                         nib__ids *ids, nib_error *err)
{
    return tokenize(t, text, len, flags, true, ids, err);
}

nib_status nib__tokenize_continuation(const nib__tokenizer *t, const char *text, size_t len,
                                      nib__ids *ids, nib_error *err)
{
    return tokenize(t, text, len, 0, false, ids, err);
}
