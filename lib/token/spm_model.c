/* SPDX-License-Identifier: MIT
 * SentencePiece .model files: a protobuf message (sentencepiece_model.proto of that project) with
 * pieces, how they were trained and how text is normalized. The reader knows the three wire types
 * that occur, skips fields it does not need, and checks every length against what is left.
 *
 * Some models number the pieces otherwise than the file does: fairseq put <s>, <pad>, </s>, <unk>
 * in front, T5 puts sentinels behind. Which, tokenizer_class or model_type says. */
#include <math.h>

#include "base/bytes.h"
#include "token/pipeline.h"

typedef struct piece {
    nib__str text;
    float score;
    uint8_t type;
} piece;

typedef struct model {
    const char *file;
    piece *pieces; /* [n] */
    size_t n, cap;
    uint64_t model_type; /* 1 unigram, 2 BPE, 3 word, 4 char */
    bool byte_fallback, space_behind, dummy_prefix, extra_spaces, escape;
    nib__str charsmap, denormal;
    nib_error *err;
} model;

typedef enum layout {
    LAYOUT_PLAIN,
    LAYOUT_LLAMA,
    LAYOUT_T5,
    LAYOUT_PLBART,
    LAYOUT_XGLM,
    LAYOUT_XLMR
} layout;

/* ---- protobuf ---- */

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* varint, or the bits of a fixed number */
    nib__str bytes;
} field;

static uint64_t read_varint(nib__cursor *c)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < 64; shift += 7) {
        uint8_t byte = nib__cursor_u8(c);
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80)) return value;
    }
    c->failed = true;
    return 0;
}

/* false: the end, or damage (c->failed). */
static bool next_field(nib__cursor *c, field *f)
{
    if (nib__cursor_left(c) == 0) return false;
    uint64_t tag = read_varint(c);
    *f = (field){.number = (uint32_t)(tag >> 3), .wire = tag & 7};
    if (tag >> 3 == 0 || tag >> 3 > (1u << 29)) c->failed = true;
    if (f->wire == 0) {
        f->value = read_varint(c);
    } else if (f->wire == 1) {
        f->value = nib__cursor_u64(c);
    } else if (f->wire == 2) {
        uint64_t len = read_varint(c);
        f->bytes.data = (const char *)nib__cursor_take(c, len);
        f->bytes.len = c->failed ? 0 : (size_t)len;
    } else if (f->wire == 5) {
        f->value = nib__cursor_u32(c);
    } else {
        c->failed = true;
    }
    return !c->failed;
}

static nib__cursor cursor_of(nib__str bytes)
{
    return (nib__cursor){.base = (const uint8_t *)bytes.data, .size = bytes.len};
}

static nib_status damaged(const model *m, const char *what)
{
    return nib__fail(m->err, NIB_ERR_FORMAT, "%s: %s is cut short or no protobuf message", m->file,
                     what);
}

static nib_status read_piece(const nib_allocator *mem, model *m, nib__str bytes)
{
    nib__cursor c = cursor_of(bytes);
    piece p = {.type = NIB__TYPE_NORMAL};
    field f;
    while (next_field(&c, &f)) {
        if (f.number == 1 && f.wire == 2) p.text = f.bytes;
        if (f.number == 3 && f.wire == 0) p.type = f.value <= NIB__TYPE_BYTE ? (uint8_t)f.value : 0;
        if (f.number == 2 && f.wire == 5) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&p.score, &bits, sizeof bits);
        }
    }
    if (c.failed) return damaged(m, "a piece");
    if (p.text.len == 0 || p.type == 0 || !isfinite(p.score))
        return nib__fail(m->err, NIB_ERR_FORMAT, "%s: piece %zu has no text, type or score",
                         m->file, m->n);
    if (m->n >= INT32_MAX / 4 ||
        !nib__grow(mem, (void **)&m->pieces, &m->cap, m->n + 1, sizeof *m->pieces))
        return nib__fail(m->err, NIB_ERR_MEMORY, "out of memory for %s", m->file);
    m->pieces[m->n++] = p;
    return NIB_OK;
}

static nib_status read_trainer(model *m, nib__str bytes)
{
    nib__cursor c = cursor_of(bytes);
    field f;
    while (next_field(&c, &f)) {
        if (f.wire != 0) continue;
        if (f.number == 3) m->model_type = f.value;
        if (f.number == 24) m->space_behind = f.value != 0;
        if (f.number == 35) m->byte_fallback = f.value != 0;
    }
    return c.failed ? damaged(m, "trainer_spec") : NIB_OK;
}

static nib_status read_normalizer(model *m, nib__str bytes, bool denormalizer)
{
    nib__cursor c = cursor_of(bytes);
    field f;
    while (next_field(&c, &f)) {
        if (f.number == 2 && f.wire == 2) *(denormalizer ? &m->denormal : &m->charsmap) = f.bytes;
        if (f.wire != 0 || denormalizer) continue;
        if (f.number == 3) m->dummy_prefix = f.value != 0;
        if (f.number == 4) m->extra_spaces = f.value != 0;
        if (f.number == 5) m->escape = f.value != 0;
    }
    return c.failed ? damaged(m, "normalizer_spec") : NIB_OK;
}

static nib_status read_model(const nib_allocator *mem, model *m, nib__str bytes)
{
    nib__cursor c = cursor_of(bytes);
    field f;
    nib_status status = NIB_OK;
    while (status == NIB_OK && next_field(&c, &f)) {
        if (f.wire != 2) continue;
        if (f.number == 1) status = read_piece(mem, m, f.bytes);
        if (f.number == 2) status = read_trainer(m, f.bytes);
        if (f.number == 3 || f.number == 5) status = read_normalizer(m, f.bytes, f.number == 5);
    }
    if (status != NIB_OK) return status;
    if (c.failed) return damaged(m, "the file");
    if (m->n == 0) return nib__fail(m->err, NIB_ERR_FORMAT, "%s holds no pieces", m->file);
    if (m->model_type < 1 || m->model_type > 4)
        return nib__fail(m->err, NIB_ERR_UNSUPPORTED, "%s: a model of an unknown type", m->file);
    if (m->space_behind || !m->escape || m->denormal.len != 0)
        return nib__fail(m->err, NIB_ERR_UNSUPPORTED,
                         "%s: treat_whitespace_as_suffix, a denormalizer, or spaces that are not "
                         "escaped",
                         m->file);
    return NIB_OK;
}

/* ---- ids ---- */

static bool named(nib__str a, const char *b)
{
    return a.len == strlen(b) && memcmp(a.data, b, a.len) == 0;
}

static nib_status choose_layout(const nib__hf *hf, const model *m, layout *which)
{
    static const struct {
        const char *class, *model_type;
        layout layout;
    } KNOWN[] = {
        {"PLBart", "plbart", LAYOUT_PLBART},
        {"XGLM", "xglm", LAYOUT_XGLM},
        {"T5", "t5", LAYOUT_T5},
        {"XLMRoberta", "xlm-roberta", LAYOUT_XLMR},
        {"Llama", "llama", LAYOUT_LLAMA},
        {"CodeLlama", "mistral", LAYOUT_LLAMA},
        {"Gemma", "gemma", LAYOUT_LLAMA},
        {"", "gemma2", LAYOUT_LLAMA},
        {"", "gemma3", LAYOUT_LLAMA},
        {"", "gemma3_text", LAYOUT_LLAMA},
    };
    nib__str class = nib__hf_class(hf), type = {NULL, 0};
    if (hf->config != NULL)
        type.data =
            nib__json_string(hf->config, nib__json_get(hf->config, 0, "model_type"), &type.len);
    *which = LAYOUT_PLAIN;
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++) {
        bool hit = class.len != 0 ? named(class, KNOWN[i].class) : named(type, KNOWN[i].model_type);
        if (hit) *which = KNOWN[i].layout;
        if (hit) return NIB_OK;
    }
    if (class.len == 0) return NIB_OK;
    return nib__fail(m->err, NIB_ERR_UNSUPPORTED,
                     "tokenizer_config.json: tokenizer_class '%.*sTokenizer' with %s is not "
                     "supported; a tokenizer.json would be read",
                     class.len < 60 ? (int)class.len : 60, class.data, m->file);
}

static bool is_fairseq(layout which)
{
    return which == LAYOUT_PLBART || which == LAYOUT_XGLM || which == LAYOUT_XLMR;
}

/* fairseq: <s> <pad> </s> <unk>, then the pieces from the fourth on. */
static uint32_t id_of(layout which, uint32_t i)
{
    static const uint32_t FIRST[3] = {3, 0, 2};
    if (!is_fairseq(which)) return i;
    return i < 3 ? FIRST[i] : i + 1;
}

enum { EXTRA_NAME = 32 };

typedef struct builder {
    nib__hf *hf;
    const model *m;
    layout layout;
    nib__hf_tokens tokens;
    nib__hf_added added;
    char *names; /* of what stands behind the pieces; EXTRA_NAME bytes each */
    uint32_t n_extra;
} builder;

static nib_status put_special(builder *b, uint32_t id, const char *text, uint8_t flags)
{
    b->tokens.type[id] = NIB__TYPE_CONTROL;
    b->tokens.added[id] = NIB__ADDED | flags;
    return nib__hf_tokens_put(&b->tokens, b->m->file, id, (nib__str){text, strlen(text)},
                              b->m->err);
}

static nib_status put_pieces(builder *b)
{
    const model *m = b->m;
    nib_status status = NIB_OK;
    for (uint32_t i = 0; i < m->n && status == NIB_OK; i++) {
        uint32_t id = id_of(b->layout, i);
        const piece *p = &m->pieces[i];
        status = nib__hf_tokens_put(&b->tokens, m->file, id, p->text, m->err);
        if (status != NIB_OK) break;
        b->tokens.type[id] = p->type;
        bool none = b->layout == LAYOUT_T5 && named(p->text, "<s>"); /* T5 has no such role */
        if ((p->type == NIB__TYPE_CONTROL || p->type == NIB__TYPE_UNKNOWN) && !none)
            b->tokens.added[id] = NIB__ADDED;
    }
    return status;
}

static uint32_t count_languages(const nib__hf *hf)
{
    bool multi =
        hf->tokenizer_config != NULL &&
        nib__json_equals(hf->tokenizer_config,
                         nib__json_get(hf->tokenizer_config, 0, "language_codes"), "multi");
    return multi ? 7 : 3;
}

/* What stands behind the pieces; returns how many. */
static uint32_t count_extra(const builder *b)
{
    int64_t extra = 100;
    const nib__json *j = b->hf->tokenizer_config;
    switch (b->layout) {
    case LAYOUT_PLBART: return count_languages(b->hf) + 1;
    case LAYOUT_XGLM: return 7;
    case LAYOUT_XLMR: return 1;
    case LAYOUT_T5:
        if (j != NULL) nib__json_integer(j, nib__json_get(j, 0, "extra_ids"), &extra);
        return extra >= 0 && extra <= 10000 ? (uint32_t)extra : 100;
    default: return 0;
    }
}

static const char *extra_name(const builder *b, uint32_t i)
{
    return b->names + (size_t)i * EXTRA_NAME;
}

static nib_status name_extra(builder *b)
{
    static const char *const LANGUAGES[] = {"__java__", "__python__", "__en_XX__", "__javascript__",
                                            "__php__",  "__ruby__",   "__go__"};
    b->n_extra = count_extra(b);
    b->names = nib__alloc(b->hf->mem, (size_t)b->n_extra + 1, EXTRA_NAME);
    if (b->names == NULL)
        return nib__fail(b->m->err, NIB_ERR_MEMORY, "out of memory for sentinels");
    for (uint32_t i = 0; i < b->n_extra; i++) {
        char *name = b->names + (size_t)i * EXTRA_NAME;
        if (b->layout == LAYOUT_T5) /* the first sentinel is the last id */
            nib__text(name, EXTRA_NAME, "<extra_id_%u>", b->n_extra - 1 - i);
        else if (b->layout == LAYOUT_XGLM)
            nib__text(name, EXTRA_NAME, "<madeupword%u>", i);
        else
            nib__text(name, EXTRA_NAME, "%s", i + 1 < b->n_extra ? LANGUAGES[i] : "<mask>");
    }
    return NIB_OK;
}

static nib_status put_extra(builder *b, uint32_t first)
{
    enum { BOTH = NIB__ADDED_LSTRIP | NIB__ADDED_RSTRIP };
    nib_status status = NIB_OK;
    if (is_fairseq(b->layout)) status = put_special(b, 1, "<pad>", 0);
    for (uint32_t i = 0; i < b->n_extra && status == NIB_OK; i++) {
        bool mask = b->layout != LAYOUT_XGLM && i + 1 == b->n_extra;
        uint8_t flags = b->layout == LAYOUT_T5 ? BOTH : mask ? NIB__ADDED_LSTRIP : 0;
        status = put_special(b, first + i, extra_name(b, i), flags);
    }
    return status;
}

/* The ids of added tokens that the pieces, or what stands behind them, have already. */
static nib_status find_added(builder *b, uint32_t first)
{
    nib_status status = nib__hf_added_read(b->hf, NULL, &b->added, b->m->err);
    for (uint32_t i = 0; i < b->m->n && status == NIB_OK; i++)
        status =
            nib__hf_added_found(&b->added, b->m->pieces[i].text, id_of(b->layout, i), b->m->err);
    if (status == NIB_OK && is_fairseq(b->layout))
        status = nib__hf_added_found(&b->added, (nib__str){"<pad>", 5}, 1, b->m->err);
    for (uint32_t i = 0; i < b->n_extra && status == NIB_OK; i++) {
        nib__str name = {extra_name(b, i), strlen(extra_name(b, i))};
        status = nib__hf_added_found(&b->added, name, first + i, b->m->err);
    }
    return status;
}

static nib_status put_scores(builder *b)
{
    nib__tokenizer *t = b->hf->t;
    t->pipe->scores = nib__alloc(&t->mem, t->vocab.n, sizeof *t->pipe->scores);
    t->vocab.scores = nib__alloc(&t->mem, t->vocab.n, sizeof *t->vocab.scores);
    if (t->pipe->scores == NULL || t->vocab.scores == NULL)
        return nib__fail(b->m->err, NIB_ERR_MEMORY, "out of memory for the vocabulary");
    for (uint32_t i = 0; i < b->m->n; i++) {
        uint32_t id = id_of(b->layout, i);
        t->vocab.scores[id] = b->m->pieces[i].score;
        t->pipe->scores[id] = (double)b->m->pieces[i].score;
        if (b->m->pieces[i].type == NIB__TYPE_UNKNOWN) t->pipe->unknown = (int32_t)id;
    }
    if (t->pipe->unknown >= 0) return NIB_OK;
    return nib__fail(b->m->err, NIB_ERR_FORMAT, "%s has no unknown piece", b->m->file);
}

static nib_status make_vocab(builder *b)
{
    const model *m = b->m;
    bool fairseq = is_fairseq(b->layout);
    static const uint8_t WANTED[3] = {NIB__TYPE_UNKNOWN, NIB__TYPE_CONTROL, NIB__TYPE_CONTROL};
    for (uint32_t i = 0; fairseq && i < 3; i++)
        if (i >= m->n || m->pieces[i].type != WANTED[i])
            return nib__fail(m->err, NIB_ERR_FORMAT,
                             "%s: the first pieces are not <unk>, <s> and </s>", m->file);
    uint32_t first = (uint32_t)m->n + fairseq;
    nib_status status = name_extra(b);
    if (status == NIB_OK) status = find_added(b, first);
    if (status != NIB_OK) return status;
    int64_t highest = nib__hf_added_number(&b->added, (int64_t)first + b->n_extra - 1);
    status = nib__hf_tokens_make(b->hf, m->file, (uint64_t)highest,
                                 (uint64_t)first + b->n_extra + b->added.n, &b->tokens, m->err);
    if (status == NIB_OK) status = put_pieces(b);
    if (status == NIB_OK) status = put_extra(b, first);
    if (status == NIB_OK) status = nib__hf_added_put(&b->added, &b->tokens, m->err);
    if (status == NIB_OK) status = nib__hf_vocab(b->hf, &b->tokens, m->err);
    return status == NIB_OK ? put_scores(b) : status;
}

/* ---- what stands around a text ---- */

/* false in tokenizer_config.json, not only missing there. */
static bool is_false(const nib__hf *hf, const char *key)
{
    const nib__json *j = hf->tokenizer_config;
    return j != NULL && nib__json_type_of(j, nib__json_get(j, 0, key)) == NIB__JSON_FALSE;
}

static void frame(const builder *b)
{
    nib__tokenizer *t = b->hf->t;
    nib__pipeline *p = t->pipe;
    const nib__json *j = b->hf->tokenizer_config;
    int32_t begin = nib__vocab_find(&t->vocab, "<s>", 3);
    int32_t end = nib__vocab_find(&t->vocab, "</s>", 4);
    if (b->layout == LAYOUT_LLAMA) {
        nib__str bos = nib__hf_role(b->hf, "bos_token"), eos = nib__hf_role(b->hf, "eos_token");
        if (bos.data != NULL) begin = nib__vocab_find(&t->vocab, bos.data, bos.len);
        if (eos.data != NULL) end = nib__vocab_find(&t->vocab, eos.data, eos.len);
        if (begin < 0) begin = nib__vocab_find(&t->vocab, "<bos>", 5);
        if (is_false(b->hf, "add_bos_token")) begin = -1;
        if (!nib__json_is_true(j, 0, "add_eos_token")) end = -1;
    }
    if (b->layout == LAYOUT_PLAIN) return;
    if (b->layout == LAYOUT_T5 || b->layout == LAYOUT_PLBART) begin = -1;
    if (b->layout == LAYOUT_T5) p->end_once = true;
    if (b->layout == LAYOUT_XGLM) {
        begin = end;
        end = -1;
    }
    if (begin >= 0) p->before[p->n_before++] = begin;
    if (end >= 0) p->after[p->n_after++] = end;
    if (b->layout != LAYOUT_PLBART || j == NULL) return;
    /* PLBART's source language, "java" or "__java__", comes behind the end. */
    size_t len;
    char code[32];
    const char *lang = nib__json_string(j, nib__json_get(j, 0, "src_lang"), &len);
    if (lang == NULL || len > 20) return;
    size_t n = nib__text(code, sizeof code, lang[0] == '_' ? "%.*s" : "__%.*s__", (int)len, lang);
    int32_t id = nib__vocab_find(&t->vocab, code, n);
    if (id >= 0) p->after[p->n_after++] = id;
}

static nib_status make_user_trie(nib__tokenizer *t, nib_error *err)
{
    for (uint32_t id = 0; id < t->vocab.n; id++) {
        nib__str text = nib__vocab_text(&t->vocab, id);
        if (t->vocab.type[id] != NIB__TYPE_USER || text.len > NIB__MAX_MATCH) continue;
        if (!nib__trie_add(&t->mem, &t->user, text.data, text.len, (int32_t)id))
            return nib__fail(err, NIB_ERR_MEMORY, "out of memory for user-defined pieces");
    }
    return NIB_OK;
}

static nib_status build(builder *b)
{
    nib__hf *hf = b->hf;
    nib__tokenizer *t = hf->t;
    const model *m = b->m;
    static const nib__str NONE = {"", 0};
    /* BPE without merges: a char model has no piece that characters could merge to, and a word
     * model starts with words. */
    static const char *const NAMES[] = {"unigram", "bpe", "word", "char"};
    t->model = m->model_type == 1 ? NIB__UNIGRAM : NIB__SPM;
    nib__text(t->name, sizeof t->name, "sentencepiece/%s", NAMES[m->model_type - 1]);
    char what[64];
    nib__text(what, sizeof what, "%s: precompiled_charsmap", m->file);
    nib_status status = choose_layout(hf, m, &b->layout);
    if (status == NIB_OK) status = make_vocab(b);
    if (status == NIB_OK && m->charsmap.len != 0)
        status = nib__charsmap_make(&t->mem, what, (const uint8_t *)m->charsmap.data,
                                    m->charsmap.len, &t->charsmap, m->err);
    if (status == NIB_OK) status = nib__step_add(t, NIB__STEP_SENTENCEPIECE, NONE, NONE, m->err);
    if (status != NIB_OK) return status;
    t->pipe->dummy_prefix = m->dummy_prefix;
    if ((b->layout == LAYOUT_LLAMA || b->layout == LAYOUT_T5) && is_false(hf, "legacy")) {
        t->pipe->first_only = true; /* nor is it the model that puts it there */
        t->pipe->dummy_prefix = !is_false(hf, "add_prefix_space");
    }
    t->pipe->extra_spaces = m->extra_spaces;
    t->pipe->words = m->model_type == 3;
    t->pipe->byte_fallback = m->byte_fallback;
    t->pipe->float_scores = true;
    t->drop_space = m->dummy_prefix || m->extra_spaces;
    frame(b);
    status = nib__hf_special(hf, m->err);
    if (status == NIB_OK) status = make_user_trie(t, m->err);
    return status == NIB_OK ? nib__hf_spm_bytes(hf, m->err) : status;
}

nib_status nib__hf_spm_read(nib__hf *hf, const char *file, nib__str bytes, nib_error *err)
{
    model m = {.file = file, .model_type = 1, .err = err};
    m.dummy_prefix = m.extra_spaces = m.escape = true;
    builder b = {.hf = hf, .m = &m};
    nib_status status = read_model(hf->mem, &m, bytes);
    if (status == NIB_OK) status = build(&b);
    nib__hf_tokens_free(hf, &b.tokens);
    nib__hf_added_free(hf, &b.added);
    nib__free(hf->mem, b.names);
    nib__free(hf->mem, m.pieces);
    return status;
}
